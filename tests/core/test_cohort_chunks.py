"""Tables read some patients at a time: the same as read whole, in whatever pieces."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codenoise.core.base.errors import CodenoiseError, DataError
from codenoise.core.cohort import chunks as module
from codenoise.core.cohort.chunks import WholeOnlyError, read_chunks
from codenoise.core.cohort.formats import READERS
from codenoise.core.cohort.tables import SUFFIXES, Table, read_table, write_table
from codenoise.core.cohort.writing import write_chunks

EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga" / "cohort"
STREAMED = [suffix for suffix in SUFFIXES if suffix != ".h5ad"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven patients of two features a chunk; three of five."""
    monkeypatch.setattr(module, "CELLS", 15)


def whole(path: Path, **options: Any) -> pd.DataFrame:
    """All chunks together, in the order of the patients."""
    chunks = read_chunks(path, **options)
    frame = pd.concat(list(chunks.frames))
    assert list(frame.columns) == chunks.features
    return frame.loc[chunks.patients]


def put(folder: Path, text: str, name: str = "rna.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def numbered(patients: int, features: int = 2) -> pd.DataFrame:
    values = np.arange(patients * features, dtype=np.float64).reshape(patients, features) / 7
    index = pd.Index([f"{i:04d}" for i in range(patients)], name="patient")
    return pd.DataFrame(values, index, [f"f{i}" for i in range(features)])


@pytest.fixture(scope="module")
def rppa() -> Table:
    return read_table(EXAMPLE / "rppa.csv")


@pytest.mark.parametrize("suffix", STREAMED)
def test_chunks_are_the_table_in_every_format(
    tmp_path: Path, rppa: Table, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CELLS", 7 * 144)
    text = None if suffix == ".parquet" else rppa.text
    path = write_table(Table(rppa.frame, suffix=suffix, text=text), tmp_path, "rppa")
    features = list(rppa.frame.columns)
    chunks = read_chunks(path, features=features)
    frames = list(chunks.frames)
    assert len(frames) > 1
    assert max(len(frame) for frame in frames) <= 7
    table = read_table(path, features=features)
    pd.testing.assert_frame_equal(pd.concat(frames), table.frame, check_exact=True)
    assert (chunks.notes, chunks.changes) == (table.notes, table.changes)


@pytest.mark.parametrize("index", [True, False])
def test_parquet_may_keep_its_ids_in_an_index_or_a_column(tmp_path: Path, index: bool) -> None:
    frame = numbered(20)
    path = tmp_path / "rna.parquet"
    (frame if index else frame.reset_index()).to_parquet(path, row_group_size=6)
    pd.testing.assert_frame_equal(whole(path), read_table(path).frame)


def test_ids_stay_text(tmp_path: Path, small: None) -> None:
    path = put(tmp_path, "id,a,b\n0012,1,2\n12,3,4\n1e3,5,6\n")
    assert list(whole(path).index) == ["0012", "12", "1e3"]


LABELS = st.sampled_from(
    [f"TCGA-AB-000{i}{sample}" for i in range(4) for sample in ("", "-01A", "-01B", "-06A", "-11A")]
    + [f"p{i}" for i in range(12)]
)


@settings(deadline=None, max_examples=40)
@given(labels=st.lists(LABELS, min_size=1, unique=True), cells=st.integers(1, 20))
def test_samples_are_chosen_among_all_wherever_they_stand(labels: list[str], cells: int) -> None:
    frame = numbered(len(labels)).set_axis(pd.Index(labels, name="id"), axis=0)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CELLS", cells)
        path = Path(folder) / "rna.csv"
        frame.to_csv(path)
        try:
            expected = read_table(path)
        except DataError as refused:
            with pytest.raises(DataError) as caught:
                read_chunks(path)
            assert str(caught.value) == str(refused)
        else:
            chunks = read_chunks(path)
            found = pd.concat([*chunks.frames]).loc[chunks.patients]
            pd.testing.assert_frame_equal(found, expected.frame)
            assert chunks.notes == expected.notes


@pytest.mark.parametrize("merge", ["mean", "first"])
def test_features_are_merged_as_in_reading_whole(tmp_path: Path, small: None, merge: str) -> None:
    head = "id,ENSG00000000001.1,b,ENSG00000000001.2\n"
    path = put(tmp_path, head + "".join(f"p{i},{i},7,{3 * i}\n" for i in range(20)))
    table = read_table(path, merge=merge)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(whole(path, merge=merge), table.frame)
    assert "1 column merged into others" in read_chunks(path, merge=merge).notes[-1]  # type: ignore[arg-type]


SPOILT = {
    "infinity": lambda rows: rows[17].__setitem__(2, "inf"),
    "text": lambda rows: rows[17].__setitem__(2, "high"),
    "twice": lambda rows: rows.append([*rows[1]]),
    "no id": lambda rows: rows[18].__setitem__(0, ""),
    "too long": lambda rows: rows[18].append("5"),
    "too long at first": lambda rows: rows[1].append("5"),
    "feature twice": lambda rows: rows[0].__setitem__(2, "f0"),
    "a date": lambda rows: rows[0].__setitem__(2, "2-Sep"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_is_refused_whole_is_refused_in_chunks_with_the_same_words(
    tmp_path: Path, small: None, how: str
) -> None:
    table = numbered(20)
    rows = [["id", *table.columns], *([str(c) for c in row] for row in table.itertuples())]
    SPOILT[how](rows)
    path = put(tmp_path, "".join(",".join(row) + "\n" for row in rows))
    with pytest.raises(DataError) as alone:
        read_table(path)
    with pytest.raises(DataError) as caught:
        whole(path)
    assert str(caught.value) == str(alone.value)


def test_an_infinity_in_parquet_is_named_by_patient_and_column(tmp_path: Path, small: None) -> None:
    frame = numbered(20).astype(np.float32)
    frame.iloc[15, 1] = np.inf
    frame.to_parquet(tmp_path / "rna.parquet")
    chunks = read_chunks(tmp_path / "rna.parquet")
    with pytest.raises(DataError) as caught:
        list(chunks.frames)
    assert str(caught.value) == (
        f"{tmp_path / 'rna.parquet'}, patient '0015', column 'f1': np.float32(inf) should be a "
        f"finite number (1 such cells)"
    )


def test_features_as_rows_are_not_read_in_chunks(tmp_path: Path) -> None:
    path = put(tmp_path, "gene\tTCGA-AA-0001-01\tTCGA-AA-0002-01\nTP53\t1\t2\n", "rna.tsv")
    with pytest.raises(WholeOnlyError) as caught:
        read_chunks(path)
    assert str(caught.value) == (
        f"{path} has features as rows, each of which holds every patient, so it has to be read "
        f"whole"
    )
    table = read_table(path).frame
    table.T.to_parquet(tmp_path / "rna.parquet")
    with pytest.raises(WholeOnlyError, match=r"rna\.parquet has features as rows"):
        read_chunks(tmp_path / "rna.parquet", features=["TP53"])


def test_formats_that_are_not_read_in_chunks_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(READERS, "_things", {})
    READERS.register(".own", pd.read_csv, "a plugin")
    own = put(tmp_path, "id,a\np,1\n", "rna.own")
    seg = put(tmp_path, "Sample\tChromosome\tStart\tEnd\tSegment_Mean\nS\t1\t1\t9\t0.1\n", "c.seg")
    h5ad = write_table(Table(numbered(3), suffix=".h5ad"), tmp_path, "rna")
    (tmp_path / "wsi").mkdir()
    for path in (own, seg, h5ad, tmp_path / "wsi"):
        with pytest.raises(WholeOnlyError) as caught:
            read_chunks(path)
        assert str(caught.value) == (
            f"{path} is no table of text or parquet with a row per patient, so it has to be read "
            f"whole"
        )


def test_slides_to_be_averaged_are_not_read_in_chunks(tmp_path: Path) -> None:
    path = put(tmp_path, "slide,0,1\np1.svs,1,2\np1.svs,3,4\n", "wsi.csv")
    with pytest.raises(WholeOnlyError) as caught:
        read_chunks(path, modality="wsi")
    assert str(caught.value) == (
        f"{path} has several slides of a sample to average, so it has to be read whole"
    )


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv is not there$"):
        read_chunks(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_without_patients_has_none(tmp_path: Path, suffix: str) -> None:
    path = write_table(Table(numbered(0), suffix=suffix), tmp_path, "rna")
    chunks = read_chunks(path)
    assert (chunks.patients, chunks.features) == ([], ["f0", "f1"])
    assert sum(len(frame) for frame in chunks.frames) == 0


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, small: None) -> None:
    path = put(tmp_path, numbered(20).to_csv())
    chunks = read_chunks(path)
    put(tmp_path, numbered(19).to_csv())
    with pytest.raises(DataError) as caught:
        list(chunks.frames)
    assert str(caught.value) == f"{path} had 20 rows and then 19; it was changed"


def test_large_row_groups_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codenoise.core.cohort.parquet.ROW_GROUP", 4)
    numbered(20).to_parquet(tmp_path / "rna.parquet")
    assert read_chunks(tmp_path / "rna.parquet").changes == (
        "a row group has 20 patients, who are held in memory together; written anew with "
        "row_group_size=4, the file needs less",
    )
    numbered(20).to_parquet(tmp_path / "rna.parquet", row_group_size=4)
    assert read_chunks(tmp_path / "rna.parquet").changes == ()


# Writing


@pytest.mark.parametrize("suffix", STREAMED)
def test_what_is_written_in_chunks_is_read_back_whole(tmp_path: Path, suffix: str) -> None:
    frame = numbered(20, 5).astype(np.float32)
    frame.iloc[3, 2] = np.nan
    path = tmp_path / f"rna{suffix}"
    write_chunks((frame.iloc[start : start + 3] for start in range(0, 20, 3)), path)
    found = read_table(path).frame
    np.testing.assert_array_equal(found.to_numpy(dtype=np.float32), frame.to_numpy())
    assert list(found.index) == list(frame.index)
    assert read_table(path).suffix == suffix


def test_written_row_groups_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codenoise.core.cohort.writing.ROW_GROUP", 8)
    path = tmp_path / "rna.parquet"
    write_chunks([numbered(20).iloc[start : start + 5] for start in range(0, 20, 5)], path)
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [8, 2, 8, 2]
    pd.testing.assert_frame_equal(pd.read_parquet(path), numbered(20))


@pytest.mark.parametrize("name", ["rna.xlsx", "rna", "rna.h5ad", "rna.seg"])
def test_other_formats_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        write_chunks([numbered(2)], tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name} tells no format of a table; end its name in .parquet or .csv"
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_that_breaks_off_is_not_there(tmp_path: Path, suffix: str) -> None:
    def broken() -> Iterator[pd.DataFrame]:
        yield numbered(4)
        raise CodenoiseError("no more")

    with pytest.raises(CodenoiseError, match="no more"):
        write_chunks(broken(), tmp_path / f"rna{suffix}")
    assert list(tmp_path.iterdir()) == []
