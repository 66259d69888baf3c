"""What the rows of the features experiment say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from codenoise.evaluation.baselines.tables import TABLE_BASELINES
from codenoise.evaluation.experiment import Claim, Figure, ReportTable, Section
from codenoise.evaluation.plotting import beside, colour, legend, panels
from codenoise.evaluation.reading import against, capital, notes, present
from codenoise.evaluation.study import COHERENT, METHODS

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

MEASURES = {
    "r2_pooled": "R2, pooled",
    "r2_feature": "R2, mean of features",
    "r2_within": "R2 within types",
    "spearman_feature": "rank correlation of features",
    "spearman_patient": "rank correlation of patients",
    "crps": "CRPS",
    "energy": "energy score",
    "coverage": "90% interval holds",
    "width": "its width",
}
SUBJECT = ["target", "conditions"]
ORDER = (*METHODS, *TABLE_BASELINES)
RIVAL = "ridge with type"  # whose draws, with bootstrapped residuals, the ensemble's are held to
CLOSE = 0.005  # of R2: what counts as level with the best regression
DRAWN = (*METHODS, "type mean", RIVAL, "kernel ridge")
COLUMNS = (*SUBJECT, "given", "method", "cancer_type", "patients", "trained", *MEASURES)


def section(frame: pd.DataFrame) -> Section:
    """Read the stored rows."""
    rows = frame.reindex(columns=list(COLUMNS))
    whole = rows[rows["cancer_type"].fillna("") == ""]
    full = _fullest(whole)
    compared = partial(against, whole, subject=SUBJECT, things="sets of conditions", order=ORDER)
    claims = [
        *_reached(full),
        *_standing(whole),
        *compared("r2_pooled", called="Pooled R2 of features"),
        *compared("r2_within", called="Pooled R2 within cancer types"),
        *compared("crps", called="CRPS of draws (lower is better)"),
        *compared("energy", called="Energy score of draws (lower is better)"),
    ]
    drawn = Figure(
        "features-by-conditions",
        "Pooled R2 of features by the number of conditions; each dot is a set of conditions.",
        "Dots of R2 by the number of conditions, a panel for each target, a colour a method.",
        partial(_dots, whole),
    )
    figures = [drawn] if len(whole) else []
    return Section(claims, [*_tables(rows, whole, full)], figures, notes("features"))


def _fullest(whole: pd.DataFrame) -> pd.DataFrame:
    """Of each target the rows of its largest set; of several, the one that most patients have."""
    best = whole.sort_values(["given", "patients"], ascending=False, kind="stable")
    return whole.merge(best.drop_duplicates("target")[SUBJECT])


def _reached(full: pd.DataFrame) -> Iterator[Claim]:
    listed = []
    for target, own in full.groupby("target", sort=False):
        r2 = own.set_index("method")["r2_pooled"]
        rivals = r2.reindex(list(TABLE_BASELINES)).dropna()
        if COHERENT in r2 and len(rivals):
            best = str(rivals.idxmax())
            listed.append(f"{target} {r2[COHERENT]:.3f} ({best} {rivals.max():.3f})")
    if listed:
        yield Claim(
            f"From all other modalities completed values reach a pooled R2 of {', '.join(listed)}; "
            f"in brackets the best regression of the same tables.",
            "not tested: one figure a target; the claims below test over sets of conditions",
            headline=True,
        )


def _standing(whole: pd.DataFrame) -> Iterator[Claim]:
    """In how many sets of conditions the ensemble is where a user would want it."""
    r2, crps, energy = (
        whole.pivot_table(index=SUBJECT, columns="method", values=value, sort=False)
        for value in ("r2_pooled", "crps", "energy")
    )
    rivals = [name for name in TABLE_BASELINES if name in r2]
    if COHERENT not in r2 or not rivals:
        return
    ahead = r2[COHERENT] - r2[rivals].max(axis=1)
    text = (
        f"Of {len(r2)} sets of conditions, completed values are above the best regression in "
        f"{int((ahead > 0).sum())} and within {CLOSE} of it or above in "
        f"{int((ahead > -CLOSE).sum())}"
    )
    if RIVAL in rivals:
        text += (
            f"; draws have a lower CRPS than {RIVAL} with bootstrapped residuals in "
            f"{int((crps[COHERENT] < crps[RIVAL]).sum())} and a lower energy score in "
            f"{int((energy[COHERENT] < energy[RIVAL]).sum())}"
        )
    yield Claim(
        f"{text}.",
        f"counted; distance to the best regression: median {ahead.median():+.3f}, "
        f"{ahead.min():+.3f} to {ahead.max():+.3f}",
        headline=True,
    )


def _tables(rows: pd.DataFrame, whole: pd.DataFrame, full: pd.DataFrame) -> Iterator[ReportTable]:
    names = present(whole, ORDER)
    every = full.set_index(["target", "method"])[["patients", *MEASURES]]
    wanted = [(t, m) for t in full["target"].unique() for m in names if (t, m) in every.index]
    yield ReportTable(
        "Every measure, each target from all other modalities",
        every.loc[wanted].astype({"patients": int}).reset_index().rename(columns=MEASURES),
    )
    for value in ("r2_pooled", "r2_within", "crps", "energy"):
        yield ReportTable(
            f"{capital(MEASURES[value])} of every set of conditions",
            _wide(whole, [*SUBJECT, "patients", "trained"], value),
        )
    typed = rows[rows["cancer_type"].fillna("") != ""].merge(full[SUBJECT].drop_duplicates())
    for value in ("r2_pooled", "coverage"):
        yield ReportTable(
            f"{capital(MEASURES[value])} by cancer type, from all other modalities",
            _wide(typed, ["target", "cancer_type", "patients"], value),
        )


def _wide(rows: pd.DataFrame, index: list[str], value: str) -> pd.DataFrame:
    """A column for each method."""
    wide = rows.pivot_table(index=index, columns="method", values=value, sort=False)
    counts = {name: int for name in ("patients", "trained") if name in index}
    return wide.reindex(columns=present(rows, ORDER)).reset_index().astype(counts)


def _dots(whole: pd.DataFrame) -> Drawing:
    targets = list(whole["target"].unique())
    drawing, axes = panels(len(targets), 2, each=2.6, extra=0.8)
    names = [name for name in DRAWN if (whole["method"] == name).any()]
    for one, target in zip(axes, targets, strict=True):
        mine = whole[whole["target"] == target]
        for i, name in enumerate(names):
            own = mine[mine["method"] == name]
            places = own["given"].to_numpy(np.float64) + beside(i, len(names))
            one.scatter(places, own["r2_pooled"], s=16, color=colour(name, i), label=name)
        one.axhline(0, color="black", linewidth=0.6)
        one.set_title(target, fontsize=9)
        one.set_xticks(sorted(mine["given"].unique()))
        one.set_xlabel("conditions", fontsize=9)
    axes[0].set_ylabel("pooled R2 of features", fontsize=9)
    legend(drawing, axes[0])
    return drawing
