from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from codenoise.core.cohort.splits import read_split

Done = Callable[..., str]
Refused = Callable[..., str]
Run = Callable[..., Any]


@pytest.fixture
def own(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny cohort, to be spoilt."""
    return Path(shutil.copytree(tiny, tmp_path / "tiny"))


def _split(root: Path, output: Path, *words: object) -> list[object]:
    return ["train", "split", root / "cohort", "--complete", "alpha", "-o", output, *words]


def _bank(root: Path, kind: str, output: Path, *words: object) -> list[object]:
    return [
        "train", kind, root / "cohort", "--recipe", root / "bank.toml",
        "--split", root / "split.csv", "-o", output, *words,
    ]  # fmt: skip


PAIR = ("--condition", "alpha", "--target", "beta")


def test_split_is_written_and_counted(tiny: Path, tmp_path: Path, done: Done) -> None:
    path = tmp_path / "new" / "split.csv"
    counts = json.loads(done(*_split(tiny, path, "--json")))
    split = read_split(path)
    assert {row["split"]: row["patients"] for row in counts} == split.value_counts().to_dict()
    assert len(split) == 150
    types = pd.read_csv(tiny / "cohort" / "clinical.csv", index_col=0).cancer_type
    tests = types[split.index[split == "test"]].value_counts()
    assert tests.to_dict() == {"LUAD": 8, "BRCA": 8, "KIRC": 8}


def test_split_is_a_table_for_people(tiny: Path, tmp_path: Path, done: Done) -> None:
    assert "train" in done(*_split(tiny, tmp_path / "split.csv"))


def test_split_depends_on_the_seed_alone(tiny: Path, tmp_path: Path, done: Done) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        done(*_split(tiny, tmp_path / name, "--seed", seed))
    texts = [(tmp_path / name).read_text() for name in "abc"]
    assert texts[0] == texts[1] != texts[2]


def test_split_that_is_there_is_kept_unless_asked(
    tiny: Path, tmp_path: Path, done: Done, refused: Refused
) -> None:
    path = tmp_path / "split.csv"
    path.write_text("precious")
    message = refused(*_split(tiny, path))
    assert message.startswith(f"{path} is already there")
    assert path.read_text() == "precious"
    done(*_split(tiny, path, "--overwrite"))
    assert len(read_split(path)) == 150


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--complete", "gamma"], "has no table for 'gamma'"),
        (["--stratify", "stage"], "has no column 'stage'; it has cancer_type"),
    ],
    ids=["modality", "column"],
)
def test_split_by_what_is_not_there_is_refused(
    tiny: Path, tmp_path: Path, refused: Refused, words: list[str], message: str
) -> None:
    assert message in refused(*_split(tiny, tmp_path / "split.csv", *words))
    assert not list(tmp_path.iterdir())


CLINICAL: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "binary": b"\xff\xfe\x00\x01,\n\x93",
    "ragged": b"patient,cancer_type\nP000,LUAD\nP001,LUAD,3,4\n",
    "duplicate": b"patient,cancer_type\nP000,LUAD\nP001,LUAD\nP000,BRCA\n",
}


@pytest.mark.parametrize("how", CLINICAL)
def test_clinical_table_that_cannot_be_used_is_refused(
    own: Path, refused: Refused, how: str
) -> None:
    path, content = own / "cohort" / "clinical.csv", CLINICAL[how]
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert "clinical" in refused(*_split(own, own / "new.csv"))


def test_expert_is_trained_and_reported(tiny: Path, tmp_path: Path, run: Run) -> None:
    ran = run(*_bank(tiny, "expert", tmp_path, *PAIR, "--json"))
    assert ran.code == 0
    rows = json.loads(ran.out)
    assert [(row["name"], row["status"]) for row in rows] == [
        ("tiny-alpha", "trained"), ("tiny-beta", "trained"), ("alpha-to-beta", "trained"),
    ]  # fmt: skip
    assert (rows[2]["n_train"], rows[2]["n_validation"]) == (90, 30)
    assert ran.err.count("\n") == 3
    assert "[3/3] expert alpha-to-beta: trained" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "codenoise-expert-alpha-to-beta",
        "codenoise-space-tiny-alpha",
        "codenoise-space-tiny-beta",
    ]


def test_bank_goes_on_where_an_expert_was_trained(tiny: Path, tmp_path: Path, done: Done) -> None:
    done(*_bank(tiny, "expert", tmp_path, *PAIR))
    rows = json.loads(done(*_bank(tiny, "bank", tmp_path, "--workers", 1, "--json")))
    assert {row["name"]: row["status"] for row in rows} == {
        "tiny-alpha": "up to date",
        "tiny-beta": "up to date",
        "alpha-to-beta": "up to date",
        "beta-to-alpha": "trained",
    }
    text = done(*_bank(tiny, "bank", tmp_path, "--workers", 1))
    assert text.count("up to date") == 4


def test_too_few_patients_are_reported(own: Path, tmp_path: Path, done: Done) -> None:
    path = own / "bank.toml"
    path.write_text(path.read_text().replace("minimum_patients = 20", "minimum_patients = 200"))
    rows = json.loads(done(*_bank(own, "expert", tmp_path / "out", *PAIR, "--json")))
    assert rows[-1]["status"] == "too few patients"
    assert rows[-1]["r2"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--condition", "alpha", "--target", "delta"), "'delta' is not in the bank recipe"),
        (("--condition", "beta", "--target", "beta"), "condition and target are both 'beta'"),
    ],
    ids=["unknown", "same"],
)
def test_expert_that_makes_no_sense_is_refused(
    tiny: Path, tmp_path: Path, refused: Refused, words: tuple[str, ...], message: str
) -> None:
    assert message in refused(*_bank(tiny, "expert", tmp_path, *words))
    assert not list(tmp_path.iterdir())


def test_missing_bank_recipe_is_refused(own: Path, refused: Refused) -> None:
    (own / "bank.toml").unlink()
    message = refused(*_bank(own, "bank", own / "out"))
    assert message == f"{own / 'bank.toml'} is not there; give a bank recipe with --recipe"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("dim = 4", "dims = 4", "dims"),
        ("width = 16", "widht = 16", "widht"),
        ("max_steps = 60", 'max_steps = "many"', "max_steps"),
        ("validate_every = 20", "validate_every = 0", "validate_every"),
        ("dim = 4", "dim = 400", "400"),
        ('version = "0.1.0"', 'version = "new"', "version"),
        ("[training]", "[training", "TOML"),
    ],
)
def test_bank_recipe_that_makes_no_sense_is_refused(
    own: Path, run: Run, old: str, new: str, words: str
) -> None:
    path = own / "bank.toml"
    path.write_text(path.read_text().replace(old, new))
    ran = run(*_bank(own, "expert", own / "out", *PAIR))
    assert ran.code == 1
    (line,) = (line for line in ran.err.splitlines() if line.startswith("error: "))
    assert words in line
    assert "Traceback" not in ran.err


SPLITS = {
    "unknown-label": ("patient,split\nP000,train\nP001,holdout\n", "patient 'P001': 'holdout'"),
    "twice": ("patient,split\nP000,train\nP000,test\n", "more than once: 'P000'"),
    "columns": ("id,part\nP000,train\n", "expected patient,split"),
    "empty": ("", "cannot be read"),
    "nobody": ("patient,split\nTCGA-1,train\n", "no train patient in common"),
}


@pytest.mark.parametrize("how", SPLITS)
def test_split_that_cannot_be_used_is_refused(own: Path, refused: Refused, how: str) -> None:
    content, words = SPLITS[how]
    (own / "split.csv").write_text(content)
    message = refused(*_bank(own, "expert", own / "out", *PAIR))
    assert words in message
    assert how == "nobody" or str(own / "split.csv") in message


def test_missing_split_names_the_command_that_makes_one(own: Path, refused: Refused) -> None:
    (own / "split.csv").unlink()
    message = refused(*_bank(own, "expert", own / "out", *PAIR))
    assert message == f"{own / 'split.csv'} is not there; make it with 'codenoise train split'"


def test_multi_needs_three_modalities(tiny: Path, tmp_path: Path, refused: Refused) -> None:
    message = refused(*_bank(tiny, "multi", tmp_path / "out"))
    assert "bank.toml has 2 modalities; a multi-condition expert needs at least 3" in message


def test_multi_of_an_unknown_target_is_refused(
    tiny: Path, tmp_path: Path, refused: Refused
) -> None:
    message = refused(*_bank(tiny, "multi", tmp_path / "out", "--target", "delta"))
    assert "target 'delta' is not in" in message
    assert "which has alpha, beta" in message


def test_tune_ranks_trials_and_writes_the_best_for_a_recipe(
    tiny: Path, tmp_path: Path, done: Done, refused: Refused
) -> None:
    pytest.importorskip("optuna")
    best, journal = tmp_path / "best.toml", tmp_path / "journal"
    words = [
        *_bank(tiny, "tune", tmp_path / "out", *PAIR), "--journal", journal, "--trials", 1,
        "--best", best,
    ]  # fmt: skip
    (trial,) = json.loads(done(*words, "--json"))
    assert (trial["trial"], trial["width"]) == (0, 16)  # the recipe's own settings come first
    settings = tomllib.loads(best.read_text())["training"]
    assert settings["width"] == 16
    assert settings["max_steps"] == 60
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "codenoise-space-tiny-alpha",
        "codenoise-space-tiny-beta",
    ]
    assert "is already there; give another --best, or --overwrite" in refused(*words)
