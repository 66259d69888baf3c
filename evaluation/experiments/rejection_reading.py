"""What the rows of the rejection experiment say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.evaluation.experiment import Claim, Figure, Section, Table
from codenoise.evaluation.experiments.conflict import (
    CROSS,
    DEFINITIONS,
    DIRECT,
    OF_EXPECTATIONS,
    OF_TRAJECTORIES,
    RULE,
)
from codenoise.evaluation.plotting import colour, figure
from codenoise.evaluation.statistics import compare, interval
from codenoise.evaluation.study import COHERENT, PUBLISHED

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

RATE, POWER = "rate", "power"
OTHER, SAME = "another cancer type", "the same cancer type"
EXPECTATIONS = "pair experts"
STATISTICS = (*OF_TRAJECTORIES, *OF_EXPECTATIONS)
PUBLISHED_AT = (1.0, 0.05)
PAPER = (
    "a trajectory with a distance over 1.0 in more than a small fraction of steps (5%, say) is "
    "incoherent and discarded"
)
COLUMNS = (
    "measure", "run", "target", "method", "conditions", "number", "threshold", "fraction", "rate",
    "statistic", "swapped", "partner", "auc", "low", "high", "flagged_coherent", "flagged_swapped",
    "patients", "left_out", "reason",
)  # fmt: skip


def section(frame: pd.DataFrame) -> Section:
    """Read the table of all rows."""
    frame = frame.reindex(columns=list(COLUMNS))
    rates = frame[(frame["measure"] == RATE) & frame["rate"].notna()]
    every = frame[frame["measure"] == POWER]
    powers = every[every["auc"].notna()]
    of_rates, of_powers = [*_rate_claims(rates)], [*_power_claims(powers)]
    claims = [*of_rates, *of_powers]
    said = [claim.text for claim in (*of_rates[:1], *of_powers)]
    verdict = " ".join(said) or "Nothing could be measured."
    tables, figures = [], []
    if len(rates):
        tables += [_rate_table(rates), _number_table(rates)]
        figures.append(_rate_figure(rates))
    if len(powers):
        tables += [_power_table(powers), _detail_table(powers)]
        figures.append(_power_figure(powers))
    return Section(verdict, claims, tables, figures, _notes(frame, every))


def _whole(rates: pd.DataFrame) -> pd.DataFrame:
    """Rates with every condition of the target."""
    return rates[rates["number"] == rates.groupby("target")["number"].transform("max")]


def _methods(frame: pd.DataFrame) -> list[str]:
    there = set(frame["method"])
    return [name for name in (PUBLISHED, COHERENT, EXPECTATIONS) if name in there]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _rate_claims(rates: pd.DataFrame) -> Iterator[Claim]:
    from scipy.stats import binomtest

    for method in _methods(rates):
        own = _whole(rates[rates["method"] == method])
        at = own[(own["threshold"] == PUBLISHED_AT[0]) & (own["fraction"] == PUBLISHED_AT[1])]
        if at.empty:
            continue
        cells = own.groupby(["threshold", "fraction"])["rate"].mean()
        count = int(at["patients"].sum())
        found = binomtest(round(float((at["rate"] * at["patients"]).sum())), count)
        bounds = found.proportion_ci()
        lowest, highest = (own["threshold"].min(), own["threshold"].max())
        yield Claim(
            f"With all conditions and the published setting (threshold 1, 5% of steps) "
            f"{_percent(at['rate'].mean())} of trajectories are rejected ({method}); over "
            f"thresholds of {lowest:g} to {highest:g} and fractions of "
            f"{own['fraction'].min():.0%} to {own['fraction'].max():.0%} the rate goes from "
            f"{_percent(cells.min())} to {_percent(cells.max())}.",
            f"rate at the published setting: 95% interval {_percent(bounds.low)} to "
            f"{_percent(bounds.high)} (Clopper-Pearson, n = {count} trajectories; those of one "
            f"patient count as independent)",
        )


def _situations(powers: pd.DataFrame) -> pd.DataFrame:
    """AUC of each statistic and swap, averaged over runs."""
    keys = ["statistic", "target", "swapped", "partner"]
    return _one_consensus(powers).groupby(keys)["auc"].mean().reset_index()


def _one_consensus(powers: pd.DataFrame) -> pd.DataFrame:
    """Without the second consensus: claims are of the published one where it was measured."""
    consensus = next((m for m in _methods(powers) if m != EXPECTATIONS), None)
    return powers[powers["method"].isin([consensus, EXPECTATIONS])]


def _power_claims(powers: pd.DataFrame) -> Iterator[Claim]:
    if powers.empty:
        return
    situations = _situations(powers)
    rule = situations[situations["statistic"] == RULE]
    if len(rule):
        low, high = interval(rule["auc"].to_numpy())
        finds = low > 0.5
        flagged = _one_consensus(powers[powers["statistic"] == RULE])
        yield Claim(
            f"The rejection rule tells conditions of two patients from those of one with an AUC "
            f"of {_by_partner(rule)}: {'better than' if finds else 'no better than'} chance (0.5); "
            f"it rejects {_percent(flagged['flagged_swapped'].mean())} of the trajectories in "
            f"conflict and {_percent(flagged['flagged_coherent'].mean())} of the others.",
            _over_swaps(rule["auc"].mean(), low, high, len(rule)),
            PAPER,
            bool(finds),
        )
    ours = situations[~situations["statistic"].isin([RULE, DIRECT])]
    if ours.empty:
        return
    best = str(ours.groupby("statistic")["auc"].mean().idxmax())
    winner = ours[ours["statistic"] == best]
    low, high = interval(winner["auc"].to_numpy())
    flagged = _one_consensus(powers[powers["statistic"] == best])
    against, test = "", _over_swaps(winner["auc"].mean(), low, high, len(winner))
    if len(rule):
        gain = winner["auc"].mean() - rule["auc"].mean()
        against = f", {gain:+.2f} against the rule"
        keys = ["target", "swapped", "partner"]
        compared = compare(situations, value="auc", method="statistic", subject=keys)
        try:
            test = f"{compared.overall}; {compared.between(best, RULE)}"
        except DataError:  # too few swaps for a test
            test = f"{compared.overall}; {test}"
    yield Claim(
        f"Of the statistics that an ensemble can compute, {best} is the best detector, with an "
        f"AUC of {_by_partner(winner)}{against}; set to flag 5% of validation patients it flags "
        f"{_percent(flagged['flagged_swapped'].mean())} of the conflicts and "
        f"{_percent(flagged['flagged_coherent'].mean())} of the test patients as they are.",
        test,
    )


def _by_partner(situations: pd.DataFrame) -> str:
    means = situations.groupby("partner", sort=False)["auc"].mean()
    return " and ".join(f"{means[k]:.2f} (from {k})" for k in (OTHER, SAME) if k in means)


def _over_swaps(mean: float, low: float, high: float, count: int) -> str:
    bounds = "all alike" if pd.isna(low) else f"95% interval {low:.2f} to {high:.2f}"
    return f"mean AUC {mean:.2f}, {bounds} (bootstrap of {count} swaps: target, condition, partner)"


def _rate_table(rates: pd.DataFrame) -> Table:
    shown = _whole(rates).pivot_table(
        index=["method", "threshold"], columns="fraction", values="rate", sort=True
    )
    shown.columns = [f"over {fraction:.0%} of steps" for fraction in shown.columns]
    return Table(
        "Rejected first attempts, with all conditions, mean over targets and runs",
        shown.map(_percent).reset_index(),
        "The published setting is a threshold of 1 and 5% of steps.",
    )


def _number_table(rates: pd.DataFrame) -> Table:
    at = rates[(rates["threshold"] == PUBLISHED_AT[0]) & (rates["fraction"] == PUBLISHED_AT[1])]
    strict = rates[(rates["threshold"] == rates["threshold"].min())]
    strict = strict[strict["fraction"] == strict["fraction"].min()]
    named = {"threshold 1, 5%": at, "strictest setting": strict}
    keys = ["method", "target", "number"]
    columns = {name: one.groupby(keys)["rate"].mean() for name, one in named.items()}
    shown = pd.DataFrame(columns).map(_percent).reset_index()
    return Table(
        "Rejected first attempts by target and number of conditions",
        shown.rename(columns={"number": "conditions"}).astype({"conditions": int}),
        f"The strictest setting measured: threshold {strict['threshold'].min():g}, "
        f"{strict['fraction'].min():.0%} of steps. One condition has nothing to disagree with.",
    )


def _power_table(powers: pd.DataFrame) -> Table:
    rows = []
    for statistic in STATISTICS:
        for method in _methods(powers):
            one = powers[(powers["statistic"] == statistic) & (powers["method"] == method)]
            if one.empty:
                continue
            areas = one.groupby("partner")["auc"].mean()
            rows.append(
                {
                    "statistic": statistic,
                    "of": "training patients" if statistic == DIRECT else method,
                    **{f"AUC, {kind}": _area(areas.get(kind)) for kind in (OTHER, SAME)},
                    "flagged, swapped": _percent(one["flagged_swapped"].mean()),
                    "flagged, as they are": _percent(one["flagged_coherent"].mean()),
                    "what it is": DEFINITIONS[statistic],
                }
            )
    return Table(
        "Telling swapped conditions: AUC and share flagged, mean over targets, conditions and runs",
        pd.DataFrame(rows),
        "The rule flags by each consensus's own setting, all others at the 95th percentile of "
        "validation patients. Chance is an AUC of 0.5.",
    )


def _area(value: float | None) -> str:
    return "-" if value is None or pd.isna(value) else f"{value:.2f}"


def _detail_table(powers: pd.DataFrame) -> Table:
    chosen = powers[powers["statistic"].isin([RULE, CROSS, DIRECT])]
    chosen = chosen[chosen["method"] != COHERENT] if PUBLISHED in set(powers["method"]) else chosen
    keys = ["target", "swapped", "partner", "statistic"]
    means = chosen.groupby(keys, sort=False)[["auc", "low", "high"]].mean()
    text = means.apply(lambda r: f"{r['auc']:.2f} ({r['low']:.2f} to {r['high']:.2f})", axis=1)
    return Table(
        "AUC by target, swapped condition and partner",
        text.rename("text")
        .reset_index()
        .pivot_table(
            index=keys[:3], columns="statistic", values="text", aggfunc="first", sort=False
        )
        .reset_index(),
        "In brackets the 95% interval of a single run (bootstrap of patients), its bounds averaged "
        "over runs.",
    )


def _rate_figure(rates: pd.DataFrame) -> Figure:
    whole = _whole(rates)
    return Figure(
        "rejection-rate",
        "Rejected first attempts against the threshold, by the fraction of steps that may be over "
        "it; all conditions, mean over targets and runs.",
        "One panel per consensus; lines rise to the left, where the threshold is low.",
        partial(_draw_rates, whole),
    )


def _draw_rates(whole: pd.DataFrame) -> Drawing:
    methods = _methods(whole)
    drawing, axes = figure(1, len(methods))
    top = float(whole.groupby(["method", "threshold", "fraction"])["rate"].mean().max())
    for axis, method in zip(axes, methods, strict=True):
        own = whole[whole["method"] == method]
        for i, (fraction, line) in enumerate(own.groupby("fraction")):
            means = line.groupby("threshold")["rate"].mean() * 100
            axis.plot(means.index, means, "o-", ms=3, color=colour("", i), label=f"{fraction:.0%}")
        axis.axvline(PUBLISHED_AT[0], color="#999999", linewidth=0.8, linestyle=":")
        axis.set_ylim(0, 105 * max(0.01, top))
        axis.set_title(method, fontsize=9)
        axis.set_xlabel("threshold of the cosine distance", fontsize=8)
    axes[0].set_ylabel("rejected (%)", fontsize=8)
    axes[0].legend(title="of steps", fontsize=7, title_fontsize=7, frameon=False)
    return drawing


def _power_figure(powers: pd.DataFrame) -> Figure:
    return Figure(
        "rejection-power",
        f"AUC of each statistic for a condition swapped in from a patient of {OTHER} and of "
        f"{SAME}: each dot is a target and condition, mean over runs; the bar is their mean. "
        f"Dotted: chance.",
        "Dots by statistic; the rejection rule lies at chance where it rejects nothing.",
        partial(_draw_powers, _situations(powers)),
    )


def _draw_powers(situations: pd.DataFrame) -> Drawing:
    kinds = [kind for kind in (OTHER, SAME) if kind in set(situations["partner"])]
    names = [name for name in STATISTICS if name in set(situations["statistic"])][::-1]
    drawing, axes = figure(1, len(kinds), height=3.2)
    for axis, kind in zip(axes, kinds, strict=True):
        for height, name in enumerate(names):
            cell = (situations["statistic"] == name) & (situations["partner"] == kind)
            areas = situations.loc[cell, "auc"]
            axis.plot(areas, [height] * len(areas), "o", ms=4, alpha=0.6, color=colour("", 0))
            axis.plot([areas.mean()] * 2, [height - 0.3, height + 0.3], color="black")
        axis.axvline(0.5, color="#999999", linewidth=0.8, linestyle=":")
        axis.set_yticks(range(len(names)), names if axis is axes[0] else [""] * len(names))
        axis.set_title(f"from {kind}", fontsize=9)
        axis.set_xlabel("AUC", fontsize=8)
    return drawing


def _notes(frame: pd.DataFrame, powers: pd.DataFrame) -> list[str]:
    if frame.empty:
        return []
    everyone = frame[frame["measure"] == RATE] if (frame["measure"] == RATE).any() else frame
    notes = [
        f"Test patients with every modality: {int(everyone['patients'].max())}; "
        f"{int(everyone['left_out'].max())} others lack one and are left out, so that all sets of "
        f"conditions are measured on the same patients.",
        "A rate counts first attempts, one trajectory per patient and run, before any redraw; each "
        "step of the sampler counts for its share of the 1,000 steps of the schedule.",
        "A conflict is made by giving a patient one condition of another test patient, for each "
        "condition in turn; the same patients as they are serve as controls.",
        "Why the rule sees so little: for two exact normal experts of equal residual variance "
        "1 - R2 and equal weights, step t is over 1.0 exactly where the squared length of the "
        "standardised latent is below a d2 / (4 (a (1 - R2) + 1 - a)), with signal variance a and "
        "squared distance d2 of their expectations. Unrelated conditions give d2 = 2 R2 for each "
        "dimension, so the typical trajectory is over only where R2 exceeds two thirds.",
        "What is usual is learned on validation patients that have the conditions compared; "
        "standardised and Mahalanobis statistics flag more than 5% of new patients where these "
        "are few. The best statistic is chosen on the patients that it is measured on.",
    ]
    few = powers[powers["reason"].notna() & powers["auc"].isna()]
    notes += [f"Not measured: {reason}." for reason in sorted(set(few["reason"]))]
    alone = int(everyone["patients"].max()) - powers.loc[powers["auc"].notna(), "patients"]
    if len(alone) and alone.max() > 0:
        notes.append(
            f"Up to {int(alone.max())} patients have no partner of a kind, or no known cancer "
            f"type, and are left out of its AUC."
        )
    return notes
