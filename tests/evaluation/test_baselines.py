from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.impute import KNNImputer

from codenoise.core.base.errors import DataError
from codenoise.core.base.metrics import r2_pooled
from codenoise.evaluation.baselines import BASELINES, Query

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
DIM = 3
NOISE = 0.5
TURNS = {"a": np.eye(DIM), "b": np.diag([1.0, -1.0, 0.0]), "x": np.roll(np.eye(DIM), 1, axis=1)}
"""Each modality is the patient's hidden factors, turned, and noise; ``b`` misses one of them."""
PATTERNS = [("x", ("a",)), ("x", ("a", "b")), ("a", ("x",))]


def world(patients: int, seed: int) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(patients, DIM))
    ids = [f"s{seed}p{i:04d}" for i in range(patients)]
    return {
        name: pd.DataFrame(
            factors @ turn + NOISE * rng.normal(size=(patients, DIM)), index=ids, dtype=np.float32
        )
        for name, turn in TURNS.items()
    }


def optimum(query: Query) -> Float64:
    """Expectation of the target given the conditions, from the covariance that is known."""
    seen = np.hstack([TURNS[name] for name in query.conditions])
    covariance = seen.T @ seen + NOISE**2 * np.eye(seen.shape[1])
    values = np.hstack([query.test[name].loc[list(query.patients)] for name in query.conditions])
    return values @ np.linalg.solve(covariance, seen.T @ TURNS[query.target])


def ask(held: dict[str, pd.DataFrame], target: str, conditions: Sequence[str]) -> Query:
    return Query(target, conditions, {name: held[name] for name in conditions}, held[target].index)


@pytest.fixture(scope="module")
def train() -> dict[str, pd.DataFrame]:
    """Four of five patients have a modality, two of five have all."""
    return {
        name: table[np.arange(len(table)) % 5 != place]
        for place, (name, table) in enumerate(world(900, 0).items())
    }


@pytest.fixture(scope="module")
def held() -> dict[str, pd.DataFrame]:
    return world(300, 1)


@pytest.fixture(scope="module")
def queries(held: dict[str, pd.DataFrame]) -> list[Query]:
    return [ask(held, target, conditions) for target, conditions in PATTERNS]


@pytest.fixture(scope="module")
def answers(train: dict[str, pd.DataFrame], queries: list[Query]) -> dict[str, list[Float32]]:
    return {name: baseline(train, queries, 0) for name, baseline in BASELINES.items()}


def shortfall(
    answers: list[Float32], queries: list[Query], held: dict[str, pd.DataFrame]
) -> list[float]:
    """By how much the R2 of each answer is below that of the known expectation."""
    return [
        r2_pooled(held[query.target].to_numpy(), optimum(query).astype(np.float32))
        - r2_pooled(held[query.target].to_numpy(), answer)
        for query, answer in zip(queries, answers, strict=True)
    ]


@pytest.mark.parametrize("name", BASELINES)
def test_every_query_is_answered_in_single_precision(
    answers: dict[str, list[Float32]], queries: list[Query], name: str
) -> None:
    assert [answer.shape for answer in answers[name]] == [(300, DIM)] * len(queries)
    assert {answer.dtype for answer in answers[name]} == {np.dtype(np.float32)}
    assert all(np.isfinite(answer).all() for answer in answers[name])


def test_mean_is_of_all_training_patients_with_the_target(
    answers: dict[str, list[Float32]], train: dict[str, pd.DataFrame]
) -> None:
    wanted = np.tile(train["x"].to_numpy(np.float64).mean(axis=0), (300, 1))
    np.testing.assert_allclose(answers["mean"][1], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("ridge", 0.01), ("mlp", 0.06), ("missforest", 0.15), ("softimpute", 0.15), ("knn", 0.25)],
)
def test_methods_come_this_close_to_the_known_expectation(
    answers: dict[str, list[Float32]],
    queries: list[Query],
    held: dict[str, pd.DataFrame],
    name: str,
    allowed: float,
) -> None:
    assert max(shortfall(answers[name], queries, held)) < allowed
    # The mean falls short by all that the expectation explains, so each is well above the mean.
    assert min(shortfall(answers["mean"], queries, held)) > 0.5


@pytest.mark.parametrize("name", BASELINES)
def test_neither_the_order_of_queries_nor_that_of_patients_matters(
    answers: dict[str, list[Float32]],
    train: dict[str, pd.DataFrame],
    queries: list[Query],
    name: str,
) -> None:
    turned = [replace(query, patients=query.patients[::-1]) for query in reversed(queries)]
    shuffled = {key: train[key].sample(frac=1, random_state=0) for key in reversed(train)}
    for got, wanted in zip(
        reversed(BASELINES[name](shuffled, turned, 0)), answers[name], strict=True
    ):
        np.testing.assert_allclose(got[::-1], wanted, atol=1e-4)


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_query_asked_alone_gets_the_same_answer_to_the_bit(
    answers: dict[str, list[Float32]],
    train: dict[str, pd.DataFrame],
    queries: list[Query],
    name: str,
) -> None:
    [alone] = BASELINES[name](train, queries[2:], 0)
    np.testing.assert_array_equal(alone, answers[name][2])


def test_another_seed_starts_another_network(
    answers: dict[str, list[Float32]], train: dict[str, pd.DataFrame], queries: list[Query]
) -> None:
    assert not np.array_equal(BASELINES["mlp"](train, queries[:1], 1)[0], answers["mlp"][0])


def test_knn_is_one_imputer_fitted_to_all_modalities(
    answers: dict[str, list[Float32]],
    train: dict[str, pd.DataFrame],
    held: dict[str, pd.DataFrame],
) -> None:
    table = pd.concat([train["x"], train["a"], train["b"]], axis=1).to_numpy()
    row = np.full((300, 3 * DIM), np.nan, dtype=np.float32)
    row[:, DIM : 2 * DIM] = held["a"]
    by_count = [
        KNNImputer(n_neighbors=count).fit(table).transform(row)[:, :DIM]
        for count in (5, 10, 20, 50, 100)
    ]
    assert sum(np.allclose(answers["knn"][0], wanted, atol=1e-5) for wanted in by_count) == 1


def test_softimpute_shrinks_a_rank_one_table_as_the_closed_form_says() -> None:
    # Two equal columns: with k = 1 - penalty / singular value, a missing entry beside the value a
    # settles where m = k (a + m) / 2. A penalty of .05 of the largest singular value wins, that of
    # a table whose hidden tenth keeps half its rows' values: .05 * sqrt(1.85 / 2) of the whole's.
    values = np.random.default_rng(0).choice([-1.0, 1.0], size=(2000, 1)).astype(np.float32)
    train = {
        name: pd.DataFrame(values, index=[f"p{i}" for i in range(2000)]) for name in ("a", "x")
    }
    test = pd.DataFrame([[1.0], [-2.0]], index=["q0", "q1"], dtype=np.float32)
    [answer] = BASELINES["softimpute"](train, [Query("x", ["a"], {"a": test}, ["q1", "q0"])], 0)
    k = 1 - 0.05 * np.sqrt(1.85 / 2)
    np.testing.assert_allclose(answer.ravel(), k / (2 - k) * np.array([-2.0, 1.0]), atol=0.01)


@pytest.mark.parametrize("name", BASELINES)
def test_modalities_may_have_one_dimension(
    train: dict[str, pd.DataFrame], held: dict[str, pd.DataFrame], name: str
) -> None:
    narrow = {"a": train["a"][[1]], "x": train["x"][[2]]}
    query = Query("x", ["a"], {"a": held["a"][[1]]}, ["s1p0007", "s1p0003"])
    assert [answer.shape for answer in BASELINES[name](narrow, [query], 0)] == [(2, 1)]


def test_no_queries_need_no_fit(train: dict[str, pd.DataFrame]) -> None:
    assert {name: baseline(train, [], 0) for name, baseline in BASELINES.items()} == {
        name: [] for name in BASELINES
    }


@pytest.mark.parametrize("shown", [("a", "x"), ("b",), ()], ids="+".join)
def test_a_query_shows_its_conditions_and_nothing_else(
    held: dict[str, pd.DataFrame], shown: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as raised:
        Query("x", ["a"], {name: held[name] for name in shown}, list(held["x"].index))
    assert str(raised.value) == (
        f"query a -> x: test holds {list(shown)}; expected one table for each condition, at least "
        f"one, and none of the target"
    )


def test_a_query_cannot_ask_for_its_own_condition(held: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(DataError, match=r"^query a -> a: test holds"):
        ask(held, "a", ["a"])


def test_patients_without_a_condition_are_named(held: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(DataError) as raised:
        Query("x", ["a"], {"a": held["a"]}, ["s1p0000", "nobody"])
    assert str(raised.value) == (
        "query a -> x: 1 of 2 patients have no a: 'nobody'; ask only for patients with every "
        "condition"
    )


def test_a_query_without_patients_is_refused(held: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(DataError, match=r"^query a -> x names no patients; leave it out$"):
        Query("x", ["a"], {"a": held["a"]}, [])


def test_latents_that_are_no_numbers_are_named(held: dict[str, pd.DataFrame]) -> None:
    broken = held["a"].copy()
    broken.iloc[2, 1] = np.nan
    with pytest.raises(DataError) as raised:
        Query("x", ["a"], {"a": broken}, ["s1p0000"])
    assert str(raised.value) == (
        "query a -> x, test table a: latents of 1 patient(s) are not finite: 's1p0002'; leave "
        "patients out who lack the modality"
    )


@pytest.mark.parametrize("name", BASELINES)
def test_a_training_table_that_holds_the_answer_is_refused(
    train: dict[str, pd.DataFrame], held: dict[str, pd.DataFrame], name: str
) -> None:
    leaking = {**train, "x": pd.concat([train["x"], held["x"].iloc[:2]])}
    with pytest.raises(DataError) as raised:
        BASELINES[name](leaking, [ask(held, "x", ["a"])], 0)
    assert str(raised.value) == (
        "query a -> x: the training data hold the answer for 2 of 300 patients: 's1p0000', "
        "'s1p0001'; take them out of one of the two"
    )


def test_training_tables_are_checked(
    train: dict[str, pd.DataFrame], held: dict[str, pd.DataFrame]
) -> None:
    twice = pd.concat([train["a"], train["a"].iloc[:1]])
    other = {"b": train["b"], "x": train["x"]}
    query, ridge = ask(held, "x", ["a"]), BASELINES["ridge"]
    for broken, message in [
        ({**other, "a": twice}, "training table a has 1 patient(s) more than once: 's0p0001'"),
        ({**other, "a": train["a"][:0]}, "training table a has no patients; leave it out"),
        (
            {**other, "a": train["a"].astype({1: str})},
            "training table a: 1 column(s) hold no numbers: '1'; expected latents, as a space "
            "encodes them",
        ),
        (other, "query a -> x: there is no training table of 'a'; there are 'b', 'x'"),
        (
            {**other, "a": train["a"][[0, 1]]},
            "query a -> x: the 3 columns of a are not the 2 of its training table; encode both in "
            "the same space",
        ),
    ]:
        with pytest.raises(DataError) as raised:
            ridge(broken, [query], 0)
        assert str(raised.value) == message


@pytest.mark.parametrize("name", ["ridge", "mlp", "knn"])
def test_too_few_whole_patients_are_counted(
    train: dict[str, pd.DataFrame], held: dict[str, pd.DataFrame], name: str
) -> None:
    shared = train["x"].index.intersection(train["a"].index)
    few = {**train, "a": train["a"].loc[shared[:19]]}
    with pytest.raises(DataError) as raised:
        BASELINES[name](few, [ask(held, "x", ["a"])], 0)
    assert str(raised.value) == (
        "query a -> x: 19 training patients have all of these modalities; at least 20 are needed"
    )


def test_softimpute_needs_modalities_that_meet(held: dict[str, pd.DataFrame]) -> None:
    apart = {"a": world(50, 2)["a"], "x": world(50, 3)["x"]}
    with pytest.raises(DataError, match="no training patient has two modalities to learn from"):
        BASELINES["softimpute"](apart, [ask(held, "x", ["a"])], 0)


def test_a_missing_library_is_named(
    train: dict[str, pd.DataFrame], queries: list[Query], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imputation_methods", None)
    with pytest.raises(DataError) as raised:
        BASELINES["softimpute"](train, queries, 0)
    assert str(raised.value) == (
        "the baseline softimpute needs the package imputation_methods; install it with: "
        "pip install 'codenoise[baselines]'"
    )
