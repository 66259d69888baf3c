"""Completion on patients whose outcomes hang on what the modalities show."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.evaluation.experiment import Row
from codenoise.evaluation.experiments.completion import EXPERIMENT, cohorts
from codenoise.evaluation.study import COHERENT, MULTI, Method, Study

pytest.importorskip("sksurv")
pytest.importorskip("pingouin")
pytest.importorskip("matplotlib")


def world(patients: int, seed: int) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Three modalities that see the same two hidden factors, and outcomes that hang on them.

    Some patients lack ``c``.
    """
    rng = np.random.default_rng(seed)
    ids = [f"s{seed}p{i:03}" for i in range(patients)]
    hidden = rng.normal(size=(patients, 2))
    tables = {
        name: pd.DataFrame(
            (hidden + 0.3 * rng.normal(size=hidden.shape)).astype(np.float32), index=ids
        )
        for name in ("a", "b", "c")
    }
    tables["c"] = tables["c"].iloc[: patients * 3 // 4]
    death = rng.exponential(1000 * np.exp(-1.5 * hidden[:, 0]))
    left = rng.exponential(3000, patients)
    clinical = pd.DataFrame(
        {
            "stage": np.digitize(hidden[:, 0], [-0.7, 0.7]) + 1.0,
            "cancer_type": np.where(hidden[:, 1] > 0, "upper", "lower"),
            "os_days": np.minimum(death, left),
            "os_event": (death <= left).astype(float),
        },
        index=ids,
    )
    return tables, clinical


def method(name: str, noise: float, *, knows: bool = True, lacks: str = "") -> Method:
    """Draws around the mean of what is shown, or around nothing."""

    def generate(
        target: str,
        conditions: Mapping[str, pd.DataFrame],
        patients: Sequence[str],
        draws: int,
        seed: int,
    ) -> NDArray[np.float32]:
        rng = np.random.default_rng([seed, ord(target)])
        mean = np.mean([t.loc[list(patients)].to_numpy() for t in conditions.values()], axis=0)
        shape = (len(patients), draws, mean.shape[1])
        return (knows * mean[:, None] + noise * rng.normal(size=shape)).astype(np.float32)

    return Method(name, generate, lambda target, _: target != lacks)


def study(clinical_columns: Sequence[str] = (), runs: int = 2, lacks: str = "") -> Study:
    train, first = world(300, 0)
    test, second = world(120, 1)
    clinical = pd.concat([first, second])
    clinical.loc[clinical.index[300:305], "stage"] = np.nan
    if clinical_columns:
        clinical = clinical[list(clinical_columns)]
    made = Study(LoadedEnsemble({}, ()), {}, clinical, runs, 0, True, ("a", "b", "c"))
    vars(made)["latents"] = {"train": train, "test": test}
    vars(made)["methods"] = {
        COHERENT: method(COHERENT, 0.2),
        MULTI: method(MULTI, 1.0, knows=False, lacks=lacks),
    }
    return made


def stored(rows: list[Row]) -> pd.DataFrame:
    """Rows as they come back from a file of JSON lines."""
    text = "\n".join(json.dumps(row) for row in rows)
    return pd.read_json(io.StringIO(text), lines=True)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rows = [row for part in EXPERIMENT.parts(study()) for row in part.measure()]
    return stored(rows)


def mean(frame: pd.DataFrame, task: str, measure: str, method: str) -> float:
    rows = frame[(frame["task"] == task) & (frame["method"] == method)]
    return float(rows[rows["value"].fillna("") != "draw"][measure].mean())


def test_the_wider_cohort_is_that_without_what_most_patients_lack() -> None:
    assert cohorts(study()) == [("a", "b", "c"), ("a", "b")]
    narrow = study()
    vars(narrow)["latents"] = {
        part: {name: table.loc[tables["c"].index] for name, table in tables.items()}
        for part, tables in narrow.latents.items()
    }
    assert cohorts(narrow) == [("a", "b", "c")]


def test_every_pattern_has_its_rows(frame: pd.DataFrame) -> None:
    keys = ["run", "cohort", "task", "missing", "method", "value"]
    assert not frame[keys].astype(str).duplicated().any()
    for cohort, patterns in (("a+b+c", 6), ("a+b", 2)):
        own = frame[(frame["cohort"] == cohort) & (frame["run"] == 0) & (frame["task"] == "stage")]
        # ablated and two methods as draw and mean for each pattern; full; label only
        assert len(own) == patterns * 5 + 2
    counts = frame.groupby(["cohort", "task"])["patients"].unique().map(list)
    assert counts["a+b+c", "survival"] == [90]
    assert counts["a+b", "survival"] == [120]
    assert counts["a+b+c", "stage"] == [85]


def test_completion_gives_back_what_is_known_and_no_more(frame: pd.DataFrame) -> None:
    for task, measure in (("stage", "macro_f1"), ("survival", "c_index")):
        full, ablated, completed, ignorant = (
            mean(frame, task, measure, name) for name in ("full", "ablated", COHERENT, MULTI)
        )
        assert full > ablated + 0.01
        assert completed > ablated
        assert ignorant < completed - 0.02


def test_label_only_is_chance(frame: pd.DataFrame) -> None:
    label = frame[(frame["method"] == "label only") & (frame["task"] == "survival")]
    assert set(label["c_index"]) == {0.5}
    assert set(label["c_index_within"]) == {0.5}
    assert mean(frame, "stage", "balanced_accuracy", "label only") == pytest.approx(1 / 3, abs=0.12)


def test_within_types_there_are_fewer_pairs(frame: pd.DataFrame) -> None:
    rows = frame[frame["task"] == "survival"]
    assert (rows["pairs_within"] < rows["pairs"]).all()
    assert (rows["pairs_within"] > 0).all()


def test_section_says_what_was_measured(frame: pd.DataFrame) -> None:
    section = EXPERIMENT.section(frame)
    own = frame[frame["cohort"] == "a+b+c"]
    full = mean(own, "survival", "c_index", "full")
    what = "C-index of survival (a+b+c), 90 test patients"
    assert f"{what}: {full:.3f} with everything real" in section.verdict
    assert "gives back" in section.verdict
    assert all(claim.test and claim.agrees is None for claim in section.claims)
    assert len(section.tables) == 2 * (4 + 2)
    assert [one.name for one in section.figures] == ["completion-a-b-c", "completion-a-b"]
    assert sum(axis.get_visible() for axis in section.figures[0].draw().axes) == 4
    assert any("5 test patients of unknown stage left out" in note for note in section.notes)


def test_claims_of_the_papers_patterns_are_set_beside_ours(frame: pd.DataFrame) -> None:
    names = {"a": "rna", "b": "wsi", "c": "rppa"}
    renamed = frame.assign(
        missing=[
            "+".join(names.get(m, m) for m in text.split("+")) if isinstance(text, str) else text
            for text in frame["missing"]
        ]
    )
    # An interval needs five runs, and of more the exact test takes four times as long for each.
    renamed = pd.concat([renamed.assign(run=renamed["run"] + 2 * i) for i in range(3)])
    renamed = renamed[renamed["run"] < 5]
    claims = [claim for claim in EXPERIMENT.section(renamed).claims if claim.paper]
    assert claims
    assert all("measured on other patients" in claim.paper for claim in claims)
    assert any(".206" in claim.paper and claim.agrees is True for claim in claims)
    # Where nothing is lost, the paper's fall is not there.
    flat = renamed.copy()
    flat.loc[flat["method"] == "ablated", "macro_f1"] = 0.99
    section = EXPERIMENT.section(flat)
    assert [claim.agrees for claim in section.claims if ".206" in claim.paper] == [False]
    assert "taking modalities away gains" in section.verdict


def test_section_of_little_or_nothing_does_not_fail(frame: pd.DataFrame) -> None:
    assert EXPERIMENT.section(frame.iloc[:0]).verdict == "Nothing could be measured."
    one = EXPERIMENT.section(frame[frame["run"] == 0])
    assert "95% interval over 1 runs (bootstrap): not available" in one.claims[0].test
    assert EXPERIMENT.section(frame[frame["method"].isin(["full", "ablated"])]).tables
    lost = frame.assign(macro_f1=np.nan, balanced_accuracy=None, c_index_within=np.nan)
    section = EXPERIMENT.section(lost)
    assert "C-index" in section.verdict
    assert "macro-F1" not in section.verdict


def test_what_cannot_be_completed_is_nan_with_the_reason() -> None:
    part = EXPERIMENT.parts(study(runs=1, lacks="b"))[0]
    frame = stored(part.measure())
    lost = frame[frame["reason"].notna()]
    assert set(lost["method"]) == {MULTI}
    assert set(lost["missing"]) == {"b", "a+b", "b+c"}
    assert any("no expert generates" in note for note in EXPERIMENT.section(frame).notes)


def test_without_deaths_survival_is_nan_with_the_reason() -> None:
    alive = study(runs=1)
    alive.clinical["os_event"] = 0.0
    frame = stored(EXPERIMENT.parts(alive)[0].measure())
    survival = frame[frame["task"] == "survival"]
    assert list(survival["method"]) == ["full"]
    assert "c_index" not in survival or survival["c_index"].isna().all()
    assert any("no death among" in note for note in EXPERIMENT.section(frame).notes)


def test_missing_columns_are_named() -> None:
    with pytest.raises(DataError, match="no column 'os_event', which survival needs"):
        EXPERIMENT.parts(study(["stage", "cancer_type", "os_days"]))
