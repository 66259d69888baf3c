"""Tables in formats that are not built in, by readers that others registered."""

from __future__ import annotations

import pandas as pd

from codenoise.core.base.errors import DataError, one_line
from codenoise.core.cohort.formats import READERS, Asked, Grid
from codenoise.core.cohort.probe import Probe


def is_foreign(file: Probe) -> bool:
    """Whether a file's name ends as a registered reader's do."""
    return file.suffix in READERS


def read_foreign(file: Probe, _: Asked) -> Grid:
    """The cells of a file by its registered reader; such a table is written back as .csv.

    Raises
    ------
    DataError
        If the reader fails, or returns anything but a table.
    """
    path, suffix = file.path, file.suffix or ""
    if not path.exists():
        raise DataError(f"{path} is not there")
    try:
        frame = READERS[suffix](path)
    except Exception as problem:  # noqa: BLE001 (others' code may raise anything)
        raise DataError(
            f"{path} cannot be read as {suffix}: {type(problem).__name__}: {one_line(problem)}"
        ) from None
    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            f"{path}: the reader of {suffix} returned {type(frame).__name__}; expected a DataFrame "
            f"of patients and features"
        )
    return Grid(
        cells=frame.set_axis(range(len(frame.columns)), axis=1).reset_index(drop=True),
        ids=pd.DataFrame({str(frame.index.name or ""): frame.index.astype(str).to_numpy()}),
        columns=[str(name) for name in frame.columns],
        suffix=".csv",
        notes=[f"read by the plugin for {suffix}"],
    )
