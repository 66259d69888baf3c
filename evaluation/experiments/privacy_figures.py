"""Tables and figures of the privacy experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from codenoise.evaluation.experiment import Figure, Table
from codenoise.evaluation.experiments.privacy_attacks import CONTROLS, NEAREST, OWN, REGRESSION
from codenoise.evaluation.experiments.unconditional import (
    GENERATORS,
    NARROWED,
    OTHERS,
    REAL,
    TEST,
)
from codenoise.evaluation.plotting import colour, figure
from codenoise.evaluation.study import MULTI, PUBLISHED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

ORDER = (*GENERATORS, NARROWED, REGRESSION, TEST, OTHERS, *CONTROLS)
MEASURES = ("precision", "recall", "f1", "energy_distance", "variance_ratio")
PAPER = {MULTI: (0.14, 1.01), PUBLISHED: (0.0, 2.11)}  # F1 and energy distance, Table 3
ATTACKS = {NEAREST: "nearest of all generated", OWN: "the patient's own draws"}


def method_means(fidelity: pd.DataFrame) -> pd.DataFrame:
    """Means over targets and runs of every measure, a row a method in the report's order."""
    means = fidelity.groupby("method")[list(MEASURES)].mean()
    return means.loc[[name for name in ORDER if name in means.index]]


def auc_text(row: pd.Series[float]) -> str:
    """An AUC with its interval, as it is read."""
    return f"{row['auc']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def null_table(fidelity: pd.DataFrame) -> Table:
    """What is generated from nothing, all targets together (the paper's Table 3)."""
    names = {"precision": "Precision", "recall": "Recall", "f1": "F1"} | {
        "energy_distance": "Energy distance", "variance_ratio": "Variance ratio"
    }  # fmt: skip
    by_run = fidelity.groupby(["method", "run"])[list(names)].mean()
    cells = []
    for method in method_means(fidelity).index:
        runs = by_run.loc[method]
        paper = PAPER.get(method)
        cells.append(
            {"Set": method}
            | {names[n]: _spread(runs[n]) for n in names}
            | {
                "F1 in the paper": f"{paper[0]:g}" if paper else "",
                "Energy distance in the paper": f"{paper[1]:.2f}" if paper else "",
            }
        )
    return Table(
        "What is generated from nothing, against as many real training patients: mean over "
        "targets, and its standard deviation over runs",
        pd.DataFrame(cells),
        "Latents in units of the training patients' standard deviations. Real patients beneath are "
        "what equal distributions give (other training patients) and what unseen patients give. "
        "The paper's values are of other patients and spaces.",
    )


def _spread(values: pd.Series[float]) -> str:
    deviation = values.std()
    return f"{values.mean():.2f}" + ("" if np.isnan(deviation) else f" ± {deviation:.2f}")


def target_table(fidelity: pd.DataFrame) -> Table:
    """What is generated from nothing, target by target."""
    means = fidelity.groupby(["method", "target"], sort=False)[["f1", "energy_distance"]].mean()
    cells = [
        {"Set": method}
        | {
            f"{target} ({what})": f"{means[measure].get((method, target), np.nan):.2f}"
            for target in fidelity["target"].unique()
            for measure, what in (("f1", "F1"), ("energy_distance", "distance"))
        }
        for method in method_means(fidelity).index
    ]
    return Table(
        "F1 and energy distance of what is generated from nothing, by target; mean over runs",
        pd.DataFrame(cells),
    )


def attack_table(attacks: pd.DataFrame) -> Table:
    """Every attack on every target, from the rows of `privacy_reading.summary`."""
    cells = []
    for (source, method, attack), rows in attacks.groupby(
        ["source", "method", "attack"], sort=False
    ):
        cells.append(
            {"Generated from": "" if method in CONTROLS else source}
            | {"Released": method, "Distance to": ATTACKS[str(attack)]}
            | {row["target"]: auc_text(row) + "*" * row["told"] for _, row in rows.iterrows()}
        )
    return Table(
        "Membership attack: AUC of telling training patients from test patients, [95% interval]",
        pd.DataFrame(cells).fillna(""),
        "0.5 gives nothing away, 1 everybody. As many training as test patients of each cancer "
        "type and set of conditions. * p < .05 (Mann-Whitney, Holm over all attacks but the "
        "controls). Controls: copies of the training patients must give 1, real validation "
        "patients about 0.5.",
    )


def plane_figure(points: pd.DataFrame) -> Figure:
    """Real and generated patients in two planes (the paper's Fig 5)."""
    targets = list(points["target"].unique())
    methods = [name for name in (REAL, TEST, *GENERATORS) if (points["method"] == name).any()]

    def draw() -> Drawing:
        made, axes = figure(2, len(targets), width=2.4 * len(targets), height=5.2)
        for row, plane in enumerate(("pca", "umap")):
            for column, target in enumerate(targets):
                one = axes[row * len(targets) + column]
                _scatter(one, points[points["target"] == target], plane, methods)
                one.set_title(f"{target}, {plane.upper()}", fontsize=9)
        handles, labels = axes[0].get_legend_handles_labels()
        made.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
        return made

    count = points.groupby(["target", "method"]).size().max()
    return Figure(
        "privacy-planes",
        "Real patients and what is generated from nothing, in the plane of the first two "
        "principal components (above) and of UMAP (below), both fitted on training patients; "
        f"first run, up to {count} of each set.",
        "Scatter plots of each target: real training and test patients, and the sets that each "
        "generator gives without any condition.",
        draw,
    )


def _scatter(one: Axes, points: pd.DataFrame, plane: str, methods: list[str]) -> None:
    for name in methods:
        shown = points[points["method"] == name]
        paint = {REAL: colour("real"), TEST: "#999999"}.get(name, colour(name))
        one.scatter(
            shown[f"{plane}_x"], shown[f"{plane}_y"], s=5, alpha=0.6, color=paint, label=name
        )
    one.set_xticks([])
    one.set_yticks([])


def attack_figure(attacks: pd.DataFrame) -> Figure:
    """AUC of every attack, from the rows of `privacy_reading.summary`."""
    targets = list(attacks["target"].unique())
    rows = list(attacks[["source", "method", "attack"]].drop_duplicates().itertuples(index=False))

    def draw() -> Drawing:
        made, axes = figure(height=1 + 0.32 * len(rows))
        one = axes[0]
        for place, target in enumerate(targets):
            shown = attacks[attacks["target"] == target].set_index(["source", "method", "attack"])
            at = [i for i, row in enumerate(rows) if tuple(row) in shown.index]
            values = shown.loc[[tuple(rows[i]) for i in at]]
            error = np.abs(values[["low", "high"]].to_numpy().T - values["auc"].to_numpy())
            one.errorbar(
                values["auc"],
                np.array(at) + 0.16 * (place - (len(targets) - 1) / 2),
                xerr=error,
                fmt="o",
                markersize=3,
                linewidth=0.9,
                color=colour("", place),
                label=target,
            )
        one.axvline(0.5, color="#000000", linewidth=0.8, linestyle=":")
        labels = [
            method if method in CONTROLS else f"{method}, from {source}, {attack}"
            for source, method, attack in rows
        ]
        one.set_yticks(range(len(rows)), labels, fontsize=7)
        one.invert_yaxis()
        one.set_xlabel("AUC, training against test patients", fontsize=8)
        one.legend(fontsize=8, frameon=False)
        return made

    return Figure(
        "privacy-attacks",
        "Membership attacks: AUC and its 95% bootstrap interval over patients, by target; the "
        f"dotted line gives nothing away. Up to {attacks['patients'].max():.0f} patients each.",
        "For each generator and attack, points with intervals of the AUC along a line at 0.5; "
        "copies of training patients stand at 1.",
        draw,
    )
