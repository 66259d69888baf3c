from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from codenoise.evaluation.baselines.tables import TABLE_BASELINES, Side, bootstrapped, fitted

Float32 = NDArray[np.float32]
GAIN = np.array([[1.0, 0.0, 0.5], [0.0, -1.0, 0.5]], dtype=np.float32)
OFFSETS = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]], dtype=np.float32)
NOISE = 0.3


def side(patients: int, seed: int, *, gaps: bool = False) -> tuple[Side, Float32]:
    """Targets linear in two features, one of them two higher in the second type; and their mean."""
    rng = np.random.default_rng(seed)
    condition = rng.standard_normal((patients, 2), dtype=np.float32)
    of = rng.integers(2, size=patients)
    mean = condition @ GAIN + OFFSETS[of]
    target = mean + NOISE * rng.standard_normal(mean.shape, dtype=np.float32)
    if gaps:
        target[::3, 2] = np.nan
    kind = np.eye(2, dtype=np.float32)[of]
    return Side(condition, kind, target), mean


@pytest.fixture(scope="module")
def train() -> Side:
    return side(400, 0, gaps=True)[0]


@pytest.fixture(scope="module")
def validation() -> Side:
    return side(100, 1)[0]


def error(guess: Float32, mean: Float32) -> float:
    return float(np.sqrt(np.mean((guess - mean) ** 2)))


@pytest.mark.parametrize(
    ("name", "most"),
    [("training mean", 1.2), ("type mean", 0.95), ("ridge", 0.65), ("ridge with type", 0.1),
     ("kernel ridge", 0.15), ("PLS", 0.4), ("k nearest", 0.7), ("forest", 0.5)],
)  # fmt: skip
def test_each_baseline_comes_as_close_to_the_expectation_as_it_can(
    train: Side, validation: Side, name: str, most: float
) -> None:
    test, mean = side(200, 2)
    guess = fitted(name, train, validation, 0)(test)
    assert guess.shape == mean.shape
    assert error(guess, mean) < most


def test_every_baseline_is_tried() -> None:
    marks = test_each_baseline_comes_as_close_to_the_expectation_as_it_can.pytestmark  # type: ignore[attr-defined]
    assert [name for name, _ in marks[0].args[1]] == list(TABLE_BASELINES)


@pytest.mark.parametrize("name", TABLE_BASELINES)
def test_no_baseline_looks_at_the_target_it_predicts(
    train: Side, validation: Side, name: str
) -> None:
    test, _ = side(20, 2)
    blind = Side(test.condition, test.kind, np.full_like(test.target, np.nan))
    predict = fitted(name, train, validation, 0)
    np.testing.assert_array_equal(predict(test), predict(blind))


def test_ridge_learns_a_feature_with_gaps_from_those_who_have_it(
    train: Side, validation: Side
) -> None:
    test, _ = side(50, 2)
    guess = fitted("ridge", train, validation, 0)(test)
    has = ~np.isnan(train.target[:, 2])
    grid = np.geomspace(10, 30_000, 8)
    own = [
        Ridge(alpha=a).fit(train.condition[has], train.target[has, 2]).predict(test.condition)
        for a in grid
    ]
    assert min(float(np.abs(one - guess[:, 2]).max()) for one in own) < 1e-4


def test_a_patient_of_an_unknown_type_gets_the_overall_mean(train: Side, validation: Side) -> None:
    stranger = Side(
        np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32), np.full((1, 3), np.nan)
    )
    guess = fitted("type mean", train, validation, 0)(stranger)
    np.testing.assert_allclose(guess[0], np.nanmean(train.target, axis=0), rtol=1e-5)


def test_bootstrapped_draws_are_predictions_with_whole_residuals_of_others() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.standard_normal((4, 3)).astype(np.float32)
    residuals = rng.standard_normal((6, 3)).astype(np.float32)
    residuals[2, 1] = np.nan
    draws = bootstrapped(predicted, residuals, 50, rng)
    assert draws.shape == (4, 50, 3)
    rows = draws - predicted[:, None]
    for row in rows.reshape(-1, 3):
        near = np.nanmax(np.abs(residuals - row), axis=1)
        assert near.min() < 1e-5
    known = residuals[~np.isnan(residuals[:, 1]), 1]
    assert np.abs(rows[..., 1].reshape(-1, 1) - known).min(axis=1).max() < 1e-5
    assert np.isnan(residuals[2, 1])
