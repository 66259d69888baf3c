from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from codenoise.core.base.errors import DataError, EnsembleError
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.tables import Table
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.core.prioritisation.ranking import Priorities, prioritise


class Unchecked(LoadedEnsemble):
    """An ensemble of exact experts on tables that hold latents already."""

    def __post_init__(self) -> None:
        pass

    def check(self, cohort: Cohort, targets: Any = None) -> list[str]:
        return self.chosen(targets)

    def encode(self, cohort: Cohort) -> dict[str, pd.DataFrame]:
        return {name: cohort.measured(name).astype(np.float32) for name in cohort.tables}


@pytest.fixture
def ensemble(gaussian_expert: Callable[..., Expert]) -> LoadedEnsemble:
    """The second factor of ``x`` follows ``a``; the first spreads with nothing known of it."""
    expert = gaussian_expert(np.diag([0.0, 0.95]), np.diag([1.0, 0.05]), "a", mse=0.5)
    return Unchecked({}, (expert,), EngineSettings(steps=20, mirrored=True))


@pytest.fixture
def world() -> tuple[Cohort, pd.DataFrame]:
    """200 patients with ``a`` and ``x``, 30 with ``a`` alone, two with ``b`` alone.

    The stage is 1 where the second factor of ``x`` is low; else the first factor decides between
    2 and 3, which nobody can know who has not measured ``x``.
    """
    rng = np.random.default_rng(0)
    ids = [f"p{i:03d}" for i in range(230)]
    a = rng.normal(size=(230, 2))
    x = np.stack([rng.normal(size=230), 0.95 * a[:, 1] + 0.22 * rng.normal(size=230)], axis=1)
    stage = np.where(x[:, 1] < 0, 1.0, np.where(x[:, 0] < 0, 2.0, 3.0))
    cohort = Cohort(
        {
            "a": table(pd.DataFrame(a, ids)),
            "x": table(pd.DataFrame(x[:200], ids[:200])),
            "b": table(pd.DataFrame([[1.0], [2.0]], ["q1", "q0"])),
        }
    )
    days = (1000 * np.exp(-x[:, 0])).round()
    clinical = pd.DataFrame({"stage": stage, "os_days": days, "os_event": 1.0}, ids)
    clinical["grade"] = np.where(x[:, 1] < 0, "low", "high")
    clinical.loc[ids[225:], "stage"] = np.nan
    return cohort, clinical


def table(frame: pd.DataFrame) -> Table:
    return Table(frame.rename_axis("patient").rename(columns=str))


def ranked(ensemble: LoadedEnsemble, world: tuple[Cohort, pd.DataFrame], **more: Any) -> Priorities:
    return prioritise(ensemble, *world, ["x"], **{"trees": 60, **more})


def test_those_whose_prediction_hangs_on_it_come_first(
    ensemble: LoadedEnsemble, world: tuple[Cohort, pd.DataFrame]
) -> None:
    found = ranked(ensemble, world)
    table = found.table
    assert found.trained == 200
    assert sum(found.classes.values()) == 200
    assert found.aside == 25
    assert set(found.classes) == {"1", "2", "3"}
    scored = table[table.score.notna()]
    assert scored["rank"].tolist() == list(range(1, 31))
    assert scored.score.is_monotonic_decreasing
    open_questions = world[0].tables["a"].frame.loc[scored.patient, "1"].to_numpy() > 0
    assert open_questions[:10].mean() > 0.8
    assert open_questions[-10:].mean() < 0.2
    last = scored.tail(5)
    assert (last.predicted == "1").all()
    assert (last.probability > 0.8).all()


def test_nobody_is_dropped_and_reasons_are_given(
    ensemble: LoadedEnsemble, world: tuple[Cohort, pd.DataFrame]
) -> None:
    table = ranked(ensemble, world).table
    assert sorted(table.patient) == [*(f"p{i:03d}" for i in range(200, 230)), "q0", "q1"]
    unscored = table.tail(2)
    assert unscored.patient.tolist() == ["q0", "q1"]
    assert unscored["rank"].isna().all()
    assert unscored.score.isna().all()
    assert (unscored.reason == "no expert generates x from b").all()
    assert (table.head(30).reason == "").all()
    assert set(table.head(30).has) == {"a"}
    assert set(table.lacks) == {"x"}
    recorded = table.set_index("patient").recorded
    assert recorded.loc["p229"] is None or pd.isna(recorded.loc["p229"])
    assert recorded.loc["p224"] == f"{world[1].stage['p224']:.0f}"


def test_ranking_does_not_depend_on_the_order_of_patients(
    ensemble: LoadedEnsemble, world: tuple[Cohort, pd.DataFrame]
) -> None:
    cohort, clinical = world
    a = cohort.tables["a"]
    turned = pd.concat([a.frame.iloc[:200], a.frame.iloc[:199:-1]])
    other = Cohort({**cohort.tables, "a": replace(a, frame=turned)})
    first, second = (
        ranked(ensemble, w).table[["patient", "score"]] for w in (world, (other, clinical))
    )
    pd.testing.assert_frame_equal(first, second)


def test_label_changes_any_label_and_survival(
    ensemble: LoadedEnsemble, world: tuple[Cohort, pd.DataFrame]
) -> None:
    changes = ranked(ensemble, world, score="label-changes").table.head(30)
    assert changes.score.between(0, 1, inclusive="left").all()
    assert changes.score.iloc[0] > changes.score.iloc[-1]
    grade = ranked(ensemble, world, label="grade")
    assert set(grade.classes) == {"high", "low"}
    assert set(grade.table.predicted.dropna()) == {"high", "low"}
    pytest.importorskip("sksurv")
    survival = ranked(ensemble, world, task="survival")
    assert survival.classes == {}
    assert {"score", "risk"} < set(survival.table.columns)
    assert not {"predicted", "probability", "recorded"} & set(survival.table.columns)
    assert survival.table.risk.head(30).between(0, np.inf).all()


def test_what_cannot_be_ranked_is_refused(
    ensemble: LoadedEnsemble, world: tuple[Cohort, pd.DataFrame]
) -> None:
    cohort, clinical = world

    def refusal(given: pd.DataFrame = clinical, **more: Any) -> str:
        with pytest.raises(DataError) as caught:
            ranked(ensemble, (cohort, given), **more)
        return str(caught.value)

    assert "no labels that could change" in refusal(task="survival", score="label-changes")
    assert "no column 'grad'" in refusal(label="grad")
    assert "'os_days' has" in refusal(label="os_days")
    assert "no column 'stage'" in refusal(clinical[["os_days"]])
    assert "no patient of the cohort" in refusal(clinical.rename(index=lambda name: f"{name}x"))
    assert "only 19 patients have x and a known stage" in refusal(clinical.iloc[:19])
    assert "are '1'" in refusal(clinical.assign(stage=1.0))
    assert "died" in refusal(clinical.assign(os_event=0.0), task="survival")
    with pytest.raises(DataError, match="every patient has x"):
        ranked(ensemble, (cohort.subset(f"p{i:03d}" for i in range(200)), clinical))
    with pytest.raises(EnsembleError, match="no expert that generates 'b'"):
        prioritise(ensemble, cohort, clinical, ["b"])
