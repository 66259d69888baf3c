"""The tables of a cohort side by side, as one frame for scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from codenoise.core.cohort.cohort import Cohort

# Between modality and feature in a column's name, as ``ColumnTransformer`` has it.
SEPARATOR = "__"


def wide_table(cohort: Cohort, features: Mapping[str, Sequence[str]] | None = None) -> pd.DataFrame:
    """Put the tables of a cohort side by side, as `EnsembleImputer` takes them.

    Parameters
    ----------
    cohort
        One table per modality.
    features
        By modality, the features to keep; `Ensemble.features` are those an ensemble knows. All by
        default.

    Returns
    -------
    pandas.DataFrame
        Shape ``(patients, features of all modalities)``: every patient of any table, columns named
        ``modality__feature``, NaN where a patient lacks the modality.

    Examples
    --------
    >>> wide_table(cohort, ensemble.features)  # doctest: +SKIP
    """
    parts = []
    for modality, table in cohort.tables.items():
        kept = table.frame
        if features is not None:
            known = set(features.get(modality, ()))
            kept = kept.loc[:, [name for name in kept.columns if name in known]]
        parts.append(kept.add_prefix(modality + SEPARATOR).reindex(cohort.patients))
    return pd.concat(parts, axis=1).rename_axis(index="patient")
