from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from codenoise.core.base.errors import DataError, EnsembleError
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.evaluation.baselines import ridge
from codenoise.evaluation.experiments.reconstruction import EXPERIMENT, measures
from codenoise.evaluation.study import BASELINE, COHERENT, PUBLISHED, SINGLE, Study


def gaussian_world(patients: int, seed: int) -> dict[str, pd.DataFrame]:
    """Latents with ``x | a ~ N(0.8 a, 0.36 I)``; ``b`` knows nothing of ``x`` and half lack it."""
    rng = np.random.default_rng(seed)
    ids = [f"{seed}-{i:03}" for i in range(patients)]
    a = rng.normal(size=(patients, 3))
    x = 0.8 * a + 0.6 * rng.normal(size=(patients, 3))
    b = rng.normal(size=(patients // 2, 3))
    return {
        "a": pd.DataFrame(a.astype(np.float32), index=ids),
        "b": pd.DataFrame(b.astype(np.float32), index=ids[: patients // 2]),
        "x": pd.DataFrame(x.astype(np.float32), index=ids),
    }


@pytest.fixture
def study(
    gaussian_expert: Callable[..., Expert],
    latent_ensemble: Callable[..., LoadedEnsemble],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Study]:
    """A study of the Gaussian world, in which two experts generate ``x`` and none the others."""
    monkeypatch.setattr("codenoise.evaluation.study.SIMPLE", ("mean", "ridge"))
    experts = (
        gaussian_expert(0.8 * np.eye(3), 0.36 * np.eye(3), "a", mse=0.72),
        gaussian_expert(np.zeros((3, 3)), np.eye(3), "b", mse=0.8),
    )
    ensemble = latent_ensemble(experts, EngineSettings(steps=30, weighting="inverse-mse"))
    parts = {
        "train": gaussian_world(300, 0),
        "validation": gaussian_world(60, 1),
        "test": gaussian_world(200, 2),
    }
    kinds = pd.DataFrame({"cancer_type": ["A"] * 110 + ["B"] * 80 + ["C"] * 5 + [None] * 5})
    kinds.index = pd.Index(parts["test"]["x"].index)

    def build(**changes: object) -> Study:
        given = {"clinical": kinds, "runs": 2, "modalities": ("x", "a", "b")} | changes
        return Study(ensemble, parts, **given)  # type: ignore[arg-type]

    return build


_MEASURED: dict[tuple[int, bool], pd.DataFrame] = {}


def measured(study: Study) -> pd.DataFrame:
    """Every row, as it comes back from where results are kept; measured once for all tests."""
    key = (study.runs, study.quick)
    if key not in _MEASURED:
        rows = [row for part in EXPERIMENT.parts(study) for row in part.measure()]
        _MEASURED[key] = pd.DataFrame([json.loads(json.dumps(row)) for row in rows])
    return _MEASURED[key]


def one(rows: pd.DataFrame, **wanted: object) -> pd.Series:
    """The one row of the first run."""
    chosen = rows[np.logical_and.reduce([rows[name] == value for name, value in wanted.items()])]
    chosen = chosen[chosen["run"] == 0]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_exact_expert_reaches_the_r2_that_is_there(study: Callable[..., Study]) -> None:
    rows = measured(study())
    exact = one(rows, target="x", conditions="a", method=SINGLE, scope="query")
    assert exact.patients == 200
    # Of a unit variance, 0.64 is explained; one calibrated draw errs twice the remaining 0.36.
    assert exact.r2_expectation == pytest.approx(0.64, abs=0.06)
    assert exact.r2_draw == pytest.approx(1 - 2 * 0.36, abs=0.1)
    assert exact.variance == pytest.approx(0.36, abs=0.05)
    interval = one(rows, target="x", method=SINGLE, scope="interval")
    assert interval.draws == 20
    assert interval.coverage == pytest.approx(0.9, abs=0.04)
    baseline = one(rows, target="x", conditions="a", method=BASELINE, scope="query")
    assert baseline.r2_expectation == pytest.approx(0.64, abs=0.06)
    assert np.isnan(baseline.r2_draw)


def test_all_methods_see_the_same_patients_and_scopes_say_which(
    study: Callable[..., Study],
) -> None:
    rows = measured(study())
    asked = rows[(rows.scope == "query") & (rows.target == "x")]
    assert asked.groupby("conditions").patients.unique().map(list).to_dict() == {
        "a": [200], "b": [100], "a+b": [100],
    }  # fmt: skip
    assert set(rows[rows.scope == "complete"].patients) == {100}
    assert set(asked.method) == {COHERENT, PUBLISHED, SINGLE, BASELINE}


def test_a_know_nothing_expert_lowers_the_consensus(study: Callable[..., Study]) -> None:
    rows = measured(study())
    both = one(rows, target="x", conditions="a+b", method=COHERENT, scope="query")
    single = one(rows, target="x", conditions="a+b", method=SINGLE, scope="query")
    assert 0.3 < both.r2_expectation < single.r2_expectation
    assert both.energy_score > single.energy_score


def test_r2_within_a_type_is_against_its_own_mean(study: Callable[..., Study]) -> None:
    rows = measured(study())
    types = rows[(rows.scope == "type") & (rows.target == "x") & (rows.method == BASELINE)]
    kept = one(types, conditions="a", cancer_type="B")
    test = gaussian_world(200, 2)
    train = gaussian_world(300, 0)
    fit = LinearRegression().fit(train["a"].to_numpy(), train["x"].to_numpy())
    real = test["x"].to_numpy()[110:190]
    wanted = r2_score(
        real, fit.predict(test["a"].to_numpy()[110:190]), multioutput="variance_weighted"
    )
    assert kept.patients == 80
    assert kept.r2_expectation == pytest.approx(wanted, abs=0.01)
    rare = types[(types.conditions == "a") & types.cancer_type.isna()]
    assert list(rare.patients) == [10]
    assert "C; patients without a type: 5" in rare.reason.iloc[0]


def test_what_no_expert_generates_has_a_reason(study: Callable[..., Study]) -> None:
    rows = measured(study())
    lost = one(rows, target="b", conditions="x", method=COHERENT, scope="query")
    assert np.isnan(lost.r2_draw)
    assert lost.reason == "no expert generates b from x"
    assert "no expert generates b from x" in " ".join(EXPERIMENT.section(rows).notes)


def test_runs_differ_in_draws_and_baselines_are_measured_once(study: Callable[..., Study]) -> None:
    rows = measured(study())
    own = rows[(rows.target == "x") & (rows.conditions == "a") & (rows.scope == "query")]
    draws = own[own.method == COHERENT].set_index("run").r2_draw
    assert draws[0] != draws[1]
    assert list(own[own.method == BASELINE].run) == [0]
    assert set(own.seed) == {0, 1}


def test_section_reads_any_subset_of_the_rows(study: Callable[..., Study]) -> None:
    rows = measured(study())
    whole = EXPERIMENT.section(rows)
    assert "x 0." in whole.verdict
    for claim in whole.claims:
        assert claim.test
    for made in (
        rows[rows.run == 0],
        rows[rows.method == COHERENT],
        rows[rows.method == BASELINE],
        rows[rows.scope == "query"],
        rows[rows.target == "b"],
        rows.iloc[:0],
    ):
        section = EXPERIMENT.section(made)
        assert section.verdict
        for table in section.tables:
            assert table.title[0].isupper()


def test_figures_are_drawn(study: Callable[..., Study], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    section = EXPERIMENT.section(measured(study()))
    for figure in section.figures:
        path = tmp_path / f"{figure.name}.png"
        figure.draw().savefig(path)
        assert path.stat().st_size > 5000


def table_of(differences: list[float], value: str = "r2_expectation") -> pd.DataFrame:
    """Rows of two methods over as many sets of conditions."""
    rows = []
    for i, difference in enumerate(differences):
        about = {"run": 0, "target": "cna", "conditions": f"c{i}", "given": 1, "scope": "query"}
        about |= {"patients": 50, "r2_draw": 0.1, "energy_distance": 0.2, "variance": 0.5}
        for method, values in ((COHERENT, 0.3 + difference), ("multi-condition", 0.3)):
            rows.append(about | {"method": method, value: values})
    return pd.DataFrame(rows)


def test_the_verdict_follows_the_sign_and_the_test() -> None:
    pytest.importorskip("pingouin")
    gaps = [0.01 * (i + 1) for i in range(12)]
    better = EXPERIMENT.section(table_of(gaps)).verdict
    assert "coherent ensemble 0.365, above multi-condition (0.300)" in better
    worse = table_of([-gap for gap in gaps])
    assert ", below multi-condition (0.300)" in EXPERIMENT.section(worse).verdict
    mixed = table_of([gap * (-1) ** i for i, gap in enumerate(gaps)])
    assert "not told apart from multi-condition" in EXPERIMENT.section(mixed).verdict
    few = table_of(gaps[:3])
    assert "not tested against multi-condition" in EXPERIMENT.section(few).verdict


def test_the_paper_is_contradicted_where_our_order_is_the_other() -> None:
    pytest.importorskip("pingouin")
    rows = table_of([0.01] * 6)
    for ours, agrees in ((0.2, True), (-0.2, False)):
        changed = rows.assign(r2_draw=rows.r2_draw.mask(rows.method == COHERENT, ours))
        claims = [c for c in EXPERIMENT.section(changed).claims if c.text.startswith("cna from")]
        assert [c.agrees for c in claims] == [agrees]
        assert "0.06 against -0.06" in claims[0].paper


def test_quick_study_is_smaller(study: Callable[..., Study]) -> None:
    rows = measured(study(quick=True))
    assert rows.patients.max() == 60
    _MEASURED.clear()
    pd.testing.assert_frame_equal(rows, measured(study(quick=True)))


def test_study_without_a_second_modality_is_refused(study: Callable[..., Study]) -> None:
    with pytest.raises(DataError, match=r"the cohort has x of .* a table of a second one"):
        EXPERIMENT.parts(study(modalities=("x",)))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 10_000))
def test_measures_agree_with_scikit_learn(patients: int, dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    real = rng.normal(size=(patients, dim))
    draws = real[:, None] + rng.normal(size=(patients, 4, dim))
    got = measures(real, draws, mirrored=True)
    mean = draws.mean(axis=1)
    assert got["r2_mean"] == pytest.approx(r2_score(real.ravel(), mean.ravel()))
    assert got["r2_feature"] == pytest.approx(r2_score(real, mean))
    single = [r2_score(real.ravel(), draws[:, i].ravel()) for i in range(4)]
    assert got["r2_draw"] == pytest.approx(np.mean(single))
    assert got["r2_expectation"] >= got["r2_mean"]


def test_a_point_prediction_pays_for_having_no_spread() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(500, 2))
    point = measures(real, np.zeros((500, 1, 2)))
    drawn = measures(real, rng.normal(size=(500, 4, 2)))
    assert point["energy_score"] == pytest.approx(np.linalg.norm(real, axis=1).mean())
    # Half the mean distance between two normal points of a plane is that of one to the middle,
    # divided by the square root of two.
    expected = np.sqrt(np.pi / 2) * (np.sqrt(2) - np.sqrt(2) / 2)
    assert drawn["energy_score"] == pytest.approx(expected, abs=0.05)
    assert drawn["energy_score"] < point["energy_score"]
    assert drawn["energy_distance"] < 0.05 < point["energy_distance"]
    assert np.isnan(point["variance"])
    assert np.isnan(point["coverage"])


def test_ridge_with_much_data_is_least_squares() -> None:
    rng = np.random.default_rng(0)
    condition = rng.normal(size=(5000, 4)).astype(np.float32)
    target = (condition @ rng.normal(size=(4, 2)) + 0.1 * rng.normal(size=(5000, 2))).astype(
        np.float32
    )
    wanted = LinearRegression().fit(condition, target).predict(condition[:50])
    np.testing.assert_allclose(ridge(condition, target, condition[:50]), wanted, atol=1e-3)


def test_ensemble_refuses_experts_of_other_spaces(gaussian_expert: Callable[..., Expert]) -> None:
    expert = gaussian_expert(np.eye(3), np.eye(3), "a")
    with pytest.raises(EnsembleError, match="a-to-x@1 needs a space of a"):
        LoadedEnsemble({}, (expert,))
