"""A completed cohort as the MuData that it was given as."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from codenoise.core.base.optional import needed, quiet
from codenoise.core.cohort.annotated import as_objects, to_anndata
from codenoise.core.cohort.given import MuDataLike
from codenoise.core.ensemble.imputation import Imputation

KEY = "codenoise"


def completed_mudata(given: MuDataLike, result: Imputation) -> Any:
    """A new MuData of completed modalities; the one that was given stays as it is.

    Parameters
    ----------
    given
        What was completed.
    result
        Its completion.

    Returns
    -------
    mudata.MuData
        Each target with all patients: ``X`` completed, ``layers["spread"]`` the standard deviation
        of each value, ``layers["mask"]`` an `Origin` per value, ``obs`` and ``var`` as given, and
        missing in rows that are new. Modalities that are no target are copied. ``obs`` has the
        columns that were given, ``uns`` too, with ``uns["codenoise"]``: ``report`` (the columns of
        `Imputation.report`), ``draws``, ``seed`` and ``provenance`` (JSON).
    """
    mudata = needed("mudata", "writing MuData")
    labels: dict[str, str] = {}  # what the rows of a patient are called wherever it was measured
    for table in result.given.tables.values():
        of_file = table.layout.labels
        labels = {p: of_file.get(p, p) for p in table.frame.index} | labels
    with quiet(), mudata.set_options(pull_on_update=False):
        parts = {name: part.copy() for name, part in given.mod.items()}
        parts |= {name: _completed(name, result, labels) for name in result.completed}
        made = mudata.MuData(parts)
        own = given.obs[[name for name in given.obs.columns if ":" not in name]]
        made.obs, made.var = as_objects(own.reindex(made.obs_names)), as_objects(made.var)
        made.uns = {**given.uns, KEY: _about(result)}
    return made


def _completed(name: str, result: Imputation, labels: dict[str, str]) -> Any:
    table = result.completed[name]
    layout = table.layout
    given = result.given.tables.get(name)
    known = set() if given is None else set(given.frame.index)
    new = {p: labels[p] for p in table.frame.index if p not in known and labels[p] != p}
    data = to_anndata(table.frame, replace(layout, labels={**layout.labels, **new}))
    data.layers["spread"] = result.spread[name].frame.to_numpy()
    data.layers["mask"] = result.mask[name].frame.to_numpy(dtype=np.int8)
    return data


def _about(result: Imputation) -> dict[str, Any]:
    return {
        "report": as_objects(result.report.set_axis(result.report.index.map(str), axis=0)),
        "draws": result.draws,
        "seed": result.seed,
        "provenance": json.dumps(result.provenance),
    }
