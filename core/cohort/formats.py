"""File formats of a table: which there are by name, and the cells of a file as they stand."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from codenoise.core.base.errors import DataError, one_line
from codenoise.core.base.known import Known
from codenoise.core.cohort.compression import (
    COMPRESSION_ERRORS,
    ENDINGS,
    LONGEST,
    WORDS,
    compression_of,
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


@dataclass(frozen=True)
class Asked:
    """What is known of a table before its file is looked at.

    Attributes
    ----------
    features
        Features of the modality's space, if there is one.
    modality
        What it is, if it is told.
    """

    features: Sequence[str] | None = None
    modality: str | None = None


@dataclass(frozen=True)
class Outline:
    """What is known of a file that can be read some rows at a time.

    Attributes
    ----------
    labels
        The labels of every row and column, and no cell.
    blocks
        The cells of the file, some rows at a time, from how many rows to hold at once.
    changes
        What its reader should know, one sentence each.
    """

    labels: Grid
    blocks: Callable[[int], Iterator[pd.DataFrame]]
    changes: tuple[str, ...] = ()


def table_suffix(path: Path) -> str | None:
    """The format of a file by its name, or ``None`` if the name is that of no table."""
    name = path.name.lower()
    known = (*SUFFIXES, *READ_ONLY, *READERS)
    return next((suffix for suffix in known if name.endswith(suffix)), None)


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
        compression = compression_of(raw.read(LONGEST))
    promised = next((e for e in ENDINGS if path.name.lower().endswith(e)), "")
    if promised == compression:
        return one_line(problem)
    return f"it is no {WORDS[promised]} but {WORDS[compression]}, and then {one_line(problem)}"
