"""Forward process: how much signal is left at each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codenoise.core.base.errors import CodenoiseError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class NoiseSchedule:
    """A discrete variance-preserving forward process.

    Attributes
    ----------
    type
        Name of the family; only ``"linear"`` is known.
    parameters
        What the family was built from, as stored in an expert's manifest.
    alpha_bar
        Signal variance left after step t, shape ``(steps,)``, strictly decreasing in (0, 1).
    """

    type: str
    parameters: Mapping[str, float]
    alpha_bar: FloatArray = field(repr=False, compare=False)

    @property
    def steps(self) -> int:
        """Number of diffusion steps T."""
        return len(self.alpha_bar)

    def time_at(self, alpha_bar: FloatArray) -> FloatArray:
        """Find the (fractional) step of this schedule with the given signal level.

        Experts with different schedules meet at equal signal-to-noise ratio, never at equal step
        index. Interpolation is linear in log signal-to-noise ratio; levels beyond the schedule's
        ends are clamped to the ends.

        Parameters
        ----------
        alpha_bar
            Signal variances in (0, 1), any shape.

        Returns
        -------
        FloatArray
            Steps in ``[0, T - 1]``, same shape.
        """
        own = log_snr(self.alpha_bar)
        return np.interp(-log_snr(alpha_bar), -own, np.arange(self.steps, dtype=np.float64))


def log_snr(alpha_bar: FloatArray) -> FloatArray:
    """Log signal-to-noise ratio, ``log(alpha_bar / (1 - alpha_bar))``."""
    return np.asarray(np.log(alpha_bar) - np.log1p(-alpha_bar))


def linear_schedule(
    steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02
) -> NoiseSchedule:
    """Build the paper's schedule: the noise variance of a step rises linearly."""
    beta = np.linspace(beta_start, beta_end, steps, dtype=np.float64)
    parameters = {"steps": steps, "beta_start": beta_start, "beta_end": beta_end}
    return NoiseSchedule("linear", parameters, np.asarray(np.cumprod(1.0 - beta), dtype=np.float64))


def schedule_from(type: str, parameters: Mapping[str, float]) -> NoiseSchedule:
    """Rebuild a schedule from its manifest entry.

    Raises
    ------
    CodenoiseError
        If the type is unknown or the parameters do not describe a noising process.
    """
    if type != "linear":
        raise CodenoiseError(f"schedule type {type!r} is unknown; this version knows 'linear'")
    try:
        steps = int(parameters["steps"])
        beta_start, beta_end = parameters["beta_start"], parameters["beta_end"]
    except KeyError as missing:
        raise CodenoiseError(f"schedule 'linear' lacks the parameter {missing}") from None
    if steps < 2 or not 0 < beta_start <= beta_end < 1:
        raise CodenoiseError(
            f"schedule 'linear' needs steps >= 2 and 0 < beta_start <= beta_end < 1, "
            f"not {dict(parameters)}"
        )
    return linear_schedule(steps, beta_start, beta_end)
