from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Done = Callable[..., str]


def test_list_shows_every_space(bank: Path, done: Done) -> None:
    text = done("spaces", "list")
    for modality in ("cna", "rna", "rppa", "wsi"):
        assert f"tcga-{modality}@0.1.0" in text


def test_list_as_json(bank: Path, done: Done) -> None:
    content = json.loads(done("spaces", "list", "--json"))
    features = {row["modality"]: row["features"] for row in content}
    example = Path(__file__).parents[2] / "examples" / "tcga" / "cohort"
    for modality in ("cna", "rna", "rppa", "wsi"):
        header = (example / f"{modality}.csv").read_text().partition("\n")[0]
        assert features[modality] == header.count(",")
    assert {row["dimensions"] for row in content} == {32}


def test_list_of_nothing_says_what_to_install(
    tmp_path: Path, only_these: Callable[[Path], None], done: Done
) -> None:
    only_these(tmp_path)
    assert "pip install one, e.g. codenoise-space" in done("spaces", "list")
    assert json.loads(done("spaces", "list", "--json")) == []


def test_list_names_broken_spaces_on_stderr(
    own_bank: Callable[[str], Path], run: Callable[..., Any]
) -> None:
    (own_bank("codenoise_space_tcga_rna") / "space.json").unlink()
    ran = run("spaces", "list")
    assert ran.code == 0
    assert ran.err.startswith("skipped: tcga-rna of codenoise-space-tcga-rna 0.1.0: ")


@pytest.mark.parametrize("name", ["tcga-rppa", "tcga-rppa@0.1.0"])
def test_show_prints_the_manifest(bank: Path, done: Done, name: str) -> None:
    text = done("spaces", "show", name)
    assert text.startswith("tcga-rppa@0.1.0 (codenoise-space-tcga-rppa)\n")
    assert "144 (14-3-3_epsilon, 4E-BP1, " in text
    assert "reverse-phase protein array" in text


def test_show_prints_brackets_as_they_are(bank: Path, done: Done) -> None:
    assert "AREA (MM2) OF [EPITHELIAL] IN [TISSUE]" in done("spaces", "show", "tcga-wsi")


def test_show_as_json_has_the_features(bank: Path, done: Done) -> None:
    (content,) = json.loads(done("spaces", "show", "tcga-rppa", "--json"))
    assert len(content["features"]) == 144
    assert content["digest"].startswith("sha256:")
    assert content["source"] == {
        "kind": "pip", "distribution": "codenoise-space-tcga-rppa", "version": "0.1.0",
    }  # fmt: skip


def test_show_of_an_unknown_space_names_the_installed(
    bank: Path, refused: Callable[..., str]
) -> None:
    message = refused("spaces", "show", "tcga-rpa")
    assert message.startswith("space 'tcga-rpa' is not installed; installed: tcga-cna, tcga-")
