from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codenoise.core.base.errors import CodenoiseError
from codenoise.core.diffusion.architectures import build_denoiser
from codenoise.core.diffusion.denoiser import MLPDenoiser, masked_condition, time_embedding
from codenoise.core.diffusion.folded import PlainStack, stacks
from codenoise.core.diffusion.prediction import Prediction, to_epsilon, training_target
from codenoise.core.diffusion.schedule import linear_schedule, log_snr, schedule_from


def test_linear_schedule_is_the_papers() -> None:
    schedule = linear_schedule()
    beta = np.linspace(1e-4, 0.02, 1000)
    assert schedule.steps == 1000
    for step in (0, 1, 499, 999):
        assert schedule.alpha_bar[step] == pytest.approx(np.prod(1 - beta[: step + 1]))


def test_time_at_finds_a_schedules_own_steps() -> None:
    schedule = linear_schedule(50, 1e-3, 0.2)
    np.testing.assert_allclose(schedule.time_at(schedule.alpha_bar), np.arange(50), atol=1e-9)


@given(level=st.floats(1e-4, 0.9998))
def test_time_at_meets_another_schedule_at_equal_signal_to_noise(level: float) -> None:
    schedule = linear_schedule(200, 5e-4, 0.1)
    inside = np.clip(level, schedule.alpha_bar[-1], schedule.alpha_bar[0])
    time = float(schedule.time_at(np.asarray(inside)))
    below, above = int(np.floor(time)), int(np.ceil(time))
    own = log_snr(schedule.alpha_bar)
    there = own[below] + (time - below) * (own[above] - own[below])
    assert there == pytest.approx(float(log_snr(np.asarray(inside))), abs=1e-8)


def test_time_at_clamps_levels_beyond_the_schedule() -> None:
    schedule = linear_schedule(10, 1e-3, 0.1)
    assert schedule.time_at(np.array([1e-12, 1 - 1e-12])).tolist() == [9.0, 0.0]


@pytest.mark.parametrize(
    ("type", "parameters", "part"),
    [
        ("cosine", {"steps": 10}, "'cosine' is unknown"),
        ("linear", {"steps": 10, "beta_start": 0.1}, "lacks the parameter 'beta_end'"),
        ("linear", {"steps": 10, "beta_start": 0.2, "beta_end": 0.1}, "0 < beta_start <= beta_end"),
        ("linear", {"steps": 1, "beta_start": 0.1, "beta_end": 0.2}, "steps >= 2"),
    ],
)
def test_schedule_that_is_none_is_refused(
    type: str, parameters: dict[str, float], part: str
) -> None:
    with pytest.raises(CodenoiseError, match=part):
        schedule_from(type, parameters)


def test_schedule_survives_its_manifest_entry() -> None:
    schedule = linear_schedule(123, 2e-4, 0.03)
    again = schedule_from(schedule.type, schedule.parameters)
    np.testing.assert_array_equal(again.alpha_bar, schedule.alpha_bar)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
@settings(deadline=None)
@given(level=st.floats(0.01, 0.99), seed=st.integers(0, 100))
def test_a_perfect_prediction_of_any_kind_gives_back_the_noise(
    prediction: Prediction, level: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    x = level**0.5 * x0 + (1 - level) ** 0.5 * noise
    output = training_target(prediction, x0, noise, torch.full((5, 1), level))
    torch.testing.assert_close(
        to_epsilon(prediction, output, x, level), noise, atol=1e-5, rtol=1e-5
    )


def test_time_embedding_has_unit_circles() -> None:
    embedded = time_embedding(torch.tensor([0.0, 3.5, 999.0]), 16)
    assert embedded.shape == (3, 16)
    torch.testing.assert_close(embedded[:, :8] ** 2 + embedded[:, 8:] ** 2, torch.ones(3, 8))
    assert embedded[0, :8].abs().max() == 0


def trained_looking(
    seed: int, width: int = 24, layers: int = 3, condition_dim: int = 5
) -> MLPDenoiser:
    """A network whose normalisation has statistics, as after training."""
    torch.manual_seed(seed)
    shape = {"width": width, "layers": 3, "time_dim": 8}
    network = build_denoiser("mlp", 4, [condition_dim], shape)
    for _ in range(3):
        network(torch.randn(64, 4) * 2 + 1, torch.rand(64) * 999, torch.randn(64, condition_dim))
    return network.eval()


def masked_looking(seed: int) -> MLPDenoiser:
    torch.manual_seed(seed)
    shape = {"width": 24, "layers": 3, "time_dim": 8}
    network = build_denoiser("mlp", 4, [3, 5], shape, masked=True)
    inputs = masked_condition(torch.randn(64, 8), (torch.rand(64, 2) < 0.5).float(), (3, 5))
    for _ in range(3):
        network(torch.randn(64, 4) * 2 + 1, torch.rand(64) * 999, inputs)
    return network.eval()


@torch.inference_mode()
def test_folded_stacks_equal_the_networks_they_were_folded_from() -> None:
    networks = [
        trained_looking(0),
        trained_looking(1, condition_dim=7),
        trained_looking(2, width=1024),
        masked_looking(3),
    ]
    times = [torch.tensor([0.0, 10.5, 999.0]) + i for i in range(4)]
    x = torch.randn(6, 4)
    conditions = [torch.randn(6, dim) for dim in (5, 7, 5)]
    present = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    conditions.append(masked_condition(torch.randn(6, 8), present, (3, 5)))
    seen = []
    for positions, stack in stacks(networks, times):
        terms = stack.condition_terms([conditions[i] for i in positions])
        for step in range(3):
            for position, output in zip(positions, stack(x, step, terms), strict=True):
                wanted = networks[position](
                    x, times[position][step].expand(6), conditions[position]
                )
                torch.testing.assert_close(output, wanted, atol=1e-4, rtol=1e-4)
        seen += positions
    assert sorted(seen) == [0, 1, 2, 3]


def test_networks_of_equal_shape_share_a_stack() -> None:
    networks = [trained_looking(0), trained_looking(1, width=16), trained_looking(2)]
    grouped = [positions for positions, _ in stacks(networks, [torch.zeros(1)] * 3)]
    assert sorted(grouped) == [[0, 2], [1]]


def test_a_denoiser_of_another_form_is_called_as_it_is() -> None:
    def denoiser(x: torch.Tensor, time: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return x * time[:, None] + condition

    ((positions, stack),) = stacks([denoiser], [torch.tensor([2.0, 3.0])])
    assert positions == [0]
    assert isinstance(stack, PlainStack)
    terms = stack.condition_terms([torch.ones(5, 4)])
    torch.testing.assert_close(stack(torch.ones(5, 4), 1, terms), torch.full((1, 5, 4), 4.0))


@pytest.mark.parametrize(
    ("architecture", "parameters", "part"),
    [
        ("transformer", {}, "'transformer' is unknown; known: mlp, residual, unet"),
        ("mlp", {"depth": 3}, "does not take .*depth"),
        ("mlp", {"width": -1}, "does not take"),
    ],
)
def test_architecture_that_cannot_be_built_is_refused(
    architecture: str, parameters: dict[str, int], part: str
) -> None:
    with pytest.raises(CodenoiseError, match=part):
        build_denoiser(architecture, 4, [4], parameters)


@torch.inference_mode()
@pytest.mark.parametrize("architecture", ["mlp", "residual", "unet"])
def test_absent_condition_does_not_touch_the_prediction(architecture: str) -> None:
    torch.manual_seed(0)
    shape = {"width": 16, "layers": 2, "time_dim": 8}
    network = build_denoiser(architecture, 4, [3, 5], shape, masked=True).eval()
    x, values = torch.randn(6, 4), torch.randn(6, 8)
    absent = torch.tensor([[1.0, 0.0]]).repeat(6, 1)
    other = torch.cat([values[:, :3], torch.randn(6, 5)], dim=1)
    first, second = (
        network(x, torch.full((6,), 9.0), masked_condition(v, absent, (3, 5)))
        for v in (values, other)
    )
    assert torch.equal(first, second)
    both = network(x, torch.full((6,), 9.0), masked_condition(values, torch.ones(6, 2), (3, 5)))
    assert not torch.allclose(first, both)


def test_a_pair_takes_one_condition() -> None:
    with pytest.raises(CodenoiseError, match="a pair expert has one condition, not 2"):
        build_denoiser("mlp", 4, [3, 5], {})


def test_a_unet_narrower_than_its_depth_is_refused() -> None:
    with pytest.raises(CodenoiseError, match="a width of 2 cannot be halved 3 times"):
        build_denoiser("unet", 4, [3], {"width": 2, "layers": 3})
