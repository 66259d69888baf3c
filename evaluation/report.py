"""The report: one HTML file that needs no network, its figures as files, and a Markdown twin."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from codenoise.core.base.files import atomic_file
from codenoise.core.base.optional import needed, quiet
from codenoise.evaluation.experiment import Experiment, Figure, Section
from codenoise.evaluation.experiments import EXPERIMENTS, experiment
from codenoise.evaluation.running import left_out, read_about, read_table, seconds_of
from codenoise.evaluation.templates import environment

REPORT = "report.html"
SUMMARY = "report.md"
DOTS_PER_INCH = 160


@dataclass(frozen=True)
class Chapter:
    """One experiment of the report: its section, or why there is none."""

    experiment: Experiment
    section: Section | None
    missing: str
    rows: int
    minutes: float
    command: str


def read_chapters(folder: Path) -> list[Chapter]:
    """Every experiment's part of the report, in its order.

    Raises
    ------
    DataError
        If the folder holds no results, or a file of them is damaged.
    """
    about = read_about(folder)
    return [_chapter(folder, name, about) for name in EXPERIMENTS]


def write_report(folder: Path, chapters: Sequence[Chapter] | None = None) -> Path:
    """Write ``report.html``, ``report.md`` and ``figures/`` from stored results.

    Parameters
    ----------
    folder
        Results written by `codenoise.evaluation.running.run_experiment`.
    chapters
        As `read_chapters` gives them, where they were read already.

    Returns
    -------
    Path
        The HTML file.

    Raises
    ------
    DataError
        If the folder holds no results, or a file of them is damaged.
    CodenoiseError
        If a file cannot be written.
    """
    about = read_about(folder)
    chapters = read_chapters(folder) if chapters is None else chapters
    pictures = {
        stem(figure, chapter.experiment.name): _draw(figure, folder, chapter.experiment.name)
        for chapter in chapters
        if chapter.section is not None
        for figure in chapter.section.figures
    }
    renderer = environment()
    renderer.filters |= {"cell": cell, "records": _records, "stem": stem, "breakable": _breakable}
    for template, name in (("report.html.j2", REPORT), ("report.md.j2", SUMMARY)):
        text = renderer.get_template(template).render(
            about=about, chapters=chapters, pictures=pictures
        )  # fmt: skip
        with atomic_file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder / REPORT


def _chapter(folder: Path, name: str, about: Mapping[str, Any]) -> Chapter:
    found, rows = experiment(name), read_table(folder, name)
    section = found.section(rows) if rows is not None and len(rows) else None
    return Chapter(
        experiment=found,
        section=section,
        missing=left_out(folder).get(name, "It was not run."),
        rows=0 if rows is None else len(rows),
        minutes=0.0 if rows is None else seconds_of(rows) / 60,
        command=f"codenoise evaluate {name} {about['arguments']}",
    )


def stem(figure: Figure, name: str) -> str:
    """The name of a figure's files, without ending, among those of all experiments."""
    return f"{name}-{figure.name.removeprefix(f'{name}-')}"


def _draw(figure: Figure, folder: Path, name: str) -> str:
    """Write a figure as PNG and SVG; return the smaller as the address of an image."""
    matplotlib = needed("matplotlib", "drawing figures", extra="evaluation")
    # Without dates and random names, equal results give equal files.
    with quiet(), matplotlib.rc_context({"svg.hashsalt": "codenoise"}):
        drawn = figure.draw()
        made = {}
        for kind, mime in (("png", "image/png"), ("svg", "image/svg+xml")):
            path = folder / "figures" / f"{stem(figure, name)}.{kind}"
            with atomic_file(path) as temporary:
                drawn.savefig(
                    temporary, format=kind, dpi=DOTS_PER_INCH,
                    metadata={"Date": None} if kind == "svg" else None,
                )  # fmt: skip
            content = base64.b64encode(path.read_bytes()).decode()
            made[kind] = f"data:{mime};base64,{content}"
    return min(made.values(), key=len)


def cell(value: object) -> str:
    """A value as a table shows it: three decimals, thousands apart, a dash for none."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{value:.3f}"
    return str(value)


def _records(frame: pd.DataFrame) -> list[list[object]]:
    return [list(row) for row in frame.itertuples(index=False, name=None)]


def _breakable(text: str) -> Markup:
    """Let long paths and digests break at a slash or a colon."""
    escaped = str(Markup.escape(text))
    return Markup(escaped.replace("/", "/<wbr>").replace(":", ":<wbr>"))  # noqa: S704 - escaped
