"""What the rows of the privacy experiment say."""

from __future__ import annotations

import numpy as np
import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.core.base.optional import needed
from codenoise.evaluation.experiment import Claim, Section
from codenoise.evaluation.experiments.privacy_attacks import (
    CONDITIONS,
    CONTROLS,
    COPIES,
    NOTHING,
)
from codenoise.evaluation.experiments.privacy_figures import (
    ATTACKS,
    MEASURES,
    PAPER,
    attack_figure,
    attack_table,
    auc_text,
    method_means,
    null_table,
    plane_figure,
    target_table,
)
from codenoise.evaluation.experiments.unconditional import (
    GENERATORS,
    NARROW,
    NARROWED,
    OTHERS,
    TEST,
)
from codenoise.evaluation.statistics import Comparison, compare, interval, p_text
from codenoise.evaluation.study import COHERENT, MULTI, PUBLISHED

LEVEL = 0.05
GIVEN = {
    NOTHING: "what is generated from nothing",
    CONDITIONS: "what is generated for patients from their conditions",
}
COLUMNS = (
    *("run", "seed", "target", "kind", "method", "patients", "source", "attack", "left_out"),
    *("auc", "low", "high", "p", "pca_x", "pca_y", "umap_x", "umap_y", "reason", *MEASURES),
)
ON_OTHERS = "(Table 3), measured on other patients"


def section(frame: pd.DataFrame) -> Section:
    """Read the rows of the experiment `privacy`; any of them may be missing."""
    rows = frame.reindex(columns=list(COLUMNS))
    fidelity = rows[(rows["kind"] == "fidelity") & rows["f1"].notna()]
    attacks = summary(rows[(rows["kind"] == "attack") & rows["auc"].notna()])
    points = rows[(rows["kind"] == "point") & rows["pca_x"].notna()]
    tables, figures = [], []
    if len(fidelity):
        tables += [null_table(fidelity), target_table(fidelity)]
    if len(points):
        figures.append(plane_figure(points))
    if len(attacks):
        tables.append(attack_table(attacks))
        figures.append(attack_figure(attacks))
    verdict = " ".join([*_null_verdict(fidelity), *_attack_verdict(attacks)])
    return Section(
        verdict or "Nothing could be measured.",
        [*_order_claims(fidelity), *_level_claims(fidelity), *_attack_claims(attacks)],
        tables,
        figures,
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
        is whether members were told apart at the level 0.05.
    """
    keys = ["source", "method", "attack", "target"]
    if attacks.empty:
        return pd.DataFrame(columns=[*keys, "runs", "patients", "auc", "low", "high", "p", "told"])
    found = (
        attacks.groupby(keys, sort=False)
        .agg(
            runs=("run", "nunique"),
            patients=("patients", "median"),
            auc=("auc", "mean"),
            low=("low", "mean"),
            high=("high", "mean"),
            p=("p", "median"),
        )
        .reset_index()
    )
    found["p"] = np.where(found["runs"] > 1, np.minimum(1, 2 * found["p"]), found["p"])
    tested = ~found["method"].isin(CONTROLS) & found["p"].notna()
    if tested.any():
        pingouin = needed("pingouin", "correcting for many attacks", extra="evaluation")
        found.loc[tested, "p"] = pingouin.multicomp(found.loc[tested, "p"], method="holm")[1]
    found["told"] = (found["p"] < LEVEL) & (found["auc"] > 0.5)
    return found


def _compared(fidelity: pd.DataFrame, measure: str) -> Comparison | None:
    chosen = fidelity[fidelity["method"].isin([COHERENT, PUBLISHED, MULTI, TEST, OTHERS])]
    try:
        return compare(chosen, value=measure, method="method", subject=["run", "target"])
    except DataError:  # of fewer than two methods there is nothing to say
        return None


def _order_claims(fidelity: pd.DataFrame) -> list[Claim]:
    """The paper finds the consensus less like patients than the multi-condition model."""
    means = method_means(fidelity)
    claims = []
    for position, (measure, name) in enumerate(
        (("f1", "F1 of precision and recall"), ("energy_distance", "energy distance"))
    ):
        found = _compared(fidelity, measure)
        if found is None or not {PUBLISHED, MULTI} <= set(means.index):
            continue
        ours, tested = means[measure], len(found.pairs) > 0
        theirs = {method: values[position] for method, values in PAPER.items()}
        same = (ours[PUBLISHED] < ours[MULTI]) == (theirs[PUBLISHED] < theirs[MULTI])
        shown = [n for n in (PUBLISHED, MULTI, COHERENT, TEST, OTHERS) if n in ours]
        figures = ", ".join(f"{n} {ours[n]:.2f}" for n in shown)
        test = f"{found.overall}; {found.between(PUBLISHED, MULTI)}" if tested else found.overall
        claims.append(
            Claim(
                f"Given nothing, {name} against training patients: {figures}.",
                test,
                f"{theirs[PUBLISHED]:g} for the consensus, {theirs[MULTI]:g} for the "
                f"multi-condition model {ON_OTHERS}; compared is which is the larger, "
                "where the test tells them apart",
                bool(same) if found.significant(PUBLISHED, MULTI) else None,
            )
        )
    return claims


def _level_claims(fidelity: pd.DataFrame) -> list[Claim]:
    """The paper finds that hardly anything generated from nothing is like a patient."""
    means = method_means(fidelity)["f1"]
    claims = []
    for method in (PUBLISHED, MULTI):
        if method not in means or OTHERS not in means:
            continue
        share = means[method] / means[OTHERS]
        values = fidelity.loc[fidelity["method"] == method, "f1"].to_numpy(dtype=np.float64)
        low, high = interval(values)
        verb = "does not reproduce" if share < 0.5 else "reproduces"
        claims.append(
            Claim(
                f"Given nothing, {method} {verb} the population: its F1 is {share:.0%} of that of "
                f"{OTHERS}.",
                f"F1 {means[method]:.2f}, 95% bootstrap interval over runs and targets "
                f"[{low:.2f}, {high:.2f}], n = {len(values)}",
                f"F1 {PAPER[method][0]:g} {ON_OTHERS}",
                bool(share < 0.5),
            )
        )
    return claims


def _attack_claims(attacks: pd.DataFrame) -> list[Claim]:
    claims = []
    for source, given in GIVEN.items():
        for method in GENERATORS:
            chosen = attacks[(attacks["source"] == source) & (attacks["method"] == method)]
            if chosen.empty:
                continue
            worst = chosen.iloc[int(chosen["auc"].argmax())]
            verb = "tells" if chosen["told"].any() else "does not tell"
            claims.append(
                Claim(
                    f"{method}: {given} {verb} training patients from others; the strongest attack "
                    f"({worst['target']}, {ATTACKS[worst['attack']]}) has AUC {auc_text(worst)}.",
                    f"Mann-Whitney, {p_text(float(worst['p']))} after Holm over all attacks, "
                    f"n = {worst['patients']:.0f}; {int(chosen['told'].sum())} of {len(chosen)} "
                    "attacks with p < .05",
                )
            )
    copies = attacks[attacks["method"] == COPIES]
    if len(copies):
        claims.append(
            Claim(
                "The attack finds a leak where there is one: on copies of the training patients it "
                f"has AUC {copies['auc'].min():.2f} (the least over targets).",
                f"bootstrap interval over patients from {copies['low'].min():.2f}, "
                f"n = {copies['patients'].min():.0f}",
            )
        )
    return claims


def _null_verdict(fidelity: pd.DataFrame) -> list[str]:
    means = method_means(fidelity)
    shown = [name for name in (PUBLISHED, MULTI, COHERENT) if name in means.index]
    if not shown:
        return []
    figures = "; ".join(
        f"{name} F1 {means['f1'][name]:.2f}, energy distance {means['energy_distance'][name]:.2f}"
        for name in [*shown, *(name for name in (TEST, OTHERS) if name in means.index)]
    )
    said = [f"Given nothing, against training patients: {figures}."]
    if {PUBLISHED, MULTI} <= set(shown):
        said.append(_order_text(means, _compared(fidelity, "f1")))
    if OTHERS in means.index:
        said += _level_text(means)
    return said


def _order_text(means: pd.DataFrame, found: Comparison | None) -> str:
    less = bool(means["f1"][PUBLISHED] < means["f1"][MULTI])
    farther = bool(means["energy_distance"][PUBLISHED] > means["energy_distance"][MULTI])
    if less and farther:
        text = "As in the paper, the consensus of pair experts is less like the population than "
        text += "the multi-condition model by both measures"
    elif less or farther:
        text = "The two measures disagree on which is less like the population, where the paper "
        text += "has the consensus less so than the multi-condition model by both"
    else:
        text = "Against the paper, the consensus of pair experts is no less like the population "
        text += "than the multi-condition model by either measure"
    if found is None or found.pairs.empty:
        return f"{text} (too few runs and targets to test)."
    known = "is" if found.significant(PUBLISHED, MULTI) else "is not"
    return f"{text} (the difference in F1 {known} significant)."


def _level_text(means: pd.DataFrame) -> list[str]:
    """Whether anything like a patient comes from nothing, where the paper says hardly."""
    shares = {
        name: means["f1"][name] / means["f1"][OTHERS]
        for name in (PUBLISHED, MULTI)
        if name in means.index
    }
    alike = {name: share for name, share in shares.items() if share >= 0.5}
    if not alike:
        return [
            "As in the paper, hardly anything that is generated from nothing is like a patient."
        ]
    listed = " and ".join(f"{name} ({share:.0%})" for name, share in alike.items())
    said = [
        f"Against the paper, whose low F1 it takes for privacy, plausible patients do come from "
        f"nothing here: in share of the F1 of {OTHERS}, {listed}. That tells of the population "
        "and, by itself, of nobody in it."
    ]
    if PUBLISHED in alike and NARROWED in means.index:
        f1, ratio = means["f1"], means["variance_ratio"]
        falls = f1[NARROWED] < f1[PUBLISHED] / 2
        said.append(
            f"Narrowed to {NARROW:.0%} of the real variance, about what the paper's draws have, "
            f"the same draws ({ratio[PUBLISHED]:.0%}) "
            + (
                f"fall to F1 {f1[NARROWED]:.2f}: over-confidence alone gives so low an F1."
                if falls
                else f"keep F1 {f1[NARROWED]:.2f}: over-confidence does not explain so low an F1."
            )
        )
    return said


def _attack_verdict(attacks: pd.DataFrame) -> list[str]:
    real = attacks[~attacks["method"].isin(CONTROLS)]
    if real.empty:
        return []
    told, worst = real[real["told"]], real.iloc[int(real["auc"].argmax())]
    what = f"{worst['method']}, {worst['target']} from {worst['source']}"
    if told.empty:
        return [
            f"No membership attack ({len(real)} tried) tells training patients from others after "
            f"correction; the highest AUC is {auc_text(worst)} ({what})."
        ]
    where = ", ".join(f"{name} ({len(rows)})" for name, rows in told.groupby("method", sort=False))
    return [
        f"Membership does leak: {len(told)} of {len(real)} attacks tell training patients from "
        f"others after correction, of {where}; the highest AUC is {auc_text(worst)} ({what})."
    ]


def _notes(rows: pd.DataFrame, fidelity: pd.DataFrame) -> list[str]:
    notes = [
        "The null condition: multi-condition experts have every condition masked, as in training; "
        "pair experts were never trained without one and get the paper's, the mean latent, which "
        "is zero in standardised latents. They thus generate an average patient's target rather "
        "than the population.",
        "Precision is the share of generated points within the 5-nearest-neighbour balls of real "
        "ones, recall the share of real points within those of generated ones (improved precision "
        "and recall). Energy distance is twice the mean distance between the sets less the mean "
        "distances within. Both depend on the size of the sets, which is the same for all sets of "
        "a target.",
        f"{NARROWED}: the same draws, drawn in around their mean; it shows what the measures make "
        "of draws as narrow as the paper's, which have 0.4 to 2.1% of the real variance.",
        "Attacks: the distance of a patient's real latent to the nearest value of everything "
        "released, or its mean distance to the patient's own 4 draws. A point prediction has no "
        "distribution: ridge is attacked, but not measured from nothing.",
        "Spaces were fitted on the training patients too, so an attack sees what leaks through "
        "encoding as well as through the experts.",
        "Runs differ in the training patients chosen and in the noise, not in the trained "
        "networks; tests over runs and targets speak of these networks.",
    ]
    if len(fidelity):
        sizes = fidelity.groupby("target", sort=False)["patients"].max()
        listed = ", ".join(f"{target} {size:.0f}" for target, size in sizes.items())
        notes.append(f"Patients in each set: {listed}; {fidelity['run'].nunique()} run(s).")
    left = rows[rows["kind"] == "attack"].groupby("target", sort=False)["left_out"].max()
    if (left > 0).any():
        listed = ", ".join(f"{target} {count:.0f}" for target, count in left[left > 0].items())
        notes.append(
            "Test patients left out of the attacks because no training patient of their cancer "
            f"type has the same conditions: {listed}."
        )
    for (target, reason), _ in rows[rows["reason"].notna()].groupby(["target", "reason"]):
        notes.append(f"Not measured for {target}: {reason}.")
    return notes
