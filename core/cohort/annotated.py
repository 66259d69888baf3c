"""AnnData and MuData: patients are ``obs``, features are ``var``, values are ``X``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.core.base.optional import needed, quiet
from codenoise.core.cohort.formats import Asked, Grid
from codenoise.core.cohort.layout import Layout
from codenoise.core.cohort.probe import Probe

# Parts beside X, obs and var, which are not carried over.
_OTHER_PARTS = ("layers", "obsm", "varm", "obsp", "varp", "uns")


@dataclass(frozen=True)
class Annotations:
    """What AnnData holds beside the values.

    Attributes
    ----------
    obs, var
        Columns of patients and of features, in the order of the table.
    sparse
        Whether values are kept sparse.
    """

    obs: pd.DataFrame
    var: pd.DataFrame
    sparse: bool

    def chosen(
        self, rows: Sequence[int], patients: Sequence[str], columns: Sequence[int]
    ) -> Annotations:
        """Those of some rows, from now on by patient, and of some columns."""
        obs = self.obs.iloc[list(rows)].set_axis(list(patients), axis=0)
        return replace(self, obs=obs, var=self.var.iloc[list(columns)])


def read_h5ad(file: Probe, _: Asked) -> Grid:
    """The values of an AnnData file."""
    anndata = needed("anndata", f"reading {file.path}")
    with quiet():
        data = anndata.read_h5ad(file.path)
    return annotated_grid(data, file.path)


def read_modality(file: Probe, asked: Asked) -> Grid:
    """The values of one modality of a MuData file.

    Raises
    ------
    DataError
        If none is named, or it is not there.
    """
    if asked.modality is None:
        raise DataError(f"{file.path} holds several modalities (MuData); give it as the cohort")
    return read_h5mu(file, [asked.modality])[asked.modality]


def read_h5mu(file: Probe, modalities: Sequence[str] | None = None) -> dict[str, Grid]:
    """The values of every modality of a MuData file, or of those named.

    Raises
    ------
    DataError
        If a named modality is not there.
    """
    data = _mudata(file)
    for name in modalities or ():
        if name not in data.mod:
            raise DataError(f"{file.path} has no modality {name!r}; it has {', '.join(data.mod)}")
    chosen = list(data.mod) if modalities is None else modalities
    return {
        name: annotated_grid(data.mod[name], f"{file.path}, modality {name}") for name in chosen
    }


def read_h5mu_obs(file: Probe) -> pd.DataFrame:
    """The columns that a MuData file keeps of patients, whatever the modality."""
    data = _mudata(file)
    own = [name for name in data.obs.columns if ":" not in name]
    return pd.DataFrame(data.obs[own])


def _mudata(file: Probe) -> Any:
    mudata = needed("mudata", f"reading {file.path}")
    with quiet():
        return mudata.read_h5mu(file.path)


def annotated_grid(data: Any, path: object) -> Grid:
    """The values of an AnnData object, ``path`` being what to call it in messages."""
    if data.X is None:
        raise DataError(f"{path} has no X; put the values there")
    sparse = hasattr(data.X, "toarray")
    values = np.asarray(data.X.toarray() if sparse else data.X)
    left = [name for name in _OTHER_PARTS if len(getattr(data, name))]
    return Grid(
        cells=pd.DataFrame(values),
        ids=pd.DataFrame({data.obs_names.name or "": data.obs_names.to_numpy()}),
        columns=[str(name) for name in data.var_names],
        suffix=".h5ad",
        by_rows=True,
        annotations=Annotations(data.obs, data.var, sparse),
        notes=[f"X of AnnData; {', '.join(left)} left out"] if left else ["X of AnnData"],
    )


def to_anndata(frame: pd.DataFrame, layout: Layout) -> Any:
    """A table as AnnData, with the labels and the columns of ``obs`` and ``var`` it came with."""
    anndata = needed("anndata", "writing AnnData")
    named = layout.labelled(frame)
    obs, var = pd.DataFrame(index=frame.index), pd.DataFrame(index=named.columns)
    values: Any = frame.to_numpy()
    kept: Annotations | None = layout.annotations
    if kept is not None:
        obs, var = kept.obs.reindex(frame.index), kept.var
        if kept.sparse:
            from scipy.sparse import csr_matrix

            values = csr_matrix(values)
    obs, var = obs.set_axis(named.index, axis=0), var.set_axis(named.columns, axis=0)
    with quiet():
        return anndata.AnnData(values, obs=as_objects(obs), var=as_objects(var))


def as_objects(frame: pd.DataFrame) -> pd.DataFrame:
    """Text as plain objects, which every version of AnnData can write with every pandas."""
    made = frame.copy()
    for name in frame:
        if _is_text(frame[name]):
            made[name] = _categories(frame[name])
    index = pd.Index(np.array(frame.index, dtype=object), dtype=object, name=frame.index.name)
    return made.set_axis(index, axis=0)


def _is_text(column: pd.Series) -> bool:
    kind = column.dtype
    labels = kind.categories.dtype if isinstance(kind, pd.CategoricalDtype) else kind
    return bool(pd.api.types.is_object_dtype(labels) or isinstance(labels, pd.StringDtype))


def _categories(column: pd.Series) -> pd.Categorical:
    if isinstance(column.dtype, pd.CategoricalDtype):
        kind = column.dtype
        labels, ordered = list(kind.categories), bool(kind.ordered)
    else:
        labels, ordered = [str(value) for value in column.dropna().unique()], False
    objects = pd.Index(np.array(labels, dtype=object), dtype=object)
    values = column.astype(object).map(str, na_action="ignore")
    return pd.Categorical(values, categories=objects, ordered=ordered)


def write_h5ad(frame: pd.DataFrame, layout: Layout, path: Path) -> None:
    """Write a table as AnnData."""
    data = to_anndata(frame, layout)
    with quiet():
        data.write_h5ad(path)


def write_h5mu(tables: Mapping[str, tuple[pd.DataFrame, Layout]], path: Path) -> None:
    """Write tables as the modalities of one MuData file."""
    mudata = needed("mudata", "writing MuData")
    with quiet():
        parts = {name: to_anndata(frame, layout) for name, (frame, layout) in tables.items()}
        with mudata.set_options(pull_on_update=False):
            data = mudata.MuData(parts)
            data.obs, data.var = as_objects(data.obs), as_objects(data.var)
            data.write_h5mu(path)
