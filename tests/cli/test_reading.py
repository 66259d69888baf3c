"""How a cohort is read is told alike to every command that reads one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import pandas as pd
import pytest

from codenoise.cli.main import cli

Done = Callable[..., str]
EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga"
READERS = [
    "cohort check",
    "impute",
    "evaluate reconstruction",
    "evaluate truth",
    "spaces encode",
    "spaces fit",
    "train split",
    "train bank",
    "train expert",
    "train multi",
]


def command(words: str) -> click.Command:
    found: click.Command | None = cli
    for word in words.split():
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    return found


@pytest.mark.parametrize("words", READERS)
def test_every_command_that_reads_a_cohort_has_the_options(words: str) -> None:
    choices = {
        option.name: (option.default, [*option.type.choices])
        for option in command(words).params
        if isinstance(option.type, click.Choice)
    }
    assert choices["orientation"] == ("auto", ["auto", "patients-as-rows", "features-as-rows"])
    assert choices["samples"] == ("tumour", ["tumour", "primary", "metastatic", "normal"])
    assert choices["merge"] == ("refuse", ["refuse", "mean", "first"])


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A cohort that each of the three options has to be given for."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "rna.csv").write_text("id,p,q\nA,1,2\nA,3,4\n")
    (folder / "cna.csv").write_text("id,TCGA-AA-0001-11,TCGA-AA-0002-11\nB,1,2\n")
    return folder


def test_options_reach_every_table(
    only_these: Callable[[Path], None], tmp_path: Path, mixed: Path, done: Done, refused: Done
) -> None:
    only_these(tmp_path)
    turned = ["--orientation", "features-as-rows"]
    assert refused("cohort", "check", mixed, *turned, "--merge", "mean") == (
        f"{mixed / 'cna.csv'}: --samples tumour takes none of its 2 samples ('TCGA-AA-0001-11', "
        f"'TCGA-AA-0002-11'); found 2 normal; take them with --samples normal (samples in a "
        f"cohort's TOML)"
    )
    assert refused("cohort", "check", mixed, *turned, "--samples", "normal") == (
        f"{mixed / 'rna.csv'}: 1 feature(s) stand more than once: 'A'; keep one of each, or give "
        f"--merge mean or --merge first (merge in a cohort's TOML)"
    )
    told = [*turned, "--samples", "normal", "--merge", "mean", "--json"]
    rows = json.loads(done("cohort", "check", mixed, *told))["tables"]
    assert [(row["modality"], row["patients"], row["features"]) for row in rows] == [
        ("cna", 2, 1),
        ("rna", 2, 1),
    ]


def test_a_toml_goes_before_the_options(
    only_these: Callable[[Path], None], tmp_path: Path, mixed: Path, done: Done
) -> None:
    only_these(tmp_path)
    toml = mixed / "cohort.toml"
    toml.write_text(
        '[tables]\ncna = { path = "cna.csv", samples = "normal", orientation = "auto" }\n'
        'rna = { path = "rna.csv", orientation = "features-as-rows" }\n'
    )
    told = ["--orientation", "patients-as-rows", "--samples", "primary", "--merge", "first"]
    rows = json.loads(done("cohort", "check", toml, *told, "--json"))["tables"]
    assert [(row["modality"], row["patients"]) for row in rows] == [("cna", 2), ("rna", 2)]


def test_impute_completes_and_judges_a_cohort_that_needs_them(
    bank: Path, ensemble: Path, cohort: Path, tmp_path: Path, done: Done
) -> None:
    (tmp_path / "truth").mkdir()
    shutil.copy(EXAMPLE / "truth" / "cna.csv", tmp_path / "truth")
    for path in (cohort / "cna.csv", cohort / "rppa.csv", tmp_path / "truth" / "cna.csv"):
        frame = pd.read_csv(path, index_col=0)
        frame.index = [f"{patient}-11A" for patient in frame.index]
        frame.T.to_csv(path, index_label="feature")
    reading = ["--samples", "normal", "--orientation", "features-as-rows"]
    output = tmp_path / "out"
    done("impute", cohort, "-e", ensemble, "-o", output, "--draws", 2, *reading)
    completed = pd.read_csv(output / "completed" / "cna.csv", index_col=0)
    assert completed.shape[0] == 283
    rows = json.loads(
        done("evaluate", "truth", output, "--truth", tmp_path / "truth", *reading, "--json")
    )
    assert rows[0]["target"] == "cna"
    assert rows[0]["patients"] > 0


def test_spaces_are_fitted_and_splits_made_of_a_cohort_that_needs_them(
    tiny: Path, tmp_path: Path, done: Done
) -> None:
    folder = tmp_path / "cohort"
    shutil.copytree(tiny / "cohort", folder)
    for name in ("alpha", "beta"):
        frame = pd.read_csv(folder / f"{name}.csv", index_col=0)
        frame.T.to_csv(folder / f"{name}.csv", index_label="feature")
    turned = ["--orientation", "features-as-rows"]
    split = ["train", "split", folder, "--complete", "alpha", "-o", tmp_path / "split.csv"]
    done(*split, *turned)
    assert len(pd.read_csv(tmp_path / "split.csv")) == 150
    words = [folder, "--recipe", tiny / "bank.toml", "--split", tiny / "split.csv",
             "-o", tmp_path / "plugins", "--json"]  # fmt: skip
    outcomes = json.loads(done("spaces", "fit", *words, *turned))
    assert [outcome["status"] for outcome in outcomes] == ["trained", "trained"]


def test_an_unknown_choice_is_wrong_use(run: Callable[..., object], tmp_path: Path) -> None:
    ran = run("cohort", "check", tmp_path, "--samples", "tumor")
    assert ran.code == 2  # type: ignore[attr-defined]
    assert "'tumor' is not one of 'tumour', 'primary'" in ran.err  # type: ignore[attr-defined]
