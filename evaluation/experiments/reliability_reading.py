"""What the rows of the reliability weights say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.ensemble.weights import ADAPTIVE
from codenoise.evaluation.experiment import Claim, Figure, Section, Table
from codenoise.evaluation.plotting import colour, figure, legend
from codenoise.evaluation.reading import against, not_measured, notes, present
from codenoise.evaluation.statistics import compare

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

FORMULA, CODE, GAIN, LEARNED = "inverse-mse", "softmax-inverse-mse", "precision-gain", "learned"
ORDER = (FORMULA, CODE, GAIN, ADAPTIVE, LEARNED)
PAIRS, ALL = "pair experts", "all experts"
SUBJECT = ["target", "conditions"]
PAPER = (
    "The paper states weights inverse to the MSE, its public code takes a softmax of 1/MSE: MSEs "
    "of .20, .40 and .95 give .585, .292, .123 by the formula and .908, .075, .018 by the code, "
    "that is, fewer effective experts. Those errors are other experts'."
)
COLUMNS = (
    *("target", "conditions", "given", "members", "experts", "weighting", "expert"),
    *("weight", "low", "high", "mse", "r2", "patients", "reason"),
)


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
    rows = frame.reindex(columns=list(COLUMNS))
    known = rows.dropna(subset=["weight"])
    counts = _effective(known[known["experts"] > 1])
    full = known[known["given"] == known.groupby("target")["given"].transform("max")]
    return Section(
        [*_claims(counts, full)],
        [*_tables(counts, full)],
        [
            Figure(
                "weights",
                "Reliability weights with all other modalities given, a bar for each weighting, of "
                "the pair experts and of all experts; adaptive ones are means over test patients.",
                "Stacked bars of the experts' weights, a panel for each target.",
                partial(_bars, full),
            ),
            Figure(
                "effective-experts",
                "Effective number of experts as a share of their number; each dot is a target with "
                "a set of conditions that leaves two experts or more.",
                "Dots that show how unequal weights are, a column for each weighting.",
                partial(_dots, counts),
            ),
        ],
        [
            *notes("weights"),
            *not_measured(rows[rows["weight"].isna()], "weighting", "members"),
        ],
    )


def _effective(known: pd.DataFrame) -> pd.DataFrame:
    """Effective number of experts of each set, and as a share of their number."""
    index = [*SUBJECT, "members", "experts", "weighting"]
    found = known.groupby(index, sort=False)["weight"].apply(
        lambda weights: effective_experts(weights.to_numpy())
    )
    table = found.rename("effective").reset_index()
    return table.assign(share=table["effective"] / table["experts"])


def _claims(counts: pd.DataFrame, full: pd.DataFrame) -> Iterator[Claim]:
    pairs = counts[counts["members"] == PAIRS]
    named = present(pairs, ORDER, "weighting")
    if named:
        shares = pairs.groupby("weighting")["share"].mean()
        listed = ", ".join(f"{name} {shares[name]:.1%}" for name in named)
        yield Claim(
            f"The effective number of pair experts is, in % of their number: {listed}.",
            f"not tested: means over {len(pairs[SUBJECT].drop_duplicates())} sets of conditions; "
            f"their numbers are tested below",
            headline=True,
        )
    if {FORMULA, CODE} <= set(named):
        found = compare(pairs, value="effective", method="weighting", subject=SUBJECT)
        code, formula = (found.measured[name].mean() for name in (CODE, FORMULA))
        errors = full.loc[full["members"] == PAIRS, "mse"]
        yield Claim(
            f"With validation errors of {errors.min():.2f} to {errors.max():.2f}, the softmax of "
            f"the published code is {'sharper' if code < formula else 'no sharper'} than the "
            f"published formula: it leaves {code:.2f} effective pair experts, that {formula:.2f}.",
            found.between(CODE, FORMULA) if len(found.pairs) else found.overall,
            PAPER,
            bool(code < formula),
            headline=True,
        )
    for members in (PAIRS, ALL):
        yield from against(
            counts[counts["members"] == members], "effective", SUBJECT,
            f"Effective number of {members}", things="sets of conditions", one=FORMULA,
            order=ORDER, column="weighting",
        )  # fmt: skip


def _tables(counts: pd.DataFrame, full: pd.DataFrame) -> Iterator[Table]:
    weights = _wide(full, ["target", "members", "expert", "mse", "r2"], "weight")
    yield Table(
        "Reliability weight of each expert, all other modalities given",
        weights.rename(columns={"mse": "validation MSE", "r2": "validation R2"}),
    )
    yield Table(
        "Effective number of experts, sets that leave two or more",
        _wide(counts, ["members", *SUBJECT, "experts"], "effective"),
    )
    adaptive = full[full["weighting"] == ADAPTIVE].astype({"patients": int})
    names = {"weight": "mean weight", "low": "5% of patients below", "high": "5% above"}
    yield Table(
        "Adaptive weights over test patients, all other modalities given",
        adaptive[["target", "members", "expert", "patients", *names]].rename(columns=names),
    )


def _wide(rows: pd.DataFrame, index: list[str], value: str) -> pd.DataFrame:
    """A column for each weighting."""
    wide = rows.pivot_table(index=index, columns="weighting", values=value, sort=False)
    return wide.reindex(columns=present(rows, ORDER, "weighting")).reset_index()


def _bars(full: pd.DataFrame) -> Drawing:
    targets = list(full["target"].unique())
    full = full.assign(source=full["expert"].str.rsplit("-to-", n=1).str[0])
    sources = list(full["source"].unique())
    drawing, axes = figure(1, max(len(targets), 1), width=11, height=4.4)
    for one, target in zip(axes, targets, strict=False):
        mine = full[full["target"] == target]
        labels = [
            (members, weighting)
            for members in (PAIRS, ALL)
            for weighting in present(mine[mine["members"] == members], ORDER, "weighting")
        ]
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
    legend(drawing, axes[0], ncols=len(sources), title="expert from", title_fontsize=8)
    return drawing


def _dots(counts: pd.DataFrame) -> Drawing:
    drawing, axes = figure()
    names = present(counts, ORDER, "weighting")
    for i, members in enumerate((PAIRS, ALL)):
        mine = counts[counts["members"] == members]
        places = [names.index(w) + 0.2 * (2 * i - 1) for w in mine["weighting"]]
        axes[0].scatter(places, mine["share"], s=14, color=colour("", i), label=members)
    axes[0].set_xticks(range(len(names)), names)
    axes[0].set_ylabel("effective experts / experts", fontsize=9)
    axes[0].legend(fontsize=8)
    return drawing
