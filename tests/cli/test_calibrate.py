from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from codenoise.registry.ensembles.recipe import read_recipe

Done = Callable[..., str]
Refused = Callable[..., str]
pytestmark = pytest.mark.usefixtures("bank")
EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga"


@pytest.fixture
def plain(tmp_path: Path, done: Done) -> Path:
    path = tmp_path / "plain.toml"
    done("compose", "--expert", "rna-to-rppa", "--expert", "cna-to-rppa", "--steps", 5, "-o", path)
    return path


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """The example cohort with what was hidden of it."""
    folder = tmp_path / "known"
    folder.mkdir()
    for modality in ("rna", "cna", "rppa"):
        parts = [pd.read_csv(EXAMPLE / p / f"{modality}.csv") for p in ("cohort", "truth")]
        whole = pd.concat(parts).dropna(thresh=2).drop_duplicates("patient")
        whole.to_csv(folder / f"{modality}.csv", index=False)
    return folder


def test_calibrated_recipe_holds_what_was_learned_and_the_evidence(
    plain: Path, known: Path, tmp_path: Path, done: Done
) -> None:
    path = tmp_path / "calibrated.toml"
    words = ["calibrate", plain, known, "--draws", 19, "-o", path]
    (row,) = json.loads(done(*words, "--dry-run", "--json"))["evidence"]
    assert not path.exists()
    assert row["target"] == "rppa"
    assert 20 <= row["patients"] <= 64
    done(*words)
    recipe = read_recipe(path)
    assert (recipe.weighting, recipe.composition) == ("stacked", "product")
    assert recipe.calibration is not None
    (evidence,) = recipe.calibration.evidence
    assert evidence.patients == row["patients"]
    assert evidence.r2_after == pytest.approx(row["r2_after"], abs=1e-4)
    assert len(recipe.calibration.spread["rppa"]) == 32
    output = tmp_path / "out"
    (known / "rppa.csv").unlink()
    done("impute", known, "-e", path, "-o", output, "--draws", 2)
    report = pd.read_csv(output / "coherence.csv")
    learned = {"+".join(e.conditions) for e in recipe.calibration.coefficients}
    assert report["weights learned"].any() == bool(learned)
    content = tomllib.loads(path.read_text())
    assert content["calibration"]["cohort_digest"].startswith("sha256:")


def test_recipe_that_is_there_is_kept_unless_asked(plain: Path, refused: Refused) -> None:
    before = plain.read_bytes()
    message = refused("calibrate", plain, EXAMPLE / "cohort")
    assert "is already there; give another --output, or --overwrite" in message
    assert plain.read_bytes() == before


def test_cohort_with_too_few_patients_is_refused(
    plain: Path, tmp_path: Path, refused: Refused
) -> None:
    for modality in ("rna", "cna", "rppa"):
        pd.read_csv(EXAMPLE / "cohort" / f"{modality}.csv", index_col=0).head(15).to_csv(
            tmp_path / f"{modality}.csv"
        )
    message = refused("calibrate", plain, tmp_path, "-o", tmp_path / "new.toml")
    assert "calibration of rppa needs 20 patients with rppa and one of" in message
