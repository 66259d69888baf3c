"""Tables in parquet, whole or some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.formats import ROW_GROUP, Asked, Grid, Outline, reading
from codenoise.core.cohort.probe import Probe


def read_parquet(file: Probe, _: Asked) -> Grid:
    """The cells of a parquet file; ids from its index, or its first column where it has none."""
    if file.compression:
        return framed_grid(pd.read_parquet(file.whole()), file.path)
    with file.content() as stream:
        return framed_grid(pd.read_parquet(stream), file.path)


def outline_parquet(file: Probe) -> Outline | None:
    """The ids of a parquet file, and its cells some rows at a time; none if it is compressed."""
    if file.compression:
        return None
    with file.content() as stream, pq.ParquetFile(stream) as stored:
        empty = stored.schema_arrow.empty_table().to_pandas()
        grid = framed_grid(empty, file.path)
        first = list(empty.columns[:1]) if grid.ids_are_column else []
        ids = stored.read(columns=first, use_pandas_metadata=True).to_pandas()
        labels = replace(grid, ids=framed_grid(ids, file.path).ids)
        blocks = partial(_blocks, file.path, stored.metadata)
        return Outline(labels, blocks, tuple(_note_of_groups(stored.metadata)))


def _blocks(path: Path, stored: pq.FileMetaData, rows: int) -> Iterator[pd.DataFrame]:
    # Buffered: else every column of a row group is fetched before its first row is given.
    with (
        reading(path),
        pq.ParquetFile(path, metadata=stored, buffer_size=1 << 13, pre_buffer=False) as file,
    ):
        for batch in file.iter_batches(batch_size=rows, use_threads=False):
            yield framed_grid(batch.to_pandas(), path).cells


def framed_grid(frame: pd.DataFrame, path: Path) -> Grid:
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


def _note_of_groups(stored: pq.FileMetaData) -> Iterator[str]:
    largest = max((stored.row_group(i).num_rows for i in range(stored.num_row_groups)), default=0)
    if largest > 4 * ROW_GROUP:
        yield (
            f"a row group has {largest} patients, who are held in memory together; written anew "
            f"with row_group_size={ROW_GROUP}, the file needs less"
        )
