"""Compare encoders and latent sizes on validation patients: what is kept, and what it is good for.

    python benchmarks/spaces.py run COHORT plugins/tcga_split.csv benchmarks/results/spaces.jsonl
    python benchmarks/spaces.py table benchmarks/results/spaces.jsonl

Per modality, encoder and dimension: R2 of reconstruction, and what forests trained on the latents
of training patients predict for validation patients (cancer type and stage: macro F1; survival:
concordance index, higher is better). A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score
from sksurv.ensemble import RandomSurvivalForest
from sksurv.util import Surv

from codenoise.core.cohort.cohort import read_clinical, read_cohort
from codenoise.core.cohort.splits import read_split
from codenoise.core.spaces.fit import fit_space

MODALITIES = ("rppa", "rna", "cna", "wsi")
ENCODERS = ("pca", "autoencoder", "variational")
DIMENSIONS = (8, 16, 32, 64, 128)
FOREST_PATIENTS, SURVIVAL_PATIENTS = 2000, 800


def run(cohort: Path, split_path: Path, results: Path) -> None:
    """Measure every combination that is not in the results yet."""
    split, clinical = read_split(split_path), read_clinical(cohort)
    results.parent.mkdir(parents=True, exist_ok=True)
    done = {(r["modality"], r["encoder"], r["dim"]) for r in read(results)}
    for modality in MODALITIES:
        values = read_cohort(cohort, [modality]).measured(modality)
        label = split.reindex(values.index)
        train, held = values[label == "train"], values[label == "validation"]
        for dim in DIMENSIONS:
            for encoder in ENCODERS:
                if (modality, encoder, dim) not in done:
                    row = measure(train, held, clinical, modality, encoder, dim)
                    with results.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(row, flush=True)


def measure(
    train: pd.DataFrame,
    held: pd.DataFrame,
    clinical: pd.DataFrame,
    modality: str,
    encoder: str,
    dim: int,
) -> dict[str, object]:
    """Fit one space and measure it."""
    fitted = fit_space(
        train, held, modality=modality, name=modality, version="0", dim=dim, encoder=encoder
    )
    known, asked = fitted.space.encode(train), fitted.space.encode(held)
    return {
        "modality": modality,
        "encoder": encoder,
        "dim": dim,
        "r2": fitted.r2,
        "type_f1": classified(known, asked, clinical.cancer_type),
        "stage_f1": classified(
            known, asked, "stage " + clinical.stage.dropna().astype(int).astype(str)
        ),
        "survival_c": survived(known, asked, clinical),
    }


def classified(known: pd.DataFrame, asked: pd.DataFrame, labels: pd.Series) -> float:
    """Macro F1 of a forest on the patients that have a label."""
    known = known.loc[known.index.intersection(labels.index)]
    asked = asked.loc[asked.index.intersection(labels.index)]
    known = known.sample(min(len(known), FOREST_PATIENTS), random_state=0)
    forest = RandomForestClassifier(
        200, min_samples_leaf=2, class_weight="balanced", random_state=0
    )
    forest.fit(known.to_numpy(), labels[known.index].to_numpy(dtype=str))
    return float(
        f1_score(
            labels[asked.index].to_numpy(dtype=str),
            forest.predict(asked.to_numpy()),
            average="macro",
        )
    )


def survived(known: pd.DataFrame, asked: pd.DataFrame, clinical: pd.DataFrame) -> float:
    """Concordance index of a survival forest on the patients with follow-up."""
    follow = clinical[(clinical.os_days > 0) & clinical.os_event.notna()]
    known = known.loc[known.index.intersection(follow.index)]
    asked = asked.loc[asked.index.intersection(follow.index)]
    known = known.sample(min(len(known), SURVIVAL_PATIENTS), random_state=0)
    times = [
        Surv.from_arrays(follow.os_event[t.index].astype(bool), follow.os_days[t.index])
        for t in (known, asked)
    ]
    forest = RandomSurvivalForest(50, min_samples_leaf=15, max_features="sqrt", random_state=0)
    forest.fit(known.to_numpy(), times[0])
    return float(forest.score(asked.to_numpy(), times[1]))


def read(results: Path) -> list[dict]:
    """Rows measured so far."""
    return (
        [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    )


def table(results: Path) -> None:
    """Print the results as Markdown: a row per modality and dimension, a column per encoder."""
    frame = pd.DataFrame(read(results))
    for value, title in (
        ("r2", "Reconstruction R2"),
        ("type_f1", "Cancer type, macro F1"),
        ("stage_f1", "Stage, macro F1"),
        ("survival_c", "Survival, concordance index"),
    ):
        wide = frame.pivot_table(index=["modality", "dim"], columns="encoder", values=value)
        print(f"\n**{title}**\n\n| modality | dimensions | " + " | ".join(wide.columns) + " |")
        print("|---" * (2 + len(wide.columns)) + "|")
        for (modality, dim), row in wide.iterrows():
            cells = " | ".join("" if np.isnan(v) else f"{v:.3f}" for v in row)
            print(f"| {modality} | {dim} | {cells} |")


if __name__ == "__main__":
    {"run": run, "table": table}[sys.argv[1]](*map(Path, sys.argv[2:]))
