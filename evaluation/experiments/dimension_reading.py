"""What the rows of the experiment on latent size say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.evaluation.experiment import Claim, Figure, Section, Table
from codenoise.evaluation.plotting import colour, figure
from codenoise.evaluation.statistics import Comparison, compare
from codenoise.evaluation.study import COHERENT, PUBLISHED

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

CEILING, REGRESSION = "encoded and decoded", "ridge"
METHODS = (COHERENT, PUBLISHED, REGRESSION, CEILING)
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
    errors = rows[(rows["kind"] == "patient") & rows["error"].notna()]
    notes = _notes(rows, known)
    if known.empty:
        return Section("Nothing could be measured.", notes=notes)
    means = known.pivot_table(index="size", columns="method", values="r2_pooled").sort_index()
    limits = known.pivot_table(index="size", columns="method", values="r2_expectation")
    claims = _claims(means, errors) if COHERENT in means else []
    return Section(
        _verdict(means, limits.sort_index()), claims, [_table(known)], [_figure(known)], notes
    )


def _best(values: pd.Series[float]) -> float:
    """The size with the largest value."""
    return float(values.index[int(values.argmax())])


def _text(size: object) -> str:
    return f"size {size:.0f}"


def _compared(errors: pd.DataFrame) -> Comparison | None:
    named = errors.assign(size=errors["size"].map(_text))
    try:
        return compare(named, value="error", method="size", subject=["target", "subject"])
    except DataError:  # one size alone is compared with nothing
        return None


def _claims(means: pd.DataFrame, errors: pd.DataFrame) -> list[Claim]:
    values = means[COHERENT].dropna()
    if len(values) < 2:
        return []
    best = _best(values)
    usual = float(USUAL) if USUAL in values.index else float(values.index[0])
    other = best if best != usual else _best(values.drop(usual))
    found = _compared(errors)
    if found is None or found.pairs.empty:
        test = found.overall if found else "not tested: no errors of single patients"
        told = "not tested"
    else:
        a, b = _text(other), _text(usual)
        test = f"error of each patient, {found.overall}; {found.between(a, b)}"
        told = "told apart" if found.significant(a, b) else "not told apart"
    relation = "more" if values[other] > values[usual] else "less"
    return [
        Claim(
            f"Latents of {other:.0f} restore {relation} of the features than those of "
            f"{usual:.0f}: R2 {values[other]:.3f} against {values[usual]:.3f} ({told}).",
            test,
        )
    ]


def _verdict(means: pd.DataFrame, limits: pd.DataFrame) -> str:
    said = []
    if CEILING in means:
        ceiling = means[CEILING].dropna()
        said.append(
            f"Encoding and decoding alone keeps R2 {_range(ceiling)} of the features: wider "
            "latents hold more."
            if ceiling.is_monotonic_increasing
            else f"Encoding and decoding alone keeps R2 {_range(ceiling)} of the features."
        )
    if COHERENT not in means:
        return " ".join(said) or "Nothing was generated."
    values = means[COHERENT].dropna()
    best = _best(values)
    said.append(f"What is generated from other modalities reaches R2 {_range(values)}.")
    if USUAL in values.index:
        lost = values.max() - values[USUAL]
        said.append(
            f"The usual {USUAL} dimensions are the best size."
            if best == USUAL
            else f"The best size is {best:.0f}; the usual {USUAL} give {lost:.3f} away."
        )
    if {COHERENT, REGRESSION} <= set(limits):
        pairs = limits[[COHERENT, REGRESSION]].dropna()
        where = [f"{n:.0f}" for n in pairs.index[pairs[COHERENT] < pairs[REGRESSION]]]
        said.append(
            "Freed of the error of few draws, it is "
            + (
                f"below ridge regression on the same latents at {', '.join(where)}."
                if where
                else "above ridge regression on the same latents at every size."
            )
        )
    return " ".join(said)


def _range(values: pd.Series[float]) -> str:
    first, last = values.index[0], values.index[-1]
    if first == last:
        return f"{values.iloc[0]:.2f} with {first:.0f} dimensions"
    return f"{values.iloc[0]:.2f} with {first:.0f} to {values.iloc[-1]:.2f} with {last:.0f}"


def _table(known: pd.DataFrame) -> Table:
    cells = []
    for size, rows in known.groupby("size", sort=True):
        cell = {"Latent size": f"{size:.0f}"}
        for measure, name in MEASURES.items():
            for method in METHODS if measure != "r2_expectation" else (COHERENT, PUBLISHED):
                values = rows.loc[rows["method"] == method, measure]
                cell[f"{method}, {name}"] = _spread(values)
        cells.append(cell)
    return Table(
        "R2 of decoded features of test patients by latent size, mean and standard deviation "
        "over runs: of the mean of 10 draws pooled over all values after standardising, of "
        "infinitely many draws, and mean over features",
        pd.DataFrame(cells),
        f"{CEILING} is the ceiling: the target's own latents, decoded. The space is the same in "
        "all runs, so ridge and the ceiling do not vary.",
    )


def _spread(values: pd.Series[float]) -> str:
    if not values.notna().any():
        return ""
    deviation = values.std()
    spread = "" if np.isnan(deviation) or deviation < 5e-4 else f" ± {deviation:.3f}"
    return f"{values.mean():.3f}{spread}"


def _figure(known: pd.DataFrame) -> Figure:
    shown = [name for name in METHODS if (known["method"] == name).any()]

    def draw() -> Drawing:
        made, axes = figure(1, 2)
        titles = {"r2_pooled": "pooled", "r2_feature": "mean over features"}
        for one, (measure, title) in zip(axes, titles.items(), strict=True):
            for place, method in enumerate(shown):
                runs = known[known["method"] == method].groupby("size")[measure]
                one.errorbar(
                    runs.mean().index,
                    runs.mean(),
                    yerr=runs.std().fillna(0),
                    marker="o",
                    markersize=4,
                    linewidth=1.2,
                    linestyle="--" if method == CEILING else "-",
                    color=colour("real" if method == CEILING else method, place + 1),
                    label=method,
                )
            one.set_xscale("log", base=2)
            sizes = sorted(known["size"].unique())
            one.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
            one.set_xlabel("latent dimensions", fontsize=8)
            one.set_ylabel(f"R2, {title}", fontsize=8)
        axes[0].legend(fontsize=8, frameon=False)
        return made

    return Figure(
        "dimension",
        "R2 of decoded features against latent size, pooled (left) and mean over features "
        f"(right): generated, regressed, and the target's own latents decoded; "
        f"{known['patients'].max():.0f} test patients, bars are standard deviations over "
        f"{known['run'].nunique()} run(s).",
        "Lines of R2 over latent sizes for the ensemble, ridge regression and the ceiling.",
        draw,
    )


def _notes(rows: pd.DataFrame, known: pd.DataFrame) -> list[str]:
    notes = [
        "R2 of latents does not compare between sizes, so features are compared: decoded, and in "
        "standard deviations of the training patients. Draws are decoded, then averaged.",
        "Spaces are principal components of the training patients, with the features and the "
        "preprocessing of the modality's own space, whatever encoder that has.",
        "Each run trains its own experts, briefly: 3 runs and 1,000 optimiser steps at most (1 and "
        "300 in quick mode) of the default training, at every size alike. The bundled experts are "
        "trained longer.",
        f"{COHERENT}: the product of the pair experts, without learned weights, which new experts "
        f"do not have; {PUBLISHED}: their mean weighted by inverse validation error.",
        "Patients have one error each, averaged over runs, and are the subjects of the test.",
    ]
    if len(known):
        first = known.iloc[0]
        notes.append(
            f"{first['target']} is generated from {first['conditions']}, for "
            f"{known['patients'].max():.0f} test patients that have them all; "
            f"{known['gaps'].max():.0f} of their values are missing and left out of R2, and "
            f"features with fewer than 20 values have none of their own."
        )
    failed = rows[rows["reason"].notna()]
    notes += [
        f"Latents of {size:.0f} were not measured: {reason}."
        for (size, reason), _ in failed.groupby(["size", "reason"])
    ]
    return notes
