"""Cut the small example cohort out of the full one.

Test patients only, each with the missing pattern of a real incomplete patient of the same cancer
type; what that pattern hides goes to ``truth/``.

    python examples/make_cohort.py COHORT plugins/tcga_split.csv plugins examples/tcga
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from codenoise import Cohort, read_clinical, read_cohort, read_split

MODALITIES = ["rna", "rppa", "cna", "wsi"]
PATIENTS = 64


def main(folder: Path, split_path: Path, plugins: Path, output: Path) -> None:
    """Choose patients and patterns with a fixed seed and write the tables."""
    rng = np.random.default_rng(0)
    cohort, split = read_cohort(folder, MODALITIES), read_split(split_path)
    clinical = read_clinical(folder)
    have = cohort.mask()
    tests = [p for p in split.index[split == "test"] if p in have.index]
    chosen = choose(tests, have, rng)
    shown = patterns(chosen, have, split, clinical.cancer_type, rng)
    write(cohort, shown, plugins, output)
    clinical.loc[chosen].to_csv(output / "cohort" / "clinical.csv")


def choose(tests: list[str], have: pd.DataFrame, rng: np.random.Generator) -> list[str]:
    """Half with slides, half without."""
    slides = have.loc[tests, "wsi"].to_numpy()
    ids = np.array(tests)
    half = PATIENTS // 2
    picked = [rng.choice(ids[slides], half, False), rng.choice(ids[~slides], half, False)]
    return sorted(np.concatenate(picked).tolist())


def patterns(
    chosen: list[str],
    have: pd.DataFrame,
    split: pd.Series[str],
    types: pd.Series[str],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """What each chosen patient shows: its own data under a real patient's missing pattern."""
    donors = have[(split.reindex(have.index) != "test") & ~have.all(axis=1)]
    donor_types = types.reindex(donors.index)
    shown = have.loc[chosen].copy()
    for patient in chosen:
        pool = donors[donor_types == types[patient]]
        masked = pool & have.loc[patient]
        # The pattern must leave something to condition on, and hide something.
        useful = masked[masked.any(axis=1) & (masked != have.loc[patient]).any(axis=1)]
        # Each pattern counts once: by frequency almost nobody would lack copy number.
        useful = useful.drop_duplicates()
        shown.loc[patient] = useful.iloc[rng.integers(len(useful))]
    return shown


def write(cohort: Cohort, shown: pd.DataFrame, plugins: Path, output: Path) -> None:
    """Write what is shown to ``cohort/`` and what is hidden to ``truth/``, as CSV."""
    have = cohort.mask()
    for modality in MODALITIES:
        manifest = f"codenoise-space-tcga-{modality}/codenoise_space_tcga_{modality}/space.json"
        features = json.loads((plugins / manifest).read_text())["features"]
        values = cohort.tables[modality].frame[features]
        hidden = have.loc[shown.index, modality] & ~shown[modality]
        for folder, patients in (
            ("cohort", shown.index[shown[modality]]),
            ("truth", shown.index[hidden]),
        ):
            path = output / folder / f"{modality}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            values.loc[patients].to_csv(path, index_label="patient")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
