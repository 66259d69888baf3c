"""Tables of any length: read some patients at a time, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.assembly import Plan, planned, values_of
from codenoise.core.cohort.compression import opened
from codenoise.core.cohort.embeddings import several_slides
from codenoise.core.cohort.foreign import is_foreign
from codenoise.core.cohort.formats import (
    ROW_GROUP,
    Grid,
    container_of,
    parquet_grid,
    reading,
    strict,
    text_grid,
    text_head,
    text_options,
)
from codenoise.core.cohort.options import Merge, Orientation, SampleChoice
from codenoise.core.cohort.segments import segment_columns

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
    grid, stored = _outline(path)
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
    frames = _frames(plan, grid, _blocks(path, grid, stored, rows), path, merge)
    changes = (*plan.changes, *_note_of_groups(stored))
    return Chunks(plan.patients, plan.features, frames, (*plan.notes, *changes), changes)


def _outline(path: Path) -> tuple[Grid, pq.FileMetaData | None]:
    """The labels of a file, every patient's and no cell; and what parquet says of its parts."""
    with reading(path):
        apart = path.is_dir() or is_foreign(path)
        container, compression = ("apart", "") if apart else container_of(path)
        if container == "parquet" and not compression:
            return _parquet_outline(path)
        head = text_head(path, compression) if container == "text" else None
        if head is None or segment_columns(head) is not None:
            raise WholeOnlyError(
                f"{path} is no table of text or parquet with a row per patient, so it has to be "
                f"read whole"
            )
        with strict(), opened(path) as stream:
            id_columns = range(head.ids.shape[1])
            ids = pd.read_csv(stream, **text_options(head), usecols=id_columns)
    return replace(head, ids=ids.set_axis(head.ids.columns, axis=1)), None


def _parquet_outline(path: Path) -> tuple[Grid, pq.FileMetaData]:
    with pq.ParquetFile(path) as file:
        empty = file.schema_arrow.empty_table().to_pandas()
        grid = parquet_grid(empty, path)
        first = list(empty.columns[:1]) if grid.ids_are_column else []
        ids = file.read(columns=first, use_pandas_metadata=True).to_pandas()
        return replace(grid, ids=parquet_grid(ids, path).ids), file.metadata


def _note_of_groups(stored: pq.FileMetaData | None) -> Iterator[str]:
    if stored is None:
        return
    largest = max((stored.row_group(i).num_rows for i in range(stored.num_row_groups)), default=0)
    if largest > 4 * ROW_GROUP:
        yield (
            f"a row group has {largest} patients, who are held in memory together; written anew "
            f"with row_group_size={ROW_GROUP}, the file needs less"
        )


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


def _blocks(
    path: Path, grid: Grid, stored: pq.FileMetaData | None, rows: int
) -> Iterator[pd.DataFrame]:
    """The cells of a file, some rows at a time."""
    with reading(path):
        yield from _text(path, grid, rows) if stored is None else _parquet(path, stored, rows)


def _text(path: Path, grid: Grid, rows: int) -> Iterator[pd.DataFrame]:
    with opened(path) as stream:
        with strict():
            blocks = pd.read_csv(stream, **text_options(grid), chunksize=rows)
        with blocks:
            while True:
                with strict():
                    block = next(blocks, None)
                if block is None:
                    return
                yield text_grid(grid, block).cells


def _parquet(path: Path, stored: pq.FileMetaData, rows: int) -> Iterator[pd.DataFrame]:
    # Buffered: else every column of a row group is fetched before its first row is given.
    with pq.ParquetFile(path, metadata=stored, buffer_size=1 << 13, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=rows, use_threads=False):
            yield parquet_grid(batch.to_pandas(), path).cells
