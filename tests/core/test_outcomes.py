from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.prioritisation.outcomes import (
    SURVIVAL,
    agreement,
    concordance,
    features,
    fit,
    outcome,
    score,
)

CLINICAL = pd.DataFrame(
    {
        "cancer_type": ["A", "B", None, "A"],
        "stage": [1.0, np.nan, 3.0, 2.0],
        "os_days": [10.0, -1.0, 30.0, np.nan],
        "os_event": [1.0, 0.0, 0.0, 1.0],
    },
    index=["p1", "p2", "p3", "p4"],
)


def times(days: NDArray[np.float64], event: NDArray[np.bool_]) -> NDArray[np.void]:
    y = np.zeros(len(days), dtype=SURVIVAL)
    y["time"], y["event"] = days, event
    return y


def exponential(patients: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.void]]:
    """Survival whose hazard rises with the first of three features; a third are censored."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(patients, 3))
    death = rng.exponential(1000 * np.exp(-1.5 * x[:, 0]))
    left = rng.exponential(2000, patients)
    return x, times(np.minimum(death, left), death <= left)


def test_only_patients_of_known_outcome_are_kept_in_their_order() -> None:
    patients, types = outcome(CLINICAL, "cancer_type", ["p4", "p3", "absent", "p1", "p2"])
    assert patients == ["p4", "p1", "p2"]
    assert list(types) == ["A", "A", "B"]
    patients, stages = outcome(CLINICAL, "stage", list(CLINICAL.index))
    assert patients == ["p1", "p3", "p4"]
    assert list(stages) == ["1", "3", "2"]


def test_survival_needs_both_columns_and_no_negative_time() -> None:
    patients, y = outcome(CLINICAL, "survival", list(CLINICAL.index))
    assert patients == ["p1", "p3"]
    assert list(y["time"]) == [10, 30]
    assert list(y["event"]) == [True, False]


def test_a_missing_column_and_an_unknown_task_are_named() -> None:
    with pytest.raises(DataError, match="no column 'os_event', which survival needs"):
        outcome(CLINICAL.drop(columns="os_event"), "survival", ["p1"])
    with pytest.raises(DataError, match="no task 'grade'; choose one of cancer_type"):
        outcome(CLINICAL, "grade", ["p1"])
    with pytest.raises(DataError, match=r"os_event must be 1 .* but is '2.0'"):
        outcome(CLINICAL.assign(os_event=2.0), "survival", ["p1"])


def test_features_stand_side_by_side_and_absent_ones_are_nan() -> None:
    latents = {
        "a": pd.DataFrame([[1, 2]], index=["p1"], dtype=np.float32),
        "b": pd.DataFrame([[3], [4]], index=["p1", "p2"], dtype=np.float32),
    }
    np.testing.assert_array_equal(
        features(latents, ["p2", "p1"], ["b", "a"]), [[4, np.nan, np.nan], [3, 1, 2]]
    )
    completed = {"a": np.array([[7, 8], [9, 10]], dtype=np.float32)}
    np.testing.assert_array_equal(
        features(latents, ["p2", "p1"], ["a", "b"], completed), [[7, 8, 4], [9, 10, 3]]
    )


@given(st.integers(0, 10_000), st.integers(5, 40))
@settings(max_examples=40, deadline=None)
def test_concordance_is_that_of_lifelines_where_higher_risk_means_shorter_survival(
    seed: int, patients: int
) -> None:
    lifelines = pytest.importorskip("lifelines.utils")
    rng = np.random.default_rng(seed)
    risk = rng.integers(0, 10, patients).astype(np.float64)  # ties among them
    y = times(rng.permutation(patients) + 1.0, rng.random(patients) < 0.6)
    found = concordance(y, risk)
    if not found["pairs"]:
        assert np.isnan(found["c_index"])
        return
    # lifelines takes what grows with survival.
    wanted = lifelines.concordance_index(y["time"], -risk, y["event"])
    assert found["c_index"] == pytest.approx(wanted)
    # Any increasing transformation leaves it, and turning the risk round mirrors it.
    assert concordance(y, np.exp(risk))["c_index"] == pytest.approx(found["c_index"])
    assert concordance(y, -risk)["c_index"] == pytest.approx(1 - found["c_index"])


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_concordance_within_groups_is_the_mean_weighted_by_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.choice(["A", "B", "C"], 30)
    risk, y = rng.normal(size=30), times(rng.permutation(30) + 1.0, rng.random(30) < 0.7)
    own = [concordance(y[groups == name], risk[groups == name]) for name in np.unique(groups)]
    pairs = np.array([one["pairs"] for one in own])
    index = np.array([one["c_index"] for one in own])
    found = concordance(y, risk, groups)
    assert found["pairs"] == pairs.sum()
    known = pairs > 0
    assert found["c_index"] == pytest.approx(np.average(index[known], weights=pairs[known]))


def test_no_comparable_pair_gives_nan_and_the_reason() -> None:
    nobody_died = times(np.arange(4.0), np.zeros(4, dtype=bool))
    last_died = times(np.arange(4.0), np.arange(4) == 3)
    alone = times(np.arange(4.0), np.ones(4, dtype=bool))
    for y, groups in ((nobody_died, None), (last_died, None), (alone, list("ABCD"))):
        found = concordance(y, np.arange(4.0), groups)
        assert np.isnan(found["c_index"])
        assert "no comparable pair" in str(found["reason"])
    assert "0 deaths" in str(concordance(nobody_died, np.arange(4.0))["reason"])


def test_agreement_is_averaged_over_the_classes_that_occur() -> None:
    from sklearn.metrics import balanced_accuracy_score

    truth = np.array(["A", "A", "B", "B"])
    found = agreement(truth, np.array(["A", "C", "B", "A"]))
    # A: precision 1/2, recall 1/2. B: precision 1, recall 1/2. C never occurs.
    assert found["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(truth, ["A", "B", "B", "A"])
    )


def test_a_survival_forest_finds_the_risk_whatever_the_number_of_threads() -> None:
    pytest.importorskip("sksurv")
    x, y = exponential(200, 0)
    model = fit("survival", x, y, 0, trees=30, jobs=1)
    held, truth = exponential(200, 1)
    found = score("survival", model, held, truth)
    exact = concordance(truth, held[:, 0])["c_index"]
    assert 0.65 < float(str(found["c_index"])) <= float(str(exact)) + 0.02
    other = fit("survival", x, y, 0, trees=30, jobs=2)
    # The trees are the same; threads add their risks up in any order.
    np.testing.assert_allclose(model.predict(held), other.predict(held), rtol=1e-12)
    # Without the feature that matters nothing is left, and a missing value is no error.
    held[:, 0] = np.nan
    assert abs(float(str(score("survival", model, held, truth)["c_index"])) - 0.5) < 0.1


def test_a_forest_takes_numeric_labels_and_weighs_classes_equally() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    y = np.where(x[:, 0] + rng.normal(size=400) > 1.8, "2", "1")  # about one in ten
    held = rng.normal(size=(400, 2))
    model = fit("stage", x, y, 0, trees=60)
    assert set(model.classes_) == {"1", "2"}
    truth = np.where(held[:, 0] > 1.8, "2", "1")
    assert float(str(score("stage", model, held, truth)["macro_f1"])) > 0.6
    held[:, 1] = np.nan
    assert np.isfinite(float(str(score("stage", model, held, truth)["macro_f1"])))


def test_what_cannot_be_taught_is_refused_and_what_cannot_be_tested_is_nan() -> None:
    with pytest.raises(DataError, match="two classes of stage; 3 patients have one"):
        fit("stage", np.zeros((3, 1)), np.array(["1", "1", "1"]), 0)
    with pytest.raises(DataError, match="needs deaths; none of 3"):
        fit("survival", np.zeros((3, 1)), times(np.ones(3), np.zeros(3, dtype=bool)), 0)
    found = score("stage", None, np.zeros((0, 1)), np.array([]))
    assert np.isnan(float(str(found["macro_f1"])))
    assert found["reason"] == "no patient of known outcome"
