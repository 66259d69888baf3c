from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from codenoise.core.base.errors import DataError
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.evaluation.experiments import manifold
from codenoise.evaluation.experiments.manifold import EXPERIMENT, told_apart
from codenoise.evaluation.experiments.manifold_reading import (
    CHANCE,
    CONTROL,
    POINT,
    REAL,
    SCORE,
    WHOLE,
)
from codenoise.evaluation.study import BASELINE, COHERENT, MULTI, Method, Study

EXACT, FAR = COHERENT, MULTI


def latents(patients: int, seed: int) -> dict[str, pd.DataFrame]:
    """Two modalities of two dimensions that know nothing of each other, so any draw will do."""
    rng = np.random.default_rng(seed)
    ids = [f"{seed}-{i:03}" for i in range(patients)]
    return {
        m: pd.DataFrame(rng.normal(size=(patients, 2)).astype(np.float32), index=ids)
        for m in ("a", "x")
    }


def drawing(name: str, shift: float, *, point: bool = False) -> Method:
    """Draws from the true distribution, moved by ``shift``."""

    def generate(
        target: str, conditions: object, patients: Sequence[str], draws: int, seed: int
    ) -> np.ndarray:
        rng = np.random.default_rng([seed, ord(target), len(name)])
        shape = (len(patients), 1 if point else draws, 2)
        return (shift + rng.normal(size=shape)).astype(np.float32)

    return Method(name, generate, lambda target, _: name != "blind", point=point)


@pytest.fixture
def study(
    latent_ensemble: Callable[..., LoadedEnsemble], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Study]:
    """A study whose methods draw exactly, from elsewhere, one value each, and not at all."""
    methods = {
        EXACT: drawing(EXACT, 0.0),
        FAR: drawing(FAR, 4.0),
        BASELINE: drawing(BASELINE, 0.5, point=True),
        "blind": drawing("blind", 0.0),
    }
    monkeypatch.setattr(Study, "methods", methods)
    monkeypatch.setattr(manifold, "TREES", 20)
    parts = {"train": latents(60, 0), "validation": latents(10, 1), "test": latents(80, 2)}
    kinds = pd.DataFrame({"cancer_type": ["A", "B"] * 40}, index=parts["test"]["x"].index)

    def build(**changes: Any) -> Study:
        given = {"parts": parts, "clinical": kinds, "runs": 2, "modalities": ("x", "a")} | changes
        return Study(latent_ensemble(()), **given)

    return build


_SCORES: dict[tuple[int, bool], pd.DataFrame] = {}


def scores(study: Study) -> pd.DataFrame:
    """Rows of the scores, as they come back from where results are kept; measured once."""
    key = (study.runs, study.quick)
    if key not in _SCORES:
        parts = [part for part in EXPERIMENT.parts(study) if part.key != "map"]
        rows = [row for part in parts for row in part.measure()]
        _SCORES[key] = pd.DataFrame([json.loads(json.dumps(row)) for row in rows])
    return _SCORES[key]


def test_exact_draws_are_not_told_apart_and_far_ones_always_are(
    study: Callable[..., Study],
) -> None:
    rows = scores(study())
    mean = rows[(rows.kind == SCORE)].groupby(["method", "modality"]).auc.mean()
    assert 0.3 < mean[EXACT, WHOLE] < 0.7
    assert 0.3 < mean[CONTROL, WHOLE] < 0.7
    assert mean[FAR, WHOLE] > 0.99
    distance = rows.groupby(["method", "modality"]).energy_distance.mean()
    assert distance[EXACT, "x"] < 0.1 < 2 < distance[FAR, "x"]
    control = rows[(rows.method == CONTROL) & (rows.kind == SCORE)]
    assert set(control.patients) == {60}  # as many as there are training patients


def test_the_section_says_who_is_told_apart(study: Callable[..., Study]) -> None:
    pytest.importorskip("pingouin")
    rows = scores(study())
    section = EXPERIMENT.section(rows)
    assert "AUC of 0." in section.verdict
    assert any(MULTI in claim.text and "n = 80" in claim.test for claim in section.claims)
    assert "Not measured (blind): no expert generates x from a." in section.notes
    moved = rows.assign(method=rows.method.map({EXACT: FAR, FAR: EXACT}).fillna(rows.method))
    told = EXPERIMENT.section(moved).claims[0].text
    assert told.startswith("A forest tells whole patients of the coherent ensemble")


def test_section_reads_any_subset_of_the_rows(study: Callable[..., Study]) -> None:
    rows = scores(study())
    for made in (
        rows,
        rows[rows.method == EXACT],
        rows[rows.method == BASELINE],
        rows[rows.kind == CHANCE],
        rows[rows.method == "blind"],
        rows.iloc[:0],
    ):
        assert EXPERIMENT.section(made).verdict


def test_a_point_prediction_is_scored_once(study: Callable[..., Study]) -> None:
    rows = scores(study())
    assert set(rows[rows.method == BASELINE].run) == {0}
    assert set(rows[rows.method == EXACT].run) == {0, 1}


def test_folds_keep_both_sides_of_a_patient_together() -> None:
    # Each patient's generated side is its real one: a forest that had seen one side would know the
    # other's label, and say the opposite of it.
    rng = np.random.default_rng(0)
    real = rng.normal(size=(100, 3)).astype(np.float32)
    chances = told_apart(real, real, [f"p{i}" for i in range(100)])
    np.testing.assert_allclose(chances[0], chances[1])


def test_few_patients_are_refused(study: Callable[..., Study]) -> None:
    few = {"train": latents(60, 0), "validation": latents(10, 1), "test": latents(19, 2)}
    with pytest.raises(DataError, match="19 test patients of the split have all of x, a"):
        EXPERIMENT.parts(study(parts=few))
    with pytest.raises(DataError, match="a table of a second one"):
        EXPERIMENT.parts(study(modalities=("x",)))


def test_quick_study_takes_fewer_patients(study: Callable[..., Study]) -> None:
    rows = scores(study(quick=True, runs=1))
    assert rows.patients.max() == 60


def test_map_places_real_and_generated_patients(
    study: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    # A linear map in the place of UMAP, which takes half a minute to compile; see the slow test.
    monkeypatch.setattr(manifold, "_fitted_map", lambda _: lambda values: 2 * values[:, :2])
    chosen = study()
    (part,) = (part for part in EXPERIMENT.parts(chosen) if part.key == "map")
    rows = pd.DataFrame(part.measure())
    points = rows[rows.kind == POINT].dropna(subset=["x"])
    assert points.groupby(["method", "modality"]).size().to_dict() == {
        (method, modality): 80 for method in (REAL, EXACT, FAR) for modality in (WHOLE, "x", "a")
    }
    real = points[(points.method == REAL) & (points.modality == "a")]
    np.testing.assert_allclose(
        real[["x", "y"]].to_numpy(), 2 * chosen.latents["test"]["a"].to_numpy()
    )
    assert set(real.cancer_type) == {"A", "B"}
    section = EXPERIMENT.section(rows)
    assert [figure.name for figure in section.figures] == ["manifold", "manifold-types"]
    for figure in section.figures:
        path = tmp_path / f"{figure.name}.png"
        figure.draw().savefig(path)
        assert path.stat().st_size > 5000


@pytest.mark.slow
def test_umap_keeps_neighbourhoods_and_its_seed(study: Callable[..., Study]) -> None:
    pytest.importorskip("umap")
    (part,) = (part for part in EXPERIMENT.parts(study()) if part.key == "map")
    rows = pd.DataFrame(part.measure())
    middles = rows[rows.modality == WHOLE].groupby("method")[["x", "y"]].mean()
    near = np.linalg.norm(middles.loc[EXACT] - middles.loc[REAL])
    far = np.linalg.norm(middles.loc[FAR] - middles.loc[REAL])
    assert near < far / 2
    pd.testing.assert_frame_equal(rows, pd.DataFrame(part.measure()))
