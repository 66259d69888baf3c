"""Which features and which training patients a space is fitted on.

Each rule is a function, and a step of the same name for recipes. Such a step leaves features or
training patients out when a space is fitted; afterwards it changes no value, and says in the
space's manifest how its features were chosen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.spaces.steps.base import (
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Float32,
    StoredStep,
    library_sizes,
    naming_cells,
)

# A normal distribution's standard deviation over its median, and its mean, absolute deviation.
SD_PER_MEDIAN_DEVIATION, SD_PER_MEAN_DEVIATION = 1.4826, 1.2533
# Robust standard deviations of log distance beyond which a patient is an outlier. On TCGA 3 marks
# 0.5 to 1.8% of the patients by modality. How much of a genome is altered varies so widely between
# tumours that 3 would mark none for copy number, whatever its quality; 1.5 marks 0.2%.
OUTLIER_CUTOFF, OUTLIER_CUTOFFS = 3.0, {"cna": 1.5}
# Features with more gaps than this among training patients are left out of a space (the paper).
MAX_FEATURE_GAPS = 0.10
# One corrupt value must not make an outlier of a patient; values have a clip of their own.
OUTLIER_VALUE_LIMIT = 10.0


def expressed_features(
    train: pd.DataFrame, threshold: float = 1.0, share: float = 0.2
) -> list[str]:
    """Features over ``threshold`` counts per million in at least ``share`` of training patients.

    Parameters
    ----------
    train
        Patients x features: counts, or anything proportional to them within a patient. Counts per
        million are of the patient's sum over these features, so give the whole transcriptome.
    threshold, share
        In counts per million; of the patients in whom the feature is observed, from 0 to 1.

    Raises
    ------
    DataError
        If a value is negative or a patient's sum is 0.
    """
    counts = train.to_numpy(dtype=np.float32)
    with naming_cells(train.index, train.columns):
        cpm = counts / library_sizes(counts, "expressed-features")[:, None] * 1e6
    observed = (~np.isnan(counts)).sum(axis=0)
    above = (cpm > threshold).sum(axis=0) / np.maximum(observed, 1)
    return _names(train, (above >= share) & (observed > 0))


def covered_features(train: pd.DataFrame, max_gaps: float = MAX_FEATURE_GAPS) -> list[str]:
    """Features that are gaps in at most ``max_gaps`` (a fraction) of the training patients."""
    return _names(train, (train.isna().mean() <= max_gaps).to_numpy())


def varying_features(train: pd.DataFrame) -> list[str]:
    """Features that are not the same, in float32, in all training patients who have them."""
    exact = train.astype(np.float32)
    return _names(train, (exact.max() > exact.min()).to_numpy())


def _names(train: pd.DataFrame, kept: NDArray[np.bool_]) -> list[str]:
    return [str(name) for name in train.columns[kept]]


def outlier_samples(
    values: Float32, modality: str = "", cutoff: float | None = None
) -> NDArray[np.bool_]:
    """Patients far from the median profile, to be left out of training, never out of imputing.

    A patient's distance is the mean over observed features of the deviation from the feature's
    median, in robust standard deviations (median absolute deviation; mean absolute deviation where
    more than half of the values are equal) and at most `OUTLIER_VALUE_LIMIT` each. An outlier is
    more than ``cutoff`` robust standard deviations above the median of the logarithms of these.

    Parameters
    ----------
    values
        Training values ``(patients, features)`` on the scale that distances make sense on, so
        logarithms, not counts; gaps are NaN.
    modality, cutoff
        Without ``cutoff``, `OUTLIER_CUTOFFS` decides by modality, `OUTLIER_CUTOFF` for others.

    Returns
    -------
    numpy.ndarray
        True for outliers, shape ``(patients,)``; False for a patient without any value.
    """
    cutoff = OUTLIER_CUTOFFS.get(modality, OUTLIER_CUTOFF) if cutoff is None else cutoff
    frame = pd.DataFrame(values.astype(np.float64))
    deviation = (frame - frame.median()).abs()
    middle = deviation.median() * SD_PER_MEDIAN_DEVIATION
    spread = middle.where(middle > 0, deviation.mean() * SD_PER_MEAN_DEVIATION)
    distance = (deviation / spread.where(spread > 0)).clip(upper=OUTLIER_VALUE_LIMIT).mean(axis=1)
    logs = np.log(distance.where(distance > 0))
    above = logs - logs.median()
    # Where half of the patients are equally far there is no spread to judge the others by.
    scale = above.abs().median() * SD_PER_MEDIAN_DEVIATION
    return np.asarray((above > cutoff * scale) & (scale > 0), dtype=np.bool_)


class Selection(StoredStep, ABC):
    """A step that chooses training patients and features, and changes no value."""

    def apply(self, values: Float32) -> Float32:
        """Values as they are."""
        return values

    @abstractmethod
    def selected(self, train: pd.DataFrame) -> pd.DataFrame:
        """The training patients and features that stay."""


@dataclass(frozen=True)
class ExpressedFeatures(Selection):
    """Keep `expressed_features`; the table is to hold counts, of the whole transcriptome."""

    kind: ClassVar[str] = "expressed-features"
    threshold: float = field(metadata=NOT_NEGATIVE)
    share: float = field(metadata=SHARE)

    @classmethod
    def fit(
        cls,
        train: pd.DataFrame,  # noqa: ARG003 (learns nothing)
        threshold: float = 1.0,
        share: float = 0.2,
    ) -> Self:
        """``threshold`` is in counts per million, ``share`` of the training patients."""
        return cls(threshold, share)

    def selected(self, train: pd.DataFrame) -> pd.DataFrame:
        """Every patient, with the features that are expressed."""
        return train[expressed_features(train, self.threshold, self.share)]


@dataclass(frozen=True)
class CoveredFeatures(Selection):
    """Keep `covered_features`."""

    kind: ClassVar[str] = "covered-features"
    max_gaps: float = field(metadata=SHARE)

    @classmethod
    def fit(cls, train: pd.DataFrame, max_gaps: float = MAX_FEATURE_GAPS) -> Self:  # noqa: ARG003
        """``max_gaps`` is a share of the training patients."""
        return cls(max_gaps)

    def selected(self, train: pd.DataFrame) -> pd.DataFrame:
        """Every patient, with the features that have few gaps."""
        return train[covered_features(train, self.max_gaps)]


@dataclass(frozen=True)
class VaryingFeatures(Selection):
    """Keep `varying_features`."""

    kind: ClassVar[str] = "varying-features"

    @classmethod
    def fit(cls, train: pd.DataFrame) -> Self:  # noqa: ARG003 (learns nothing)
        """There is nothing to set."""
        return cls()

    def selected(self, train: pd.DataFrame) -> pd.DataFrame:
        """Every patient, with the features that vary."""
        return train[varying_features(train)]


@dataclass(frozen=True)
class OutlierSamples(Selection):
    """Leave out `outlier_samples`; the table is to hold logarithms or the like, not counts."""

    kind: ClassVar[str] = "outlier-samples"
    cutoff: float = field(metadata=POSITIVE)

    @classmethod
    def fit(cls, train: pd.DataFrame, cutoff: float = OUTLIER_CUTOFF) -> Self:  # noqa: ARG003
        """``cutoff`` is in robust standard deviations of log distance."""
        return cls(cutoff)

    def selected(self, train: pd.DataFrame) -> pd.DataFrame:
        """The patients who are no outliers, with every feature."""
        return train[~outlier_samples(train.to_numpy(dtype=np.float32), cutoff=self.cutoff)]
