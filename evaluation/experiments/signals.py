"""Signals: whether forests trained on real patients read cancer type and stage from generated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.core.prioritisation.outcomes import TREES, agreement, features, fit, outcome
from codenoise.evaluation.experiment import (
    Claim,
    Experiment,
    Figure,
    Part,
    ReportTable,
    Row,
    Section,
)
from codenoise.evaluation.plotting import grouped, legend, panels
from codenoise.evaluation.reading import (
    against,
    capital,
    not_measured,
    notes,
    over,
    present,
    spread,
)
from codenoise.evaluation.study import METHODS, Float32, Method, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

TASKS = {"cancer_type": "cancer type", "stage": "stage"}
REAL, WHOLE = "real", "all"
DRAW, MEAN = "draw", "mean"
ORDER = (REAL, *METHODS)
MEASURES = {"macro_f1": "macro-F1", "balanced_accuracy": "balanced accuracy"}
DRAWS = 10
KINDS = {DRAW: "one draw", MEAN: f"mean of {DRAWS} draws"}
QUICK_TREES = 100
COLUMNS = (
    "run", "seed", "task", "modality", "method", "value", "macro_f1", "balanced_accuracy",
    "patients", "classes", "trained", "unknown", "trees", "reason",
)  # fmt: skip


def parts(study: Study) -> list[Part]:
    """One part per run; see `EXPERIMENT`.

    Raises
    ------
    DataError
        If the clinical table lacks the cancer type or the stage, or no test patient is complete.
    """
    for task in TASKS:
        outcome(study.clinical, task, [])
    if not study.complete("test"):
        raise DataError(
            f"no test patient has all of {', '.join(study.modalities)}; signals compares real "
            f"with generated values of the same patients, so give a cohort with complete ones"
        )
    return [
        Part(f"run {run}", partial(_measured, study, run, seed))
        for run, seed in enumerate(study.seeds())
    ]


def _measured(study: Study, run: int, seed: int) -> list[Row]:
    patients = study.complete("test")
    made = {name: _generated(study, m, patients, seed) for name, m in study.methods.items()}
    rows: list[Row] = []
    for task in TASKS:
        for modality in (*study.modalities, WHOLE):
            own: Row = {"run": run, "seed": seed, "task": task, "modality": modality}
            rows += [{**own, **row} for row in _tested(study, task, modality, patients, made, seed)]
    return rows


def _generated(
    study: Study, method: Method, patients: Sequence[str], seed: int
) -> dict[str, Float32]:
    """Draws of each modality from all others, of those that the method can generate."""
    made: dict[str, Float32] = {}
    for target in study.modalities:
        others = [m for m in study.modalities if m != target]
        if others and method.serves(target, others):
            made |= study.filled(
                method, study.latents["test"], patients, [target], draws=DRAWS, seed=seed
            )
    return made


def _tested(
    study: Study,
    task: str,
    modality: str,
    patients: Sequence[str],
    made: dict[str, dict[str, Float32]],
    seed: int,
) -> Iterator[Row]:
    """Fit one forest on real training patients; test it on real and on all generated values."""
    used = study.modalities if modality == WHOLE else (modality,)
    taught, y = outcome(study.clinical, task, study.complete("train", used))
    known, truth = outcome(study.clinical, task, patients)
    trees = QUICK_TREES if study.quick else TREES
    about: Row = {
        "patients": len(known),
        "classes": len(set(truth)),
        "trained": len(taught),
        "unknown": len(patients) - len(known),
        "trees": trees,
    }
    real, train = study.latents["test"], study.latents["train"]
    held = pd.Index(patients).get_indexer(pd.Index(known))
    tables = [(REAL, REAL, features(real, known, used))]
    for name, values in made.items():
        lacking = [m for m in used if m not in values]
        if lacking:
            reason = f"no expert generates {', '.join(lacking)} from the others"
            yield {**about, "method": name, "value": MEAN, **_unknown(reason)}
            continue
        kinds = {MEAN: {m: values[m][held].mean(axis=1) for m in used}}
        if not study.methods[name].point:
            kinds[DRAW] = {m: values[m][held, 0] for m in used}
        tables += [(name, kind, features(real, known, used, kinds[kind])) for kind in kinds]
    if not known or len(set(y)) < 2:
        reason = f"{len(known)} test patients and {len(set(y))} training classes of known outcome"
        for name, kind, _ in tables:
            yield {**about, "method": name, "value": kind, **_unknown(reason)}
        return
    model = fit(task, features(train, taught, used), y, seed, trees)
    # One call for all tables: most of a forest's time is spent on starting its trees.
    predicted = np.split(model.predict(np.vstack([x for *_, x in tables])), len(tables))
    for (name, kind, _), guess in zip(tables, predicted, strict=True):
        yield {**about, "method": name, "value": kind, **agreement(truth, guess)}


def _unknown(reason: str) -> Row:
    return {**dict.fromkeys(MEASURES, float("nan")), "reason": reason}


def section(frame: pd.DataFrame) -> Section:
    """Read the table of all rows."""
    frame = frame.reindex(columns=list(COLUMNS))
    known = frame[frame["macro_f1"].notna()]
    by_task = {task: rows for task in TASKS if len(rows := known[known["task"] == task])}
    return Section(
        claims=[claim for task, rows in by_task.items() for claim in _claims(rows, TASKS[task])],
        tables=[
            _table(rows, task, measure) for task, rows in by_task.items() for measure in MEASURES
        ],
        figures=[_figure(known, list(by_task), value) for value in KINDS if by_task],
        notes=_notes(frame),
    )


def _shown(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Real values and generated ones of a kind; a point prediction compares with means alone."""
    return rows[(rows["value"] == value) | (rows["method"] == REAL)]


def _claims(rows: pd.DataFrame, called: str) -> Iterator[Claim]:
    real = rows[rows["method"] == REAL]
    compared = [
        claim
        for value, kind in KINDS.items()
        for claim in against(
            _shown(rows, value), "macro_f1", ["run", "modality"], f"Macro-F1 of {called}, {kind}",
            things="runs x modalities of the same patients", order=ORDER, headline=True,
        )
    ]  # fmt: skip
    if compared and len(real):
        yield Claim(
            f"Forests taught {called} on real patients reach a macro-F1 of "
            f"{real['macro_f1'].mean():.3f} and a balanced accuracy of "
            f"{real['balanced_accuracy'].mean():.3f} on real values, where guessing among the "
            f"classes that occur gives {1 / rows['classes'].max():.3f}.",
            f"macro-F1, {over(real.groupby('run')['macro_f1'].mean(), 'runs', '.3f')}",
            headline=True,
        )
    yield from compared


def _table(rows: pd.DataFrame, task: str, measure: str) -> ReportTable:
    drawn = rows["method"].where(
        (rows["method"] == REAL) | ~rows["method"].isin(rows.loc[rows["value"] == DRAW, "method"]),
        rows["method"] + ", " + rows["value"],
    )
    order = [f"{name}{kind}" for name in ORDER for kind in ("", f", {DRAW}", f", {MEAN}")]
    cells = spread(rows.assign(method=drawn), ["modality"], measure, order=order)
    cells["trained on"] = cells["modality"].map(rows.groupby("modality")["trained"].max())
    return ReportTable(
        f"{capital(MEASURES[measure])} of {TASKS[task]}, mean ± sd over {rows['run'].nunique()} "
        f"runs; {int(rows['patients'].max())} test patients, {int(rows['classes'].max())} classes",
        cells.astype({"trained on": int}),
    )


def _figure(known: pd.DataFrame, tasks: Sequence[str], value: str) -> Figure:
    names = ", ".join(TASKS[task] for task in tasks)
    what = "one draw" if value == DRAW else "mean of ten draws, and point predictions"
    return Figure(
        f"signals-{value}",
        f"Macro-F1 of {names}, by modality: forests taught on real training patients, tested on "
        f"real and on generated values ({what}) of the same test patients. Bars: mean over "
        f"{known['run'].nunique()} runs; lines: standard deviation.",
        f"Grouped bars of macro-F1 for {names}; one group a modality, one bar a method.",
        partial(_drawn, known, tasks, value),
    )


def _drawn(known: pd.DataFrame, tasks: Sequence[str], value: str) -> Drawing:
    drawing, axes = panels(len(tasks), 1, each=2.6, extra=0.4)
    for axis, task in zip(axes, tasks, strict=True):
        rows = _shown(known[known["task"] == task], value)
        grouped(axis, rows, "modality", "macro_f1", present(rows, ORDER), dots=False)
        axis.set_ylabel("macro-F1", fontsize=8)
        axis.set_title(TASKS[task], fontsize=9, loc="left")
    legend(drawing, axes[0], frameon=False)
    return drawing


def _notes(frame: pd.DataFrame) -> list[str]:
    trees = " or ".join(f"{n:.0f}" for n in sorted(frame["trees"].dropna().unique()))
    unknown = frame.groupby("task")["unknown"].max()
    return [
        *notes("signals", trees=trees),
        *(
            f"{count:.0f} complete test patients without a known {TASKS[str(task)]} were left out."
            for task, count in unknown[unknown > 0].items()
        ),
        *not_measured(frame, "method"),
    ]


EXPERIMENT = Experiment(
    name="signals",
    title="Signals in generated values",
    question="Can cancer type and stage be read from generated values as from real ones?",
    paper="Fig 2, S3, S6",
    parts=parts,
    section=section,
)
