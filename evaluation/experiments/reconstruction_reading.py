"""What the rows of the reconstruction experiment say: verdict, claims, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from codenoise.evaluation.experiment import Claim, Section, Table
from codenoise.evaluation.experiments.reconstruction_figures import (
    INTERVAL,
    MEASURES,
    QUERY,
    TYPE,
    figures,
    present,
)
from codenoise.evaluation.statistics import compare, interval
from codenoise.evaluation.study import COHERENT, MULTI, PUBLISHED

SUBJECT = ["target", "conditions"]
ALL = "all others"
# Single-draw R2 of the paper's Table 1, its own patients and spaces.
PAPER = (
    ("rna", ALL, MULTI, 0.79),
    ("rppa", ALL, MULTI, 0.62),
    ("wsi", ALL, COHERENT, 0.44),
    ("wsi", ALL, MULTI, 0.39),
    ("wsi", "rna", COHERENT, 0.36),
    ("wsi", "rna+rppa", COHERENT, 0.43),
    ("cna", ALL, COHERENT, 0.06),
    ("cna", ALL, MULTI, -0.06),
)
PAPER_VARIANCE = (0.004, 0.021)


def section(frame: pd.DataFrame) -> Section:
    """Read the stored rows."""
    rows = frame.reindex(columns=[*_COLUMNS, *(c for c in frame if c not in _COLUMNS)])
    asked = rows[rows["scope"] == QUERY]
    full = asked[asked["given"] == asked.groupby("target")["given"].transform("max")]
    standings = _standings(asked, "r2_expectation", higher=True)
    distances = _standings(asked, "energy_distance", higher=False)
    claims = [
        *_against(standings, "pooled R2 of the expectation"),
        *_paper_claims(full),
        *_against(distances, "energy distance (lower is better)"),
        *_distribution_claims(rows, asked),
    ]
    tables = [
        _everything(full, rows[rows["scope"] == INTERVAL]),
        *(
            Table(
                f"{_capital(MEASURES[value])}: mean ± standard deviation over runs",
                _spread(asked, ["target", "conditions", "patients"], value),
                "Runs differ in the seed of the draws alone. A point prediction has no draws.",
            )
            for value in ("r2_draw", "r2_expectation", "r2_mean", "r2_feature")
        ),
        _beside_the_paper(asked, full),
        _types(rows[rows["scope"] == TYPE]),
    ]
    verdict = _verdict(full, standings, claims)
    return Section(verdict, claims, tables, figures(rows, full), _notes(rows))


_COLUMNS = (
    *("run", "target", "conditions", "given", "method", "scope", "patients", "draws", "reason"),
    *("cancer_type", "coverage", *MEASURES),
)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _spread(frame: pd.DataFrame, index: list[str], value: str) -> pd.DataFrame:
    """Mean and standard deviation over runs as text, a column for each method."""
    grouped = frame.groupby([*index, "method"], sort=False)[value].agg(["mean", "std"])
    texts = [_figures_of(mean, sd) for mean, sd in grouped.itertuples(index=False)]
    long = grouped.reset_index()[[*index, "method"]].assign(text=texts)
    if long.empty:
        return pd.DataFrame(columns=index)
    wide = long.pivot_table(
        index=index, columns="method", values="text", aggfunc="first", sort=False
    )
    return wide.reindex(columns=present(frame)).fillna("").reset_index()


def _figures_of(mean: float, sd: float) -> str:
    if np.isnan(mean):
        return ""
    return f"{mean:.3f}" if np.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"


@dataclass(frozen=True)
class _Standing:
    """How the coherent ensemble stands to another method over targets and sets of conditions."""

    other: str
    relation: str
    better: int
    sets: int
    difference: float
    test: str


def _standings(asked: pd.DataFrame, value: str, *, higher: bool) -> list[_Standing]:
    """The coherent ensemble against each other method, on the same patients and conditions."""
    known = asked.dropna(subset=[value])
    methods = present(known)
    if len(methods) < 2 or COHERENT not in methods:
        return []
    comparison = compare(known, value=value, method="method", subject=SUBJECT)
    wide = known.pivot_table(index=SUBJECT, columns="method", values=value, sort=False)
    found = []
    for other in methods:
        if other == COHERENT:
            continue
        both = wide[[COHERENT, other]].dropna()
        difference = both[COHERENT] - both[other]
        better = int((difference > 0).sum() if higher else (difference < 0).sum())
        relation, test = "not tested against", comparison.overall
        if len(comparison.pairs):
            test = f"{comparison.between(COHERENT, other)}; {comparison.overall}"
            relation = "not told apart from"
            if comparison.significant(COHERENT, other):
                relation = "above" if difference.median() > 0 else "below"
        found.append(
            _Standing(other, relation, better, len(both), float(difference.median()), test)
        )
    return found


def _against(standings: Sequence[_Standing], called: str) -> list[Claim]:
    return [
        Claim(
            f"In {called} the coherent ensemble is {one.relation} {_named(one.other)}: better in "
            f"{one.better} of {one.sets} sets of conditions, median difference "
            f"{one.difference:+.3f}.",
            one.test,
        )
        for one in standings
    ]


def _named(method: str) -> str:
    return {
        MULTI: "the multi-condition model",
        PUBLISHED: "the ensemble with the published weights",
    }.get(method, f"the {method}")


def _paper_claims(full: pd.DataFrame) -> list[Claim]:
    """The paper puts the coherent ensemble ahead of the multi-condition model for two targets."""
    wide = full.pivot_table(index="target", columns="method", values="r2_draw")
    best = full.pivot_table(index="target", columns="method", values="r2_expectation")
    if not {COHERENT, MULTI} <= set(wide):
        return []
    claims = []
    for target in ("wsi", "cna"):
        paper = {m: r2 for t, given, m, r2 in PAPER if (t, given) == (target, ALL)}
        if target not in wide.index or wide.loc[target, [COHERENT, MULTI]].isna().any():
            continue
        ours, other = (float(wide[method][target]) for method in (COHERENT, MULTI))
        most, less = (float(best[method][target]) for method in (COHERENT, MULTI))
        runs = full[(full["target"] == target) & full["method"].isin([COHERENT, MULTI])]
        by_run = runs.pivot_table(index="run", columns="method", values="r2_draw")
        low, high = interval((by_run[COHERENT] - by_run[MULTI]).to_numpy())
        claims.append(
            Claim(
                f"{target} from all other modalities, single draws: pooled R2 {ours:.3f} by the "
                f"coherent ensemble, {other:.3f} by the multi-condition model; of the expectation "
                f"{most:.3f} and {less:.3f}.",
                f"95% interval of the difference in single draws over the seeds of {len(by_run)} "
                "run(s), patients and networks being the same (bootstrap): "
                + ("not available" if np.isnan(low) else f"{low:+.3f} to {high:+.3f}"),
                f"{paper[COHERENT]:.2f} against {paper[MULTI]:.2f} in single draws, measured on "
                "other patients.",
                ours > other,
            )
        )
    return claims


def _distribution_claims(rows: pd.DataFrame, asked: pd.DataFrame) -> list[Claim]:
    claims = []
    own = asked[asked["method"] == COHERENT].dropna(subset=["variance"])
    if len(own):
        shares = own.groupby(SUBJECT)["variance"].mean().to_numpy()
        low, high = interval(shares)
        least, most = PAPER_VARIANCE
        claims.append(
            Claim(
                f"Draws of the coherent ensemble for one patient vary by {shares.min():.0%} to "
                f"{shares.max():.0%} of the variance between real patients (mean "
                f"{shares.mean():.0%}); calibrated draws would by one minus R2.",
                f"95% interval of the mean over {len(shares)} sets of conditions (bootstrap): "
                + ("not available" if np.isnan(low) else f"{low:.0%} to {high:.0%}"),
                f"{least:.1%} to {most:.1%}, measured on other patients.",
                bool(least <= shares.min() and shares.max() <= most),
            )
        )
    inside = rows[(rows["scope"] == INTERVAL) & (rows["method"] == COHERENT)]["coverage"].dropna()
    if len(inside):
        low, high = interval(inside.to_numpy())
        claims.append(
            Claim(
                f"90% intervals of the coherent ensemble's draws hold {inside.min():.1%} to "
                f"{inside.max():.1%} of the real values, target by target.",
                f"95% interval of the mean over {len(inside)} targets (bootstrap): "
                + ("not available" if np.isnan(low) else f"{low:.1%} to {high:.1%}"),
            )
        )
    return claims


def _verdict(full: pd.DataFrame, standings: Sequence[_Standing], claims: Sequence[Claim]) -> str:
    own = full[full["method"] == COHERENT].groupby("target", sort=False)["r2_expectation"].mean()
    own = own.dropna()
    if not len(own):
        return "Nothing was measured for the coherent ensemble; the notes say why."
    values = ", ".join(f"{target} {r2:.3f}" for target, r2 in own.items())
    said = [
        f"From all other modalities the expectation of the coherent ensemble's draws reaches a "
        f"pooled R2 of {values}."
    ]
    groups: dict[str, list[str]] = {}
    for one in standings:
        groups.setdefault(one.relation, []).append(_named(one.other))
    if groups:
        listed = "; ".join(f"{relation} {', '.join(m)}" for relation, m in groups.items())
        said.append(f"Over all sets of conditions it is {listed}.")
    judged = [claim for claim in claims if claim.agrees is not None]
    if judged:
        agreeing = sum(bool(claim.agrees) for claim in judged)
        said.append(
            f"Of {len(judged)} findings that the paper also reports, {agreeing} agree with it "
            f"and {len(judged) - agreeing} contradict it."
        )
    return " ".join(said)


def _everything(full: pd.DataFrame, intervals: pd.DataFrame) -> Table:
    means = full.groupby(["target", "method"], sort=False)[list(MEASURES)].mean()
    covered = intervals.groupby(["target", "method"])["coverage"].mean()
    table = means.join(covered).rename(columns={**MEASURES, "coverage": "90% interval holds"})
    patients = full.groupby(["target", "method"], sort=False)["patients"].max().astype(int)
    table.insert(0, "patients", patients)
    shown = table.map(lambda v: "" if pd.isna(v) else f"{v:.3f}")
    shown["patients"] = patients.astype(str)
    return Table(
        "Every measure, each target from all other modalities, mean over runs",
        shown.reset_index(),
        "Energy score and energy distance: lower is better. Intervals are of 20 draws of the first "
        "run. The expectation is the mean of infinitely many draws, which is what a point "
        "prediction compares with.",
    )


def _beside_the_paper(asked: pd.DataFrame, full: pd.DataFrame) -> Table:
    lines = []
    for target, given, method, paper in PAPER:
        rows = full if given == ALL else asked[asked["conditions"].map(_sorted) == _sorted(given)]
        rows = rows[(rows["target"] == target) & (rows["method"] == method)]
        ours = {name: rows[name].mean() for name in ("r2_draw", "r2_expectation", "r2_feature")}
        lines.append(
            {"target": target, "from": given, "method": method, "the paper": f"{paper:.2f}"}
            | {MEASURES[name]: "" if np.isnan(v) else f"{v:.3f}" for name, v in ours.items()}
        )
    return Table(
        "R2 beside the paper's",
        pd.DataFrame(lines),
        "The paper's were measured on other patients in other latent spaces, and its R2 is of "
        "single draws whose variance is 0.4 to 2.1% of the real one; a calibrated draw errs twice "
        "as much as the best guess, so its single-draw R2 is lower for the same knowledge.",
    )


def _sorted(conditions: str) -> str:
    return "+".join(sorted(str(conditions).split("+")))


def _types(rows: pd.DataFrame) -> Table:
    known = rows.dropna(subset=["cancer_type"])
    index = ["target", "conditions", "cancer_type", "patients"]
    table = _spread(known, index, "r2_expectation")
    table["patients"] = table["patients"].astype(int).astype(str)
    return Table(
        "Pooled R2 of the expectation within each cancer type, mean ± standard deviation over runs",
        table,
        "Against the mean of the patients of that type, so that telling types apart counts for "
        "nothing. From all other modalities, and from the largest set that the most patients have.",
    )


def _notes(rows: pd.DataFrame) -> list[str]:
    notes = [
        "R2 is of latents of test patients. Pooled: one minus the squared error over the squared "
        "deviation from the mean of all entries, both summed over patients and latent dimensions. "
        "Averaged over features: that of each latent dimension against its own mean, averaged.",
        "Every method is shown the same conditions of the same patients: all test patients that "
        "have them and the target. Sets of conditions share patients, so the tests over them "
        "describe these data and are no sample of independent sets.",
        "The best single expert is, of those that fit, the one with the highest R2 in validation; "
        "the best simple baseline does best on validation patients.",
    ]
    lost = rows.dropna(subset=["reason"])
    for reason, group in lost.groupby("reason", sort=False):
        where = ", ".join(sorted(set(group["target"])))
        notes.append(f"Not measured ({where}): {reason}.")
    return notes
