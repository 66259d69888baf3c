"""Tables of any length written some patients at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from codenoise.core.base.errors import DataError
from codenoise.core.base.files import atomic_file
from codenoise.core.cohort.compression import ENDINGS, compressed
from codenoise.core.cohort.formats import ROW_GROUP, SEPARATORS, table_suffix


def check_table_name(path: Path) -> tuple[str | None, str]:
    """What a table's file name says: separator, ``None`` for parquet, and compression.

    Raises
    ------
    DataError
        If it does not end in ``.parquet``, or as a text table does.
    """
    suffix = table_suffix(path) or ""
    ending = next((ending for ending in ENDINGS if suffix.endswith(ending)), "")
    separator = SEPARATORS.get(suffix.removesuffix(ending))
    if suffix != ".parquet" and separator is None:
        raise DataError(f"{path} tells no format of a table; end its name in .parquet or .csv")
    return separator, ending


def write_chunks(frames: Iterable[pd.DataFrame], path: Path) -> None:
    """Write tables of the same columns below one another, whole or not at all.

    Parameters
    ----------
    frames
        Patients x features, one at the least, though it be empty; text keeps every digit.
    path
        Ends in ``.parquet``, or as a text table does.

    Raises
    ------
    DataError
        If the ending is another.
    """
    separator, ending = check_table_name(path)
    with atomic_file(path) as temporary:
        if separator is None:
            _write_parquet(frames, temporary)
            return
        with temporary.open("wb") as file:
            for number, frame in enumerate(frames):
                text = frame.to_csv(sep=separator, header=number == 0)
                file.write(compressed(text.encode(), ending))


def _write_parquet(frames: Iterable[pd.DataFrame], path: Path) -> None:
    writer: pq.ParquetWriter | None = None
    held: list[pa.Table] = []
    try:
        for frame in frames:
            held.append(pa.Table.from_pandas(frame))
            writer = writer or pq.ParquetWriter(path, held[0].schema, compression="zstd")
            if sum(map(len, held)) >= ROW_GROUP:
                writer.write_table(pa.concat_tables(held), row_group_size=ROW_GROUP)
                held = []
        if writer is not None and held:
            writer.write_table(pa.concat_tables(held), row_group_size=ROW_GROUP)
    finally:
        if writer is not None:
            writer.close()
