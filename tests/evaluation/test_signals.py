"""Signals on patients whose outcomes hang on what the modalities show."""

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
from codenoise.evaluation.experiments.signals import EXPERIMENT
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


def test_every_task_modality_and_method_has_its_row_in_each_run(frame: pd.DataFrame) -> None:
    keys = ["run", "task", "modality", "method", "value"]
    assert not frame.duplicated(keys).any()
    # real once, two methods as a draw and as a mean
    assert len(frame) == 2 * 2 * 4 * 5
    assert set(frame["modality"]) == {"a", "b", "c", "all"}
    assert set(frame["seed"]) == {0, 1}


def test_patients_of_unknown_outcome_are_counted_and_all_test_patients_are_the_same(
    frame: pd.DataFrame,
) -> None:
    stage = frame[frame["task"] == "stage"]
    assert set(stage["patients"]) == {85}
    assert set(stage["unknown"]) == {5}
    assert set(frame.loc[frame["task"] == "cancer_type", "patients"]) == {90}
    trained = frame[frame["task"] == "cancer_type"].groupby("modality")["trained"].first()
    assert dict(trained) == {"a": 300, "b": 300, "c": 225, "all": 225}


def test_what_knows_the_patients_is_read_and_what_does_not_is_chance(frame: pd.DataFrame) -> None:
    type_ = frame[(frame["task"] == "cancer_type") & (frame["value"] != "mean")]
    found = type_.groupby("method")["balanced_accuracy"].mean()
    assert found["real"] > 0.8
    assert found[COHERENT] == pytest.approx(found["real"], abs=0.08)
    assert found[MULTI] == pytest.approx(0.5, abs=0.1)


def test_runs_differ_and_one_run_is_the_same_again(frame: pd.DataFrame) -> None:
    again = stored(EXPERIMENT.parts(study(runs=1))[0].measure())
    first = frame[frame["run"] == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, first, check_dtype=False)
    second = frame[frame["run"] == 1].reset_index(drop=True)
    assert (first["macro_f1"] != second["macro_f1"]).any()


def test_section_says_what_was_measured(frame: pd.DataFrame) -> None:
    section = EXPERIMENT.section(frame)
    real = frame[(frame["task"] == "cancer_type") & (frame["method"] == "real")]["macro_f1"].mean()
    assert f"cancer type on real patients reach a macro-F1 of {real:.3f}" in section.verdict
    assert any("5 complete test patients without a known stage" in note for note in section.notes)
    assert any("artefact of scaling" in note for note in section.notes)
    compared = [claim for claim in section.claims if claim.text.startswith("Macro-F1")]
    assert len(compared) == 4
    assert all("Wilcoxon" in claim.test for claim in compared)
    assert len(section.tables) == 4
    for one in section.figures:
        assert len(one.draw().axes) == 2


def test_section_of_little_or_nothing_does_not_fail(frame: pd.DataFrame) -> None:
    assert EXPERIMENT.section(frame.iloc[:0]).verdict == "Nothing could be measured."
    one = EXPERIMENT.section(frame[frame["run"] == 0])
    assert all("not tested" in c.test for c in one.claims if c.text.startswith("Macro-F1"))
    assert "not tested: 4 subjects" in one.claims[1].test
    only_real = EXPERIMENT.section(frame[frame["method"] == "real"])
    assert only_real.claims == []
    lost = EXPERIMENT.section(frame.assign(macro_f1=np.nan, balanced_accuracy=None))
    assert lost.verdict == "Nothing could be measured."


def test_a_modality_that_no_expert_generates_is_nan_with_the_reason() -> None:
    frame = stored(EXPERIMENT.parts(study(runs=1, lacks="b"))[0].measure())
    lost = frame[frame["reason"].notna()]
    assert set(lost["method"]) == {MULTI}
    assert set(lost["modality"]) == {"b", "all"}
    assert lost["macro_f1"].isna().all()
    assert any("no expert generates b" in note for note in EXPERIMENT.section(frame).notes)


def test_missing_columns_and_patients_are_named() -> None:
    with pytest.raises(DataError, match="no column 'stage', which stage needs"):
        EXPERIMENT.parts(study(["cancer_type"]))
    without = study()
    test = without.latents["test"]
    vars(without)["latents"] = {"test": {**test, "c": test["c"].iloc[:0]}}
    with pytest.raises(DataError, match="no test patient has all of a, b, c"):
        EXPERIMENT.parts(without)
