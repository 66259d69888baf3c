"""Rejection of exact experts has a closed form, and so have the weights that suit them best.

Two experts expect normal latents of one variance ``s`` around means that lie ``delta`` apart. At
signal variance ``a`` the consensus has its latents around the weighted mean of theirs with variance
``v = a s + 1 - a``, and each expert's noise points from its own mean to the latent. With
``u = (x - sqrt(a) mean) / sqrt(v)`` standard normal, the angle between the two is over 90 degrees
exactly inside a ball (Thales): the distance exceeds 1 with the probability that a noncentral
chi-square variable stays below ``a |delta|^2 / (4 v)``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2, ncx2

from codenoise.core.diffusion.grid import step_grid, step_shares
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.engine import Generation, generate
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.learning import calibrate
from codenoise.core.ensemble.settings import EngineSettings

Build = Callable[..., Expert]
Array = NDArray[np.float64]
DIM, VARIANCE, DRAWS, STEPS = 6, 0.3, 1000, 120
ALPHA_BAR = linear_schedule().alpha_bar


def contradicted(build: Build, apart: float, settings: EngineSettings) -> Generation:
    """Trajectories of one patient whose two conditions put the target ``apart``."""
    experts = [build(np.eye(DIM), VARIANCE * np.eye(DIM), name, mse=1.0) for name in "ab"]
    side = np.full(DIM, apart / 2 / DIM**0.5)
    conditions = {
        name: pd.DataFrame([sign * side], index=["p"], dtype=np.float32)
        for name, sign in (("a", 1), ("b", -1))
    }
    return generate(
        experts, conditions, ["p"], draws=DRAWS, settings=settings, keep_trace=True
    )  # fmt: skip


def settings_of(weight: float, **others: object) -> EngineSettings:
    given = {"weighting": "fixed", "fixed": {"a-to-x": weight, "b-to-x": 1 - weight}}
    return EngineSettings(**given, max_retries=0, mirrored=False, **others)  # type: ignore[arg-type]


def radius(levels: Array, apart: float) -> Array:
    """Squared radius of the ball in which experts are over 90 degrees apart."""
    return np.asarray(levels * apart**2 / (4 * (levels * VARIANCE + 1 - levels)))


def over_one(levels: Array, apart: float, weight: float) -> Array:
    """Probability that the distance exceeds 1 at each level."""
    inside = radius(levels, apart)
    if weight == 0.5:
        return np.asarray(chi2.cdf(inside, DIM))
    return np.asarray(ncx2.cdf(inside, DIM, inside * (2 * weight - 1) ** 2))


@pytest.mark.parametrize("sampler", ["ddpm", "dpm-solver++"])
@pytest.mark.parametrize(("apart", "weight"), [(0.0, 0.5), (2.0, 0.5), (3.5, 0.5), (3.5, 0.8)])
def test_each_step_is_over_the_threshold_as_often_as_contradiction_implies(
    gaussian_expert: Build, sampler: str, apart: float, weight: float
) -> None:
    settings = settings_of(weight, sampler=sampler, steps=STEPS if sampler != "ddpm" else 200)
    found = contradicted(gaussian_expert, apart, settings)
    levels = step_grid(ALPHA_BAR, settings.steps, sampler)
    expected = over_one(levels, apart, weight)
    assert found.trace is not None
    measured = (found.trace[0] > 1).mean(axis=0)
    error = np.sqrt(expected * (1 - expected) / DRAWS)
    np.testing.assert_array_less(np.abs(measured - expected), 4.5 * error + 0.012)
    share = float(step_shares(ALPHA_BAR, levels) @ expected)
    assert found.incoherent_fraction.mean() == pytest.approx(share, abs=0.01)
    if apart == 0:
        assert measured.max() == 0


@pytest.mark.parametrize("apart", [0.0, 2.0, 2.8, 3.5, 6.0])
def test_trajectories_are_rejected_at_the_rate_that_contradiction_implies(
    gaussian_expert: Build, apart: float
) -> None:
    """Along the flow of a normal distribution ``u`` stays, and the ball grows until the end.

    So a trajectory is over 1 in the last steps or never, and it is rejected exactly when it is in
    the ball already at the step that leaves the allowed fraction of the schedule.
    """
    settings = settings_of(0.5, steps=STEPS)
    found = contradicted(gaussian_expert, apart, settings)
    np.testing.assert_array_equal(found.flagged, found.incoherent_fraction > 0.05)
    for fraction in (0.02, 0.05, 0.2):
        start = np.interp(fraction * len(ALPHA_BAR) - 0.5, np.arange(len(ALPHA_BAR)), ALPHA_BAR)
        expected = float(chi2.cdf(radius(start, apart), DIM))
        error = (expected * (1 - expected) / DRAWS) ** 0.5
        rejected = (found.incoherent_fraction > fraction).mean()
        assert rejected == pytest.approx(expected, abs=4.5 * error + 0.012)


def test_rejection_is_blind_to_unrelated_conditions_below_an_r2_of_two_thirds(
    gaussian_expert: Build,
) -> None:
    """In many dimensions; expectations of unrelated conditions lie ``sqrt(2 R2)`` apart in each."""
    dim, rng = 64, np.random.default_rng(0)
    rates = {}
    for r2 in (0.5, 0.8):
        experts = [gaussian_expert(np.eye(dim), (1 - r2) * np.eye(dim), name) for name in "ab"]
        ids = [f"p{i}" for i in range(256)]
        conditions = {
            name: pd.DataFrame(r2**0.5 * rng.normal(size=(256, dim)), index=ids) for name in "ab"
        }
        rates[r2] = generate(
            experts, conditions, ids, draws=1, settings=settings_of(0.5, steps=100)
        ).flagged.mean()  # fmt: skip
    assert rates[0.5] < 0.02
    assert rates[0.8] > 0.5


SPREADS = {"a": 0.6, "b": 1.1, "c": 1.6}


def best_weights(level: float) -> Array:
    """The simplex weights of exact experts that predict the noise best, by the joint covariance.

    Of one dimension: the target, the conditions (target and noise of their own), and the noise.
    """
    residual = {name: spread**2 / (1 + spread**2) for name, spread in SPREADS.items()}
    basis = np.eye(2 + len(SPREADS))  # target, noise, each condition's own noise; all independent
    x = level**0.5 * basis[0] + (1 - level) ** 0.5 * basis[1]
    errors = []
    for position, (name, spread) in enumerate(SPREADS.items()):
        condition = basis[0] + spread * basis[2 + position]
        mean = (1 - residual[name]) * condition
        scale = (1 - level) ** 0.5 / (level * residual[name] + 1 - level)
        errors.append(scale * (x - level**0.5 * mean) - basis[1])
    covariance = np.array(errors) @ np.array(errors).T
    # Least variance with weights that sum to one; the bound at zero is tried face by face.
    best, least = np.zeros(len(SPREADS)), np.inf
    for kept in range(1, 2 ** len(SPREADS)):
        chosen = [i for i in range(len(SPREADS)) if kept >> i & 1]
        solved = np.linalg.solve(covariance[np.ix_(chosen, chosen)], np.ones(len(chosen)))
        weights = np.zeros(len(SPREADS))
        weights[chosen] = solved / solved.sum()
        variance = float(weights @ covariance @ weights)
        if weights.min() >= 0 and variance < least:
            best, least = weights, variance
    return best


def test_stacked_weights_recover_known_reliabilities(
    gaussian_expert: Build, latent_ensemble: Callable[..., LoadedEnsemble]
) -> None:
    rng = np.random.default_rng(0)
    ids = [f"p{i:05d}" for i in range(500)]
    target = rng.normal(size=(len(ids), DIM))
    tables = {"x": target} | {
        name: target + spread * rng.normal(size=target.shape) for name, spread in SPREADS.items()
    }
    latents = {
        name: pd.DataFrame(values.astype(np.float32), index=ids) for name, values in tables.items()
    }
    experts = []
    for name, spread in SPREADS.items():
        residual = spread**2 / (1 + spread**2)
        experts.append(
            gaussian_expert((1 - residual) * np.eye(DIM), residual * np.eye(DIM), name)
        )  # of one validation_r2: the start that learned weights are drawn to knows nothing
    model = latent_ensemble(tuple(experts), EngineSettings(max_incoherent_fraction=1.0, steps=10))
    calibrated, _ = calibrate(model, latents, composition="mean", draws=19)
    assert calibrated.calibration is not None
    everything = next(e for e in calibrated.calibration.coefficients if len(e.conditions) == 3)
    order = [everything.experts.index(f"{name}-to-x@1") for name in SPREADS]
    learned = np.array(everything.values)[:, order]
    levels = 1 / (1 + np.exp(-np.array(calibrated.calibration.knots)))
    # Where hardly any noise is left, all experts are as good and weights do not matter.
    for level, weights in zip(levels[:6], learned[:6], strict=True):
        np.testing.assert_allclose(weights, best_weights(float(level)), atol=0.1)
