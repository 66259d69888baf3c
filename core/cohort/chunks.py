"""Tables of any length: read some patients at a time, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.assembly import Plan, planned, values_of
from codenoise.core.cohort.embeddings import several_slides
from codenoise.core.cohort.formats import Grid
from codenoise.core.cohort.kinds import kind_of
from codenoise.core.cohort.options import Merge, Orientation, SampleChoice
from codenoise.core.cohort.probe import probe

# Cells held at a time; as text each takes some 20 bytes before it is a number.
CELLS = 1_500_000


class WholeOnlyError(DataError):
    """A file that can be read as a whole, and not in chunks."""


@dataclass(frozen=True)
class Chunks:
    """A table of patients as rows, some patients at a time.

    Attributes
    ----------
    patients
        Everyone in the table, in the order of `read_table`.
    features
        Names of the columns, as `read_table` gives them.
    frames
        Patients x features, floating point, gaps as NaN, in the order of the file; to be gone
        through once. A cell that is no number is refused when its chunk is reached, and such cells
        are counted within it.
    notes, changes
        As in `Table`.
    """

    patients: list[str]
    features: list[str]
    frames: Iterator[pd.DataFrame]
    notes: tuple[str, ...]
    changes: tuple[str, ...]


def read_chunks(
    path: Path,
    *,
    features: Sequence[str] | None = None,
    orientation: Orientation = "auto",
    samples: SampleChoice = "tumour",
    merge: Merge = "refuse",
    modality: str | None = None,
    width: int = 0,
) -> Chunks:
    """Read a table of text or parquet some patients at a time, with the checks of `read_table`.

    Ids are read first, so that samples are chosen and duplicates found among all of them. Memory
    is that of about `CELLS` cells; of parquet, that of its largest row group, as it is stored.

    Parameters
    ----------
    path
        A file with patients as rows.
    features, orientation, samples, merge, modality
        As in `read_table`.
    width
        Columns to reckon with where more is made of a patient than the table has.

    Raises
    ------
    WholeOnlyError
        If the file has features as rows, for then each row holds every patient, or is of a format
        that is not read in chunks.
    DataError
        As in `read_table`.
    """
    with probe(path) as file:
        outline = kind_of(file).outline(file)
    if outline is None:
        raise WholeOnlyError(
            f"{path} is no table of text or parquet with a row per patient, so it has to be read "
            f"whole"
        )
    grid = outline.labels
    if orientation != "features-as-rows" and several_slides(grid, modality):
        raise WholeOnlyError(
            f"{path} has several slides of a sample to average, so it has to be read whole"
        )
    plan = planned(grid, path, features, orientation, samples, merge)
    if plan.turned:
        raise WholeOnlyError(
            f"{path} has features as rows, each of which holds every patient, so it has to be read "
            f"whole"
        )
    rows = max(1, CELLS // max(1, width, len(grid.columns)))
    frames = _frames(plan, grid, outline.blocks(rows), path, merge)
    changes = (*plan.changes, *outline.changes)
    return Chunks(plan.patients, plan.features, frames, (*plan.notes, *changes), changes)


def _frames(
    plan: Plan, grid: Grid, blocks: Iterator[pd.DataFrame], path: Path, merge: Merge
) -> Iterator[pd.DataFrame]:
    places = np.argsort(plan.rows, kind="stable")
    rows = np.asarray(plan.rows, dtype=np.int64)[places]
    start = 0
    for cells in blocks:
        first, last = np.searchsorted(rows, (start, start + len(cells)))
        if last > first:
            taken = cells.iloc[rows[first:last] - start]
            yield values_of(plan, grid, taken, places[first:last].tolist(), path, merge)[0]
        start += len(cells)
    if start != len(plan.labels):
        raise DataError(f"{path} had {len(plan.labels)} rows and then {start}; it was changed")
