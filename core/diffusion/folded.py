"""Inference form of denoisers: MLPs of equal shape become one batched product per layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codenoise.core.diffusion.denoiser import Denoiser, MLPDenoiser, time_embedding


@dataclass(frozen=True)
class FoldedStack:
    """Experts of equal shape, evaluated together.

    Each layer's input is [previous layer, time]; its product with the time part does not depend on
    the rows and is taken once per step of the run, as is the condition's part once per patient.

    Attributes
    ----------
    first
        Input-layer weights of the noisy latents, shape ``(experts, dim, width)``.
    inner
        Hidden-to-hidden weights and last the output's, each ``(experts, width, next width)``; the
        output is widened with zeros, see `_widened`.
    time_terms
        Of each layer, what time and bias add, shape ``(experts, steps, next width)``.
    dim
        Width of the output without the zeros.
    """

    dim: int
    first: Tensor
    inner: tuple[Tensor, ...]
    time_terms: tuple[Tensor, ...]
    condition_layers: tuple[nn.Module, ...]
    condition_projections: Tensor

    def condition_terms(self, conditions: Sequence[Tensor]) -> Tensor:
        """What each expert's condition adds to the first layer.

        Parameters
        ----------
        conditions
            One ``(patients, condition_dim)`` tensor per expert.

        Returns
        -------
        Tensor
            Shape ``(experts, patients, width)``.
        """
        embedded = torch.stack(
            [
                torch.relu(layer(condition))
                for layer, condition in zip(self.condition_layers, conditions, strict=True)
            ]
        )
        return torch.bmm(embedded, self.condition_projections)

    def __call__(self, x: Tensor, step: int, condition_terms: Tensor) -> Tensor:
        """Predict with every expert.

        Parameters
        ----------
        x
            Noisy latents, shape ``(rows, dim)``, shared by the experts.
        step
            Position in the grid of times that the stack was folded for.
        condition_terms
            Shape ``(experts, rows, width)``.

        Returns
        -------
        Tensor
            Network outputs, shape ``(experts, rows, dim)``.
        """
        bias = (condition_terms + self.time_terms[0][:, step, None]).to(self.first.dtype)
        noisy = x.to(self.first.dtype).expand(len(self.first), -1, -1)
        hidden = torch.relu_(torch.baddbmm(bias, noisy, self.first))
        for weight, terms in zip(self.inner[:-1], self.time_terms[1:-1], strict=True):
            hidden = torch.relu_(torch.baddbmm(terms[:, step, None], hidden, weight))
        output = torch.baddbmm(self.time_terms[-1][:, step, None], hidden, self.inner[-1])
        return output[..., : self.dim].to(x.dtype)


def fold(
    denoisers: Sequence[MLPDenoiser],
    times: Sequence[Tensor],
    dtype: torch.dtype = torch.float32,
) -> FoldedStack:
    """Fold trained networks of equal shape for a run over a grid of times.

    In evaluation mode BatchNorm is an affine map per unit and merges exactly into the linear layer
    before it.

    Parameters
    ----------
    denoisers
        Networks with equal dim, width, layers and time embedding.
    times
        For each network, its own (fractional) time at every step of the run, shape ``(steps,)``.
    dtype
        Of the products with noisy latents and hidden layers; folding itself is done in full.
    """
    folded = [_fold_one(denoiser, time) for denoiser, time in zip(denoisers, times, strict=True)]
    weights = [torch.stack(layer) for layer in zip(*(part[0] for part in folded), strict=True)]
    terms = [torch.stack(layer) for layer in zip(*(part[1] for part in folded), strict=True)]
    weights[-1], terms[-1] = _widened(weights[-1]), _widened(terms[-1])
    dim = denoisers[0].output.out_features
    return FoldedStack(
        dim=dim,
        first=_spaced(weights[0][:, :dim].to(dtype)),
        inner=tuple(_spaced(weight.to(dtype)) for weight in weights[1:]),
        time_terms=(terms[0], *(term.to(dtype) for term in terms[1:])),
        condition_layers=tuple(denoiser.condition for denoiser in denoisers),
        condition_projections=weights[0][:, dim:].contiguous(),
    )


def _fold_one(denoiser: MLPDenoiser, times: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Per layer, the transposed weights without their time part, and the time part's product."""
    embedded = time_embedding(times, denoiser.time_dim)
    weights, terms = [], []
    norms: list[nn.Module | None] = [*denoiser.norms, None]
    for linear, norm in zip([*denoiser.hidden, denoiser.output], norms, strict=True):
        assert isinstance(linear, nn.Linear)
        weight: Tensor = linear.weight
        bias: Tensor = linear.bias
        if isinstance(norm, nn.BatchNorm1d):
            assert norm.running_mean is not None and norm.running_var is not None
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = weight * scale[:, None]
            bias = (bias - norm.running_mean) * scale + norm.bias
        time_part = weight[:, -denoiser.time_dim :]
        weights.append(weight[:, : -denoiser.time_dim].T.contiguous())
        terms.append(embedded @ time_part.T + bias)
    return weights, terms


def _widened(layer: Tensor) -> Tensor:
    """The same values with zeros up to a multiple of 16 columns.

    Products with few columns (5, 6 or 10 on some processors) round a row differently at another
    place in its block, and a patient's result must not depend on the company.
    """
    return nn.functional.pad(layer, (0, -layer.shape[-1] % 16))


def _spaced(weight: Tensor) -> Tensor:
    """The same values, with a gap after rows that are a multiple of 4 KiB long.

    Without it the rows of such a matrix compete for the same few cache lines, and a product of 64
    rows with a layer of 1,024 units takes half as long again.
    """
    columns = weight.shape[-1]
    if columns % 1024:
        return weight.contiguous()
    return nn.functional.pad(weight, (0, 16))[..., :columns]


@dataclass(frozen=True)
class PlainStack:
    """One denoiser of any form, evaluated as it is.

    Attributes
    ----------
    denoiser
        Function of noisy latents, times and conditions.
    times
        Its own time at every step of the run, shape ``(steps,)``.
    """

    denoiser: Denoiser
    times: Tensor

    def condition_terms(self, conditions: Sequence[Tensor]) -> Tensor:
        """The condition itself, shape ``(1, patients, condition_dim)``."""
        return conditions[0][None]

    def __call__(self, x: Tensor, step: int, condition_terms: Tensor) -> Tensor:
        """Predict, shape ``(1, rows, dim)``; see `FoldedStack`."""
        return self.denoiser(x, self.times[step].expand(len(x)), condition_terms[0])[None]


def stacks(
    denoisers: Sequence[Denoiser], times: Sequence[Tensor], dtype: torch.dtype = torch.float32
) -> list[tuple[list[int], FoldedStack | PlainStack]]:
    """Gather denoisers into as few stacks as possible.

    Parameters
    ----------
    denoisers
        Networks in evaluation mode.
    times
        For each, its own time at every step of the run, shape ``(steps,)``.
    dtype
        See `fold`; networks of other forms are evaluated as they are.

    Returns
    -------
    list
        Positions of the denoisers in each stack, and the stack.
    """
    gathered: list[tuple[list[int], FoldedStack | PlainStack]] = []
    shapes: dict[tuple[int, ...], list[int]] = {}
    for position, denoiser in enumerate(denoisers):
        if isinstance(denoiser, MLPDenoiser):
            shapes.setdefault(_shape(denoiser), []).append(position)
        else:
            gathered.append(([position], PlainStack(denoiser, times[position])))
    for positions in shapes.values():
        members = [d for d in map(denoisers.__getitem__, positions) if isinstance(d, MLPDenoiser)]
        gathered.append((positions, fold(members, [times[i] for i in positions], dtype)))
    return gathered


def _shape(denoiser: MLPDenoiser) -> tuple[int, ...]:
    """What must be equal for two networks to share a stack."""
    return (
        denoiser.output.out_features,
        len(denoiser.hidden),
        denoiser.output.in_features,
        denoiser.time_dim,
        denoiser.condition.out_features,
    )
