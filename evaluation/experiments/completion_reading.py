"""What the rows of the completion experiment say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from codenoise.evaluation.experiment import Claim, Figure, ReportTable, Section
from codenoise.evaluation.plotting import grouped, legend, panels
from codenoise.evaluation.reading import against, mean_sd, not_measured, notes, over, spread
from codenoise.evaluation.statistics import interval
from codenoise.evaluation.study import COHERENT, METHODS

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

FULL, ABLATED, LABEL_ONLY = "full", "ablated", "label only"
DRAW, MEAN = "draw", "mean"
# The first measure of a task is the one that the verdict goes by.
TASKS = {
    "stage": {"macro_f1": "macro-F1", "balanced_accuracy": "balanced accuracy"},
    "survival": {"c_index": "C-index", "c_index_within": "C-index within cancer types"},
}
HARDLY = 0.05  # of a measure: what a full model must be above label only to have much to lose
LOST, BACK = "is lost where modalities are taken away", "is gained over that by completing them"
# The paper's figures of a task without some modalities (REFERENCE.md, Anchors).
PAPER = {
    ("stage", frozenset({"rna", "wsi"}), LOST): (
        "without RNA and WSI the macro-F1 of stage falls by .206"
    ),
    ("survival", frozenset({"rna", "rppa", "wsi"}), LOST): (
        "without RNA, RPPA and WSI the C-index falls from .736 to .563"
    ),
    ("survival", frozenset({"rna", "rppa", "wsi"}), BACK): (
        "completing patients without RNA, RPPA and WSI lifts the C-index from .563 to about .66"
    ),
}
COLUMNS = (
    "run", "seed", "cohort", "task", "missing", "size", "method", "value", "macro_f1",
    "balanced_accuracy", "c_index", "pairs", "c_index_within", "pairs_within", "patients",
    "trained", "unknown", "deaths", "trees", "reason", "reason_within",
)  # fmt: skip


def section(frame: pd.DataFrame) -> Section:
    """Read the table of all rows."""
    frame = frame.reindex(columns=list(COLUMNS))
    for name in ("missing", "value"):  # an empty text may come back as missing
        frame[name] = frame[name].astype(object).where(frame[name].notna(), "")
    claims, tables, figures = list[Claim](), list[ReportTable](), list[Figure]()
    for cohort, of_cohort in frame.groupby("cohort", sort=False):
        drawn: list[tuple[str, str]] = []
        for task, measure in ((t, m) for t, measures in TASKS.items() for m in measures):
            rows = of_cohort[(of_cohort["task"] == task) & of_cohort[measure].notna()]
            if not {FULL, ABLATED} <= set(rows["method"]):
                continue
            what = f"{TASKS[task][measure]} of {task} ({cohort})"
            claims += _claims(rows, what, task, measure)
            tables += _tables(rows, what, task, measure)
            drawn.append((task, measure))
        if drawn:
            figures.append(_figure(of_cohort, str(cohort), drawn))
    return Section(claims, tables, figures, _notes(frame))


def _by_pattern(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The measure by run and what is missing, a column a method; full and label only repeated.

    Completed by the mean of draws.
    """
    kept = rows[rows["value"] != DRAW]
    wide = kept.pivot_table(index=["run", "missing"], columns="method", values=measure, sort=False)
    none = wide.index.get_level_values("missing") == ""
    fixed = wide[none].droplevel("missing")
    taken = wide[~none].copy()
    for name in (FULL, LABEL_ONLY):
        known = fixed.get(name, pd.Series(dtype=float))
        taken[name] = known.reindex(taken.index.get_level_values("run")).to_numpy()
    return taken


def _claims(rows: pd.DataFrame, what: str, task: str, measure: str) -> Iterator[Claim]:
    wide = _by_pattern(rows, measure)
    first = measure == next(iter(TASKS[task]))
    changes = {LOST: wide[FULL] - wide[ABLATED]}
    if COHERENT in wide:
        changes[BACK] = wide[COHERENT] - wide[ABLATED]
    yield _balance(rows, wide, changes, what, headline=first)
    for label, change in changes.items():
        for pattern in sorted(set(wide.index.get_level_values("missing"))) if first else ():
            paper = PAPER.get((task, frozenset(pattern.split("+")), label))
            if paper:
                own = change.xs(pattern, level="missing").dropna()
                low, _ = interval(own.to_numpy())
                yield Claim(
                    f"{what}, without {pattern}: {own.mean():+.3f} {label}.",
                    over(own, "runs"),
                    paper=f"{paper}; measured on other patients",
                    agrees=None if np.isnan(low) else low > 0,
                )
    yield from against(
        rows[(rows["method"] == ABLATED) | (rows["value"] == MEAN)],
        measure,
        ["run", "missing"],
        f"{what}, completed by the mean of draws",
        things="runs x patterns of the same patients",
        order=(ABLATED, *METHODS),
    )


def _balance(
    rows: pd.DataFrame,
    wide: pd.DataFrame,
    changes: dict[str, pd.Series[float]],
    what: str,
    *,
    headline: bool,
) -> Claim:
    """What there is to lose, what is lost, and what completing gives back."""
    above = (wide[FULL] - wide[LABEL_ONLY]).groupby(level="run").first().dropna()
    text = (
        f"{what}, {int(rows['patients'].max())} test patients: {wide[FULL].mean():.3f} with "
        f"everything real, {above.mean():+.3f} against labels only "
        f"({wide[LABEL_ONLY].mean():.3f})"
    )
    if above.mean() < HARDLY or interval(above.to_numpy())[0] <= 0:
        text += (
            f", so that there is hardly a signal to lose (forests are taught on "
            f"{int(rows['trained'].max())} patients)"
        )
    tests = [f"against labels only, {over(above, 'runs')}"]
    verbs = {
        LOST: ("taking modalities away", "costs", "gains"),
        BACK: (f"completing by the {COHERENT}", "gives back", "costs another"),
    }
    for label, change in changes.items():
        doing, up, down = verbs[label]
        by_run = change.groupby(level="run").mean().dropna()
        mean, (low, high) = by_run.mean(), interval(by_run.to_numpy())
        text += f"; {doing} {up if mean > 0 else down} {abs(mean):.3f}"
        text += " (not told apart from nothing)" if low <= 0 <= high else ""
        tests.append(f"{doing}, {over(by_run, 'runs')}")
    count = wide.index.get_level_values("missing").nunique()
    return Claim(f"{text} (mean of {count} patterns).", "; ".join(tests), headline=headline)


def _tables(rows: pd.DataFrame, what: str, task: str, measure: str) -> Iterator[ReportTable]:
    about = f"{int(rows['patients'].max())} test patients"
    if task == "survival":
        column = "pairs" if measure == "c_index" else "pairs_within"
        about += f", {int(rows['deaths'].max())} deaths, {int(rows[column].max())} comparable pairs"
    taken = rows[rows["missing"] != ""].sort_values("size", kind="stable")
    ends = (
        f"{name} {mean_sd(rows.loc[rows['method'] == name, measure])}"
        for name in (FULL, LABEL_ONLY)
    )
    yield ReportTable(
        f"{what} by what is missing, mean ± sd over {rows['run'].nunique()} runs: "
        f"{', '.join(ends)}; {about}",
        spread(taken[taken["value"] != DRAW], ["missing"], measure, order=(ABLATED, *METHODS)),
    )
    drawn = taken[taken["method"] != ABLATED]
    if measure == next(iter(TASKS[task])) and len(drawn):
        by_run = drawn.groupby(["method", "value", "run"], sort=False)[measure].mean().reset_index()
        by_run["value"] = by_run["value"].map({MEAN: "mean of ten draws", DRAW: "one draw"})
        yield ReportTable(
            f"{what}: completed by the mean of draws and by a single draw, as in the paper; mean "
            f"over patterns, ± sd over runs",
            spread(by_run, ["method"], measure, columns="value"),
        )


def _figure(rows: pd.DataFrame, cohort: str, drawn: Sequence[tuple[str, str]]) -> Figure:
    names = ", ".join(TASKS[task][measure] for task, measure in drawn)
    return Figure(
        f"completion-{cohort.replace('+', '-')}",
        f"{names} of patients of {cohort} by the number of modalities missing: ablated, and "
        f"completed by each method (mean of ten draws). Bars: mean over patterns and "
        f"{rows['run'].nunique()} runs; lines: standard deviation over runs of the mean over "
        f"patterns; solid line: full, dotted line: label only. Axes start above zero.",
        f"Grouped bars of {names}, one group a number of missing modalities, with lines for full "
        f"and label only.",
        partial(_drawn, rows, drawn),
    )


def _drawn(frame: pd.DataFrame, drawn: Sequence[tuple[str, str]]) -> Drawing:
    drawing, axes = panels(len(drawn), 2, each=2.6)
    for axis, (task, measure) in zip(axes, drawn, strict=True):
        rows = frame[(frame["task"] == task) & frame[measure].notna() & (frame["value"] != DRAW)]
        keys = ["size", "method", "run"]
        runs = rows[rows["missing"] != ""].groupby(keys)[measure].mean().reset_index()
        runs["size"] = runs["size"].astype(int)
        names = [name for name in (ABLATED, *METHODS) if name in set(runs["method"])]
        grouped(axis, runs, "size", measure, names, dots=False)
        ends = [rows.loc[rows["method"] == name, measure].mean() for name in (FULL, LABEL_ONLY)]
        for name, place, style in zip((FULL, LABEL_ONLY), ends, ("-", ":"), strict=True):
            axis.axhline(place, color="black", linewidth=1, linestyle=style, label=name)
        of_bars = runs.groupby(["size", "method"])[measure]
        mean, sd = of_bars.mean(), of_bars.std().fillna(0)
        seen = [*ends, *(mean - sd), *(mean + sd)]
        axis.set_ylim(np.nanmin(seen) - 0.03, np.nanmax(seen) + 0.03)
        axis.set_xlabel("modalities missing", fontsize=8)
        axis.set_title(f"{task}: {TASKS[task][measure]}", fontsize=9, loc="left")
    legend(drawing, axes[0], ncols=4, frameon=False)
    return drawing


def _notes(frame: pd.DataFrame) -> list[str]:
    trees = " or ".join(f"{n:.0f}" for n in sorted(frame["trees"].dropna().unique()))
    counts = frame.groupby(["cohort", "task"], sort=False)["unknown"].max().reset_index()
    return [
        *notes("completion", trees=trees),
        *(
            f"{row.cohort}: {row.unknown:.0f} test patients of unknown {row.task} left out."
            for row in counts[counts["unknown"] > 0].itertuples()
        ),
        *not_measured(frame, "task", "method"),
        *not_measured(frame, "task", "method", reason="reason_within"),
    ]
