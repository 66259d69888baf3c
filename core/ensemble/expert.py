"""What the engine needs to know of an expert."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from codenoise.core.diffusion.data import side_by_side
from codenoise.core.diffusion.denoiser import Denoiser, masked_condition
from codenoise.core.diffusion.prediction import Prediction
from codenoise.core.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class Moments:
    """Mean ``(dim,)`` and lower triangular factor of the covariance ``(dim, dim)``."""

    mean: NDArray[np.float64]
    factor: NDArray[np.float64]


@dataclass(frozen=True)
class Expert:
    """A loaded expert: of one condition (a pair), or of any subset of several.

    Attributes
    ----------
    name
        ``name@version``, for messages and reports.
    conditions, target
        Modalities.
    condition_spaces, target_space
        Digests of the spaces that the latents live in.
    condition_dims
        Latent dimensions of each condition.
    validation_r2
        Pooled R2 of its expectation on validation patients: what it knows.
    moments
        Of each condition over the training patients; empty where unknown.
    masked
        Whether it is a multi-condition expert, which takes `masked_condition` input.
    dim
        Latent dimensions of the target.
    denoiser
        Network in evaluation mode, or any function of the same form.
    schedule, prediction
        Forward process it was trained on and what it outputs.
    validation_mse
        Mean squared error of generated against real validation latents; sets its reliability.
    """

    name: str
    conditions: tuple[str, ...]
    target: str
    condition_spaces: tuple[str, ...]
    target_space: str
    condition_dims: tuple[int, ...]
    dim: int
    denoiser: Denoiser
    schedule: NoiseSchedule
    prediction: Prediction
    validation_mse: float
    validation_r2: float = 0.0
    moments: tuple[Moments, ...] = ()
    masked: bool = False

    def condition_input(
        self, latents: Mapping[str, pd.DataFrame], patients: Sequence[str]
    ) -> Tensor:
        """What the denoiser takes as condition.

        Parameters
        ----------
        latents
            Tables of latents by modality; a pair's must hold every patient.
        patients
            Ids.

        Returns
        -------
        Tensor
            Shape ``(patients, condition_dim)``; for a multi-condition expert the conditions side by
            side, then the mask.
        """
        ids = list(patients)
        if not self.masked:
            return torch.tensor(latents[self.conditions[0]].loc[ids].to_numpy(np.float32))
        tables = [
            latents.get(modality, pd.DataFrame(columns=range(dim), dtype=np.float32))
            for modality, dim in zip(self.conditions, self.condition_dims, strict=True)
        ]
        values, present = side_by_side(tables, ids)
        mask = torch.from_numpy(present).to(torch.float32)
        return masked_condition(torch.from_numpy(values), mask, self.condition_dims)


def conditions_of(experts: Iterable[Expert]) -> list[str]:
    """Modalities that some of these experts generate from, each once, in their order."""
    return list(dict.fromkeys(name for expert in experts for name in expert.conditions))
