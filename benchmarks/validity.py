"""Tests on completed tables: how often they find what is not there.

    python benchmarks/validity.py COHORT SPLIT.CSV ENSEMBLE.TOML

Protein is hidden in half, and in all, of the held-out patients that have RNA, protein and copy
number, and completed. For every gene, patients are divided at its median, and every protein is
compared between the two groups (Welch's t-test): on the real data, on those whose protein was not
hidden, on the completed table, on one completed version, and pooled over 20. What is there and what
is not is told by the training patients, whose real data have the same test: a standardised
difference under .05 is none, one over .3 is one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

import codenoise

TABLES = 20
GENES = 300
NONE, SOME = 0.05, 0.3
Array = NDArray[np.float64]


def differences(high: Array, proteins: Array) -> tuple[Array, Array]:
    """Difference of means between two groups and its standard error: ``(genes, proteins)``.

    ``high`` is 1 for the patients of the one group, shape ``(patients, genes)``.
    """
    means, errors = [], []
    for group in (high, 1 - high):
        count = group.sum(axis=0)[:, None]
        mean = group.T @ proteins / count
        variance = (group.T @ proteins**2 / count - mean**2) * count / (count - 1)
        means.append(mean)
        errors.append(variance / count)
    return means[0] - means[1], np.sqrt(errors[0] + errors[1])


def groups(genes: pd.DataFrame) -> Array:
    return (genes > genes.median()).to_numpy(np.float64)


def p_values(difference: Array, error: Array, patients: int) -> Array:
    return np.asarray(2 * stats.t.sf(np.abs(difference) / error, patients - 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("cohort", "split", "ensemble"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    ensemble = codenoise.Ensemble.from_file(given.ensemble)
    cohort = codenoise.read_cohort(given.cohort, ["rna", "rppa", "cna"], features=ensemble.features)
    split = codenoise.read_split(given.split)
    frames = {name: table.frame for name, table in cohort.tables.items()}
    whole = sorted(set.intersection(*(set(frame.index) for frame in frames.values())))
    protein = frames["rppa"].loc[whole].dropna(axis=1)
    train = [p for p in whole if split.get(p) == "train"]
    held = [p for p in whole if split.get(p) in ("validation", "test")]
    rng = np.random.default_rng(0)
    chosen = sorted(rng.choice(frames["rna"].columns, GENES, replace=False))
    known, _ = differences(
        groups(frames["rna"].loc[train, chosen]),
        ((protein - protein.loc[train].mean()) / protein.loc[train].std())
        .loc[train].to_numpy(np.float64),
    )  # fmt: skip
    none, some = np.abs(known) < NONE, np.abs(known) > SOME
    print(f"{len(train)} training, {len(held)} held-out patients; {none.sum()} pairs without a "
          f"difference, {some.sum()} with one")  # fmt: skip
    high = groups(frames["rna"].loc[held, chosen])
    print("| protein hidden in | tested on | false positives at .05 | differences found |")
    print("|---|---|---|---|")

    def say(hidden: str, tested: str, p: Array) -> None:
        print(f"| {hidden} | {tested} | {np.mean(p[none] < 0.05):.3f} | "
              f"{np.mean(p[some] < 0.05):.3f} |")  # fmt: skip

    def tested(table: pd.DataFrame, rows: Array) -> tuple[Array, Array]:
        return differences(rows, table[protein.columns].to_numpy(np.float64))

    say("nobody", "real data", p_values(*tested(protein.loc[held], high), len(held)))
    half = set(rng.choice(held, len(held) // 2, replace=False))
    for hidden, who in (("half", half), ("all", set(held))):
        seen = [p for p in held if p not in who]
        parts = {
            "rna": frames["rna"].loc[held], "cna": frames["cna"].loc[held],
            "rppa": frames["rppa"].loc[seen],
        }  # fmt: skip
        shown = {name: frame for name, frame in parts.items() if len(frame)}
        result = ensemble.impute(shown, draws=2 * TABLES, targets=["rppa"])
        versions = [version["rppa"].frame.loc[held] for version in result.tables(TABLES)]
        if seen:
            rows = high[[held.index(p) for p in seen]]
            say(hidden, "complete cases", p_values(*tested(protein.loc[seen], rows), len(seen)))
        completed = result.completed["rppa"].frame.loc[held]
        say(hidden, "the completed table", p_values(*tested(completed, high), len(held)))
        say(hidden, "one version", p_values(*tested(versions[0], high), len(held)))
        pairs = [tested(version, high) for version in versions]
        pooled = codenoise.analysis.pool(
            [difference for difference, _ in pairs], [error for _, error in pairs],
            complete_dof=len(held) - 2,
        )  # fmt: skip
        say(hidden, f"{TABLES} versions, pooled", pooled.p_values())


if __name__ == "__main__":
    main()
