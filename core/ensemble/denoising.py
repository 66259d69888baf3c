"""The inner loop of Coherent Denoising: from noise to latents by what the experts agree on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codenoise.core.base.errors import EnsembleError
from codenoise.core.base.known import BUILT_IN
from codenoise.core.diffusion.samplers import SAMPLERS
from codenoise.core.ensemble.consensus import BLOCK, Consensus

Observe = Callable[[int, Tensor, Tensor, Tensor], None]


@torch.inference_mode()
def denoise(
    consensus: Consensus,
    sampler: str,
    x: Tensor,
    rows: NDArray[np.int64],
    noise: Tensor | None = None,
    observe: Observe | None = None,
) -> tuple[Tensor, Tensor]:
    """Run trajectories from noise to latents (the paper, eq. 5-7).

    Up to `BLOCK` rows are computed as a block of that many, filled up with repetitions, so that a
    row's result does not depend on its company.

    Parameters
    ----------
    consensus
        Experts, patients, and the noise levels to visit.
    sampler
        Name, one of `codenoise.core.diffusion.samplers.SAMPLERS`.
    x
        Standard normal values, shape ``(rows, dim)``.
    rows
        Position of each row's patient among those of the consensus.
    noise
        Fresh standard normal values, shape ``(rows, steps - 1, dim)``, for samplers that take them.
    observe
        Called at each evaluation with the step, the noisy latents ``(rows, dim)``, each expert's
        noise ``(experts, rows, dim)`` and what they agree on ``(rows, dim)``.

    Returns
    -------
    tuple
        Latents, shape ``(rows, dim)``, and the experts' distance at each step, shape
        ``(rows, steps)``, NaN for one expert.

    Raises
    ------
    EnsembleError
        If the sampler is unknown, lacks its noise, or is a plugin's and breaks its contract, or
        what is generated is not finite.
    """
    method, levels, count = SAMPLERS[sampler], consensus.levels.tolist(), len(x)
    if method.fresh_noise and noise is None:
        raise EnsembleError(
            f"sampler {sampler!r} takes fresh noise of shape (rows, steps - 1, dim); none is given"
        )
    filled = np.resize(np.arange(count), max(count, BLOCK))
    rows, x = rows[filled], x[filled]
    fresh = noise[filled] if noise is not None and method.fresh_noise else None
    terms = consensus.terms(rows)
    distances = torch.empty(len(x), len(levels))
    visited = set()

    def agreed(x: Tensor, step: int) -> Tensor:
        epsilons, prior = consensus.predict(x, step, terms)  # e_i = M_i(x_t, t, C_i)
        epsilon = consensus.combine(epsilons, prior, step, rows)  # eq. 5
        distances[:, step] = consensus.distance(epsilons, step, rows)  # eq. 6
        visited.add(step)
        if observe is not None:
            observe(step, x[:count], epsilons[:, :count], epsilon[:count])
        return epsilon

    latents = method.run(agreed, x, levels, fresh)  # eq. 7
    if SAMPLERS.source(sampler) != BUILT_IN:
        _check(sampler, latents, x, len(levels) - len(visited))
    if not torch.isfinite(latents).all():
        named = ", ".join(expert.name for expert in consensus.experts)
        raise EnsembleError(
            f"what {named} generate holds values that are no finite numbers; look at the values of "
            f"the patients' other modalities, or leave one of the experts out"
        )
    return latents[:count], distances[:count]


def _check(sampler: str, latents: object, x: Tensor, left_out: int) -> None:
    """Refuse what a plugin's sampler returned if it is not what it should be."""
    if not isinstance(latents, Tensor):
        found = f"returned {type(latents).__name__}"
    elif latents.shape != x.shape or latents.dtype != x.dtype:
        found = f"returned {latents.dtype} of shape {tuple(latents.shape)}"
    elif not torch.isfinite(latents).all():
        found = "returned values that are not finite"
    elif left_out:
        found = f"left out {left_out} of the steps"
    else:
        return
    raise EnsembleError(
        f"sampler {sampler!r} of {SAMPLERS.source(sampler)} {found}; it should visit every step "
        f"and return finite {x.dtype} of shape {tuple(x.shape)}; choose another sampler, or tell "
        f"its author"
    )
