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
EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga"
MODALITIES = ("cna", "rna", "rppa", "wsi")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example cohort with what was held back put in."""
    folder = tmp_path_factory.mktemp("whole")
    for modality in MODALITIES:
        parts = [EXAMPLE / part / f"{modality}.csv" for part in ("cohort", "truth")]
        table = pd.concat(pd.read_csv(part, index_col=0) for part in parts)
        table.to_csv(folder / f"{modality}.csv")
    return folder


@pytest.fixture
def full(whole: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(whole, tmp_path / "full")


@pytest.fixture
def words(bank: Path, ensemble: Path, full: Path) -> list[object]:
    return ["cohort", "conflicts", full, "-e", ensemble]


def swap(path: Path, kind: str, other_kind: str) -> tuple[str, str]:
    """Exchange the rows of the first patients of two cancer types."""
    table = pd.read_csv(path, index_col=0)
    types = pd.read_csv(EXAMPLE / "cohort" / "clinical.csv", index_col=0)["cancer_type"]
    one, other = (
        table.index[types.reindex(table.index) == wanted][0] for wanted in (kind, other_kind)
    )
    table.loc[[one, other]] = table.loc[[other, one]].to_numpy()
    table.to_csv(path)
    return one, other


def listed(text: str) -> pd.DataFrame:
    return pd.DataFrame(json.loads(text)["worst"]).set_index("patient")


def test_patients_whose_proteins_are_swapped_move_up(
    words: list[object], full: Path, done: Done
) -> None:
    words = [*words, "--top", 100, "--json"]
    before = listed(done(*words))
    two = swap(full / "rppa.csv", "LGG", "LUSC")
    after = listed(done(*words))
    assert set(after.index) == set(before.index)
    for patient in two:
        assert after.p[patient] < 0.8 * before.p[patient]
        assert after.score[patient] > before.score[patient]
        assert after.index.get_loc(patient) < before.index.get_loc(patient) - 10
        assert "rppa" in after.worst_pair[patient]


def test_patients_whose_expression_is_swapped_come_first(
    words: list[object], full: Path, done: Done
) -> None:
    two = swap(full / "rna.csv", "LUSC", "KIRP")
    found = listed(done(*words, "--json"))
    assert set(found.index[:2]) == set(two)
    assert found.suspect.head(2).tolist() == ["rna", "rna"]


def test_every_patient_is_in_the_csv_and_the_first_are_printed(
    words: list[object], full: Path, run: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "new" / "conflicts.csv"
    ran = run(*words, "--top", 3, "-o", path)
    assert ran.code == 0
    table = pd.read_csv(path)
    assert list(table.columns) == [
        "patient", "score", "p", "suspect", "worst_pair", "pairs", "reason",
    ]  # fmt: skip
    everyone = set().union(*(pd.read_csv(full / f"{m}.csv", index_col=0).index for m in MODALITIES))
    assert set(table.patient) == everyone
    assert table.p.is_monotonic_increasing
    assert table.patient[2] in ran.out
    assert table.patient[3] not in ran.out
    assert "first 3" in ran.out
    assert f"written to {path}" in ran.out
    assert list(path.parent.iterdir()) == [path]
    compared = int(table.p.notna().sum())
    assert f"note: {compared} of {len(table)} patients were compared" in ran.err
    assert "no proof" in ran.err
    assert "AUC of .87 (another cancer type) or .73 (the same)" in ran.err


def test_modality_limits_what_is_compared(words: list[object], done: Done) -> None:
    found = listed(done(*words, "--modality", "cna", "--modality", "rna", "--json"))
    assert len(found) == 20
    assert set(found.worst_pair) <= {"cna -> rna", "rna -> cna"}
    assert set(found.pairs) == {2}


def test_example_as_it_is_has_too_few_of_any_pair(
    words: list[object], run: Callable[..., Any]
) -> None:
    words[2] = EXAMPLE / "cohort"
    ran = run(*words, "--json")
    found = json.loads(ran.out)
    assert ran.code == found["compared"] == 0
    assert found["patients"] == 64
    assert all(row["p"] is None and row["reason"] for row in found["worst"])
    assert "note: none of 64 patients could be compared, see their reason" in ran.err
    text = run(*words, "--top", 100).out
    assert "has only wsi" in text
    assert "11 patients have cna and wsi; 20 are needed" in text


def test_what_cannot_be_compared_is_refused_in_one_line(
    words: list[object], full: Path, refused: Refused, tmp_path: Path
) -> None:
    assert "the cohort has rna; conflicts are between" in refused(*words, "--modality", "rna")
    assert "no table for 'xrays'" in refused(*words, "--modality", "xrays")
    there = tmp_path / "there.csv"
    there.write_text("kept")
    assert "--overwrite" in refused(*words, "-o", there)
    assert there.read_text() == "kept"
    absent = tmp_path / "absent.toml"
    assert str(absent) in refused(*words[:3], "-e", absent)
    table = pd.read_csv(full / "rna.csv", index_col=0)
    table.set_axis([f"X{i}" for i in range(len(table))]).to_csv(full / "rna.csv")
    assert "ids must be written alike in all" in refused(*words)
    words[2] = tmp_path / "nothing"
    assert str(tmp_path / "nothing") in refused(*words)


def test_overwrite_replaces_the_csv(words: list[object], done: Done, tmp_path: Path) -> None:
    there = tmp_path / "there.csv"
    there.write_text("old")
    done(*words, "-o", there, "--overwrite")
    assert len(pd.read_csv(there)) == 64
