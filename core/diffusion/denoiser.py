"""Denoiser networks: what one expert's weights are loaded into."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from codenoise.core.errors import CodenoiseError


def time_embedding(time: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding of diffusion steps (Ho et al. 2020).

    Parameters
    ----------
    time
        Steps, fractional ones included, shape ``(rows,)``.
    width
        Even number of embedding dimensions.

    Returns
    -------
    Tensor
        Shape ``(rows, width)``: sines, then cosines.
    """
    half = width // 2
    rates = torch.exp(-math.log(10_000.0) / half * torch.arange(half, dtype=torch.float32))
    angles = time.to(torch.float32)[:, None] * rates.to(time.device)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


class Denoiser(Protocol):
    """Latents ``(rows, dim)``, times ``(rows,)`` and conditions to predictions ``(rows, dim)``."""

    def __call__(self, x: Tensor, time: Tensor, condition: Tensor, /) -> Tensor: ...  # noqa: D102


class MLPDenoiser(nn.Module):
    """The paper's network: Linear-BatchNorm-ReLU layers, time re-injected at each of them.

    The condition passes through one linear layer and a ReLU and joins at the input; the time
    embedding is concatenated to the input of every layer, the output layer included.

    Parameters
    ----------
    dim
        Latent dimensions of the target space.
    condition_dim
        Latent dimensions of the condition space.
    width, layers
        Units of a hidden layer and number of hidden layers.
    time_dim
        Dimensions of the time embedding (even).
    condition_width
        Dimensions of the condition embedding.
    """

    def __init__(
        self,
        dim: int,
        condition_dim: int,
        width: int = 256,
        layers: int = 4,
        time_dim: int = 64,
        condition_width: int = 32,
    ) -> None:
        super().__init__()
        self.time_dim = time_dim
        self.condition = nn.Linear(condition_dim, condition_width)
        inputs = [dim + condition_width] + [width] * layers
        self.hidden = nn.ModuleList(nn.Linear(size + time_dim, width) for size in inputs[:-1])
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(layers))
        self.output = nn.Linear(width + time_dim, dim)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Predict from noisy latents.

        Parameters
        ----------
        x
            Noisy target latents, shape ``(rows, dim)``.
        time
            Diffusion steps, shape ``(rows,)``.
        condition
            Condition latents, shape ``(rows, condition_dim)``.

        Returns
        -------
        Tensor
            The prediction (noise, v or x0 as trained), shape ``(rows, dim)``.
        """
        embedded = time_embedding(time, self.time_dim)
        hidden = torch.cat([x, torch.relu(self.condition(condition))], dim=1)
        for linear, norm in zip(self.hidden, self.norms, strict=True):
            hidden = torch.relu(norm(linear(torch.cat([hidden, embedded], dim=1))))
        output: Tensor = self.output(torch.cat([hidden, embedded], dim=1))
        return output


ARCHITECTURES: Mapping[str, Callable[..., MLPDenoiser]] = {"mlp": MLPDenoiser}


def build_denoiser(
    architecture: str, dim: int, condition_dim: int, parameters: Mapping[str, Any]
) -> MLPDenoiser:
    """Build an untrained denoiser from a manifest's architecture entry.

    Raises
    ------
    CodenoiseError
        If the architecture is unknown or does not take these parameters.
    """
    if architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise CodenoiseError(f"architecture {architecture!r} is unknown; known: {known}")
    try:
        return ARCHITECTURES[architecture](dim=dim, condition_dim=condition_dim, **parameters)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise CodenoiseError(
            f"architecture {architecture!r} does not take {dict(parameters)}: {problem}"
        ) from None
