from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from codenoise.core.base.errors import DataError
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.core.prioritisation import outcomes
from codenoise.evaluation.experiments import prioritisation
from codenoise.evaluation.experiments.acquisition import (
    FRACTIONS,
    Acquisition,
    acquired,
    area,
    curves,
    macro_f1,
    random_orders,
    resampled_areas,
)
from codenoise.evaluation.experiments.prioritisation import EXPERIMENT, parts, patterns
from codenoise.evaluation.study import COHERENT, PUBLISHED, Study

section = EXPERIMENT.section


@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 30))
def test_macro_f1_of_every_set_is_that_of_scikit_learn(seed: int, classes: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    truth, completed, real = rng.integers(classes, size=(3, n))
    sets = rng.random((4, n)) < 0.5
    found = macro_f1(truth, completed, real)(sets)
    for value, chosen in zip(found, sets, strict=True):
        predicted = np.where(chosen, real, completed)
        known = f1_score(
            truth, predicted, labels=np.unique(truth), average="macro", zero_division=0
        )
        assert value == pytest.approx(known)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 40))
def test_concordance_of_every_set_is_that_of_other_libraries(seed: int, n: int) -> None:
    sksurv = pytest.importorskip("sksurv.metrics")
    lifelines = pytest.importorskip("lifelines.utils")
    rng = np.random.default_rng(seed)
    y = np.zeros(n, outcomes.SURVIVAL)
    y["time"], y["event"] = rng.integers(1, 12, n), rng.random(n) < 0.6  # with ties
    y["event"][np.argmin(y["time"])] = True
    if np.ptp(y["time"]) == 0:
        return
    completed, real = rng.integers(0, 6, (2, n)).astype(float)
    sets = rng.random((4, n)) < 0.5
    found = Acquisition(y, completed, real, np.zeros(n)).judge()(sets)
    for value, chosen in zip(found, sets, strict=True):
        risk = np.where(chosen, real, completed)
        known = sksurv.concordance_index_censored(y["event"], y["time"], risk)[0]
        assert value == pytest.approx(known, abs=1e-6)
        assert value == pytest.approx(
            lifelines.concordance_index(y["time"], -risk, y["event"]), abs=1e-6
        )


def test_concordance_without_a_comparable_pair_is_none() -> None:
    y = np.zeros(3, outcomes.SURVIVAL)
    found = Acquisition(y, np.arange(3.0), np.arange(3.0), np.zeros(3)).judge()
    assert np.isnan(found(np.zeros((1, 3), dtype=bool))).all()


@given(st.integers(1, 57), st.integers(0, 100))
def test_patients_are_acquired_in_order_and_never_given_back(n: int, seed: int) -> None:
    order = random_orders(n, 3, seed)
    masks = acquired(order)
    assert masks.shape == (3, len(FRACTIONS), n)
    assert not masks[:, 0].any()
    assert masks[:, -1].all()
    assert (masks[:, 1:] >= masks[:, :-1]).all()
    for own, mask in zip(order, masks, strict=True):
        for fraction, there in zip(FRACTIONS, mask, strict=True):
            assert set(np.flatnonzero(there)) == set(own[: int(np.round(fraction * n))])


def errors_known(n: int = 200, seed: int = 0) -> tuple[NDArray, NDArray]:
    """True labels, and generated ones that are wrong in every fifth patient."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=n)
    return truth, np.where(np.arange(n) % 5 == 0, (truth + 1) % 3, truth)


@pytest.mark.parametrize(("sign", "helps"), [(1, True), (-1, False)])
def test_a_score_that_finds_the_wrong_predictions_gains_area(sign: int, helps: bool) -> None:
    truth, completed = errors_known()
    score = sign * (truth != completed).astype(float)
    known = Acquisition(truth, completed, truth, score)
    informed, random = curves(known, random_orders(200, 20, 0))
    assert informed[0] == pytest.approx(random[0])
    assert informed[0] < 0.9
    assert informed[-1] == pytest.approx(1)
    assert random[-1] == pytest.approx(1)
    assert (area(informed, random) > 0.05) == helps
    low, high = np.quantile(resampled_areas([known, known], 50, 5, 0), [0.025, 0.975])
    assert low < area(informed, random) < high
    assert (low > 0, high < 0) == (helps, not helps)


def test_a_score_without_meaning_gains_nothing_on_average() -> None:
    truth, completed = errors_known(400)
    areas = [
        area(*curves(Acquisition(truth, completed, truth, scores), random_orders(400, 20, 1)))
        for scores in np.random.default_rng(0).random((40, 400))
    ]
    assert abs(np.mean(areas)) < 3 * np.std(areas) / np.sqrt(len(areas))


def test_where_real_values_change_nothing_every_area_is_zero() -> None:
    truth, completed = errors_known()
    known = Acquisition(truth, completed, completed, np.arange(200.0))
    np.testing.assert_allclose(resampled_areas([known], 10, 5, 0), 0, atol=1e-12)


def made_study(
    gaussian_expert: Callable[..., Expert], latent_ensemble: Callable[..., LoadedEnsemble]
) -> Study:
    """Modality ``x`` follows ``a`` where its first factor is large; the stage is the sign of x."""
    rng = np.random.default_rng(0)
    latents = {}
    clinical = []
    for part, count in (("train", 300), ("validation", 30), ("test", 90)):
        ids = [f"{part}{i:03d}" for i in range(count)]
        a = rng.normal(size=(count, 2)).astype(np.float32)
        x = (0.8 * a + 0.6 * rng.normal(size=(count, 2))).astype(np.float32)
        latents[part] = {"a": pd.DataFrame(a, ids), "x": pd.DataFrame(x, ids)}
        clinical.append(
            pd.DataFrame(
                {
                    "stage": np.where(x[:, 0] > 0, 2.0, 1.0),
                    "os_days": (1000 * np.exp(-x[:, 0])).round(),
                    "os_event": (rng.random(count) < 0.7).astype(float),
                },
                ids,
            )
        )
    table = pd.concat(clinical)
    table.loc[["test000", "test001", "train000"], "stage"] = np.nan
    expert = gaussian_expert(0.8 * np.eye(2), 0.36 * np.eye(2), "a", mse=0.72)
    ensemble = latent_ensemble((expert,), EngineSettings(steps=20, mirrored=True))
    made = Study(ensemble, {}, table, runs=2, quick=True, modalities=("a", "x"))
    vars(made)["latents"] = latents
    return made


@pytest.fixture
def study(
    gaussian_expert: Callable[..., Expert], latent_ensemble: Callable[..., LoadedEnsemble]
) -> Study:
    """One of this test's own, to be changed."""
    return made_study(gaussian_expert, latent_ensemble)


@pytest.fixture(scope="module")
def few_trees() -> Iterator[None]:
    fit = outcomes.fit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            prioritisation.outcomes, "fit", lambda *of, **more: fit(*of, **more, trees=60)
        )
        yield


def measured(study: Study, *missing: str) -> pd.DataFrame:
    rows = [
        row for part in parts(study) if part.key.split()[0] in missing for row in part.measure()
    ]
    return pd.DataFrame(json.loads(json.dumps(rows)))


@pytest.fixture(scope="module")
def rows(
    gaussian_expert: Callable[..., Expert],
    latent_ensemble: Callable[..., LoadedEnsemble],
    few_trees: None,
) -> pd.DataFrame:
    """Measured once: the tests read them."""
    pytest.importorskip("sksurv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prioritisation, "patterns", lambda _: [("x",), ("a",)])
        return measured(made_study(gaussian_expert, latent_ensemble), "x", "a")


def test_curves_begin_at_generated_and_end_at_real_values(rows: pd.DataFrame) -> None:
    curve = rows[rows.kind == "curve"]
    assert set(curve.method) == {COHERENT, PUBLISHED}
    assert set(curve.filled) == {"mean of draws", "one draw"}
    names = ["task", "method", "filled", "run", "order"]
    assert (curve.groupby(names).size() == len(FRACTIONS)).all()
    ends = curve[curve.fraction.isin([0, 1])]
    spread = ends.groupby(["task", "method", "filled", "run", "fraction"])["value"].agg(np.ptp)
    assert (spread < 1e-9).all()
    areas = rows[(rows.kind == "area") & rows.value.notna()].set_index(names[:-1])
    for place, group in curve.groupby(names[:-1]):
        wide = group.pivot_table(index="fraction", columns="order", values="value")
        gain = np.trapezoid(wide.informed - wide.random, wide.index)
        assert areas.loc[place, "value"] == pytest.approx(gain)
        assert areas.loc[place, "real"] == pytest.approx(wide.informed.iloc[-1])


def test_patients_without_an_outcome_are_counted(rows: pd.DataFrame) -> None:
    stage, survival = (rows[rows.task == task] for task in ("stage", "survival"))
    assert set(stage.patients) == {88}
    assert set(stage.without_outcome) == {2}
    assert set(stage.trained.dropna()) == {299}
    assert set(survival.patients) == {90}
    assert any("2 more have no known outcome" in note for note in section(rows).notes)


def test_testing_the_least_certain_pays_where_generated_values_err(rows: pd.DataFrame) -> None:
    areas = rows[(rows.kind == "area") & (rows.filled == "one draw")]
    stage = areas[(areas.task == "stage") & (areas.method == COHERENT)]
    assert (stage.real > stage.completed + 0.1).all()
    assert (stage.association > 0.2).all()
    assert (stage.value > 0.01).all()
    spans = rows[(rows.kind == "interval") & (rows.task == "stage") & (rows.filled == "one draw")]
    assert (spans.low < spans.high).all()


def test_what_no_expert_can_generate_has_a_reason(rows: pd.DataFrame) -> None:
    none = rows[rows.missing == "a"]
    assert none.value.isna().all()
    assert none.reason.str.contains("no expert generates this from x").all()
    lost = "Not measured (a; stage, survival; coherent ensemble, coherent, as published): no expert"
    assert any(note.startswith(lost) for note in section(rows).notes)


def test_equal_seeds_give_equal_rows(study: Study, few_trees: None) -> None:
    stage = replace(study, clinical=study.clinical[["stage"]], quick=False, runs=1)
    found = []
    for _ in range(2):
        vars(stage)["latents"] = study.latents
        (part,) = (p for p in parts(stage) if p.key == "x missing, stage")
        found.append(json.dumps(part.measure()))
    assert found[0] == found[1]


def test_section_says_what_the_rows_say(rows: pd.DataFrame) -> None:
    read = section(rows)
    ahead = (rows[(rows.kind == "interval") & (rows.method == COHERENT)].low > 0).sum()
    assert f"ahead of random order in {ahead} of 4 settings" in read.verdict
    assert len(read.claims) == 1 + 2 * 2 + 1
    assert all(claim.test for claim in read.claims)
    assert [len(table.frame) for table in read.tables] == [2] * 4
    flipped = rows.copy()
    spans = flipped.kind == "interval"
    flipped.loc[spans, ["low", "high"]] = [-0.2, -0.1]
    contradicted = section(flipped)
    assert "behind in 4" in contradicted.verdict
    assert "0 agree, 4 do not" in contradicted.verdict
    assert [claim.agrees for claim in contradicted.claims[1:5]] == [False] * 4
    flipped.loc[spans, ["low", "high"]] = [0.1, 0.2]
    agreed = section(flipped)
    assert "ahead of random order in 4 of 4 settings" in agreed.verdict
    assert "4 agree, 0 do not" in agreed.verdict
    assert [claim.agrees for claim in agreed.claims[1:5]] == [True] * 4


@pytest.mark.parametrize(
    "kept",
    [
        lambda rows: rows[rows.method == PUBLISHED],
        lambda rows: rows[(rows.run == 0) | rows.run.isna()],
        lambda rows: rows[rows.task == "survival"],
        lambda rows: rows[rows.kind == "area"],
        lambda rows: rows[rows.reason.notna()],
        lambda rows: rows.drop(columns=["reason"]),
        lambda rows: rows.iloc[:0],
        lambda rows: rows.astype(object).where(rows.notna(), None),
    ],
)
def test_section_takes_any_part_of_the_rows(
    rows: pd.DataFrame, kept: Callable[[pd.DataFrame], pd.DataFrame], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    kept(rows).to_parquet(tmp_path / "rows.parquet")
    read = section(pd.read_parquet(tmp_path / "rows.parquet"))
    assert read.verdict
    for figure in read.figures:
        figure.draw().savefig(tmp_path / f"{figure.name}.png")


def test_each_modality_and_the_papers_sets_are_taken_away(study: Study) -> None:
    whole = replace(study, modalities=("rna", "rppa", "cna", "wsi"), quick=False)
    several = [("rna", "wsi"), ("rna", "rppa", "wsi")]
    assert patterns(whole) == [("rna",), ("rppa",), ("cna",), ("wsi",), *several]
    assert patterns(replace(whole, quick=True)) == [("rna",), several[1]]
    assert patterns(replace(whole, modalities=("rna", "wsi"))) == [("rna",), ("wsi",)]
    assert patterns(replace(whole, modalities=("rna",))) == []


def test_too_few_complete_patients_are_refused(study: Study) -> None:
    tables = study.latents["test"]
    tables["x"] = tables["x"].iloc[:19]
    with pytest.raises(DataError, match="300 such patients in training and 19 in test"):
        parts(study)


def test_a_clinical_table_without_outcomes_is_refused(study: Study) -> None:
    without = replace(study, clinical=study.clinical[["os_days"]])
    vars(without)["latents"] = study.latents
    with pytest.raises(DataError, match="no column 'stage'"):
        parts(without)


def test_outcomes_that_cannot_be_told_apart_have_a_reason(study: Study, few_trees: None) -> None:
    test = study.clinical.index.str.startswith("test")
    study.clinical.loc[test, "stage"] = 1.0
    study.clinical.loc[test, "os_event"] = 0.0
    for part in parts(study):
        (row,) = part.measure()
        assert "are all of one stage" in str(row["reason"]) or "died" in str(row["reason"])
        assert np.isnan(row["value"])
