"""What the rows of the completion experiment say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from codenoise.evaluation.experiment import Claim, Figure, Section, Table
from codenoise.evaluation.plotting import colour, figure
from codenoise.evaluation.statistics import compare, interval
from codenoise.evaluation.study import BASELINE, COHERENT, MULTI, PUBLISHED, SINGLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

FULL, ABLATED, LABEL_ONLY = "full", "ablated", "label only"
DRAW, MEAN = "draw", "mean"
METHODS = (COHERENT, PUBLISHED, MULTI, SINGLE, BASELINE)
# The first measure of a task is the one that claims and verdict go by.
TASKS = {
    "stage": {"macro_f1": "macro-F1", "balanced_accuracy": "balanced accuracy"},
    "survival": {"c_index": "C-index", "c_index_within": "C-index within cancer types"},
}
HARDLY = 0.05  # of a measure: what a full model must be above label only to have much to lose
# The paper's patterns of which we know a figure, and what it says of them (REFERENCE.md, Anchors).
PAPER_FALL = {
    ("stage", frozenset({"rna", "wsi"})): "without RNA and WSI the macro-F1 of stage falls by .206",
    ("survival", frozenset({"rna", "rppa", "wsi"})): (
        "without RNA, RPPA and WSI the C-index falls from .736 to .563"
    ),
}
PAPER_BACK = {
    ("survival", frozenset({"rna", "rppa", "wsi"})): (
        "completing patients without RNA, RPPA and WSI lifts the C-index from .563 to about .66"
    ),
}
ELSEWHERE = "measured on other patients"
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
    said, claims, tables, figures = list[str](), list[Claim](), list[Table](), list[Figure]()
    for cohort in frame["cohort"].dropna().unique():
        of_cohort = frame[frame["cohort"] == cohort]
        drawn: list[tuple[str, str]] = []
        for task, measures in TASKS.items():
            for place, measure in enumerate(measures):
                rows = of_cohort[(of_cohort["task"] == task) & of_cohort[measure].notna()]
                if not {FULL, ABLATED} <= set(rows["method"]):
                    continue
                claims += _claims(rows, cohort, task, measure)
                tables.append(_table(rows, cohort, task, measure))
                drawn.append((task, measure))
                if place == 0:
                    said.append(_summary(rows, cohort, task, measure))
                    tables.append(_kinds(rows, cohort, task, measure))
        if drawn:
            figures.append(_figure(of_cohort, cohort, drawn))
    return Section(
        " ".join(said) or "Nothing could be measured.", claims, tables, figures, _notes(frame)
    )


def _of(rows: pd.DataFrame, method: str, measure: str, value: str | None = None) -> pd.Series[Any]:
    """A measure by run and pattern; ``full`` and ``label only`` have one pattern, of no name."""
    chosen = rows[rows["method"] == method]
    if value is not None:
        chosen = chosen[chosen["value"] == value]
    found: pd.Series[Any] = chosen.set_index(["run", "missing"])[measure]
    return found


def _lost(rows: pd.DataFrame, measure: str) -> pd.Series[Any]:
    """Full less ablated, by run and pattern."""
    full = _of(rows, FULL, measure).droplevel("missing")
    ablated = _of(rows, ABLATED, measure)
    there = full.reindex(ablated.index.get_level_values("run")).to_numpy()
    lost: pd.Series[Any] = (there - ablated).dropna()
    return lost


def _regained(rows: pd.DataFrame, measure: str, method: str = COHERENT) -> pd.Series[Any]:
    """Completed by the mean of draws less ablated, by run and pattern."""
    return (_of(rows, method, measure, MEAN) - _of(rows, ABLATED, measure)).dropna()


def _over_label(rows: pd.DataFrame, measure: str) -> pd.Series[Any]:
    return (
        _of(rows, FULL, measure).droplevel("missing")
        - _of(rows, LABEL_ONLY, measure).droplevel("missing")
    ).dropna()


def _by_run(differences: pd.Series[Any]) -> tuple[float, float, float, int]:
    """Mean over patterns and runs, its interval over runs, and how many runs."""
    runs = differences.groupby(level="run").mean()
    low, high = interval(runs.to_numpy())
    return float(runs.mean()) if len(runs) else float("nan"), low, high, len(runs)


def _test(low: float, high: float, runs: int) -> str:
    if np.isnan(low):
        return f"no interval: {runs} run(s), or no difference between runs"
    return (
        f"95% interval {low:+.3f} to {high:+.3f}, bootstrap (BCa) over {runs} runs, which differ "
        f"in forest, training sample and draws; they share the test patients, whose sampling it "
        f"does not cover"
    )


def _shown(low: float, high: float) -> bool | None:
    """Whether a difference is shown to be above zero; unknown without an interval."""
    return None if np.isnan(low) or np.isnan(high) else low > 0


def _named(cohort: str, task: str, measure: str) -> str:
    return f"{TASKS[task][measure]} of {task} ({cohort})"


def _patterns(missing: set[str], known: dict[tuple[str, frozenset[str]], str], task: str) -> str:
    """The pattern that the paper has a figure of, as these rows write it; empty where none."""
    for pattern in sorted(missing):
        if (task, frozenset(pattern.split("+"))) in known:
            return pattern
    return ""


def _claims(rows: pd.DataFrame, cohort: str, task: str, measure: str) -> Iterator[Claim]:
    what = _named(cohort, task, measure)
    above, low, high, runs = _by_run(_over_label(rows, measure))
    full = _of(rows, FULL, measure).mean()
    yield Claim(
        f"{what}: {full:.3f} with every modality real, {above:+.3f} against label only.",
        _test(low, high, runs),
    )
    first = measure == next(iter(TASKS[task]))
    for differences, label, known in (
        (_lost(rows, measure), "is lost where modalities are taken away", PAPER_FALL),
        (_regained(rows, measure), "is gained over that by completing them", PAPER_BACK),
    ):
        if not len(differences):
            continue
        mean, low, high, runs = _by_run(differences)
        missing = set(differences.index.get_level_values("missing"))
        yield Claim(
            f"{what}: {mean:+.3f} {label}, mean of {len(missing)} patterns.",
            _test(low, high, runs),
        )
        pattern = _patterns(missing, known, task) if first else ""
        if pattern:
            own = differences[differences.index.get_level_values("missing") == pattern]
            mean, low, high, runs = _by_run(own)
            yield Claim(
                f"{what}, without {pattern}: {mean:+.3f} {label}.",
                _test(low, high, runs),
                paper=f"{known[task, frozenset(pattern.split('+'))]}; {ELSEWHERE}",
                agrees=_shown(low, high),
            )
    yield from _between(rows, what, measure)


def _between(rows: pd.DataFrame, what: str, measure: str) -> Iterator[Claim]:
    compared = rows[(rows["method"] == ABLATED) | (rows["value"] == MEAN)]
    names = [name for name in (ABLATED, *METHODS) if (compared["method"] == name).any()]
    if len(names) < 2:
        return
    found = compare(compared, value=measure, method="method", subject=["run", "missing"])
    means = compared.groupby("method")[measure].mean()
    pairs = [
        found.between(COHERENT, other)
        for other in (ABLATED, MULTI, BASELINE)
        if COHERENT in names and other in names and len(found.pairs)
    ]
    yield Claim(
        f"{what}, mean over patterns and runs: "
        + ", ".join(f"{name} {means[name]:.3f}" for name in names) + ".",
        "; ".join([found.overall, *pairs])
        + ". Subjects are runs x patterns, of the same patients: p holds for these patients only.",
    )  # fmt: skip


def _summary(rows: pd.DataFrame, cohort: str, task: str, measure: str) -> str:
    full, label = (_of(rows, name, measure).mean() for name in (FULL, LABEL_ONLY))
    patients = int(rows["patients"].max())
    text = (
        f"{cohort}, {patients} test patients: {TASKS[task][measure]} of {task} is {full:.3f} with "
        f"everything real and {label:.3f} from labels only"
    )
    above, low, _, _ = _by_run(_over_label(rows, measure))
    if above < HARDLY or low <= 0:
        trained = int(rows["trained"].max())
        text += (
            f", so that there is hardly a signal to lose (forests are taught on {trained} patients)"
        )
    lost, low, high, _ = _by_run(_lost(rows, measure))
    text += (
        f"; taking modalities away {'costs' if lost > 0 else 'gains'} {abs(lost):.3f}"
        f"{_certainty(low, high)}"
    )
    regained = _regained(rows, measure)
    if len(regained):
        back, low, high, _ = _by_run(regained)
        text += (
            f", and completing by the {COHERENT} {'gives back' if back > 0 else 'costs another'} "
            f"{abs(back):.3f}{_certainty(low, high)}"
        )
    return f"{text}."


def _certainty(low: float, high: float) -> str:
    if np.isnan(low):
        return ""
    return "" if low > 0 or high < 0 else " (not told apart from nothing)"


def _spread(values: pd.Series[Any]) -> str:
    if not len(values):
        return "-"
    sd = f" ± {values.std():.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{sd}"


def _order(rows: pd.DataFrame) -> list[str]:
    there = set(rows["method"])
    return [name for name in METHODS if name in there]


def _table(rows: pd.DataFrame, cohort: str, task: str, measure: str) -> Table:
    taken = rows[rows["missing"] != ""].sort_values("size", kind="stable")
    cells = []
    for pattern in taken["missing"].unique():
        own = taken[taken["missing"] == pattern]
        row = {"missing": pattern, ABLATED: _spread(_of(own, ABLATED, measure))}
        cells.append(row | {m: _spread(_of(own, m, measure, MEAN)) for m in _order(rows)})
    about = f"{int(rows['patients'].max())} test patients"
    if task == "survival":
        column = "pairs" if measure == "c_index" else "pairs_within"
        about += f", {int(rows['deaths'].max())} deaths, {int(rows[column].max())} comparable pairs"
    return Table(
        f"{_named(cohort, task, measure)} by what is missing, mean ± sd over "
        f"{rows['run'].nunique()} runs: full {_spread(_of(rows, FULL, measure))}, label only "
        f"{_spread(_of(rows, LABEL_ONLY, measure))}; {about}",
        pd.DataFrame(cells),
        note="Completed values are the means of ten draws.",
    )


def _kinds(rows: pd.DataFrame, cohort: str, task: str, measure: str) -> Table:
    def over_patterns(method: str, value: str) -> str:
        return _spread(_of(rows, method, measure, value).groupby(level="run").mean())

    cells = [
        {
            "method": m,
            "mean of ten draws": over_patterns(m, MEAN),
            "one draw": over_patterns(m, DRAW),
        }
        for m in _order(rows)
    ]
    return Table(
        f"{_named(cohort, task, measure)}: completed by the mean of draws and by a single draw, as "
        f"in the paper; mean over patterns, ± sd over runs",
        pd.DataFrame(cells),
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
    lines = -(-len(drawn) // 2)
    drawing, axes = figure(lines, min(2, len(drawn)), height=2.6 * lines + 0.5)
    for axis, (task, measure) in zip(axes, drawn, strict=False):
        rows = frame[(frame["task"] == task) & frame[measure].notna()]
        names = [ABLATED, *_order(rows)]
        sizes = sorted(rows.loc[rows["missing"] != "", "size"].unique())
        width, seen = 0.8 / len(names), [_of(rows, n, measure).mean() for n in (FULL, LABEL_ONLY)]
        for i, name in enumerate(names):
            own = rows[(rows["method"] == name) & rows["value"].isin(["", MEAN])]
            runs = own.groupby(["size", "run"])[measure].mean().groupby(level="size")
            means, sds = runs.mean().reindex(sizes), runs.std().reindex(sizes).fillna(0)
            places = np.arange(len(sizes)) + (i - (len(names) - 1) / 2) * width
            axis.bar(
                places, means, width, yerr=sds, label=name, color=colour(name, i),
                error_kw={"linewidth": 0.8},
            )  # fmt: skip
            seen += [*(means - sds), *(means + sds)]
        for name, place, style in zip((FULL, LABEL_ONLY), seen, ("-", ":"), strict=False):
            axis.axhline(place, color="black", linewidth=1, linestyle=style, label=name)
        axis.set_ylim(np.nanmin(seen) - 0.03, np.nanmax(seen) + 0.03)
        axis.set_xticks(range(len(sizes)), [str(int(size)) for size in sizes])
        axis.set_xlabel("modalities missing", fontsize=8)
        axis.set_title(f"{task}: {TASKS[task][measure]}", fontsize=9, loc="left")
    for axis in axes[len(drawn) :]:
        axis.set_visible(False)
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=4,
                   fontsize=8, frameon=False)  # fmt: skip
    return drawing


def _notes(frame: pd.DataFrame) -> list[str]:
    notes = [
        "Forests are taught on 80% of the real training patients that have every modality of the "
        "cohort, drawn anew in each run, and tested on the test patients that do.",
        "Ablated: what is missing is passed as missing. These forests have seen no missing value "
        "in training, and send one to the side of a split that most training patients took. A "
        "forest taught anew on what is left was not compared: it might do better than this, and "
        "completed values are made of what is left too.",
        "C-index: Harrell's, a higher predicted risk with shorter survival is concordant. Over all "
        "patients it also rewards telling cancer types apart; within cancer types, only pairs of "
        "one type count, so that it is the types' mean weighted by comparable pairs. One risk for "
        "all gives one half by definition.",
        "Label only: stage drawn at random with the training frequencies; one risk for all.",
    ]
    trees = sorted(frame["trees"].dropna().unique())
    if trees:
        notes.append(f"Forests have {' or '.join(str(int(n)) for n in trees)} trees.")
    for (cohort, task), rows in frame.groupby(["cohort", "task"], sort=False):
        unknown = rows["unknown"].max()
        if unknown > 0:
            notes.append(f"{cohort}: {int(unknown)} test patients of unknown {task} left out.")
    for column, what in (("reason", ""), ("reason_within", ", within cancer types")):
        for reason, rows in frame.dropna(subset=[column]).groupby(column):
            names = ", ".join(sorted(set(rows["method"])))
            notes.append(f"Not measured ({rows['task'].iloc[0]}{what}; {names}): {reason}.")
    return notes
