"""What a calibration cohort taught: how much each expert counts, and how far draws spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codenoise.core.diffusion.schedule import log_snr
from codenoise.core.ensemble.settings import Composition


@dataclass(frozen=True)
class PatternCoefficients:
    """Coefficients of a target's experts for patients with one set of conditions.

    Attributes
    ----------
    target
        Modality that is generated.
    conditions
        Modalities that these patients have, sorted.
    experts
        Names of the experts in play.
    values
        Coefficient of each expert at each knot, shape ``(knots, experts)``.
    patients
        Calibration patients behind them.
    """

    target: str
    conditions: tuple[str, ...]
    experts: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    patients: int


@dataclass(frozen=True)
class Calibration:
    """Learned coefficients and spread; see `codenoise.core.ensemble.learning.calibrate`.

    Attributes
    ----------
    composition
        What the coefficients were learned for.
    knots
        Log signal-to-noise ratios, increasing; between them coefficients are interpolated.
    coefficients
        One entry for each target and set of conditions.
    spread
        For each target, by how much the draws' deviations from their mean are multiplied, shape
        ``(dim,)``.
    """

    composition: Composition
    knots: tuple[float, ...]
    coefficients: tuple[PatternCoefficients, ...]
    spread: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def at(
        self,
        target: str,
        conditions: Sequence[str],
        experts: Sequence[str],
        levels: NDArray[np.float64],
    ) -> NDArray[np.float64] | None:
        """Coefficients at some noise levels, shape ``(levels, experts)``.

        ``None`` where no entry is for exactly these conditions and experts.
        """
        for entry in self.coefficients:
            if (entry.target, entry.conditions) != (target, tuple(sorted(conditions))):
                continue
            if set(entry.experts) == set(experts):
                columns = [entry.experts.index(name) for name in experts]
                values = np.asarray(entry.values)[:, columns]
                return np.asarray(interpolation(self.knots, levels) @ values)
        return None


def interpolation(knots: Sequence[float], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear interpolation in log signal-to-noise ratio as a matrix, ``(levels, knots)``."""
    at = log_snr(levels)
    return np.stack([np.interp(at, knots, unit) for unit in np.eye(len(knots))], axis=1)


def widened(
    draws: NDArray[np.float32], spread: Sequence[float] | NDArray[np.float64]
) -> NDArray[np.float32]:
    """Draws with their deviations from their mean multiplied.

    Parameters
    ----------
    draws
        Shape ``(patients, draws, dim)``.
    spread
        Shape ``(dim,)``.
    """
    mean = draws.mean(axis=1, keepdims=True)
    return np.asarray(mean + (draws - mean) * np.asarray(spread, dtype=np.float32))
