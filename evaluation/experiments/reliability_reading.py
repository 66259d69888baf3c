"""What the rows of the reliability weights say: verdict, claims, tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.ensemble.weights import ADAPTIVE
from codenoise.evaluation.experiment import Claim, Figure, Section, Table
from codenoise.evaluation.plotting import colour, figure
from codenoise.evaluation.statistics import compare

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

FORMULA, CODE, GAIN, LEARNED = "inverse-mse", "softmax-inverse-mse", "precision-gain", "learned"
ORDER = (FORMULA, CODE, GAIN, ADAPTIVE, LEARNED)
PAIRS, ALL = "pair experts", "all experts"
SUBJECT = ["target", "conditions"]


def effective_experts(weights: NDArray[np.float64]) -> float:
    """Number of equally weighted experts with the same entropy: one to ``len(weights)``.

    The exponential of Shannon's entropy in nats (Hill's number of order one). NaN where a weight is
    unknown or none is positive.

    Parameters
    ----------
    weights
        Non-negative, shape ``(experts,)``; scaled to sum to one.
    """
    values = np.asarray(weights, dtype=np.float64)
    total = float(values.sum())
    if not np.all(np.isfinite(values)) or total <= 0:
        return float("nan")
    shares = values[values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def section(frame: pd.DataFrame) -> Section:
    """Read the stored rows."""
    rows = frame.reindex(columns=[*_COLUMNS, *(c for c in frame if c not in _COLUMNS)])
    known = rows.dropna(subset=["weight"])
    counts = _effective(known[known["experts"] > 1])
    full = known[known["given"] == known.groupby("target")["given"].transform("max")]
    claims = _claims(counts)
    lost = rows[rows["weight"].isna()].dropna(subset=["reason"])
    notes = [
        "The effective number of experts is the exponential of the entropy of their weights: their "
        "number where all count alike, one where a single one decides.",
        "Weights come from validation errors alone and depend on no seed, so there is one run. "
        "Adaptive ones differ between test patients: their mean is given, and the spread as the "
        "5% and 95% quantile. Learned ones are averaged over the sampler's steps.",
        "Sets of conditions share experts, so tests over them describe this bank.",
        *(
            f"Not measured ({', '.join(sorted(set(group['weighting'])))} of "
            f"{', '.join(sorted(set(group['members'])))}): {reason}."
            for reason, group in lost.groupby("reason", sort=False)
        ),
    ]
    return Section(
        _verdict(counts, full),
        claims,
        [_weights_table(full), _counts_table(counts), _spread_table(full)],
        [
            Figure(
                "weights",
                "Reliability weights with all other modalities given, a bar for each weighting, of "
                "the pair experts and of all experts; adaptive ones are means over test patients.",
                "Stacked bars of the experts' weights, a panel for each target.",
                lambda: _bars(full),
            ),
            Figure(
                "effective-experts",
                "Effective number of experts as a share of their number; each dot is a target with "
                "a set of conditions that leaves two experts or more.",
                "Dots that show how unequal weights are, a column for each weighting.",
                lambda: _dots(counts),
            ),
        ],
        notes,
    )


_COLUMNS = (
    *("target", "conditions", "given", "members", "experts", "weighting", "expert"),
    *("weight", "low", "high", "mse", "r2", "patients", "reason"),
)


def _effective(known: pd.DataFrame) -> pd.DataFrame:
    """Effective number of experts of each set, and as a share of their number."""
    index = [*SUBJECT, "members", "experts", "weighting"]
    found = known.groupby(index, sort=False)["weight"].apply(
        lambda weights: effective_experts(weights.to_numpy())
    )
    table = found.rename("effective").reset_index()
    return table.assign(share=table["effective"] / table["experts"])


def _present(rows: pd.DataFrame) -> list[str]:
    return [w for w in ORDER if w in set(rows["weighting"])]


def _claims(counts: pd.DataFrame) -> list[Claim]:
    claims = []
    for members in (PAIRS, ALL):
        mine = counts[counts["members"] == members]
        names = _present(mine)
        if len(names) < 2 or FORMULA not in names:
            continue
        test = compare(mine, value="effective", method="weighting", subject=SUBJECT)
        wide = mine.pivot_table(index=SUBJECT, columns="weighting", values="effective").dropna()
        for other in names:
            if other == FORMULA or not len(wide):
                continue
            less = int((wide[other] < wide[FORMULA]).sum())
            sharper = bool(wide[other].mean() < wide[FORMULA].mean())
            of_code = other == CODE and members == PAIRS
            claims.append(
                Claim(
                    f"Of {members}, {other} leaves {wide[other].mean():.2f} effective experts on "
                    f"average, {FORMULA} {wide[FORMULA].mean():.2f}: fewer in {less} of "
                    f"{len(wide)} sets of conditions.",
                    f"{test.between(other, FORMULA)}; {test.overall}"
                    if len(test.pairs)
                    else test.overall,
                    _PAPER if of_code else "",
                    sharper if of_code else None,
                )
            )
    return claims


_PAPER = (
    "The paper states weights inverse to the MSE, its public code takes a softmax of 1/MSE: MSEs "
    "of .20, .40 and .95 give .585, .292, .123 by the formula and .908, .075, .018 by the code, "
    "that is, fewer effective experts. Those errors are other experts'."
)


def _verdict(counts: pd.DataFrame, full: pd.DataFrame) -> str:
    pairs = counts[counts["members"] == PAIRS].groupby("weighting")["share"].mean()
    if not len(pairs):
        return "No set of conditions leaves two pair experts, so there is nothing to weigh."
    shares = ", ".join(f"{name} {pairs[name]:.1%}" for name in ORDER if name in pairs)
    flattest, sharpest = str(pairs.idxmax()), str(pairs.idxmin())
    said = (
        f"The effective number of pair experts is, in % of their number: {shares}; {flattest} "
        f"weighs most evenly, {sharpest} least."
    )
    errors = full.loc[full["members"] == PAIRS, "mse"]
    if len(errors) and {FORMULA, CODE} <= set(pairs.index):
        relation = "sharper" if pairs[CODE] < pairs[FORMULA] else "no sharper"
        said += (
            f" With validation errors of {errors.min():.2f} to {errors.max():.2f}, the softmax of "
            f"the published code is {relation} than the published formula."
        )
    return said


def _weights_table(full: pd.DataFrame) -> Table:
    index = ["target", "members", "expert", "mse", "r2"]
    wide = full.pivot_table(index=index, columns="weighting", values="weight", sort=False)
    wide = wide.reindex(columns=_present(full)).reset_index()
    shown = wide.assign(
        **{name: wide[name].map(_three) for name in ("mse", "r2", *_present(full))}
    ).rename(columns={"mse": "validation MSE", "r2": "validation R2"})
    return Table(
        "Reliability weight of each expert, all other modalities given",
        shown,
        "MSE of single draws; pooled R2 of the expectation. Both on validation patients.",
    )


def _counts_table(counts: pd.DataFrame) -> Table:
    wide = counts.pivot_table(
        index=["members", *SUBJECT, "experts"], columns="weighting", values="effective", sort=False
    )
    wide = wide.reindex(columns=_present(counts)).map(_three).reset_index()
    return Table("Effective number of experts, sets that leave two or more", wide)


def _spread_table(full: pd.DataFrame) -> Table:
    rows = full[full["weighting"] == ADAPTIVE]
    table = rows[["target", "members", "expert"]].copy()
    table["patients"] = rows["patients"].astype(int).astype(str)
    table["mean weight"] = rows["weight"].map(_three)
    table["5% to 95% of patients"] = [
        f"{_three(low)} to {_three(high)}"
        for low, high in zip(rows["low"], rows["high"], strict=True)
    ]
    return Table("Adaptive weights over test patients, all other modalities given", table)


def _three(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.3f}"


def _bars(full: pd.DataFrame) -> Drawing:
    targets = list(full["target"].unique())
    full = full.assign(source=full["expert"].str.rsplit("-to-", n=1).str[0])
    sources = list(full["source"].unique())
    drawing, axes = figure(1, max(len(targets), 1), width=11, height=4.4)
    for one, target in zip(axes, targets, strict=False):
        mine = full[full["target"] == target]
        labels = [(m, w) for m in (PAIRS, ALL) for w in _present(mine[mine["members"] == m])]
        bottom = np.zeros(len(labels))
        for i, source in enumerate(sources):
            own = mine[mine["source"] == source].set_index(["members", "weighting"])["weight"]
            heights = own.reindex(pd.MultiIndex.from_tuples(labels)).fillna(0).to_numpy()
            one.bar(range(len(labels)), heights, bottom=bottom, color=colour("", i), label=source)
            bottom += heights
        texts = [f"{weighting}, {members}" for members, weighting in labels]
        one.set_xticks(range(len(labels)), texts, rotation=90, fontsize=7)
        one.set_title(target, fontsize=9)
    axes[0].set_ylabel("weight", fontsize=9)
    handles, names = axes[0].get_legend_handles_labels()
    if handles:
        drawing.legend(
            handles, names, loc="outside lower center", ncols=len(names), fontsize=8,
            title="expert from", title_fontsize=8,
        )  # fmt: skip
    return drawing


def _dots(counts: pd.DataFrame) -> Drawing:
    drawing, axes = figure()
    names = _present(counts)
    for i, members in enumerate((PAIRS, ALL)):
        mine = counts[counts["members"] == members]
        places = [names.index(w) + 0.2 * (2 * i - 1) for w in mine["weighting"]]
        axes[0].scatter(places, mine["share"], s=14, color=colour("", i), label=members)
    axes[0].set_xticks(range(len(names)), names)
    axes[0].set_ylabel("effective experts / experts", fontsize=9)
    axes[0].legend(fontsize=8)
    return drawing
