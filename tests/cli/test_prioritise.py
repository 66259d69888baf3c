from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Done = Callable[..., str]
Refused = Callable[..., str]
EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga" / "cohort"
TRUTH = EXAMPLE.parent / "truth"


@pytest.fixture
def words(bank: Path, ensemble: Path) -> list[object]:
    """The command on the example cohort, with few trees and draws."""
    return ["prioritise", EXAMPLE, "-e", ensemble, "--trees", 30, "--draws", 4]


@pytest.fixture
def fuller(tmp_path: Path) -> Path:
    """The example with real proteins of all but six patients, so that 20 have both tables."""
    folder = tmp_path / "fuller"
    folder.mkdir()
    for name in ("cna.csv", "clinical.csv"):
        shutil.copy(EXAMPLE / name, folder)
    given, held = (pd.read_csv(f, index_col=0) for f in (EXAMPLE / "rppa.csv", TRUTH / "rppa.csv"))
    both = pd.concat([given, held.loc[held.index.difference(given.index)]])
    both.iloc[:-6].to_csv(folder / "rppa.csv")
    return folder


def test_every_patient_that_lacks_it_is_ranked(words: list[object], done: Done) -> None:
    found = json.loads(done(*words, "--missing", "cna", "--json"))
    frames = {
        m: pd.read_csv(EXAMPLE / f"{m}.csv", index_col=0) for m in ("cna", "rna", "rppa", "wsi")
    }
    everyone = set().union(*(set(frame.index) for frame in frames.values()))
    lacking = everyone - set(frames["cna"].index)
    rows = found["patients"]
    assert {row["patient"] for row in rows} == lacking
    assert found["ranked"] == len(lacking)
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    stage = pd.read_csv(EXAMPLE / "clinical.csv", index_col=0)["stage"].dropna()
    assert found["trained"] == len(set(stage.index) & set(frames["cna"].index))
    assert sum(found["classes"].values()) == found["trained"]
    for row in rows:
        has = {m for m, frame in frames.items() if row["patient"] in frame.index}
        assert set(row["has"].split("+")) == has
        assert row["lacks"] == "cna"
        assert row["predicted"] in found["classes"]
        assert 0 < row["probability"] <= 1


def test_csv_has_all_and_the_table_the_first(
    words: list[object], done: Done, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "ranked.csv"
    text = done(*words, "--missing", "cna", "--top", 3, "-o", path)
    table = pd.read_csv(path)
    assert len(table) > 3
    assert list(table.columns) == [
        "rank", "patient", "score", "predicted", "probability", "recorded", "lacks", "has",
        "incoherent_draws", "reason",
    ]  # fmt: skip
    assert table.patient[2] in text
    assert table.patient[3] not in text
    assert f"written to {path}" in text
    assert list(path.parent.iterdir()) == [path]


def test_same_seed_same_ranking_and_any_label(
    words: list[object], fuller: Path, done: Done
) -> None:
    words[1] = fuller
    words = [*words, "--missing", "cna", "--label", "sex", "--json"]
    first, again = done(*words), done(*words)
    assert first == again
    found = json.loads(first)
    assert set(found["classes"]) == {"F", "M"}
    assert found["task"] == "sex"
    assert done(*words, "--seed", 1) != first


def test_several_modalities_and_label_changes(
    words: list[object], fuller: Path, done: Done
) -> None:
    words[1] = fuller
    more = ["--missing", "cna", "--missing", "rppa", "--score", "label-changes", "--json"]
    found = json.loads(done(*words, *more))
    proteins, copies = (
        set(pd.read_csv(fuller / f"{m}.csv", index_col=0).index) for m in ("rppa", "cna")
    )
    lacks = {row["patient"]: row["lacks"] for row in found["patients"]}
    assert lacks == {
        **dict.fromkeys(proteins - copies, "cna"),
        **dict.fromkeys(copies - proteins, "rppa"),
    }
    assert {"cna", "rppa"} == set(lacks.values())
    assert all(row["score"] in (0, 0.25, 0.5, 0.75) for row in found["patients"])


def test_notes_say_whom_the_forest_saw(words: list[object], run: Callable[..., Any]) -> None:
    ran = run(*words, "--missing", "cna")
    assert ran.code == 0
    assert "note: the forest was trained on" in ran.err
    assert "have a known outcome, which the forest has not seen" in ran.err


def test_what_cannot_be_ranked_is_refused_in_one_line(
    words: list[object], fuller: Path, refused: Refused, tmp_path: Path
) -> None:
    assert "forest needs 20" in refused(*words, "--missing", "rna")
    words[1] = fuller
    assert "no expert that generates 'xrays'" in refused(*words, "--missing", "xrays")
    assert "no column 'grade'" in refused(*words, "--missing", "cna", "--label", "grade")
    survival = ["--task", "survival", "--score", "label-changes"]
    assert "take the score 'variance'" in refused(*words, "--missing", "cna", *survival)
    absent = tmp_path / "nothing.csv"
    assert str(absent) in refused(*words, "--missing", "cna", "--clinical", absent)
    there = tmp_path / "there.csv"
    there.write_text("kept")
    message = refused(*words, "--missing", "cna", "-o", there)
    assert "--overwrite" in message
    assert there.read_text() == "kept"


def test_a_cohort_without_clinical_table_is_refused(
    words: list[object], refused: Refused, tmp_path: Path
) -> None:
    folder = tmp_path / "cohort"
    folder.mkdir()
    for name in ("cna.csv", "rppa.csv"):
        shutil.copy(EXAMPLE / name, folder)
    words[1] = folder
    assert "no clinical table" in refused(*words, "--missing", "cna")


def test_help_shows_an_example(done: Done) -> None:
    shown = done("prioritise", "--help")
    assert "codenoise prioritise my_cohort -e ensemble.toml --missing rna" in shown
