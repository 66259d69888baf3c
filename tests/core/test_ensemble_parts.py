from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cosine
from scipy.stats import kstest

from codenoise.core.base.errors import EnsembleError
from codenoise.core.diffusion.grid import step_grid
from codenoise.core.diffusion.samplers import SAMPLERS
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.coherence import incoherence
from codenoise.core.ensemble.noise import Trajectory, trajectory_noise
from codenoise.core.ensemble.settings import EngineSettings

Array = NDArray[np.float64]


def test_incoherence_is_the_weighted_mean_of_pairwise_cosine_distances() -> None:
    rng = np.random.default_rng(0)
    epsilons = rng.normal(size=(3, 5, 8))
    weights = np.array([0.5, 0.3, 0.2])
    got = incoherence(torch.from_numpy(epsilons), torch.from_numpy(weights))
    for row in range(5):
        above = below = 0.0
        for i in range(3):
            for j in range(i + 1, 3):
                pair = (weights[i] + weights[j]) / 2
                above += pair * cosine(epsilons[i, row], epsilons[j, row])
                below += pair
        assert float(got[row]) == pytest.approx(above / below)


def test_incoherence_of_equal_and_of_opposite_experts() -> None:
    one = torch.randn(1, 4, 6)
    weights = torch.tensor([0.7, 0.3])
    same = incoherence(torch.cat([one, 3 * one]), weights)
    opposite = incoherence(torch.cat([one, -one]), weights)
    torch.testing.assert_close(same, torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(opposite, torch.full((4,), 2.0), atol=1e-6, rtol=0)


def test_noise_of_a_trajectory_depends_on_its_name_alone() -> None:
    names = [Trajectory("rna", f"p{i}", draw, 0) for i in range(4) for draw in range(2)]
    together = trajectory_noise(names, seed=3, steps=2, dim=5)
    for row, name in enumerate(names):
        np.testing.assert_array_equal(together[row], trajectory_noise([name], 3, 2, 5)[0])
    assert len({values.tobytes() for values in together}) == len(names)


@pytest.mark.parametrize(
    "other",
    [Trajectory("cna", "p", 0, 0), Trajectory("rna", "q", 0, 0), Trajectory("rna", "p", 1, 0),
     Trajectory("rna", "p", 0, 1)],
)  # fmt: skip
def test_noise_differs_when_any_part_of_the_name_does(other: Trajectory) -> None:
    one = trajectory_noise([Trajectory("rna", "p", 0, 0)], 0, 1, 16)
    assert not np.array_equal(one, trajectory_noise([other], 0, 1, 16))
    assert not np.array_equal(one, trajectory_noise([Trajectory("rna", "p", 0, 0)], 1, 1, 16))


def test_noise_is_standard_normal() -> None:
    names = [Trajectory("rna", f"patient {i}", 0, 0) for i in range(500)]
    values = trajectory_noise(names, seed=0, steps=1, dim=16)
    assert kstest(values.ravel(), "norm").pvalue > 0.01
    assert abs(np.corrcoef(values[:, 0, :2].T)[0, 1]) < 0.15


def gaussian_run(sampler: str, steps: int, mean: float, sd: float) -> Array:
    """Sample ``N(mean, sd^2)`` with its exact noise prediction."""
    generator = torch.Generator().manual_seed(0)
    levels = step_grid(linear_schedule().alpha_bar, steps, sampler).tolist()

    def exact(x: torch.Tensor, step: int) -> torch.Tensor:
        level = levels[step]
        epsilon: torch.Tensor = (1 - level) ** 0.5 * (x - level**0.5 * mean)
        return epsilon / (level * sd**2 + 1 - level)

    x = torch.randn(20_000, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(20_000, steps - 1, 1, generator=generator) if sampler == "ddpm" else None
    return SAMPLERS[sampler].run(exact, x, levels, noise).numpy()


@pytest.mark.parametrize(
    ("sampler", "steps", "tolerance"),
    [
        ("ddpm", 1000, 0.04),
        ("ddim", 1000, 0.02),
        ("ddim", 50, 0.05),
        ("dpm-solver++", 50, 0.02),
        ("dpm-solver++", 20, 0.07),
        ("heun", 50, 0.02),
        ("heun", 20, 0.07),
    ],
)
@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (1.5, 0.4), (-0.7, 0.2)])
def test_samplers_reach_a_gaussian_target(
    sampler: str, steps: int, tolerance: float, mean: float, sd: float
) -> None:
    values = gaussian_run(sampler, steps, mean, sd)
    assert values.mean() == pytest.approx(mean, abs=4 * sd / 20_000**0.5 + 0.005)
    assert values.std() == pytest.approx(sd, rel=tolerance)


@pytest.mark.parametrize("variance", [0.02, 0.1, 0.3, 0.7, 1.0, 1.5])
def test_the_default_grid_keeps_any_width_within_one_percent(variance: float) -> None:
    settings = EngineSettings()
    runs = [
        gaussian_run(settings.sampler, steps, 0.0, variance**0.5)
        for steps in (settings.steps, 1000)
    ]
    # From the same noise the two differ by the solver's error alone.
    assert runs[0].std() == pytest.approx(runs[1].std(), rel=0.01)


@pytest.mark.parametrize("sampler", ["ddim", "dpm-solver++"])
def test_more_steps_come_closer_to_the_target(sampler: str) -> None:
    runs = [gaussian_run(sampler, steps, 1.0, 0.5).std() for steps in (10, 30, 100, 1000)]
    errors = [abs(sd - runs[-1]) for sd in runs[:-1]]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("sampler", ["dpm-solver++", "heun"])
def test_second_order_samplers_converge_at_second_order(sampler: str) -> None:
    # Without randomness in the target the error is the solver's alone.
    ends = [gaussian_run(sampler, steps, 0.0, 0.5) for steps in (50, 100, 800)]
    coarse, fine = (np.abs(run - ends[-1]).mean() for run in ends[:2])
    assert 2.5 < coarse / fine < 6


def test_unknown_sampler_is_refused() -> None:
    with pytest.raises(EnsembleError, match="'euler' is unknown; known: ddim, ddpm, dpm-sol"):
        step_grid(linear_schedule().alpha_bar, 2, "euler")


def test_step_grid_takes_both_ends_or_everything() -> None:
    alpha_bar = linear_schedule().alpha_bar
    for sampler in SAMPLERS:
        np.testing.assert_array_equal(step_grid(alpha_bar, 1000, sampler), alpha_bar[::-1])
        grid = step_grid(alpha_bar, 7, sampler)
        assert len(grid) == 7
        np.testing.assert_allclose(grid[[0, -1]], alpha_bar[[-1, 0]])
        assert (np.diff(step_grid(alpha_bar, 900, sampler)) > 0).all()
        assert step_grid(alpha_bar, 1, sampler).tolist() == [alpha_bar[-1]]
