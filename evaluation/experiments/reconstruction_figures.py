"""Figures of the reconstruction experiment, and the names that its rows go by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from codenoise.evaluation.experiment import Figure
from codenoise.evaluation.plotting import colour, figure
from codenoise.evaluation.study import BASELINE, COHERENT, MULTI, PUBLISHED, SINGLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

QUERY, COMPLETE, TYPE, INTERVAL = "query", "complete", "type", "interval"
"""Scopes of a row: every patient asked for; those of them with all modalities; one cancer type;
intervals of more draws."""
METHODS = (COHERENT, PUBLISHED, SINGLE, MULTI, BASELINE)
MEASURES = {
    "r2_draw": "pooled R2, single draws",
    "r2_expectation": "pooled R2, expectation",
    "r2_mean": "pooled R2, mean of draws",
    "r2_feature": "R2 averaged over features, mean of draws",
    "energy_score": "energy score",
    "energy_distance": "energy distance",
    "variance": "variance of draws, share of real",
}


def present(frame: pd.DataFrame) -> list[str]:
    """Methods that were measured, the usual ones first."""
    there = list(frame["method"].dropna().unique())
    return [m for m in METHODS if m in there] + [m for m in there if m not in METHODS]


def figures(rows: pd.DataFrame, full: pd.DataFrame) -> list[Figure]:
    """Bars of R2 and of the variance of draws, and R2 by the number of conditions.

    Parameters
    ----------
    rows
        All rows of the experiment.
    full
        Those of each target from all other modalities.
    """
    shared = rows[rows["scope"] == COMPLETE]
    counts = full.groupby("target", sort=False)["patients"].max()
    patients = ", ".join(f"{target} {int(count)}" for target, count in counts.items())
    several = int(shared["patients"].max()) if len(shared) else 0
    said = f"From all other modalities; patients: {patients}"
    return [
        Figure(
            "r2-by-target",
            f"Pooled R2 of single draws and of their expectation. {said}. Bars: mean over runs; "
            "error bars: standard deviation over runs.",
            "Bars of R2, a group for each target and a bar for each method.",
            lambda: _r2_bars(full),
        ),
        Figure(
            "r2-by-conditions",
            "Pooled R2 of the expectation by the number of conditions; each dot is a set of "
            f"conditions, mean over runs; the same {several} patients with all modalities "
            "throughout.",
            "Dots of R2 that show how it changes with the number of conditions, for each target.",
            lambda: _r2_dots(shared, list(counts.index), present(full)),
        ),
        Figure(
            "variance-of-draws",
            f"Variance of a patient's draws in % of the variance between real patients. {said}. "
            "Error bars: standard deviation over runs. Black lines: one minus R2 of the "
            "expectation, which is what calibrated draws would have.",
            "Bars of the variance of draws for each target and method, with the calibrated value.",
            lambda: _variance_bars(full),
        ),
    ]


def _r2_bars(full: pd.DataFrame) -> Drawing:
    drawing, axes = figure(1, 2, width=9, height=3.6)
    for one, value in zip(axes, ("r2_draw", "r2_expectation"), strict=True):
        _bars(one, full, value, present(full))
        one.set_title(MEASURES[value], fontsize=9)
        one.axhline(0, color="black", linewidth=0.6)
    axes[0].set_ylabel("R2", fontsize=9)
    _legend(drawing, axes[1])
    return drawing


def _r2_dots(shared: pd.DataFrame, targets: Sequence[str], methods: Sequence[str]) -> Drawing:
    drawing, axes = figure(1, max(len(targets), 1), width=10, height=3.6)
    for one, target in zip(axes, targets, strict=False):
        mine = shared[shared["target"] == target]
        means = mine.groupby(["method", "given", "conditions"])["r2_expectation"].mean()
        table = means.reset_index()
        for i, method in enumerate(methods):
            dots = table[table["method"] == method]
            places = dots["given"] + _shift(i, len(methods))
            one.scatter(places, dots["r2_expectation"], s=16, color=colour(method, i), label=method)
        one.set_title(target, fontsize=9)
        one.set_xlabel("conditions", fontsize=9)
        one.set_xticks(sorted(table["given"].unique()))
    axes[0].set_ylabel("pooled R2 of the expectation", fontsize=9)
    _legend(drawing, axes[0])
    return drawing


def _variance_bars(full: pd.DataFrame) -> Drawing:
    drawing, axes = figure(height=3.6)
    drawn = present(full.dropna(subset=["variance"]))
    _bars(axes[0], full.assign(percent=100 * full["variance"]), "percent", drawn)
    calibrated = full.assign(percent=100 * (1 - full["r2_expectation"]))
    targets = list(full["target"].unique())
    for i, method in enumerate(drawn):
        mine = calibrated[calibrated["method"] == method].groupby("target")["percent"].mean()
        places = np.arange(len(targets)) + _shift(i, len(drawn))
        axes[0].scatter(
            *(places, mine.reindex(targets)), marker="_", s=110, color="black", zorder=3,
            label="one minus R2" if i == 0 else None,
        )  # fmt: skip
    axes[0].set_ylabel("variance of draws, % of real", fontsize=9)
    _legend(drawing, axes[0])
    return drawing


def _bars(axes: Axes, full: pd.DataFrame, value: str, methods: Sequence[str]) -> None:
    """A group of bars for each target, one for each method, with the deviation over runs."""
    targets = list(full["target"].unique())
    for i, method in enumerate(methods):
        mine = full[full["method"] == method].groupby("target")[value].agg(["mean", "std"])
        mine = mine.reindex(targets)
        places = np.arange(len(targets)) + _shift(i, len(methods))
        axes.bar(
            *(places, mine["mean"]), width=0.8 / len(methods), color=colour(method, i),
            label=method, yerr=mine["std"].fillna(0), error_kw={"linewidth": 0.8},
        )  # fmt: skip
    axes.set_xticks(np.arange(len(targets)), targets)


def _shift(position: int, count: int) -> float:
    """Where one of ``count`` things stands beside the middle of its group, 0.8 wide."""
    return 0.8 * ((position + 0.5) / count - 0.5)


def _legend(drawing: Drawing, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
