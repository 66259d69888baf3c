from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from codenoise.core.ensemble.ensemble import Ensemble
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.core.evaluation.baselines import ridge
from codenoise.core.evaluation.reconstruction import ENSEMBLE, reconstruction, results_table


class Unchecked(Ensemble):
    """An ensemble of exact experts, which live in no real space."""

    def __post_init__(self) -> None:
        pass


def gaussian_world(patients: int, seed: int) -> dict[str, pd.DataFrame]:
    """Latents with ``x | a ~ N(0.8 a, 0.36 I)``; ``b`` knows nothing of ``x`` and half lack it."""
    rng = np.random.default_rng(seed)
    ids = [f"p{i}" for i in range(patients)]
    a = rng.normal(size=(patients, 3))
    x = 0.8 * a + 0.6 * rng.normal(size=(patients, 3))
    b = rng.normal(size=(patients // 2, 3))
    return {
        "a": pd.DataFrame(a.astype(np.float32), index=ids),
        "b": pd.DataFrame(b.astype(np.float32), index=ids[: patients // 2]),
        "x": pd.DataFrame(x.astype(np.float32), index=ids),
    }


@pytest.fixture
def results(gaussian_expert: Callable[..., Expert]) -> pd.DataFrame:
    experts = (
        gaussian_expert(0.8 * np.eye(3), 0.36 * np.eye(3), "a", mse=0.72),
        gaussian_expert(np.zeros((3, 3)), np.eye(3), "b", mse=2.0),
    )
    ensemble = Unchecked({}, experts, EngineSettings(steps=30))
    train, test = gaussian_world(1000, 0), gaussian_world(400, 1)
    return results_table(reconstruction(ensemble, train, test, draws=25))


def row(results: pd.DataFrame, method: str, scope: str, conditions: str) -> pd.Series:
    chosen = results[
        (results.method == method) & (results.scope == scope) & (results.conditions == conditions)
    ]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_exact_expert_reaches_the_r2_that_is_there(results: pd.DataFrame) -> None:
    exact = row(results, "a-to-x@1", "own", "a")
    assert exact.patients == 400
    # Of a unit variance, 0.64 is explained; one calibrated draw errs twice the remaining 0.36.
    assert exact.r2_expectation == pytest.approx(0.64, abs=0.03)
    assert exact.r2_draw == pytest.approx(1 - 2 * 0.36, abs=0.04)
    assert exact.r2_mean == pytest.approx(1 - 0.36 * (1 + 1 / 25), abs=0.03)
    assert exact.coverage == pytest.approx(0.9, abs=0.03)
    assert exact.variance_ratio == pytest.approx(0.36, abs=0.03)


def test_ridge_agrees_with_the_exact_expert(results: pd.DataFrame) -> None:
    assert row(results, "ridge", "own", "a").r2_mean == pytest.approx(0.64, abs=0.03)
    assert row(results, "ridge", "shared", "a+b").r2_mean == pytest.approx(0.64, abs=0.05)
    assert row(results, "ridge", "shared", "b").r2_mean == pytest.approx(0, abs=0.03)


def test_shared_scope_has_the_same_patients_for_all_and_own_scope_each_methods(
    results: pd.DataFrame,
) -> None:
    assert set(results[results.scope == "shared"].patients) == {200}
    assert row(results, ENSEMBLE, "own", "a+b").patients == 400
    assert row(results, "b-to-x@1", "own", "b").patients == 200


def test_a_know_nothing_expert_scores_nothing(results: pd.DataFrame) -> None:
    assert row(results, "b-to-x@1", "shared", "b").r2_expectation == pytest.approx(0, abs=0.02)
    ensemble = row(results, ENSEMBLE, "shared", "a+b")
    single = row(results, "a-to-x@1", "shared", "a")
    assert 0.3 < ensemble.r2_expectation < single.r2_expectation
    assert ensemble.energy_score > single.energy_score


def test_ridge_with_much_data_is_least_squares() -> None:
    rng = np.random.default_rng(0)
    condition = rng.normal(size=(5000, 4)).astype(np.float32)
    target = (condition @ rng.normal(size=(4, 2)) + 0.1 * rng.normal(size=(5000, 2))).astype(
        np.float32
    )
    wanted = LinearRegression().fit(condition, target).predict(condition[:50])
    np.testing.assert_allclose(ridge(condition, target, condition[:50]), wanted, atol=1e-3)


def test_ensemble_refuses_experts_of_other_spaces(gaussian_expert: Callable[..., Expert]) -> None:
    from codenoise.core.errors import EnsembleError

    expert = gaussian_expert(np.eye(3), np.eye(3), "a")
    with pytest.raises(EnsembleError, match="a-to-x@1 needs a space of a"):
        Ensemble({}, (expert,))
