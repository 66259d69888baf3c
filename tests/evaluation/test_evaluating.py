"""An evaluation called from Python is that of the command."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.cohort import read_cohort
from codenoise.evaluation.evaluating import evaluate, open_study
from codenoise.registry.ensembles.ensemble import Ensemble
from codenoise.registry.ensembles.recipe import Sampler

EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga"
MODALITIES = ("cna", "rppa")


@pytest.fixture
def ensemble(bank: Path) -> Ensemble:
    return Ensemble.compose(["rppa"], modalities=MODALITIES, sampler=Sampler(steps=5))


@pytest.fixture
def frames() -> dict[str, pd.DataFrame]:
    """The example cohort with what was held back put in."""
    parts = [read_cohort(EXAMPLE / part, MODALITIES) for part in ("cohort", "truth")]
    return {name: pd.concat([part.tables[name].frame for part in parts]) for name in MODALITIES}


@pytest.fixture
def split(frames: dict[str, pd.DataFrame]) -> pd.Series[str]:
    patients = sorted(frames["cna"].index)
    parts = ("test", "train", "train", "test", "train", "validation")
    labels = {patient: parts[place % 6] for place, patient in enumerate(patients)}
    return pd.Series(labels, name="split").rename_axis("patient")


def test_frames_and_a_series_make_the_study_of_their_files(
    ensemble: Ensemble, frames: dict[str, pd.DataFrame], split: pd.Series[str], tmp_path: Path
) -> None:
    for name, frame in frames.items():
        frame.to_csv(tmp_path / f"{name}.csv")
    split.to_csv(tmp_path / "split.csv")
    held, of_frames = open_study(ensemble, frames, split, modalities=MODALITIES)
    read, of_files = open_study(
        ensemble, str(tmp_path), str(tmp_path / "split.csv"), modalities=MODALITIES, recipe="e.toml"
    )
    differ = {key for key, value in read.items() if held[key] != value}
    assert differ == {"cohort", "split", "ensemble", "arguments"}
    assert held["arguments"].startswith("COHORT -e ENSEMBLE.TOML --split SPLIT.CSV --runs 10")
    assert read["arguments"].startswith(f"{tmp_path} -e e.toml --split {tmp_path}/split.csv")
    assert of_frames.parts.keys() == of_files.parts.keys()
    for part, cohort in of_files.parts.items():
        assert of_frames.parts[part].digest() == cohort.digest()


def test_an_evaluation_is_made_and_reported(
    ensemble: Ensemble, frames: dict[str, pd.DataFrame], split: pd.Series[str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    found = evaluate(
        ensemble, frames, split, ["signals", "weights"], output=output, runs=1, quick=True
    )
    assert [chapter.experiment.name for chapter in found.chapters] == ["weights"]
    assert list(found.left_out) == ["signals"]
    assert found.report == output / "report.html"
    assert json.loads((output / "left_out.json").read_text()) == dict(found.left_out)
    with pytest.raises(DataError, match="lipids"):
        evaluate(ensemble, frames, split, ["weights"], output=output, modalities=["lipids"])
