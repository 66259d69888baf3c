"""What the rows of the rejection experiment say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from codenoise.evaluation.experiment import Claim, Figure, ReportTable, Section
from codenoise.evaluation.experiments.conflict import (
    CROSS,
    DIRECT,
    OF_EXPECTATIONS,
    OF_TRAJECTORIES,
    RULE,
)
from codenoise.evaluation.plotting import colour, figure
from codenoise.evaluation.reading import not_measured, notes, over, present
from codenoise.evaluation.statistics import compare, interval
from codenoise.evaluation.study import COHERENT, PUBLISHED

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

RATE, POWER = "rate", "power"
OTHER, SAME = "another cancer type", "the same cancer type"
EXPECTATIONS = "pair experts"
ORDER = (PUBLISHED, COHERENT, EXPECTATIONS)
STATISTICS = (*OF_TRAJECTORIES, *OF_EXPECTATIONS)
PUBLISHED_AT = (1.0, 0.05)
SWAP = ["target", "swapped", "partner"]
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
    return Section(
        [*_rate_claims(rates), *_power_claims(powers)],
        [*_rate_tables(rates), *_power_tables(powers)],
        [*_figures(rates, powers)],
        _notes(frame, every),
    )


def _whole(rates: pd.DataFrame) -> pd.DataFrame:
    """Rates with every condition of the target."""
    return rates[rates["number"] == rates.groupby("target")["number"].transform("max")]


def _at(rates: pd.DataFrame, threshold: float, fraction: float) -> pd.DataFrame:
    return rates[(rates["threshold"] == threshold) & (rates["fraction"] == fraction)]


def _rate_claims(rates: pd.DataFrame) -> Iterator[Claim]:
    from scipy.stats import binomtest

    for place, method in enumerate(present(rates, ORDER)):
        own = _whole(rates[rates["method"] == method])
        at = _at(own, *PUBLISHED_AT)
        if at.empty:
            continue
        cells = own.groupby(["threshold", "fraction"])["rate"].mean()
        count = int(at["patients"].sum())
        found = binomtest(round(float((at["rate"] * at["patients"]).sum())), count)
        bounds = found.proportion_ci()
        yield Claim(
            f"With all conditions and the published setting (threshold 1, 5% of steps) "
            f"{at['rate'].mean():.1%} of trajectories are rejected ({method}); over thresholds of "
            f"{own['threshold'].min():g} to {own['threshold'].max():g} and fractions of "
            f"{own['fraction'].min():.0%} to {own['fraction'].max():.0%} the rate goes from "
            f"{cells.min():.1%} to {cells.max():.1%}.",
            f"rate at the published setting: 95% interval {bounds.low:.1%} to {bounds.high:.1%} "
            f"(Clopper-Pearson, n = {count} trajectories; those of one patient count as "
            f"independent)",
            headline=place == 0,
        )


def _one_consensus(powers: pd.DataFrame) -> pd.DataFrame:
    """Without the second consensus: claims are of the published one where it was measured."""
    consensus = [m for m in present(powers, ORDER) if m != EXPECTATIONS][:1]
    return powers[powers["method"].isin([*consensus, EXPECTATIONS])]


def _situations(powers: pd.DataFrame) -> pd.DataFrame:
    """AUC and shares flagged of each statistic and swap, averaged over runs."""
    measures = ["auc", "flagged_swapped", "flagged_coherent"]
    return _one_consensus(powers).groupby(["statistic", *SWAP])[measures].mean().reset_index()


def _power_claims(powers: pd.DataFrame) -> Iterator[Claim]:
    situations = _situations(powers)
    rule = situations[situations["statistic"] == RULE]
    if len(rule):
        finds = interval(rule["auc"].to_numpy())[0] > 0.5
        yield Claim(
            f"The rejection rule tells conditions of two patients from those of one with an AUC "
            f"of {_by_partner(rule)}: {'better than' if finds else 'no better than'} chance (0.5); "
            f"it rejects {rule['flagged_swapped'].mean():.1%} of the trajectories in conflict and "
            f"{rule['flagged_coherent'].mean():.1%} of the others.",
            _over_swaps(rule["auc"]),
            PAPER,
            bool(finds),
            headline=True,
        )
    ours = situations[~situations["statistic"].isin([RULE, DIRECT])]
    if ours.empty:
        return
    best = str(ours.groupby("statistic")["auc"].mean().idxmax())
    winner = ours[ours["statistic"] == best]
    beyond, test = "", _over_swaps(winner["auc"])
    if len(rule):
        beyond = f", {winner['auc'].mean() - rule['auc'].mean():+.2f} against the rule"
        found = compare(situations, value="auc", method="statistic", subject=SWAP)
        test = f"{found.overall}; {found.between(best, RULE) if len(found.pairs) else test}"
    yield Claim(
        f"Of the statistics that an ensemble can compute, {best} is the best detector, with an "
        f"AUC of {_by_partner(winner)}{beyond}; set to flag 5% of validation patients it flags "
        f"{winner['flagged_swapped'].mean():.1%} of the conflicts and "
        f"{winner['flagged_coherent'].mean():.1%} of the test patients as they are.",
        test,
        headline=True,
    )


def _by_partner(situations: pd.DataFrame) -> str:
    means = situations.groupby("partner", sort=False)["auc"].mean()
    return " and ".join(f"{means[k]:.2f} (from {k})" for k in (OTHER, SAME) if k in means)


def _over_swaps(areas: pd.Series[float]) -> str:
    return (
        f"mean AUC {areas.mean():.2f}, {over(areas, 'swaps (target, condition, partner)', '.2f')}"
    )


def _rate_tables(rates: pd.DataFrame) -> Iterator[ReportTable]:
    if rates.empty:
        return
    shown = _whole(rates).pivot_table(
        index=["method", "threshold"], columns="fraction", values="rate", sort=True
    )
    shown.columns = [f"over {fraction:.0%} of steps" for fraction in shown.columns]
    yield ReportTable(
        "Rejected first attempts, with all conditions, mean over targets and runs",
        shown.map("{:.1%}".format).reset_index(),
    )
    threshold = float(rates["threshold"].min())
    fraction = float(rates.loc[rates["threshold"] == threshold, "fraction"].min())
    settings = {"threshold 1, 5%": PUBLISHED_AT, "strictest setting": (threshold, fraction)}
    keys = ["method", "target", "number"]
    columns = {k: _at(rates, *at).groupby(keys)["rate"].mean() for k, at in settings.items()}
    by_number = pd.DataFrame(columns).map("{:.1%}".format).reset_index()
    yield ReportTable(
        "Rejected first attempts by target and number of conditions",
        by_number.rename(columns={"number": "conditions"}).astype({"conditions": int}),
        f"The strictest setting measured: threshold {threshold:g}, {fraction:.0%} of steps. One "
        f"condition has nothing to disagree with.",
    )


def _power_tables(powers: pd.DataFrame) -> Iterator[ReportTable]:
    if powers.empty:
        return
    keys = ["statistic", "method"]
    areas = powers.pivot_table(index=keys, columns="partner", values="auc", sort=False)
    areas = areas.reindex(columns=present(powers, (OTHER, SAME), "partner"))
    flagged = powers.groupby(keys)[["flagged_swapped", "flagged_coherent"]].mean()
    shown = areas.add_prefix("AUC, ").join(flagged.map("{:.1%}".format)).reset_index()
    shown["method"] = shown["method"].mask(shown["statistic"] == DIRECT, "training patients")
    names = {"method": "of", "flagged_swapped": "flagged, swapped",
             "flagged_coherent": "flagged, as they are"}  # fmt: skip
    places = shown["statistic"].map(STATISTICS.index)
    yield ReportTable(
        "Telling swapped conditions: AUC and share flagged, mean over targets, conditions and runs",
        shown.loc[places.sort_values(kind="stable").index].rename(columns=names),
    )
    chosen = _one_consensus(powers[powers["statistic"].isin([RULE, CROSS, DIRECT])])
    means = chosen.groupby([*SWAP, "statistic"], sort=False)[["auc", "low", "high"]].mean()
    means["text"] = ["{:.2f} ({:.2f} to {:.2f})".format(*row) for row in means.to_numpy()]
    wide = means.reset_index().pivot_table(
        index=SWAP, columns="statistic", values="text", aggfunc="first", sort=False
    )
    yield ReportTable("AUC by target, swapped condition and partner", wide.reset_index())


def _figures(rates: pd.DataFrame, powers: pd.DataFrame) -> Iterator[Figure]:
    if len(rates):
        yield Figure(
            "rejection-rate",
            "Rejected first attempts against the threshold, by the fraction of steps that may be "
            "over it; all conditions, mean over targets and runs.",
            "One panel per consensus; lines rise to the left, where the threshold is low.",
            partial(_draw_rates, _whole(rates)),
        )
    if len(powers):
        yield Figure(
            "rejection-power",
            f"AUC of each statistic for a condition swapped in from a patient of {OTHER} and of "
            f"{SAME}: each dot is a target and condition, mean over runs; the bar is their mean. "
            f"Dotted: chance.",
            "Dots by statistic; the rejection rule lies at chance where it rejects nothing.",
            partial(_draw_powers, _situations(powers)),
        )


def _draw_rates(whole: pd.DataFrame) -> Drawing:
    methods = present(whole, ORDER)
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


def _draw_powers(situations: pd.DataFrame) -> Drawing:
    kinds = [kind for kind in (OTHER, SAME) if kind in set(situations["partner"])]
    names = present(situations, STATISTICS, "statistic")[::-1]
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
    patients, known = int(everyone["patients"].max()), powers[powers["auc"].notna()]
    said = notes(
        "rejection", patients=patients, left_out=int(everyone["left_out"].max()),
        alone=int(patients - known["patients"].min()) if len(known) else 0,
    )  # fmt: skip
    return [*said, *not_measured(powers[powers["auc"].isna()])]
