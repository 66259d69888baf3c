"""Cells to numbers: what is a gap, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError

# Rows that are looked through at a time.
ROWS = 4096


def numbers(
    cells: pd.DataFrame, rows: Sequence[str], columns: Sequence[str], path: object, turned: bool
) -> pd.DataFrame:
    """Floating-point values of cells; gaps are NaN.

    Parameters
    ----------
    cells
        Without labels.
    rows, columns
        Names of both axes, for messages.
    path
        For messages.
    turned
        Whether rows are features and columns patients.

    Raises
    ------
    DataError
        If a cell is neither a finite number nor a gap.
    """
    if not len(cells.columns):
        return pd.DataFrame(np.empty((len(cells), 0)))
    for place, kind in enumerate(cells.dtypes):
        if kind.kind in "mM":  # pandas would turn these into nanoseconds
            raise DataError(
                f"{path}, column {columns[place]!r} holds dates or times; expected numbers"
            )
    if all(kind in (np.float32, np.float64) for kind in cells.dtypes):
        values = cells
    else:
        values = cells.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    if _any_bad(values, cells):
        raise DataError(f"{path}, {_first_bad(values, cells, rows, columns, turned)}")
    return values


def _any_bad(values: pd.DataFrame, cells: pd.DataFrame) -> bool:
    array = values.to_numpy()
    # Some rows at a time, for the mask of a large table is large.
    for start in range(0, len(array), ROWS):
        part = array[start : start + ROWS]
        if np.isinf(part).any():
            return True
        # Cells that were numbers already are gaps where they are NaN; of text it may be a word.
        if values is not cells:
            given = cells.iloc[start : start + ROWS].notna().to_numpy()
            if (np.isnan(part) & given).any():
                return True
    return False


def _first_bad(
    values: pd.DataFrame,
    cells: pd.DataFrame,
    rows: Sequence[str],
    columns: Sequence[str],
    turned: bool,
) -> str:
    """Where the first bad cell is, what should stand there, and how many there are."""
    array = values.to_numpy()
    bad, wanted = np.isnan(array) & cells.notna().to_numpy(), "a number or empty"
    if not bad.any():
        bad, wanted = np.isinf(array), "a finite number"
    at, over = np.argwhere(bad)[0]
    what = "feature" if turned else "patient"
    return (
        f"{what} {rows[at]!r}, column {columns[over]!r}: "
        f"{cells.iloc[at, over]!r} should be {wanted} ({int(bad.sum())} such cells)"
    )


def as_text(values: pd.DataFrame) -> pd.DataFrame:
    """Values at the six significant digits that a float32 model can stand for; gaps stay empty."""
    return _cells(values, np.char.mod("%.6g", values.to_numpy(dtype=np.float64)))


def exact_text(values: pd.DataFrame) -> pd.DataFrame:
    """Values in the fewest digits that give the same number back; gaps stay empty."""
    array = values.to_numpy()
    return _cells(values, array.astype(np.str_))


def _cells(values: pd.DataFrame, written: NDArray[np.str_]) -> pd.DataFrame:
    cells = written.astype(object)
    cells[values.isna().to_numpy()] = np.nan
    return pd.DataFrame(cells, index=values.index, columns=values.columns, dtype=object)
