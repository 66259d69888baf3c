"""Latent size on a cohort whose modalities share a few hidden directions."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.tables import Table
from codenoise.core.diffusion.config import TrainingConfig
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.spaces.fit import fit_space
from codenoise.core.spaces.space import Space
from codenoise.evaluation.experiment import Row
from codenoise.evaluation.experiments import dimension
from codenoise.evaluation.experiments.dimension import EXPERIMENT, Setting, truncated
from codenoise.evaluation.experiments.dimension_reading import CEILING, REGRESSION
from codenoise.evaluation.study import COHERENT, PUBLISHED, Study

WIDTHS = {"a": 30, "b": 24, "c": 20}
PARTS = {"train": 300, "validation": 60, "test": 80}
HIDDEN = 12


def cohorts() -> dict[str, Cohort]:
    """Three modalities, each a noisy picture of the same twelve directions."""
    rng = np.random.default_rng(0)
    views = {name: rng.normal(size=(HIDDEN, width)) for name, width in WIDTHS.items()}
    made = {}
    for part, size in PARTS.items():
        hidden = rng.normal(size=(size, HIDDEN))
        ids = [f"{part}{i}" for i in range(size)]
        tables = {}
        for name, view in views.items():
            values = hidden @ view + 0.3 * rng.normal(size=(size, WIDTHS[name]))
            columns = [f"{name}{j}" for j in range(WIDTHS[name])]
            frame = pd.DataFrame(values.astype(np.float32), index=ids, columns=columns)
            tables[name] = Table(frame)
        made[part] = Cohort(tables)
    return made


@pytest.fixture(scope="module")
def study() -> Study:
    parts = cohorts()
    spaces = {
        name: fit_space(
            *(parts[part].tables[name].frame for part in ("train", "validation")),
            modality=name, name=name, version="1", dim=8, leave_out_outliers=False,
        ).space
        for name in WIDTHS
    }  # fmt: skip
    return Study(
        LoadedEnsemble(spaces, ()), parts, pd.DataFrame(), quick=True, modalities=tuple(WIDTHS)
    )


@pytest.fixture(scope="module")
def rows(study: Study) -> pd.DataFrame:
    """Sizes 4 and 12, narrow networks trained for 250 steps; and one that cannot be had."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dimension, "QUICK_SIZES", (4, 12, 64))
        patch.setattr(dimension, "QUICK_STEPS", 250)
        patch.setattr(dimension, "TrainingConfig", partial(TrainingConfig, width=96, layers=2))
        found: list[Row] = [row for part in EXPERIMENT.parts(study) for row in part.measure()]
    return pd.DataFrame(json.loads(json.dumps(found)))


def value(rows: pd.DataFrame, method: str, size: int, measure: str = "r2_pooled") -> float:
    chosen = rows[(rows["kind"] == "r2") & (rows["method"] == method) & (rows["size"] == size)]
    return float(chosen[measure].item())


def test_target_is_the_narrowest_of_the_modalities_that_most_patients_share(study: Study) -> None:
    assert Setting.of(study) == Setting("c", ("a", "b"))


@pytest.mark.parametrize("size", [1, 5, 12])
def test_truncated_space_is_the_one_fitted_to_that_size(study: Study, size: int) -> None:
    train, validation = (study.parts[part].tables["a"].frame for part in ("train", "validation"))

    def fitted(dim: int) -> Space:
        return fit_space(
            train, validation, modality="a", name="a", version="0", dim=dim,
            leave_out_outliers=False,
        ).space  # fmt: skip

    cut, direct = truncated(fitted(20), size), fitted(size)
    test = study.parts["test"].tables["a"].frame
    np.testing.assert_allclose(cut.encode(test), direct.encode(test), atol=1e-4)
    latents = direct.encode(test).to_numpy()
    np.testing.assert_allclose(cut.decode(latents), direct.decode(latents), atol=1e-4)


def test_more_components_than_there_are_give_a_reason(rows: pd.DataFrame) -> None:
    failed = rows[rows["size"] == 64]
    assert failed["reason"].item() == (
        "c has 20 principal components at most; latents of 64 cannot be fitted"
    )
    notes = " ".join(EXPERIMENT.section(rows).notes)
    assert "Not measured (latents of 64): c has 20 principal components" in notes


@pytest.mark.parametrize("size", [4, 12])
def test_ceiling_and_ridge_are_those_of_scikit_learn(
    study: Study, rows: pd.DataFrame, size: int
) -> None:
    train, test = study.parts["train"], study.parts["test"]

    def standardised(name: str, cohort: Cohort) -> np.ndarray:
        known = train.tables[name].frame.to_numpy(np.float64)
        return (cohort.tables[name].frame.to_numpy(np.float64) - known.mean(0)) / known.std(0)

    fitted = {name: PCA(size).fit(standardised(name, train)) for name in WIDTHS}
    real = standardised("c", test)
    ceiling = fitted["c"].inverse_transform(fitted["c"].transform(real))
    assert value(rows, CEILING, size) == pytest.approx(
        r2_score(real.ravel(), ceiling.ravel()), abs=2e-3
    )
    assert value(rows, CEILING, size, "r2_feature") == pytest.approx(
        r2_score(real, ceiling), abs=2e-3
    )

    def latents(name: str, cohort: Cohort) -> np.ndarray:
        scale = fitted[name].transform(standardised(name, train)).std(axis=0)
        return fitted[name].transform(standardised(name, cohort)) / scale

    seen = [np.hstack([latents(name, cohort) for name in "ab"]) for cohort in (train, test)]
    model = RidgeCV(alphas=np.logspace(-1, 4, 11)).fit(seen[0], latents("c", train))
    scale = fitted["c"].transform(standardised("c", train)).std(axis=0)
    restored = fitted["c"].inverse_transform(model.predict(seen[1]) * scale)
    assert value(rows, REGRESSION, size) == pytest.approx(
        r2_score(real.ravel(), restored.ravel()), abs=5e-3
    )


def test_wider_latents_restore_more_of_what_is_shared_and_stay_below_the_ceiling(
    rows: pd.DataFrame,
) -> None:
    for method in (COHERENT, PUBLISHED):
        assert 0 < value(rows, method, 4) < value(rows, method, 12) < value(rows, CEILING, 12)


def test_errors_of_patients_average_to_the_pooled_r2(study: Study, rows: pd.DataFrame) -> None:
    errors = rows[(rows["kind"] == "patient") & (rows["size"] == 12)]["error"]
    assert len(errors) == PARTS["test"]
    space = study.ensemble.spaces["c"]
    real = space.standardised(study.parts["test"].tables["c"].frame.to_numpy())
    assert value(rows, COHERENT, 12) == pytest.approx(1 - errors.mean() / real.var(), abs=1e-3)


def test_section_tests_sizes_on_patients_and_draws_the_ceiling(rows: pd.DataFrame) -> None:
    found = EXPERIMENT.section(rows)
    assert f"R2 {value(rows, COHERENT, 4):.2f} with 4" in found.verdict
    (sizes,) = (claim for claim in found.claims if claim.text.startswith("Latents of 12 restore"))
    assert "n = 80" in sizes.test
    assert found.tables[0].frame["Latent size"].tolist() == ["4", "12"]
    labels = found.figures[0].draw().axes[0].get_legend_handles_labels()[1]
    assert labels == [COHERENT, PUBLISHED, REGRESSION, CEILING]


@pytest.mark.parametrize("missing", [[COHERENT], [REGRESSION, CEILING], [PUBLISHED]])
def test_section_reads_any_methods_and_holes(rows: pd.DataFrame, missing: list[str]) -> None:
    assert EXPERIMENT.section(rows[~rows["method"].isin(missing)]).verdict
    assert EXPERIMENT.section(rows[rows["size"] == 4]).verdict
    holed = EXPERIMENT.section(rows.assign(r2_pooled=np.nan, error=None))
    assert holed.verdict == "Nothing could be measured."


def test_gaps_of_the_target_are_left_out_of_r2(study: Study) -> None:
    wanted = np.array([[0.0, 1.0], [2.0, np.nan], [1.0, 3.0]] * 20, dtype=np.float32)
    got = np.where(np.isnan(wanted), 99, wanted + 0.5).astype(np.float32)
    row, *_ = dimension._rows(wanted, got[:, None], each=False)
    known = wanted[~np.isnan(wanted)]
    assert row["gaps"] == 20
    assert row["r2_pooled"] == row["r2_expectation"] == pytest.approx(r2_score(known, known + 0.5))


def test_error_of_few_draws_is_taken_off_the_expectation() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(300, 5)).astype(np.float32)
    half = rng.normal(size=(300, 5, 5))
    noise = np.repeat(half, 2, axis=1)
    noise[:, 1::2] = -half + 0.4 * rng.normal(size=half.shape)  # pairs almost cancel
    draws = (0.9 * wanted[:, None] + noise).astype(np.float32)
    row, *_ = dimension._rows(wanted, draws, each=False)
    exact = r2_score(wanted.ravel(), 0.9 * wanted.ravel())
    assert row["r2_expectation"] == pytest.approx(exact, abs=0.01)
    assert row["r2_pooled"] < row["r2_expectation"]


def test_runs_are_three_at_most(study: Study) -> None:
    full = Study(study.ensemble, study.parts, pd.DataFrame(), runs=10, modalities=study.modalities)
    keys = [part.key for part in EXPERIMENT.parts(full)]
    assert len(keys) == 15
    assert keys[0] == "run0-dim8"
    assert keys[-1] == "run2-dim128"


def test_modalities_without_shared_patients_are_refused(study: Study) -> None:
    with pytest.raises(DataError, match="2 patients in common"):
        Setting.of(Study(study.ensemble, study.parts, pd.DataFrame(), modalities=("a",)))
