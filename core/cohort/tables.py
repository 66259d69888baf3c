"""One table of one modality: patients as rows, features as columns, as it was given."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from codenoise.core.base.files import atomic_file
from codenoise.core.cohort.annotated import write_h5ad
from codenoise.core.cohort.assembly import assembled
from codenoise.core.cohort.compression import ENDINGS, compressed
from codenoise.core.cohort.embeddings import averaged_text
from codenoise.core.cohort.formats import (
    READ_ERRORS,
    ROW_GROUP,
    SEPARATORS,
    SUFFIXES,
    Asked,
    Grid,
    table_suffix,
)
from codenoise.core.cohort.kinds import kind_of
from codenoise.core.cohort.layout import Layout
from codenoise.core.cohort.options import Merge, Orientation, SampleChoice
from codenoise.core.cohort.probe import probe
from codenoise.core.cohort.values import as_text

__all__ = [
    "READ_ERRORS",
    "SUFFIXES",
    "Table",
    "like",
    "read_table",
    "table_of",
    "table_suffix",
    "union_order",
    "write_table",
]


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
    layout
        Which way round the file stands and what it calls patients and features.
    notes
        What was done in reading, one sentence each.
    changes
        Those notes that tell of samples dropped, labels changed, or features and values missing.
    """

    frame: pd.DataFrame
    source: str = "table"
    suffix: str = ".csv"
    text: pd.DataFrame | None = field(default=None, repr=False)
    layout: Layout = field(default_factory=Layout, repr=False)
    notes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

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
            return replace(self, frame=merged)
        text = self.text.reindex(filled.index).where(observed, as_text(filled))
        return replace(self, frame=own.where(observed, filled), text=text)


def read_table(
    path: Path,
    *,
    features: Sequence[str] | None = None,
    orientation: Orientation = "auto",
    samples: SampleChoice = "tumour",
    merge: Merge = "refuse",
    modality: str | None = None,
) -> Table:
    """Read a table of one modality, in whatever format and way round it comes.

    Text (commas, tabs or semicolons; plain, gzip, xz, bzip2 or zstd), parquet, AnnData, segments
    of copy number, and slide embeddings (HDF5, npz, or a folder of them) are told by content. In
    text tables empty cells and the usual markers (NA, NaN, null) are gaps.

    Parameters
    ----------
    path
        A file, or a folder with one file of embeddings per slide.
    features
        Features of the modality's space. They decide the orientation, columns that are features by
        another spelling get their names, and they are the bins of segments.
    orientation
        Which way round the table stands; by default the features tell, then the ids.
    samples
        Which samples stand for a patient, see `resolve_samples`.
    merge
        What to do with columns that are the same feature, see `check_features`.
    modality
        Which one to read of MuData; and tables of slide embeddings may name a patient once per
        slide.

    Raises
    ------
    DataError
        If the file is missing or unreadable, its orientation is not clear, an id or a feature
        stands twice, or a cell is not a finite number; the message names file, row and column.
    """
    with probe(path) as file:
        grid = kind_of(file).read(file, Asked(features, modality))
    if orientation != "features-as-rows":
        grid = averaged_text(grid, modality, path)
    return table_of(
        grid, path, features=features, orientation=orientation, samples=samples, merge=merge
    )


def table_of(
    grid: Grid,
    path: Path,
    *,
    features: Sequence[str] | None = None,
    orientation: Orientation = "auto",
    samples: SampleChoice = "tumour",
    merge: Merge = "refuse",
) -> Table:
    """A table from the cells of a file; parameters and errors as in `read_table`."""
    parts = assembled(grid, path, features, orientation, samples, merge)
    return Table(
        parts.frame,
        path.name,
        grid.suffix,
        parts.text,
        parts.layout,
        tuple(parts.notes),
        tuple(parts.changes),
    )


def write_table(table: Table, folder: Path, stem: str) -> Path:
    """Write a table in its own format and layout, whole or not at all; returns the path."""
    path = folder / f"{stem}{table.suffix}"
    layout = table.layout
    with atomic_file(path) as temporary:
        if table.suffix == ".h5ad":
            write_h5ad(table.frame, layout, temporary)
        elif table.suffix == ".parquet":
            values = layout.laid_out(table.frame)
            if layout.ids_are_column:
                values = values.reset_index()
            values.to_parquet(
                temporary,
                compression="zstd",
                index=False if layout.ids_are_column else None,
                row_group_size=ROW_GROUP,
            )
        else:
            cells = layout.laid_out(table.text if table.text is not None else as_text(table.frame))
            ending = next((ending for ending in ENDINGS if table.suffix.endswith(ending)), "")
            separator = layout.separator or SEPARATORS[table.suffix.removesuffix(ending)]
            content = cells.to_csv(sep=separator, quoting=csv.QUOTE_MINIMAL).encode()
            temporary.write_bytes(compressed(content, ending))
    return path


def like(values: pd.DataFrame, model: Table) -> Table:
    """A table of other values in the format of ``model``.

    Names that the file of ``model`` uses are kept where the features are the same.
    """
    same = list(values.columns) == list(model.frame.columns)
    layout = model.layout if same else model.layout.of_other_values()
    return Table(values, model.source, model.suffix, layout=layout)


def union_order(indexes: Sequence[pd.Index[str]]) -> list[str]:
    """Ids of all indexes, each once, in order of first appearance."""
    seen: dict[str, None] = {}
    for index in indexes:
        seen.update(dict.fromkeys(index))
    return list(seen)
