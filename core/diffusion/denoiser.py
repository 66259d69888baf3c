"""Denoiser networks: what one expert's weights are loaded into."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn


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


class MaskedProjections(nn.Module):
    """One linear projection per condition, zeroed where the condition is absent (the paper's S1).

    Parameters
    ----------
    dims
        Latent dimensions of each condition.
    width
        Dimensions of each projection.
    """

    def __init__(self, dims: Sequence[int], width: int) -> None:
        super().__init__()
        self.dims = tuple(dims)
        self.out_features = width * len(self.dims)
        self.projections = nn.ModuleList(nn.Linear(dim, width) for dim in self.dims)

    def forward(self, condition: Tensor) -> Tensor:
        """Project what `masked_condition` made, shape ``(rows, sum of dims + conditions)``."""
        *parts, present = torch.split(condition, [*self.dims, len(self.dims)], dim=1)
        projected = [
            layer(part) * present[:, i : i + 1]
            for i, (layer, part) in enumerate(zip(self.projections, parts, strict=True))
        ]
        return torch.cat(projected, dim=1)


def masked_condition(values: Tensor, present: Tensor, dims: Sequence[int]) -> Tensor:
    """Build the input of a multi-condition denoiser: latents, zero where absent, then the mask.

    Parameters
    ----------
    values
        Latents of all conditions side by side, shape ``(rows, sum of dims)``; finite everywhere.
    present
        1 where a condition is used and 0 where not, shape ``(rows, conditions)``.
    dims
        Latent dimensions of each condition.
    """
    wide = present.repeat_interleave(torch.tensor(dims, device=present.device), dim=1)
    return torch.cat([values * wide, present], dim=1)


class LatentDenoiser(nn.Module):
    """What all networks share: a condition embedded by one layer, and a time embedding.

    Parameters
    ----------
    condition_dims
        Latent dimensions of each condition space.
    masked
        Whether conditions can be absent: the multi-condition form, whose condition input is
        `masked_condition`'s; else there is one condition and its latents are the input.
    time_dim, condition_width
        Dimensions of the time embedding (even) and of each condition's embedding.
    """

    def __init__(
        self, condition_dims: Sequence[int], masked: bool, time_dim: int, condition_width: int
    ) -> None:
        super().__init__()
        if not masked and len(condition_dims) != 1:
            raise ValueError(f"a pair expert has one condition, not {len(condition_dims)}")
        self.time_dim = time_dim
        self.condition = (
            MaskedProjections(condition_dims, condition_width)
            if masked
            else nn.Linear(condition_dims[0], condition_width)
        )

    def start(self, x: Tensor, condition: Tensor) -> Tensor:
        """Noisy latents beside the embedded condition, ``(rows, dim + embedding)``."""
        return torch.cat([x, torch.relu(self.condition(condition))], dim=1)


class MLPDenoiser(LatentDenoiser):
    """The paper's network: Linear-BatchNorm-ReLU layers, time re-injected at each of them.

    The condition passes through one linear layer and a ReLU and joins at the input; the time
    embedding is concatenated to the input of every layer, the output layer included.

    Parameters
    ----------
    dim
        Latent dimensions of the target space.
    width, layers
        Units of a hidden layer and number of hidden layers.
    condition_dims, masked, time_dim, condition_width
        See `LatentDenoiser`.
    """

    def __init__(
        self,
        dim: int,
        condition_dims: Sequence[int],
        *,
        masked: bool = False,
        width: int = 256,
        layers: int = 4,
        time_dim: int = 64,
        condition_width: int = 32,
    ) -> None:
        super().__init__(condition_dims, masked, time_dim, condition_width)
        inputs = [dim + self.condition.out_features] + [width] * layers
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
            Condition latents, shape ``(rows, condition_dim)``; see `masked_condition`.

        Returns
        -------
        Tensor
            The prediction (noise, v or x0 as trained), shape ``(rows, dim)``.
        """
        embedded = time_embedding(time, self.time_dim)
        hidden = self.start(x, condition)
        for linear, norm in zip(self.hidden, self.norms, strict=True):
            hidden = torch.relu(norm(linear(torch.cat([hidden, embedded], dim=1))))
        output: Tensor = self.output(torch.cat([hidden, embedded], dim=1))
        return output
