"""What an experiment is: a question, parts that can be measured one by one, and their reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from codenoise.evaluation.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

Row = dict[str, str | int | float | bool | None]


@dataclass(frozen=True)
class Part:
    """A piece of an experiment that is measured and stored as a whole.

    Attributes
    ----------
    key
        Names the piece among those of its experiment; an interrupted experiment goes on with the
        keys that it has not stored.
    measure
        Measures it: tidy rows, each with every identifying column (``run``, ``seed``, ``method``,
        ...) and its measures. A measure that cannot be had is NaN, with ``reason`` saying why.
    """

    key: str
    measure: Callable[[], list[Row]]


@dataclass(frozen=True)
class Claim:
    """A statement of the report with the test behind it.

    Attributes
    ----------
    text
        What is claimed, as a sentence with its figures.
    test
        Name of the test, its statistic, corrected p-value and number of subjects; or why none
        applies.
    paper
        What the paper says to the same, measured on other patients; empty where it says nothing.
    agrees
        Whether our result agrees with the paper's; ``None`` where there is nothing to compare.
    headline
        Whether the experiment's verdict tells it.
    """

    text: str
    test: str
    paper: str = ""
    agrees: bool | None = None
    headline: bool = False


@dataclass(frozen=True)
class ReportTable:
    """A table of the report, its cells ready to be shown.

    Attributes
    ----------
    title
        Says what is in it, units and definitions included.
    frame
        Columns in order; the index is not shown.
    note
        Anything a reader must know beneath it.
    """

    title: str
    frame: pd.DataFrame
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    Attributes
    ----------
    name
        Of its files, lower case with dashes.
    title
        Its caption: what is drawn, axes, error bars, number of patients.
    alt
        What it shows, in words, for who cannot see it.
    draw
        Draws it with matplotlib.
    """

    name: str
    title: str
    alt: str
    draw: Callable[[], Drawing]


@dataclass(frozen=True)
class Section:
    """An experiment's part of the report, made from stored rows alone.

    Attributes
    ----------
    claims, tables, figures
        What was found.
    notes
        Definitions, what was left out and why; each a sentence or two.
    """

    claims: Sequence[Claim] = ()
    tables: Sequence[ReportTable] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        """The answer to the question: its headline claims, and how many agree with the paper."""
        said = [claim.text for claim in self.claims if claim.headline]
        judged = [claim.agrees for claim in self.claims if claim.agrees is not None]
        if judged:
            against = len(judged) - sum(judged)
            said.append(f"Set beside the paper's findings: {sum(judged)} agree, {against} do not.")
        return " ".join(said) or "Nothing could be measured."


@dataclass(frozen=True)
class Experiment:
    """One experiment of the paper.

    Attributes
    ----------
    name
        As ``codenoise evaluate`` knows it.
    title, question
        Heading, and what is asked.
    paper
        Its figures and tables there.
    parts
        Pieces to measure for a study. Raises `DataError` where the study lacks what is needed.
    section
        Reads the tidy table of all rows.
    """

    name: str
    title: str
    question: str
    paper: str
    parts: Callable[[Study], list[Part]]
    section: Callable[[pd.DataFrame], Section]
