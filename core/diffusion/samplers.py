"""Samplers: from noise to latents along a grid of noise levels.

A sampler is a function of noise levels (signal variance ``alpha_bar``), not of step indices, so it
can run any decreasing noise whatever the schedules of the experts behind it. It is called as
``sampler(predict, x, levels, noise)`` and returns clean latents, shape ``(rows, dim)``:

predict
    Gives the noise in latents, shape ``(rows, dim)``, at a step of the grid. Every step is to be
    asked for; of one that is asked for again the last answer counts for coherence.
x
    Standard normal values, shape ``(rows, dim)``. Rows are independent of each other.
levels
    Signal variance at each step, increasing; the run ends at 1.
noise
    Fresh standard normal values, shape ``(rows, steps - 1, dim)``, for a sampler that wants them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from codenoise.core.base.errors import EnsembleError
from codenoise.core.base.known import Known

if TYPE_CHECKING:  # names of samplers are wanted where torch is not
    from torch import Tensor

    Predict = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class SamplingMethod:
    """A sampler and what it has to be given.

    Attributes
    ----------
    run
        The function, see `codenoise.core.diffusion.samplers`.
    fresh_noise
        Whether it takes fresh noise between steps; ``noise`` is ``None`` otherwise.
    even
        Whether its levels are spaced evenly over the schedule's steps, of which it wants all,
        instead of the grid of few steps.
    """

    run: Callable[[Predict, Tensor, Sequence[float], Tensor | None], Tensor]
    fresh_noise: bool = False
    even: bool = False

    def values(self, steps: int) -> int:
        """Standard normal values that each latent dimension takes in a run, the first included."""
        return steps if self.fresh_noise else 1


def ddpm(predict: Predict, x: Tensor, levels: Sequence[float], noise: Tensor | None) -> Tensor:
    """Ancestral sampling (Ho et al. 2020, algorithm 2).

    The variance is that of the exact posterior given x0, so the last step adds none.
    """
    assert noise is not None
    for step, level, after in _steps(levels):
        alpha = level / after
        x = (x - (1 - alpha) / (1 - level) ** 0.5 * predict(x, step)) / alpha**0.5
        if after < 1:
            variance = (1 - after) / (1 - level) * (1 - alpha)
            x = x + variance**0.5 * noise[:, step]
    return x


def ddim(predict: Predict, x: Tensor, levels: Sequence[float], _noise: Tensor | None) -> Tensor:
    """Deterministic sampling (Song et al. 2021, eq. 12 with sigma = 0)."""
    for step, level, after in _steps(levels):
        x = ddim_step(x, predict(x, step), level, after)
    return x


def dpm_solver(
    predict: Predict, x: Tensor, levels: Sequence[float], _noise: Tensor | None
) -> Tensor:
    """DPM-Solver++(2M) of second order (Lu et al. 2022, algorithm 2); its first step is of first.

    It remembers the clean latents that the step before implied.
    """
    before: tuple[Tensor, float] | None = None
    for step, level, after in _steps(levels):
        x0 = predicted_x0(x, predict(x, step), level)
        if after == 1:
            return x0
        advance = _half_log_snr(after) - _half_log_snr(level)
        ahead = x0
        if before is not None:
            earlier, earlier_level = before
            ratio = advance / (2 * (_half_log_snr(level) - _half_log_snr(earlier_level)))
            ahead = x0 + ratio * (x0 - earlier)
        scale = ((1 - after) / (1 - level)) ** 0.5
        x = scale * x - after**0.5 * math.expm1(-advance) * ahead
        before = x0, level
    return x


def heun(predict: Predict, x: Tensor, levels: Sequence[float], _noise: Tensor | None) -> Tensor:
    """Heun's method of second order along the probability flow (Karras et al. 2022, algorithm 1).

    In ``x / sqrt(alpha_bar)`` against the noise-to-signal ratio the flow's slope is the noise, so
    a step averages the slopes at both of its ends; the last is of first order.
    """
    for step, level, after in _steps(levels):
        slope = predict(x, step)
        guess = ddim_step(x, slope, level, after)
        if after < 1:
            guess = ddim_step(x, (slope + predict(guess, step + 1)) / 2, level, after)
        x = guess
    return x


SAMPLERS: Known[SamplingMethod] = Known(
    "sampler",
    {
        "ddpm": SamplingMethod(ddpm, fresh_noise=True, even=True),
        "ddim": SamplingMethod(ddim),
        "dpm-solver++": SamplingMethod(dpm_solver),
        "heun": SamplingMethod(heun),
    },
    error=EnsembleError,
)
"""Samplers by the name that stands in recipes; code plugins put theirs in."""
DEFAULT_SAMPLER = "dpm-solver++"


def predicted_x0(x: Tensor, epsilon: Tensor, alpha_bar: float) -> Tensor:
    """Clean latents that noisy ones imply, given the noise in them."""
    clean: Tensor = (x - (1 - alpha_bar) ** 0.5 * epsilon) / alpha_bar**0.5
    return clean


def ddim_step(x: Tensor, epsilon: Tensor, alpha_bar: float, next_alpha_bar: float) -> Tensor:
    """Step of first order to a lower noise level; 1 ends the run at clean latents."""
    scale = (next_alpha_bar / alpha_bar) ** 0.5
    shift = (1 - next_alpha_bar) ** 0.5 - scale * (1 - alpha_bar) ** 0.5
    next_x: Tensor = scale * x + shift * epsilon
    return next_x


def _steps(levels: Sequence[float]) -> Iterator[tuple[int, float, float]]:
    """Each step with the signal variance before and after it."""
    for step, (level, after) in enumerate(pairwise([*levels, 1.0])):
        yield step, level, after


def _half_log_snr(alpha_bar: float) -> float:
    return 0.5 * math.log(alpha_bar / (1 - alpha_bar))
