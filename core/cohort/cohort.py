"""A cohort: patients x modalities, with a mask of what was measured."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Unpack

import pandas as pd

from codenoise.core.base.errors import AbsentError, DataError, first_few
from codenoise.core.base.files import atomic_file
from codenoise.core.cohort.annotated import read_h5mu, read_h5mu_obs, write_h5mu
from codenoise.core.cohort.clinical import read_clinical_file, tidy_clinical
from codenoise.core.cohort.embeddings import slide_files
from codenoise.core.cohort.identifiers import unmangle
from codenoise.core.cohort.options import ReadOptions
from codenoise.core.cohort.probe import Probe, probe
from codenoise.core.cohort.sources import CLINICAL, Source, folder_sources, toml_sources
from codenoise.core.cohort.tables import Table, read_table, table_of, union_order, write_table


@dataclass(frozen=True)
class Cohort:
    """One table per modality; patients are the union, never joined by position.

    Attributes
    ----------
    tables
        Modality to table. A patient counts as measured when the row holds any value at all.
    options
        How the tables were told to be read, where anything was said of it.
    """

    tables: Mapping[str, Table]
    options: ReadOptions = field(default_factory=ReadOptions)

    @property
    def patients(self) -> list[str]:
        """Ids of every patient in any table, in order of first appearance."""
        return union_order([table.frame.index for table in self.tables.values()])

    def measured(self, modality: str) -> pd.DataFrame:
        """Values of the patients that have the modality; rows without a value are left out."""
        values = self.tables[modality].frame
        return values[values.notna().any(axis=1)]

    def mask(self) -> pd.DataFrame:
        """Patients x modalities: whether measured."""
        patients = pd.Index(self.patients, name="patient")
        return pd.DataFrame(
            {name: patients.isin(self.measured(name).index) for name in self.tables},
            index=patients,
        )

    def subset(self, patients: Iterable[str]) -> Cohort:
        """The same tables with only these patients, in each table's own order."""
        wanted = set(patients)

        def rows(frame: pd.DataFrame) -> pd.DataFrame:
            return frame[frame.index.isin(wanted)]

        return replace(
            self,
            tables={
                name: replace(
                    table,
                    frame=rows(table.frame),
                    text=None if table.text is None else rows(table.text),
                )
                for name, table in self.tables.items()
            },
        )

    def digest(self) -> str:
        """``sha256:`` of ids, features and values of every table, in a fixed order."""
        content = hashlib.sha256()
        for name in sorted(self.tables):
            values = self.tables[name].frame
            labels = "\x1f".join([name, *values.index, *values.columns])
            content.update(f"{values.shape}{labels}".encode())
            content.update(values.to_numpy(dtype="<f8").tobytes())
        return f"sha256:{content.hexdigest()}"


def read_cohort(
    path: Path | str,
    modalities: Sequence[str] | None = None,
    *,
    features: Mapping[str, Sequence[str]] | None = None,
    **options: Unpack[ReadOptions],
) -> Cohort:
    """Read a cohort: one table per modality.

    Parameters
    ----------
    path
        A folder with tables named after their modality (``rna.csv``, ``rppa.parquet``; see
        `folder_sources`), a TOML that names the files (see `toml_sources`), or a MuData file.
        ``clinical`` is not a modality and is left to `read_clinical`.
    modalities
        Read these and ignore every other table; by default every table is read.
    features
        Features of the spaces by modality, see `read_table`.
    options
        ``orientation``, ``samples`` and ``merge`` as in `read_table`, for every table that a TOML
        says nothing else of.

    Raises
    ------
    DataError
        If the cohort or a named table is missing, a modality has two tables, or a table cannot be
        read.

    Examples
    --------
    >>> read_cohort("my_cohort", ["rna", "rppa"]).mask()  # doctest: +SKIP
    """
    path, features = Path(path), features or {}
    with probe(path) as file:
        grids = read_h5mu(file, modalities) if _is_mudata(file) else None
    if grids is not None:
        tables = {
            name: table_of(grid, path, features=features.get(name), **options)
            for name, grid in grids.items()
        }
        return Cohort(alike(tables), options)
    sources = _sources(path, {*features, *(modalities or ())})
    sources.pop(CLINICAL, None)
    absent = [name for name in modalities or () if name not in sources]
    if absent:
        raise DataError(
            f"{path} has no table for {first_few(absent)}; expected e.g. {absent[0]}.csv"
        )
    if not sources:
        raise DataError(f"{path} holds no table; expected e.g. rna.csv or rna.parquet")
    tables = {}
    for name, source in sources.items():
        if modalities is None or name in modalities:
            _refuse_problem(source)
            tables[name] = _read(source, name, features.get(name), options)
    return Cohort(alike(tables), options)


def find_table(path: Path, modality: str) -> tuple[Path, ReadOptions]:
    """The file of a modality in a cohort, and what its TOML says of it; or the path, if a table.

    Raises
    ------
    DataError
        If it is a cohort without a table of the modality.
    """
    if path.is_dir() or path.suffix.lower() == ".toml":
        sources = _sources(path, {modality})
        if modality in sources:
            _refuse_problem(sources[modality])
            return sources[modality].path, sources[modality].options
        if not (path.is_dir() and slide_files(path)):
            raise DataError(f"{path} has no table for {modality!r}; expected e.g. {modality}.csv")
    return path, {}


def _sources(path: Path, known: Collection[str] = ()) -> dict[str, Source]:
    if path.is_file() and path.suffix.lower() == ".toml":
        return toml_sources(path)
    if not path.is_dir():
        raise DataError(
            f"cohort {path} is not a folder; give a folder with one table a modality, a TOML that "
            f"names the tables, or a MuData file"
        )
    return folder_sources(path, known)


def _read(
    source: Source, modality: str, features: Sequence[str] | None, options: ReadOptions
) -> Table:
    chosen: ReadOptions = {**options, **source.options}
    table = read_table(source.path, features=features, modality=modality, **chosen)
    return replace(table, notes=(source.note, *table.notes)) if source.note else table


def _refuse_problem(source: Source) -> None:
    if source.problem:
        raise DataError(source.problem)


def _is_mudata(file: Probe) -> bool:
    return file.path.is_file() and file.hdf5_kind == "mudata"


def alike(tables: dict[str, Table]) -> dict[str, Table]:
    """Tables with the ids that R has changed in one of them undone by those of the others."""
    alike = {}
    for name, table in tables.items():
        own = list(table.frame.index)
        others = {i for n, other in tables.items() if n != name for i in other.frame.index}
        ids, notes = unmangle(own, others)
        changed = dict(zip(own, ids, strict=True))
        alike[name] = table if ids == own else _renamed(table, changed, notes)
    return alike


def _renamed(table: Table, ids: Mapping[str, str], notes: Sequence[str]) -> Table:
    """A table with other patient ids, written back under those of the file."""

    def of(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.rename(index=dict(ids))

    layout = table.layout
    labels = {ids[i]: layout.labels.get(i, i) for i in ids if layout.labels.get(i, i) != ids[i]}
    annotations = layout.annotations
    if annotations is not None:
        annotations = replace(annotations, obs=of(annotations.obs))
    return replace(
        table,
        frame=of(table.frame),
        text=None if table.text is None else of(table.text),
        layout=replace(layout, labels=labels, annotations=annotations),
        notes=(*table.notes, *notes),
        changes=(*table.changes, *notes),
    )


def write_cohort(cohort: Cohort, path: Path) -> None:
    """Write a cohort: one MuData file if ``path`` ends in ``.h5mu``, else a folder of tables.

    In a folder each table has the format it was read from.
    """
    if path.suffix.lower() == ".h5mu":
        with atomic_file(path) as temporary:
            write_h5mu({n: (t.frame, t.layout) for n, t in cohort.tables.items()}, temporary)
        return
    for name, table in cohort.tables.items():
        write_table(table, path, name)


def read_clinical(path: Path | str) -> pd.DataFrame:
    """Read the clinical table of a cohort, or one by its own path.

    Returns
    -------
    pandas.DataFrame
        Mixed columns, index of patient ids as text. Where columns have the names that TCGA gives
        them, ``cancer_type``, ``stage`` (1-4), ``os_days``, ``os_event``, ``age`` and ``sex`` are
        made of them, see `tidy_clinical`.

    Raises
    ------
    AbsentError
        If there is none.
    DataError
        If it cannot be read.

    Examples
    --------
    >>> read_clinical("my_cohort")["stage"]  # doctest: +SKIP
    """
    path = Path(path)
    with probe(path) as file:
        frame = tidy_clinical(read_h5mu_obs(file)) if _is_mudata(file) else None
    if frame is not None:
        if not len(frame.columns):
            raise AbsentError(f"{path} has no clinical columns; put them into obs")
        return frame
    if path.is_file() and path.suffix.lower() != ".toml":
        return read_clinical_file(path)
    sources = _sources(path)
    if CLINICAL not in sources:
        raise AbsentError(f"{path} has no clinical table; expected e.g. clinical.csv")
    _refuse_problem(sources[CLINICAL])
    return read_clinical_file(sources[CLINICAL].path)
