"""The kinds of file that hold a table: how each is told, and who reads it.

A kind more is an entry of `KINDS` and a module with its reader.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codenoise.core.cohort.annotated import read_h5ad, read_modality
from codenoise.core.cohort.embeddings import read_slide_folder, read_slides, refuse_workbook
from codenoise.core.cohort.foreign import is_foreign, read_foreign
from codenoise.core.cohort.formats import Asked, Grid, Outline
from codenoise.core.cohort.parquet import outline_parquet, read_parquet
from codenoise.core.cohort.probe import Probe
from codenoise.core.cohort.segments import is_segments, read_segments
from codenoise.core.cohort.text import outline_text, read_text


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes
    ----------
    told
        Whether a file is of this kind; asked only of files that are of no kind before it.
    read
        The cells of a file, or a `DataError` with the mend where such a file holds no table.
    outline
        What is read first of a file to be read some patients at a time; ``None`` where the kind, or
        this file of it, is read as a whole only.
    """

    told: Callable[[Probe], bool]
    read: Callable[[Probe, Asked], Grid]
    outline: Callable[[Probe], Outline | None] = lambda _: None


# In this order, for the first that is told takes the file.
KINDS = {
    "plugin": Kind(is_foreign, read_foreign),
    "slide folder": Kind(lambda file: file.is_folder, read_slide_folder),
    "parquet": Kind(lambda file: file.container == "parquet", read_parquet, outline_parquet),
    "workbook": Kind(lambda file: "[Content_Types].xml" in file.members, refuse_workbook),
    "npz": Kind(lambda file: file.container == "zip", read_slides),
    "anndata": Kind(lambda file: file.hdf5_kind == "anndata", read_h5ad),
    "mudata": Kind(lambda file: file.hdf5_kind == "mudata", read_modality),
    "hdf5": Kind(lambda file: file.hdf5_kind == "hdf5", read_slides),
    "segments": Kind(is_segments, read_segments),
    "text": Kind(lambda _: True, read_text, outline_text),
}


def kind_of(file: Probe) -> Kind:
    """The kind of a file."""
    return next(kind for kind in KINDS.values() if kind.told(file))
