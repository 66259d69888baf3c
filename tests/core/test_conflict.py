from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from codenoise.core.base.errors import DataError, EnsembleError
from codenoise.core.ensemble.conflict import ranked_conflicts as conflicts
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert

Build = Callable[..., Expert]
Latents = dict[str, pd.DataFrame]
DIM = 16
LOADINGS = {"a": 0.95, "b": 0.9, "c": 0.8}  # what each modality shows of the common factor


class Unchecked(LoadedEnsemble):
    """Exact experts, which live in no real space."""

    def __post_init__(self) -> None:
        pass


def world(patients: int, seed: int = 0) -> Latents:
    """Unit variances; modalities i and j have the correlation of their loadings' product."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(patients, DIM))
    ids = [f"p{i:04d}" for i in range(patients)]
    return {
        name: pd.DataFrame(
            load * common + (1 - load**2) ** 0.5 * rng.normal(size=common.shape),
            index=ids,
            dtype=np.float32,
        )
        for name, load in LOADINGS.items()
    }


@pytest.fixture
def ensemble(gaussian_expert: Build) -> LoadedEnsemble:
    """The exact expert of each ordered pair."""
    experts = []
    for one, other in permutations(LOADINGS, 2):
        gain = LOADINGS[one] * LOADINGS[other] * np.eye(DIM)
        made = gaussian_expert(gain, np.eye(DIM) - gain @ gain, one)
        experts.append(replace(made, name=f"{one}-to-{other}@1", target=other))
    return Unchecked({}, tuple(experts))


def swapped(latents: Latents, name: str, pairs: list[tuple[str, str]]) -> Latents:
    table = latents[name].copy()
    for one, other in pairs:
        table.loc[[one, other]] = latents[name].loc[[other, one]].to_numpy()
    return latents | {name: table}


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("seed", range(3))
def test_swapped_patients_come_first_and_their_modality_is_named(
    ensemble: LoadedEnsemble, name: str, seed: int
) -> None:
    latents, two = world(400, seed), ["p0003", "p0150"]
    before = conflicts(ensemble, latents).set_index("patient").loc[two]
    found = conflicts(ensemble, swapped(latents, name, [("p0003", "p0150")]))
    assert found.p.is_monotonic_increasing
    assert set(two) <= set(found.patient.head(6))
    after = found.set_index("patient").loc[two]
    assert set(after.suspect) == {name}
    assert all(name in pair.split(" -> ") for pair in after.worst_pair)
    assert (after.score > before.score + 0.2).all()
    assert (after.p < 0.01).all() and (before.p > after.p).all()


def test_score_is_the_mean_cosine_distance_of_the_known_expectations(
    ensemble: LoadedEnsemble,
) -> None:
    latents = world(60)
    found = conflicts(ensemble, latents).set_index("patient").loc[latents["a"].index]
    distances = []
    for one, other in permutations(LOADINGS, 2):
        first, second = latents[one] - latents[one].mean(), latents[other] - latents[other].mean()
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        distances.append(1 - (first * second).sum(axis=1) / lengths)  # a gain turns no direction
    np.testing.assert_allclose(found.score, np.mean(distances, axis=0), atol=2e-3)
    assert (found.pairs == 6).all() and (found.reason == "").all()


@pytest.mark.parametrize("seed", range(3))
def test_nothing_depends_on_the_order_of_patients_or_tables(
    ensemble: LoadedEnsemble, seed: int
) -> None:
    latents = world(150)
    latents["b"] = latents["b"].iloc[:90]
    rng = np.random.default_rng(seed)
    turned = {
        str(name): latents[str(name)].iloc[rng.permutation(len(latents[str(name)]))]
        for name in rng.permutation(list(latents))
    }
    shuffled = replace(ensemble, experts=ensemble.experts[::-1])
    pd.testing.assert_frame_equal(
        conflicts(shuffled, turned), conflicts(ensemble, latents), check_exact=True
    )


@pytest.mark.parametrize("seed", range(4))
def test_chances_are_uniform_without_conflicts_whatever_patients_have(
    ensemble: LoadedEnsemble, seed: int
) -> None:
    """A fifth has two modalities of each kind; the chance must not show who has how many."""
    latents, ids = world(1000, seed), np.array([f"p{i:04d}" for i in range(1000)])
    groups = np.arange(1000) % 5
    for group, name in enumerate(LOADINGS):
        latents[name] = latents[name].loc[ids[groups != group]]
    found = conflicts(ensemble, latents)
    assert set(found.pairs) == {2, 6}
    for _, part in found.groupby("pairs"):
        assert kstest(part.p, "uniform").pvalue > 0.01
    assert (found.p < 0.05).mean() == pytest.approx(0.05, abs=0.02)


def test_of_one_pair_the_chance_is_the_rank(ensemble: LoadedEnsemble) -> None:
    latents = world(40)
    some = replace(ensemble, experts=ensemble.experts[:1])
    found = conflicts(some, {name: latents[name] for name in "ab"})
    assert set(found.worst_pair) == {"a -> b"}
    assert set(found.suspect) == {"a or b"}
    np.testing.assert_allclose(found.p, (np.arange(40) + 0.5) / 40, atol=0.006)
    assert found.score.is_monotonic_decreasing


def test_who_cannot_be_compared_comes_last_with_the_reason(ensemble: LoadedEnsemble) -> None:
    latents = world(60)
    ids = list(latents["a"].index)
    latents = {
        "a": latents["a"],
        "b": latents["b"].loc[ids[10:]],
        "c": latents["c"].loc[[*ids[:9], *ids[20:30]]],
        "d": latents["b"].loc[ids[9:10]],
    }
    found = conflicts(ensemble, latents, ["nobody", *ids])
    assert len(found) == 61
    assert found.p.iloc[:50].notna().all()
    rest = found.iloc[50:].set_index("patient")
    assert list(rest.index) == ["nobody", *ids[:10]]
    assert rest[["score", "p"]].isna().all(axis=None)
    assert (rest.pairs == 0).all() and (rest[["suspect", "worst_pair"]] == "").all(axis=None)
    assert rest.reason["nobody"] == "has no value"
    assert set(rest.reason[ids[:9]]) == {"19 patients have a and c; 20 are needed"}
    assert rest.reason[ids[9]] == "no pair expert between a, d"
    alone = conflicts(ensemble, latents | {"d": latents["d"].set_axis(["other"])})
    reasons = alone.set_index("patient").reason
    assert (reasons["other"], reasons[ids[9]]) == ("has only d", "has only a")


def test_too_few_for_any_pair_gives_reasons_and_no_score(ensemble: LoadedEnsemble) -> None:
    found = conflicts(ensemble, {name: table.iloc[:19] for name, table in world(60).items()})
    assert len(found) == 19
    assert found[["score", "p"]].isna().all(axis=None)
    assert found.pairs.dtype.kind == "i"
    assert found.reason.unique().tolist() == [
        "19 patients have a and b, 19 patients have a and c, 19 patients have b and c; "
        "20 are needed"
    ]


def test_the_better_of_two_experts_counts(ensemble: LoadedEnsemble, gaussian_expert: Build) -> None:
    latents = world(80)
    wrong = gaussian_expert(-0.5 * np.eye(DIM), np.eye(DIM), "a")
    worse = replace(wrong, name="z@1", target="b", validation_r2=-1.0)
    more = replace(ensemble, experts=(*ensemble.experts, worse))
    pd.testing.assert_frame_equal(conflicts(more, latents), conflicts(ensemble, latents))
    better = replace(more, experts=(*ensemble.experts, replace(worse, validation_r2=1.0)))
    assert conflicts(better, latents).score.mean() > conflicts(ensemble, latents).score.mean()


def test_a_cohort_or_ensemble_without_pairs_is_refused(ensemble: LoadedEnsemble) -> None:
    latents = world(30)
    with pytest.raises(DataError, match="the cohort has a; conflicts are between modalities"):
        conflicts(ensemble, {"a": latents["a"]})
    with pytest.raises(DataError, match="has no modality"):
        conflicts(ensemble, {})
    masked = replace(ensemble, experts=tuple(replace(e, masked=True) for e in ensemble.experts))
    with pytest.raises(EnsembleError, match="no pair expert between a, b, c; compose it with one"):
        conflicts(masked, latents)
