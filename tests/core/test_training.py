from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from codenoise.core.diffusion.training import PairData, TrainingConfig, train_pair
from codenoise.core.errors import DataError

SMALL = TrainingConfig(
    width=48,
    layers=2,
    time_dim=16,
    condition_width=8,
    batch=128,
    max_steps=600,
    validate_every=100,
    weight_decay=0.01,
    condition_noise=0.0,
    ema_decay=0.98,
)


def linear_pairs(rows: int, seed: int, noise: float = 0.5) -> PairData:
    """``target = condition @ map + noise``: the best reachable R2 is known."""
    rng = np.random.default_rng(seed)
    mapping = np.random.default_rng(7).normal(size=(4, 3)) / 2
    condition = rng.normal(size=(rows, 4))
    target = condition @ mapping + noise * rng.normal(size=(rows, 3))
    return PairData(condition.astype(np.float32), target.astype(np.float32))


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_training_learns_a_linear_relation(prediction: str) -> None:
    train, validation = linear_pairs(1500, 0), linear_pairs(200, 1)
    best = 1 - 0.5**2 / validation.target.var()
    config = replace(SMALL, prediction=prediction, max_steps=600 if prediction == "v" else 2500)
    trained = train_pair(train, validation, config)
    assert trained.validation.r2_mean > best - 0.15
    assert trained.validation.n == 200
    # A calibrated sampler's single draws err twice as much as its mean.
    assert trained.validation.mse == pytest.approx(2 * 0.25, abs=0.15)


def test_training_repeats_itself_and_the_seed_matters() -> None:
    train, validation = linear_pairs(300, 0), linear_pairs(50, 1)
    config = replace(SMALL, max_steps=200)
    first, second = (train_pair(train, validation, config) for _ in range(2))
    other = train_pair(train, validation, replace(config, seed=1))
    states = [t.denoiser.state_dict() for t in (first, second, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["output.weight"], states[2]["output.weight"])


def test_training_stops_early_and_keeps_the_best_checkpoint() -> None:
    rng = np.random.default_rng(0)
    noise = PairData(*rng.normal(size=(2, 60, 3)).astype(np.float32))  # nothing can be learned
    unseen = PairData(*rng.normal(size=(2, 60, 3)).astype(np.float32))
    seen: list[int] = []
    config = replace(SMALL, max_steps=5000, validate_every=50, patience=3)
    trained = train_pair(noise, unseen, config, progress=lambda step, _: seen.append(step))
    assert trained.steps < 5000
    assert trained.steps == trained.best_step + 3 * 50
    assert seen == list(range(50, trained.steps + 1, 50))


def test_noise_error_falls_with_the_noise_level() -> None:
    trained = train_pair(linear_pairs(500, 0), linear_pairs(100, 1), SMALL)
    errors = trained.validation.noise_mse
    assert len(errors) == 10
    assert errors[0] > errors[4] > errors[9]


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(DataError, match="found 1 and 50"):
        train_pair(linear_pairs(1, 0), linear_pairs(50, 1), SMALL)
