"""What a baseline is asked: target latents of patients of whom only the conditions are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from threadpoolctl import threadpool_limits

from codenoise.core.base.errors import DataError, first_few

Float32 = NDArray[np.float32]
Latents = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Query:
    """One target to predict from some conditions.

    Attributes
    ----------
    target, conditions
        Modalities.
    test
        Latents of the conditions and of nothing else, indexed by patient. The target's own values
        are not here, so no method can look at them.
    patients
        Whom to predict for, in the order of the answer; each has every condition.

    Raises
    ------
    DataError
        If ``test`` holds other tables than the conditions, or lacks a patient.
    """

    target: str
    conditions: Sequence[str]
    test: Latents
    patients: Sequence[str]

    def __post_init__(self) -> None:
        """Check the query against itself."""
        wanted = sorted(set(self.conditions) - {self.target})
        if not wanted or sorted(self.test) != wanted or len(self.conditions) != len(wanted):
            raise DataError(
                f"query {self}: test holds {sorted(self.test)}; expected one table for each "
                f"condition, at least one, and none of the target"
            )
        if not len(self.patients):
            raise DataError(f"query {self} names no patients; leave it out")
        for name, table in self.test.items():
            absent = pd.Index(self.patients).difference(table.index)
            if len(absent):
                raise DataError(
                    f"query {self}: {len(absent)} of {len(self.patients)} patients have no {name}: "
                    f"{first_few(absent)}; ask only for patients with every condition"
                )
            _check_table(f"query {self}, test table {name}", table)

    def __str__(self) -> str:
        return f"{'+'.join(self.conditions)} -> {self.target}"

    def shown(self) -> pd.DataFrame:
        """Condition latents side by side, one row per patient asked for."""
        return side_by_side(self.test, self.conditions).loc[list(self.patients)]


Baseline = Callable[[Latents, Sequence[Query], int], list[Float32]]
"""Training latents, queries and a seed to target latents ``(patients, dim)``, one per query."""


def checked(method: Baseline) -> Baseline:
    """Check training latents and queries against each other before a method sees them.

    The method runs with one thread in its matrix products, so that its answers do not depend on the
    machine's cores.
    """

    @wraps(method)
    def run(train: Latents, queries: Sequence[Query], seed: int) -> list[Float32]:
        for name, table in train.items():
            _check_table(f"training table {name}", table)
        for query in queries:
            _check_query(train, query)
        with threadpool_limits(1):
            return method(train, queries, seed) if queries else []

    return run


def side_by_side(latents: Latents, names: Sequence[str]) -> pd.DataFrame:
    """Every patient that has one of the modalities, sorted; NaN where one is missing.

    Columns are pairs of modality and latent dimension.
    """
    return pd.concat({name: latents[name] for name in names}, axis=1).sort_index()


def _check_table(label: str, table: pd.DataFrame) -> None:
    if not len(table):
        raise DataError(f"{label} has no patients; leave it out")
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()].unique()
        raise DataError(f"{label} has {len(twice)} patient(s) more than once: {first_few(twice)}")
    text = [name for name, kind in table.dtypes.items() if not is_numeric_dtype(kind)]
    if text:
        raise DataError(
            f"{label}: {len(text)} column(s) hold no numbers: {first_few(text)}; expected latents, "
            f"as a space encodes them"
        )
    finite = np.isfinite(table.to_numpy()).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{label}: latents of {int((~finite).sum())} patient(s) are not finite: "
            f"{first_few(table.index[~finite])}; leave patients out who lack the modality"
        )


def _check_query(train: Latents, query: Query) -> None:
    names = [query.target, *query.conditions]
    unknown = [name for name in names if name not in train]
    if unknown:
        raise DataError(
            f"query {query}: there is no training table of {first_few(unknown)}; "
            f"there are {first_few(sorted(train), len(train))}"
        )
    for name in query.conditions:
        if list(query.test[name].columns) != list(train[name].columns):
            raise DataError(
                f"query {query}: the {query.test[name].shape[1]} columns of {name} are not the "
                f"{train[name].shape[1]} of its training table; encode both in the same space"
            )
    known = pd.Index(query.patients).intersection(train[query.target].index)
    if len(known):
        raise DataError(
            f"query {query}: the training data hold the answer for {len(known)} of "
            f"{len(query.patients)} patients: {first_few(known)}; take them out of one of the two"
        )
