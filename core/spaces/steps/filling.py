"""Steps that fill gaps."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.spaces.steps.base import (
    MATRIX,
    POSITIVE,
    VECTOR,
    Float32,
    StoredStep,
    per_feature,
)

# No stored number of `FillKnn` stands for fewer patients than this, so that a published space
# does not hold a patient's profile.
MIN_PATIENTS_PER_CENTROID = 5


@dataclass(frozen=True)
class FillMedian(StoredStep):
    """Fill gaps with the median of the feature over training patients."""

    kind: ClassVar[str] = "fill-median"
    median: Float32 = field(repr=False, metadata=VECTOR)

    @classmethod
    def fit(cls, train: pd.DataFrame) -> Self:
        """Take medians of observed values; `DataError` for a feature without any."""
        return cls(per_feature(train.median(), cls.kind))

    def apply(self, values: Float32) -> Float32:
        """Values without gaps."""
        return np.where(np.isnan(values), self.median, values)


@dataclass(frozen=True)
class FillKnn(StoredStep):
    """Fill gaps with the mean of the ``k`` centroids nearest to the patient.

    A published space must not hold patients, so the neighbours are not training patients, as in
    scikit-learn's ``KNNImputer``, but centroids of k-means clusters of them: at most
    ``n_centroids``, each the mean of `MIN_PATIENTS_PER_CENTROID` patients or more in every feature
    (the patients of smaller clusters are left out; a feature observed in too few of a cluster takes
    the training median). Distance is Euclidean over the features the patient has; a patient without
    any gets the medians. The cost, as root mean squared error on TCGA with 10% of values hidden,
    against ``KNNImputer``, defaults on both sides: RPPA 8% more with 6,038 training patients, 3%
    with 1,000; RNA 9% with 912.
    """

    kind: ClassVar[str] = "fill-knn"
    k: int = field(metadata=POSITIVE)
    n_centroids: int = field(metadata=POSITIVE)
    centroids: Float32 = field(repr=False, metadata=MATRIX)
    median: Float32 = field(repr=False, metadata=VECTOR)

    @classmethod
    def fit(cls, train: pd.DataFrame, k: int = 3, n_centroids: int = 64) -> Self:
        """Cluster training patients; `DataError` if there are too few for one centroid."""
        median = per_feature(train.median(), cls.kind)
        cls(k, n_centroids, median[None], median)  # refuses wrong options before any work
        clusters = min(n_centroids, len(train) // MIN_PATIENTS_PER_CENTROID)
        if clusters == 0:
            raise DataError(
                f"step {cls.kind!r} needs {MIN_PATIENTS_PER_CENTROID} training patients or more, "
                f"not {len(train)}; use 'fill-median'"
            )
        centroids = _centroids(train.to_numpy(dtype=np.float64), median, clusters)
        return cls(k, n_centroids, centroids, median)

    def apply(self, values: Float32) -> Float32:
        """Values without gaps."""
        gaps = np.isnan(values)
        rows = np.flatnonzero(gaps.any(axis=1))
        if not len(rows):
            return values
        k = min(self.k, len(self.centroids))
        distances = _distances(values[rows], gaps[rows], self.centroids)
        # In fixed order, so that the sum does not depend on the patients beside this one.
        nearest = np.sort(np.argpartition(distances, k - 1, axis=1)[:, :k], axis=1)
        estimate = sum(self.centroids[nearest[:, i]] for i in range(k)) / np.float32(k)
        estimate = np.where(gaps[rows].all(axis=1, keepdims=True), self.median, estimate)
        filled = values.copy()
        filled[rows] = np.where(gaps[rows], estimate, values[rows])
        return filled


def _centroids(values: NDArray[np.float64], median: Float32, clusters: int) -> Float32:
    """Means ``(centroids, features)`` of the clusters that are large enough."""
    from sklearn.cluster import KMeans  # slow to import, and only fitting needs it

    filled = np.where(np.isnan(values), median, values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct patients than clusters do no harm
        labels = KMeans(clusters, n_init=1, random_state=0).fit_predict(filled)
    large = np.flatnonzero(np.bincount(labels) >= MIN_PATIENTS_PER_CENTROID)
    return np.array([_centroid(values[labels == i], median) for i in large], dtype=np.float32)


def _centroid(members: NDArray[np.float64], median: Float32) -> NDArray[np.float64]:
    count = (~np.isnan(members)).sum(axis=0)
    mean = np.nansum(members, axis=0) / np.maximum(count, 1)
    return np.where(count >= MIN_PATIENTS_PER_CENTROID, mean, median)


def _distances(values: Float32, gaps: NDArray[np.bool_], centroids: Float32) -> NDArray[np.float64]:
    """Squared distances ``(patients, centroids)`` over observed features.

    Each is short of its patient's own squared length, which changes no order.
    """
    observed, centres = np.where(gaps, 0.0, values), centroids.astype(np.float64)
    return np.asarray((~gaps) @ (centres**2).T - 2 * observed @ centres.T)
