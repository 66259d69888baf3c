"""A cohort: patients x modalities, with a mask of what was measured."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from codenoise.core.cohort.tables import READ_ERRORS, Table, read_table, table_suffix, union_order
from codenoise.core.errors import DataError, first_few, one_line

CLINICAL = "clinical"


@dataclass(frozen=True)
class Cohort:
    """One table per modality; patients are the union, never joined by position.

    Attributes
    ----------
    tables
        Modality to table. A patient counts as measured when the row holds any value at all.
    """

    tables: Mapping[str, Table]

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

        return Cohort(
            {
                name: Table(
                    rows(table.frame),
                    table.source,
                    table.suffix,
                    None if table.text is None else rows(table.text),
                )
                for name, table in self.tables.items()
            }
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


def read_cohort(folder: Path, modalities: Sequence[str] | None = None) -> Cohort:
    """Read a folder with one table per modality, named after it (``rna.csv``, ``rppa.parquet``).

    Parameters
    ----------
    folder
        Where the tables are. ``clinical.*`` is not a modality and is left to `read_clinical`.
    modalities
        Read these and ignore every other file; by default every table in the folder is read.

    Raises
    ------
    DataError
        If the folder or a named table is missing, a modality has two tables, or a table cannot be
        read.
    """
    if not folder.is_dir():
        raise DataError(f"cohort {folder} is not a folder; give a folder with one table a modality")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        suffix = table_suffix(path)
        if suffix is None or not path.is_file() or path.name.startswith("."):
            continue
        name = path.name[: -len(suffix)]
        if name == CLINICAL or (modalities is not None and name not in modalities):
            continue
        if name in found:
            raise DataError(
                f"{folder}: {found[name].name} and {path.name} are both {name}; keep one"
            )
        found[name] = path
    absent = [name for name in modalities or () if name not in found]
    if absent:
        raise DataError(
            f"{folder} has no table for {first_few(absent)}; expected e.g. {absent[0]}.csv"
        )
    if not found:
        raise DataError(f"{folder} holds no table; expected e.g. rna.csv or rna.parquet")
    return Cohort({name: read_table(path) for name, path in found.items()})


def read_clinical(folder: Path) -> pd.DataFrame:
    """Read ``clinical.*`` of a cohort folder: mixed columns, index of patient ids as text.

    Raises
    ------
    DataError
        If there is none, or it cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"cohort {folder} is not a folder")
    paths = [p for p in sorted(folder.iterdir()) if p.name.startswith(f"{CLINICAL}.")]
    if not paths:
        raise DataError(f"{folder} has no clinical table; expected e.g. clinical.csv")
    path = paths[0]
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            separator = "\t" if ".tsv" in path.suffixes else ","
            # Ids are text: read as numbers, 0012 would lose its zeros.
            frame = pd.read_csv(path, sep=separator, dtype={0: str})
            frame = frame.set_index(frame.columns[0])
    except READ_ERRORS as problem:
        raise DataError(f"{path} cannot be read: {one_line(problem)}") from None
    frame.index = frame.index.astype(str)
    return frame
