"""What a section is made of: cells, comparisons, intervals and notes, from stored rows.

An experiment says which rows are compared and what they are called; how a comparison, a cell or a
note is worded is decided here, once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from codenoise.evaluation.experiment import Claim
from codenoise.evaluation.statistics import Comparison, compare, interval, p_text
from codenoise.evaluation.study import COHERENT, METHODS
from codenoise.evaluation.templates import environment


def present(
    rows: pd.DataFrame, order: Sequence[str] = METHODS, column: str = "method"
) -> list[str]:
    """Those of a column's values that there are: the usual ones in their order, then any other."""
    there = list(rows[column].dropna().unique())
    return [name for name in order if name in there] + [n for n in there if n not in order]


def capital(text: str) -> str:
    """A text with its first letter large."""
    return text[:1].upper() + text[1:]


def mean_sd(values: ArrayLike, digits: int = 3, sign: str = "") -> str:
    """Mean ± standard deviation of what is known, as a cell shows it; ``sign`` as in a format."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return "-"
    sd = f" ± {known.std(ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{known.mean():{sign}.{digits}f}{sd}"


def spread(
    rows: pd.DataFrame,
    index: Sequence[str],
    value: str,
    *,
    columns: str = "method",
    order: Sequence[str] = METHODS,
    digits: int = 3,
) -> pd.DataFrame:
    """Cells of mean ± standard deviation over rows of one kind (runs, say).

    Parameters
    ----------
    rows
        Tidy.
    index
        Columns that name a line of the table, in order of appearance.
    value
        Column of the measure.
    columns
        Column whose values, sorted by ``order``, become those of the table.
    order
        See `present`.
    digits
        After the point.
    """
    if rows.empty:
        return pd.DataFrame(columns=list(index))
    cells = rows.groupby([*index, columns], sort=False)[value].apply(mean_sd, digits=digits)
    wide = cells.reset_index().pivot_table(
        index=list(index), columns=columns, values=value, aggfunc="first", sort=False
    )
    order = present(rows, order, columns)
    return wide.reindex(columns=order).fillna("-").reset_index().rename_axis(columns="")


def over(values: ArrayLike, things: str, form: str = "+.3f") -> str:
    """The 95% interval of a mean over subjects, ready to be read.

    Parameters
    ----------
    values
        One of each subject; NaN where unknown.
    things
        What the subjects are, in the plural.
    form
        How a bound is written.
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    low, high = interval(known)
    span = "not available" if np.isnan(low) else f"{low:{form}} to {high:{form}}"
    return f"95% interval over {len(known)} {things} (bootstrap): {span}"


def against(
    rows: pd.DataFrame,
    value: str,
    subject: Sequence[str],
    called: str,
    *,
    things: str,
    one: str = COHERENT,
    order: Sequence[str] = METHODS,
    column: str = "method",
    headline: bool = False,
    paper: str = "",
    expected: tuple[str, str] | None = None,
) -> list[Claim]:
    """One method against every other that was measured on the same subjects.

    Parameters
    ----------
    rows
        Tidy; several of one method and subject are averaged.
    value
        Column of the measure.
    subject
        Columns that together name a subject.
    called
        The measure, as the claim begins.
    things
        What the subjects are, in the plural.
    one
        The method that is compared.
    order
        Of the others, see `present`.
    column
        That of the methods.
    headline
        Whether the verdict tells it.
    paper
        What the paper says to the same.
    expected
        Another method, and whether the paper's figures put ``one`` ``above`` or ``below`` it; ours
        agree or not where they are told apart.

    Returns
    -------
    list of Claim
        One, with all means and tests; none where there is nothing to compare.
    """
    known = rows.dropna(subset=[value])
    names = present(known, order, column)
    if one not in names or len(names) < 2:
        return []
    found = compare(known, value=value, method=column, subject=list(subject))
    if not found.subjects:
        return []
    stands = {name: _relation(found, one, name) for name in names if name != one}
    groups: dict[str, list[str]] = {}
    for other, how in stands.items():
        groups.setdefault(how, []).append(f"{other} ({found.measured[other].mean():.3f})")
    listed = "; ".join(f"{how} {', '.join(others)}" for how, others in groups.items())
    agrees = None
    if expected and stands.get(expected[0]) in ("above", "below"):
        agrees = stands[expected[0]] == expected[1]
    by = ", Wilcoxon signed-rank after Holm" if len(found.pairs) else ""
    tests = "; ".join(_tested(found, one, other) for other in stands)
    return [
        Claim(
            f"{called}, mean over {found.subjects} {things}: {one} {found.measured[one].mean():.3f}"
            f", {listed}.",
            f"{found.overall}; median difference, how often higher{by}: {tests}",
            paper,
            agrees,
            headline,
        )
    ]


def _relation(found: Comparison, one: str, other: str) -> str:
    """How a method stands to another: a preposition, by sign and corrected test."""
    if found.pairs.empty:
        return "not tested against"
    if not found.significant(one, other):
        return "not told apart from"
    return "above" if found.difference(one, other) > 0 else "below"


def _tested(found: Comparison, one: str, other: str) -> str:
    higher = int((found.measured[one] > found.measured[other]).sum())
    p = f", {p_text(found.p_of(one, other))}" if len(found.pairs) else ""
    return f"{other} {found.difference(one, other):+.3f}, {higher} of {found.subjects}{p}"


def notes(name: str, **values: object) -> list[str]:
    """The notes of an experiment: the paragraphs of ``templates/notes/NAME.md.j2``.

    Parameters
    ----------
    name
        Of the template.
    **values
        What it asks for.
    """
    text = environment().get_template(f"notes/{name}.md.j2").render(**values)
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def not_measured(rows: pd.DataFrame, *columns: str, reason: str = "reason") -> list[str]:
    """A note for each reason why something was not measured, with what it concerns.

    Parameters
    ----------
    rows
        Tidy; those with a reason count.
    *columns
        Whose values say what it concerns.
    reason
        Column of the reasons.
    """
    said = []
    for text, lost in rows.dropna(subset=[reason]).groupby(reason, sort=False):
        concerned = (", ".join(sorted(set(map(str, lost[c].dropna())))) for c in columns)
        where = "; ".join(filter(None, concerned))
        said.append(f"Not measured{f' ({where})' if where else ''}: {text}.")
    return said
