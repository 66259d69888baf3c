from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from codenoise.core.base.errors import EnsembleError
from codenoise.core.diffusion.architectures import build_denoiser
from codenoise.core.diffusion.grid import step_grid, step_shares
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.engine import BLOCK, generate
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.settings import EngineSettings

Build = Callable[..., Expert]
FAST = EngineSettings(steps=20)


def table(ids: list[str], values: object) -> pd.DataFrame:
    return pd.DataFrame(np.asarray(values, dtype=np.float32), index=ids)


def network_expert(seed: int, condition: str, schedule_steps: int = 1000) -> Expert:
    torch.manual_seed(seed)
    network = build_denoiser("mlp", 6, [3], {"width": 32, "layers": 2, "time_dim": 8})
    network(torch.randn(256, 6), torch.rand(256) * 999, torch.randn(256, 3))
    return Expert(
        name=f"{condition}-to-x@1",
        conditions=(condition,),
        target="x",
        condition_spaces=(condition,),
        condition_dims=(3,),
        target_space="x",
        dim=6,
        denoiser=network.eval(),
        schedule=linear_schedule(schedule_steps),
        prediction="v",
        validation_mse=1.0 + seed,
    )


@pytest.mark.parametrize("settings", [FAST, EngineSettings(sampler="ddpm", steps=1000)])
def test_one_exact_expert_gives_the_exact_conditional(
    gaussian_expert: Build, settings: EngineSettings
) -> None:
    gain = np.array([[1.0, 0.0], [0.5, -0.5]])
    covariance = np.array([[0.6, 0.2], [0.2, 0.4]])
    expert = gaussian_expert(gain, covariance)
    condition = np.array([0.8, -1.2])
    settings = replace(settings, steps=max(settings.steps, 200))
    result = generate(
        [expert], {"a": table(["p"], [condition])}, ["p"], draws=2000, settings=settings
    )
    draws = result.draws[0]
    np.testing.assert_allclose(draws.mean(axis=0), gain @ condition, atol=0.07)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.06)


def test_experts_of_different_schedules_combine_at_equal_noise(gaussian_expert: Build) -> None:
    gain, covariance = np.eye(2), 0.3 * np.eye(2)
    one = gaussian_expert(gain, covariance)
    other = gaussian_expert(
        gain, covariance, condition="b", schedule=linear_schedule(300, 3e-4, 0.066)
    )
    data = {"a": table(["p"], [[1.0, -1.0]]), "b": table(["p"], [[1.0, -1.0]])}
    alone = generate([one], data, ["p"], draws=50, settings=FAST)
    both = generate([one, other], data, ["p"], draws=50, settings=FAST, keep_trace=True)
    # The same knowledge on another clock changes nothing but rounding of the clock.
    np.testing.assert_allclose(both.draws, alone.draws, atol=0.02)
    assert both.trace is not None
    assert np.nanmax(both.trace[:, :, :-1]) < 0.01


def test_mean_of_two_experts_lies_between_them_by_their_weights(gaussian_expert: Build) -> None:
    covariance = 0.5 * np.eye(2)
    experts = [
        gaussian_expert(np.eye(2), covariance, "a", mse=1.0),
        gaussian_expert(np.eye(2), covariance, "b", mse=3.0),
    ]
    data = {"a": table(["p"], [[1.0, 0.0]]), "b": table(["p"], [[0.0, 1.0]])}
    settings = EngineSettings("inverse-mse", steps=100, max_retries=0)
    result = generate(experts, data, ["p"], draws=3000, settings=settings)
    np.testing.assert_allclose(result.weights[0], [0.75, 0.25])
    np.testing.assert_allclose(result.draws[0].mean(axis=0), [0.75, 0.25], atol=0.06)


def test_a_single_expert_has_no_coherence(gaussian_expert: Build) -> None:
    result = generate(
        [gaussian_expert(np.eye(2), np.eye(2))], {"a": table(["p"], [[0, 0]])}, ["p"], settings=FAST
    )
    assert np.isnan(result.coherence).all()
    assert np.isnan(result.incoherent_fraction).all()
    assert not result.flagged.any()
    assert (result.attempts == 1).all()


def test_agreeing_experts_are_coherent_and_contradicting_ones_are_redrawn_then_flagged(
    gaussian_expert: Build,
) -> None:
    covariance = 0.001 * np.eye(4)
    experts = [gaussian_expert(4 * np.eye(4), covariance, name) for name in "ab"]
    ids = ["agree", "conflict"]
    data = {"a": table(ids, np.ones((2, 4))), "b": table(ids, [[1] * 4, [-1] * 4])}
    settings = EngineSettings(steps=50, max_retries=3)
    result = generate(experts, data, ids, draws=5, settings=settings, keep_trace=True)
    assert (result.coherence[0] > 0.999).all()
    assert not result.flagged[0].any()
    assert (result.attempts[0] == 1).all()
    assert result.flagged[1].all()
    assert (result.attempts[1] == 4).all()
    assert (result.coherence[1] < result.coherence[0]).all()
    assert np.isfinite(result.draws).all()
    assert result.trace is not None
    alpha_bar = linear_schedule().alpha_bar
    shares = step_shares(alpha_bar, step_grid(alpha_bar, settings.steps, settings.sampler))
    np.testing.assert_allclose(1 - result.trace @ shares, result.coherence, atol=1e-5)
    over = (result.trace > settings.threshold) @ shares
    np.testing.assert_allclose(over, result.incoherent_fraction, atol=1e-6)


def test_a_redraw_keeps_the_most_coherent_attempt(gaussian_expert: Build) -> None:
    covariance = 0.3 * np.eye(2)
    experts = [gaussian_expert(np.eye(2), covariance, name) for name in "ab"]
    data = {"a": table(["p"], [[2, 2]]), "b": table(["p"], [[-2, -2]])}
    strict = EngineSettings(steps=30, threshold=0.2, max_incoherent_fraction=0.0)
    fractions = [
        generate(experts, data, ["p"], settings=replace(strict, max_retries=retries))
        .incoherent_fraction
        for retries in (0, 2, 6)
    ]  # fmt: skip
    assert (fractions[1] <= fractions[0]).all()
    assert (fractions[2] <= fractions[1]).all()
    assert (fractions[2] < fractions[0]).any()


def test_patients_use_the_experts_their_data_allow() -> None:
    experts = [network_expert(0, "a"), network_expert(1, "b")]
    rng = np.random.default_rng(0)
    data = {
        "a": table(["both", "only a"], rng.normal(size=(2, 3))),
        "b": table(["only b", "both"], rng.normal(size=(2, 3))),
    }
    ids = ["none", "only a", "both", "only b"]
    settings = replace(FAST, weighting="inverse-mse")
    result = generate(experts, data, ids, draws=2, settings=settings)
    assert result.patients == tuple(ids)
    np.testing.assert_allclose(result.weights, [[0, 0], [1, 0], [2 / 3, 1 / 3], [0, 1]])
    assert np.isnan(result.draws[0]).all()
    assert (result.attempts[0] == 0).all()
    assert np.isfinite(result.draws[1:]).all()
    assert np.isfinite(result.coherence[2]).all()
    assert np.isnan(result.coherence[[1, 3]]).all()


def test_results_do_not_depend_on_order_or_company() -> None:
    experts = [network_expert(0, "a"), network_expert(1, "b", schedule_steps=500)]
    rng = np.random.default_rng(0)
    ids = [f"p{i}" for i in range(BLOCK // 4 + 7)]
    data = {name: table(ids, rng.normal(size=(len(ids), 3))) for name in "ab"}
    for sampler, steps in (("ddim", 20), ("ddpm", 25)):
        settings = EngineSettings(sampler=sampler, steps=steps)  # type: ignore[arg-type]
        whole = generate(experts, data, ids, draws=5, seed=9, settings=settings)
        backwards = generate(experts, data, ids[::-1], draws=5, seed=9, settings=settings)
        some = generate(experts, data, ids[3:6], draws=3, seed=9, settings=settings)
        np.testing.assert_array_equal(backwards.draws[::-1], whole.draws)
        np.testing.assert_array_equal(some.draws, whole.draws[3:6, :3])
        other = generate(experts, data, ids[3:6], draws=3, seed=10, settings=settings)
        assert not np.array_equal(other.draws, some.draws)


def test_results_do_not_depend_on_the_number_of_workers() -> None:
    experts = [network_expert(0, "a"), network_expert(1, "b")]
    ids = [f"p{i}" for i in range(BLOCK)]
    rng = np.random.default_rng(0)
    data = {name: table(ids, rng.normal(size=(len(ids), 3))) for name in "ab"}
    threads = torch.get_num_threads()
    found = []
    try:
        for workers in (1, 3):
            torch.set_num_threads(workers)
            found.append(generate(experts, data, ids, draws=6, settings=EngineSettings(steps=10)))
            assert torch.get_num_threads() == workers
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(found[0].draws, found[1].draws)
    np.testing.assert_array_equal(found[0].attempts, found[1].attempts)


def test_half_precision_moves_draws_little_and_as_little_in_other_company() -> None:
    experts = [network_expert(0, "a"), network_expert(1, "b")]
    ids = [f"p{i}" for i in range(40)]
    rng = np.random.default_rng(0)
    data = {name: table(ids, rng.normal(size=(40, 3))) for name in "ab"}
    half = EngineSettings(precision="bfloat16")
    full = generate(experts, data, ids, draws=4, settings=EngineSettings())
    rough = generate(experts, data, ids, draws=4, settings=half)
    moved = (rough.draws - full.draws).std() / full.draws.std()
    assert 0 < moved < 0.01
    backwards = generate(experts, data, ids[::-1], draws=4, settings=half)
    some = generate(experts, data, ids[3:6], draws=2, settings=half)
    tolerance = 0.05 * full.draws.std()  # to the bit is promised of float32 alone
    np.testing.assert_allclose(backwards.draws[::-1], rough.draws, atol=tolerance)
    np.testing.assert_allclose(some.draws, rough.draws[3:6, :2], atol=tolerance)


def test_incoherent_fraction_of_few_steps_is_that_of_the_whole_schedule(
    gaussian_expert: Build,
) -> None:
    experts = [gaussian_expert(np.eye(4), 0.3 * np.eye(4), name) for name in "ab"]
    rng = np.random.default_rng(0)
    ids = [f"p{i}" for i in range(200)]
    data = {name: table(ids, rng.normal(size=(200, 4))) for name in "ab"}
    once = EngineSettings(max_retries=0, threshold=0.5)
    few, many = (
        generate(experts, data, ids, draws=2, settings=replace(once, steps=n), keep_trace=True)
        for n in (30, 1000)
    )
    assert many.trace is not None and few.trace is not None
    np.testing.assert_allclose((many.trace > 0.5).mean(axis=2), many.incoherent_fraction, atol=1e-5)
    np.testing.assert_allclose(few.coherence, many.coherence, atol=0.02)
    np.testing.assert_allclose(few.incoherent_fraction, many.incoherent_fraction, atol=0.06)
    unweighted = np.abs((few.trace > 0.5).mean(axis=2) - many.incoherent_fraction)
    weighted = np.abs(few.incoherent_fraction - many.incoherent_fraction)
    assert weighted.mean() < 0.2 * unweighted.mean()


def test_progress_counts_every_trajectory(gaussian_expert: Build) -> None:
    seen: list[tuple[int, int]] = []
    ids = [f"p{i}" for i in range(300)]
    generate(
        [gaussian_expert(np.eye(2), np.eye(2))],
        {"a": table(ids, np.zeros((300, 2)))},
        [*ids, "without"],
        draws=2,
        settings=EngineSettings(steps=3),
        progress=lambda done, total: seen.append((done, total)),
    )
    counts = [done for done, _ in seen]
    assert counts == sorted(counts)
    assert seen[-1] == (602, 602)


def test_experts_of_two_target_spaces_are_refused(gaussian_expert: Build) -> None:
    experts = [
        gaussian_expert(np.eye(2), np.eye(2), "a"),
        gaussian_expert(np.eye(2), np.eye(2), "b", space="sha256:" + "1" * 64),
    ]
    with pytest.raises(EnsembleError, match=r"a-to-x@1 and b-to-x@1 .* different x spaces"):
        generate(experts, {}, ["p"])


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        (EngineSettings(steps=0), "between 1 and 1000, not 0"),
        (EngineSettings(steps=1001), "between 1 and 1000, not 1001"),
        (EngineSettings(sampler="euler"), "'euler' is unknown"),  # type: ignore[arg-type]
        (EngineSettings(weighting="none"), "'none' is unknown"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    gaussian_expert: Build, settings: EngineSettings, part: str
) -> None:
    expert = gaussian_expert(np.eye(2), np.eye(2))
    with pytest.raises(EnsembleError, match=part):
        generate([expert], {"a": table(["p"], [[0, 0]])}, ["p"], settings=settings)


def test_a_patient_asked_for_twice_and_no_expert_are_refused(gaussian_expert: Build) -> None:
    with pytest.raises(EnsembleError, match="asked for twice"):
        generate([gaussian_expert(np.eye(2), np.eye(2))], {}, ["p", "p"])
    with pytest.raises(EnsembleError, match="no expert"):
        generate([], {}, ["p"])


@pytest.mark.parametrize("settings", [FAST, EngineSettings(sampler="ddpm", steps=100)])
def test_mirrored_draws_of_a_gaussian_expert_have_its_mean_between_them(
    gaussian_expert: Build, settings: EngineSettings
) -> None:
    expert = gaussian_expert(np.eye(2), 0.5 * np.eye(2))
    data = {"a": table(["p", "q"], [[1.0, -2.0], [0.0, 3.0]])}
    paired = generate([expert], data, ["p", "q"], draws=6, settings=settings)
    assert paired.mirrored
    middles = (paired.draws[:, ::2] + paired.draws[:, 1::2]) / 2
    # The sampler is linear here, so a pair's midpoint is where no noise at all would lead.
    np.testing.assert_allclose(middles, np.broadcast_to(middles[:, :1], middles.shape), atol=1e-4)
    np.testing.assert_allclose(middles[:, 0], [[1, -2], [0, 3]], atol=0.05)
    alone = generate([expert], data, ["p"], draws=6, settings=replace(settings, mirrored=False))
    np.testing.assert_array_equal(alone.draws[0, ::2], paired.draws[0, ::2])
    assert np.abs(alone.draws[0, 1::2] - paired.draws[0, 1::2]).min() > 1e-3
