"""Samplers: pure functions from noisy latents and their noise to less noisy latents.

Each works on noise levels (signal variance ``alpha_bar``), not on step indices, so a sampler can
run any decreasing grid of levels whatever the schedules of the experts behind the noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def ddim_step(x: Tensor, epsilon: Tensor, alpha_bar: float, next_alpha_bar: float) -> Tensor:
    """Deterministic step to a lower noise level (Song et al. 2021, eq. 12 with sigma = 0).

    Parameters
    ----------
    x, epsilon
        Noisy latents and the noise in them, shape ``(rows, dim)``.
    alpha_bar, next_alpha_bar
        Signal variance now and after the step; 1 ends the run at clean latents.
    """
    scale = (next_alpha_bar / alpha_bar) ** 0.5
    shift = (1 - next_alpha_bar) ** 0.5 - scale * (1 - alpha_bar) ** 0.5
    next_x: Tensor = scale * x + shift * epsilon
    return next_x


def ddpm_step(
    x: Tensor, epsilon: Tensor, alpha_bar: float, next_alpha_bar: float, noise: Tensor
) -> Tensor:
    """Ancestral step to a lower noise level (Ho et al. 2020, algorithm 2).

    The variance is that of the exact posterior given x0, so the last step adds none.

    Parameters
    ----------
    x, epsilon
        Noisy latents and the noise in them, shape ``(rows, dim)``.
    alpha_bar, next_alpha_bar
        Signal variance now and after the step; 1 ends the run at clean latents.
    noise
        Fresh standard normal values, shape ``(rows, dim)``.
    """
    alpha = alpha_bar / next_alpha_bar
    mean = (x - (1 - alpha) / (1 - alpha_bar) ** 0.5 * epsilon) / alpha**0.5
    variance = (1 - next_alpha_bar) / (1 - alpha_bar) * (1 - alpha)
    next_x: Tensor = mean + variance**0.5 * noise
    return next_x


def step_grid(alpha_bar: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Choose the noise levels a sampler visits, from most to least noise.

    Parameters
    ----------
    alpha_bar
        Signal variances of the reference schedule, increasing noise.
    steps
        Number of levels, evenly spaced in the schedule's steps, both ends included; the
        schedule's own length gives all of them.

    Returns
    -------
    NDArray[np.float64]
        Signal variances, increasing, shape ``(steps,)``.
    """
    last = len(alpha_bar) - 1
    visited = np.linspace(last, 0, steps).round().astype(int) if steps > 1 else np.array([last])
    return np.asarray(alpha_bar[visited])
