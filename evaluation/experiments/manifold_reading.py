"""What the rows of the manifold experiment say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from codenoise.evaluation.experiment import Claim, Figure, ReportTable, Section
from codenoise.evaluation.plotting import OTHERS, clouds, figure, grouped, legend
from codenoise.evaluation.reading import against, not_measured, notes, over, present, spread
from codenoise.evaluation.statistics import interval
from codenoise.evaluation.study import COHERENT, METHODS, MULTI, PUBLISHED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

REAL, CONTROL, WHOLE = "real", "real, of training", "all"
POINT, SCORE, CHANCE = "point", "score", "chance"
"""Kinds of rows: a place in the map, a score, how sure a forest is that a patient was generated."""
DRAWN = (COHERENT, MULTI, PUBLISHED)
ORDER = (CONTROL, *METHODS)
REST = "other or unknown"
COLUMNS = (
    *("run", "kind", "method", "modality", "patient", "patients", "cancer_type", "x", "y"),
    *("auc", "energy_distance", "if_real", "if_generated", "reason"),
)


def section(frame: pd.DataFrame) -> Section:
    """Read the stored rows."""
    rows = frame.reindex(columns=list(COLUMNS))
    scores = rows[(rows["kind"] == SCORE)].dropna(subset=["auc"])
    points = rows[(rows["kind"] == POINT)].dropna(subset=["x"])
    return Section(
        [*_claims(scores, rows[rows["kind"] == CHANCE])],
        [
            _table(scores, "auc", "AUC of telling real from generated patients"),
            _table(scores, "energy_distance", "Energy distance from the real test patients"),
        ],
        [*_maps(points), *_score_figures(scores)],
        [
            *notes("manifold", runs=scores["run"].nunique(), control=CONTROL),
            *not_measured(rows, "method"),
        ],
    )


def _claims(scores: pd.DataFrame, chances: pd.DataFrame) -> Iterator[Claim]:
    """Of whole patients, over patients; of the distance, over modalities."""
    sides = chances.groupby(["method", "patient"], sort=False)[["if_real", "if_generated"]]
    mean = sides.mean().reset_index()
    own = mean[mean["method"] == COHERENT]
    if len(own):
        excess = (own["if_generated"] - own["if_real"]).to_numpy()
        verb = "tells" if interval(excess)[0] > 0 else "does not tell"
        yield Claim(
            f"A forest {verb} whole patients of the coherent ensemble from real ones"
            f"{_areas(scores)}. It gives a patient's generated side {excess.mean():+.3f} more "
            f"chance of being generated than the real side.",
            over(excess, "patients"),
            headline=True,
        )
    yield from against(
        mean, "if_generated", ["patient"],
        "Chance of being generated that a forest gives (lower is closer to real)",
        things="patients",
    )  # fmt: skip
    yield from against(
        scores[scores["method"] != CONTROL], "energy_distance", ["modality"],
        "Energy distance from real patients (lower is closer)",
        things="modalities ('all' among them)",
    )  # fmt: skip


def _areas(scores: pd.DataFrame) -> str:
    """With which AUC it does, whole and by modality, and what that is of others."""
    means = scores.groupby(["modality", "method"])["auc"].mean()
    if (WHOLE, COHERENT) not in means.index:
        return ""
    rest = [name for name in present(scores, ORDER) if name != COHERENT]
    others = ", ".join(f"{name} {means[WHOLE].get(name, np.nan):.2f}" for name in rest)
    each = means.drop(index=WHOLE, level="modality").xs(COHERENT, level="method")
    return (
        f", with an AUC of {means[WHOLE, COHERENT]:.2f} ({others}; by modality {each.min():.2f}, "
        f"{each.idxmin()}, to {each.max():.2f}, {each.idxmax()})"
    )


def _table(scores: pd.DataFrame, value: str, called: str) -> ReportTable:
    counts = ", ".join(str(int(n)) for n in sorted(scores["patients"].dropna().unique()))
    modalities = list(scores["modality"].unique())
    cells = spread(scores, ["method"], value, columns="modality", order=modalities)
    return ReportTable(
        f"{called}: mean ± standard deviation over runs",
        cells.set_index("method").reindex(present(scores, ORDER)).reset_index(),
        f"Patients: {counts or 'none'}.",
    )


def _maps(points: pd.DataFrame) -> list[Figure]:
    if points.empty:
        return []
    shared = (
        f"UMAP of {points['patient'].nunique()} test patients, a row of panels for each modality "
        "('all': side by side); the map was fitted on real training patients. Axes without unit."
    )
    frequent = list(points["cancer_type"].value_counts().index[: len(OTHERS) - 1])
    typed = points.assign(
        cancer_type=points["cancer_type"].where(points["cancer_type"].isin(frequent), REST)
    )
    there = set(points["method"])
    drawn = [name for name in DRAWN if name in there]
    sides = [name for name in (REAL, *DRAWN) if name in there]
    return [
        Figure(
            "manifold",
            f"{shared} Grey: real; coloured: generated from the other modalities, one draw each.",
            "Clouds of real and generated patients over each other, a panel for each method.",
            partial(_map, points, drawn, []),
        ),
        Figure(
            "manifold-types",
            f"{shared} Colours: cancer types, the seven most frequent ones and all others (grey).",
            "The same clouds, real and generated side by side, coloured by cancer type.",
            partial(_map, typed, sides, frequent),
        ),
    ]


def _map(points: pd.DataFrame, methods: list[str], types: list[str]) -> Drawing:
    """A panel for each modality and method: over the real patients, or coloured by type."""
    modalities, columns = list(points["modality"].unique()), max(len(methods), 1)
    drawing, axes = figure(
        len(modalities), columns, height=2.1 * len(modalities),
        width=(2.2 if types else 2.4) * columns + 0.6,
    )  # fmt: skip
    panels = ((row, method) for row in modalities for method in methods)
    for one, (modality, method) in zip(axes, panels, strict=False):
        mine = points[points["modality"] == modality]
        own = mine[mine["method"] == method]
        at, style = ("x", "y"), dict[str, Any](s=6, linewidths=0)
        if types:
            clouds(one, own, at, [REST], "cancer_type", color=OTHERS[-1], s=6)
            clouds(one, own, at, types, "cancer_type", **style)
        else:
            clouds(one, mine, at, [REAL], color="#aaaaaa", **style)
            clouds(one, own, at, [method], **style)
        _bare(one, mine)
        one.set_title(method if modality == modalities[0] else "", fontsize=9)
        one.set_ylabel(modality if method == methods[0] else "", fontsize=9)
    if types:
        legend(drawing, axes[0], ncols=4, fontsize=7)
    return drawing


def _bare(axes: Axes, mine: pd.DataFrame) -> None:
    """Take off the grid, and show the same part of the map in each panel of a row."""
    for values, limits in ((mine["x"], axes.set_xlim), (mine["y"], axes.set_ylim)):
        margin = 0.05 * float(values.max() - values.min())
        limits(float(values.min()) - margin, float(values.max()) + margin)
    axes.grid(visible=False)


def _score_figures(scores: pd.DataFrame) -> list[Figure]:
    if scores.empty:
        return []

    def draw() -> Drawing:
        drawing, axes = figure(height=3.6)
        grouped(axes[0], scores, "modality", "auc", present(scores, ORDER), dots=True)
        axes[0].axhline(0.5, color="black", linewidth=0.6)
        axes[0].set_ylabel("AUC, real against generated", fontsize=9)
        legend(drawing, axes[0])
        return drawing

    return [
        Figure(
            "told-apart",
            "AUC of random forests that tell real from generated patients, whole and by modality; "
            f"0.5 is not told apart. Mean and standard deviation over runs; "
            f"{int(scores['patients'].max())} patients.",
            "Dots of the AUC for each method and modality, with the line of chance.",
            draw,
        )
    ]
