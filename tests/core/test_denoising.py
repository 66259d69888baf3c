from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cosine
from torch import Tensor

from codenoise.core.base.errors import EnsembleError
from codenoise.core.diffusion.grid import step_grid
from codenoise.core.diffusion.samplers import SAMPLERS, SamplingMethod, ddim_step
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.consensus import BLOCK, Consensus
from codenoise.core.ensemble.denoising import denoise
from codenoise.core.ensemble.engine import generate
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.settings import EngineSettings

Build = Callable[..., Expert]
Array = NDArray[np.float64]
GAIN = np.array([[1.0, 0.0], [0.5, -0.5]])
COVARIANCES = {"a": np.array([[0.6, 0.2], [0.2, 0.4]]), "b": 0.3 * np.eye(2)}
GIVEN = {"a": [0.8, -1.2], "b": [-0.3, 0.4]}
WEIGHTS = {"a": 0.7, "b": 0.3}
IDS = ["p"]


@pytest.fixture
def experts(gaussian_expert: Build) -> list[Expert]:
    """Two exact experts that disagree."""
    return [gaussian_expert(GAIN, COVARIANCES[name], name) for name in "ab"]


@pytest.fixture
def data() -> dict[str, pd.DataFrame]:
    """Both conditions of one patient."""
    return {name: pd.DataFrame([GIVEN[name]], index=IDS, dtype=np.float32) for name in "ab"}


@pytest.fixture
def consensus(experts: list[Expert], data: dict[str, pd.DataFrame]) -> Consensus:
    """They agree on twelve levels by fixed weights; the schedule has these levels exactly."""
    levels = step_grid(linear_schedule().alpha_bar, 12, "ddpm")
    return Consensus(experts, data, IDS, levels, np.tile(list(WEIGHTS.values()), (12, 1)))


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``plugin(run)``: a plugin has added the sampler ``mine``."""
    monkeypatch.setattr(SAMPLERS, "_things", {**SAMPLERS._things})

    def apply(run: Callable[..., Any], **asks: bool) -> None:
        SAMPLERS.register("mine", SamplingMethod(run, **asks), "mine 1.0")

    return apply


def noise(rows: int, steps: int = 12) -> Tensor:
    """Values of as many trajectories."""
    return torch.randn(rows, steps, 2, generator=torch.Generator().manual_seed(rows))


def expert_noise(name: str, x: Array, level: float) -> Array:
    """The exact noise in one vector, in double precision."""
    total = level * COVARIANCES[name] + (1 - level) * np.eye(2)
    residual = x - level**0.5 * GAIN @ np.array(GIVEN[name])
    return np.asarray((1 - level) ** 0.5 * np.linalg.solve(total, residual))


def test_the_loop_is_that_of_the_paper(consensus: Consensus) -> None:
    start, levels = noise(1)[:, 0], consensus.levels
    seen: list[tuple[int, Tensor, Tensor, Tensor]] = []
    latents, distances = denoise(
        consensus, "ddim", start, np.array([0]), observe=lambda *one: seen.append(one)
    )
    assert latents.shape == (1, 2)
    assert distances.shape == (1, 12)
    x = start[0].double().numpy()
    for step, level in enumerate(levels):
        each = [expert_noise(name, x, level) for name in "ab"]
        agreed = sum(WEIGHTS[name] * one for name, one in zip("ab", each, strict=True))
        at, noisy, epsilons, epsilon = seen[step]
        assert at == step
        np.testing.assert_allclose(noisy[0], x, atol=1e-4)
        np.testing.assert_allclose(epsilons[:, 0], each, atol=1e-4)
        np.testing.assert_allclose(epsilon[0], agreed, atol=1e-4)
        assert float(distances[0, step]) == pytest.approx(cosine(*each), abs=1e-3)
        after = levels[step + 1] if step < 11 else 1.0
        clean = (x - (1 - level) ** 0.5 * agreed) / level**0.5
        x = after**0.5 * clean + (1 - after) ** 0.5 * agreed
    np.testing.assert_allclose(latents[0], x, atol=1e-4)
    assert len(seen) == 12


def test_one_expert_leaves_nothing_to_compare(
    experts: list[Expert], data: dict[str, pd.DataFrame]
) -> None:
    alone = Consensus(experts[:1], data, IDS, np.array([0.1, 0.9]), np.ones((2, 1)))
    latents, distances = denoise(alone, "heun", noise(3)[:, 0], np.zeros(3, dtype=np.int64))
    assert torch.isfinite(latents).all()
    assert torch.isnan(distances).all()


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_rows_do_not_depend_on_their_company(consensus: Consensus, sampler: str) -> None:
    values, rows = noise(BLOCK), np.zeros(BLOCK, dtype=np.int64)
    whole = denoise(consensus, sampler, values[:, 0], rows, values[:, 1:])
    few = denoise(consensus, sampler, values[5:8, 0], rows[:3], values[5:8, 1:])
    for one, other in zip(whole, few, strict=True):
        assert torch.equal(one[5:8], other)


def test_what_is_observed_are_the_rows_that_were_given(consensus: Consensus) -> None:
    sizes = set()
    denoise(
        consensus, "heun", noise(3)[:, 0], np.zeros(3, dtype=np.int64),
        observe=lambda _, *seen: sizes.add(tuple(tuple(one.shape) for one in seen)),
    )  # fmt: skip
    assert sizes == {((3, 2), (2, 3, 2), (3, 2))}


def test_ancestral_steps_need_noise(consensus: Consensus) -> None:
    with pytest.raises(EnsembleError) as caught:
        denoise(consensus, "ddpm", noise(1)[:, 0], np.array([0]))
    assert str(caught.value) == (
        "sampler 'ddpm' takes fresh noise of shape (rows, steps - 1, dim); none is given"
    )


def test_an_unknown_sampler_is_refused(consensus: Consensus) -> None:
    with pytest.raises(EnsembleError, match="'euler' is unknown; known: ddim, ddpm, dpm-solver"):
        denoise(consensus, "euler", noise(1)[:, 0], np.array([0]))


def test_a_plugins_sampler_has_noise_memory_and_further_evaluations(
    experts: list[Expert], data: dict[str, pd.DataFrame], plugin: Callable[..., None]
) -> None:
    given = []

    def run(predict: Any, x: Tensor, levels: Sequence[float], fresh: Tensor | None) -> Tensor:
        assert fresh is not None
        given.append((len(levels), tuple(fresh.shape), fresh.std().item()))
        remembered = []
        for step, (level, after) in enumerate(zip(levels, [*levels[1:], 1.0], strict=True)):
            guess = ddim_step(x, predict(x, step), level, after)
            remembered.append(predict(x, step))
            x = ddim_step(x, remembered[-1], level, after)
            assert torch.equal(x, guess)
        return x

    plugin(run, fresh_noise=True, even=True)
    settings = EngineSettings("uniform", sampler="mine", steps=10, max_retries=0)
    mine = generate(experts, data, IDS, draws=4, settings=settings)
    assert [(size, shape) for size, shape, _ in given] == [(10, (BLOCK, 9, 2))]
    assert 0.8 < given[0][2] < 1.2
    assert np.isfinite(mine.coherence).all()
    alpha_bar = linear_schedule().alpha_bar
    even = alpha_bar[::-1][[0, 111, 222, 333, 444, 555, 666, 777, 888, 999]]
    np.testing.assert_array_equal(step_grid(alpha_bar, 10, "mine"), even)


def test_samplers_without_fresh_noise_get_none(
    consensus: Consensus, plugin: Callable[..., None]
) -> None:
    given = []

    def run(predict: Any, x: Tensor, levels: Sequence[float], fresh: Tensor | None) -> Tensor:
        given.append(fresh)
        for step in range(len(levels)):
            predict(x, step)
        return x

    plugin(run)
    values = noise(2)
    latents, _ = denoise(
        consensus, "mine", values[:, 0], np.zeros(2, dtype=np.int64), values[:, 1:]
    )
    assert given == [None]
    assert torch.equal(latents, values[:, 0])
    assert SAMPLERS["mine"].values(10) == 1


BREACHES: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "nothing": (lambda x: None, "returned NoneType"),
    "an array": (lambda x: x.numpy(), "returned ndarray"),
    "a row less": (lambda x: x[1:], "returned torch.float32 of shape (127, 2)"),
    "another type": (lambda x: x.double(), "returned torch.float64 of shape (128, 2)"),
    "gaps": (lambda x: x.masked_fill(x > 0, torch.nan), "returned values that are not finite"),
    "an overflow": (lambda x: x * torch.inf, "returned values that are not finite"),
}


@pytest.mark.parametrize("how", BREACHES)
def test_what_a_plugins_sampler_must_not_return(
    experts: list[Expert], data: dict[str, pd.DataFrame], plugin: Callable[..., None], how: str
) -> None:
    breach, found = BREACHES[how]

    def run(predict: Any, x: Tensor, levels: Sequence[float], _: Tensor | None) -> object:
        for step in range(len(levels)):
            x = 0.5 * predict(x, step)
        return breach(x)

    plugin(run)
    with pytest.raises(EnsembleError) as caught:
        generate(experts, data, IDS, settings=EngineSettings("uniform", sampler="mine", steps=5))
    assert str(caught.value) == (
        f"sampler 'mine' of mine 1.0 {found}; it should visit every step and return finite "
        f"torch.float32 of shape (128, 2); choose another sampler, or tell its author"
    )


def test_a_plugins_sampler_must_not_leave_out_steps(
    consensus: Consensus, plugin: Callable[..., None]
) -> None:
    plugin(lambda predict, x, levels, _: predict(x, 0))
    with pytest.raises(EnsembleError, match=r"'mine' of mine 1\.0 left out 11 of the steps; it sh"):
        denoise(consensus, "mine", noise(1)[:, 0], np.array([0]))


def test_names_of_samplers_and_weightings_are_told_without_torch() -> None:
    code = (
        "import sys; from codenoise.core.diffusion.samplers import SAMPLERS;"
        "from codenoise.core.ensemble.weights import WEIGHTINGS;"
        "print(*SAMPLERS, *WEIGHTINGS.names);"
        "print([m for m in ('torch', 'pandas', 'scipy') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == [
        "ddpm ddim dpm-solver++ heun adaptive fixed inverse-mse precision-gain "
        "softmax-inverse-mse stacked uniform",
        "[]",
    ]


def test_an_expert_that_generates_no_numbers_is_named(
    experts: list[Expert], data: dict[str, pd.DataFrame]
) -> None:
    def broken(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, torch.nan)

    faulty = [replace(experts[0], name="faulty@1", denoiser=broken), experts[1]]
    with pytest.raises(EnsembleError, match=r"faulty@1.* no finite numbers"):
        generate(faulty, data, list(data[experts[0].conditions[0]].index[:3]), draws=2)
