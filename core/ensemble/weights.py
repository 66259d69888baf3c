"""Reliability weights: how much each expert's prediction counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from codenoise.core.errors import EnsembleError

Weights = NDArray[np.float64]


def inverse_mse(errors: Sequence[float]) -> Weights:
    """Weights proportional to 1 / validation MSE (the paper, eq. 4)."""
    inverse = 1 / _checked(errors)
    return np.asarray(inverse / inverse.sum())


def uniform(errors: Sequence[float]) -> Weights:
    """Equal weights, whatever the errors."""
    return np.full(len(errors), 1 / len(errors))


def softmax_inverse_mse(errors: Sequence[float]) -> Weights:
    """Softmax of 1 / validation MSE: what the paper's public code runs.

    Sharper than the paper's for errors well below 1, flatter for errors above.
    """
    inverse = 1 / _checked(errors)
    powers = np.exp(inverse - inverse.max())
    return np.asarray(powers / powers.sum())


WEIGHTINGS: Mapping[str, Callable[[Sequence[float]], Weights]] = {
    "inverse-mse": inverse_mse,
    "softmax-inverse-mse": softmax_inverse_mse,
    "uniform": uniform,
}


def reliability_weights(weighting: str, errors: Sequence[float]) -> Weights:
    """Weights of the experts in play; non-negative, summing to one.

    Parameters
    ----------
    weighting
        Name of a weighting in `WEIGHTINGS`.
    errors
        Validation MSE of each expert, shape ``(experts,)``.

    Raises
    ------
    EnsembleError
        If the weighting is unknown or an error is not a positive number.
    """
    if weighting not in WEIGHTINGS:
        known = ", ".join(sorted(WEIGHTINGS))
        raise EnsembleError(f"weighting {weighting!r} is unknown; choose one of: {known}")
    return WEIGHTINGS[weighting](errors)


def _checked(errors: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(errors, dtype=np.float64)
    if not np.all(np.isfinite(values) & (values > 0)):
        raise EnsembleError(f"validation MSEs must be positive numbers, not {list(errors)}")
    return values
