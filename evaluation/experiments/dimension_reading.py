"""What the rows of the experiment on latent size say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.evaluation.experiment import Claim, Figure, ReportTable, Section
from codenoise.evaluation.plotting import colour, figure
from codenoise.evaluation.reading import mean_sd, not_measured, notes, present
from codenoise.evaluation.statistics import compare
from codenoise.evaluation.study import COHERENT, PUBLISHED

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

CEILING, REGRESSION = "encoded and decoded", "ridge"
ORDER = (COHERENT, PUBLISHED, REGRESSION, CEILING)
USUAL = 32  # the default of a space, and the paper's
MEASURES = {
    "r2_pooled": "pooled",
    "r2_expectation": "pooled, infinitely many draws",
    "r2_feature": "per feature",
}
COLUMNS = (
    *("run", "seed", "target", "conditions", "size", "method", "patients", "kind", "r2_pooled"),
    *("r2_expectation", "r2_feature", "features", "gaps", "subject", "error", "reason"),
)


def section(frame: pd.DataFrame) -> Section:
    """Read the rows of the experiment `dimension`; any of them may be missing."""
    rows = frame.reindex(columns=list(COLUMNS))
    known = rows[(rows["kind"] == "r2") & rows["r2_pooled"].notna()]
    said = _notes(rows, known)
    if known.empty:
        return Section(notes=said)
    errors = rows[(rows["kind"] == "patient") & rows["error"].notna()]
    return Section([*_claims(known, errors)], [_table(known)], [_figure(known)], said)


def _claims(known: pd.DataFrame, errors: pd.DataFrame) -> Iterator[Claim]:
    means = known.pivot_table(index="size", columns="method", values="r2_pooled").sort_index()
    described = f"not tested: means over {known['run'].nunique()} run(s)"
    for method, what in (
        (CEILING, "Encoding and decoding alone keeps, of the features,"),
        (COHERENT, "Generating from other modalities restores"),
    ):
        if method in means:
            values = means[method].dropna()
            listed = ", ".join(f"{r2:.2f} with {size:.0f}" for size, r2 in values.items())
            yield Claim(f"{what} R2 {listed} dimensions.", described, headline=True)
    if COHERENT in means and means[COHERENT].notna().sum() > 1:
        yield _best_size(dict(means[COHERENT].dropna()), errors)
    limits = known.pivot_table(index="size", columns="method", values="r2_expectation")
    if {COHERENT, REGRESSION} <= set(limits):
        pairs = limits[[COHERENT, REGRESSION]].dropna()
        less = [f"{size:.0f}" for size in pairs.index[pairs[COHERENT] < pairs[REGRESSION]]]
        yield Claim(
            f"Freed of the error of few draws, the {COHERENT} is below ridge regression on the "
            f"same latents at {len(less)} of {len(pairs)} sizes ({', '.join(less) or 'none'}).",
            described,
            headline=True,
        )


def _best_size(values: dict[float, float], errors: pd.DataFrame) -> Claim:
    """The size that restores most against the usual one, or against the next best to that."""
    best, second = sorted(values, key=lambda size: -values[size])[:2]
    usual = USUAL if USUAL in values else min(values)
    other = usual if best != usual else second
    a, b = f"size {best:.0f}", f"size {other:.0f}"
    told, test = "not tested", "no errors of single patients"
    try:
        named = errors.assign(size=errors["size"].map("size {:.0f}".format))
        found = compare(named, value="error", method="size", subject=["target", "subject"])
    except DataError:  # errors of one size alone
        pass
    else:
        test = f"error of each patient, {found.overall}"
        if len(found.pairs):
            told = "told apart" if found.significant(a, b) else "not told apart"
            test += f"; {found.between(a, b)}"
    return Claim(
        f"Latents of {best:.0f} restore most, R2 {values[best]:.3f} against {values[other]:.3f} of "
        f"those of {other:.0f} ({values[best] - values[other]:+.3f}, {told} by patients' errors).",
        test,
        headline=True,
    )


def _table(known: pd.DataFrame) -> ReportTable:
    cells = []
    for size, rows in known.groupby("size", sort=True):
        cell = {"Latent size": f"{size:.0f}"}
        for measure, name in MEASURES.items():
            for method in ORDER if measure != "r2_expectation" else (COHERENT, PUBLISHED):
                cell[f"{method}, {name}"] = mean_sd(rows.loc[rows["method"] == method, measure])
        cells.append(cell)
    return ReportTable(
        "R2 of decoded features of test patients by latent size, mean ± standard deviation over "
        "runs: of the mean of 10 draws pooled over all values after standardising, of infinitely "
        "many draws, and mean over features",
        pd.DataFrame(cells),
    )


def _figure(known: pd.DataFrame) -> Figure:
    return Figure(
        "dimension",
        "R2 of decoded features against latent size, pooled (left) and mean over features "
        f"(right): generated, regressed, and the target's own latents decoded; "
        f"{known['patients'].max():.0f} test patients, bars are standard deviations over "
        f"{known['run'].nunique()} run(s).",
        "Lines of R2 over latent sizes for the ensemble, ridge regression and the ceiling.",
        partial(_drawn, known),
    )


def _drawn(known: pd.DataFrame) -> Drawing:
    drawing, axes = figure(1, 2)
    titles = {"r2_pooled": "pooled", "r2_feature": "mean over features"}
    for one, (measure, title) in zip(axes, titles.items(), strict=True):
        for method in present(known, ORDER):
            runs = known[known["method"] == method].groupby("size")[measure]
            one.errorbar(
                *(runs.mean().index, runs.mean(), runs.std().fillna(0)),
                marker="o", markersize=4, linewidth=1.2, label=method, color=colour(method),
                linestyle="--" if method == CEILING else "-",
            )  # fmt: skip
        one.set_xscale("log", base=2)
        sizes = sorted(known["size"].unique())
        one.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
        one.set_xlabel("latent dimensions", fontsize=8)
        one.set_ylabel(f"R2, {title}", fontsize=8)
    axes[0].legend(fontsize=8, frameon=False)
    return drawing


def _notes(rows: pd.DataFrame, known: pd.DataFrame) -> list[str]:
    first = known.iloc[0] if len(known) else None
    said = notes(
        "dimension", ceiling=CEILING, coherent=COHERENT, published=PUBLISHED, setting=first,
        patients=known["patients"].max(), gaps=known["gaps"].max(),
    )  # fmt: skip
    sized = rows.assign(size=rows["size"].map("latents of {:.0f}".format))
    return [*said, *not_measured(sized, "size")]
