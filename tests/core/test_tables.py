"""Tables in and out: what is read, what is refused, what is written back."""

from __future__ import annotations

import math
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.compression import compressed, opened
from codenoise.core.cohort.tables import (
    SUFFIXES,
    Table,
    like,
    read_table,
    table_suffix,
    union_order,
    write_table,
)

TEXT_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix not in (".parquet", ".h5ad"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga" / "cohort"

# Short of the largest float, so that rounding to few digits never overflows.
finite = st.floats(-1e308, 1e308)
finite32 = st.floats(allow_nan=False, allow_infinity=False, width=32)


def put(folder: Path, name: str, rows: list[list[str]]) -> Path:
    """Write a table of text cells by hand, in the format of its name."""
    path = folder / name
    separator = "," if ".csv" in name.lower() else "\t"
    text = "".join(separator.join(row) + "\n" for row in rows).encode()
    path.write_bytes(compressed(text, path.suffix))
    return path


def put_parquet(folder: Path, frame: pd.DataFrame, name: str = "rna.parquet") -> Path:
    frame.to_parquet(folder / name)
    return folder / name


def rows_of(path: Path) -> list[list[str]]:
    with opened(path) as stream:
        text = stream.read().decode()
    return [line.split("," if ".csv" in path.name else "\t") for line in text.splitlines()]


def refusal(path: Path) -> str:
    """The message a table is refused with: one line that names the file."""
    with pytest.raises(DataError) as caught:
        read_table(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", TEXT_SUFFIXES)
def test_text_tables_are_read_with_ids_features_and_gaps(tmp_path: Path, suffix: str) -> None:
    path = put(
        tmp_path,
        f"rna{suffix}",
        [["patient", "TP53", "KRAS"], ["P1", "1.5", ""], ["P2", "NA", "2"]],
    )
    table = read_table(path)
    expected = pd.DataFrame(
        {"TP53": [1.5, np.nan], "KRAS": [np.nan, 2.0]}, index=pd.Index(["P1", "P2"], name="patient")
    )
    pd.testing.assert_frame_equal(
        table.frame, expected, check_index_type=False, check_column_type=False
    )
    assert (table.source, table.suffix) == (path.name, suffix)


@pytest.mark.parametrize("marker", ["", "NA", "NaN", "nan", "null", "N/A"])
def test_usual_markers_of_a_gap_are_gaps(tmp_path: Path, marker: str) -> None:
    path = put(tmp_path, "rna.csv", [["id", "a", "b"], ["1", marker, "2"]])
    assert read_table(path).frame["a"].isna().tolist() == [True]


@pytest.mark.parametrize("name", ["rna.csv", "rna.tsv.gz"])
def test_ids_that_look_like_numbers_stay_text(tmp_path: Path, name: str) -> None:
    path = put(
        tmp_path, name, [["id", "a"], ["0012", "1"], ["12", "2"], ["1e3", "3"], ["1.0", "4"]]
    )
    assert list(read_table(path).frame.index) == ["0012", "12", "1e3", "1.0"]


def test_features_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    path = put(tmp_path, "rna.csv", [["id", "007", "7"], ["p", "1", "2"]])
    assert list(read_table(path).frame.columns) == ["007", "7"]


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "rna.csv"
    path.write_bytes(b"\xef\xbb\xbfid,a\r\np,1\r\n")
    frame = read_table(path).frame
    assert (frame.index.name, list(frame.columns)) == ("id", ["a"])


def test_the_format_is_recognised_in_any_case(tmp_path: Path) -> None:
    path = put(tmp_path, "RNA.CSV", [["id", "a"], ["p", "1"]])
    assert read_table(path).suffix == ".csv"
    assert table_suffix(Path("x.Parquet")) == ".parquet"
    assert table_suffix(Path("x.csv.gz")) == ".csv.gz"


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv.zip", "README.md", "csv", "HiSeqV2"])
def test_other_names_are_no_table_but_a_file_is_read_by_its_content(
    name: str, tmp_path: Path
) -> None:
    assert table_suffix(Path(name)) is None
    (tmp_path / name).write_text("id,a\np,1\n")
    table = read_table(tmp_path / name)
    assert table.suffix == ".csv"
    assert table.frame.loc["p", "a"] == 1.0


def test_parquet_is_read_with_its_index_and_precision(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"a": np.array([0.1, np.nan], np.float32)}, index=pd.Index(["0012", "p"], name="patient")
    )
    table = read_table(put_parquet(tmp_path, frame))
    assert table.frame.dtypes["a"] == np.float32
    assert list(table.frame.index) == ["0012", "p"]
    assert table.frame.loc["0012", "a"] == np.float32(0.1)
    assert table.text is None


def test_parquet_without_an_index_takes_ids_from_the_first_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"patient": ["0012", "p"], "a": [1.0, 2.0]})
    table = read_table(put_parquet(tmp_path, frame))
    assert list(table.frame.index) == ["0012", "p"]
    assert list(table.frame.columns) == ["a"]


def test_whole_numbers_in_parquet_become_floats(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": np.array([0.1, 0.2], np.float32)}, index=["p", "q"])
    table = read_table(put_parquet(tmp_path, frame))
    assert all(kind.kind == "f" for kind in table.frame.dtypes)
    assert table.frame.loc["q", "a"] == 2.0


def test_nullable_floats_in_parquet_are_read_as_gaps(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": pd.array([1.5, None], dtype="Float64")}, index=["p", "q"])
    values = read_table(put_parquet(tmp_path, frame)).frame.to_numpy(dtype=np.float32)
    np.testing.assert_array_equal(values, [[1.5], [np.nan]])
    frame["b"] = pd.array([1.0, 2.0], dtype="Float64")
    values = read_table(put_parquet(tmp_path, frame)).frame.to_numpy(dtype=np.float32)
    np.testing.assert_array_equal(values, [[1.5, 1.0], [np.nan, 2.0]])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "rna.csv").endswith("rna.csv is not there")
    assert refusal(tmp_path / "rna.parquet").endswith("rna.parquet is not there")


def test_a_folder_in_the_place_of_a_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rna.csv").mkdir()
    assert "cannot be read as .csv" in refusal(tmp_path / "rna.csv")


@pytest.mark.parametrize("cell", ["high", "1,5", "1_000", "0x1F", "True", "1.5 mg", "-", "--"])
@pytest.mark.parametrize("suffix", TEXT_SUFFIXES)
def test_a_text_cell_is_refused_with_patient_and_column(
    tmp_path: Path, cell: str, suffix: str
) -> None:
    quoted = f'"{cell}"'
    path = put(
        tmp_path, f"rna{suffix}", [["id", "a", "b"], ["0012", "1", "2"], ["0013", "3", quoted]]
    )
    assert (
        f"patient '0013', column 'b': {cell!r} should be a number or empty (1 such cells)"
        in refusal(path)
    )


@pytest.mark.parametrize("cell", ["inf", "-inf", "Infinity", "1e400"])
def test_infinity_is_refused_with_patient_and_column(tmp_path: Path, cell: str) -> None:
    path = put(tmp_path, "rna.csv", [["id", "a", "b"], ["p", cell, "2"], ["q", cell, "2"]])
    assert f"patient 'p', column 'a': {cell!r} should be a finite number (2 such cells)" in refusal(
        path
    )


def test_the_first_of_several_bad_cells_is_named_and_all_are_counted(tmp_path: Path) -> None:
    path = put(tmp_path, "rna.csv", [["id", "a", "b"], ["p", "1", "x"], ["q", "y", "z"]])
    message = refusal(path)
    assert "patient 'p', column 'b': 'x'" in message
    assert "(3 such cells)" in message


def test_text_in_parquet_is_refused_with_patient_and_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["1", "high"]}, index=["p", "q"])
    message = refusal(put_parquet(tmp_path, frame))
    assert "patient 'q', column 'b': 'high' should be a number or empty" in message


def test_infinity_in_parquet_is_refused_with_patient_and_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.array([1, np.inf], np.float32)}, index=["p", "q"])
    message = refusal(put_parquet(tmp_path, frame))
    assert "patient 'q', column 'a'" in message
    assert "should be a finite number" in message


def test_dates_in_parquet_are_no_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": pd.to_datetime(["2020-01-01", "2021-01-01"])}, index=["p", "q"])
    assert "column 'a'" in refusal(put_parquet(tmp_path, frame))


def test_two_levels_of_ids_in_parquet_are_refused(tmp_path: Path) -> None:
    index = pd.MultiIndex.from_tuples([("p", 1), ("q", 2)], names=["patient", "sample"])
    refusal(put_parquet(tmp_path, pd.DataFrame({"a": [1.0, 2.0]}, index=index)))


@pytest.mark.parametrize("suffix", TEXT_SUFFIXES)
def test_a_patient_that_stands_twice_is_refused(tmp_path: Path, suffix: str) -> None:
    rows = [["id", "a"], ["p", "1"], ["q", "2"], ["p", "3"], ["p", "4"]]
    message = refusal(put(tmp_path, f"rna{suffix}", rows))
    assert "1 patient(s) stand more than once: 'p'; keep one of each" in message


def test_a_patient_that_stands_twice_in_parquet_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=["p", "q", "q"])
    message = refusal(put_parquet(tmp_path, frame))
    assert "1 patient(s) stand more than once: 'q'" in message


def test_ids_that_are_equal_only_as_numbers_are_two_patients(tmp_path: Path) -> None:
    path = put(tmp_path, "rna.csv", [["id", "a"], ["1", "1"], ["01", "2"], ["1.0", "3"]])
    assert len(read_table(path).frame) == 3


@pytest.mark.parametrize("header", [["id", "a", "b", "a"], ["id", "id", "a", "b"]])
def test_a_feature_that_stands_twice_is_refused(tmp_path: Path, header: list[str]) -> None:
    path = put(tmp_path, "rna.csv", [header, ["p", "1", "2", "3"], ["q", "1", "2", "3"]])
    twice = next(name for name in header if header.count(name) > 1)
    assert f"1 feature(s) stand more than once: {twice!r}; keep one of each" in refusal(path)


@pytest.mark.parametrize("blank", ["", "NA"])
def test_a_missing_id_is_refused_with_its_row(tmp_path: Path, blank: str) -> None:
    path = put(tmp_path, "rna.csv", [["id", "a"], ["p", "1"], [blank, "2"], ["q", "3"]])
    assert "data row 2: the patient id is missing" in refusal(path)


def test_a_missing_id_in_parquet_is_refused_with_its_row(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=["p", None])
    assert "data row 2: the patient id is missing" in refusal(put_parquet(tmp_path, frame))


def test_a_table_without_patients_is_a_modality_that_nobody_has(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "rna.csv", [["id", "a"]]))
    assert table.frame.shape == (0, 1)
    assert table.notes[-1] == "no patient in the table; the modality counts as missing"
    assert write_table(table, tmp_path, "again").read_text() == "id,a\n"
    empty = pd.DataFrame({"a": [], "b": []}, index=pd.Index([], name="patient", dtype=str))
    assert read_table(put_parquet(tmp_path, empty)).frame.shape == (0, 2)


def test_a_table_without_values_is_a_modality_that_nobody_has(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "rna.csv", [["id", "a"], ["p", "NA"], ["q", ""]]))
    assert list(table.frame.index) == ["p", "q"]
    assert table.notes[-1] == "no value in the table; the modality counts as missing"


def test_a_table_without_features_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "rna.csv", [["id"], ["p"], ["q"]])
    assert "holds 2 patients and 0 features" in refusal(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    for name in ("rna.csv", "rna.tsv"):
        (tmp_path / name).write_bytes(b"")
        assert "cannot be read as ." in refusal(tmp_path / name)


@pytest.mark.parametrize("bad_row", [1, 2])
def test_a_row_with_too_many_cells_is_refused(tmp_path: Path, bad_row: int) -> None:
    rows = [["id", "a", "b"], ["p", "1", "2"], ["q", "3", "4"]]
    rows[bad_row].append("5")
    assert "cannot be read as .csv" in refusal(put(tmp_path, "rna.csv", rows))


def test_an_open_quote_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rna.csv").write_text('id,a\np,"1\nq,2\n')
    assert "cannot be read as .csv" in refusal(tmp_path / "rna.csv")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rna.csv").write_bytes(b"id,a\np\xe9,1\n")
    assert "cannot be read as .csv" in refusal(tmp_path / "rna.csv")


def test_a_truncated_gz_is_refused(tmp_path: Path) -> None:
    rows = [["id", "a"], *([f"p{i}", f"{i * 0.37}"] for i in range(2000))]
    path = put(tmp_path, "rna.csv.gz", rows)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "cannot be read as .csv.gz: Compressed file ended before" in refusal(path)


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_damaged_gz_is_refused(tmp_path: Path, part: float) -> None:
    rows = [["id", "a"], *([f"p{i}", f"{i * 0.37}"] for i in range(2000))]
    path = put(tmp_path, "rna.csv.gz", rows)
    content = bytearray(path.read_bytes())
    at = int(part * len(content))
    content[at : at + 8] = bytes(byte ^ 0xFF for byte in content[at : at + 8])
    path.write_bytes(content)
    assert "cannot be read as .csv.gz" in refusal(path)


def test_garbage_that_is_no_gz_is_refused_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "rna.tsv.gz").write_bytes(b"id\ta\np\xe9\t1\n")
    message = refusal(tmp_path / "rna.tsv.gz")
    assert "cannot be read as .tsv.gz: it is no gzip but plain, and then 'utf-8' codec" in message


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\x80garbage", b"PAR1" + bytes(99) + b"PAR1"])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rna.parquet").write_bytes(content)
    assert "cannot be read as .parquet" in refusal(tmp_path / "rna.parquet")


def test_a_truncated_parquet_is_refused(tmp_path: Path) -> None:
    path = put_parquet(
        tmp_path, pd.DataFrame({"a": np.arange(1000.0)}, index=[str(i) for i in range(1000)])
    )
    path.write_bytes(path.read_bytes()[:-100])
    assert "cannot be read as .parquet" in refusal(path)


@cache
def real_table(name: str) -> Table:
    """Every twentieth feature, read once: a column costs as much as the patients in it."""
    whole = read_table(EXAMPLE / f"{name}.csv")
    assert whole.text is not None
    return Table(whole.frame.iloc[:, ::20], text=whole.text.iloc[:, ::20])


@pytest.mark.parametrize("name", ["cna", "rna", "rppa", "wsi"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_real_tables_survive_writing_in_any_format(tmp_path: Path, name: str, suffix: str) -> None:
    original = real_table(name)
    text = None if suffix == ".parquet" else original.text
    path = write_table(Table(original.frame, suffix=suffix, text=text), tmp_path, name)
    assert path == tmp_path / f"{name}{suffix}"
    pd.testing.assert_frame_equal(read_table(path).frame, original.frame, check_exact=True)


def test_a_real_table_is_written_back_to_the_byte(tmp_path: Path) -> None:
    path = EXAMPLE / "cna.csv"
    written = write_table(read_table(path), tmp_path, "cna")
    assert written.read_bytes() == path.read_bytes()


@given(
    cells=st.lists(
        st.tuples(finite, st.none() | finite.map(repr) | finite.map("{:.3e}".format)),
        min_size=1,
        max_size=8,
    ),
    suffix=st.sampled_from(TEXT_SUFFIXES),
)
@settings(max_examples=40, deadline=None)
def test_any_text_table_is_read_exactly_and_written_back_to_the_letter(
    cells: list[tuple[float, str | None]], suffix: str
) -> None:
    rows = [[f"p{i}", repr(number), text or ""] for i, (number, text) in enumerate(cells)]
    with tempfile.TemporaryDirectory() as folder:
        path = put(Path(folder), f"x{suffix}", [["id", "a", "b"], *rows])
        table = read_table(path)
        assert table.frame["a"].tolist() == [number for number, _ in cells]
        written = write_table(table, Path(folder), "y")
        assert rows_of(written) == rows_of(path)
        pd.testing.assert_frame_equal(read_table(written).frame, table.frame, check_exact=True)


@given(
    values=st.lists(st.tuples(finite32 | st.just(math.nan), finite), min_size=1, max_size=8),
)
@settings(max_examples=30, deadline=None)
def test_any_parquet_table_is_written_back_to_the_bit(values: list[tuple[float, float]]) -> None:
    singles, doubles = zip(*values, strict=True)
    frame = pd.DataFrame(
        {"a": np.array(singles, np.float32), "b": np.array(doubles, np.float64)},
        index=pd.Index([f"p{i}" for i in range(len(values))], name="id"),
    )
    with tempfile.TemporaryDirectory() as folder:
        written = write_table(Table(frame, suffix=".parquet"), Path(folder), "x")
        got = read_table(written).frame
    assert got.dtypes.tolist() == [np.float32, np.float64]
    for column in frame:
        assert got[column].to_numpy().tobytes() == frame[column].to_numpy().tobytes()


@given(
    ids=st.lists(
        st.text(st.sampled_from("abcXYZ019 ,;\"'\t-_#éß"), min_size=1, max_size=6).filter(
            lambda text: text.strip() == text
        ),
        min_size=2,
        max_size=6,
        unique=True,
    ),
    suffix=st.sampled_from(SUFFIXES),
)
@settings(max_examples=40, deadline=None)
def test_any_id_and_any_feature_name_survive(ids: list[str], suffix: str) -> None:
    names = [f"f {name}" for name in ids]
    frame = pd.DataFrame(
        np.arange(len(ids) ** 2, dtype=float).reshape(len(ids), -1),
        index=pd.Index(ids, name="patient"),
        columns=names,
    )
    with tempfile.TemporaryDirectory() as folder:
        got = read_table(write_table(Table(frame, suffix=suffix), Path(folder), "x")).frame
    assert list(got.index) == ids
    assert list(got.columns) == names
    np.testing.assert_array_equal(got.to_numpy(), frame.to_numpy())


def test_generated_text_tables_carry_six_significant_digits_and_empty_gaps(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1 / 3, np.nan, 1e-12]}, index=pd.Index(["p", "q", "r"], name="id"))
    rows = rows_of(write_table(Table(frame), tmp_path, "x"))
    assert rows == [["id", "a"], ["p", "0.333333"], ["q", ""], ["r", "1e-12"]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_table_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    table = Table(pd.DataFrame({"a": [1.0, 2.0]}, index=["p", "q"]), suffix=suffix)
    first = write_table(table, tmp_path / "one", "x").read_bytes()
    assert write_table(table, tmp_path / "two", "x").read_bytes() == first


def test_nothing_is_left_of_a_table_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(OSError, match="no space left"):
        write_table(Table(pd.DataFrame({"a": [1.0]}, index=["p"])), tmp_path, "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", TEXT_SUFFIXES)
def test_completing_keeps_observed_cells_to_the_letter(tmp_path: Path, suffix: str) -> None:
    rows = [
        ["id", "a", "b", "c"],
        ["0012", "1.50", "2e-3", "007"],
        ["0013", "", "+3.", "-0"],
        ["0014", "0.1000000000000000055511151231257827", "NA", "1E5"],
    ]
    table = read_table(put(tmp_path, f"rna{suffix}", rows))
    order = ["0012", "0013", "0014", "new"]
    filled = pd.DataFrame(9.25, index=pd.Index(order, name="id"), columns=["a", "b", "c"])
    written = write_table(table.completed(filled), tmp_path, "done")
    assert rows_of(written) == [
        rows[0],
        rows[1],
        ["0013", "9.25", "+3.", "-0"],
        ["0014", "0.1000000000000000055511151231257827", "9.25", "1E5"],
        ["new", "9.25", "9.25", "9.25"],
    ]


def test_completing_fills_the_values_as_well_as_the_cells(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "rna.csv", [["id", "a", "b"], ["p", "1.50", ""]]))
    filled = pd.DataFrame(9.25, index=["p", "q"], columns=["a", "b"])
    done = table.completed(filled)
    np.testing.assert_array_equal(done.frame.to_numpy(), [[1.5, 9.25], [9.25, 9.25]])
    assert (done.source, done.suffix) == ("rna.csv", ".csv")


def test_what_cannot_be_filled_stays_empty(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "rna.csv", [["id", "a", "b"], ["p", "1.50", "NA"]]))
    filled = pd.DataFrame({"a": [7.0, 7.0], "b": [np.nan, np.nan]}, index=["p", "q"])
    filled.index.name = "id"
    written = write_table(table.completed(filled), tmp_path, "done")
    assert rows_of(written) == [["id", "a", "b"], ["p", "1.50", ""], ["q", "7", ""]]


@given(values=st.lists(finite32 | st.just(math.nan), min_size=1, max_size=10))
@settings(max_examples=30, deadline=None)
def test_completing_keeps_single_precision_to_the_bit(values: list[float]) -> None:
    own = np.array(values, np.float32)
    ids = [f"p{i}" for i in range(len(own))]
    table = Table(pd.DataFrame({"a": own}, index=ids), suffix=".parquet")
    filled = pd.DataFrame({"a": np.full(len(own) + 1, 0.1)}, index=[*ids, "new"])
    done = table.completed(filled).frame
    assert done["a"].dtype == np.float32
    got = done["a"].to_numpy()
    assert got[:-1][~np.isnan(own)].tobytes() == own[~np.isnan(own)].tobytes()
    assert set(got[:-1][np.isnan(own)]) | {got[-1]} == {np.float32(0.1)}


def test_completed_parquet_is_written_with_the_precision_of_each_column(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"a": np.array([0.1, np.nan], np.float32), "b": [0.1, 0.2]}, index=["p", "q"]
    )
    table = read_table(put_parquet(tmp_path, frame))
    filled = pd.DataFrame(5.0, index=["q", "p", "r"], columns=["a", "b"])
    path = write_table(table.completed(filled), tmp_path, "done")
    assert [str(field.type) for field in pq.read_schema(path)][:2] == ["float", "double"]
    got = read_table(path).frame
    assert list(got.index) == ["q", "p", "r"]
    assert list(got.loc["p"]) == [float(np.float32(0.1)), 0.1]
    assert list(got.loc["q"]) == [5.0, 0.2]
    assert list(got.loc["r"]) == [5.0, 5.0]


def test_completing_does_not_change_the_table_itself(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "rna.csv", [["id", "a"], ["p", ""]]))
    table.completed(pd.DataFrame({"a": [1.0, 2.0]}, index=["p", "q"]))
    assert table.frame["a"].isna().tolist() == [True]
    assert list(table.frame.index) == ["p"]


def test_a_table_like_another_takes_its_format_but_not_its_cells(tmp_path: Path) -> None:
    model = read_table(put(tmp_path, "rna.tsv", [["id", "a"], ["p", "1.50"]]))
    other = like(pd.DataFrame({"a": [0.0]}, index=["p"]), model)
    assert other.suffix == ".tsv"
    assert other.text is None
    assert other.source == model.source


def test_the_union_keeps_the_order_of_first_appearance() -> None:
    parts = [pd.Index(["b", "a"]), pd.Index(["c", "a"]), pd.Index([], dtype=str), pd.Index(["d"])]
    assert union_order(parts) == ["b", "a", "c", "d"]
    assert union_order([]) == []
