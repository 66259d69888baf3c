from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score

from codenoise.core.base.errors import DataError
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.evaluation.experiments.conflict import (
    COSINE,
    CROSS,
    DIRECT,
    DISTANCE,
    MAHALANOBIS,
    OF_EXPECTATIONS,
    OF_TRAJECTORIES,
    RULE,
    auc,
    expectation,
    expectation_scores,
)
from codenoise.evaluation.experiments.following import follow
from codenoise.evaluation.experiments.rejection import EXPERIMENT, ensembles, partners
from codenoise.evaluation.experiments.rejection_reading import OTHER, SAME, section
from codenoise.evaluation.study import COHERENT, PUBLISHED, Study

Build = Callable[..., Expert]
DIM, SHARED, NAMES = 4, 0.7, ("a", "b", "x")
PATIENTS = {"train": 300, "validation": 120, "test": 90}


def world(patients: int, seed: int, shared: float = SHARED) -> dict[str, pd.DataFrame]:
    """Unit variances; any two modalities have the correlation ``shared`` in each dimension."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(patients, DIM))
    ids = [f"p{seed}-{i:03d}" for i in range(patients)]
    return {
        name: pd.DataFrame(
            shared**0.5 * common + (1 - shared) ** 0.5 * rng.normal(size=common.shape),
            index=ids,
            dtype=np.float32,
        )
        for name in NAMES
    }


def bank(build: Build) -> tuple[Expert, ...]:
    """The exact expert of each ordered pair."""
    gain, residual = SHARED * np.eye(DIM), (1 - SHARED**2) * np.eye(DIM)
    return tuple(
        replace(build(gain, residual, a), name=f"{a}-to-{b}@1", target=b)
        for a, b in permutations(NAMES, 2)
    )


@pytest.fixture(scope="module")
def study_of(latent_ensemble: Callable[..., LoadedEnsemble]) -> Callable[..., Study]:
    """Studies of given experts."""

    def build(experts: tuple[Expert, ...], shared: float = SHARED) -> Study:
        parts: Any = {
            part: world(count, seed, shared) for seed, (part, count) in enumerate(PATIENTS.items())
        }
        ids = list(parts["test"]["a"].index)
        kinds = np.random.default_rng(0).choice(["one", "two"], size=len(ids))
        ensemble = latent_ensemble(experts, EngineSettings(steps=12, threshold=0.6))
        clinical = pd.DataFrame({"cancer_type": kinds}, index=ids)
        return Study(ensemble, parts, clinical, runs=1, modalities=NAMES)

    return build


@pytest.fixture(scope="module")
def study(gaussian_expert: Build, study_of: Callable[..., Study]) -> Study:
    return study_of(bank(gaussian_expert))


def measured(study: Study, count: int = 1) -> pd.DataFrame:
    """Rows of the first parts as they come back from disk."""
    rows = [row for part in EXPERIMENT.parts(study)[:count] for row in part.measure()]
    return pd.DataFrame(json.loads(json.dumps(rows)))


@pytest.fixture(scope="module")
def frame(study: Study) -> pd.DataFrame:
    """Rows of two targets' parts, measured once: exact tests of three take ten times as long."""
    return measured(study, 2)


@pytest.fixture(scope="module")
def first(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the first part."""
    return frame[frame.target == NAMES[0]]


@pytest.mark.parametrize(("sampler", "steps"), [("dpm-solver++", 12), ("ddpm", 20), ("heun", 8)])
def test_followed_trajectories_are_those_of_the_engine(
    study: Study, sampler: str, steps: int
) -> None:
    settings = EngineSettings(sampler=sampler, steps=steps, max_retries=0, threshold=0.5)
    model = replace(study.ensemble, settings=settings)
    shown = {name: study.latents["train"][name] for name in "ab"}
    patients = list(shown["a"].index)[::-1]
    drawn = model.generate("x", shown, patients, draws=1, seed=5, keep_trace=True)
    seen = follow(model, "x", shown, patients, 5)
    assert drawn.trace is not None
    np.testing.assert_array_equal(seen.distances, drawn.trace[:, 0])
    over = (seen.distances > 0.5) @ seen.shares
    np.testing.assert_allclose(over, drawn.incoherent_fraction[:, 0], atol=1e-6)
    # Where hardly any noise is left, the clean estimate is the latent.
    near = seen.clean[-1].mean(axis=0)
    np.testing.assert_allclose(near, drawn.draws[:, 0], atol=0.1)


def test_expectation_is_the_mean_that_the_condition_implies(study: Study) -> None:
    expert = study.ensemble.experts_for("x")[0]
    table = study.latents["train"]["a"]
    np.testing.assert_allclose(expectation(expert, table), SHARED * table, atol=2e-3)


scores = st.lists(st.integers(-5, 5), min_size=4, max_size=30)


@given(scores, st.randoms(use_true_random=False))
def test_auc_is_that_of_scikit_learn_and_turns_with_its_arguments(
    values: list[int], random: Any
) -> None:
    first = np.array(values, dtype=np.float64)
    second = np.array(random.sample(values, len(values))) - random.randint(0, 3)
    found, low, high = auc(first, second, 0)
    labels = [1] * len(first) + [0] * len(second)
    assert found == pytest.approx(roc_auc_score(labels, [*first, *second]))
    assert auc(second, first, 0)[0] == pytest.approx(1 - found)
    assert 0 <= low <= high <= 1


def test_auc_interval_covers_as_often_as_it_says() -> None:
    """Of paired normal scores one standard deviation apart, the area is known."""
    true, held = 0.7602, []  # Phi(1 / sqrt(2))
    for seed in range(200):
        rng = np.random.default_rng(seed)
        own = rng.normal(size=60)
        _, low, high = auc(1 + rng.normal(size=60), own, seed)
        held.append(low <= true <= high)
    assert 0.9 <= np.mean(held) <= 0.99


def swapped(latents: dict[str, pd.DataFrame], name: str) -> dict[str, pd.DataFrame]:
    turned = np.roll(latents[name].to_numpy(), 1, axis=0)
    return latents | {name: pd.DataFrame(turned, index=latents[name].index)}


def _truth(latents: dict[str, pd.DataFrame]) -> Any:
    """Log-likelihood of a and b as unrelated, less that as one patient's."""
    values = np.hstack([latents["a"], latents["b"]])
    block = np.array([[1, SHARED], [SHARED, 1]])
    joint = multivariate_normal(np.zeros(2 * DIM), np.kron(block, np.eye(DIM)))
    alone = multivariate_normal(np.zeros(2 * DIM), np.eye(2 * DIM))
    return alone.logpdf(values) - joint.logpdf(values)


def test_evidence_without_experts_is_the_likelihood_ratio_of_the_truth(study: Study) -> None:
    score = expectation_scores(
        study.ensemble.experts, "x", ["a", "b"], study.latents["train"], study.latents["validation"]
    )
    latents = dict(world(2000, 7))
    found = score(latents, list(latents["a"].index))[DIRECT]
    assert np.corrcoef(found, _truth(latents))[0, 1] > 0.95
    assert found.mean() == pytest.approx(_truth(latents).mean(), abs=0.3)


def test_statistics_of_expectations_find_swapped_conditions(study: Study) -> None:
    score = expectation_scores(
        study.ensemble.experts, "x", ["a", "b"], study.latents["train"], study.latents["validation"]
    )
    latents = dict(study.latents["test"])
    ids = list(latents["a"].index)
    own, other = score(latents, ids), score(swapped(latents, "b"), ids)
    areas = {name: auc(other[name], own[name], 0)[0] for name in own}
    assert set(areas) == set(OF_EXPECTATIONS)
    # Exact experts of one kind carry all that the conditions do about whether they fit.
    oracle = auc(_truth(swapped(latents, "b")), _truth(latents), 0)[0]
    assert areas[DIRECT] == pytest.approx(oracle, abs=0.03)
    assert areas[CROSS] > 0.8
    assert areas[CROSS] == pytest.approx(areas[COSINE], abs=0.02)  # both point along a and b here
    assert areas[MAHALANOBIS] > 0.8
    np.testing.assert_allclose(own[CROSS], own[COSINE], atol=0.1)
    centred = [latents[n] - study.latents["validation"][n].mean() for n in "ab"]
    dots = (centred[0] * centred[1]).sum(axis=1)
    lengths = np.linalg.norm(centred[0], axis=1) * np.linalg.norm(centred[1], axis=1)
    np.testing.assert_allclose(own[CROSS], 1 - dots / lengths, atol=1e-2)


def test_partners_are_somebody_else_of_the_right_type(study: Study) -> None:
    patients = study.complete("test")
    types = study.clinical["cancer_type"].copy()
    types[patients[3]] = None
    types[patients[4]] = "alone"
    known = replace(study, clinical=types.to_frame())
    found = dict(partners(known, patients, np.random.default_rng(0)))
    assert set(found) == {OTHER, SAME}
    own = types.loc[patients].to_numpy()
    for i in range(len(patients)):
        if i == 3:
            assert found[OTHER][i] == found[SAME][i] == -1
            continue
        assert own[found[OTHER][i]] not in (own[i], None)
        if i == 4:
            assert found[SAME][i] == -1
        else:
            assert own[found[SAME][i]] == own[i] and found[SAME][i] != i


def test_rates_are_those_of_the_engine_that_rejects_by_them(
    study: Study, first: pd.DataFrame
) -> None:
    rates = first[first.measure == "rate"]
    assert set(rates.method) == {PUBLISHED, COHERENT}
    assert rates.conditions.unique().tolist() == ["b+x"]  # a single expert has nothing to disagree
    test = study.latents["test"]
    patients = study.complete("test")
    seen = 0
    for method, model in ensembles(study).items():
        for threshold, fraction in ((0.7, 0.01), (0.85, 0.05), (1.0, 0.05)):
            settings = replace(
                model.settings, threshold=threshold, max_incoherent_fraction=fraction, max_retries=0
            )
            flagged = replace(model, settings=settings).generate(
                "a", {n: test[n] for n in "bx"}, patients, draws=1, seed=0
            ).flagged  # fmt: skip
            row = rates[
                (rates.method == method)
                & (rates.threshold == threshold)
                & (rates.fraction == fraction)
            ]
            assert row.rate.item() == pytest.approx(flagged.mean())
            seen += int(0 < flagged.mean() < 1)
    assert seen  # not all of them trivial


def test_rates_fall_with_threshold_and_fraction(first: pd.DataFrame) -> None:
    rates = first.query("measure == 'rate'")
    for method in (PUBLISHED, COHERENT):
        grid = rates[rates.method == method].pivot_table(
            index="threshold", columns="fraction", values="rate"
        )
        assert (np.diff(grid, axis=0) <= 0).all()
        assert (np.diff(grid, axis=1) <= 0).all()


def test_conflict_is_found_where_modalities_are_related_and_only_there(
    gaussian_expert: Build, study_of: Callable[..., Study], first: pd.DataFrame
) -> None:
    unrelated = measured(study_of(bank(gaussian_expert), 0.0))
    for frame, low, high in ((first, 0.8, 1.0), (unrelated, 0.4, 0.6)):
        cross = frame[frame.statistic == CROSS]
        assert len(cross) == 4  # either condition, either kind of partner
        assert cross.auc.between(low, high).all()
        assert (cross.low <= cross.auc).all() and (cross.auc <= cross.high).all()
        alarms = frame[frame.statistic == DIRECT].flagged_coherent
        assert alarms.between(0, 0.15).all()


def test_what_cannot_be_scored_says_why(
    gaussian_expert: Build, study_of: Callable[..., Study]
) -> None:
    experts = tuple(e for e in bank(gaussian_expert) if e.target == "a")
    frame = measured(study_of(experts))
    cross = frame[frame.statistic == CROSS]
    assert cross.auc.isna().all()
    assert set(cross.reason) == {f"no two experts for {CROSS}"}
    assert frame[frame.statistic == COSINE].auc.notna().all()
    few = study_of(experts)
    some = {n: t.iloc[:5] for n, t in few.parts["validation"].items()}  # type: ignore[attr-defined]
    frame = measured(replace(few, parts={**few.parts, "validation": some}))
    power = frame[frame.measure == "power"]
    assert power.auc.isna().all()
    assert power.reason.unique().tolist() == [
        "5 validation patients have all of b, x; 20 are needed"
    ]
    frame = measured(replace(study_of(experts), clinical=pd.DataFrame()))
    power = frame[frame.measure == "power"]
    assert set(power.reason) == {"0 test patients have such a partner"}
    assert any("0 test patients" in note for note in section(frame).notes)


def test_a_study_without_two_conditions_or_patients_is_refused(study: Study) -> None:
    with pytest.raises(DataError, match="the study has a, b; give tables of three modalities"):
        EXPERIMENT.parts(replace(study, modalities=("a", "b")))
    one = {n: t.iloc[:1] for n, t in study.parts["test"].items()}  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="1 test patients have all of a, b, x"):
        EXPERIMENT.parts(replace(study, parts={**study.parts, "test": one}))


def test_parts_are_named_by_run_and_target(study: Study) -> None:
    keys = [part.key for part in EXPERIMENT.parts(replace(study, runs=2, seed=4))]
    assert keys == [f"run={run} target={name}" for run in (0, 1) for name in NAMES]


def test_section_reads_stored_rows_whatever_is_there(frame: pd.DataFrame) -> None:
    whole = section(frame)
    usable = frame[(frame.method != COHERENT) & ~frame.statistic.isin([RULE, DIRECT])]
    best = usable.groupby("statistic").auc.mean().idxmax()
    assert f"{best} is the best detector" in whole.verdict
    assert len(whole.claims) == 4 and len(whole.tables) == 4
    at = frame.query(
        f"measure == 'rate' and method == '{PUBLISHED}' and threshold == 1 and fraction == 0.05"
    )
    assert f"{100 * at.rate.mean():.1f}% of trajectories" in whole.verdict
    for figure in whole.figures:
        assert len(figure.draw().axes) == 2
    for part in (
        frame[frame.method == PUBLISHED],
        frame[frame.method == COHERENT],
        frame[frame.measure == "rate"],
        frame[frame.measure == "power"].drop(columns=["rate", "threshold", "fraction"]),
        frame[frame.statistic == CROSS],
        frame.assign(auc=np.nan, rate=np.nan),
        frame.iloc[:0],
    ):
        some = section(part)
        assert some.verdict
        for figure in some.figures:
            figure.draw()


def test_verdict_turns_with_the_rows(frame: pd.DataFrame) -> None:
    rule = frame.statistic == RULE
    blind = section(frame.assign(auc=frame.auc.mask(rule, 0.5)))
    sharp = section(frame.assign(auc=frame.auc.mask(rule, 0.9 + 0.001 * frame.index)))
    assert "no better than chance" in blind.verdict
    assert [c.agrees for c in blind.claims if c.paper] == [False]
    assert ": better than chance" in sharp.verdict
    assert [c.agrees for c in sharp.claims if c.paper] == [True]


def test_every_statistic_of_a_trajectory_is_measured_for_both_consensuses(
    first: pd.DataFrame,
) -> None:
    power = first[(first.measure == "power") & first.auc.notna()]
    for method in (PUBLISHED, COHERENT):
        assert set(power[power.method == method].statistic) == set(OF_TRAJECTORIES)
    assert power[power.statistic == DISTANCE].auc.mean() > 0.5
