"""Measures of a generated set against independent libraries, and attacks of known outcome."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from prdc import compute_prdc
from scipy.stats import energy_distance as energy_root
from sklearn.metrics import roc_auc_score

from codenoise.core.base.errors import DataError
from codenoise.core.base.metrics import energy_distance
from codenoise.evaluation.experiments.fidelity import (
    f1,
    membership,
    nearest_distance,
    precision_recall,
)

Array = NDArray[np.float64]


def sets(seed: int, shift: float = 0.5, n: int = 80, m: int = 80) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 4)), shift + 0.8 * rng.standard_normal((m, 4))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(0, 4), k=st.integers(1, 8))
def test_precision_and_recall_are_those_of_prdc(seed: int, shift: float, k: int) -> None:
    real, generated = sets(seed, shift, 60, 45)
    other = compute_prdc(real_features=real, fake_features=generated, nearest_k=k)
    assert precision_recall(real, generated, k) == pytest.approx(
        (other["precision"], other["recall"])
    )


def test_precision_falls_with_wild_points_and_recall_with_lost_ones() -> None:
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.standard_normal((100, 3)), 20 + rng.standard_normal((100, 3))])
    one_mode = rng.standard_normal((200, 3))
    precision, recall = precision_recall(real, one_mode)
    assert precision > 0.9
    assert recall == pytest.approx(0.5, abs=0.05)
    wild = np.concatenate([real[::2] + 0.01, 100 + real[::2]])
    assert precision_recall(real, wild)[0] == 0.5


def test_f1_is_the_harmonic_mean_and_zero_where_nothing_is_met() -> None:
    assert f1(0.5, 0.25) == pytest.approx(1 / 3)
    assert f1(0.0, 0.0) == 0
    assert f1(0.0, 1.0) == 0


def test_too_small_a_set_is_refused_with_its_size() -> None:
    with pytest.raises(DataError, match="more than 5 points, not 5"):
        precision_recall(np.zeros((5, 2)), np.zeros((9, 2)))


@pytest.mark.slow  # dcor compiles for a quarter of a minute
def test_energy_distance_is_that_of_dcor() -> None:
    import dcor

    real, generated = sets(3)
    assert energy_distance(real, generated) == pytest.approx(dcor.energy_distance(real, generated))


def test_energy_distance_in_one_dimension_is_that_of_scipy() -> None:
    line, other = (values[:, :1] for values in sets(3))
    # scipy gives the root of half the squared distance.
    assert energy_distance(line, other) == pytest.approx(
        energy_root(line.ravel(), other.ravel()) ** 2
    )


def test_a_copying_generator_gives_every_member_away() -> None:
    members, others = sets(1, shift=0.0)
    found = membership(nearest_distance(members, members), nearest_distance(others, members))
    assert found.auc == found.low == found.high == 1
    assert found.p < 1e-10


def test_an_independent_generator_gives_nobody_away() -> None:
    rng = np.random.default_rng(2)
    members, others, generated = (rng.standard_normal((300, 4)) for _ in range(3))
    found = membership(nearest_distance(members, generated), nearest_distance(others, generated))
    assert found.low < 0.5 < found.high
    assert found.p > 0.05


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), coarse=st.booleans())
def test_auc_is_that_of_scikit_learn_ties_included(seed: int, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    members, others = rng.exponential(1.0, 40), rng.exponential(1.3, 25)
    if coarse:
        members, others = members.round(), others.round()
    is_member = np.repeat([1, 0], [len(members), len(others)])
    found = membership(members, others)
    assert found.auc == pytest.approx(roc_auc_score(is_member, -np.concatenate([members, others])))
    assert found.low <= found.auc <= found.high


def test_interval_holds_the_true_auc_as_often_as_it_says() -> None:
    # Exponentials of rates 1 and 1/1.5: the first is smaller with probability 1.5 / 2.5.
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = membership(rng.exponential(1.0, 60), rng.exponential(1.5, 60), seed)
        inside += found.low <= 0.6 <= found.high
    assert 50 <= inside <= 60


def test_attack_without_distances_is_refused() -> None:
    with pytest.raises(DataError, match="2 patients in either group, not 1 and 3"):
        membership(np.zeros(1), np.zeros(3))
    with pytest.raises(DataError, match="some are missing"):
        membership(np.array([0.0, np.nan]), np.zeros(3))
