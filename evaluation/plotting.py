"""How figures of the report look: one palette, one style of axes, and the marks they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from codenoise.core.base.optional import needed
from codenoise.evaluation.study import BASELINE, COHERENT, MULTI, PUBLISHED, SINGLE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito (2008), which people with any colour vision tell apart.
COLOURS = {
    COHERENT: "#0072B2",
    PUBLISHED: "#56B4E9",
    MULTI: "#E69F00",
    SINGLE: "#009E73",
    BASELINE: "#CC79A7",
    "ridge": "#CC79A7",
    "real": "#000000",
    "encoded and decoded": "#000000",
    "real training patients": "#000000",
    "real test patients": "#999999",
    "real, of training": "#999999",
    "ablated": "#999999",
    "label only": "#D55E00",
    "random": "#999999",
}
OTHERS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")


def colour(name: str, position: int = 0) -> str:
    """The colour of a method, or that of a position for anything else."""
    return COLOURS.get(name, OTHERS[position % len(OTHERS)])


def figure(
    rows: int = 1, columns: int = 1, *, width: float = 7.2, height: float = 3.4
) -> tuple[Figure, Sequence[Axes]]:
    """An empty figure, and its axes in reading order.

    Parameters
    ----------
    rows, columns
        Of axes.
    width, height
        Inches, of the whole.

    Raises
    ------
    DataError
        If matplotlib is not installed.
    """
    made = needed("matplotlib.figure", "drawing figures", extra="evaluation").Figure(
        figsize=(width, height), layout="constrained"
    )
    axes = made.subplots(rows, columns, squeeze=False).ravel()
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=8)
        one.grid(axis="y", color="#dddddd", linewidth=0.6)
        one.set_axisbelow(True)
    return made, axes


def panels(
    count: int, across: int, *, each: float, extra: float = 0.5, width: float = 7.2
) -> tuple[Figure, Sequence[Axes]]:
    """A figure of some panels, in rows of ``across``, and their axes; the rest stays empty.

    Parameters
    ----------
    count, across
        Panels in all, and most in a row.
    each, extra
        Inches: height of a row, and what legend and labels take beside the rows.
    width
        Inches, of the whole.
    """
    columns = max(min(across, count), 1)
    rows = max(-(-count // columns), 1)
    made, axes = figure(rows, columns, width=width, height=each * rows + extra)
    for one in axes[count:]:
        one.set_visible(False)
    return made, axes[:count]


def beside(position: int, count: int, width: float = 0.8) -> float:
    """Where one of ``count`` things stands beside the middle of its group."""
    return width * ((position + 0.5) / count - 0.5)


def grouped(
    axes: Axes, rows: pd.DataFrame, group: str, value: str, names: Sequence[str], *, dots: bool
) -> None:
    """For each value of a column a group of bars or dots, one a method, with the deviation.

    Parameters
    ----------
    axes
        Drawn on.
    rows
        Tidy, with a column ``method``; a bar is the mean of a group's rows of a method, and its
        error bar their standard deviation.
    group, value
        Columns.
    names
        Methods, in order.
    dots
        Whether dots are drawn, where zero means nothing.
    """
    groups = list(rows[group].unique())
    for i, name in enumerate(names):
        own = rows[rows["method"] == name].groupby(group)[value]
        mean, sd = own.mean().reindex(groups), own.std().reindex(groups).fillna(0)
        places = np.arange(len(groups)) + beside(i, len(names))
        style: dict[str, Any] = {"color": colour(name, i), "label": name}
        if dots:
            axes.errorbar(places, mean, sd, fmt="o", markersize=4, **style)
        else:
            width = 0.8 / len(names)
            axes.bar(places, mean, width, yerr=sd, error_kw={"linewidth": 0.8}, **style)
    axes.set_xticks(range(len(groups)), groups)


def clouds(
    axes: Axes,
    rows: pd.DataFrame,
    place: tuple[str, str],
    names: Sequence[str],
    column: str = "method",
    **style: Any,
) -> None:
    """A cloud of points for each value of a column, on axes without units.

    Parameters
    ----------
    axes
        Drawn on.
    rows
        One a point.
    place
        Columns of the coordinates.
    names, column
        Values, in order, of this column.
    **style
        Of `matplotlib.axes.Axes.scatter`.
    """
    for i, name in enumerate(names):
        own = rows[rows[column] == name]
        if len(own):
            shade = {"color": colour(name, i)} | style
            axes.scatter(own[place[0]], own[place[1]], label=name, **shade)
    axes.set_xticks([])
    axes.set_yticks([])


def spans(
    axes: Axes, rows: pd.DataFrame, value: str, places: Sequence[float] | np.ndarray, **style: Any
) -> None:
    """Points with their intervals (columns ``low`` and ``high``), lying beneath each other.

    Parameters
    ----------
    axes
        Drawn on.
    rows
        One a point.
    value
        Column of the points.
    places
        Heights.
    **style
        Of `matplotlib.axes.Axes.errorbar`.
    """
    middle = rows[value].to_numpy(dtype=np.float64)
    error = np.abs(rows[["low", "high"]].to_numpy(dtype=np.float64).T - middle)
    named: dict[str, Any] = {"fmt": "o", "markersize": 4} | style
    axes.errorbar(middle, places, xerr=error, **named)


def legend(drawn: Figure, axes: Axes, **style: Any) -> None:
    """One legend beneath all panels, of what is labelled in one of them."""
    handles, labels = axes.get_legend_handles_labels()
    named: dict[str, Any] = {"loc": "outside lower center", "ncols": 3, "fontsize": 8} | style
    if handles:
        drawn.legend(handles, labels, **named)
