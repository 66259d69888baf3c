"""Exact experts: for jointly Gaussian modalities the noise to predict is known in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from codenoise.core.diffusion.schedule import NoiseSchedule, linear_schedule
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GaussianDenoiser:
    """Predicts the exact expected noise when ``x | c ~ N(gain @ c, covariance)``."""

    gain: Array
    covariance: Array
    schedule: NoiseSchedule

    def __call__(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        steps = np.arange(self.schedule.steps)
        level = float(np.interp(float(time[0]), steps, self.schedule.alpha_bar))
        total = level * self.covariance + (1 - level) * np.eye(len(self.covariance))
        mean = condition.double() @ torch.from_numpy(self.gain.T)
        residual = x.double() - level**0.5 * mean
        return ((1 - level) ** 0.5 * residual @ torch.from_numpy(np.linalg.inv(total))).float()


def gaussian_expert(
    gain: Array,
    covariance: Array,
    condition: str = "a",
    mse: float = 1.0,
    schedule: NoiseSchedule | None = None,
    space: str = "sha256:" + "0" * 64,
) -> Expert:
    """An expert of modality ``condition`` -> ``x`` that knows its Gaussian exactly."""
    schedule = schedule or linear_schedule()
    return Expert(
        name=f"{condition}-to-x@1",
        conditions=(condition,),
        target="x",
        condition_spaces=(f"{condition}-space",),
        target_space=space,
        condition_dims=(np.asarray(gain).shape[1],),
        dim=len(covariance),
        denoiser=GaussianDenoiser(gain, covariance, schedule),
        schedule=schedule,
        prediction="epsilon",
        validation_mse=mse,
    )


class LatentEnsemble(LoadedEnsemble):
    """An ensemble of exact experts, which live in no real space; its cohorts are latents."""

    def __post_init__(self) -> None:
        pass

    def encode(self, cohort: Any) -> dict[str, pd.DataFrame]:
        return dict(cohort)
