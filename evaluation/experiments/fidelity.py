"""How like real patients a generated set is, and whether it gives away who was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from codenoise.core.base.errors import DataError

Float = NDArray[np.floating]
NEIGHBOURS = 5  # the paper's k
RESAMPLES = 500


def precision_recall(
    real: Float, generated: Float, neighbours: int = NEIGHBOURS
) -> tuple[float, float]:
    """Improved precision and recall of a generated set (Kynkaanniemi et al. 2019, eq. 1-2).

    A set's manifold is the union of balls around its points, each out to the point's ``neighbours``
    -th nearest other point. Precision is the share of generated points in the real manifold, recall
    the share of real points in the generated one. Both grow with the number of points, so figures
    compare only between sets of one size.

    Parameters
    ----------
    real, generated
        Shapes ``(n, dim)`` and ``(m, dim)``.
    neighbours
        The neighbour that sets a ball's radius.

    Returns
    -------
    tuple
        Precision and recall.

    Raises
    ------
    DataError
        If a set has not more than ``neighbours`` points.
    """
    across = cdist(generated, real)
    precision = float(np.mean((across <= _radii(real, neighbours)).any(axis=1)))
    back = across.T
    recall = float(np.mean((back <= _radii(generated, neighbours)).any(axis=1)))
    return precision, recall


def _radii(points: Float, neighbours: int) -> NDArray[np.float64]:
    """Distance of each point to its ``neighbours``-th nearest other one, shape ``(n,)``."""
    from sklearn.neighbors import NearestNeighbors

    if len(points) <= neighbours:
        raise DataError(
            f"balls out to the {neighbours}th neighbour need more than {neighbours} points, "
            f"not {len(points)}; give a larger set"
        )
    found, _ = NearestNeighbors(n_neighbors=neighbours).fit(points).kneighbors()
    return np.asarray(found[:, -1], dtype=np.float64)


def f1(precision: float, recall: float) -> float:
    """Harmonic mean of precision and recall; zero where both are."""
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def nearest_distance(points: Float, generated: Float) -> NDArray[np.float64]:
    """Euclidean distance of each point to the nearest generated one.

    Parameters
    ----------
    points, generated
        Shapes ``(n, dim)`` and ``(m, dim)``.

    Returns
    -------
    NDArray[np.float64]
        Shape ``(n,)``.
    """
    return np.asarray(cdist(points, generated).min(axis=1), dtype=np.float64)


@dataclass(frozen=True)
class Membership:
    """How well a distance tells the patients trained on (members) from others.

    Attributes
    ----------
    auc
        Chance that a member is closer than another patient, ties counting half: 0.5 gives nothing
        away, 1 gives away everybody.
    low, high
        95% interval of it, by bootstrap of the patients of both groups (percentiles).
    p
        Mann-Whitney test that the distances of both groups are alike, two-sided.
    """

    auc: float
    low: float
    high: float
    p: float


def membership(
    members: NDArray[np.float64], others: NDArray[np.float64], seed: int = 0
) -> Membership:
    """Judge an attack that takes the patients with the smallest distances for members.

    Parameters
    ----------
    members, others
        The attack's distance for each patient, shapes ``(n,)`` and ``(m,)``.
    seed
        Of the bootstrap.

    Raises
    ------
    DataError
        If a group has fewer than two patients, or a distance is missing.
    """
    from scipy.stats import bootstrap, mannwhitneyu

    if min(len(members), len(others)) < 2:
        raise DataError(
            f"a membership attack needs 2 patients in either group, not {len(members)} and "
            f"{len(others)}"
        )
    if np.isnan(members).any() or np.isnan(others).any():
        raise DataError("a membership attack needs every patient's distance; some are missing")

    def auc(theirs: Float, ours: Float, axis: int = -1) -> NDArray[np.float64]:
        compared = mannwhitneyu(theirs, ours, axis=axis, method="asymptotic").statistic
        return np.asarray(compared / (theirs.shape[axis] * ours.shape[axis]))

    spread = bootstrap(
        (others, members), auc, n_resamples=RESAMPLES, method="percentile", rng=seed
    ).confidence_interval
    test = mannwhitneyu(others, members, method="asymptotic")
    return Membership(
        float(auc(others, members)), float(spread.low), float(spread.high), float(test.pvalue)
    )
