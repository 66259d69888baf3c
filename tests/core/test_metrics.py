"""Measures against independent implementations, closed forms and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import r2_score

from codenoise.core.base.metrics import (
    crps,
    draw_variance,
    energy_distance,
    energy_score,
    interval_coverage,
    r2_of_expectation,
    r2_per_feature,
    r2_pooled,
)

Array = NDArray[np.float64]


def pair(seed: int, patients: int = 40, dim: int = 5) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    real = rng.standard_normal((patients, dim)) * rng.uniform(0.1, 10, dim) + rng.uniform(
        -5, 5, dim
    )
    return real, real + rng.standard_normal((patients, dim))


def gaussian_draws(
    patients: int, draws: int, dim: int, spread: float, seed: int = 0, width: float = 1.0
) -> tuple[Array, Array]:
    """Real values with unit-variance means known to the forecaster, and draws around the means.

    With ``width`` 1 the draws follow the law of the real value.
    """
    rng = np.random.default_rng(seed)
    mean = rng.standard_normal((patients, dim))
    real = mean + spread * rng.standard_normal((patients, dim))
    noise = rng.standard_normal((patients, draws, dim))
    return real, mean[:, None] + width * spread * noise


@pytest.mark.parametrize("seed", range(5))
def test_pooled_r2_is_that_of_all_values_in_one_row(seed: int) -> None:
    real, generated = pair(seed)
    expected = r2_score(real.ravel(), generated.ravel())
    assert r2_pooled(real, generated) == pytest.approx(expected, rel=1e-12)


@given(seed=st.integers(0, 2**32), patients=st.integers(2, 30), dim=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_r2_of_each_feature_is_that_against_its_own_mean(
    seed: int, patients: int, dim: int
) -> None:
    real, generated = pair(seed, patients, dim)
    expected = r2_score(real, generated, multioutput="raw_values")
    np.testing.assert_allclose(r2_per_feature(real, generated), expected, rtol=1e-9)


def test_single_precision_far_from_zero_is_measured_as_double_precision() -> None:
    rng = np.random.default_rng(0)
    real = (1000 + rng.standard_normal((20_000, 3))).astype(np.float32)
    generated = (real + 0.5 * rng.standard_normal(real.shape)).astype(np.float32)
    doubles = real.astype(np.float64), generated.astype(np.float64)
    assert r2_pooled(real, generated) == pytest.approx(r2_pooled(*doubles), abs=1e-5)
    np.testing.assert_allclose(
        r2_per_feature(real, generated),
        r2_score(*doubles, multioutput="raw_values"),
        atol=1e-5,
    )


def test_r2_is_one_for_the_truth_and_zero_for_its_mean() -> None:
    real, _ = pair(0)
    assert r2_pooled(real, real) == 1
    assert r2_pooled(real, np.full_like(real, real.mean())) == pytest.approx(0, abs=1e-12)
    means = np.broadcast_to(real.mean(axis=0), real.shape)
    np.testing.assert_allclose(r2_per_feature(real, means), 0, atol=1e-12)


def test_pooled_r2_credits_the_means_of_features_and_r2_per_feature_does_not() -> None:
    real = np.array([[0.0, 10.0], [1.0, 11.0]])
    generated = np.broadcast_to(real.mean(axis=0), real.shape)
    assert r2_pooled(real, generated) > 0.98
    np.testing.assert_allclose(r2_per_feature(real, generated), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("patients", [3, 10, 100, 1000])
@pytest.mark.parametrize("constant", [0.0, 2.0, 0.1])
def test_a_feature_that_does_not_vary_has_no_r2(
    constant: float, patients: int, dtype: type[np.floating]
) -> None:
    real = np.stack([np.full(patients, constant), np.arange(patients)], axis=1).astype(dtype)
    got = r2_per_feature(real, real + dtype(0.5))
    assert np.isnan(got[0])
    assert np.isfinite(got[1])


@pytest.mark.parametrize("constant", [2.0, 0.1])
def test_values_that_do_not_vary_have_no_pooled_r2(constant: float) -> None:
    real = np.full((3, 1), constant)
    assert math.isnan(r2_pooled(real, real + 1))


@pytest.mark.parametrize("draws", [2, 3, 10, 50])
def test_r2_of_the_expectation_is_the_analytic_one_at_any_number_of_draws(draws: int) -> None:
    spread = 0.8
    real, generated = gaussian_draws(20_000, draws, 2, spread)
    # Total variance 1 + s^2; the conditional mean leaves s^2.
    analytic = 1 - spread**2 / (1 + spread**2)
    assert r2_of_expectation(real, generated) == pytest.approx(analytic, abs=0.01)


@pytest.mark.parametrize("draws", [2, 3, 10])
def test_r2_of_the_mean_of_few_draws_is_lower_by_their_share_of_variance(draws: int) -> None:
    spread = 0.8
    real, generated = gaussian_draws(20_000, draws, 2, spread)
    lost = spread**2 / draws / (1 + spread**2)
    mean = r2_pooled(real, generated.mean(axis=1))
    assert mean < r2_of_expectation(real, generated)
    assert r2_of_expectation(real, generated) - mean == pytest.approx(lost, rel=0.03)


def test_equal_draws_have_the_r2_of_their_mean() -> None:
    real, generated = pair(0)
    draws = np.repeat(generated[:, None], 4, axis=1)
    assert r2_of_expectation(real, draws) == pytest.approx(r2_pooled(real, generated))


def test_values_that_do_not_vary_have_no_r2_of_the_expectation() -> None:
    draws = np.random.default_rng(0).standard_normal((4, 3, 2))
    assert math.isnan(r2_of_expectation(np.zeros((4, 2)), draws))


@pytest.mark.parametrize(
    ("patients", "draws", "dim"), [(1, 2, 1), (7, 2, 3), (5, 9, 4), (3, 20, 1)]
)
def test_the_energy_score_is_its_definition(patients: int, draws: int, dim: int) -> None:
    real, generated = gaussian_draws(patients, draws, dim, 1.5)
    expected = []
    for truth, versions in zip(real, generated, strict=True):
        to_real = [math.dist(version, truth) for version in versions]
        between = [
            math.dist(versions[i], versions[j])
            for i in range(draws)
            for j in range(draws)
            if i != j
        ]
        expected.append(np.mean(to_real) - np.mean(between) / 2)
    score = energy_score(real, generated)
    assert score.shape == (patients,)
    np.testing.assert_allclose(score, expected, rtol=1e-10, atol=1e-12)


def test_the_energy_score_of_perfect_certain_draws_is_zero() -> None:
    real, _ = pair(0)
    np.testing.assert_allclose(energy_score(real, np.repeat(real[:, None], 3, axis=1)), 0)


@pytest.mark.parametrize("draws", [2, 10])
def test_calibrated_draws_beat_narrowed_and_widened_ones(draws: int) -> None:
    def score(width: float) -> float:
        return float(energy_score(*gaussian_draws(8000, draws, 3, 1.0, width=width)).mean())

    assert score(1.0) < min(score(0.6), score(1.6))


def test_calibrated_draws_beat_displaced_ones() -> None:
    real, draws = gaussian_draws(2000, 5, 3, 1.0)
    assert energy_score(real, draws).mean() < energy_score(real, draws + 0.5).mean()


def test_the_expected_energy_score_does_not_depend_on_the_number_of_draws() -> None:
    few, many = (energy_score(*gaussian_draws(8000, m, 2, 1.0, seed=m)).mean() for m in (2, 20))
    assert few == pytest.approx(many, rel=0.04)


@pytest.mark.parametrize("draws", [19, 20, 39, 50])
def test_exchangeable_draws_cover_ninety_percent(draws: int) -> None:
    real, generated = gaussian_draws(20_000, draws, 2, 0.7)
    assert interval_coverage(real, generated) == pytest.approx(0.9, abs=0.008)


@pytest.mark.parametrize(("level", "draws"), [(0.5, 3), (0.8, 9), (0.5, 11), (0.95, 39)])
def test_exchangeable_draws_cover_any_level(level: float, draws: int) -> None:
    real, generated = gaussian_draws(20_000, draws, 2, 0.7)
    assert interval_coverage(real, generated, level) == pytest.approx(level, abs=0.01)


def test_coverage_does_not_depend_on_the_law_of_the_values() -> None:
    values = np.random.default_rng(0).standard_cauchy((40_000, 51, 1))
    assert interval_coverage(values[:, 0], values[:, 1:]) == pytest.approx(0.9, abs=0.008)


def test_narrow_draws_cover_less_and_wide_draws_more() -> None:
    narrow, wide = (
        interval_coverage(*gaussian_draws(4000, 50, 2, 1.0, width=width)) for width in (0.5, 2.0)
    )
    assert narrow < 0.7
    assert wide > 0.97


@pytest.mark.parametrize(("draws", "level"), [(2, 0.9), (18, 0.9), (38, 0.95), (8, 0.8)])
def test_too_few_draws_have_no_coverage(draws: int, level: float) -> None:
    assert math.isnan(interval_coverage(*gaussian_draws(10, draws, 2, 1.0), level))


def test_draws_on_the_bound_count_as_covered() -> None:
    real = np.zeros((5, 1))
    assert interval_coverage(real, np.zeros((5, 30, 1))) == 1


def mirrored_draws(patients: int, draws: int, *, seed: int = 0) -> tuple[Array, Array]:
    """Truths and calibrated draws of unit variance; each odd draw mirrors the one before it.

    The middle of a pair is off the expectation by a tenth of a standard deviation.
    """
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(patients, 1, 2))
    noise = 0.99**0.5 * rng.normal(size=(patients, draws // 2, 1, 2))
    middle = 0.1 * rng.normal(size=noise.shape)
    pairs = np.concatenate([middle + noise, middle - noise], axis=2).reshape(patients, draws, 2)
    return centre[:, 0] + rng.normal(size=(patients, 2)), centre + pairs


@pytest.mark.parametrize("draws", [4, 10, 40])
def test_measures_of_mirrored_draws_are_without_bias(draws: int) -> None:
    real, paired = mirrored_draws(20_000, draws)
    assert draw_variance(paired, mirrored=True).mean() == pytest.approx(1, abs=0.02)
    assert r2_of_expectation(real, paired, mirrored=True) == pytest.approx(0.5, abs=0.01)
    independent = energy_score(*gaussian_draws(20_000, 4, 2, 1.0)).mean()
    score = energy_score(real, paired, mirrored=True).mean()
    assert score == pytest.approx(independent, rel=0.01)


@pytest.mark.parametrize("draws", [20, 40])
def test_mirrored_draws_cover_ninety_percent(draws: int) -> None:
    assert interval_coverage(*mirrored_draws(20_000, draws)) == pytest.approx(0.9, abs=0.012)


def test_the_mean_of_mirrored_draws_is_close_to_the_expectation() -> None:
    real, paired = mirrored_draws(20_000, 10)
    assert r2_pooled(real, paired.mean(axis=1)) == pytest.approx(0.5, abs=0.01)


def test_an_unpaired_last_draw_does_not_count() -> None:
    real, paired = mirrored_draws(50, 6)
    odd = np.concatenate([paired, paired[:, :1] + 9], axis=1)
    for measure in (r2_of_expectation, energy_score):
        np.testing.assert_array_equal(
            measure(real, odd, mirrored=True), measure(real, paired, mirrored=True)
        )
    np.testing.assert_array_equal(
        draw_variance(odd, mirrored=True), draw_variance(paired, mirrored=True)
    )


def test_one_mirrored_pair_has_a_variance_and_nothing_to_compare() -> None:
    real, paired = mirrored_draws(2000, 2)
    assert draw_variance(paired, mirrored=True).mean() == pytest.approx(0.99, abs=0.05)
    assert math.isnan(r2_of_expectation(real, paired, mirrored=True))
    assert np.isnan(energy_score(real, paired, mirrored=True)).all()


def test_the_energy_distance_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=40), 0.5 + 2 * rng.normal(size=70)
    got = energy_distance(first[:, None], second[:, None])
    assert got == pytest.approx(stats.energy_distance(first, second) ** 2)  # scipy gives the root
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    beside = [np.c_[values, np.zeros((len(values), 2))] @ turn for values in (first, second)]
    assert energy_distance(*beside) == pytest.approx(got)
    assert energy_distance(beside[0], beside[0]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("patients", "draws", "dim"), [(1, 2, 1), (7, 5, 3), (4, 20, 2)])
def test_the_crps_is_the_energy_score_of_each_value(patients: int, draws: int, dim: int) -> None:
    real, generated = gaussian_draws(patients, draws, dim, 1.5)
    score = crps(real, generated)
    assert score.shape == (patients, dim)
    for place in range(dim):
        alone = energy_score(real[:, [place]], generated[:, :, [place]])
        np.testing.assert_allclose(score[:, place], alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("draws", [4, 6, 11])
def test_the_crps_leaves_mirrored_pairs_out_as_the_energy_score_does(draws: int) -> None:
    real, generated = gaussian_draws(6, draws, 1, 1.5, seed=draws)
    expected = energy_score(real, generated, mirrored=True)
    np.testing.assert_allclose(crps(real, generated, mirrored=True)[:, 0], expected, atol=1e-12)
    assert np.isnan(crps(real, generated[:, :3], mirrored=True)).all()
    assert np.isnan(crps(real, generated[:, :1])).all()


def test_the_crps_of_a_gaussian_forecast_is_the_closed_form() -> None:
    # Gneiting & Raftery 2007, eq. 5 of section 4.2: E|Z - z| - 1 / sqrt(pi) for a standard normal.
    rng = np.random.default_rng(0)
    z = np.array([[-1.5], [0.0], [0.7]])
    draws = rng.standard_normal((3, 4000, 1))
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    cumulative = np.array([[0.5 * (1 + math.erf(v / math.sqrt(2)))] for v in z[:, 0]])
    expected = z * (2 * cumulative - 1) + 2 * density - 1 / math.sqrt(math.pi)
    np.testing.assert_allclose(crps(z, draws), expected, atol=0.03)


def test_a_gap_has_no_crps() -> None:
    real, draws = gaussian_draws(3, 5, 2, 1.0)
    real[1, 0] = np.nan
    np.testing.assert_array_equal(np.isnan(crps(real, draws)), np.isnan(real))
