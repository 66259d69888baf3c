"""What the rows of the privacy experiment say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from codenoise.core.base.optional import needed
from codenoise.evaluation.experiment import Claim, Figure, ReportTable, Section
from codenoise.evaluation.experiments.privacy_attacks import (
    CONDITIONS,
    CONTROLS,
    COPIES,
    NEAREST,
    NOTHING,
    OWN,
    REGRESSION,
)
from codenoise.evaluation.experiments.unconditional import (
    GENERATORS,
    NARROW,
    NARROWED,
    OTHERS,
    REAL,
    TEST,
)
from codenoise.evaluation.plotting import beside, clouds, colour, figure, legend, spans
from codenoise.evaluation.reading import against, mean_sd, not_measured, notes, over, present
from codenoise.evaluation.statistics import p_text
from codenoise.evaluation.study import COHERENT, MULTI, PUBLISHED

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

LEVEL = 0.05
ORDER = (*GENERATORS, NARROWED, REGRESSION, TEST, OTHERS, *CONTROLS)
MEASURES = {
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "energy_distance": "Energy distance",
    "variance_ratio": "Variance ratio",
}
COMPARED = (PUBLISHED, MULTI, COHERENT, TEST, OTHERS)
# Table 3 of the paper, measured on other patients.
PAPER = {
    PUBLISHED: {"f1": 0.0, "energy_distance": 2.11},
    MULTI: {"f1": 0.14, "energy_distance": 1.01},
}
ON_OTHERS = "(Table 3), measured on other patients"
ATTACKS = {NEAREST: "nearest of all generated", OWN: "the patient's own draws"}
ATTACK = ["source", "method", "attack"]
GIVEN = {
    NOTHING: "what is generated from nothing",
    CONDITIONS: "what is completed from conditions",
}
COLUMNS = (
    *("run", "seed", "target", "kind", "method", "patients", "source", "attack", "left_out"),
    *("auc", "low", "high", "p", "pca_x", "pca_y", "umap_x", "umap_y", "reason", *MEASURES),
)


def section(frame: pd.DataFrame) -> Section:
    """Read the rows of the experiment `privacy`; any of them may be missing."""
    rows = frame.reindex(columns=list(COLUMNS))
    fidelity = rows[(rows["kind"] == "fidelity") & rows["f1"].notna()]
    attacks = summary(rows[(rows["kind"] == "attack") & rows["auc"].notna()])
    points = rows[(rows["kind"] == "point") & rows["pca_x"].notna()]
    return Section(
        [*_null_claims(fidelity), *_attack_claims(attacks)],
        [*_null_tables(fidelity), *_attack_tables(attacks)],
        [*_plane_figures(points), *_attack_figures(attacks)],
        _notes(rows, fidelity),
    )


def summary(attacks: pd.DataFrame) -> pd.DataFrame:
    """Each attack over its runs.

    Parameters
    ----------
    attacks
        Rows of the kind ``attack`` that have a value.

    Returns
    -------
    pandas.DataFrame
        Columns ``source``, ``method``, ``attack``, ``target``, ``runs``, ``patients``, and ``auc``,
        ``low``, ``high`` averaged over runs. Runs share patients, so the interval stays that of one
        run. ``p`` is twice the median p-value over runs, which is valid however these depend on
        each other (Ruschendorf 1982), Holm-corrected over all attacks but the controls'; ``told``
        is whether members were told apart at the level 0.05. ``text`` is the AUC as it is read.
    """
    found = (
        attacks.groupby([*ATTACK, "target"], sort=False)
        .agg(
            runs=("run", "nunique"), patients=("patients", "median"), auc=("auc", "mean"),
            low=("low", "mean"), high=("high", "mean"), p=("p", "median"),
        )
        .reset_index()
    )  # fmt: skip
    found["p"] = np.where(found["runs"] > 1, np.minimum(1, 2 * found["p"]), found["p"])
    tested = ~found["method"].isin(CONTROLS) & found["p"].notna()
    if tested.any():
        pingouin = needed("pingouin", "correcting for many attacks", extra="evaluation")
        found.loc[tested, "p"] = pingouin.multicomp(found.loc[tested, "p"], method="holm")[1]
    found["told"] = (found["p"] < LEVEL) & (found["auc"] > 0.5)
    found["text"] = [f"{row.auc:.2f} [{row.low:.2f}, {row.high:.2f}]" for row in found.itertuples()]
    return found


def _null_claims(fidelity: pd.DataFrame) -> Iterator[Claim]:
    """The paper finds hardly anything like a patient, the consensus less so than the other."""
    for measure, expected in (("f1", "below"), ("energy_distance", "above")):
        theirs = [f"{PAPER[method][measure]:g}" for method in (PUBLISHED, MULTI)]
        yield from against(
            fidelity[fidelity["method"].isin(COMPARED)], measure, ["run", "target"],
            f"{MEASURES[measure]} of what is generated from nothing against training patients",
            things="runs and targets", one=PUBLISHED, order=COMPARED, headline=True,
            paper=f"{theirs[0]} for the consensus, {theirs[1]} for the multi-condition model "
            f"{ON_OTHERS}; compared is which is the larger, where the test tells them apart",
            expected=(MULTI, expected),
        )  # fmt: skip
    means = fidelity.groupby("method")[["f1", "variance_ratio"]].mean()
    for method in (PUBLISHED, MULTI):
        if {method, OTHERS} <= set(means.index):
            share = means["f1"][method] / means["f1"][OTHERS]
            yield Claim(
                f"Given nothing, {method} reaches an F1 of {means['f1'][method]:.2f}, {share:.0%} "
                f"of that of {OTHERS}.",
                _over_sets(fidelity, method),
                f"F1 {PAPER[method]['f1']:g} {ON_OTHERS}; agrees below half of real patients' F1",
                bool(share < 0.5),
                headline=True,
            )
    if {PUBLISHED, NARROWED} <= set(means.index):
        yield Claim(
            f"Narrowed to {NARROW:.0%} of the real variance, about what the paper's draws have, "
            f"those of {PUBLISHED} ({means['variance_ratio'][PUBLISHED]:.0%}) have an F1 of "
            f"{means['f1'][NARROWED]:.2f}.",
            _over_sets(fidelity, NARROWED),
            headline=True,
        )


def _over_sets(fidelity: pd.DataFrame, method: str) -> str:
    return over(fidelity.loc[fidelity["method"] == method, "f1"], "runs and targets", ".2f")


def _attack_claims(attacks: pd.DataFrame) -> Iterator[Claim]:
    real = attacks[~attacks["method"].isin(CONTROLS)]
    if len(real):
        yield replace(_attack_claim(real, "Of all that is released"), headline=True)
    for (source, method), own in real.groupby(["source", "method"], sort=False):
        yield _attack_claim(own, f"Of {GIVEN[str(source)]} by {method}")
    copies = attacks[attacks["method"] == COPIES]
    if len(copies):
        yield Claim(
            "The attack finds a leak where there is one: on copies of the training patients it "
            f"has AUC {copies['auc'].min():.2f} (the least over targets).",
            f"bootstrap interval over patients from {copies['low'].min():.2f}, "
            f"n = {copies['patients'].min():.0f}",
        )


def _attack_claim(attacks: pd.DataFrame, which: str) -> Claim:
    worst, told = attacks.iloc[int(attacks["auc"].argmax())], int(attacks["told"].sum())
    return Claim(
        f"{which}, {told} of {len(attacks)} membership attacks tell training patients from others "
        f"after correction; the highest AUC is {worst['text']} ({worst['method']}, "
        f"{worst['target']} from {worst['source']}, {ATTACKS[worst['attack']]}).",
        f"Mann-Whitney, {p_text(float(worst['p']))} after Holm over all attacks, "
        f"n = {worst['patients']:.0f}",
    )


def _null_tables(fidelity: pd.DataFrame) -> Iterator[ReportTable]:
    """What is generated from nothing: in all (the paper's Table 3), and target by target."""
    if fidelity.empty:
        return
    order = present(fidelity, ORDER)
    by_run = fidelity.groupby(["method", "run"])[list(MEASURES)].mean().groupby(level="method")
    cells = by_run.agg(partial(mean_sd, digits=2)).loc[order]
    paper = pd.DataFrame.from_dict(PAPER, orient="index").rename(columns=MEASURES)
    whole = cells.rename(columns=MEASURES).join(paper.add_suffix(" in the paper"))
    yield ReportTable(
        "What is generated from nothing, against as many real training patients: mean over "
        "targets, ± its standard deviation over runs",
        whole.rename_axis("Set").reset_index(),
    )
    means = {
        f"{target} ({what})": rows.groupby("method")[measure].mean()
        for target, rows in fidelity.groupby("target", sort=False)
        for measure, what in (("f1", "F1"), ("energy_distance", "distance"))
    }
    yield ReportTable(
        "F1 and energy distance of what is generated from nothing, by target; mean over runs",
        pd.DataFrame(means).loc[order].rename_axis("Set").reset_index(),
    )


def _attack_tables(attacks: pd.DataFrame) -> Iterator[ReportTable]:
    if attacks.empty:
        return
    marked = attacks.assign(text=attacks["text"] + attacks["told"].map({True: "*", False: ""}))
    wide = marked.pivot_table(
        index=ATTACK, columns="target", values="text", aggfunc="first", sort=False
    ).reset_index()
    wide["source"] = wide["source"].mask(wide["method"].isin(CONTROLS), "-")
    names = {"source": "Generated from", "method": "Released", "attack": "Distance to"}
    yield ReportTable(
        "Membership attack: AUC of telling training patients from test patients, [95% interval]",
        wide.replace({"attack": ATTACKS}).rename(columns=names).rename_axis(columns=""),
    )


def _plane_figures(points: pd.DataFrame) -> Iterator[Figure]:
    if len(points):
        yield Figure(
            "privacy-planes",
            "Real patients and what is generated from nothing, in the plane of the first two "
            "principal components (above) and of UMAP (below), both fitted on training patients; "
            f"first run, up to {points.groupby(['target', 'method']).size().max()} of each set.",
            "Scatter plots of each target: real training and test patients, and the sets that each "
            "generator gives without any condition.",
            partial(_draw_planes, points),
        )


def _draw_planes(points: pd.DataFrame) -> Drawing:
    """Two planes of every target (the paper's Fig 5)."""
    targets, names = list(points["target"].unique()), present(points, (REAL, TEST, *GENERATORS))
    drawing, axes = figure(2, len(targets), width=2.4 * len(targets), height=5.2)
    planes = ((plane, target) for plane in ("pca", "umap") for target in targets)
    for one, (plane, target) in zip(axes, planes, strict=True):
        own = points[points["target"] == target]
        clouds(one, own, (f"{plane}_x", f"{plane}_y"), names, s=5, alpha=0.6)
        one.set_title(f"{target}, {plane.upper()}", fontsize=9)
    legend(drawing, axes[0])
    return drawing


def _attack_figures(attacks: pd.DataFrame) -> Iterator[Figure]:
    if len(attacks):
        yield Figure(
            "privacy-attacks",
            "Membership attacks: AUC and its 95% bootstrap interval over patients, by target; the "
            f"dotted line gives nothing away. Up to {attacks['patients'].max():.0f} patients each.",
            "For each generator and attack, points with intervals of the AUC along a line at 0.5; "
            "copies of training patients stand at 1.",
            partial(_draw_attacks, attacks),
        )


def _draw_attacks(attacks: pd.DataFrame) -> Drawing:
    at = {key: place for place, (key, _) in enumerate(attacks.groupby(ATTACK, sort=False))}
    drawing, axes = figure(height=1 + 0.32 * len(at))
    targets = list(attacks.groupby("target", sort=False))
    for i, (target, mine) in enumerate(targets):
        shift = beside(i, len(targets), 0.16 * len(targets))
        places = [at[key] + shift for key in mine[ATTACK].itertuples(index=False, name=None)]
        style = {"markersize": 3, "linewidth": 0.9, "color": colour("", i), "label": target}
        spans(axes[0], mine, "auc", places, **style)
    axes[0].axvline(0.5, color="#000000", linewidth=0.8, linestyle=":")
    labels = [
        method if method in CONTROLS else f"{method}, from {source}, {attack}"
        for source, method, attack in at
    ]
    axes[0].set_yticks(range(len(at)), labels, fontsize=7)
    axes[0].invert_yaxis()
    axes[0].set_xlabel("AUC, training against test patients", fontsize=8)
    axes[0].legend(fontsize=8, frameon=False)
    return drawing


def _notes(rows: pd.DataFrame, fidelity: pd.DataFrame) -> list[str]:
    left = rows[rows["kind"] == "attack"].groupby("target", sort=False)["left_out"].max()
    sizes = fidelity.groupby("target", sort=False)["patients"].max()
    said = notes(
        "privacy", narrowed=NARROWED, runs=fidelity["run"].nunique(),
        sizes=", ".join(f"{target} {size:.0f}" for target, size in sizes.items()),
        left_out=", ".join(f"{target} {count:.0f}" for target, count in left[left > 0].items()),
    )  # fmt: skip
    return [*said, *not_measured(rows, "target")]
