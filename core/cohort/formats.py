"""File formats of a table: which there are, how one is told, and the cells as they stand."""

from __future__ import annotations

import csv
import io
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from codenoise.core.base.errors import DataError, one_line
from codenoise.core.base.known import Known
from codenoise.core.cohort.compression import (
    COMPRESSION_ERRORS,
    ENDINGS,
    WORDS,
    compression_of,
    opened,
)

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
# Formats in which a table is written back; the others are read only, and written as .csv.
SUFFIXES = (
    ".parquet",
    ".h5ad",
    *SEPARATORS,
    *(f"{suffix}{ending}" for suffix in SEPARATORS for ending in ENDINGS),
)
READ_ONLY = (".seg", *(f".seg{ending}" for ending in ENDINGS), ".h5", ".hdf5", ".npz")
# Readers of further formats by ending, from a path to numbers; code plugins put theirs in.
READERS: Known[Callable[[Path], pd.DataFrame]] = Known(
    "reader", {}, reserved=(*SUFFIXES, *READ_ONLY), clash=str.endswith
)
# What the libraries behind a reader raise for a file that is damaged or something else.
READ_ERRORS = (
    *COMPRESSION_ERRORS,
    ValueError,
    KeyError,
    pd.errors.ParserWarning,
    csv.Error,
    zipfile.BadZipFile,
)
# Patients of a row group of parquet: who reads chunks holds one of these, and of a wide file a
# megabyte for every one there is.
ROW_GROUP = 8_000
# Columns that stand beside the feature's name in tables of cBioPortal.
FEATURE_HEADERS = ("hugo_symbol", "entrez_gene_id", "cytoband", "composite.element.ref")
_SEPARATOR_WORDS = {",": "commas", "\t": "tabs", ";": "semicolons"}


@dataclass
class Grid:
    """Cells of a file in the file's own orientation, nothing judged yet.

    Attributes
    ----------
    cells
        Without labels; text where the file is text, gaps as missing.
    ids
        What stands before the cells in each row: the row's name, and further id columns.
    columns
        Names over the cells.
    suffix
        Format to write it back in, one of `SUFFIXES`.
    separator
        Between cells of text formats.
    text
        Whether cells are text.
    by_rows
        Whether the format itself says that rows are patients.
    ids_are_column
        Whether a binary format keeps the ids in a plain column, not in an index.
    annotations
        What else an AnnData file holds.
    notes
        What was found, one sentence each.
    """

    cells: pd.DataFrame
    ids: pd.DataFrame
    columns: list[str]
    suffix: str
    separator: str = ","
    text: bool = False
    by_rows: bool = False
    ids_are_column: bool = False
    annotations: Any = None
    notes: list[str] = field(default_factory=list)


def table_suffix(path: Path) -> str | None:
    """The format of a file by its name, or ``None`` if the name is that of no table."""
    name = path.name.lower()
    known = (*SUFFIXES, *READ_ONLY, *READERS)
    return next((suffix for suffix in known if name.endswith(suffix)), None)


def text_suffix(path: Path, separator: str, compression: str) -> str:
    """The ending to write a text table with: the file's own as far as it tells the truth."""
    named = table_suffix(path) or ""
    for ending in ENDINGS:
        named = named.removesuffix(ending)
    plain = named if named in SEPARATORS else ".tsv" if separator == "\t" else ".csv"
    return plain + compression


def container_of(path: Path) -> tuple[str, str]:
    """What a file is by its first bytes, and how it is compressed.

    Returns
    -------
    tuple
        ``parquet``, ``hdf5``, ``zip`` or ``text``; and the usual ending of the compression.
    """
    with path.open("rb") as raw:
        compression = compression_of(raw.read(8))
    with opened(path) as stream:
        head = stream.read(8)
    if head.startswith(b"PAR1"):
        return "parquet", compression
    if head.startswith((b"\x89HDF\r\n\x1a\n", b"MuData")):
        return "hdf5", compression
    return "zip" if head.startswith(b"PK\x03\x04") else "text", compression


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what libraries raise for a bad file into a `DataError` that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path} is not there") from None
    except READ_ERRORS as problem:
        named = table_suffix(path) or "a table"
        raise DataError(f"{path} cannot be read as {named}: {_why(path, problem)}") from None


def _why(path: Path, problem: BaseException) -> str:
    """The library's message, after what the first bytes say where the name says otherwise."""
    if not path.is_file():
        return one_line(problem)
    with path.open("rb") as raw:
        compression = compression_of(raw.read(8))
    promised = next((e for e in ENDINGS if path.name.lower().endswith(e)), "")
    if promised == compression:
        return one_line(problem)
    return f"it is no {WORDS[promised]} but {WORDS[compression]}, and then {one_line(problem)}"


def whole(path: Path) -> BinaryIO:
    """The decompressed content as a stream that can be sought in."""
    with opened(path) as stream:
        return io.BytesIO(stream.read())


def read_parquet(path: Path, compression: str) -> Grid:
    """The cells of a parquet file; ids from its index, or its first column where it has none."""
    return parquet_grid(pd.read_parquet(whole(path) if compression else path), path)


def parquet_grid(frame: pd.DataFrame, path: Path) -> Grid:
    """The cells of a frame as pandas reads it from parquet.

    Raises
    ------
    DataError
        If its index has several levels.
    """
    if frame.index.nlevels > 1:
        raise DataError(f"{path} has {frame.index.nlevels} index levels; expected one, patient ids")
    plain = isinstance(frame.index, pd.RangeIndex) and bool(len(frame.columns))
    if plain:
        frame = frame.set_index(frame.columns[0])
    name = frame.index.name
    ids = pd.DataFrame({name if name is not None else "": frame.index.to_numpy()})
    columns = [str(column) for column in frame.columns]
    cells = frame.set_axis(range(len(columns)), axis=1).reset_index(drop=True)
    return Grid(cells, ids, columns, ".parquet", ids_are_column=plain)


def read_text(path: Path, compression: str) -> Grid:
    """The cells of a text file as they stand, and the ids before them."""
    head = text_head(path, compression)
    with strict(), opened(path) as stream:
        frame = pd.read_csv(stream, **text_options(head))
    return text_grid(head, frame)


def text_head(path: Path, compression: str) -> Grid:
    """What the header of a text file says, with no row."""
    separator = _separator(path)
    # The header is read apart because pandas renames duplicate columns without a word.
    with opened(path) as stream:
        lines = pd.read_csv(
            stream, sep=separator, header=None, nrows=1, dtype=str, keep_default_na=False
        )
    header = [str(cell) for cell in lines.iloc[0]]
    before = 1
    while before < len(header) and header[before].lower() in FEATURE_HEADERS:
        before += 1
    suffix = text_suffix(path, separator, compression)
    notes = [f"{WORDS[compression]} text, cells parted by {_SEPARATOR_WORDS[separator]}"]
    if (named := table_suffix(path)) in SUFFIXES and named != suffix:
        notes.append(f"the name ends in {named}, the content is that of {suffix}")
    ids = pd.DataFrame(columns=header[:before], dtype=str)
    nothing = pd.DataFrame(columns=range(len(header) - before), dtype=str)
    return Grid(nothing, ids, header[before:], suffix, separator, text=True, notes=notes)


def text_grid(head: Grid, frame: pd.DataFrame) -> Grid:
    """A grid of the head and some rows below it, ids and cells still together."""
    before = head.ids.shape[1]
    ids = frame.iloc[:, :before].set_axis(head.ids.columns, axis=1)
    cells = frame.iloc[:, before:].set_axis(range(len(head.columns)), axis=1)
    return replace(head, ids=ids, cells=cells)


def text_options(head: Grid) -> dict[str, Any]:
    """How pandas reads the rows below a head."""
    return {
        "sep": head.separator,
        "header": None,
        "skiprows": 1,
        "names": range(head.ids.shape[1] + len(head.columns)),
        "dtype": str,
        "index_col": False,
    }


@contextmanager
def strict() -> Iterator[None]:
    """A first row longer than the header would lose its last cells with a mere warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        yield


def _separator(path: Path) -> str:
    named = next((s for name, s in SEPARATORS.items() if name in (table_suffix(path) or "")), "\t")
    with opened(path) as stream:
        lines = [stream.readline().decode("utf-8-sig", errors="replace") for _ in range(2)]
    return delimiter(lines, named)


def delimiter(lines: list[str], usual: str = ",") -> str:
    """The separator by the header and the first row; the usual one if it fits as well."""
    widths = {s: _widths(lines, s) for s in (usual, *_SEPARATOR_WORDS)}
    fitting = [s for s, w in widths.items() if w and w[0] > 1 and w[-1] == w[0]]
    if fitting:
        return usual if usual in fitting else max(fitting, key=lambda s: widths[s][0])
    return usual if widths[usual][:1] > [1] else max(widths, key=lambda s: widths[s][:1])


def _widths(lines: list[str], separator: str) -> list[int]:
    try:
        return [len(row) for row in csv.reader(lines, delimiter=separator) if row]
    except csv.Error:
        return []


def members(path: Path) -> list[str]:
    """Names in a zip archive.

    Raises
    ------
    DataError
        If it is a workbook of Excel.
    """
    with zipfile.ZipFile(whole(path)) as archive:
        names = archive.namelist()
    if "[Content_Types].xml" in names:
        raise DataError(
            f"{path} is an Excel workbook; save its sheet as CSV, with ids and names as text"
        )
    return names
