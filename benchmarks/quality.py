"""Every method on every target and every set of conditions, on held-out test patients.

    python benchmarks/quality.py run COHORT plugins/tcga_split.csv benchmarks/results/quality.jsonl
    python benchmarks/quality.py write benchmarks/results/quality.jsonl docs/quality.md

Needs the bundled spaces and experts and ``pip install 'codenoise[baselines]'``. Ensembles are
calibrated on validation patients. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from codenoise.core.base.metrics import r2_pooled
from codenoise.core.cohort.cohort import read_cohort
from codenoise.core.cohort.splits import read_split, split_part
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.learning import calibrate
from codenoise.evaluation.baselines import BASELINES, Query
from codenoise.evaluation.experiments.reconstruction import measures
from codenoise.registry.ensembles.composing import compose
from codenoise.registry.ensembles.resolving import load_ensemble
from codenoise.registry.installed.discovery import discover

MODALITIES = ("rna", "rppa", "cna", "wsi")
DRAWS, FOR_COVERAGE = 10, 20
Latents = Mapping[str, pd.DataFrame]
Row = dict[str, Any]


def run(cohort: Path, split_path: Path, results: Path) -> None:
    """Measure what is not in the results yet."""
    latents = encoded(cohort, split_path)
    results.parent.mkdir(parents=True, exist_ok=True)
    done = {(r["target"], tuple(r["conditions"]), r["method"]) for r in read(results)}
    queries = list(all_queries(latents["test"]))

    def keep(rows: Sequence[Row]) -> None:
        with results.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        for row in rows:
            print(row, flush=True)

    for name, method in generators(latents):
        for target, conditions, patients in queries:
            if (target, conditions, name) not in done:
                row = generated(method, latents["test"], target, conditions, patients)
                if row is not None:
                    keep([row | {"method": name}])
    pairs = next(iter(generators(latents)))[1]
    for target, conditions, patients in queries:
        for condition in conditions:
            name = f"expert from {condition}"
            if (target, conditions, name) not in done:
                row = generated(pairs, latents["test"], target, (condition,), patients)
                if row is not None:
                    keep([row | {"method": name, "conditions": list(conditions)}])
    for name, baseline in BASELINES.items():
        left = [q for q in queries if (q[0], q[1], name) not in done]
        if left:
            keep(regressed(name, baseline, latents, left))


def encoded(cohort: Path, split_path: Path) -> dict[str, Latents]:
    """Latents of each part of the split."""
    inventory = discover()
    ensemble = load_ensemble(compose(inventory, modalities=MODALITIES), inventory)
    given, split = read_cohort(cohort, list(MODALITIES)), read_split(split_path)
    parts = ("train", "validation", "test")
    return {part: ensemble.encode(split_part(given, split, part)) for part in parts}


def all_queries(test: Latents) -> Iterator[tuple[str, tuple[str, ...], list[str]]]:
    """Each target and set of conditions, with the test patients that have them all."""
    for target in MODALITIES:
        others = [m for m in MODALITIES if m != target]
        sets = chain.from_iterable(combinations(others, n + 1) for n in range(len(others)))
        for conditions in sets:
            shared = set.intersection(*(set(test[m].index) for m in (target, *conditions)))
            yield target, conditions, sorted(shared)


def generators(latents: Mapping[str, Latents]) -> Iterator[tuple[str, LoadedEnsemble]]:
    """The methods that draw: the multi-condition model, and ensembles of growing knowledge."""
    inventory = discover()
    names = [p.manifest.name for p in inventory.experts]
    inside = {
        p.manifest.name: {ref.modality for ref in (*p.manifest.condition, p.manifest.target)}
        for p in inventory.experts
    }
    pairs = [n for n in names if not n.startswith("multi-") and inside[n] <= {*MODALITIES}]
    multis = [f"multi-to-{m}" for m in MODALITIES if f"multi-to-{m}" in names]

    def ensemble(experts: Sequence[str], **settings: Any) -> LoadedEnsemble:
        return load_ensemble(compose(inventory, experts=experts, **settings), inventory)

    def learned(model: LoadedEnsemble, composition: str) -> LoadedEnsemble:
        seed = {m: latents["validation"][m] for m in MODALITIES}
        return calibrate(model, seed, composition=composition)[0]  # type: ignore[arg-type]

    plain = ensemble(pairs, weighting="inverse-mse")
    yield "ensemble, inverse MSE (the paper)", plain
    yield "ensemble, precision gain (default)", ensemble(pairs)
    yield "ensemble, stacked mean", learned(plain, "mean")
    yield "ensemble, stacked product", learned(plain, "product")
    if multis:
        yield "multi-condition", ensemble(multis)
        both = ensemble([*pairs, *multis])
        yield "ensemble with multi-condition, stacked product", learned(both, "product")


def generated(
    model: LoadedEnsemble,
    test: Latents,
    target: str,
    conditions: tuple[str, ...],
    patients: list[str],
) -> Row | None:
    """Measures of one method; ``None`` where no expert fits."""
    seen = {m: test[m].loc[patients] for m in conditions}
    experts = model.experts_fitting(target, conditions)
    if not experts:
        return None
    started = time.monotonic()
    generation = replace(model, experts=tuple(experts)).generate(
        target, seen, patients, draws=FOR_COVERAGE
    )
    every, real = generation.draws, test[target].loc[patients].to_numpy()
    return (
        measured(target, conditions, patients)
        | measures(real, every, mirrored=generation.mirrored)
        | {
            "r2_mean": r2_pooled(real, every[:, :DRAWS].mean(axis=1)),
            "incoherent": float(generation.flagged.mean()),
            "seconds": time.monotonic() - started,
        }
    )


def regressed(
    name: str,
    baseline: Callable[[Latents, Sequence[Query], int], list[Any]],
    latents: Mapping[str, Latents],
    queries: Sequence[tuple[str, tuple[str, ...], list[str]]],
) -> list[Row]:
    """Measures of a point prediction; its energy score is its mean error."""
    test = latents["test"]
    asked = [Query(t, c, {m: test[m].loc[p] for m in c}, p) for t, c, p in queries]
    started = time.monotonic()
    answers = baseline({m: latents["train"][m] for m in MODALITIES}, asked, 0)
    seconds = (time.monotonic() - started) / len(asked)
    rows = []
    for (target, conditions, patients), values in zip(queries, answers, strict=True):
        real = test[target].loc[patients].to_numpy()
        rows.append(
            measured(target, conditions, patients)
            | measures(real, values[:, None])
            | {"method": name, "seconds": seconds}
        )
    return rows


def measured(target: str, conditions: tuple[str, ...], patients: list[str]) -> Row:
    return {"target": target, "conditions": list(conditions), "patients": len(patients)}


def read(results: Path) -> list[Row]:
    """Rows that were measured already."""
    if not results.exists():
        return []
    return [json.loads(line) for line in results.read_text().splitlines()]


COLUMNS = {
    "r2_mean": "R2 of the mean of 10 draws",
    "r2_draw": "R2 of single draws",
    "energy_score": "energy score",
    "energy_distance": "energy distance",
    "coverage": "90% interval",
}


def write(results: Path, document: Path) -> None:
    """Put the tables between the document's marks."""
    rows = pd.DataFrame(read(results))
    rows["from"] = ["+".join(c) for c in rows.conditions]
    parts = []
    for column, title in COLUMNS.items():
        parts.append(f"## {title[0].upper()}{title[1:]}\n")
        shown = rows.dropna(subset=[column])
        single = shown.method.str.startswith("expert from")
        higher = column.startswith("r2")
        shown = shown.assign(method=shown.method.mask(single, "best single expert"))
        table = shown.pivot_table(
            index=["target", "from", "patients"], columns="method", values=column, sort=False,
            aggfunc="max" if higher else "min",
        )  # fmt: skip
        if column == "coverage":
            table = table.drop(columns="best single expert", errors="ignore")
        best = table.idxmax(axis=1) if higher else table.idxmin(axis=1)
        heads = ["target", "from", "patients", *table.columns]
        parts.append("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
        for key, line in table.iterrows():
            cells = [
                "" if np.isnan(v) else f"**{v:.3f}**"
                if name == best[key] and column != "coverage" else f"{v:.3f}"
                for name, v in line.items()
            ]  # fmt: skip
            parts.append("| " + " | ".join([*map(str, key), *cells]) + " |")
        parts.append("")
    begin, end = "<!-- tables -->\n", "<!-- end of tables -->"
    text = document.read_text()
    head, tail = text[: text.index(begin) + len(begin)], text[text.index(end) :]
    document.write_text(head + "\n".join(parts) + tail)


if __name__ == "__main__":
    {"run": run, "write": write}[sys.argv[1]](*map(Path, sys.argv[2:]))
