"""What the rows of the manifold experiment say: verdict, claims, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from codenoise.evaluation.experiment import Claim, Figure, Section, Table
from codenoise.evaluation.plotting import OTHERS, colour, figure
from codenoise.evaluation.statistics import compare, interval
from codenoise.evaluation.study import BASELINE, COHERENT, MULTI, PUBLISHED, SINGLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

REAL, CONTROL, WHOLE = "real", "real, of training", "all"
POINT, SCORE, CHANCE = "point", "score", "chance"
"""Kinds of rows: a place in the map, a score, how sure a forest is that a patient was generated."""
DRAWN = (COHERENT, MULTI, PUBLISHED)
METHODS = (CONTROL, COHERENT, PUBLISHED, SINGLE, MULTI, BASELINE)
_COLUMNS = (
    *("run", "kind", "method", "modality", "patient", "patients", "cancer_type", "x", "y"),
    *("auc", "energy_distance", "if_real", "if_generated", "reason"),
)


def section(frame: pd.DataFrame) -> Section:
    """Read the stored rows."""
    rows = frame.reindex(columns=[*_COLUMNS, *(c for c in frame if c not in _COLUMNS)])
    scores = rows[(rows["kind"] == SCORE)].dropna(subset=["auc"])
    points = rows[(rows["kind"] == POINT)].dropna(subset=["x"])
    runs = scores["run"].nunique()
    notes = [
        "Each modality is generated from all others, which are real, one draw for each patient; "
        "'all' is the generated modalities' latents side by side, between which nothing ties two "
        "draws together. The map is UMAP fitted on real training patients that "
        "have every modality; test patients are put into it. Its axes have no unit, and distances "
        "in it show neighbourhood alone, so every figure is taken in the latent space instead.",
        "AUC is that of random forests (5 folds by patient, 100 trees) that tell real from "
        f"generated points: 0.5 where they cannot, 1 where they always can; of {runs} run(s). "
        f"'{CONTROL}' are as many real training patients, drawn anew in each run: what two real "
        "samples of this size look like.",
    ]
    lost = rows.dropna(subset=["reason"])[["method", "reason"]].drop_duplicates()
    notes += [f"Not measured ({row.method}): {row.reason}." for row in lost.itertuples()]
    return Section(
        _verdict(scores),
        _claims(scores, rows[rows["kind"] == CHANCE]),
        [
            _table(scores, "auc", "AUC of telling real from generated patients"),
            _table(scores, "energy_distance", "Energy distance from the real test patients"),
        ],
        [*_figures(points), *_score_figures(scores)],
        notes,
    )


def _present(rows: pd.DataFrame) -> list[str]:
    there = list(rows["method"].dropna().unique())
    return [m for m in METHODS if m in there] + [m for m in there if m not in METHODS]


def _verdict(scores: pd.DataFrame) -> str:
    whole = scores[scores["modality"] == WHOLE].groupby("method")["auc"].mean()
    if COHERENT not in whole:
        return "Nothing was measured for the coherent ensemble; the notes say why."
    said = (
        f"A forest tells patients of the coherent ensemble from real ones with an AUC of "
        f"{whole[COHERENT]:.2f}"
    )
    if CONTROL in whole:
        said += f" ({whole[CONTROL]:.2f} between two samples of real patients)"
    others = [m for m in _present(scores) if m not in (COHERENT, CONTROL) and m in whole]
    if others:
        said += "; of others: " + ", ".join(f"{m} {whole[m]:.2f}" for m in others)
    said += "."
    mine = scores[(scores["method"] == COHERENT) & (scores["modality"] != WHOLE)]
    each = mine.groupby("modality")["auc"].mean()
    if len(each):
        said += (
            f" By modality it lies between {each.min():.2f} ({each.idxmin()}) and "
            f"{each.max():.2f} ({each.idxmax()})."
        )
    return said


def _claims(scores: pd.DataFrame, chances: pd.DataFrame) -> list[Claim]:
    """Of whole patients, over patients; of the distance, over modalities."""
    mean = chances.groupby(["method", "patient"], sort=False)[["if_real", "if_generated"]].mean()
    mean = mean.reset_index()
    own = mean[mean["method"] == COHERENT]
    claims = []
    if len(own):
        excess = (own["if_generated"] - own["if_real"]).to_numpy()
        low, high = interval(excess)
        word = "tells" if low > 0 else "does not tell"
        span = "not available" if np.isnan(low) else f"{low:+.3f} to {high:+.3f}"
        claims.append(
            Claim(
                f"A forest {word} whole patients of the coherent ensemble from real ones: it gives "
                f"a patient's generated side {excess.mean():+.3f} more chance of being generated "
                "than the real side.",
                f"95% interval over {len(own)} patients (bootstrap): {span}",
            )
        )
    claims += _against(
        mean, "if_generated", ["patient"], "The chance of being generated that a forest gives"
    )
    drawing = scores[~scores["method"].isin([CONTROL])]
    claims += _against(drawing, "energy_distance", ["modality"], "The energy distance from real of")
    return claims


def _against(rows: pd.DataFrame, value: str, subject: list[str], called: str) -> list[Claim]:
    """The coherent ensemble against every other method; lower is closer to real."""
    known = rows.dropna(subset=[value])
    methods = _present(known)
    if COHERENT not in methods or len(methods) < 2:
        return []
    test = compare(known, value=value, method="method", subject=subject)
    wide = known.pivot_table(index=subject, columns="method", values=value).dropna()
    things = {"patient": "patients", "modality": "modalities, 'all' included"}[subject[0]]
    claims = []
    for other in methods:
        if other == COHERENT or not len(wide):
            continue
        lower = int((wide[COHERENT] < wide[other]).sum())
        claims.append(
            Claim(
                f"{called} the coherent ensemble is {wide[COHERENT].mean():.3f} on average, "
                f"{wide[other].mean():.3f} for {other}; lower, that is closer to real, for {lower} "
                f"of {len(wide)} {things}.",
                f"{test.between(COHERENT, other)}; {test.overall}"
                if len(test.pairs)
                else test.overall,
            )
        )
    return claims


def _table(scores: pd.DataFrame, value: str, called: str) -> Table:
    grouped = scores.groupby(["method", "modality"], sort=False)[value].agg(["mean", "std"])
    texts = [
        f"{mean:.3f}" if np.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"
        for mean, sd in grouped.itertuples(index=False)
    ]
    long = grouped.reset_index()[["method", "modality"]].assign(text=texts)
    counts = ", ".join(str(int(n)) for n in sorted(scores["patients"].dropna().unique()))
    wide = (
        long.pivot_table(
            index="method", columns="modality", values="text", aggfunc="first", sort=False
        )
        .reindex(_present(scores))
        .fillna("")
        .reset_index()
        if len(long)
        else pd.DataFrame(columns=["method"])
    )
    return Table(
        f"{called}: mean ± standard deviation over runs",
        wide,
        f"Patients: {counts or 'none'}. Lower is closer to real. A point prediction does not "
        "depend on the run.",
    )


def _figures(points: pd.DataFrame) -> list[Figure]:
    modalities = list(points["modality"].dropna().unique())
    if not modalities:
        return []
    count = points["patient"].nunique()
    shared = (
        f"UMAP of {count} test patients, a row of panels for each modality ('all': side by side); "
        "the map was fitted on real training patients. Axes without unit."
    )
    return [
        Figure(
            "manifold",
            f"{shared} Grey: real; coloured: generated from the other modalities, one draw each.",
            "Clouds of real and generated patients over each other, a panel for each method.",
            lambda: _clouds(points, modalities),
        ),
        Figure(
            "manifold-types",
            f"{shared} Colours: cancer types, the seven most frequent ones and all others (grey).",
            "The same clouds, real and generated side by side, coloured by cancer type.",
            lambda: _type_clouds(points, modalities),
        ),
    ]


def _clouds(points: pd.DataFrame, modalities: Sequence[str]) -> Drawing:
    methods = [m for m in DRAWN if m in set(points["method"])]
    columns = max(len(methods), 1)
    drawing, axes = figure(
        len(modalities), columns, width=2.4 * columns + 0.6, height=2.1 * len(modalities)
    )
    for i, modality in enumerate(modalities):
        mine = points[points["modality"] == modality]
        for j, method in enumerate(methods):
            one = axes[i * columns + j]
            for name, shade in ((REAL, "#aaaaaa"), (method, colour(method))):
                dots = mine[mine["method"] == name]
                one.scatter(dots["x"], dots["y"], s=6, color=shade, label=name, linewidths=0)
            _bare(one, mine, method if i == 0 else "", modality if j == 0 else "")
    return drawing


def _type_clouds(points: pd.DataFrame, modalities: Sequence[str]) -> Drawing:
    methods = [m for m in (REAL, *DRAWN) if m in set(points["method"])]
    frequent = list(points["cancer_type"].value_counts().index[: len(OTHERS) - 1])
    drawing, axes = figure(
        len(modalities), len(methods), width=2.2 * len(methods) + 0.6, height=2.1 * len(modalities)
    )
    for i, modality in enumerate(modalities):
        mine = points[points["modality"] == modality]
        for j, method in enumerate(methods):
            one = axes[i * len(methods) + j]
            own = mine[mine["method"] == method]
            rest = own[~own["cancer_type"].isin(frequent)]
            if len(rest):
                one.scatter(rest["x"], rest["y"], s=6, color=OTHERS[-1], label="other or unknown")
            for k, kind in enumerate(frequent):
                dots = own[own["cancer_type"] == kind]
                one.scatter(dots["x"], dots["y"], s=6, color=OTHERS[k], label=kind, linewidths=0)
            _bare(one, mine, method if i == 0 else "", modality if j == 0 else "")
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        drawing.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)
    return drawing


def _bare(axes: Axes, mine: pd.DataFrame, title: str, label: str) -> None:
    """Take off what a map has no use for, and show the same part of it in each panel of a row."""
    for values, limits in ((mine["x"], axes.set_xlim), (mine["y"], axes.set_ylim)):
        margin = 0.05 * float(values.max() - values.min())
        limits(float(values.min()) - margin, float(values.max()) + margin)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set_title(title, fontsize=9)
    axes.set_ylabel(label, fontsize=9)


def _score_figures(scores: pd.DataFrame) -> list[Figure]:
    if scores.empty:
        return []
    count = int(scores["patients"].max())

    def draw() -> Drawing:
        drawing, axes = figure(height=3.6)
        modalities, methods = list(scores["modality"].unique()), _present(scores)
        for i, method in enumerate(methods):
            mine = scores[scores["method"] == method].groupby("modality")["auc"]
            table = mine.agg(["mean", "std"]).reindex(modalities)
            shade = OTHERS[-1] if method == CONTROL else colour(method, i)
            places = np.arange(len(modalities)) + 0.8 * ((i + 0.5) / len(methods) - 0.5)
            axes[0].errorbar(
                *(places, table["mean"], table["std"].fillna(0)), fmt="o", markersize=4,
                color=shade, label=method,
            )  # fmt: skip
        axes[0].axhline(0.5, color="black", linewidth=0.6)
        axes[0].set_xticks(range(len(modalities)), modalities)
        axes[0].set_ylabel("AUC, real against generated", fontsize=9)
        handles, labels = axes[0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
        return drawing

    return [
        Figure(
            "told-apart",
            "AUC of random forests that tell real from generated patients, whole and by modality; "
            f"0.5 is not told apart. Mean and standard deviation over runs; {count} patients.",
            "Dots of the AUC for each method and modality, with the line of chance.",
            draw,
        )
    ]
