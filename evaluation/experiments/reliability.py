"""Reliability weights: how much each expert counts, by each way to weigh them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.familiarity import familiarity
from codenoise.core.ensemble.weights import (
    ADAPTIVE,
    STACKED,
    WEIGHTINGS,
    reliability_weights,
)
from codenoise.evaluation.experiment import (
    Claim,
    Experiment,
    Figure,
    Part,
    ReportTable,
    Row,
    Section,
)
from codenoise.evaluation.plotting import colour, figure, legend
from codenoise.evaluation.reading import against, not_measured, notes, present
from codenoise.evaluation.statistics import compare, effective_experts
from codenoise.evaluation.study import Study, subsets

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


def parts(study: Study) -> list[Part]:
    """One part for each target.

    Raises
    ------
    DataError
        If no modality of the cohort can be generated from another one.
    """
    fitting = study.ensemble.experts_fitting
    served = [target for target in study.modalities if fitting(target, study.modalities)]
    if not served:
        raise DataError(
            "the ensemble has no expert between two modalities of this cohort; add a table of one "
            "that it generates from"
        )
    return [Part(target, partial(_measured, study, target)) for target in served]


def _measured(study: Study, target: str) -> list[Row]:
    """Weights of the experts in play for each set of conditions; they depend on no seed."""
    rows: list[Row] = []
    for conditions in subsets([m for m in study.modalities if m != target]):
        everyone = study.ensemble.experts_fitting(target, conditions)
        pairs = [e for e in everyone if not e.masked]
        for members, experts in ((PAIRS, pairs), (ALL, everyone)):
            if not experts or (members == ALL and len(experts) == len(pairs)):
                continue
            known: Row = {
                "run": 0, "seed": study.seed, "target": target, "conditions": "+".join(conditions),
                "given": len(conditions), "members": members, "experts": len(experts),
            }  # fmt: skip
            rows += [known | found for found in _weightings(study, target, conditions, experts)]
    return rows


def _weightings(
    study: Study, target: str, conditions: Sequence[str], experts: Sequence[Expert]
) -> Iterator[Row]:
    for weighting in (FORMULA, CODE, GAIN):
        yield from _rows(weighting, experts, WEIGHTINGS[weighting](experts)[None], 0)
    patients = study.complete("test", conditions)
    try:
        adapted, reason = _adapted(study, conditions, experts, patients), ""
    except DataError as problem:
        adapted, reason = np.full((1, len(experts)), np.nan), str(problem)
    yield from _rows(ADAPTIVE, experts, adapted, len(patients), reason)
    learned, reason = _learned(study, target, conditions, experts, patients)
    yield from _rows(LEARNED, experts, learned, len(patients[:1]), reason)


def _rows(
    weighting: str,
    experts: Sequence[Expert],
    weights: NDArray[np.float64],
    patients: int,
    reason: str | None = None,
) -> Iterator[Row]:
    """A row for each expert, of weights ``(patients, experts)``."""
    for expert, own in zip(experts, weights.T, strict=True):
        row: Row = {
            "weighting": weighting,
            "method": weighting,
            "expert": expert.name.partition("@")[0],
            "weight": float(own.mean()),
            "low": float(np.quantile(own, 0.05)),
            "high": float(np.quantile(own, 0.95)),
            "mse": expert.validation_mse,
            "r2": expert.validation_r2,
            "patients": patients,
        }
        yield row | {"reason": reason} if reason else row


def _adapted(
    study: Study, conditions: Sequence[str], experts: Sequence[Expert], patients: Sequence[str]
) -> NDArray[np.float64]:
    """Weights of each test patient, ``(patients, experts)``, as the engine moves them.

    Raises
    ------
    DataError
        If no test patient has the conditions, or an expert does not say what it was trained on.
    """
    if not patients:
        raise DataError(f"no test patient has {' and '.join(conditions)}")
    strangers = [e.name for e in experts if not e.moments]
    if strangers:
        raise DataError(f"{', '.join(strangers)} without moments of their conditions")
    shown = {m: study.latents["test"][m].loc[list(patients)] for m in conditions}
    inputs = [expert.condition_input(shown, patients) for expert in experts]
    settings = replace(study.ensemble.settings, weighting=ADAPTIVE)
    moved = reliability_weights(settings, experts) * familiarity(experts, inputs)
    return np.asarray(moved / moved.sum(axis=1, keepdims=True))


def _learned(
    study: Study,
    target: str,
    conditions: Sequence[str],
    experts: Sequence[Expert],
    patients: Sequence[str],
) -> tuple[NDArray[np.float64], str]:
    """Shares that calibration learned, averaged over steps as the engine reports them."""
    unknown = np.full((1, len(experts)), np.nan)
    if study.ensemble.settings.weighting != STACKED or study.ensemble.calibration is None:
        return unknown, "the ensemble is not calibrated ('codenoise calibrate')"
    if not patients:
        return unknown, f"no test patient has {' and '.join(conditions)}"
    one = list(patients[:1])  # learned weights are the same for all patients with these conditions
    shown = {m: study.latents["test"][m].loc[one] for m in conditions}
    members = replace(study.ensemble, experts=tuple(experts))
    generation = members.generate(target, shown, one, draws=1, seed=study.seed)
    if not generation.learned.all():
        return unknown, "nothing was learned for just these experts and conditions"
    return generation.weights, ""


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
        [*notes("weights"), *not_measured(rows[rows["weight"].isna()], "weighting", "members")],
    )


def _effective(known: pd.DataFrame) -> pd.DataFrame:
    """Effective number of experts of each set, and as a share of their number."""
    index = [*SUBJECT, "members", "experts", "weighting"]
    found = known.groupby(index, sort=False)["weight"].apply(effective_experts)
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


def _tables(counts: pd.DataFrame, full: pd.DataFrame) -> Iterator[ReportTable]:
    weights = _wide(full, ["target", "members", "expert", "mse", "r2"], "weight")
    yield ReportTable(
        "Reliability weight of each expert, all other modalities given",
        weights.rename(columns={"mse": "validation MSE", "r2": "validation R2"}),
    )
    yield ReportTable(
        "Effective number of experts, sets that leave two or more",
        _wide(counts, ["members", *SUBJECT, "experts"], "effective"),
    )
    adaptive = full[full["weighting"] == ADAPTIVE].astype({"patients": int})
    names = {"weight": "mean weight", "low": "5% of patients below", "high": "5% above"}
    yield ReportTable(
        "Adaptive weights over test patients, all other modalities given",
        adaptive[["target", "members", "expert", "patients", *names]].rename(columns=names),
    )


def _wide(rows: pd.DataFrame, index: list[str], value: str) -> pd.DataFrame:
    """A column for each weighting."""
    wide = rows.pivot_table(index=index, columns="weighting", values=value, sort=False)
    return wide.reindex(columns=present(rows, ORDER, "weighting")).reset_index()


def _bars(full: pd.DataFrame) -> Drawing:
    full = full.assign(source=full["expert"].str.rsplit("-to-", n=1).str[0])
    targets, sources = list(full["target"].unique()), list(full["source"].unique())
    drawing, axes = figure(1, max(len(targets), 1), width=11, height=4.4)
    for one, target in zip(axes, targets, strict=False):
        wide = full[full["target"] == target].pivot_table(
            index=["members", "weighting"], columns="source", values="weight"
        )
        labels = [(m, w) for m in (PAIRS, ALL) for w in ORDER if (m, w) in wide.index]
        bottom = np.zeros(len(labels))
        for i, source in enumerate(sources):
            heights = wide.get(source, pd.Series(dtype=float)).reindex(labels).fillna(0).to_numpy()
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


EXPERIMENT = Experiment(
    name="weights",
    title="Reliability weights",
    question="How unequally do experts count, and do the published formula and code agree?",
    paper="S8",
    parts=parts,
    section=section,
)
