"""Formats told by content: compression, separator, container; and what is written back."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.chunks import read_chunks
from codenoise.core.cohort.compression import ENDINGS, WORDS, compressed, compression_of, opened
from codenoise.core.cohort.formats import SEPARATORS
from codenoise.core.cohort.probe import delimiter
from codenoise.core.cohort.tables import SUFFIXES, read_table, table_suffix, write_table

INPUTS = Path(__file__).parents[3] / "shared" / "data" / "inputs"
TEXT = b"id,a,b\np,1.50,\nq,2e3,-0\n"


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ending", ["", *ENDINGS])
@pytest.mark.parametrize("name", ["rna.csv", "rna.csv.gz", "rna", "rna.parquet"])
def test_compression_is_told_by_content_whatever_the_name(
    tmp_path: Path, ending: str, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(compressed(TEXT, ending))
    table = read_table(path)
    assert table.frame.loc["q"].tolist() == [2000.0, 0.0]
    assert table.suffix == f".csv{ending}"
    assert table.notes[0] == f"{WORDS[ending]} text, cells parted by commas"
    with opened(write_table(table, tmp_path / "out", "rna")) as stream:
        assert stream.read() == TEXT


def test_a_name_that_lies_is_said(tmp_path: Path) -> None:
    (tmp_path / "rna.csv").write_bytes(compressed(TEXT, ".xz"))
    table = read_table(tmp_path / "rna.csv")
    assert table.notes[1] == "the name ends in .csv, the content is that of .csv.xz"


@pytest.mark.parametrize("ending", ENDINGS)
def test_compressed_bytes_are_the_same_each_time_and_told_apart(ending: str) -> None:
    assert compressed(TEXT, ending) == compressed(TEXT, ending)
    assert compression_of(compressed(TEXT, ending)) == ending
    assert compression_of(TEXT) == ""


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_cut_short_is_refused(tmp_path: Path, ending: str) -> None:
    content = "id,a\n" + "".join(f"p{i},{i * 0.37}\n" for i in range(3000))
    path = tmp_path / f"rna.csv{ending}"
    whole = compressed(content.encode(), ending)
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path).startswith(f"{path} cannot be read as .csv{ending}: ")


@pytest.mark.parametrize("ending", ENDINGS)
def test_several_streams_in_one_file_are_read_to_the_end(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rna.csv{ending}"
    path.write_bytes(compressed(TEXT, ending) + compressed(b"r,3,4\n", ending))
    assert list(read_table(path).frame.index) == ["p", "q", "r"]


@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("name", ["rna.csv", "rna.tsv", "rna.txt", "rna"])
def test_the_separator_is_told_by_the_header_and_kept(
    tmp_path: Path, separator: str, name: str
) -> None:
    content = TEXT.replace(b",", separator.encode())
    (tmp_path / name).write_bytes(content)
    table = read_table(tmp_path / name)
    assert list(table.frame.columns) == ["a", "b"]
    assert write_table(table, tmp_path / "out", "rna").read_bytes() == content


@pytest.mark.parametrize(
    ("lines", "usual", "expected"),
    [
        (["id,a;b\n", "p,1\n"], ",", ","),
        (["id;a,x;b\n", "p;1;2\n"], ",", ";"),
        (["id\ta,b\tc,d\n", "p\t1\t2\n"], ",", "\t"),
        (['"id;x",a\n', "p,1\n"], ",", ","),
        (["id\n", "p\n"], "\t", "\t"),
        (["id,a\n", "p,1,2\n"], ",", ","),
        (["", ""], ",", ","),
    ],
)
def test_the_separator_fits_header_and_first_row(
    lines: list[str], usual: str, expected: str
) -> None:
    assert delimiter(lines, usual) == expected


def test_a_decimal_comma_is_refused_as_text(tmp_path: Path) -> None:
    (tmp_path / "rna.csv").write_text("id;a\np;1,5\n")
    assert "patient 'p', column 'a': '1,5' should be a number or empty" in refusal(
        tmp_path / "rna.csv"
    )


def test_parquet_is_told_by_content(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.array([0.1], np.float32)}, index=["p"])
    frame.to_parquet(tmp_path / "x.parquet")
    for ending in ("", ".gz"):
        path = tmp_path / f"rna.csv{ending}"
        path.write_bytes(compressed((tmp_path / "x.parquet").read_bytes(), ending))
        table = read_table(path)
        assert table.suffix == ".parquet"
        assert table.frame.dtypes["a"] == np.float32


def test_ids_in_a_plain_column_of_parquet_are_written_there_again(tmp_path: Path) -> None:
    frame = pd.DataFrame({"who": ["TCGA-AA-0001-01", "x"], "a": [1.0, 2.0]})
    frame.to_parquet(tmp_path / "rna.parquet", index=False)
    table = read_table(tmp_path / "rna.parquet")
    assert list(table.frame.index) == ["TCGA-AA-0001", "x"]
    got = pd.read_parquet(write_table(table, tmp_path / "out", "rna"))
    pd.testing.assert_frame_equal(got, frame)


def test_features_as_rows_in_parquet_are_written_back_to_the_bit(tmp_path: Path) -> None:
    values = np.array([[0.1, np.nan, 3], [4, 5, 6]], np.float32)
    columns = ["TCGA-AA-0001-01", "TCGA-AA-0002-01", "TCGA-AA-0003-01"]
    frame = pd.DataFrame(values, index=pd.Index(["TP53", "KRAS"], name="gene"), columns=columns)
    frame.to_parquet(tmp_path / "rna.parquet")
    table = read_table(tmp_path / "rna.parquet")
    assert table.frame.shape == (3, 2)
    got = pd.read_parquet(write_table(table, tmp_path / "out", "rna"))
    pd.testing.assert_frame_equal(got, frame, check_exact=True)


def test_an_excel_workbook_is_refused_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "rna.csv"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    assert refusal(path) == (
        f"{path} is an Excel workbook; save its sheet as CSV, with ids and names as text"
    )


def test_another_zip_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rna.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rna.csv", "id,a\np,1\n")
    assert "has no 'features'" in refusal(path)


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rna.csv"
    path.write_bytes(b"PK\x03\x04\x14\x00garbage")
    assert refusal(path) == f"{path} cannot be read as .csv: File is not a zip file"


def test_names_of_tables() -> None:
    names = ["a.csv", "a.tsv.xz", "a.TXT.zst", "a.seg.bz2", "a.parquet", "a.h5ad", "a.h5", "a.npz"]
    assert all(table_suffix(Path(name)) for name in names)
    assert [table_suffix(Path(name)) for name in ("a.md", "a.xlsx", "csv", "a.toml")] == [None] * 4
    assert {*SEPARATORS} < {*SUFFIXES}


def test_a_folder_without_embeddings_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "wsi").mkdir()
    assert refusal(tmp_path / "wsi") == (
        f"{tmp_path / 'wsi'} is a folder without slide embeddings (.h5 or .npz)"
    )


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_row_with_fewer_cells_than_the_header_is_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rna.csv{ending}"
    path.write_bytes(compressed(b"id,a,b,c\np,1,2,3\n\nq,1,2,\nr,4,5\n", ending))
    message = f"{path}, data row 3: 3 cell(s), where the header has 4; the file may have been cut"
    assert refusal(path).startswith(message)
    with pytest.raises(DataError) as caught:
        read_chunks(path)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("kept", range(1, 9))
def test_a_table_cut_off_anywhere_in_its_last_row_is_never_filled_up(
    tmp_path: Path, kept: int
) -> None:
    whole = b"id,a,b\np,1,2\nq,10,20\n"
    path = tmp_path / "rna.csv"
    path.write_bytes(whole[: len(whole) - kept])
    if b"q" in path.read_bytes() and path.read_bytes().count(b",") < 6:
        assert "data row 2" in refusal(path)
    else:  # a row that is there to its last separator may end in a gap, and an empty file has none
        frame = read_table(path).frame
        assert frame.loc["p"].tolist() == [1, 2]


def test_line_breaks_within_quotes_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rna.csv"
    path.write_bytes(b'id,a,b\n"p\n1",1,2\nq,3,4\n')
    assert read_table(path).frame.to_numpy().tolist() == [[1, 2], [3, 4]]


@pytest.mark.skipif(not INPUTS.is_dir(), reason="the excerpts are not here")
def test_an_excerpt_that_was_cut_off_is_refused() -> None:
    assert "cell(s), where the header has" in refusal(INPUTS / "truncated_rppa.csv")
