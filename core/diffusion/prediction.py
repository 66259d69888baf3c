"""What a denoiser may predict, and the way from each to the noise at the same noise level."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["epsilon", "v", "x0"]


def training_target(prediction: Prediction, x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """What a network with this prediction type is trained to output.

    Parameters
    ----------
    prediction
        ``"epsilon"`` (the paper), ``"v"`` (Salimans & Ho 2022, eq. 11) or ``"x0"``.
    x0, noise
        Clean latents and the noise added to them, shape ``(rows, dim)``.
    alpha_bar
        Signal variance of each row, shape ``(rows, 1)``.
    """
    if prediction == "epsilon":
        return noise
    if prediction == "x0":
        return x0
    return torch.sqrt(alpha_bar) * noise - torch.sqrt(1 - alpha_bar) * x0


def to_epsilon(prediction: Prediction, output: Tensor, x: Tensor, alpha_bar: float) -> Tensor:
    """Convert a network's output at noisy latents ``x`` to the noise it implies.

    Parameters
    ----------
    output, x
        Network output and its noisy input, shape ``(..., rows, dim)``.
    alpha_bar
        Signal variance at this step.
    """
    if prediction == "epsilon":
        return output
    signal, spread = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    epsilon: Tensor = signal * output + spread * x  # from v
    if prediction == "x0":
        epsilon = (x - signal * output) / spread
    return epsilon
