from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Done = Callable[..., str]


def test_check_says_what_each_table_holds_and_changes_nothing(
    bank: Path, cohort: Path, done: Done
) -> None:
    before = {path: path.read_bytes() for path in cohort.iterdir()}
    content = json.loads(done("cohort", "check", cohort, "--json"))
    rows = {row["modality"]: row for row in content["tables"]}
    assert {row["verdict"] for row in rows.values()} == {"ok"}
    assert rows["cna"]["matched"] == "283/283"
    assert rows["rppa"]["gaps %"] > 0
    assert sum(row["patients"] for row in content["patterns"]) == len(
        {
            line.split(",")[0]
            for name in rows
            for line in (cohort / f"{name}.csv").read_text().splitlines()[1:]
        }
    )
    assert any("283 features of the space" in note for note in content["notes"]["cna"])
    assert {path: path.read_bytes() for path in cohort.iterdir()} == before


def test_check_exits_with_1_and_names_what_is_wrong(
    bank: Path, cohort: Path, run: Callable[..., object]
) -> None:
    path = cohort / "cna.csv"
    lines = path.read_text().splitlines()
    cells = lines[1].split(",")
    cells[5] = ""  # the space was fitted on complete data
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    ran = run("cohort", "check", cohort)
    assert ran.code == 1  # type: ignore[attr-defined]
    assert "values are missing" in ran.out.replace("\n", " ")  # type: ignore[attr-defined]


def test_check_of_a_modality_without_a_space_reads_it_all_the_same(
    only_these: Callable[[Path], None], tmp_path: Path, cohort: Path, done: Done
) -> None:
    only_these(tmp_path)
    rows = json.loads(done("cohort", "check", cohort, "--json"))["tables"]
    assert {row["verdict"] for row in rows} == {"no space installed"}


def test_check_draws_who_has_what_and_changes_nothing_else(
    bank: Path, cohort: Path, tmp_path: Path, done: Done
) -> None:
    before = {path: path.read_bytes() for path in cohort.iterdir()}
    plot = tmp_path / "patients.svg"
    assert f"picture written to {plot}\n" in done("cohort", "check", cohort, "--plot", plot)
    words = plot.read_text()
    assert "<!-- cna -->" in words
    assert "<!-- rppa -->" in words
    assert {path: path.read_bytes() for path in cohort.iterdir()} == before


def test_check_replaces_no_picture_unasked(
    bank: Path, cohort: Path, tmp_path: Path, done: Done, refused: Done
) -> None:
    plot = tmp_path / "patients.png"
    plot.write_text("precious")
    assert refused("cohort", "check", cohort, "--plot", plot) == (
        f"{plot} is already there; give another --plot, or --overwrite"
    )
    assert plot.read_text() == "precious"
    json.loads(done("cohort", "check", cohort, "--plot", plot, "--overwrite", "--json"))
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_check_refuses_a_picture_of_no_format_before_it_reads(
    tmp_path: Path, refused: Done
) -> None:
    plot = tmp_path / "patients.jpeg"
    assert refused("cohort", "check", tmp_path / "nowhere", "--plot", plot) == (
        f"{plot} tells no format of a picture; end its name in .png or .svg or .pdf"
    )
