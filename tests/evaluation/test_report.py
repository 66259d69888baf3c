from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from codenoise.core.base.errors import DataError
from codenoise.evaluation import report as module
from codenoise.evaluation.experiment import Claim, Experiment, Figure, Part, ReportTable, Section
from codenoise.evaluation.plotting import colour, figure
from codenoise.evaluation.report import cell, write_report
from codenoise.evaluation.running import leave_out, open_results, run_experiment
from codenoise.evaluation.study import COHERENT, Study

ABOUT = {
    "codenoise": "1.2", "python": "3.11", "torch": "2", "cohort": "my/<cohort>", "split": "s.csv",
    "cohort_digest": "sha256:aa", "clinical_digest": "", "split_digest": "sha256:bb",
    "ensemble": "e.toml", "recipe_digest": "sha256:cc", "modalities": ["x"], "seed": 0,
    "quick": False, "runs": 1,
    "patients": {"train": 1000, "validation": 10, "test": 20},
    "arguments": "'my/<cohort>' -e e.toml --split s.csv",
}  # fmt: skip


def section(frame: pd.DataFrame) -> Section:
    def draw() -> Any:
        drawn, (axes,) = figure()
        axes.bar(frame.method, frame.value, color=[colour(m) for m in frame.method])
        return drawn

    return Section(
        claims=[
            Claim(f"The mean is {frame.value.mean():.2f}, <not> more.", "none", headline=True),
            Claim("a is above b", "Wilcoxon, p < .001", "a = b", agrees=False),
        ],
        tables=[ReportTable("Values", frame[["method", "value", "patients"]], "They are made up.")],
        figures=[Figure("bars", "Bars of values", "Two bars, the first is higher", draw)],
        notes=["One patient was left out & counted."],
    )


def measure() -> list[dict[str, Any]]:
    return [{"run": 0, "method": COHERENT, "value": 0.75, "patients": 1234},
            {"run": 0, "method": "b", "value": None, "patients": 7}]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of one made-up experiment; a second was left out, a third was not run."""
    made = {
        name: Experiment(name, f"About {name}", "How much?", "Fig 1",
                         lambda _: [Part("only", measure)], section)
        for name in ("first", "second", "third")
    }  # fmt: skip
    monkeypatch.setattr(module, "EXPERIMENTS", dict.fromkeys(made, ("", "")))
    monkeypatch.setattr(module, "experiment", made.__getitem__)
    folder = tmp_path / "out"
    open_results(folder, ABOUT)
    run_experiment(made["first"], cast(Study, None), folder)
    leave_out(folder, "second", "clinical.csv has no column 'stage'")
    return folder


class Reader(HTMLParser):
    """Text, and what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [v or "" for k, v in attrs if k in ("src", "href") and tag != "a"]
        if tag not in ("meta", "link", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_report_has_question_verdict_figure_table_and_command(folder: Path) -> None:
    path = write_report(folder)
    reader = Reader()
    reader.feed(path.read_text())
    text = re.sub(r"\s+", " ", "".join(reader.text))
    for wanted in (
        "How much?", "The mean is 0.75, <not> more.", "a is above b", "Wilcoxon, p < .001",
        "Ours contradicts it.", "Bars of values", "Values", "0.750", "1,234", "They are made up.",
        "One patient was left out & counted.", "Not measured. clinical.csv has no column 'stage'",
        "Not measured. It was not run.",
        "codenoise evaluate first 'my/<cohort>' -e e.toml --split s.csv",
        "20 held-out test patients", "sha256:cc",
    ):  # fmt: skip
        assert wanted in text
    assert not reader.open
    assert all(source.startswith("data:") for source in reader.sources)


def test_figures_are_files_and_inside_the_report(folder: Path) -> None:
    page = write_report(folder).read_text()
    png = (folder / "figures" / "first-bars.png").read_bytes()
    svg = (folder / "figures" / "first-bars.svg").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert b"</svg>" in svg
    embedded = [base64.b64decode(one) for one in re.findall(r'<img src="data:[^,]*,([^"]*)"', page)]
    assert embedded == [min(png, svg, key=len)]


def test_the_same_results_give_the_same_report(folder: Path) -> None:
    first = write_report(folder).read_bytes()
    svg = (folder / "figures" / "first-bars.svg").read_bytes()
    assert write_report(folder).read_bytes() == first
    assert (folder / "figures" / "first-bars.svg").read_bytes() == svg


def test_the_markdown_twin_has_tables_that_parse(folder: Path) -> None:
    write_report(folder)
    lines = (folder / "report.md").read_text().splitlines()
    assert f"| {COHERENT} | 0.750 | 1,234 |" in lines
    assert "| b | - | 7 |" in lines
    tables = "\n".join(lines).split("\n\n")
    for table in (block.splitlines() for block in tables if block.startswith("|")):
        assert len({line.count("|") for line in table}) == 1
        assert re.fullmatch(r"\|(---\|)+", table[1])


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (float("nan"), "-"), (True, "yes"), (np.False_, "no"), (12345, "12,345"),
     (np.int64(7), "7"), (-0.12345, "-0.123"), (np.float32(2), "2.000"), ("rna+cna", "rna+cna")],
)  # fmt: skip
def test_cells_are_written_as_they_are_read(value: object, text: str) -> None:
    assert cell(value) == text


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps([1]))
    with pytest.raises(DataError, match=r"study.json is missing or damaged"):
        write_report(tmp_path)
