"""Prioritisation (the paper, Fig 4, S5): whether testing the least certain first pays off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.prioritisation import outcomes
from codenoise.core.prioritisation.counterfactual import (
    drawn_table,
    predictions,
    variance_score,
    with_draws,
)
from codenoise.evaluation.experiment import Experiment, Part, Row
from codenoise.evaluation.experiments.acquisition import (
    FRACTIONS,
    Acquisition,
    area,
    curves,
    random_orders,
    resampled_areas,
)
from codenoise.evaluation.experiments.prioritisation_reading import DRAW, MEAN, section
from codenoise.evaluation.study import COHERENT, MULTI, PUBLISHED, Study

TASKS = ("stage", "survival")
METHODS = (COHERENT, PUBLISHED, MULTI)
# What the paper takes away for stage and for survival; every single modality beside them.
TOGETHER = (("rna", "wsi"), ("rna", "rppa", "wsi"))
DRAWS = 10
ORDERS = 20
RESAMPLES, QUICK_RESAMPLES = 200, 50
BOOTSTRAP_ORDERS = 5  # of each resample: random orders average out over resamples and runs
FEWEST = 20  # test patients

Draws = Callable[[str, tuple[str, ...], int], dict[str, NDArray[np.float32]]]
Forest = Callable[[str, int], tuple[Any, int]]


def patterns(study: Study) -> list[tuple[str, ...]]:
    """Sets of modalities taken away: each alone, and those of the paper that leave something."""
    known = study.modalities
    several = [p for p in TOGETHER if set(p) < set(known)]
    singles = [(m,) for m in known] if len(known) > 1 else []
    return [*singles[:1], *several[-1:]] if study.quick else [*singles, *several]


def parts(study: Study) -> list[Part]:
    """One part per set of missing modalities and task, over all runs.

    All runs together, for the interval of an area is over the patients that they share.

    Raises
    ------
    DataError
        If no training or too few test patients have all modalities, or the clinical table has the
        columns of no task.
    """
    complete = {part: study.complete(part) for part in ("train", "test")}
    named = ", ".join(study.modalities)
    if not complete["train"] or len(complete["test"]) < FEWEST or not patterns(study):
        raise DataError(
            f"prioritisation takes modalities from patients that have all of {named}; there are "
            f"{len(complete['train'])} such patients in training and {len(complete['test'])} in "
            f"test, and {FEWEST} are needed there: study fewer modalities, or split otherwise"
        )
    tasks = [t for t in TASKS if all(c in study.clinical for c in outcomes.COLUMNS[t])]
    if not tasks:
        outcomes.outcome(study.clinical, TASKS[0], complete["test"])  # says what is missing

    @cache
    def drawn(method: str, missing: tuple[str, ...], seed: int) -> dict[str, NDArray[np.float32]]:
        latents = study.latents["test"]
        return study.filled(
            study.methods[method], latents, complete["test"], missing, draws=DRAWS, seed=seed
        )

    @cache
    def forest(task: str, seed: int) -> tuple[Any, int]:
        known, y = outcomes.outcome(study.clinical, task, complete["train"])
        x = outcomes.features(study.latents["train"], known, study.modalities)
        return outcomes.fit(task, x, y, seed), len(known)

    return [
        Part(
            f"{'+'.join(missing)} missing, {task}",
            partial(_measure, study, complete["test"], missing, task, drawn, forest),
        )
        for missing in patterns(study)
        for task in tasks
    ]


def _measure(
    study: Study,
    patients: Sequence[str],
    missing: tuple[str, ...],
    task: str,
    drawn: Draws,
    forest: Forest,
) -> list[Row]:
    known, y = outcomes.outcome(study.clinical, task, patients)
    about: Row = {
        "task": task,
        "missing": "+".join(missing),
        "measure": "C-index" if task == "survival" else "macro-F1",
        "patients": len(known),
        "without_outcome": len(patients) - len(known),
    }
    reason = _too_little(task, y)
    if reason:
        return [about | {"kind": "area", "value": np.nan, "reason": reason}]
    left = [m for m in study.modalities if m not in missing]
    rows: list[Row] = []
    resampled: dict[tuple[str, str], NDArray[np.float64]] = {}
    for name in METHODS:
        if name not in study.methods:
            continue
        if not all(study.methods[name].serves(target, left) for target in missing):
            reason = f"no expert generates this from {'+'.join(left)}"
            rows.append(about | {"kind": "area", "method": name, "value": np.nan, "reason": reason})
            continue
        runs: dict[str, list[Acquisition]] = {}
        for run, seed in enumerate(study.seeds()):
            model, trained = forest(task, seed)
            draws = drawn(name, missing, seed)
            found, association = _acquisition(
                study, model, (known, y), dict(zip(missing, draws.values(), strict=True)), patients,
                mirrored=study.methods[name].mirrored,
            )  # fmt: skip
            one = about | {"run": run, "seed": seed, "method": name, "trained": trained}
            for filled, known_of in found.items():
                runs.setdefault(filled, []).append(known_of)
                rows += _run_rows(one | {"filled": filled}, known_of, seed, association[filled])
        count = QUICK_RESAMPLES if study.quick else RESAMPLES
        for filled, repeated in runs.items():
            areas = resampled_areas(repeated, count, BOOTSTRAP_ORDERS, study.seed)
            resampled[name, filled] = areas
            one = about | {"method": name, "filled": filled, "kind": "interval"}
            rows.append(one | _interval(areas))
    for (name, filled), areas in resampled.items():
        if name != COHERENT and (COHERENT, filled) in resampled:
            one = about | {"method": COHERENT, "other": name, "filled": filled}
            difference = resampled[COHERENT, filled] - areas
            rows.append(one | {"kind": "difference"} | _interval(difference))
    return rows


def _too_little(task: str, y: NDArray[Any]) -> str:
    """Why nothing can be measured on these outcomes; empty where it can."""
    if len(y) < FEWEST:
        return f"{len(y)} test patients of known {task}; {FEWEST} are needed"
    if task == "survival" and not y["event"].any():
        return f"none of {len(y)} test patients died"
    if task != "survival" and len(np.unique(y)) < 2:
        return f"{len(y)} test patients are all of one {task}"
    return ""


def _acquisition(
    study: Study,
    model: Any,
    outcome: tuple[list[str], NDArray[Any]],
    draws: dict[str, NDArray[np.float32]],
    patients: Sequence[str],
    *,
    mirrored: bool,
) -> tuple[dict[str, Acquisition], dict[str, float]]:
    """Predictions before and after measuring, and how well the score foretells their difference.

    Both by what the patients are filled with before: the mean of their draws, or one draw. The
    latter is Spearman's correlation over patients of the score with the change of what is predicted
    (mean absolute change of class probabilities, or of the risk).
    """
    from scipy.stats import spearmanr

    known, y = outcome
    latents = study.latents["test"]
    taken = {m: latents[m].iloc[:0] if m in draws else latents[m] for m in study.modalities}
    tables = {m: drawn_table(values, patients) for m, values in draws.items()}
    means = {m: drawn_table(v.mean(axis=1, keepdims=True), patients) for m, v in draws.items()}
    real = {m: latents[m] for m in study.modalities}
    spread = predictions(model, with_draws(taken, tables, known, DRAWS))
    by_mean = predictions(model, with_draws(taken, means, known, 1))[:, 0]
    after = predictions(model, with_draws(real, {}, known, 1))[:, 0]
    score = variance_score(spread, mirrored=mirrored)
    found, associations = {}, {}
    for filled, before in ((MEAN, by_mean), (DRAW, spread[:, 0])):
        change = np.abs(after - before).mean(axis=1)
        constant = np.ptp(score) == 0 or np.ptp(change) == 0
        associations[filled] = np.nan if constant else float(spearmanr(score, change).statistic)
        found[filled] = _acquisition_of(model, y, before, after, score)
    return found, associations


def _acquisition_of(
    model: Any,
    y: NDArray[Any],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    score: NDArray[np.float64],
) -> Acquisition:
    if not hasattr(model, "classes_"):
        return Acquisition(y, before[:, 0], after[:, 0], score)
    # As numbers: comparing text thousands of times takes most of the time.
    classes = np.union1d(model.classes_, y)
    truth, kinds = np.searchsorted(classes, y), np.searchsorted(classes, model.classes_)
    labels = (kinds[before.argmax(axis=1)], kinds[after.argmax(axis=1)])
    return Acquisition(truth, *labels, score)


def _run_rows(about: Row, found: Acquisition, seed: int, association: float) -> list[Row]:
    orders = random_orders(len(found.score), ORDERS, seed)
    informed, random = curves(found, orders)
    # A risk nearly always changes; whether a label does is worth knowing.
    labels = found.outcome.dtype.names is None
    changed = float(np.mean(found.completed != found.real)) if labels else np.nan
    rows = [
        about | {"kind": "curve", "order": order, "fraction": float(f), "value": float(v)}
        for order, curve in (("informed", informed), ("random", random))
        for f, v in zip(FRACTIONS, curve, strict=True)
    ]
    return [
        *rows,
        about
        | {
            "kind": "area",
            "value": area(informed, random),
            "completed": float(informed[0]),
            "real": float(informed[-1]),
            "changed": changed,
            "association": association,
        },
    ]


def _interval(resampled: NDArray[np.float64]) -> Row:
    """Percentiles of bootstrap samples; the value itself is the mean of the runs' areas."""
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return {"low": float(low), "high": float(high)}


EXPERIMENT = Experiment(
    name="prioritisation",
    title="Whom to test next",
    question=(
        "If not every patient can be tested, does testing first those whose prediction varies most "
        "over the generated versions improve predictions sooner than testing in random order?"
    ),
    paper="Fig 4, S5",
    parts=parts,
    section=section,
)
