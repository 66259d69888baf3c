"""The real cohort's report: as documented, and opened as a reader would, with nothing missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from codenoise.evaluation.experiments import EXPERIMENTS, experiment
from codenoise.evaluation.plotting import figure
from codenoise.evaluation.report import Chapter, read_chapters, write_report
from codenoise.evaluation.running import read_table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "evaluation"
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), "")
# Chromium as root in a container has no sandbox, and must not call its maker's hosts.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
         "--disable-component-update", "--no-first-run"]  # fmt: skip


@pytest.fixture(scope="module")
def chapters() -> list[Chapter]:
    """What the results say that docs/results.md shows."""
    return read_chapters(RESULTS)


@pytest.fixture(scope="module")
def report(chapters: Sequence[Chapter], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of these results."""
    return write(chapters, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def undrawn(chapters: Sequence[Chapter], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with empty figures, which take no time to draw."""
    return write(map(blank, chapters), tmp_path_factory.mktemp("undrawn"))


def write(chapters: Iterable[Chapter], parent: Path) -> Path:
    folder = parent / "evaluation"
    shutil.copytree(RESULTS, folder)
    return write_report(folder, list(chapters))


def blank(chapter: Chapter) -> Chapter:
    section = chapter.section
    if section is None:
        return chapter
    empty = [replace(one, draw=lambda: figure()[0]) for one in section.figures]
    return replace(chapter, section=replace(section, figures=empty))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def figures() -> int:
    """How many figures the stored results have."""
    tables = {name: read_table(RESULTS, name) for name in EXPERIMENTS}
    return sum(
        len(experiment(name).section(table).figures)
        for name, table in tables.items()
        if table is not None
    )


@pytest.mark.parametrize("kind", ["undrawn", pytest.param("report", marks=pytest.mark.slow)])
def test_the_documented_results_are_what_the_stored_rows_say(
    request: pytest.FixtureRequest, kind: str
) -> None:
    report: Path = request.getfixturevalue(kind)
    assert (ROOT / "docs" / "results.md").read_text() == (report.parent / "report.md").read_text()
    for picture in (report.parent / "figures").glob("*.png"):
        assert (ROOT / "docs" / "figures" / picture.name).exists()


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (375, 812)], ids=["laptop", "phone"])
def test_the_report_opens_whole_and_readable(
    report: Path, browser: Any, tmp_path: Path, width: int, height: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": height})
    problems: list[str] = []
    fetched: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(report.as_uri())
    assert problems == []
    assert [url for url in fetched if not url.startswith("data:")] == [report.as_uri()]
    images = page.evaluate(
        "[...document.images].map(i => [i.complete, i.naturalWidth, i.width, i.alt])"
    )
    assert len(images) == figures() >= len(EXPERIMENTS)
    for complete, natural, shown, alt in images:
        assert complete
        assert natural > 300
        assert 0.7 * min(width, 600) <= shown <= width
        assert len(alt) > 20
    assert len(page.query_selector_all("section")) == len(EXPERIMENTS) + 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.evaluate(
        "[...document.querySelectorAll('p, td, th, li, figcaption, code')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 12
    wrapped = page.evaluate("[...document.querySelectorAll('.verdict')].map(e => e.clientWidth)")
    assert min(wrapped) > 0.8 * min(width, 900)
    picture = tmp_path / "report.png"
    page.screenshot(path=str(picture), full_page=True)
    pixels = imread(picture)[..., :3]
    assert pixels.shape[1] == width
    # Text and figures all the way down: no screenful is blank.
    screens = [pixels[top : top + height] for top in range(0, len(pixels) - height, height)]
    assert min(float(np.mean(screen < 0.9)) for screen in screens) > 0.002
    page.close()
