"""Familiarity: how far patients are like those that an expert was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import Tensor

from codenoise.core.base.errors import EnsembleError
from codenoise.core.ensemble.expert import Expert


def familiarity(experts: Sequence[Expert], inputs: Sequence[Tensor]) -> NDArray[np.float64]:
    """How far each patient is like those an expert was trained on, shape ``(patients, experts)``.

    One inside the ellipsoid that holds 99% of a normal distribution with the training patients'
    mean and covariance; outside, the ratio of its squared Mahalanobis radius to the patient's. Of
    several conditions the least familiar one counts.

    Parameters
    ----------
    experts
        Experts with moments of their conditions.
    inputs
        For each, what `Expert.condition_input` gives.

    Raises
    ------
    EnsembleError
        If an expert has no moments.
    """
    columns = []
    for expert, values in zip(experts, inputs, strict=False):
        if not expert.moments:
            raise EnsembleError(
                f"{expert.name} does not say what its conditions look like, which weighting "
                f"'adaptive' needs; choose another weighting"
            )
        width = sum(expert.condition_dims)  # after which a multi-condition expert has its mask
        parts = torch.split(values[:, :width], list(expert.condition_dims), dim=1)
        worst = np.ones(len(values))
        for i, (moments, part) in enumerate(zip(expert.moments, parts, strict=False)):
            centred = (part.numpy() - moments.mean).T
            radius = (np.linalg.solve(moments.factor, centred) ** 2).sum(axis=0)
            limit = chi2.ppf(0.99, len(moments.mean))
            like = np.minimum(1, limit / np.maximum(radius, limit))
            if expert.masked:
                present = values[:, width + i].numpy() > 0
                like = np.where(present, like, 1.0)
            worst = np.minimum(worst, like)
        columns.append(worst)
    return np.stack(columns, axis=1)
