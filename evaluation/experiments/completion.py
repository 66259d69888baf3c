"""Completion: what generated modalities give back to models of stage and survival."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.prioritisation.outcomes import (
    TREES,
    Measures,
    agreement,
    concordance,
    features,
    fit,
    outcome,
)
from codenoise.evaluation.experiment import Experiment, Part, Row
from codenoise.evaluation.experiments.completion_reading import (
    ABLATED,
    DRAW,
    FULL,
    LABEL_ONLY,
    MEAN,
    TASKS,
    section,
)
from codenoise.evaluation.study import BASELINE, COHERENT, MULTI, Float32, Method, Study, subsets

DRAWS = 10
QUICK_TREES = 100
SECOND = (COHERENT, MULTI, BASELINE)
KEPT = 0.8  # of the training patients, anew in each run


@dataclass(frozen=True)
class Variant:
    """One table that the forests are asked about; columns as in the rows."""

    missing: tuple[str, ...]
    method: str
    value: str
    completed: dict[str, Float32]


def cohorts(study: Study) -> list[tuple[str, ...]]:
    """The modalities of each cohort studied.

    All modalities; and, where that has more complete test patients, all but the one that most lack.
    """
    whole = study.modalities
    fewer = [tuple(m for m in whole if m != left) for left in whole]
    counts = {chosen: len(study.complete("test", chosen)) for chosen in fewer if len(chosen) > 1}
    widest = max(counts, key=lambda chosen: counts[chosen], default=whole)
    found = [whole] if study.complete("test") else []
    return found + ([widest] if counts.get(widest, 0) > len(study.complete("test")) else [])


def parts(study: Study) -> list[Part]:
    """One part per run and cohort; see `EXPERIMENT`.

    Raises
    ------
    DataError
        If the clinical table lacks stage, survival or cancer type, or no test patient is complete.
    """
    for task in (*TASKS, "cancer_type"):
        outcome(study.clinical, task, [])
    chosen = cohorts(study)
    if not chosen:
        raise DataError(
            f"no test patient has all of {', '.join(study.modalities)}, nor all but one; "
            f"completion takes modalities away from complete patients, so give a cohort with some"
        )
    return [
        Part(f"{'+'.join(names)}, run {run}", partial(_measured, study, names, run, seed))
        for run, seed in enumerate(study.seeds())
        for names in chosen
    ]


def _measured(study: Study, names: tuple[str, ...], run: int, seed: int) -> list[Row]:
    patients = study.complete("test", names)
    variants, refused = _variants(study, names, patients, seed)
    about: Row = {"run": run, "seed": seed, "cohort": "+".join(names)}
    rows: list[Row] = []
    for task in TASKS:
        found = [*_judged(study, task, names, patients, variants, seed)]
        lost = [{**row, "task": task} for row in refused]
        rows += [{**about, **row} for row in (*found, *lost)]
    return rows


def _variants(
    study: Study, names: tuple[str, ...], patients: Sequence[str], seed: int
) -> tuple[list[Variant], list[Row]]:
    """Full, ablated and completed tables of every pattern, and rows of what cannot be completed."""
    latents = study.latents["test"]
    dims = {m: latents[m].shape[1] for m in names}
    methods = study.methods
    if names != study.modalities:  # the second look, at what it takes to tell the main ones apart
        methods = {name: m for name, m in methods.items() if name in SECOND}
    variants, refused = [Variant((), FULL, "", {})], list[Row]()
    for missing in subsets(names, proper=True):
        nothing = {m: np.full((len(patients), dims[m]), np.nan, np.float32) for m in missing}
        variants.append(Variant(missing, ABLATED, "", nothing))
        for name, method in methods.items():
            made = _generated(study, method, names, missing, patients, seed)
            if made is None:
                reason = "no expert generates what is missing from what is left"
                named: Row = {"missing": "+".join(missing), "method": name, "value": MEAN}
                refused.append({**named, "size": len(missing), "reason": reason})
                continue
            means = {m: draws.mean(axis=1) for m, draws in made.items()}
            variants.append(Variant(missing, name, MEAN, means))
            if not method.point:
                first = {m: draws[:, 0] for m, draws in made.items()}
                variants.append(Variant(missing, name, DRAW, first))
    return variants, refused


def _generated(
    study: Study,
    method: Method,
    names: Sequence[str],
    missing: Sequence[str],
    patients: Sequence[str],
    seed: int,
) -> dict[str, Float32] | None:
    """Draws of what is missing, from the cohort's other modalities and nothing else."""
    left = [m for m in names if m not in missing]
    if not all(method.serves(target, left) for target in missing):
        return None
    shown = {m: study.latents["test"][m].loc[list(patients)] for m in left}
    return {m: method.generate(m, shown, patients, DRAWS, seed) for m in missing}


def _judged(
    study: Study,
    task: str,
    names: tuple[str, ...],
    patients: Sequence[str],
    variants: Sequence[Variant],
    seed: int,
) -> Iterator[Row]:
    taught, y = outcome(study.clinical, task, study.complete("train", names))
    known, truth = outcome(study.clinical, task, patients)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(taught), round(KEPT * len(taught)), replace=False))
    taught, y = [taught[i] for i in chosen], y[chosen]
    trees = QUICK_TREES if study.quick else TREES
    about: Row = {
        "task": task,
        "patients": len(known),
        "trained": len(taught),
        "unknown": len(patients) - len(known),
        "trees": trees,
    }
    types = _types(study, known) if task == "survival" else None
    held = pd.Index(patients).get_indexer(pd.Index(known))
    reason = _unfit(task, y, len(known))
    if reason:
        yield {**about, "missing": "", "size": 0, "method": FULL, "value": "", "reason": reason}
        return
    model = fit(task, features(study.latents["train"], taught, names), y, seed, trees)
    real = study.latents["test"]
    tables = [
        features(real, known, names, {m: made[held] for m, made in one.completed.items()})
        for one in variants
    ]
    # One call for all tables: most of a forest's time is spent on starting its trees.
    predicted = np.split(model.predict(np.vstack(tables)), len(tables))
    for one, guess in zip(variants, predicted, strict=True):
        yield {
            **about,
            "missing": "+".join(one.missing),
            "size": len(one.missing),
            "method": one.method,
            "value": one.value,
            **_measures(truth, guess, types),
        }
    guess = _label_only(task, y, len(known), seed)
    own: Row = {"missing": "", "size": len(names), "method": LABEL_ONLY, "value": ""}
    yield {**about, **own, **_measures(truth, guess, types)}


def _unfit(task: str, y: NDArray[Any], tested: int) -> str:
    """Why no forest can be taught or tested; empty where it can."""
    if not tested:
        return "no test patient of known outcome"
    if task == "survival":
        return "" if y["event"].any() else f"no death among {len(y)} training patients"
    return "" if len(np.unique(y)) > 1 else f"one class among {len(y)} training patients"


def _types(study: Study, patients: Sequence[str]) -> NDArray[Any]:
    """Cancer types; a patient of unknown type is in a group of its own and so never compared."""
    column = study.clinical["cancer_type"].reindex(list(patients))
    own = [f"unknown {i}" for i in range(len(patients))]
    return np.where(column.isna(), own, column.astype(str))


def _label_only(task: str, y: NDArray[Any], tested: int, seed: int) -> NDArray[Any]:
    """What can be said knowing the training outcomes alone: a label at random, one risk for all."""
    if task == "survival":
        return np.full(tested, float(y["event"].mean()))
    from sklearn.dummy import DummyClassifier

    guess = DummyClassifier(strategy="stratified", random_state=seed)
    return np.asarray(guess.fit(np.zeros((len(y), 1)), y).predict(np.zeros((tested, 1))))


def _measures(truth: NDArray[Any], guess: NDArray[Any], types: NDArray[Any] | None) -> Measures:
    if types is None:
        return agreement(truth, guess)
    within = concordance(truth, guess, types)
    return {
        **concordance(truth, guess),
        "c_index_within": within["c_index"],
        "pairs_within": within["pairs"],
        "reason_within": within["reason"],
        "deaths": int(truth["event"].sum()),
    }


EXPERIMENT = Experiment(
    name="completion",
    title="Completing patients for stage and survival models",
    question="How much of what missing modalities cost a model does completing them give back?",
    paper="Fig 3, Table 2, S4, S6",
    parts=parts,
    section=section,
)
