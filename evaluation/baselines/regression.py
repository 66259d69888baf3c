"""Baselines that answer each query by itself, from patients who have the target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.evaluation.baselines.queries import Latents, Query, checked, side_by_side

Float32 = NDArray[np.float32]
NEIGHBOURS = (5, 10, 20, 50, 100)
HELD_OUT = 0.1
FEWEST = 20  # a tenth of them, held out, is the least that an error can be estimated from


@checked
def mean(train: Latents, queries: Sequence[Query], _seed: int) -> list[Float32]:
    """The target's mean over all training patients, whatever is known of a patient."""
    return [
        np.tile(train[query.target].to_numpy(np.float32).mean(axis=0), (len(query.patients), 1))
        for query in queries
    ]


@checked
def ridge_each(train: Latents, queries: Sequence[Query], _seed: int) -> list[Float32]:
    """`ridge` on the training patients that have the target and all conditions of a query."""
    return [ridge(*_paired(train, query), _array(query.shown())) for query in queries]


def ridge(train_condition: Float32, train_target: Float32, condition: Float32) -> Float32:
    """Ridge regression of target latents on condition latents.

    The penalty is chosen by leave-one-out error on the training patients.

    Parameters
    ----------
    train_condition, train_target
        Shapes ``(patients, condition_dim)`` and ``(patients, dim)``.
    condition
        Patients to predict for, shape ``(others, condition_dim)``.

    Returns
    -------
    Float32
        Shape ``(others, dim)``.
    """
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(alphas=np.logspace(-1, 4, 11)).fit(train_condition, train_target)
    # A single target dimension comes back flat.
    return np.asarray(model.predict(condition), dtype=np.float32).reshape(len(condition), -1)


@checked
def mlp(train: Latents, queries: Sequence[Query], seed: int) -> list[Float32]:
    """A plain network of the denoisers' size, four hidden layers of 256 units.

    Adam stops when the R2 of a random tenth of the patients has not risen for ten epochs, and the
    best epoch is kept. ``alpha`` is the weight decay that did best on validation patients of TCGA.
    """
    from sklearn.neural_network import MLPRegressor

    answers = []
    for query in queries:
        known, wanted = _paired(train, query)
        model = MLPRegressor(
            hidden_layer_sizes=(256,) * 4,
            alpha=1.0,
            early_stopping=True,
            validation_fraction=HELD_OUT,
            max_iter=1000,
            random_state=seed,
        ).fit(known, wanted.squeeze())  # the library wants a single target dimension flat
        values = np.asarray(model.predict(_array(query.shown())), dtype=np.float32)
        answers.append(values.reshape(len(query.patients), -1))
    return answers


@checked
def knn(train: Latents, queries: Sequence[Query], seed: int) -> list[Float32]:
    """`KNNImputer` on all training patients that have the target, whatever else they lack.

    The number of neighbours is the one of `NEIGHBOURS` that errs least when the target of a random
    tenth of the patients with every condition is hidden. Patients without the target can be left
    out, and so can modalities that a query does not show: neither changes a distance's rank, so
    the answers are those of one imputer fitted to all modalities.
    """
    answers = []
    for query in queries:
        donors = side_by_side(train, [query.target, *query.conditions])
        donors = donors.loc[train[query.target].index.sort_values()]
        whole = _whole(train, query).index
        held = np.random.default_rng(seed).permutation(whole)[: int(len(whole) * HELD_OUT)]
        truth = train[query.target].loc[held]
        errors = {}
        for count in NEIGHBOURS:
            guess = _neighbours(donors.drop(held), donors.loc[held], query, count)
            errors[count] = float(np.mean((guess - _array(truth)) ** 2))
        best = min(errors, key=errors.__getitem__)
        answers.append(_neighbours(donors, query.shown(), query, best))
    return answers


def _neighbours(donors: pd.DataFrame, asked: pd.DataFrame, query: Query, count: int) -> Float32:
    from sklearn.impute import KNNImputer

    shown = asked[list(query.conditions)].reindex(columns=donors.columns)
    completed = KNNImputer(n_neighbors=count).fit(_array(donors)).transform(_array(shown))
    wanted = donors.columns.get_level_values(0) == query.target
    return np.asarray(completed[:, wanted], dtype=np.float32)


def _paired(train: Latents, query: Query) -> tuple[Float32, Float32]:
    """Conditions and target of the training patients that have them all."""
    whole = _whole(train, query)
    return _array(whole[list(query.conditions)]), _array(whole[[query.target]])


def _whole(train: Latents, query: Query) -> pd.DataFrame:
    """Training patients that have the target and all conditions."""
    whole = side_by_side(train, [query.target, *query.conditions]).dropna()
    if len(whole) < FEWEST:
        raise DataError(
            f"query {query}: {len(whole)} training patients have all of these modalities; "
            f"at least {FEWEST} are needed"
        )
    return whole


def _array(frame: pd.DataFrame) -> Float32:
    return frame.to_numpy(np.float32)
