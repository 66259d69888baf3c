"""An ensemble as a step of a scikit-learn pipeline."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from codenoise.core.base.errors import DataError, EnsembleError, first_few
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.given import frame_of, is_mudata
from codenoise.core.cohort.tables import Table
from codenoise.core.cohort.wide import SEPARATOR, wide_table
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.imputation import Imputation
from codenoise.core.spaces.scale import MIN_PATIENTS

SPREAD = f"{SEPARATOR}spread"


class EnsembleImputer(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Fill the modalities that patients lack with the mean of an ensemble's draws.

    Takes and returns a data frame of patients x features: the index holds the patients' ids, each
    once; columns are named ``modality__feature`` (as ``ColumnTransformer`` names them too); a
    patient whose values of a modality are all NaN lacks it. See `wide_table`, by which a cohort,
    a MuData or a mapping of modality to table is put side by side first. Observed values are
    returned as they are, gaps within a measured modality are filled by its space.

    Nothing is learned from the data, so that no fold of a cross-validation leaks into another:
    ``fit`` checks the columns. Noise hangs on ``seed`` and on the patient's id alone, so a row gets
    the same values whatever rows come with it.

    Parameters
    ----------
    ensemble
        What generates.
    targets
        Modalities to complete; by default those with columns in the data that the ensemble
        generates. A target without columns gets all features of its space, after the others.
    draws
        Generated versions per patient and missing modality, at least 2.
    seed
        Same seed, same values.
    add_spread
        Whether to append, for each column of a target, the standard deviation of its values as
        ``modality__feature__spread``; 0 where observed.

    Attributes
    ----------
    targets_
        Modalities that are completed.
    n_features_in_, feature_names_in_
        Columns of the data it was fitted on, which later data must have in the same order.
    """

    def __init__(
        self,
        ensemble: LoadedEnsemble,
        *,
        targets: Sequence[str] | None = None,
        draws: int = 10,
        seed: int = 0,
        add_spread: bool = False,
    ) -> None:
        self.ensemble = ensemble
        self.targets = targets
        self.draws = draws
        self.seed = seed
        self.add_spread = add_spread

    def fit(self, X: Any, y: object = None) -> Self:  # noqa: N803
        """Check the columns and their scale; learn nothing.

        Raises
        ------
        DataError, SpaceError
            If a column is not one of the ensemble's, too many features of a space are missing, an
            id stands twice, a value is not a finite number, or values are on another scale.
        EnsembleError
            If a parameter makes no sense, a target has no expert, or none is asked for.
        ValueError
            If it is no table of numbers at all.
        """
        if not isinstance(self.ensemble, LoadedEnsemble):
            raise EnsembleError(f"{self.ensemble!r} is no Ensemble; load one")
        for name in ("draws", "seed"):
            if not isinstance(getattr(self, name), Integral):
                raise EnsembleError(f"{name} is a whole number, not {getattr(self, name)!r}")
        cohort = self._cohort(self._wide(X), reset=True)
        self._encoded(cohort)
        there = [target for target in self.ensemble.targets if target in cohort.tables]
        self.targets_ = self.ensemble.chosen(there if self.targets is None else self.targets)
        if not self.targets_:
            raise EnsembleError(
                f"there is nothing to complete: the ensemble generates "
                f"{', '.join(self.ensemble.targets)}, and X has columns of "
                f"{', '.join(cohort.tables)}; name the targets to add"
            )
        return self

    def transform(self, X: Any) -> pd.DataFrame:  # noqa: N803
        """Complete a table.

        Parameters
        ----------
        X
            Patients x features, columns as in `fit`.

        Returns
        -------
        pandas.DataFrame
            The same patients; columns of `get_feature_names_out`. A patient stays without a target
            where no expert can use what it has; a warning names such patients.

        Raises
        ------
        DataError, ValueError
            As in `fit`, or if the columns are not those of `fit`.
        """
        check_is_fitted(self)
        X = self._wide(X)  # noqa: N806
        cohort = self._cohort(X, reset=False)
        result = self.ensemble.complete(
            cohort, self._encoded(cohort), self.targets_, draws=self.draws, seed=self.seed
        )
        _warn_of_missing(result)
        completed = {**cohort.tables, **result.completed}
        parts = [_prefixed(table, modality) for modality, table in completed.items()]
        if self.add_spread:
            parts += [_prefixed(t, name).add_suffix(SPREAD) for name, t in result.spread.items()]
        wide = pd.concat([part.reindex(cohort.patients) for part in parts], axis=1)
        return wide[list(self.get_feature_names_out())].set_axis(X.index, axis=0)

    def get_feature_names_out(
        self, input_features: Sequence[str] | None = None
    ) -> NDArray[np.object_]:
        """Columns of the completed table.

        Parameters
        ----------
        input_features
            ``None``, or the columns that it was fitted on.

        Raises
        ------
        ValueError
            If they are others.
        """
        check_is_fitted(self)
        given = list(self.feature_names_in_)
        if input_features is not None and list(input_features) != given:
            raise ValueError("input_features is not equal to feature_names_in_")
        added = [target for target in self.targets_ if not _of(target, given)]
        names = given + [
            target + SEPARATOR + feature
            for target in added
            for feature in self.ensemble.spaces[target].features
        ]
        if self.add_spread:
            names += [name + SPREAD for name in names if _modality(name) in self.targets_]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _wide(self, X: Any) -> Any:  # noqa: N803
        """One frame with ids in its index, as far as it can be made of what is given."""
        named = isinstance(X, Mapping) and not issparse(X)  # one kind of sparse matrix is a dict
        if isinstance(X, Cohort) or named or is_mudata(X):
            cohort = self.ensemble.read(X)
            self.ensemble.check(cohort)
            return wide_table(cohort, self.ensemble.features)
        is_other = hasattr(X, "__arrow_c_stream__") and not isinstance(X, pd.DataFrame)
        return frame_of(X, "X") if is_other else X

    def _cohort(self, X: pd.DataFrame, *, reset: bool) -> Cohort:  # noqa: N803
        """The data as one table per modality.

        Columns are looked at first: what scikit-learn says of them names no place.
        """
        if isinstance(X, pd.DataFrame):
            _check_labels(X, self.ensemble)
        values = validate_data(
            self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan"
        )
        if not isinstance(X, pd.DataFrame):
            raise DataError(
                f"X is no pandas DataFrame but {type(X).__name__}; give one with patient ids in "
                f"its index and columns named modality{SEPARATOR}feature (a step before this one "
                f"keeps them after set_output(transform='pandas'))"
            )
        ids = pd.Index(X.index.map(str), name="patient")
        wide = pd.DataFrame(values, index=ids, columns=X.columns)
        names = list(X.columns)
        tables = {}
        for modality in dict.fromkeys(map(_modality, names)):
            own = wide[_of(modality, names)]
            tables[modality] = Table(
                own.rename(columns=lambda name: name.partition(SEPARATOR)[2]),
                f"X, columns {modality}{SEPARATOR}*",
            )
        return Cohort(tables)

    def _encoded(self, cohort: Cohort) -> dict[str, pd.DataFrame]:
        """Latents by modality; of a few patients the scale is not judged, for they may be odd."""
        latents = {}
        for modality, table in cohort.tables.items():
            measured = cohort.measured(modality)
            latents[modality] = self.ensemble.spaces[modality].encode(
                measured, table.source, any_scale=len(measured) < MIN_PATIENTS
            )
        return latents


def _check_labels(wide: pd.DataFrame, ensemble: LoadedEnsemble) -> None:
    """Refuse patients and columns that cannot be told apart or that the ensemble does not know."""
    if wide.index.hasnans:
        raise DataError("X has rows without an id; put the patients' ids into its index")
    ids = wide.index.map(str)
    for what, labels in (("patient", ids), ("column", wide.columns)):
        twice = labels[labels.duplicated()].unique()
        if len(twice):
            raise DataError(f"X has {what} {first_few(twice)} twice; give each once")
    known = {
        modality + SEPARATOR + feature
        for modality, features in ensemble.features.items()
        for feature in features
    }
    unknown = [name for name in wide.columns if name not in known]
    if unknown:
        raise DataError(
            f"{len(unknown)} of {len(wide.columns)} columns of X are no feature of the ensemble: "
            f"{first_few(unknown)}; name columns modality{SEPARATOR}feature, with the features of "
            f"{', '.join(sorted(ensemble.spaces))}, and take others past this step with a "
            f"ColumnTransformer"
        )
    for name, column in wide.items():
        if not pd.api.types.is_numeric_dtype(column.dtype):
            raise DataError(f"X, column {name!r} holds {column.dtype}, not numbers; convert it")
        infinite = np.isinf(column.to_numpy(np.float64, na_value=np.nan))
        if infinite.any():
            raise DataError(
                f"X, patient {ids[int(infinite.argmax())]!r}, column {name!r} is infinite; give a "
                f"number, or NaN where there is none"
            )


def _modality(name: str) -> str:
    return name.partition(SEPARATOR)[0]


def _of(modality: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if name.startswith(modality + SEPARATOR)]


def _prefixed(table: Table, modality: str) -> pd.DataFrame:
    return table.frame.add_prefix(modality + SEPARATOR)


def _warn_of_missing(result: Imputation) -> None:
    """Warn of each target that some patients stay without."""
    left = result.report[result.report.status != "generated"]
    for target, rows in left.groupby("target"):
        warnings.warn(
            f"{len(rows)} patient(s) stay without {target}, for they have no modality that an "
            f"expert could use: {first_few(rows.patient)}",
            stacklevel=3,
        )
