from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import r2_score

import codenoise
from codenoise.core.base.errors import DataError
from codenoise.core.base.metrics import energy_score
from codenoise.evaluation.baselines.tables import TABLE_BASELINES
from codenoise.evaluation.experiments.features import EXPERIMENT, QUICK
from codenoise.evaluation.study import COHERENT, MULTI, PUBLISHED, SINGLE, Study
from codenoise.evaluation.table_measures import distribution, measures

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "tcga"


def pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    real = (3 + rng.normal(size=(30, 4)) * [1, 2, 3, 4]).astype(np.float32)
    guess = (real + rng.normal(size=real.shape)).astype(np.float32)
    return real, guess, np.array(["A"] * 12 + ["B"] * 18, dtype=object)


def test_measures_are_those_of_libraries_where_everything_is_known() -> None:
    real, guess, kinds = pair()
    found = measures(real, guess, kinds)
    each = r2_score(real, guess, multioutput="raw_values")
    assert found["r2_feature"] == pytest.approx(each.mean(), abs=1e-6)
    weights = ((real - real.mean(axis=0)) ** 2).sum(axis=0)
    assert found["r2_pooled"] == pytest.approx(np.average(each, weights=weights), abs=1e-4)
    assert found["spearman_feature"] == pytest.approx(
        np.median([spearmanr(a, b).statistic for a, b in zip(real.T, guess.T, strict=True)])
    )
    assert found["spearman_patient"] == pytest.approx(
        np.median([spearmanr(a, b).statistic for a, b in zip(real, guess, strict=True)])
    )


def test_telling_types_apart_counts_for_nothing_within_them() -> None:
    real, _, kinds = pair()
    real[kinds == "B"] += 100
    means = pd.DataFrame(real).groupby(kinds).transform("mean").to_numpy(np.float32)
    found = measures(real, means, kinds)
    assert found["r2_pooled"] > 0.9
    assert found["r2_within"] == pytest.approx(0, abs=1e-4)


def test_what_is_not_known_counts_for_nothing() -> None:
    real, guess, kinds = pair()
    holes = real.copy()
    holes[::3, 1] = np.nan
    found, wild = measures(holes, guess, kinds), guess.copy()
    wild[::3, 1] = 1e6
    assert measures(holes, wild, kinds) == found
    column = ~np.isnan(holes[:, 1])
    alone = measures(holes[column][:, [1]], guess[column][:, [1]], kinds[column])
    assert alone["r2_feature"] == pytest.approx(r2_score(real[column, 1], guess[column, 1]))
    draws = np.random.default_rng(1).normal(guess[:, None], 1, (30, 20, 4)).astype(np.float32)
    wilder = draws.copy()
    wilder[::3, :, 1] = 1e6
    assert distribution(holes, wilder)[0] == pytest.approx(distribution(holes, draws)[0])


def test_draws_are_judged_by_scores_and_intervals() -> None:
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(2000, 3))
    real = (mean + rng.normal(size=mean.shape)).astype(np.float32)
    draws = (mean[:, None] + rng.normal(size=(2000, 20, 3))).astype(np.float32)
    found, inside = distribution(real, draws)
    assert found["coverage"] == pytest.approx(0.9, abs=0.01)
    assert found["coverage"] == pytest.approx(inside.mean())
    assert found["energy"] == pytest.approx(energy_score(real, draws).mean(), rel=1e-5)
    assert found["crps"] == pytest.approx(1 / np.sqrt(np.pi), rel=0.02)  # of a right N(0, 1)
    narrow, _ = distribution(real, (mean[:, None] + (draws - mean[:, None]) / 3).astype(np.float32))
    assert narrow["crps"] > found["crps"]
    assert narrow["coverage"] < 0.6
    assert narrow["width"] == pytest.approx(found["width"] / 3, rel=1e-3)


@pytest.fixture(scope="module")
def study(example_ensemble: codenoise.Ensemble) -> Study:
    """Proteins and copy number of the example's patients, all known: most to learn from."""
    ensemble = example_ensemble
    names = ["cna", "rppa"]
    known, held = (
        codenoise.read_cohort(EXAMPLE / part, names, features=ensemble.features)
        for part in ("cohort", "truth")
    )
    whole = {n: pd.concat([known.measured(n), held.measured(n)]) for n in names}
    tables = {n: replace(known.tables[n], frame=f[~f.index.duplicated()], text=None)
              for n, f in whole.items()}  # fmt: skip
    patients = sorted(set(tables["cna"].frame.index) & set(tables["rppa"].frame.index))
    part = ["train"] * 30 + ["validation"] * 8 + ["test"] * (len(patients) - 38)
    clinical = pd.DataFrame({"cancer_type": ["A", "B"] * 32}, index=[*patients, *range(64)][:64])
    return Study.of(
        replace(ensemble, experts=tuple(e for e in ensemble.experts if e.target in names)),
        codenoise.Cohort(tables), pd.Series(part, index=patients), "the example",
        clinical=clinical, modalities=names, runs=1, quick=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def rows(study: Study) -> pd.DataFrame:
    found = [row for part in EXPERIMENT.parts(study) for row in part.measure()]
    return pd.DataFrame([json.loads(json.dumps(row)) for row in found])


def test_every_method_is_measured_on_the_same_patients(study: Study, rows: pd.DataFrame) -> None:
    assert {(t, c) for t, c in zip(rows["target"], rows["conditions"], strict=True)} == {
        ("cna", "rppa"), ("rppa", "cna"),
    }  # fmt: skip
    patients = len(study.complete("test"))
    for _, own in rows.groupby("target"):
        assert set(own["method"]) == {COHERENT, PUBLISHED, SINGLE, MULTI, *QUICK}
        assert set(own["patients"]) == {patients}
        assert set(own["trained"]) == {30}
    assert rows[["r2_pooled", "crps", "energy", "coverage", "width"]].notna().all(axis=None)
    mean = rows[rows["method"] == "training mean"].set_index("target")["r2_pooled"]
    assert (mean < 0.01).all()


def test_the_completed_value_is_the_decoded_mean_that_users_get(
    study: Study, rows: pd.DataFrame
) -> None:
    patients = study.complete("test")
    given = study.parts["test"].subset(patients)
    cohort = codenoise.Cohort({"cna": given.tables["cna"]})
    made = study.ensemble.impute(cohort, draws=20, targets=["rppa"]).completed["rppa"].frame
    space = study.ensemble.spaces["rppa"]
    real, guess = (
        space.standardised(f.loc[patients, list(space.features)].to_numpy(np.float32))
        for f in (given.tables["rppa"].frame, made)
    )
    own = measures(real, guess, np.full(len(patients), "A", dtype=object))
    row = rows[(rows["method"] == COHERENT) & (rows["target"] == "rppa")].iloc[0]
    assert row["r2_pooled"] == pytest.approx(own["r2_pooled"], abs=1e-4)
    assert row["spearman_patient"] == pytest.approx(own["spearman_patient"], abs=1e-3)


def test_the_section_names_the_best_regression_and_counts_where_it_is_beaten(
    rows: pd.DataFrame,
) -> None:
    section = EXPERIMENT.section(rows)
    best = rows[rows["method"].isin(TABLE_BASELINES)].groupby("target")["r2_pooled"].max()
    for target, r2 in best.items():
        assert f"{target} " in section.verdict
        assert f"{r2:.3f})" in section.verdict
    own = rows[rows["method"] == COHERENT].set_index("target")["r2_pooled"]
    ahead = int((own > best).sum())
    assert (
        f"Of 2 sets of conditions, completed values are above the best regression in {ahead}"
        in (section.verdict)
    )
    assert section.tables[0].frame.shape[0] == 2 * 8
    assert section.figures[0].draw().axes
    assert any("Gaussian noise" in note for note in section.notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ("cna",)}, "generated from those of a second one"),
        ({"clinical": pd.DataFrame()}, "no cancer_type"),
        ({"parts": "no test"}, "no target has 20 training patients"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    study: Study, changes: dict[str, object], message: str
) -> None:
    if "parts" in changes:
        changes = {"parts": {**study.parts, "test": codenoise.Cohort({})}}
    with pytest.raises(DataError, match=message):
        EXPERIMENT.parts(replace(study, **changes))  # type: ignore[arg-type]
