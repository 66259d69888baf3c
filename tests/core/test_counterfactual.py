from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from codenoise.core.prioritisation import outcomes
from codenoise.core.prioritisation.counterfactual import (
    CHUNK,
    drawn_table,
    label_changes,
    predictions,
    variance_score,
    with_draws,
)

probabilities = arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.sampled_from([2, 4, 10]), st.integers(2, 4)),
    elements=st.floats(0.01, 1),
).map(lambda raw: raw / raw.sum(axis=2, keepdims=True))


@given(probabilities)
def test_variance_is_that_of_independent_draws_averaged_over_classes(p: NDArray) -> None:
    by_hand = [
        np.mean([np.var(p[i, :, k], ddof=1) for k in range(p.shape[2])]) for i in range(len(p))
    ]
    np.testing.assert_allclose(variance_score(p, mirrored=False), by_hand, atol=1e-12)


@given(probabilities, st.booleans(), st.integers(0, 1000))
def test_scores_do_not_depend_on_the_order_of_classes_or_patients(
    p: NDArray, mirrored: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    classes, patients = rng.permutation(p.shape[2]), rng.permutation(len(p))
    moved = p[patients][:, :, classes]
    expected = variance_score(p, mirrored=mirrored)
    assert expected.shape == (len(p),)
    assert (expected >= 0).all()
    np.testing.assert_allclose(
        variance_score(moved, mirrored=mirrored), expected[patients], atol=1e-12
    )


@given(probabilities, st.booleans())
def test_equal_draws_score_zero_and_wider_ones_the_square(p: NDArray, mirrored: bool) -> None:
    equal = np.repeat(p[:, :1], p.shape[1], axis=1)
    np.testing.assert_allclose(variance_score(equal, mirrored=mirrored), 0, atol=1e-15)
    assert (label_changes(equal) == 0).all()
    np.testing.assert_allclose(
        variance_score(3 * p, mirrored=mirrored),
        9 * variance_score(p, mirrored=mirrored),
        atol=1e-15,
    )


def test_mirrored_draws_give_the_variance_that_independent_ones_have() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(20_000, 5))
    x = np.stack([noise, -noise], axis=2).reshape(20_000, 10)
    risk = (x + 0.2 * x**2)[:, :, None]  # variance 1 + 2 * 0.04
    assert variance_score(risk, mirrored=True).mean() == pytest.approx(1.08, abs=0.01)
    # The pairs' opposite noise makes the plain variance too large: 1.08 less the mean's 0.016.
    assert variance_score(risk, mirrored=False).mean() > 1.15


@given(probabilities)
def test_label_changes_count_the_draws_that_leave_the_commonest_label(p: NDArray) -> None:
    for score, draws in zip(label_changes(p), p, strict=True):
        votes = Counter(draw.argmax() for draw in draws)
        assert score == pytest.approx(1 - votes.most_common(1)[0][1] / len(draws))
        assert 0 <= score < 1


def test_a_patient_without_draws_has_no_score() -> None:
    p = np.full((2, 4, 3), 1 / 3)
    p[1] = np.nan
    for scores in (variance_score(p, mirrored=True), label_changes(p)):
        assert np.isnan(scores).tolist() == [False, True]


def test_predictions_are_those_of_each_draw_by_itself() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.integers(3, size=60).astype(str)
    forest = RandomForestClassifier(10, random_state=0).fit(x, y)
    features = rng.normal(size=(CHUNK + 5, 2, 3))
    found = predictions(forest, features)
    assert found.shape == (CHUNK + 5, 2, 3)
    for draw in range(2):
        np.testing.assert_allclose(found[:, draw], forest.predict_proba(features[:, draw]))


def test_predictions_of_survival_are_risks() -> None:
    pytest.importorskip("sksurv")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 2))
    y = np.zeros(80, outcomes.SURVIVAL)
    y["event"], y["time"] = True, 1000 * np.exp(-x[:, 0])
    forest = outcomes.fit("survival", x, y, 0, trees=20)
    features = np.zeros((2, 3, 2))
    features[0, :, 0], features[1, :, 0] = -2, 2
    found = predictions(forest, features)
    assert found.shape == (2, 3, 1)
    assert (found[1] > found[0]).all()
    np.testing.assert_allclose(variance_score(found, mirrored=False), 0, atol=1e-12)


def test_draws_stand_only_where_nothing_was_measured() -> None:
    latents = {
        "a": pd.DataFrame([[1.0], [2.0]], index=["p", "q"]),
        "b": pd.DataFrame([[5.0, 6.0]], index=["q"]),
        "c": pd.DataFrame([[9.0]], index=["other"]),
    }
    draws = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    drawn = {"b": drawn_table(draws, ["q", "p"])}
    found = with_draws(latents, drawn, ["p", "q"], 3)
    assert found.shape == (2, 3, 4)
    np.testing.assert_array_equal(found[0, :, 1:3], draws[1])
    np.testing.assert_array_equal(found[1, :, 1:3], [[5, 6]] * 3)
    np.testing.assert_array_equal(found[:, :, 0], [[1] * 3, [2] * 3])
    assert np.isnan(found[:, :, 3]).all()
