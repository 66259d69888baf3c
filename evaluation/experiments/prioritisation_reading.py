"""What the rows of the prioritisation experiment say: areas and their intervals."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from codenoise.evaluation.experiment import Claim, Figure, ReportTable, Section
from codenoise.evaluation.plotting import colour, legend, panels, spans
from codenoise.evaluation.reading import mean_sd, not_measured, notes, present
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


def section(frame: pd.DataFrame) -> Section:
    """Read the tidy rows of any methods, tasks and runs."""
    rows = frame.reindex(columns=list(COLUMNS))
    areas = _areas(rows)
    if areas.empty:
        return Section(notes=_notes(rows))
    main = present(areas, (COHERENT,))[0]
    own = areas[areas["method"] == main]
    return Section(
        [_overall(own, main), *_by_task(own, main), *_differences(rows)],
        [*_tables(areas)],
        [*_curve_figures(rows), _area_figure(areas)],
        _notes(rows),
    )


def _areas(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per task, missing modalities and method: means over runs, and the interval."""
    known = rows[(rows["kind"] == "area") & rows["value"].notna()]
    means = known.groupby(SETTING, sort=False).agg(
        measure=("measure", "first"), area=("value", "mean"),
        cell=("value", partial(mean_sd, digits=4, sign="+")),
        completed=("completed", "mean"), real=("real", "mean"), changed=("changed", "mean"),
        association=("association", "mean"), runs=("run", "nunique"),
        patients=("patients", "first"), trained=("trained", "first"),
    )  # fmt: skip
    intervals = rows[rows["kind"] == "interval"].drop_duplicates(SETTING).set_index(SETTING)
    found = means.join(intervals[["low", "high"]]).reset_index()
    return found.assign(gain=found["real"] - found["completed"], span=_spans(found))


def _spans(rows: pd.DataFrame) -> list[str]:
    return [
        "not available" if np.isnan([low, high]).any() else f"{low:+.4f} to {high:+.4f}"
        for low, high in zip(rows["low"], rows["high"], strict=True)
    ]


def _stands(rows: pd.DataFrame) -> tuple[str, bool | None]:
    """In how many settings an interval lies above zero, below and across; which of it prevails."""
    above, below = int((rows["low"] > 0).sum()), int((rows["high"] < 0).sum())
    neither = len(rows) - above - below
    prevails = True if above > below + neither else False if below > above else None
    text = f"{above} of {len(rows)} settings, behind in {below} and not told apart in {neither}"
    return text, prevails


def _telling(rows: pd.DataFrame) -> str:
    """The intervals that exclude zero."""
    told = rows.assign(span=_spans(rows))[(rows["low"] > 0) | (rows["high"] < 0)]
    spans_of = [
        f"{row.task}, {row.missing} missing, {row.filled}: {row.span}" for row in told.itertuples()
    ]
    return f"95% intervals, uncorrected; excluding zero: {'; '.join(spans_of) or 'none'}"


def _overall(own: pd.DataFrame, main: str) -> Claim:
    return Claim(
        f"With the {main}, testing by counterfactual score is ahead of random order in "
        f"{_stands(own)[0]} (95% intervals over patients; by chance {0.05 * len(own):.1f} of them "
        f"would exclude zero). Testing everybody improves predictions in "
        f"{int((own['gain'] > 0).sum())} of them.",
        f"bootstrap over patients, {_telling(own)}",
        headline=True,
    )


def _by_task(own: pd.DataFrame, main: str) -> Iterator[Claim]:
    for (task, filled), rows in own.groupby(["task", "filled"], sort=False):
        stands, prevails = _stands(rows)
        listed = "; ".join(f"{row.missing} missing {row.span}" for row in rows.itertuples())
        low, high = rows["association"].min(), rows["association"].max()
        yield Claim(
            f"{task}, filled with {filled}: by score is ahead of random order in {stands} "
            f"({main}); mean area {rows['area'].mean():+.4f}, and {rows['gain'].mean():+.3f} "
            f"{rows['measure'].iloc[0]} from testing everybody. The score's association with the "
            f"change that testing brings is {low:+.2f} to {high:+.2f}.",
            f"bootstrap over {rows['patients'].iloc[0]:.0f} patients, areas averaged over "
            f"{rows['runs'].iloc[0]} run(s), 95% intervals, uncorrected: {listed}",
            PAPER,
            prevails,
        )


def _differences(rows: pd.DataFrame) -> Iterator[Claim]:
    """Whether the coherent ensemble's area differs from another method's, over all settings."""
    for other, group in rows[rows["kind"] == "difference"].groupby("other", sort=False):
        yield Claim(
            f"In area the {COHERENT} is ahead of {other} in {_stands(group)[0]}.",
            f"paired bootstrap over patients, {_telling(group)}",
        )


def _tables(areas: pd.DataFrame) -> Iterator[ReportTable]:
    names = {
        "missing": "missing", "method": "method", "completed": "all generated", "real": "all real",
        "cell": "area", "span": "95% interval", "association": "association", "changed": "changed",
    }  # fmt: skip
    for (task, filled), rows in areas.groupby(["task", "filled"], sort=False):
        low, high = int(rows["trained"].min()), int(rows["trained"].max())
        trained = f"{low}" if low == high else f"{low} to {high}"
        yield ReportTable(
            f"{task}, untested patients filled with {filled}: {rows['measure'].iloc[0]} with all "
            f"generated and with all real values, and the area between informed and random "
            f"acquisition, mean ± sd over runs, with its 95% interval over patients",
            rows[list(names)].rename(columns=names),
            f"{rows['patients'].iloc[0]:.0f} test patients; forests were trained on {trained} "
            f"real ones.",
        )


def _curve_figures(rows: pd.DataFrame) -> Iterator[Figure]:
    curves = rows[rows["kind"] == "curve"]
    for (task, filled), group in curves.groupby(["task", "filled"], sort=False):
        yield Figure(
            f"prioritisation-curves-{task}-{filled}".replace("_", "-").replace(" ", "-"),
            f"{group['measure'].iloc[0]} of {task} over the fraction of patients tested, in order "
            f"of the score (solid) and in random order (dashed), untested patients filled with "
            f"{filled}; mean over {group['run'].nunique()} run(s), "
            f"{group['patients'].iloc[0]:.0f} test patients, a panel per missing modalities with "
            f"axes of its own.",
            f"Acquisition curves of {task} for {', '.join(group['missing'].unique())} missing.",
            partial(_draw_curves, group),
        )


def _draw_curves(curves: pd.DataFrame) -> Drawing:
    by_pattern = list(curves.groupby("missing", sort=False))
    drawing, axes = panels(len(by_pattern), 3, each=2.4)
    for axis, (missing, own) in zip(axes, by_pattern, strict=True):
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
    legend(drawing, axes[0], ncols=2, fontsize=7, frameon=False)
    return drawing


def _area_figure(areas: pd.DataFrame) -> Figure:
    return Figure(
        "prioritisation-areas",
        "Area between informed and random acquisition, mean over runs; bars: 95% interval over "
        "patients. Right of zero the score helps.",
        "Areas near or away from zero for every method and set of missing modalities.",
        partial(_draw_areas, areas),
    )


def _draw_areas(areas: pd.DataFrame) -> Drawing:
    by_task = list(areas.groupby(["filled", "task"], sort=False))
    longest = max(len(own) for _, own in by_task)
    drawing, axes = panels(
        len(by_task), areas["task"].nunique(), each=0.15 * longest + 0.9, extra=0.4
    )
    methods = list(areas["method"].unique())
    for axis, ((filled, task), own) in zip(axes, by_task, strict=True):
        places = pd.Series(np.arange(len(own)), own.index)
        for i, method in enumerate(methods):
            mine = own[own["method"] == method]
            style = {"color": colour(method, i), "elinewidth": 1.6, "label": method}
            spans(axis, mine, "area", places[mine.index].to_numpy(), **style)
        axis.axvline(0, color="#444444", linewidth=0.8)
        middle = places.groupby(own["missing"], sort=False).mean()
        axis.set_yticks(middle, list(middle.index))
        axis.invert_yaxis()
        axis.set_title(f"{task}, {filled}", fontsize=9)
        axis.set_xlabel(f"area ({own['measure'].iloc[0]})", fontsize=8)
    legend(drawing, axes[0], fontsize=7, frameon=False)
    return drawing


def _notes(rows: pd.DataFrame) -> list[str]:
    """Definitions, and who and what is missing from the measurements, and why."""
    counts = rows.groupby("task", sort=False)[["patients", "without_outcome"]].first()
    return [
        *notes("prioritisation"),
        *(
            f"{row.Index}: {row.patients:.0f} test patients have every modality and a known "
            f"outcome; {row.without_outcome:.0f} more have no known outcome and are left out."
            for row in counts.itertuples()
        ),
        *not_measured(rows, "missing", "task", "method"),
    ]
