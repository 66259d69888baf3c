"""What an analyst would do in an afternoon: regressions from table to table, in features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from codenoise.core.base.optional import quiet

Float32 = NDArray[np.float32]
COMPONENTS = (
    64  # of a table's principal components, for methods that the whole table is too wide for
)
TYPE_SCALE = 10.0  # of the columns that tell the type, so that the penalty hardly touches them


@dataclass(frozen=True)
class Side:
    """One part of a split.

    Attributes
    ----------
    condition
        Known features in training standard deviations, shape ``(patients, features)``; gaps are 0,
        the training mean.
    kind
        One column per cancer type of training, 1 for the patient's; no 1 for an unknown type.
    target
        Wanted features, shape ``(patients, targets)``; gaps are NaN.
    """

    condition: Float32
    kind: Float32
    target: Float32


Predict = Callable[[Side], Float32]
"""Target features ``(patients, targets)`` of a part, which looks at no target."""
Fit = Callable[[Side, Side, int], Predict]
"""Training part, validation part (to choose settings on) and seed to a fitted prediction."""


def training_mean(train: Side, _validation: Side, _seed: int) -> Predict:
    """The mean of all training patients."""
    mean = means(train.target)
    return lambda side: np.tile(mean, (len(side.condition), 1))


def type_mean(train: Side, _validation: Side, _seed: int) -> Predict:
    """The mean of the training patients of the same cancer type; of all, if the type is unknown."""
    overall = means(train.target)
    of_kind = np.stack([means(train.target[of > 0], overall) for of in train.kind.T])

    def predict(side: Side) -> Float32:
        known = side.kind.sum(axis=1) > 0
        return np.where(known[:, None], of_kind[side.kind.argmax(axis=1)], overall)

    return predict


def ridge(train: Side, validation: Side, _seed: int) -> Predict:
    """Ridge regression on the features; the penalty is chosen on validation patients."""
    return _linear(train, validation, lambda side: side.condition)


def ridge_with_type(train: Side, validation: Side, _seed: int) -> Predict:
    """`ridge` that is also told the cancer type."""
    return _linear(train, validation, _told)


def _linear(train: Side, validation: Side, shown: Callable[[Side], Float32]) -> Predict:
    from sklearn.linear_model import Ridge

    def model(alpha: float) -> Any:
        return Ridge(alpha=alpha)

    grid = [{"alpha": float(alpha)} for alpha in np.geomspace(10, 30_000, 8)]
    return _chosen(model, grid, train, validation, shown)


def kernel_ridge(train: Side, validation: Side, _seed: int) -> Predict:
    """Ridge regression with a Gaussian kernel, told the cancer type; settings as in `ridge`."""
    from sklearn.kernel_ridge import KernelRidge

    width = train.condition.shape[1]

    def model(gamma: float, alpha: float) -> Any:
        return KernelRidge(kernel="rbf", gamma=gamma / width, alpha=alpha)

    grid = [{"gamma": g, "alpha": a} for g in (0.03, 0.1, 0.3) for a in (0.03, 0.1, 0.3)]
    # A distance grows with the number of features; so must the part of it that tells types apart.
    weight = np.sqrt(width / 10) / TYPE_SCALE
    return _chosen(model, grid, train, validation, lambda side: _told(side, weight))


def pls(train: Side, validation: Side, _seed: int) -> Predict:
    """Partial least squares, told the cancer type; components chosen on validation patients."""
    from sklearn.cross_decomposition import PLSRegression

    def model(n_components: int) -> Any:
        return PLSRegression(n_components=n_components, scale=False, max_iter=100, tol=1e-4)

    def shown(side: Side) -> Float32:
        return _told(side, 1 / TYPE_SCALE)  # as features are: components follow what varies most

    most = min(shown(train).shape)
    grid = [{"n_components": count} for count in (2, 4, 8, 16) if count <= most]
    return _chosen(model, grid, train, validation, shown, by_pattern=False)


def nearest(train: Side, validation: Side, _seed: int) -> Predict:
    """Mean of the nearest training patients; their number is chosen on validation patients."""
    from sklearn.neighbors import NearestNeighbors

    most = min(200, len(train.condition))
    found = NearestNeighbors(n_neighbors=most).fit(train.condition)
    overall = means(train.target)

    def predict(side: Side, count: int) -> Float32:
        near = found.kneighbors(side.condition, n_neighbors=count, return_distance=False)
        return np.stack([means(train.target[rows], overall) for rows in near])

    counts = [count for count in (5, 10, 20, 50, 100, 200) if count <= most]
    best = min(counts, key=lambda count: _error(predict(validation, count), validation.target))
    return lambda side: predict(side, best)


def forest(train: Side, validation: Side, seed: int) -> Predict:
    """A random forest from principal components and the cancer type to principal components."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestRegressor

    del validation  # its settings are the library's but for the leaves
    known, wanted = train.condition, np.nan_to_num(train.target - means(train.target))
    before = PCA(min(COMPONENTS, *known.shape), random_state=seed).fit(known)
    after = PCA(min(COMPONENTS, *wanted.shape), random_state=seed).fit(wanted)

    def shown(side: Side) -> Float32:
        return np.hstack([before.transform(side.condition), side.kind])

    model = RandomForestRegressor(100, min_samples_leaf=5, max_features=1 / 3, random_state=seed)
    model.fit(shown(train), after.transform(wanted))

    def predict(side: Side) -> Float32:
        codes = np.reshape(model.predict(shown(side)), (len(side.condition), -1))
        return np.asarray(after.inverse_transform(codes) + means(train.target), np.float32)

    return predict


TABLE_BASELINES: Mapping[str, Fit] = {
    "training mean": training_mean,
    "type mean": type_mean,
    "ridge": ridge,
    "ridge with type": ridge_with_type,
    "kernel ridge": kernel_ridge,
    "PLS": pls,
    "k nearest": nearest,
    "forest": forest,
}


def fitted(name: str, train: Side, validation: Side, seed: int) -> Predict:
    """Fit a baseline of `TABLE_BASELINES`, one thread in its matrix products.

    Parameters
    ----------
    name
        Of the baseline.
    train, validation
        Patients to learn from, and to choose settings on.
    seed
        Of what is random in it.
    """
    with threadpool_limits(1), quiet():  # a component that has not settled in 100 rounds is taken
        return TABLE_BASELINES[name](train, validation, seed)


def bootstrapped(
    predicted: Float32, residuals: Float32, draws: int, rng: np.random.Generator
) -> Float32:
    """Predictions with the residual of a random held-out patient added: ``(patients, draws, q)``.

    Parameters
    ----------
    predicted
        Shape ``(patients, q)``.
    residuals
        Of held-out patients, shape ``(others, q)``; a gap takes the feature's residual of another.
    draws
        Per patient.
    rng
        Source of the choice.
    """
    whole = residuals.copy()
    for column in whole.T:
        known = column[~np.isnan(column)]
        gaps = np.isnan(column)
        column[gaps] = rng.choice(known, gaps.sum()) if len(known) else 0.0
    rows = rng.integers(len(whole), size=(len(predicted), draws))
    return np.asarray(predicted[:, None] + whole[rows], dtype=np.float32)


def _chosen(
    model: Callable[..., Any],
    grid: list[dict[str, Any]],
    train: Side,
    validation: Side,
    shown: Callable[[Side], Float32],
    *,
    by_pattern: bool = True,
) -> Predict:
    """The settings that err least on validation patients, fitted on training patients.

    Settings are compared with gaps of the target at the mean; then each group of features that have
    the same gaps is fitted to the patients that have them, unless ``by_pattern`` is off.
    """
    mean = means(train.target)
    known, held = shown(train), shown(validation)
    filled = np.nan_to_num(train.target - mean)
    errors = [
        _error(model(**one).fit(known, filled).predict(held).reshape(len(held), -1) + mean,
               validation.target)
        for one in grid
    ]  # fmt: skip
    best = grid[int(np.argmin(errors))]
    groups = list(_patterns(train.target)) if by_pattern else [(slice(None), slice(None))]
    models = [
        (columns, model(**best).fit(known[rows], filled[rows][:, columns]))
        for columns, rows in groups
    ]

    def predict(side: Side) -> Float32:
        given = shown(side)
        values = np.tile(mean, (len(given), 1))
        for columns, one in models:
            values[:, columns] += one.predict(given).reshape(len(given), -1)
        return values

    return predict


def _patterns(target: Float32) -> Iterator[tuple[Any, Any]]:
    """Columns that have the same gaps, and the rows that have them."""
    gaps = np.isnan(target)
    patterns, which = np.unique(gaps, axis=1, return_inverse=True)
    for place, pattern in enumerate(patterns.T):
        if not pattern.all():
            yield np.flatnonzero(which == place), np.flatnonzero(~pattern)


def _told(side: Side, weight: float = 1.0) -> Float32:
    return np.hstack([side.condition, weight * TYPE_SCALE * side.kind])


def means(values: NDArray[np.floating], default: Float32 | float = 0.0) -> Float32:
    """Means of the columns over what is not NaN; the default where nothing is."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=0)
    return np.asarray(
        np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), default), np.float32
    )


def _error(guess: Float32, real: Float32) -> float:
    return float(np.nanmean((guess - real) ** 2))
