"""One table of one modality: patients as rows, features as columns, as it was given."""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from codenoise.core.errors import DataError, first_few, one_line
from codenoise.core.files import atomic_file

SEPARATORS = {".csv": ",", ".tsv": "\t"}
# What the libraries behind a reader raise for a file that is damaged or something else.
READ_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    zlib.error,
    pa.ArrowException,
    pd.errors.ParserWarning,
)
SUFFIXES = (".parquet", *SEPARATORS, *(f"{suffix}.gz" for suffix in SEPARATORS))


@dataclass(frozen=True)
class Table:
    """A modality's values and what is needed to write them back as they came.

    Attributes
    ----------
    frame
        Patients x features, floating point, gaps as NaN; the index holds patient ids as text.
    source
        File name, for messages.
    suffix
        Format, one of `SUFFIXES`; what is written has the same.
    text
        For text formats, the cells as they stood in the file, so that observed values are written
        back to the letter; ``None`` for binary formats.
    """

    frame: pd.DataFrame
    source: str = "table"
    suffix: str = ".csv"
    text: pd.DataFrame | None = field(default=None, repr=False)

    def completed(self, filled: pd.DataFrame) -> Table:
        """Fill gaps, and add patients the table lacks, from ``filled``.

        Parameters
        ----------
        filled
            Complete values; every patient of this table and any others, in the order wanted.
            Columns as in this table.

        Returns
        -------
        Table
            Observed values unchanged: to the letter in text formats, to the bit in others.
        """
        own = self.frame.reindex(filled.index)
        observed = own.notna()
        if self.text is None:
            merged = own.where(observed, filled).astype(self.frame.dtypes.to_dict())
            return Table(merged, self.source, self.suffix)
        text = self.text.reindex(filled.index).where(observed, _as_text(filled))
        return Table(own.where(observed, filled), self.source, self.suffix, text)


def _as_text(values: pd.DataFrame) -> pd.DataFrame:
    """Values at the six significant digits that a float32 model can stand for; gaps stay empty."""
    cells = np.char.mod("%.6g", values.to_numpy(dtype=np.float64)).astype(object)
    cells[values.isna().to_numpy()] = np.nan
    return pd.DataFrame(cells, index=values.index, columns=values.columns, dtype=object)


def table_suffix(path: Path) -> str | None:
    """The format of a file by its name, or ``None`` if it is no table that can be read."""
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)


def read_table(path: Path) -> Table:
    """Read a table: ``.csv`` or ``.tsv`` (also ``.gz``), or ``.parquet``.

    In text tables the first column holds patient ids and the header names the features; empty cells
    and the usual markers (NA, NaN, null) are gaps. In parquet the index holds the ids, or the first
    column where no index is stored.

    Raises
    ------
    DataError
        If the file is missing or unreadable, an id or a feature stands twice, or a cell is not a
        finite number; the message names file, row and column.
    """
    suffix = table_suffix(path)
    if suffix is None:
        raise DataError(f"{path} is no table; expected a name ending in {', '.join(SUFFIXES)}")
    try:
        raw = pd.read_parquet(path) if suffix == ".parquet" else _read_text(path, suffix)
    except FileNotFoundError:
        raise DataError(f"{path} is not there") from None
    except READ_ERRORS as problem:
        raise DataError(f"{path} cannot be read as {suffix}: {one_line(problem)}") from None
    if suffix == ".parquet" and isinstance(raw.index, pd.RangeIndex) and len(raw.columns):
        raw = raw.set_index(raw.columns[0])
    _check_labels(raw, path)
    raw.index = raw.index.astype(str)
    raw.columns = raw.columns.astype(str)
    values = _numbers(raw, path)
    return Table(values, path.name, suffix, raw if suffix != ".parquet" else None)


def _read_text(path: Path, suffix: str) -> pd.DataFrame:
    separator = SEPARATORS[suffix.removesuffix(".gz")]
    # The header is read apart because pandas renames duplicate columns without a word.
    lines = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str, keep_default_na=False)
    header = lines.iloc[0].tolist()
    with warnings.catch_warnings():
        # A first row longer than the header would lose its last cells with a mere warning.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame = pd.read_csv(
            path,
            sep=separator,
            header=None,
            skiprows=1,
            names=range(len(header)),
            dtype=str,
            index_col=False,
        )
    frame.columns = pd.Index(header)
    return frame.set_index(header[0]) if header.count(header[0]) == 1 else frame


def _check_labels(raw: pd.DataFrame, path: Path) -> None:
    if raw.index.nlevels > 1:
        raise DataError(f"{path} has {raw.index.nlevels} index levels; expected one, patient ids")
    if not len(raw) or not len(raw.columns):
        raise DataError(f"{path} holds {len(raw)} patients and {len(raw.columns)} features")
    if raw.index.hasnans:
        row = int(np.flatnonzero(raw.index.isna())[0]) + 1
        raise DataError(f"{path}, data row {row}: the patient id is missing")
    for what, labels in (("patient", raw.index), ("feature", raw.columns)):
        twice = labels[labels.duplicated()].unique()
        if len(twice):
            raise DataError(
                f"{path}: {len(twice)} {what}(s) stand more than once: {first_few(twice)}; "
                f"keep one of each"
            )


def _numbers(raw: pd.DataFrame, path: Path) -> pd.DataFrame:
    for column, kind in raw.dtypes.items():
        if kind.kind in "mM":  # pandas would turn these into nanoseconds
            raise DataError(f"{path}, column {column!r} holds dates or times; expected numbers")
    if all(kind in (np.float32, np.float64) for kind in raw.dtypes):
        values = raw
    else:
        values = raw.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    cells = values.to_numpy()
    text = np.isnan(cells) & raw.notna().to_numpy()
    for bad, wanted in ((text, "a number or empty"), (np.isinf(cells), "a finite number")):
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise DataError(
                f"{path}, patient {raw.index[row]!r}, column {raw.columns[column]!r}: "
                f"{raw.iloc[row, column]!r} should be {wanted} ({int(bad.sum())} such cells)"
            )
    return values


def write_table(table: Table, folder: Path, stem: str) -> Path:
    """Write a table in its own format, whole or not at all; returns the path."""
    path = folder / f"{stem}{table.suffix}"
    with atomic_file(path) as temporary:
        if table.suffix == ".parquet":
            table.frame.to_parquet(temporary, compression="zstd")
        else:
            cells = table.text if table.text is not None else _as_text(table.frame)
            separator = SEPARATORS[table.suffix.removesuffix(".gz")]
            content = cells.to_csv(sep=separator, quoting=csv.QUOTE_MINIMAL).encode()
            if table.suffix.endswith(".gz"):
                content = gzip.compress(content, mtime=0)  # equal tables make equal files
            temporary.write_bytes(content)
    return path


def like(values: pd.DataFrame, model: Table) -> Table:
    """A table of other values in the format of ``model``."""
    return Table(values, model.source, model.suffix)


def union_order(indexes: Sequence[pd.Index[str]]) -> list[str]:
    """Ids of all indexes, each once, in order of first appearance."""
    seen: dict[str, None] = {}
    for index in indexes:
        seen.update(dict.fromkeys(index))
    return list(seen)
