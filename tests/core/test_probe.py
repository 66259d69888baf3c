"""The probe of a file: what it is, told before anything is parsed, in as few openings as can be."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from codenoise.core.base.errors import DataError
from codenoise.core.cohort import kinds
from codenoise.core.cohort.chunks import WholeOnlyError, read_chunks
from codenoise.core.cohort.cohort import read_clinical, read_cohort
from codenoise.core.cohort.compression import ENDINGS, compressed
from codenoise.core.cohort.formats import READERS, Asked, Grid
from codenoise.core.cohort.kinds import KINDS, Kind, kind_of
from codenoise.core.cohort.probe import HEAD, Probe, probe
from codenoise.core.cohort.tables import read_table

FRAME = pd.DataFrame(
    np.arange(60.0).reshape(20, 3) / 7,
    pd.Index([f"P{i:02d}" for i in range(20)], name="patient"),
    ["TP53", "KRAS", "EGFR"],
)
FORMATS = [".csv", ".tsv", ".parquet", *(f".csv{e}" for e in ENDINGS)]
Openings = Callable[[Path], AbstractContextManager[list[int]]]
_opened: Counter[str] | None = None


def _count(event: str, args: tuple[object, ...]) -> None:
    if _opened is not None and event == "open" and isinstance(args[0], str | Path):
        _opened[str(args[0])] += 1


sys.addaudithook(_count)  # one for good, for a hook cannot be taken away


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> Openings:
    """``with openings(path) as times``: how often a file was opened, by Python or by parquet."""
    native = pq.ParquetFile.__init__

    def counted(self: pq.ParquetFile, source: object, *args: object, **others: object) -> None:
        if isinstance(source, str | Path):
            _count("open", (source,))
        native(self, source, *args, **others)

    monkeypatch.setattr(pq.ParquetFile, "__init__", counted)

    @contextmanager
    def within(path: Path) -> Iterator[list[int]]:
        global _opened
        _opened, times = Counter(), [0]
        try:
            yield times
        finally:
            times[0], _opened = _opened[str(path)], None

    return within


def put(folder: Path, suffix: str, stem: str = "rna") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{stem}{suffix}"
    if suffix == ".parquet":
        FRAME.to_parquet(path)
    else:
        separator = "\t" if suffix.startswith(".tsv") else ","
        path.write_bytes(compressed(FRAME.to_csv(sep=separator).encode(), path.suffix))
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_cohort_opens_each_file_once(tmp_path: Path, openings: Openings, suffix: str) -> None:
    path, clinical = put(tmp_path, suffix), put(tmp_path, suffix, "clinical")
    with openings(path) as times:
        cohort = read_cohort(tmp_path)
    assert times == [1]
    pd.testing.assert_frame_equal(cohort.tables["rna"].frame, FRAME)
    with openings(path) as times:
        read_table(path)
    assert times == [1]
    with openings(clinical) as times:
        assert len(read_clinical(tmp_path)) == len(FRAME)
    assert times == [1]
    with openings(clinical) as times:
        read_clinical(clinical)
    assert times == [2]  # it might have been a cohort, in MuData


@pytest.mark.parametrize("suffix", FORMATS)
def test_chunks_open_a_file_once_for_the_ids_and_once_for_the_cells(
    tmp_path: Path, openings: Openings, suffix: str
) -> None:
    path = put(tmp_path, suffix)
    with openings(path) as times:
        chunks = read_chunks(path)
    assert times == [1]
    with openings(path) as times:
        pd.testing.assert_frame_equal(pd.concat(chunks.frames), FRAME)
    assert times == [1]


def test_what_a_plugin_reads_is_not_opened_for_it(
    tmp_path: Path, openings: Openings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(READERS, "_things", {})
    READERS.register(".own", lambda _: FRAME, "a plugin")
    path = tmp_path / "rna.own"
    path.write_bytes(b"\x1f\x8b of no gzip")
    with openings(path) as times:
        assert list(read_table(path).frame.index) == list(FRAME.index)
    assert times == [0]


@pytest.mark.parametrize("ending", ["", *ENDINGS])
def test_text_is_told_by_its_first_lines(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "rna"
    path.write_bytes(compressed(b'id;"a;b";c\np;1;2\n', ending))
    with probe(path) as file:
        assert (file.container, file.compression) == ("text", ending)
        assert (file.separator, file.header) == (";", ["id", "a;b", "c"])
        assert kind_of(file) is KINDS["text"]
        assert file.whole().read() == b'id;"a;b";c\np;1;2\n'


@pytest.mark.parametrize("ending", ["", *ENDINGS])
def test_the_head_of_text_has_two_whole_lines_however_long(tmp_path: Path, ending: str) -> None:
    lines = [",".join(["x" * 20] * 8000).encode() + b"\n" for _ in range(3)]
    assert len(lines[0]) > HEAD
    path = tmp_path / "rna.csv"
    path.write_bytes(compressed(b"".join(lines), ending))
    with probe(path) as file:
        assert file.head == b"".join(lines[:2])
        assert len(file.header) == 8000


def _zip(path: Path, member: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "x")


SEGMENTS = "Sample\tChromosome\tStart\tEnd\tSegment_Mean\n"
MADE: dict[str, Callable[[Path], object]] = {
    "slide folder": lambda path: path.mkdir(),
    "parquet": FRAME.to_parquet,
    "workbook": lambda path: _zip(path, "[Content_Types].xml"),
    "npz": lambda path: _zip(path, "features.npy"),
    "segments": lambda path: path.write_text(SEGMENTS),
    "text": lambda path: path.write_text("id,a\n"),
}


@pytest.mark.parametrize("name", MADE)
def test_a_file_is_of_the_kind_that_its_content_says(tmp_path: Path, name: str) -> None:
    MADE[name](tmp_path / "rna")
    with probe(tmp_path / "rna") as file:
        assert kind_of(file) is KINDS[name]


@pytest.mark.parametrize(
    ("keys", "name"),
    [(("X", "obs", "var"), "anndata"), (("mod", "obs", "var"), "mudata"), (("features",), "hdf5")],
)
def test_hdf5_is_told_by_what_is_in_it(tmp_path: Path, keys: tuple[str, ...], name: str) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rna.csv", "w") as content:
        for key in keys:
            content.create_group(key)
    with probe(tmp_path / "rna.csv") as file:
        assert file.hdf5_kind == name
        assert kind_of(file) is KINDS[name]


def test_a_kind_more_is_an_entry_and_a_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(file: Probe) -> bool:
        return file.head.startswith(b"<html")

    def refuse(file: Probe, _: Asked) -> Grid:
        raise DataError(f"{file.path} is a page of the web; fetch the table it shows")

    monkeypatch.setattr(kinds, "KINDS", {"page": Kind(told, refuse), **KINDS})
    path = tmp_path / "rna.csv"
    path.write_text("<html>\n<p>log in</p>\n")
    with pytest.raises(DataError, match=r"is a page of the web; fetch the table it shows$"):
        read_cohort(tmp_path)
    with pytest.raises(WholeOnlyError):
        read_chunks(path)
    shutil.copy(put(tmp_path / "more", ".csv"), path)
    pd.testing.assert_frame_equal(read_cohort(tmp_path).tables["rna"].frame, FRAME)


@pytest.mark.parametrize("ending", ["", *ENDINGS])
def test_what_is_asked_of_a_file_moves_no_stream_of_it(tmp_path: Path, ending: str) -> None:
    content = FRAME.to_csv().encode()
    (tmp_path / "rna").write_bytes(compressed(content, ending))
    with probe(tmp_path / "rna") as file, file.content() as stream:
        first = stream.read(100)
        assert (file.compression, file.container, len(file.header)) == (ending, "text", 4)
        assert first + stream.read() == content


def test_a_file_is_closed_behind_its_reader(tmp_path: Path) -> None:
    with probe(put(tmp_path, ".csv")) as file, file.content() as stream:
        assert stream.read(7) == b"patient"
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)
