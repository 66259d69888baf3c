from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from codenoise.core.cohort.cohort import read_cohort

Done = Callable[..., str]
Refused = Callable[..., str]
EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga"


def _strict(text: str) -> object:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def completed(bank: Path, ensemble: Path, cohort: Path, done: Done) -> Path:
    """The proteins of the example completed with four draws."""
    output = cohort.parent / "completed"
    words = ["impute", cohort, "-e", ensemble, "-o", output, "--draws", 4]
    done(*words, "--target", "rppa")
    return output


@pytest.fixture
def proteins(tmp_path: Path) -> Path:
    """A folder with the held-back proteins alone."""
    folder = tmp_path / "truth"
    folder.mkdir()
    shutil.copy(EXAMPLE / "truth" / "rppa.csv", folder)
    return folder


def test_truth_measures_the_generated_patients(completed: Path, proteins: Path, done: Done) -> None:
    (row,) = json.loads(done("evaluate", "truth", completed, "--truth", proteins, "--json"))
    real = read_cohort(proteins).tables["rppa"].frame
    given = read_cohort(EXAMPLE / "cohort", ["cna"]).patients
    real = real[real.index.isin(given)]
    assert (row["target"], row["patients"]) == ("rppa", len(real))
    assert row["values"] == int(real.notna().to_numpy().sum())
    assert row["r2_latent"] < 1
    assert 0.5 < row["within_90"] <= 1
    text = done("evaluate", "truth", completed, "--truth", proteins)
    assert "R2 latent" in text
    assert f"{row['within_90']:.3f}" in text


def test_perfect_truth_is_scored_as_perfect(completed: Path, proteins: Path, done: Done) -> None:
    shutil.copy(completed / "completed" / "rppa.csv", proteins / "rppa.csv")
    (row,) = json.loads(done("evaluate", "truth", completed, "--truth", proteins, "--json"))
    assert row["r2_latent"] == row["r2_feature_pooled"] == row["within_90"] == 1
    assert row["patients"] == 32


def test_truth_of_what_was_not_completed_is_refused(completed: Path, refused: Refused) -> None:
    message = refused("evaluate", "truth", completed, "--truth", EXAMPLE / "truth")
    assert "was not completed" in message


def test_truth_of_observed_patients_is_refused(
    completed: Path, proteins: Path, refused: Refused
) -> None:
    shutil.copy(EXAMPLE / "cohort" / "rppa.csv", proteins / "rppa.csv")
    message = refused("evaluate", "truth", completed, "--truth", proteins)
    assert message.startswith("rppa: none of the 25 patients with a truth was generated")


def test_truth_without_a_feature_is_refused(
    completed: Path, proteins: Path, refused: Refused
) -> None:
    table = pd.read_csv(proteins / "rppa.csv", index_col=0)
    table.drop(columns="4E-BP1").to_csv(proteins / "rppa.csv")
    message = refused("evaluate", "truth", completed, "--truth", proteins)
    assert "4E-BP1" in message
    assert "rppa" in message


def test_missing_truth_is_refused(completed: Path, tmp_path: Path, refused: Refused) -> None:
    message = refused("evaluate", "truth", completed, "--truth", tmp_path / "none")
    assert str(tmp_path / "none") in message


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"recipe": {"targets": 1}}'])
def test_truth_needs_an_output_of_impute(
    bank: Path, tmp_path: Path, proteins: Path, refused: Refused, content: str | None
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    if content is not None:
        (folder / "provenance.json").write_text(content)
    message = refused("evaluate", "truth", folder, "--truth", proteins)
    assert message.startswith(f"{folder / 'provenance.json'} is missing or damaged")
    assert "'codenoise impute'" in message


def test_truth_against_a_damaged_output_is_refused(
    completed: Path, proteins: Path, refused: Refused
) -> None:
    shutil.rmtree(completed / "spread")
    message = refused("evaluate", "truth", completed, "--truth", proteins)
    assert str(completed / "spread") in message


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """The example cohort with what was held back put in, and a split of it beside it."""
    folder = tmp_path / "full"
    folder.mkdir()
    patients: set[str] = set()
    for modality in ("cna", "rppa", "wsi"):
        parts = [
            pd.read_csv(EXAMPLE / part / f"{modality}.csv", index_col=0)
            for part in ("cohort", "truth")
        ]
        table = pd.concat(parts)
        table.to_csv(folder / f"{modality}.csv")
        patients |= set(table.index)
    # Every third patient tests, so that some with slides are among them.
    labels = {p: "test" if i % 3 == 0 else "train" for i, p in enumerate(sorted(patients))}
    split = pd.Series(labels, name="split").rename_axis("patient")
    split.to_csv(tmp_path / "split.csv")
    return folder


@pytest.fixture
def recipe(bank: Path, tmp_path: Path, done: Done) -> Path:
    """Proteins from copy number and slides, in 5 steps."""
    path = tmp_path / "ensemble.toml"
    experts = [w for m in ("cna", "wsi") for w in ("--expert", f"{m}-to-rppa")]
    done("compose", *experts, "--steps", 5, "-o", path)
    return path


def test_reconstruction_compares_ensemble_experts_and_ridge(
    full: Path, recipe: Path, tmp_path: Path, done: Done
) -> None:
    output = tmp_path / "new" / "results.json"
    words = [
        "evaluate", "reconstruction", full, "-e", recipe, "--split", tmp_path / "split.csv",
        "--draws", 4,
    ]  # fmt: skip
    text = done(*words, "-o", output, "--json")
    content = _strict(text)
    assert isinstance(content, dict)
    assert _strict(output.read_text()) == content
    assert content["experiment"] == "reconstruction"
    assert content["draws"] == 4
    assert content["cohort_digest"] == read_cohort(full).digest()
    assert len(content["experts"]) == 2
    rows = content["results"]
    assert {row["target"] for row in rows} == {"rppa"}
    assert {row["method"] for row in rows} == {
        "coherent ensemble", "ridge", *(f"{m}-to-rppa@0.1.0" for m in ("cna", "wsi")),
    }  # fmt: skip
    shared = [row for row in rows if row["scope"] == "shared"]
    assert len({row["patients"] for row in shared}) == 1
    for row in rows:
        assert math.isfinite(row["r2_mean"])
        assert (row["r2_draw"] is None) == (row["method"] == "ridge")
    table = done(*words)
    assert "scope: shared" in table
    assert "scope: own" in table
    assert "coherent ensemble" in table


@pytest.mark.parametrize("part", ["train", "test"])
def test_reconstruction_needs_both_parts_of_the_split(
    full: Path, recipe: Path, tmp_path: Path, refused: Refused, part: str
) -> None:
    path = tmp_path / "split.csv"
    path.write_text(path.read_text().replace(part, "validation"))
    message = refused("evaluate", "reconstruction", full, "-e", recipe, "--split", path)
    assert f"have no {part} patient in common" in message
    assert "TCGA-" in message


def test_reconstruction_of_patients_without_a_target_is_refused(
    full: Path, recipe: Path, tmp_path: Path, refused: Refused
) -> None:
    split = pd.read_csv(tmp_path / "split.csv", index_col=0).split
    table = pd.read_csv(full / "rppa.csv", index_col=0)
    table[(split.reindex(table.index) == "train").to_numpy()].to_csv(full / "rppa.csv")
    message = refused(
        "evaluate", "reconstruction", full, "-e", recipe, "--split", tmp_path / "split.csv"
    )
    assert "no test patient has a target" in message


def test_reconstruction_without_a_table_is_refused(
    full: Path, recipe: Path, tmp_path: Path, refused: Refused
) -> None:
    (full / "wsi.csv").unlink()
    message = refused(
        "evaluate", "reconstruction", full, "-e", recipe, "--split", tmp_path / "split.csv"
    )
    assert "has no table for 'wsi'" in message
