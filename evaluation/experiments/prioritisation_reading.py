"""Reading of the prioritisation experiment: areas, their intervals, and what they say."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from codenoise.evaluation.experiment import Claim, Figure, Section, Table
from codenoise.evaluation.plotting import colour, figure
from codenoise.evaluation.study import COHERENT

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

COLUMNS = (
    "kind", "task", "missing", "measure", "method", "other", "filled", "run", "order",
    "fraction", "value", "low", "high", "completed", "real", "changed", "association", "patients",
    "without_outcome", "trained", "reason",
)  # fmt: skip
SETTING = ["task", "missing", "filled", "method"]
MEAN, DRAW = "mean of draws", "one draw"
PAPER = "proposes acquisition by this score (Fig 4, S5)"
NOTES = (
    "Informed: patients get their real values in the order of the counterfactual score, the mean "
    "over classes of the variance of the forest's class probabilities over 10 draws (survival: the "
    "variance of its risk). Random: the mean of 20 random orders. Measured at every 10% of the "
    "patients, among all of them. Patients not yet tested are filled with the mean of their draws, "
    "which is what a user should take, or with one draw, which is the paper's generated value.",
    "Draws come in mirrored pairs, which are not independent; the variance is that of the pairs' "
    "midpoints and half-differences, which is unbiased all the same.",
    "Area: informed less random, integrated over the fraction acquired (trapezoid rule), averaged "
    "over runs, which differ in the seeds of forest and draws. Intervals are percentiles over "
    "bootstrap samples of the patients, the same in every run and method; they are not corrected "
    "for their number.",
    "Association: Spearman correlation over patients of the score with how much the prediction "
    "does change once the real values are there. Changed: share of patients whose predicted label "
    "does.",
)


def section(frame: pd.DataFrame) -> Section:
    """Read the tidy rows of any methods, tasks and runs."""
    rows = frame.reindex(columns=list(COLUMNS))
    summary = _summary(rows)
    notes = [*NOTES, *_left_out(rows)]
    if not len(summary):
        return Section("Nothing could be measured; the notes say why.", notes=notes)
    main = COHERENT if COHERENT in set(summary["method"]) else str(summary["method"].iloc[0])
    own = summary[summary["method"] == main]
    return Section(
        _verdict(own, main),
        claims=[*_claims(own, main), *_differences(rows)],
        tables=_tables(summary),
        figures=[*_curve_figures(rows), _forest_figure(summary)],
        notes=notes,
    )


def _summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per task, missing modalities and method: means over runs, and the interval."""
    areas = rows[(rows["kind"] == "area") & rows["value"].notna()]
    means = areas.groupby(SETTING, sort=False).agg(
        measure=("measure", "first"), area=("value", "mean"), sd=("value", "std"),
        completed=("completed", "mean"), real=("real", "mean"), changed=("changed", "mean"),
        association=("association", "mean"), runs=("run", "nunique"),
        patients=("patients", "first"), trained=("trained", "first"),
    )  # fmt: skip
    intervals = rows[rows["kind"] == "interval"].drop_duplicates(SETTING).set_index(SETTING)
    return means.join(intervals[["low", "high"]]).reset_index()


def _counts(own: pd.DataFrame) -> tuple[int, int, int]:
    """Settings where informed is ahead of random, behind it, and neither."""
    ahead, behind = int((own["low"] > 0).sum()), int((own["high"] < 0).sum())
    return ahead, behind, len(own) - ahead - behind


def _verdict(own: pd.DataFrame, main: str) -> str:
    ahead, behind, neither = _counts(own)
    gains = own["real"] - own["completed"]
    means = "; ".join(
        f"{task}, {filled} {rows['area'].mean():+.4f}, and {gains[rows.index].mean():+.3f} "
        f"{rows['measure'].iloc[0]} from testing everybody"
        for (task, filled), rows in own.groupby(["task", "filled"], sort=False)
    )
    if ahead > behind + neither:
        paper = "This agrees with the paper."
    elif behind > ahead:
        paper = "This contradicts the paper, where acquisition by score is ahead."
    else:
        paper = "The advantage that the paper shows is not established on these patients."
    if (gains <= 0).mean() > 0.5:
        paper += (
            " In most settings the real values predict no better than the generated ones, so that "
            "no order of testing could gain much."
        )
    return (
        f"With the {main}, testing by counterfactual score was ahead of random order in {ahead} of "
        f"{len(own)} settings, behind in {behind} and not told apart in {neither} (95% intervals "
        f"over patients; by chance {0.05 * len(own):.1f} of them would exclude zero). Mean area "
        f"between the curves, by task and what untested patients are filled with: {means}. {paper}"
    )


def _claims(own: pd.DataFrame, main: str) -> list[Claim]:
    """A claim per task and missing modalities, and one per task of patients filled otherwise."""
    claims = []
    said = {True: "ahead of", False: "behind", None: "not told apart from"}
    point = own["filled"] == MEAN if MEAN in set(own["filled"]) else own["filled"].notna()
    for row in _records(own[point]):
        agrees = True if row["low"] > 0 else False if row["high"] < 0 else None
        claims.append(
            Claim(
                f"{row['missing']} missing, {row['task']}, filled with {row['filled']}: by score "
                f"is {said[agrees]} random order, area {row['area']:+.4f} ({main}); the score's "
                f"association with the change that testing brings is {row['association']:+.2f}.",
                f"bootstrap over {row['patients']:.0f} patients, areas averaged over "
                f"{row['runs']} run(s): 95% interval {_span(row['low'], row['high'])}, one of "
                f"{len(own)}, uncorrected",
                PAPER,
                agrees,
            )
        )
    for (task, filled), rows in own[~point].groupby(["task", "filled"], sort=False):
        ahead, behind, neither = _counts(rows)
        claims.append(
            Claim(
                f"{task}, filled with {filled}: by score is ahead of random order in {ahead} of "
                f"{len(rows)} settings, behind in {behind} and not told apart in {neither} "
                f"({main}).",
                f"bootstrap over patients, 95% intervals, uncorrected; {_telling(rows)}",
                PAPER,
                True if ahead > behind + neither else False if behind > ahead else None,
            )
        )
    return claims


def _differences(rows: pd.DataFrame) -> list[Claim]:
    """Whether the coherent ensemble's area differs from another method's, over all settings."""
    claims = []
    differences = rows[rows["kind"] == "difference"]
    for other, group in differences.groupby("other", sort=False):
        larger, smaller, neither = _counts(group)
        claims.append(
            Claim(
                f"The area of the {COHERENT} is larger than that of {other} in {larger} of "
                f"{len(group)} settings, smaller in {smaller} and not told apart in {neither}.",
                f"paired bootstrap over patients, 95% intervals, uncorrected; {_telling(group)}",
            )
        )
    return claims


def _telling(rows: pd.DataFrame) -> str:
    """The intervals that exclude zero."""
    telling = rows[(rows["low"] > 0) | (rows["high"] < 0)]
    spans = [
        f"{row['task']}, {row['missing']} missing, {row['filled']}: "
        f"{_span(row['low'], row['high'])}"
        for row in _records(telling)
    ]
    return f"excluding zero: {'; '.join(spans) or 'none'}"


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for _, row in rows.iterrows()]


def _span(low: float, high: float) -> str:
    return "not available" if np.isnan([low, high]).any() else f"{low:+.4f} to {high:+.4f}"


def _tables(summary: pd.DataFrame) -> list[Table]:
    return [
        Table(
            f"{task}, untested patients filled with {filled}: {rows['measure'].iloc[0]} with all "
            f"generated and with all real values, and the area between informed and random "
            f"acquisition, mean +- sd over runs, with its 95% interval over patients",
            _cells(rows),
            f"{rows['patients'].iloc[0]:.0f} test patients; forests were trained on "
            f"{_range(rows['trained'])} real patients. The paper's areas are not at hand.",
        )
        for (task, filled), rows in summary.groupby(["task", "filled"], sort=False)
    ]


def _cells(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "missing": rows["missing"],
            "method": rows["method"],
            "all generated": rows["completed"].map("{:.3f}".format),
            "all real": rows["real"].map("{:.3f}".format),
            "area": [
                f"{a:+.4f}" + ("" if np.isnan(sd) else f" +- {sd:.4f}")
                for a, sd in zip(rows["area"], rows["sd"], strict=True)
            ],
            "95% interval": list(map(_span, rows["low"], rows["high"])),
            "association": rows["association"].map("{:+.2f}".format),
            "changed": ["-" if np.isnan(c) else f"{c:.0%}" for c in rows["changed"]],
        }
    )


def _range(counts: pd.Series[float]) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _curve_figures(rows: pd.DataFrame) -> list[Figure]:
    curves = rows[rows["kind"] == "curve"]
    return [
        Figure(
            f"prioritisation-curves-{task}-{filled}".replace("_", "-").replace(" ", "-"),
            f"{group['measure'].iloc[0]} of {task} over the fraction of patients tested, in order "
            f"of the score (solid) and in random order (dashed), untested patients filled with "
            f"{filled}; mean over {group['run'].nunique()} run(s), "
            f"{group['patients'].iloc[0]:.0f} test patients, a panel per missing "
            f"modalities with axes of its own.",
            f"Acquisition curves of {task} for {', '.join(group['missing'].unique())} missing.",
            partial(_draw_curves, group),
        )
        for (task, filled), group in curves.groupby(["task", "filled"], sort=False)
    ]


def _draw_curves(curves: pd.DataFrame) -> Drawing:
    patterns = list(curves["missing"].unique())
    columns = min(3, len(patterns))
    lines = -(-len(patterns) // columns)
    made, axes = figure(lines, columns, height=2.4 * lines + 0.5)
    for axis, missing in zip(axes, patterns, strict=False):
        own = curves[curves["missing"] == missing]
        for place, (method, values) in enumerate(own.groupby("method", sort=False)):
            for order, style in (("informed", "-"), ("random", "--")):
                mean = values[values["order"] == order].groupby("fraction")["value"].mean()
                axis.plot(
                    mean.index, mean, style, color=colour(str(method), place), linewidth=1.3,
                    label=f"{method}, {order}",
                )  # fmt: skip
        axis.set_title(f"{missing} missing", fontsize=9)
        axis.set_xlabel("fraction tested", fontsize=8)
        axis.set_ylabel(str(own["measure"].iloc[0]), fontsize=8)
    for axis in axes[len(patterns) :]:
        axis.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=7, frameon=False)
    return made


def _forest_figure(summary: pd.DataFrame) -> Figure:
    return Figure(
        "prioritisation-areas",
        "Area between informed and random acquisition, mean over runs; bars: 95% interval over "
        "patients. Right of zero the score helps.",
        "Areas near or away from zero for every method and set of missing modalities.",
        partial(_draw_areas, summary),
    )


def _draw_areas(summary: pd.DataFrame) -> Drawing:
    panels = list(summary.groupby(["filled", "task"], sort=False))
    columns = summary["task"].nunique()
    lines = -(-len(panels) // columns)
    longest = max(len(own) for _, own in panels)
    made, axes = figure(lines, columns, height=lines * (0.15 * longest + 0.9) + 0.4)
    methods = list(summary["method"].unique())
    for axis, ((filled, task), own) in zip(axes, panels, strict=False):
        for place, row in enumerate(_records(own)):
            shade = colour(row["method"], methods.index(row["method"]))
            axis.plot([row["low"], row["high"]], [place, place], color=shade, linewidth=1.6)
            axis.plot(row["area"], place, "o", color=shade, markersize=4)
        axis.axvline(0, color="#444444", linewidth=0.8)
        places = pd.Series(np.arange(len(own)), own["missing"]).groupby(level=0, sort=False).mean()
        axis.set_yticks(places, list(places.index))
        axis.invert_yaxis()
        axis.set_title(f"{task}, {filled}", fontsize=9)
        axis.set_xlabel(f"area ({own['measure'].iloc[0]})", fontsize=8)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for place, method in enumerate(methods):
        axes[0].plot([], [], "o-", color=colour(method, place), markersize=4, label=method)
    made.legend(loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    return made


def _left_out(rows: pd.DataFrame) -> list[str]:
    """Who and what is missing from the measurements, and why."""
    notes = [
        f"{task}: {counts['patients'].iloc[0]:.0f} test patients have every modality and a known "
        f"outcome; {counts['without_outcome'].iloc[0]:.0f} more have no known outcome and are left "
        f"out."
        for task, counts in rows.groupby("task", sort=False)
    ]
    for row in _records(rows[rows["reason"].notna()]):
        who = "" if pd.isna(row["method"]) else f", {row['method']}"
        setting = f"{row['missing']} missing, {row['task']}{who}"
        notes.append(f"Not measured: {setting}: {row['reason']}.")
    return notes
