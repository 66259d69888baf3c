from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import RidgeCV

from codenoise.core.base.errors import DataError, EnsembleError
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.tables import Table
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.evaluation.study import (
    BASELINE,
    COHERENT,
    MULTI,
    PUBLISHED,
    SINGLE,
    Study,
    studied,
    subsets,
)


def world(patients: int, seed: int) -> dict[str, pd.DataFrame]:
    """``x`` follows ``a`` closely and ``b`` a little; the last patient lacks ``b``."""
    rng = np.random.default_rng(seed)
    ids = [f"{seed}-{i:03}" for i in range(patients)]
    a, b = rng.normal(size=(2, patients, 3)).astype(np.float32)
    x = 0.8 * a + 0.2 * b + 0.5 * rng.normal(size=(patients, 3)).astype(np.float32)
    tables = {"x": x, "a": a, "b": b[:-1]}
    return {m: pd.DataFrame(v, index=ids[: len(v)]) for m, v in tables.items()}


@pytest.fixture
def study(
    gaussian_expert: Callable[..., Expert],
    latent_ensemble: Callable[..., LoadedEnsemble],
    monkeypatch: pytest.MonkeyPatch,
) -> Study:
    monkeypatch.setattr("codenoise.evaluation.study.SIMPLE", ("mean", "ridge"))
    experts = (
        replace(gaussian_expert(0.2 * np.eye(3), 0.9 * np.eye(3), "b", mse=0.5), validation_r2=0.1),
        replace(gaussian_expert(0.8 * np.eye(3), 0.3 * np.eye(3), "a", mse=0.9), validation_r2=0.6),
    )
    settings = EngineSettings(steps=10, weighting="uniform", threshold=0.3)
    parts = {part: world(n, i) for i, (part, n) in enumerate(
        {"train": 200, "validation": 50, "test": 20}.items())}  # fmt: skip
    return Study(
        latent_ensemble(experts, settings), parts, pd.DataFrame(), runs=3, seed=7,
        modalities=("x", "a", "b"),
    )  # type: ignore[arg-type]  # fmt: skip


def test_complete_patients_have_all_of_the_modalities_asked_for(study: Study) -> None:
    assert len(study.complete("test")) == 19
    assert len(study.complete("test", ["x", "a"])) == 20
    assert study.complete("test", ["x", "methylation"]) == []
    assert study.seeds() == [7, 8, 9]


def test_methods_draw_from_their_own_experts(study: Study) -> None:
    patients = study.complete("test")
    shown = {m: study.latents["test"][m].loc[patients] for m in "ab"}
    found = {
        name: method.generate("x", shown, patients, 4, 0) for name, method in study.methods.items()
    }
    assert set(found) == {COHERENT, PUBLISHED, SINGLE, BASELINE}
    for name, draws in found.items():
        assert draws.shape == (19, 1 if name == BASELINE else 4, 3)
        assert study.methods[name].point == (name == BASELINE)
    # The one with the higher R2 in validation, though its validation error is the higher one.
    alone = study.drawing("a", replace(study.ensemble, experts=study.ensemble.experts[1:]))
    expected = alone.generate("x", {"a": shown["a"]}, patients, 4, 0)
    np.testing.assert_array_equal(found[SINGLE], expected)
    assert not np.array_equal(found[PUBLISHED], found[COHERENT])


def test_the_published_consensus_has_the_papers_settings(study: Study) -> None:
    settings = study.published.settings
    assert (settings.weighting, settings.composition) == ("inverse-mse", "mean")
    assert (settings.threshold, settings.max_incoherent_fraction) == (1.0, 0.05)
    assert study.published.calibration is None
    assert settings.steps == study.ensemble.settings.steps


def test_masked_experts_are_the_multi_condition_method(study: Study) -> None:
    multi = replace(study.ensemble.experts[0], masked=True)
    both = replace(
        study, ensemble=replace(study.ensemble, experts=(*study.ensemble.experts, multi))
    )
    assert MULTI in both.methods
    assert all(not expert.masked for expert in both.published.experts)


def test_the_baseline_is_the_best_on_validation_and_fitted_on_train(study: Study) -> None:
    patients = study.complete("test")
    test, train = study.latents["test"], study.latents["train"]
    shown = {m: test[m].loc[patients] for m in "ab"}
    found = study.methods[BASELINE].generate("x", shown, patients, 4, 0)[:, 0]
    both = study.complete("train")
    model = RidgeCV(alphas=np.logspace(-1, 4, 11))
    model.fit(np.hstack([train[m].loc[both] for m in "ab"]), train["x"].loc[both])
    np.testing.assert_allclose(found, model.predict(np.hstack([shown[m] for m in "ab"])), atol=1e-4)
    moved = {m: table + 1 for m, table in shown.items()}
    other = study.methods[BASELINE].generate("x", moved, patients, 4, 0)[:, 0]
    assert not np.allclose(found, other)  # answers are kept for equal values alone


def test_what_nobody_generates_is_not_served(study: Study) -> None:
    for method in study.methods.values():
        assert method.serves("x", ["a"])
        assert not method.serves("a", ["x"])
    with pytest.raises(EnsembleError, match="cannot generate a from x, b"):
        study.filled(study.methods[COHERENT], study.latents["test"], ["2-000"], ["a"])
    with pytest.raises(EnsembleError, match="from nothing"):
        study.filled(study.methods[COHERENT], study.latents["test"], ["2-000"], ["x", "a", "b"])


def test_filling_shows_only_what_is_left(study: Study) -> None:
    patients = study.complete("test")
    method = study.methods[COHERENT]
    latents = study.latents["test"]
    found = study.filled(method, latents, patients, ["x"], draws=2, seed=3)
    poisoned = {**latents, "x": latents["x"] * np.nan}
    again = study.filled(method, poisoned, patients, ["x"], draws=2, seed=3)
    assert list(found) == ["x"]
    np.testing.assert_array_equal(found["x"], again["x"])


def test_modalities_are_the_targets_and_of_one_target_its_conditions(study: Study) -> None:
    assert studied(study.ensemble) == ["x", "b", "a"]
    other = replace(study.ensemble.experts[0], target="y", target_space="other")
    assert studied(replace(study.ensemble, experts=(*study.ensemble.experts, other))) == ["x", "y"]


def test_a_modality_without_a_table_is_refused(study: Study) -> None:
    split = pd.Series({"p": "train", "q": "validation", "r": "test"})
    table = pd.DataFrame(np.zeros((3, 1)), index=list("pqr"), columns=["f"])
    cohort = Cohort({"x": Table(table)})
    with pytest.raises(DataError, match="mine have no table of 'a'; there are x"):
        Study.of(study.ensemble, cohort, split, "mine", modalities=["x", "a"])


def test_subsets_come_in_order_of_size() -> None:
    assert list(subsets("abc")) == [
        ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")
    ]  # fmt: skip
    assert ("a", "b", "c") not in list(subsets("abc", proper=True))
