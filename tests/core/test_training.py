from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from codenoise.core.base.errors import DataError
from codenoise.core.diffusion.config import TrainingConfig
from codenoise.core.diffusion.data import ExpertData, random_subsets
from codenoise.core.diffusion.prediction import training_target
from codenoise.core.diffusion.training import min_snr_weight, train_expert
from codenoise.core.diffusion.validation import validate

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


def linear_pairs(rows: int, seed: int, noise: float = 0.5) -> ExpertData:
    """``target = condition @ map + noise``: the best reachable R2 is known."""
    rng = np.random.default_rng(seed)
    mapping = np.random.default_rng(7).normal(size=(4, 3)) / 2
    condition = rng.normal(size=(rows, 4))
    target = condition @ mapping + noise * rng.normal(size=(rows, 3))
    return ExpertData(condition.astype(np.float32), target.astype(np.float32), (4,))


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_training_learns_a_linear_relation(prediction: str) -> None:
    train, validation = linear_pairs(1500, 0), linear_pairs(200, 1)
    best = 1 - 0.5**2 / validation.target.var()
    config = replace(SMALL, prediction=prediction, max_steps=600 if prediction == "v" else 1500)
    trained = train_expert(train, validation, config)
    assert trained.validation.r2_mean > best - 0.15
    assert trained.validation.n == 200
    # A calibrated sampler's single draws err twice as much as its mean.
    assert trained.validation.mse == pytest.approx(2 * 0.25, abs=0.15)


def test_training_repeats_itself_and_the_seed_matters() -> None:
    train, validation = linear_pairs(300, 0), linear_pairs(50, 1)
    config = replace(SMALL, max_steps=200)
    first, second = (train_expert(train, validation, config) for _ in range(2))
    other = train_expert(train, validation, replace(config, seed=1))
    states = [t.denoiser.state_dict() for t in (first, second, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["output.weight"], states[2]["output.weight"])


def test_training_stops_early_and_keeps_the_best_checkpoint() -> None:
    rng = np.random.default_rng(0)
    noise = ExpertData(
        *rng.normal(size=(2, 60, 3)).astype(np.float32), (3,)
    )  # nothing can be learned
    unseen = ExpertData(*rng.normal(size=(2, 60, 3)).astype(np.float32), (3,))
    seen: list[int] = []
    config = replace(SMALL, max_steps=5000, validate_every=50, patience=3)
    trained = train_expert(noise, unseen, config, progress=lambda step, *_: seen.append(step))
    assert trained.steps < 5000
    assert trained.steps == trained.best_step + 3 * 50
    assert seen == list(range(50, trained.steps + 1, 50))


def test_noise_error_falls_with_the_noise_level() -> None:
    trained = train_expert(linear_pairs(500, 0), linear_pairs(100, 1), SMALL)
    errors = trained.validation.noise_mse
    assert len(errors) == 10
    assert errors[0] > errors[4] > errors[9]


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(DataError, match="found 1 and 50"):
        train_expert(linear_pairs(1, 0), linear_pairs(50, 1), SMALL)


def two_conditions(rows: int, seed: int) -> ExpertData:
    """``target = first + second + noise``; each condition is there for two patients of three."""
    rng = np.random.default_rng(seed)
    first, second, noise = rng.normal(size=(3, rows, 2)).astype(np.float32)
    present = rng.random((rows, 2)) < 2 / 3
    values = np.hstack([first, second]) * present.repeat(2, axis=1)
    return ExpertData(values, first + second + 0.5 * noise, (2, 2), present)


def test_multi_condition_expert_uses_what_is_there_and_knows_the_prior() -> None:
    config = replace(SMALL, max_steps=1500, validate_every=500)
    trained = train_expert(two_conditions(3000, 0), two_conditions(200, 1), config)
    rng = np.random.default_rng(2)
    first, second, noise = rng.normal(size=(3, 400, 2)).astype(np.float32)
    target = first + second + 0.5 * noise
    # Variances: 1 of each condition and 0.25 of noise, so what is known is a share of 2.25.
    for mask, best in (((1, 1), 2 / 2.25), ((1, 0), 1 / 2.25), ((0, 0), 0.0)):
        present = np.tile(np.array(mask, dtype=bool), (400, 1))
        values = np.hstack([first, second]) * present.repeat(2, axis=1)
        held_out = ExpertData(values, target, (2, 2), present)
        measured = validate(trained.denoiser, held_out, config, trained.schedule)
        assert measured.r2_expectation == pytest.approx(best, abs=0.1)


def test_multi_data_keep_every_patient_of_the_target() -> None:
    def table(ids: str, value: float) -> pd.DataFrame:
        return pd.DataFrame(value, index=list(ids), columns=range(2), dtype=np.float32)

    data = ExpertData.multi({"a": table("qp", 1), "b": table("rz", 2)}, table("rsqp", 0))
    assert data.present is not None
    assert data.present.tolist() == [[1, 0], [1, 0], [0, 1], [0, 0]]  # p, q, r, s
    assert data.condition.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 2], [0, 0, 0, 0]]
    assert data.condition_dims == (2, 2)


def test_random_subsets_are_alike_and_never_add_a_condition() -> None:
    present = torch.tensor([[1.0, 1.0, 0.0]]).repeat(8000, 1)
    chosen = random_subsets(present, torch.Generator().manual_seed(0))
    assert chosen[:, 2].sum() == 0
    kinds, counts = torch.unique(chosen, dim=0, return_counts=True)
    assert len(kinds) == 4  # none, either, both
    assert counts.min() > 1850


@pytest.mark.parametrize(
    "change",
    [{"architecture": "unet", "layers": 2}, {"architecture": "residual"},
     {"rate": "cosine"}, {"min_snr_gamma": 5.0}],
)  # fmt: skip
def test_every_option_of_training_learns(change: dict[str, object]) -> None:
    train, validation = linear_pairs(1500, 0), linear_pairs(200, 1)
    best = 1 - 0.5**2 / validation.target.var()
    trained = train_expert(train, validation, replace(SMALL, max_steps=600, **change))
    assert trained.validation.r2_expectation > best - 0.1


def test_cosine_rate_falls_to_zero() -> None:
    train, validation = linear_pairs(300, 0), linear_pairs(50, 1)
    config = replace(SMALL, max_steps=200, validate_every=200, ema_decay=0.0, weight_decay=0.0)
    outputs = {}
    for steps in (199, 200):  # the last step of a cosine run moves by 6e-5 of the rate
        run = replace(config, rate="cosine", max_steps=200, validate_every=steps, patience=1)
        outputs[steps] = train_expert(train, validation, run).denoiser.state_dict()
    difference = outputs[200]["output.weight"] - outputs[199]["output.weight"]
    # Half precision, in which weights are kept, rounds by up to 1e-4 of them.
    assert difference.abs().max() < 1e-2 * config.learning_rate


@pytest.mark.parametrize(("prediction", "factor"), [("x0", 1), ("epsilon", 4), ("v", 5)])
def test_min_snr_makes_every_prediction_count_alike(prediction: str, factor: float) -> None:
    # At SNR 4 an error d in x0 is an error 2d in epsilon (times SNR) and, squared, 5 d^2 in v.
    level = torch.tensor([[0.8]])
    x0, noise = torch.tensor([[0.3]]), torch.tensor([[-0.7]])
    x = level.sqrt() * x0 + (1 - level).sqrt() * noise
    moved = x0 + 0.1
    implied = (x - level.sqrt() * moved) / (1 - level).sqrt()
    error = training_target(prediction, moved, implied, level) - training_target(
        prediction, x0, noise, level
    )
    assert float(error**2) == pytest.approx(factor * 0.01, rel=1e-4)
    assert float(error**2 * min_snr_weight(prediction, level, 3.0)) == pytest.approx(3 * 0.01)
