"""Networks to choose from by name, and how one is built from a manifest's entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from codenoise.core.base.errors import CodenoiseError
from codenoise.core.base.known import Known
from codenoise.core.diffusion.denoiser import LatentDenoiser, MLPDenoiser, time_embedding


class UNetDenoiser(LatentDenoiser):
    """Fully connected U-Net: halving widths down, the mirrored path up with skip connections.

    Parameters
    ----------
    dim
        Latent dimensions of the target space.
    width, layers
        Units of the widest layer, and how often the width is halved.
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
        layers: int = 2,
        time_dim: int = 64,
        condition_width: int = 32,
    ) -> None:
        super().__init__(condition_dims, masked, time_dim, condition_width)
        widths = [width // 2**level for level in range(layers + 1)]
        if widths[-1] < 1:
            raise ValueError(f"a width of {width} cannot be halved {layers} times")
        inputs = [dim + self.condition.out_features, *widths]
        self.down = nn.ModuleList(
            _Layer(before + time_dim, after) for before, after in zip(inputs, widths, strict=False)
        )
        self.up = nn.ModuleList(
            _Layer(widths[level + 1] + widths[level] + time_dim, widths[level])
            for level in reversed(range(layers))
        )
        self.output = nn.Linear(width + time_dim, dim)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Predict from noisy latents; see `MLPDenoiser.forward`."""
        embedded = time_embedding(time, self.time_dim)
        hidden = self.start(x, condition)
        skipped = []
        for layer in self.down:
            hidden = layer(torch.cat([hidden, embedded], dim=1))
            skipped.append(hidden)
        for layer, skip in zip(self.up, reversed(skipped[:-1]), strict=True):
            hidden = layer(torch.cat([hidden, skip, embedded], dim=1))
        output: Tensor = self.output(torch.cat([hidden, embedded], dim=1))
        return output


class ResidualDenoiser(LatentDenoiser):
    """Pre-norm residual MLP; time and condition shift every block.

    Parameters
    ----------
    dim
        Latent dimensions of the target space.
    width, layers
        Units of the residual stream, and number of blocks.
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
        known = time_dim + self.condition.out_features
        self.enter = nn.Linear(dim + self.condition.out_features, width)
        self.blocks = nn.ModuleList(_Block(width, known) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, dim)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Predict from noisy latents; see `MLPDenoiser.forward`."""
        given = torch.relu(self.condition(condition))
        known = torch.cat([time_embedding(time, self.time_dim), given], dim=1)
        hidden = self.enter(torch.cat([x, given], dim=1))
        for block in self.blocks:
            hidden = block(hidden, known)
        output: Tensor = self.output(self.norm(hidden))
        return output


class _Layer(nn.Sequential):
    def __init__(self, before: int, after: int) -> None:
        super().__init__(nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU())


class _Block(nn.Module):
    def __init__(self, width: int, known: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, width)
        self.shift = nn.Linear(known, width)
        self.second = nn.Linear(width, width)

    def forward(self, hidden: Tensor, known: Tensor) -> Tensor:
        inner = nn.functional.silu(self.first(self.norm(hidden)) + self.shift(known))
        moved: Tensor = hidden + self.second(inner)
        return moved


ARCHITECTURES: Known[Callable[..., LatentDenoiser]] = Known(
    "architecture", {"mlp": MLPDenoiser, "residual": ResidualDenoiser, "unet": UNetDenoiser}
)
"""Networks by name; code plugins put theirs in."""


def build_denoiser(
    architecture: str,
    dim: int,
    condition_dims: Sequence[int],
    parameters: Mapping[str, Any],
    *,
    masked: bool = False,
) -> LatentDenoiser:
    """Build an untrained denoiser from a manifest's architecture entry.

    Parameters
    ----------
    architecture
        Name of a network in `ARCHITECTURES`.
    dim
        Latent dimensions of the target space.
    condition_dims
        Latent dimensions of each condition space.
    parameters
        What the network takes beside these.
    masked
        Whether conditions can be absent (a multi-condition expert).

    Raises
    ------
    CodenoiseError
        If the architecture is unknown or does not take these parameters.
    """
    network = ARCHITECTURES[architecture]
    try:
        return network(dim, condition_dims, masked=masked, **parameters)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise CodenoiseError(
            f"architecture {architecture!r} does not take {dict(parameters)}: {problem}"
        ) from None
