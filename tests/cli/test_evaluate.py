from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from codenoise.core.cohort.cohort import read_cohort
from codenoise.evaluation.experiments import EXPERIMENTS

Done = Callable[..., str]
Refused = Callable[..., str]
EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga"


def _strict(text: str) -> object:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def imputed(ensemble: Path, once: Done, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The proteins of the example completed from copy number with four draws; only to be read."""
    output = tmp_path_factory.mktemp("evaluated") / "completed"
    words = ["impute", EXAMPLE / "cohort", "-e", ensemble, "-o", output, "--draws", 4]
    once(*words, "--target", "rppa", "--modality", "cna", "--modality", "rppa")
    return output


@pytest.fixture
def completed(bank: Path, imputed: Path) -> Path:
    """The same, where the bank is what is installed."""
    return imputed


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


def test_truth_of_what_was_not_completed_is_refused(
    completed: Path, proteins: Path, refused: Refused
) -> None:
    shutil.copy(EXAMPLE / "truth" / "cna.csv", proteins)
    message = refused("evaluate", "truth", completed, "--truth", proteins)
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
    completed: Path, proteins: Path, tmp_path: Path, refused: Refused
) -> None:
    damaged = shutil.copytree(completed, tmp_path / "damaged")
    shutil.rmtree(damaged / "spread")
    message = refused("evaluate", "truth", damaged, "--truth", proteins)
    assert str(damaged / "spread") in message


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example cohort with what was held back put in, and a split of it beside it."""
    folder = tmp_path_factory.mktemp("whole") / "full"
    folder.mkdir()
    patients: set[str] = set()
    for modality in ("cna", "rppa", "wsi"):
        table = pd.concat(
            pd.read_csv(EXAMPLE / part / f"{modality}.csv", index_col=0)
            for part in ("cohort", "truth")
        )
        table.to_csv(folder / f"{modality}.csv")
        patients |= set(table.index)
    # Every third patient tests, so that some with slides are among them.
    parts = ("test", "train", "train", "test", "train", "validation")
    labels = {p: parts[i % 6] for i, p in enumerate(sorted(patients))}
    split = pd.Series(labels, name="split").rename_axis("patient")
    split.to_csv(folder.parent / "split.csv")
    return folder


@pytest.fixture
def full(whole: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copy(whole.parent / "split.csv", tmp_path)
    return shutil.copytree(whole, tmp_path / "full")


@pytest.fixture(scope="module")
def composed(once: Done, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Proteins from copy number and slides, in 5 steps."""
    path = tmp_path_factory.mktemp("composed") / "ensemble.toml"
    experts = [w for m in ("cna", "wsi") for w in ("--expert", f"{m}-to-rppa")]
    once("compose", *experts, "--steps", 5, "-o", path)
    return path


@pytest.fixture
def recipe(bank: Path, composed: Path) -> Path:
    """The same, where the bank is what is installed."""
    return composed


def words(name: str, full: Path, recipe: Path, tmp_path: Path, *others: object) -> list[object]:
    """``codenoise evaluate NAME`` on the example cohort, into a folder beside it."""
    given = ["--split", tmp_path / "split.csv", "-o", tmp_path / "out", *others]
    return ["evaluate", name, full, "-e", recipe, *given]


def test_an_experiment_writes_rows_figures_and_a_report(
    full: Path, recipe: Path, tmp_path: Path, done: Done
) -> None:
    asked = words("reconstruction", full, recipe, tmp_path, "--runs", 1, "--quick")
    content = _strict(done(*asked, "--json"))
    assert isinstance(content, list)
    assert content[0]["experiment"] == "reconstruction"
    rows = pd.read_parquet(tmp_path / "out" / "results" / "reconstruction.parquet")
    assert len(rows) == content[0]["rows"]
    assert set(rows.dropna(subset=["r2_mean"]).target) == {"rppa"}  # the others have no expert
    assert {"coherent ensemble", "best single expert", "best simple baseline"} <= set(rows.method)
    assert rows[rows.method == "coherent ensemble"].r2_mean.notna().any()
    about = json.loads((tmp_path / "out" / "study.json").read_text())
    assert about["cohort_digest"] == read_cohort(full).digest()
    assert set(rows.cohort_digest) == {about["cohort_digest"]}
    assert set(rows.recipe_digest) == {about["recipe_digest"]}
    assert len(about["made_with"]["experts"]) == 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert content[0]["verdict"] in page.replace("&#39;", "'")
    assert list((tmp_path / "out" / "figures").glob("reconstruction-*.png"))
    assert "It was not run." in page

    text = done(*asked)  # everything is stored: nothing is measured again
    again = pd.read_parquet(tmp_path / "out" / "results" / "reconstruction.parquet")
    pd.testing.assert_frame_equal(again, rows)
    assert content[0]["verdict"] in text
    assert text.rstrip().endswith(f"report: {tmp_path / 'out' / 'report.html'}")
    before = (tmp_path / "out" / "report.html").read_bytes()
    done("report", tmp_path / "out")
    assert (tmp_path / "out" / "report.html").read_bytes() == before


def test_a_dry_run_shows_the_plan_and_writes_nothing(
    full: Path, recipe: Path, tmp_path: Path, done: Done
) -> None:
    rows = _strict(done(*words("all", full, recipe, tmp_path, "--dry-run", "--json")))
    assert isinstance(rows, list)
    assert [row["experiment"] for row in rows] == list(EXPERIMENTS)
    plan = {row["experiment"]: row for row in rows}
    assert plan["reconstruction"]["left"] == plan["reconstruction"]["parts"] > 0
    # The example with its split has no patient for validation beside a clinical table.
    assert plan["signals"]["parts"] == 0
    assert "stage" in plan["signals"]["why not"] or "clinical" in plan["signals"]["why not"]
    assert not (tmp_path / "out").exists()


class Linear:
    """Two of the latents in the place of UMAP, which takes long to compile; see the slow test."""

    def __init__(self, **_: object) -> None:
        pass

    def fit(self, _: object) -> Linear:
        return self

    def transform(self, values: Any) -> Any:
        return values[:, :2]


def test_what_cannot_be_measured_is_left_out_and_said(
    full: Path,
    recipe: Path,
    tmp_path: Path,
    run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Linear))
    ran = run(*words("all", full, recipe, tmp_path, "--quick", "--runs", 1))
    assert ran.code == 0, ran.err
    assert "signals is left out: " in ran.err
    assert "Traceback" not in ran.err
    page = (tmp_path / "out" / "report.html").read_text()
    left_out = json.loads((tmp_path / "out" / "left_out.json").read_text())
    assert {"signals", "completion"} <= set(left_out)
    assert page.lower().count("not measured. ") == 2 * len(left_out)  # in its list and its section
    assert "reconstruction: " in ran.out


def test_results_of_another_study_are_not_mixed(
    full: Path, recipe: Path, tmp_path: Path, done: Done, refused: Refused
) -> None:
    done(*words("weights", full, recipe, tmp_path, "--runs", 1, "--quick"))
    message = refused(*words("weights", full, recipe, tmp_path, "--seed", 1, "--quick"))
    assert message.startswith(f"{tmp_path / 'out'} holds results of another study: seed differ")
    assert message.endswith("give another --output, or --overwrite to start anew")
    again = ("--runs", 1, "--quick", "--seed", 1, "--overwrite")
    done(*words("weights", full, recipe, tmp_path, *again))
    about = json.loads((tmp_path / "out" / "study.json").read_text())
    assert about["seed"] == 1


def test_a_folder_of_something_else_is_never_deleted(
    full: Path, recipe: Path, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    for others in ((), ("--overwrite",)):
        refused(*words("weights", full, recipe, tmp_path, *others))
        assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_every_part_of_the_split_is_needed(
    full: Path, recipe: Path, tmp_path: Path, refused: Refused, part: str
) -> None:
    path = tmp_path / "split.csv"
    path.write_text(
        path.read_text().replace(f",{part}", f",{'test' if part != 'test' else 'train'}")
    )
    message = refused(*words("reconstruction", full, recipe, tmp_path))
    assert f"have no {part} patient in common" in message
    assert "TCGA-" in message


def test_a_missing_table_or_unknown_modality_is_named(
    full: Path, recipe: Path, tmp_path: Path, refused: Refused
) -> None:
    message = refused(*words("weights", full, recipe, tmp_path, "--modality", "methylation"))
    assert message == f"{recipe} has no modality 'methylation'; it knows cna, rppa, wsi"
    (full / "wsi.csv").unlink()
    message = refused(*words("weights", full, recipe, tmp_path))
    assert "has no table for 'wsi'" in message


def test_a_damaged_clinical_table_is_named(
    full: Path, recipe: Path, tmp_path: Path, refused: Refused
) -> None:
    path = tmp_path / "clinical.csv"
    path.write_text("patient,stage\np1,1\np1,2\n")
    message = refused(*words("weights", full, recipe, tmp_path, "--clinical", path))
    assert str(path) in message
    assert "p1" in message


def test_report_needs_results(tmp_path: Path, refused: Refused) -> None:
    message = refused("report", tmp_path)
    assert message.startswith(f"{tmp_path / 'study.json'} is missing or damaged")
