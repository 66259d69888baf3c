from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError, EnsembleError
from codenoise.core.base.metrics import interval_coverage
from codenoise.core.ensemble import learning
from codenoise.core.ensemble.calibration import Calibration, PatternCoefficients, widened
from codenoise.core.ensemble.engine import generate
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.learning import calibrate, spread_factors
from codenoise.core.ensemble.settings import EngineSettings

DIM, SPREADS = 3, {"a": 0.7, "b": 1.2}
Tables = dict[str, pd.DataFrame]


def independent(patients: int, seed: int) -> Tables:
    """Target standard normal; each condition is the target and noise of its own."""
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(patients, DIM))
    values = {"x": target}
    for name, spread in SPREADS.items():
        values[name] = target + spread * rng.normal(size=target.shape)
    index = [f"p{i:05d}" for i in range(patients)]
    return {name: pd.DataFrame(v.astype(np.float32), index=index) for name, v in values.items()}


@pytest.fixture(scope="module")
def experts(gaussian_expert: Callable[..., Expert]) -> list[Expert]:
    """The exact conditionals of the target given either condition."""
    built = []
    for name, spread in SPREADS.items():
        residual = spread**2 / (1 + spread**2)
        expert = gaussian_expert(
            (1 - residual) * np.eye(DIM), residual * np.eye(DIM), condition=name, mse=2 * residual
        )
        built.append(replace(expert, validation_r2=1 - residual))
    return built


JOINT = 1 / (1 + sum(1 / spread**2 for spread in SPREADS.values()))


def joint_mean(tables: Tables) -> NDArray[np.float64]:
    return JOINT * sum(tables[name].to_numpy() / spread**2 for name, spread in SPREADS.items())


@pytest.fixture(scope="module")
def ensemble(
    experts: list[Expert], latent_ensemble: Callable[..., LoadedEnsemble]
) -> Callable[..., LoadedEnsemble]:
    """Ensembles of given settings; of ``experts``, unless others are given."""

    def build(others: list[Expert] | None = None, **settings: Any) -> LoadedEnsemble:
        chosen = EngineSettings(max_incoherent_fraction=1.0, **settings)
        return latent_ensemble(tuple(others or experts), chosen)

    return build


@pytest.fixture(scope="module")
def calibrated(ensemble: Callable[..., LoadedEnsemble]) -> LoadedEnsemble:
    return calibrate(ensemble(), independent(600, 0), draws=19)[0]


def moments(model: LoadedEnsemble, tables: Tables) -> tuple[NDArray[np.float64], float]:
    """Mean of the draws, and their variance around it."""
    patients = list(tables["x"].index)
    draws = generate(
        model.experts, {name: tables[name] for name in SPREADS}, patients, draws=100,
        settings=model.settings, calibration=model.calibration,
    ).draws  # fmt: skip
    return draws.mean(axis=1), float(draws.var(axis=1, ddof=1).mean())


def test_product_of_independent_conditions_is_the_exact_joint(
    ensemble: Callable[..., LoadedEnsemble],
) -> None:
    tables = independent(100, 1)
    model = ensemble(composition="product", mirrored=False)
    mean, variance = moments(model, tables)
    assert variance == pytest.approx(JOINT, rel=0.03)
    np.testing.assert_allclose(mean, joint_mean(tables), atol=0.25)  # 4.5 standard errors
    assert np.mean((mean - joint_mean(tables)) ** 2) == pytest.approx(JOINT / 100, rel=0.3)


def test_mean_of_mirrored_draws_of_linear_experts_has_no_sampling_error(
    ensemble: Callable[..., LoadedEnsemble],
) -> None:
    tables = independent(100, 1)
    mean, variance = moments(ensemble(composition="product"), tables)
    assert variance == pytest.approx(JOINT, rel=0.03)
    # What is left is the error of the sampler's finite steps.
    assert np.mean((mean - joint_mean(tables)) ** 2) < JOINT / 100 / 100


def test_calibrated_product_finds_the_exact_joint(calibrated: LoadedEnsemble) -> None:
    tables = independent(100, 1)
    mean, variance = moments(replace_spread(calibrated), tables)
    # 600 patients leave a tenth of the way from the default weights.
    assert variance == pytest.approx(JOINT, rel=0.1)
    assert np.mean((mean - joint_mean(tables)) ** 2) < 1.7 * JOINT / 100


def replace_spread(model: LoadedEnsemble) -> LoadedEnsemble:
    """The same without its correction of the spread."""
    assert model.calibration is not None
    return replace(model, calibration=replace(model.calibration, spread={}))


def test_mean_composition_is_overdispersed(ensemble: Callable[..., LoadedEnsemble]) -> None:
    tables = independent(100, 1)
    weights = {"a-to-x": 0.5, "b-to-x": 0.5}
    mean, variance = moments(ensemble(weighting="fixed", fixed=weights), tables)
    # At the end of a run the slope of the mean of scores is the mean of the experts' precisions.
    residual = [spread**2 / (1 + spread**2) for spread in SPREADS.values()]
    assert variance > 1.2 * JOINT
    assert min(residual) < variance < max(residual)
    assert np.mean((mean - joint_mean(tables)) ** 2) > 5 * JOINT / 100


def test_stacked_weights_find_the_one_expert_that_knows(
    gaussian_expert: Callable[..., Expert], ensemble: Callable[..., LoadedEnsemble]
) -> None:
    """The condition of the second expert is noise, which it takes for the truth."""
    tables = independent(400, 2)
    tables["b"] = tables["b"].sample(frac=1, random_state=0).set_axis(tables["b"].index)
    residual = 0.49 / 1.49
    pair = [
        gaussian_expert((1 - residual) * np.eye(DIM), residual * np.eye(DIM), condition=name)
        for name in SPREADS
    ]
    model, evidence = calibrate(ensemble(pair, steps=12), tables, composition="mean", draws=19)
    assert model.calibration is not None
    both = next(e for e in model.calibration.coefficients if e.conditions == ("a", "b"))
    values = np.array(both.values)
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=2e-4)
    assert values[:6, both.experts.index("a-to-x@1")].min() > 0.9
    assert evidence[0].r2_after > evidence[0].r2_before + 0.1
    assert evidence[0].energy_after < evidence[0].energy_before


def test_learned_weights_are_reported_and_only_used_for_their_conditions(
    calibrated: LoadedEnsemble,
) -> None:
    assert calibrated.settings.weighting == "stacked"
    assert calibrated.calibration is not None
    keep = [e for e in calibrated.calibration.coefficients if e.conditions == ("a", "b")]
    partly = replace(calibrated.calibration, coefficients=tuple(keep))
    tables = independent(4, 3)
    conditions = {"a": tables["a"], "b": tables["b"].iloc[:2]}
    got = generate(
        calibrated.experts, conditions, list(tables["x"].index), draws=2,
        settings=calibrated.settings, calibration=partly,
    )  # fmt: skip
    assert got.learned.tolist() == [True, True, False, False]
    default = replace(calibrated.settings, weighting="precision-gain", composition="mean")
    plain = generate(
        calibrated.experts, conditions, list(tables["x"].index), draws=2, settings=default
    )
    spread = partly.spread["x"]
    np.testing.assert_array_equal(got.draws[2:], widened(plain.draws, spread)[2:])


def test_coefficients_that_sample_worse_than_the_default_are_not_kept(
    ensemble: Callable[..., LoadedEnsemble], monkeypatch: pytest.MonkeyPatch
) -> None:
    def poor(gram: object, moment: object, start: NDArray[np.float64], *_: object, **__: object):  # type: ignore[no-untyped-def]
        return np.tile(3 * start, (learning.KNOTS, 1))

    monkeypatch.setattr(learning, "_solve", poor)
    model, evidence = calibrate(ensemble(), independent(60, 0), draws=19)
    assert model.calibration is not None
    assert model.calibration.coefficients == ()
    assert [entry.learned for entry in evidence] == [False]
    assert evidence[0].r2_after == pytest.approx(evidence[0].r2_before, abs=0.05)
    assert list(model.calibration.spread) == ["x"]


def test_coefficients_are_interpolated_in_log_signal_to_noise() -> None:
    entry = PatternCoefficients("x", ("a", "b"), ("one", "two"), ((0.0, 1.0), (1.0, 0.0)), 50)
    calibration = Calibration("mean", (-2.0, 2.0), (entry,))
    levels = 1 / (1 + np.exp([5.0, 1.0, -1.0, -9.0]))
    got = calibration.at("x", ["b", "a"], ["two", "one"], levels)
    np.testing.assert_allclose(got, [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    assert calibration.at("x", ["a"], ["one", "two"], levels) is None
    assert calibration.at("x", ["a", "b"], ["one"], levels) is None


def test_calibration_of_another_composition_is_refused(calibrated: LoadedEnsemble) -> None:
    tables = independent(2, 0)
    with pytest.raises(EnsembleError, match="learned for composition 'product', the recipe asks f"):
        generate(
            calibrated.experts, {"a": tables["a"]}, ["p00000"],
            settings=replace(calibrated.settings, composition="mean"),
            calibration=calibrated.calibration,
        )  # fmt: skip


@pytest.mark.parametrize("width", [0.3, 1.0, 2.5])
def test_spread_makes_intervals_hold_ninety_percent_of_new_patients(width: float) -> None:
    rng = np.random.default_rng(4)
    centre = rng.normal(size=(2, 800, 1, 2))
    draws = (centre + width * rng.normal(size=(2, 800, 39, 2))).astype(np.float32)
    real = (centre[:, :, 0] + rng.normal(size=(2, 800, 2))).astype(np.float32)
    factors = spread_factors(real[0], draws[0])
    assert factors == pytest.approx([1 / width] * 2, rel=0.12)
    assert interval_coverage(real[1], widened(draws[1], factors)) == pytest.approx(0.9, abs=0.03)


def test_spread_is_part_of_the_draws(calibrated: LoadedEnsemble) -> None:
    assert calibrated.calibration is not None
    doubled = replace(calibrated.calibration, spread={"x": (2.0,) * DIM})
    tables = independent(30, 5)
    plain = moments(replace_spread(calibrated), tables)
    wide = moments(replace(calibrated, calibration=doubled), tables)
    np.testing.assert_allclose(wide[0], plain[0], atol=1e-5)
    assert wide[1] == pytest.approx(4 * plain[1], rel=1e-4)


def test_calibration_repeats_itself(ensemble: Callable[..., LoadedEnsemble]) -> None:
    model, tables = ensemble(), independent(60, 0)
    torch.manual_seed(1)
    first = calibrate(model, tables, draws=19)
    torch.manual_seed(2)
    assert calibrate(model, tables, draws=19) == first


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        (["a", "b"], "needs patients with x and one of a, b; the cohort has a, b; leave the targe"),
        (["x"], "needs patients with x and one of a, b; the cohort has x; leave the target out"),
        ([], "the cohort has nothing"),
    ],
)
def test_cohort_without_the_target_or_a_condition_is_refused(
    ensemble: Callable[..., LoadedEnsemble], keep: list[str], words: str
) -> None:
    tables = independent(60, 0)
    with pytest.raises(DataError, match=words):
        calibrate(ensemble(), {name: tables[name] for name in keep})


def test_too_few_patients_are_counted(ensemble: Callable[..., LoadedEnsemble]) -> None:
    tables = independent(12, 0)
    with pytest.raises(
        DataError,
        match="calibration of x needs 20 patients with x and one of a, b; the cohort has 12",
    ):
        calibrate(ensemble(), tables)
