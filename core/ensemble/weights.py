"""Reliability weights: how much each expert's prediction counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codenoise.core.base.errors import EnsembleError
from codenoise.core.base.known import Known
from codenoise.core.ensemble.settings import DEFAULT_WEIGHTING as DEFAULT
from codenoise.core.ensemble.settings import EngineSettings

if TYPE_CHECKING:  # names of weightings are wanted where torch is not
    from codenoise.core.ensemble.calibration import Calibration
    from codenoise.core.ensemble.expert import Expert

Weights = NDArray[np.float64]
ADAPTIVE, FIXED, STACKED = "adaptive", "fixed", "stacked"


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


def precision_gain(r2: Sequence[float]) -> Weights:
    """Weights proportional to R2 / (1 - R2), with R2 of the expectation on validation patients.

    For Gaussians that is the precision an expert adds to the prior's. Unlike the error of single
    draws, which for calibrated experts is nearly the same whatever they know, it separates them.
    An expert without R2 above 0.001 counts as if it had that.
    """
    known = np.clip(np.asarray(r2, dtype=np.float64), 1e-3, 0.999)
    gain = known / (1 - known)
    return np.asarray(gain / gain.sum())


WEIGHTINGS: Known[Callable[[Sequence[Expert]], Weights]] = Known(
    "weighting",
    {
        "inverse-mse": lambda experts: inverse_mse([e.validation_mse for e in experts]),
        "precision-gain": lambda experts: precision_gain([e.validation_r2 for e in experts]),
        "softmax-inverse-mse": lambda experts: softmax_inverse_mse(
            [e.validation_mse for e in experts]
        ),
        "uniform": lambda experts: uniform([e.validation_mse for e in experts]),
    },
    reserved=(ADAPTIVE, FIXED, STACKED),  # need more than the experts
    error=EnsembleError,
)
"""Weightings by the name that stands in recipes; code plugins put theirs in."""


def reliability_weights(settings: EngineSettings, experts: Sequence[Expert]) -> Weights:
    """Weights of the experts in play; non-negative, summing to one.

    ``"adaptive"`` starts from precision gains, which familiarity then moves for each patient;
    ``"stacked"`` has precision gains where nothing was learned for the experts in play.

    Parameters
    ----------
    settings
        Name of the weighting, and the weights of ``"fixed"``.
    experts
        Experts in play.

    Raises
    ------
    EnsembleError
        If the weighting is unknown, an error is not a positive number, or a fixed weight is
        missing, negative, or all of them are zero.
    """
    name = settings.weighting
    if name == FIXED:
        return _fixed(settings.fixed, experts)
    if name in (ADAPTIVE, STACKED):
        name = DEFAULT
    return _distribution(name, WEIGHTINGS[name](experts), len(experts))


def _distribution(name: str, weights: object, count: int) -> Weights:
    """Refuse what a weighting returned if it is not what it should be: a plugin's may be anything.

    Raises
    ------
    EnsembleError
        Naming the weighting and where it comes from.
    """
    try:
        found = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    total = float(found.sum())
    if found.shape == (count,) and (found >= 0).all() and abs(total - 1) < 1e-6:
        return found
    raise EnsembleError(
        f"weighting {name!r} of {WEIGHTINGS.source(name)} returned {weights!s:.80} for {count} "
        f"expert(s); it should return as many weights, none negative, that sum to one; choose "
        f"another weighting, or tell its author"
    )


def coefficients(
    settings: EngineSettings,
    experts: Sequence[Expert],
    conditions: Sequence[str],
    calibration: Calibration | None,
    levels: NDArray[np.float64],
) -> tuple[Weights, bool]:
    """What each expert counts at each step, shape ``(steps, experts)``, and whether it was learned.

    Learned ones for the weighting ``"stacked"``, and the default weights' mean where nothing was
    learned. Otherwise reliability weights for the mean, and `independent_product` for the product,
    which takes no weighting.

    Parameters
    ----------
    settings
        Weighting and composition.
    experts
        Experts in play.
    conditions
        Modalities that the patients have.
    calibration
        What was learned, for the weighting ``"stacked"``.
    levels
        Signal variance at each step.

    Raises
    ------
    EnsembleError
        As `reliability_weights`, or if stacked weights are asked for that were never learned, or
        learned for the other composition.
    """
    if settings.weighting == STACKED:
        if calibration is None:
            raise EnsembleError(
                "weighting 'stacked' has to be learned first: codenoise calibrate ENSEMBLE COHORT"
            )
        if calibration.composition != settings.composition:
            raise EnsembleError(
                f"the calibration was learned for composition {calibration.composition!r}, the "
                f"recipe asks for {settings.composition!r}; run 'codenoise calibrate' again"
            )
        names = [expert.name for expert in experts]
        learned = calibration.at(experts[0].target, conditions, names, levels)
        if learned is not None:
            return learned, True
    if settings.composition == "product" and settings.weighting != STACKED:
        return independent_product([expert.validation_r2 for expert in experts], levels), False
    return np.tile(reliability_weights(settings, experts), (len(levels), 1)), False


def independent_product(r2: Sequence[float], levels: NDArray[np.float64]) -> Weights:
    """Coefficients of a product whose conditions are independent given the target.

    With residual variances ``v_i = 1 - R2_i`` and the joint ``1 / v = 1 + sum(1 / v_i - 1)``, the
    scores of noised marginals combine exactly, for Gaussians of unit prior, with ``(a + (1 - a) /
    v_i) / (a + (1 - a) / v)`` at signal variance ``a``: one, the plain sum of scores, only where
    no noise is left.

    Parameters
    ----------
    r2
        R2 of each expert's expectation, shape ``(experts,)``.
    levels
        Signal variances, shape ``(levels,)``.

    Returns
    -------
    NDArray
        Shape ``(levels, experts)``; the prior takes what is left to a sum of one.
    """
    precision = 1 / (1 - np.clip(np.asarray(r2, dtype=np.float64), 1e-3, 0.999))
    joint = 1 + np.sum(precision - 1)
    signal = levels[:, None]
    return np.asarray((signal + (1 - signal) * precision) / (signal + (1 - signal) * joint))


def _fixed(fixed: Mapping[str, float], experts: Sequence[Expert]) -> Weights:
    names = [expert.name for expert in experts]
    plain = [name.partition("@")[0] for name in names]
    for name, short in zip(names, plain, strict=True):
        if short not in fixed:
            raise EnsembleError(
                f"weighting 'fixed' gives no weight for {name}; it has {', '.join(fixed) or 'none'}"
            )
    values = np.array([fixed[short] for short in plain], dtype=np.float64)
    if not (np.all(np.isfinite(values)) and np.all(values >= 0)):
        raise EnsembleError(f"fixed weights must not be negative: {dict(fixed)}")
    if values.sum() == 0:
        raise EnsembleError(f"all fixed weights of {', '.join(names)} are zero; give one of them")
    return np.asarray(values / values.sum())


def _checked(errors: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(errors, dtype=np.float64)
    if not np.all(np.isfinite(values) & (values > 0)):
        raise EnsembleError(f"validation MSEs must be positive numbers, not {list(errors)}")
    return values
