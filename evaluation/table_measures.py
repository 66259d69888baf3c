"""How close completed tables come to the real ones, in features, where those are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.metrics import crps, energy_score, r2_pooled
from codenoise.evaluation.baselines.tables import means

Float32 = NDArray[np.float32]


def measures(real: Float32, guess: Float32, kinds: NDArray[np.object_]) -> dict[str, float]:
    """How close completed values come to the real ones, where those are known.

    Parameters
    ----------
    real, guess
        In training standard deviations, shape ``(patients, features)``; gaps of ``real`` are NaN.
    kinds
        Cancer type of each patient.

    Returns
    -------
    dict
        ``r2_pooled``: over all known values, against the mean of each feature over these patients.
        ``r2_feature``: of each feature against the same, averaged over features. ``r2_within``:
        pooled, against the feature's mean over the patients of the same cancer type, so that
        telling types apart counts for nothing. ``spearman_feature``, ``spearman_patient``: median
        rank correlation over features, and over patients.
    """
    known = ~np.isnan(real)
    within = real - _group_means(real, kinds)
    error = (real - guess)[known]
    centred = real - means(real)
    squares = np.nansum(centred**2, axis=0)
    lost = np.nansum((real - guess) ** 2, axis=0)
    varies = squares > 0
    return {
        "r2_pooled": r2_pooled(centred[known], centred[known] - error),
        "r2_feature": float(np.mean(1 - lost[varies] / squares[varies])),
        "r2_within": r2_pooled(within[known], within[known] - error),
        "spearman_feature": _rank_correlation(real, guess),
        "spearman_patient": _rank_correlation(real.T, guess.T),
    }


def distribution(
    real: Float32, draws: Float32, *, mirrored: bool = False
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """How right the draws are about what is not known.

    Parameters
    ----------
    real
        Shape ``(patients, features)``; gaps are NaN and count for nothing.
    draws
        Shape ``(patients, draws, features)``, what the space does not carry included.
    mirrored
        Whether draws come in mirrored pairs.

    Returns
    -------
    tuple
        ``crps`` (mean over values) and ``energy`` (mean energy score over patients), lower is
        better, in training standard deviations; ``coverage`` and ``width`` of the central 90%
        interval. And whether each value is in it, NaN in gaps, shape ``(patients, features)``.
    """
    known = ~np.isnan(real)
    low, high = np.quantile(draws, [0.05, 0.95], axis=1, method="weibull")
    inside = np.where(known, (real >= low) & (real <= high), np.nan)
    # A gap is set to the same value everywhere, so that it adds to no distance.
    there = np.where(known[:, None], draws, np.float32(0))
    score = energy_score(np.nan_to_num(real), there, mirrored=mirrored)
    found = {
        "crps": float(np.nanmean(crps(real, draws, mirrored=mirrored))),
        "energy": float(np.mean(score)),
        "coverage": float(np.nanmean(inside)),
        "width": float(np.mean((high - low)[known])),
    }
    return found, inside


def _group_means(values: Float32, groups: NDArray[np.object_]) -> Float32:
    return pd.DataFrame(values).groupby(groups).transform("mean").to_numpy(np.float32)


def _rank_correlation(real: Float32, guess: Float32) -> float:
    """Median over columns of Spearman's correlation, over what is known; ties share their rank."""
    known = ~np.isnan(real)
    a, b = (pd.DataFrame(np.where(known, v, np.nan)).rank().to_numpy() for v in (real, guess))
    a, b = a - means(a), b - means(b)
    size = np.sqrt(np.nansum(a**2, axis=0) * np.nansum(b**2, axis=0))
    each = np.nansum(a * b, axis=0)[size > 0] / size[size > 0]
    return float(np.median(each)) if len(each) else float("nan")
