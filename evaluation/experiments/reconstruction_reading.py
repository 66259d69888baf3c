"""What the rows of the reconstruction experiment say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from codenoise.evaluation.experiment import Claim, Figure, ReportTable, Section
from codenoise.evaluation.plotting import beside, colour, figure, grouped, legend
from codenoise.evaluation.reading import (
    against,
    capital,
    not_measured,
    notes,
    over,
    present,
    spread,
)
from codenoise.evaluation.study import COHERENT, MULTI

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

QUERY, COMPLETE, TYPE, INTERVAL = "query", "complete", "type", "interval"
"""Scopes of a row: every patient asked for; those of them with all modalities; one cancer type;
intervals of more draws."""
MEASURES = {
    "r2_draw": "pooled R2, single draws",
    "r2_expectation": "pooled R2, expectation",
    "r2_mean": "pooled R2, mean of draws",
    "r2_feature": "R2 averaged over features, mean of draws",
    "energy_score": "energy score",
    "energy_distance": "energy distance",
    "variance": "variance of draws, share of real",
}
SUBJECT = ["target", "conditions"]
ALL = "all others"
# Single-draw R2 of the paper's Table 1, its own patients and spaces.
PAPER = (
    ("rna", ALL, MULTI, 0.79),
    ("rppa", ALL, MULTI, 0.62),
    ("wsi", ALL, COHERENT, 0.44),
    ("wsi", ALL, MULTI, 0.39),
    ("wsi", "rna", COHERENT, 0.36),
    ("wsi", "rna+rppa", COHERENT, 0.43),
    ("cna", ALL, COHERENT, 0.06),
    ("cna", ALL, MULTI, -0.06),
)
PAPER_VARIANCE = (0.004, 0.021)
COLUMNS = (
    *("run", "target", "conditions", "given", "method", "scope", "patients", "draws", "reason"),
    *("cancer_type", "coverage", *MEASURES),
)


def section(frame: pd.DataFrame) -> Section:
    """Read the stored rows."""
    rows = frame.reindex(columns=list(COLUMNS))
    asked = rows[rows["scope"] == QUERY]
    full = asked[asked["given"] == asked.groupby("target")["given"].transform("max")]
    compared = partial(against, asked, subject=SUBJECT, things="sets of conditions")
    claims = [
        *_reached(full),
        *compared("r2_expectation", called="Pooled R2 of the expectation", headline=True),
        *_beside_the_paper(full),
        *compared("energy_distance", called="Energy distance (lower is better)"),
        *_distributions(rows, asked),
    ]
    return Section(claims, [*_tables(rows, asked, full)], _figures(rows, full), _notes(rows))


def _reached(full: pd.DataFrame) -> Iterator[Claim]:
    own = full[full["method"] == COHERENT].dropna(subset=["r2_expectation"])
    if len(own):
        means = own.groupby("target", sort=False)["r2_expectation"].mean()
        listed = ", ".join(f"{target} {r2:.3f}" for target, r2 in means.items())
        yield Claim(
            f"From all other modalities the expectation of the coherent ensemble's draws reaches a "
            f"pooled R2 of {listed}.",
            f"not tested: means over {own['run'].nunique()} run(s); the next claim tests it",
            headline=True,
        )


def _beside_the_paper(full: pd.DataFrame) -> Iterator[Claim]:
    """The paper puts the coherent ensemble ahead of the multi-condition model for two targets."""
    for target in ("wsi", "cna"):
        own = full[(full["target"] == target) & full["method"].isin([COHERENT, MULTI])]
        by_run = own.pivot_table(index="run", columns="method", values="r2_draw")
        most = own.groupby("method")["r2_expectation"].mean()
        if not {COHERENT, MULTI} <= set(by_run):
            continue
        paper = {m: r2 for t, given, m, r2 in PAPER if (t, given) == (target, ALL)}
        ours, other = by_run[COHERENT].mean(), by_run[MULTI].mean()
        yield Claim(
            f"{target} from all other modalities, single draws: pooled R2 {ours:.3f} by the "
            f"coherent ensemble, {other:.3f} by the multi-condition model; of the expectation "
            f"{most[COHERENT]:.3f} and {most[MULTI]:.3f}.",
            f"difference in single draws, {over(by_run[COHERENT] - by_run[MULTI], 'runs')}, which "
            f"differ in the seeds of draws alone",
            f"{paper[COHERENT]:.2f} against {paper[MULTI]:.2f} in single draws, measured on other "
            "patients.",
            bool(ours > other),
        )


def _distributions(rows: pd.DataFrame, asked: pd.DataFrame) -> Iterator[Claim]:
    own = asked[asked["method"] == COHERENT].dropna(subset=["variance"])
    if len(own):
        shares = own.groupby(SUBJECT)["variance"].mean()
        least, most = PAPER_VARIANCE
        yield Claim(
            f"Draws of the coherent ensemble for one patient vary by {shares.min():.0%} to "
            f"{shares.max():.0%} of the variance between real patients (mean {shares.mean():.0%}); "
            f"calibrated draws would by one minus R2.",
            over(shares, "sets of conditions", ".0%"),
            f"{least:.1%} to {most:.1%}, measured on other patients.",
            bool(least <= shares.min() and shares.max() <= most),
        )
    inside = rows[(rows["scope"] == INTERVAL) & (rows["method"] == COHERENT)]["coverage"].dropna()
    if len(inside):
        yield Claim(
            f"90% intervals of the coherent ensemble's draws hold {inside.min():.1%} to "
            f"{inside.max():.1%} of the real values, target by target.",
            over(inside, "targets", ".1%"),
        )


def _tables(rows: pd.DataFrame, asked: pd.DataFrame, full: pd.DataFrame) -> Iterator[ReportTable]:
    means = full.groupby(["target", "method"], sort=False)[["patients", *MEASURES]].mean()
    intervals = rows[rows["scope"] == INTERVAL].groupby(["target", "method"])["coverage"].mean()
    whole = means.join(intervals).astype({"patients": int})
    yield ReportTable(
        "Every measure, each target from all other modalities, mean over runs",
        whole.reset_index().rename(columns={**MEASURES, "coverage": "90% interval holds"}),
    )
    for value in ("r2_draw", "r2_expectation", "r2_mean", "r2_feature"):
        yield ReportTable(
            f"{capital(MEASURES[value])}: mean ± standard deviation over runs",
            spread(asked, ["target", "conditions", "patients"], value),
        )
    lines = []
    for target, given, method, paper in PAPER:
        own = full if given == ALL else asked[asked["conditions"].map(_sorted) == given]
        own = own[(own["target"] == target) & (own["method"] == method)]
        ours = {MEASURES[m]: own[m].mean() for m in ("r2_draw", "r2_expectation", "r2_feature")}
        about = {"target": target, "from": given, "method": method, "the paper": f"{paper:.2f}"}
        lines.append(about | ours)
    yield ReportTable("R2 beside the paper's", pd.DataFrame(lines))
    typed = rows[rows["scope"] == TYPE].dropna(subset=["cancer_type"])
    index = ["target", "conditions", "cancer_type", "patients"]
    yield ReportTable(
        "Pooled R2 of the expectation within each cancer type, mean ± standard deviation over runs",
        spread(typed.astype({"patients": int}), index, "r2_expectation"),
    )


def _sorted(conditions: str) -> str:
    return "+".join(sorted(str(conditions).split("+")))


def _figures(rows: pd.DataFrame, full: pd.DataFrame) -> list[Figure]:
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
            partial(_r2_bars, full),
        ),
        Figure(
            "r2-by-conditions",
            "Pooled R2 of the expectation by the number of conditions; each dot is a set of "
            f"conditions, mean over runs; the same {several} patients with all modalities "
            "throughout.",
            "Dots of R2 that show how it changes with the number of conditions, for each target.",
            partial(_r2_dots, shared, list(counts.index), present(full)),
        ),
        Figure(
            "variance-of-draws",
            f"Variance of a patient's draws in % of the variance between real patients. {said}. "
            "Error bars: standard deviation over runs. Black lines: one minus R2 of the "
            "expectation, which is what calibrated draws would have.",
            "Bars of the variance of draws for each target and method, with the calibrated value.",
            partial(_variance_bars, full),
        ),
    ]


def _r2_bars(full: pd.DataFrame) -> Drawing:
    drawing, axes = figure(1, 2, width=9, height=3.6)
    for one, value in zip(axes, ("r2_draw", "r2_expectation"), strict=True):
        grouped(one, full, "target", value, present(full), dots=False)
        one.set_title(MEASURES[value], fontsize=9)
        one.axhline(0, color="black", linewidth=0.6)
    axes[0].set_ylabel("R2", fontsize=9)
    legend(drawing, axes[1])
    return drawing


def _r2_dots(shared: pd.DataFrame, targets: Sequence[str], methods: Sequence[str]) -> Drawing:
    drawing, axes = figure(1, max(len(targets), 1), width=10, height=3.6)
    for one, target in zip(axes, targets, strict=False):
        mine = shared[shared["target"] == target]
        means = mine.groupby(["method", "given", "conditions"])["r2_expectation"].mean()
        table = means.reset_index()
        for i, method in enumerate(methods):
            dots = table[table["method"] == method]
            places = dots["given"] + beside(i, len(methods))
            one.scatter(places, dots["r2_expectation"], s=16, color=colour(method, i), label=method)
        one.set_title(target, fontsize=9)
        one.set_xlabel("conditions", fontsize=9)
        one.set_xticks(sorted(table["given"].unique()))
    axes[0].set_ylabel("pooled R2 of the expectation", fontsize=9)
    legend(drawing, axes[0])
    return drawing


def _variance_bars(full: pd.DataFrame) -> Drawing:
    drawing, axes = figure(height=3.6)
    drawn = present(full.dropna(subset=["variance"]))
    percent = full.assign(drawn=100 * full["variance"], right=100 * (1 - full["r2_expectation"]))
    grouped(axes[0], percent, "target", "drawn", drawn, dots=False)
    right = percent.pivot_table(index="target", columns="method", values="right")
    targets = list(full["target"].unique())
    for i, method in enumerate(drawn):
        places = np.arange(len(targets)) + beside(i, len(drawn))
        axes[0].scatter(
            places, right[method].reindex(targets), marker="_", s=110, color="black", zorder=3,
            label="one minus R2" if i == 0 else None,
        )  # fmt: skip
    axes[0].set_ylabel("variance of draws, % of real", fontsize=9)
    legend(drawing, axes[0])
    return drawing


def _notes(rows: pd.DataFrame) -> list[str]:
    return [*notes("reconstruction"), *not_measured(rows, "target")]
