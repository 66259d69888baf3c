"""Measures of generated against real values, each with its definition.

R2 comes in several definitions that differ by tenths on the same values; every function here names
its own, and results are always reported with that name.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Float = NDArray[np.floating]


def r2_pooled(real: Float, generated: Float) -> float:
    """Coefficient of determination over all patients and dimensions at once.

    One minus the squared error over the squared deviation from the grand mean of ``real``, both
    summed over every entry of the ``(patients, dim)`` arrays.
    """
    residual = float(np.sum((real - generated) ** 2, dtype=np.float64))
    return 1 - residual / _deviation(real)


def _deviation(real: Float) -> float:
    """Squared deviation from the grand mean, summed; NaN where nothing varies."""
    if np.ptp(real) == 0:  # the sum itself may be a rounding error above zero
        return float("nan")
    return float(np.sum((real - np.mean(real, dtype=np.float64)) ** 2, dtype=np.float64))


def r2_per_feature(real: Float, generated: Float) -> NDArray[np.float64]:
    """Coefficient of determination of each column against its own mean, shape ``(dim,)``.

    Columns that do not vary give NaN.
    """
    residual = np.sum((real - generated) ** 2, axis=0, dtype=np.float64)
    total = np.asarray(np.sum((real - real.mean(axis=0)) ** 2, axis=0, dtype=np.float64))
    total[np.ptp(real, axis=0) == 0] = np.nan
    return np.asarray(1 - residual / total)


def draw_variance(draws: Float, *, mirrored: bool = False) -> NDArray[np.float64]:
    """Variance of each patient's draws, without bias.

    Mirrored draws (see `codenoise.core.ensemble.noise`) are not independent; the variance is that
    of the pairs' midpoints and the mean square of half their differences; of a single pair the
    latter alone. An unpaired last draw is left out.

    Parameters
    ----------
    draws
        Shape ``(patients, draws, dim)``, at least two draws.
    mirrored
        Whether each even draw and the one after it are a mirrored pair.

    Returns
    -------
    NDArray
        Shape ``(patients, dim)``.
    """
    if not mirrored:
        return np.asarray(draws.var(axis=1, ddof=1, dtype=np.float64))
    first, second = _pairs(draws)
    halves = ((first - second) / 2).astype(np.float64)
    middles = ((first + second) / 2).astype(np.float64)
    between = middles.var(axis=1, ddof=1) if middles.shape[1] > 1 else 0.0
    return np.asarray(between + (halves**2).mean(axis=1))


def _pairs(draws: Float) -> tuple[Float, Float]:
    """First and second members of the mirrored pairs, each ``(patients, pairs, dim)``."""
    even = draws[:, : draws.shape[1] // 2 * 2]
    return even[:, ::2], even[:, 1::2]


def r2_of_expectation(real: Float, draws: Float, *, mirrored: bool = False) -> float:
    """Pooled R2 that the mean of infinitely many draws would reach, estimated from a few.

    The mean of ``m`` draws carries their variance over ``m`` as additional squared error; that part
    is estimated from the draws and taken off. This is what compares with a point prediction, at any
    number of draws.

    Parameters
    ----------
    real
        Shape ``(patients, dim)``.
    draws
        Shape ``(patients, draws, dim)``; NaN below two, or four that are mirrored.
    mirrored
        Whether draws come in mirrored pairs, whose midpoints are then what is independent.
    """
    if mirrored:
        first, second = _pairs(draws)
        draws = (first + second) / 2
    if draws.shape[1] < 2:
        return float("nan")
    sampling = draws.var(axis=1, ddof=1, dtype=np.float64).sum() / draws.shape[1]
    return r2_pooled(real, draws.mean(axis=1)) + float(sampling) / _deviation(real)


def energy_score(real: Float, draws: Float, *, mirrored: bool = False) -> NDArray[np.float64]:
    """Energy score of each patient's draws (Gneiting & Raftery 2007, eq. 22); lower is better.

    Mean distance of the draws to the real point, less half the mean distance between different
    draws. It is proper: no narrowing or widening of the draws improves it in expectation.

    Parameters
    ----------
    real
        Shape ``(patients, dim)``.
    draws
        Shape ``(patients, draws, dim)``; NaN below two, or four that are mirrored.
    mirrored
        Whether draws come in mirrored pairs; the two of a pair are then not compared.

    Returns
    -------
    NDArray[np.float64]
        Shape ``(patients,)``.
    """
    if mirrored:
        draws = draws[:, : draws.shape[1] // 2 * 2]
    count = draws.shape[1]
    if count < (4 if mirrored else 2):
        return np.full(len(real), np.nan)
    to_real = np.linalg.norm(draws - real[:, None], axis=2).mean(axis=1)
    between, compared = np.zeros(len(real)), 0
    for i, j in combinations(range(count), 2):
        if not (mirrored and i // 2 == j // 2):
            between += np.linalg.norm(draws[:, i] - draws[:, j], axis=1)
            compared += 1
    return np.asarray(to_real - between / (2 * compared), dtype=np.float64)


def crps(real: Float, draws: Float, *, mirrored: bool = False) -> NDArray[np.float64]:
    """Continuous ranked probability score of each value (Gneiting & Raftery 2007, eq. 21).

    Mean distance of the draws to the real value, less half the mean distance between different
    draws: the energy score in one dimension, proper and without bias at any number of draws.

    Parameters
    ----------
    real
        Shape ``(patients, dim)``; NaN gives NaN.
    draws
        Shape ``(patients, draws, dim)``; NaN below two, or four that are mirrored.
    mirrored
        Whether draws come in mirrored pairs; the two of a pair are then not compared.

    Returns
    -------
    NDArray[np.float64]
        Shape ``(patients, dim)``.
    """
    if mirrored:
        draws = draws[:, : draws.shape[1] // 2 * 2]
    count = draws.shape[1]
    if count < (4 if mirrored else 2):
        return np.full(real.shape, np.nan)
    to_real = np.abs(draws - real[:, None]).mean(axis=1, dtype=np.float64)
    # Sorted, the distances of all pairs are a weighted sum of the draws.
    weights = 2 * np.arange(count) - count + 1.0
    between = 2 * np.einsum("k,pkd->pd", weights, np.sort(draws, axis=1), dtype=np.float64)
    pairs = count * (count - 1)
    if mirrored:
        first, second = _pairs(draws)
        between -= 2 * np.abs(first - second).sum(axis=1, dtype=np.float64)
        pairs -= count
    return np.asarray(to_real - between / (2 * pairs))


def energy_distance(first: Float, second: Float) -> float:
    """Energy distance of two samples (Szekely & Rizzo 2013, eq. 1); zero for equal distributions.

    Twice the mean distance between the samples, less the mean distances within each.

    Parameters
    ----------
    first, second
        Shapes ``(n, dim)`` and ``(m, dim)``.
    """
    across = cdist(first, second).mean()
    within = cdist(first, first).mean() + cdist(second, second).mean()
    return float(2 * across - within)


def interval_coverage(real: Float, draws: Float, level: float = 0.9) -> float:
    """Share of real values inside the central interval of their draws.

    With ``m`` draws the interval lies between order statistics at ``(m + 1) * tail``: exact for
    draws exchangeable with the real value where that is a whole number, and nearly so between.
    Below ``m = (1 + level) / (1 - level)`` draws (19 at 0.9) it cannot be reached: NaN.

    Parameters
    ----------
    real
        Shape ``(patients, dim)``.
    draws
        Shape ``(patients, draws, dim)``.
    level
        Nominal coverage.
    """
    count = draws.shape[1]
    tail = (1 - level) / 2
    # Weibull plotting positions k / (m + 1) are the exact coverage of order statistics.
    if tail * (count + 1) < 1 - 1e-9:  # 0.05 * 20 is below 1 in floating point
        return float("nan")
    low, high = np.quantile(draws, [tail, 1 - tail], axis=1, method="weibull")
    return float(np.mean((real >= low) & (real <= high)))
