"""Coherence: how far the experts of a step agree on the noise."""

from __future__ import annotations

import torch
from torch import Tensor


def incoherence(epsilons: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean pairwise cosine distance of the experts' noise (the paper, eq. 6).

    A pair weighs ``(w_i + w_j) / 2``, as in the paper's public code. Coherence is one minus this.

    Parameters
    ----------
    epsilons
        Predicted noise, shape ``(experts, rows, dim)``, at least two experts.
    weights
        Reliability weights, shape ``(experts,)``, or ``(rows, experts)`` where they differ.

    Returns
    -------
    Tensor
        Distance in [0, 2], shape ``(rows,)``.
    """
    units = torch.nn.functional.normalize(epsilons, dim=2)
    count = weights.shape[-1]
    first, second = torch.triu_indices(count, count, offset=1)
    distance = 1 - (units[first] * units[second]).sum(dim=2)
    pair_weights = (weights[..., first] + weights[..., second]) / 2
    pair_weights = pair_weights / pair_weights.sum(dim=-1, keepdim=True)
    if weights.ndim == 1:
        return pair_weights @ distance
    return torch.einsum("np,pn->n", pair_weights, distance)
