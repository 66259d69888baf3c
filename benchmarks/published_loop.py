"""The paper's sampling loop, written plainly: what ``sampling.py`` compares the engine with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from codenoise.core.diffusion.prediction import to_epsilon
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.weights import inverse_mse

STEPS = 1000


@torch.inference_mode()
def published_loop(
    experts: Sequence[Expert],
    conditions: Sequence[Tensor],
    noise: Callable[[int], Tensor],
    steps: int = STEPS,
) -> tuple[Tensor, Tensor]:
    """Equations 1-7 of the paper as they stand: every expert is called at every step.

    Parameters
    ----------
    experts
        Networks as they were trained, in evaluation mode.
    conditions
        Of each expert, shape ``(rows, condition_dim)``.
    noise
        ``noise(0)`` is where the run starts and ``noise(n)`` what its n-th step adds, each of shape
        ``(rows, dim)``.
    steps
        How many of the 1,000 steps to run before stopping, to time them.

    Returns
    -------
    tuple
        Latents, shape ``(rows, dim)``, and the experts' mean distance, shape ``(rows,)``.
    """
    weights = torch.from_numpy(inverse_mse([e.validation_mse for e in experts])).float()
    pairs = list(combinations(range(len(experts)), 2))
    shares = torch.stack([(weights[i] + weights[j]) / 2 for i, j in pairs])
    beta = np.linspace(1e-4, 0.02, STEPS)
    alpha_bar = np.cumprod(1 - beta)
    x = noise(0)
    distance = torch.zeros(len(x))
    for t in reversed(range(STEPS - steps, STEPS)):
        now = torch.full((len(x),), float(t))
        epsilons = [
            to_epsilon(expert.prediction, expert.denoiser(x, now, condition), x, alpha_bar[t])
            for expert, condition in zip(experts, conditions, strict=True)
        ]
        for share, (i, j) in zip(shares / shares.sum(), pairs, strict=True):
            distance += share * (1 - torch.cosine_similarity(epsilons[i], epsilons[j], dim=1))
        agreed = torch.stack([w * e for w, e in zip(weights, epsilons, strict=True)]).sum(dim=0)
        x = (x - beta[t] / (1 - alpha_bar[t]) ** 0.5 * agreed) / (1 - beta[t]) ** 0.5
        if t > 0:
            variance = (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * beta[t]
            x = x + variance**0.5 * noise(STEPS - t)
    return x, distance / steps


def loop_draws(
    experts: Sequence[Expert],
    latents: Mapping[str, pd.DataFrame],
    patients: Sequence[str],
    draws: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
) -> NDArray[np.float32]:
    """All draws of all patients in one batch, shape ``(patients, draws, dim)``."""
    generator = torch.Generator().manual_seed(seed)
    repeated = [e.condition_input(latents, patients).repeat_interleave(draws, 0) for e in experts]
    shape = (len(patients) * draws, experts[0].dim)
    found, _ = published_loop(
        experts, repeated, lambda _: torch.randn(shape, generator=generator), steps
    )
    return found.numpy().reshape(len(patients), draws, -1)
