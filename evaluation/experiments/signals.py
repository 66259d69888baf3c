"""Signals: whether forests trained on real patients read cancer type and stage from generated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.core.prioritisation.outcomes import TREES, agreement, features, fit, outcome
from codenoise.evaluation.experiment import (
    Claim,
    Experiment,
    Figure,
    Part,
    Row,
    Section,
    Table,
)
from codenoise.evaluation.plotting import colour, figure
from codenoise.evaluation.statistics import compare
from codenoise.evaluation.study import (
    BASELINE,
    COHERENT,
    MULTI,
    PUBLISHED,
    SINGLE,
    Float32,
    Method,
    Study,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

TASKS = {"cancer_type": "cancer type", "stage": "stage"}
REAL, WHOLE = "real", "all"
DRAW, MEAN = "draw", "mean"
METHODS = (COHERENT, PUBLISHED, MULTI, SINGLE, BASELINE)
MEASURES = {"macro_f1": "macro-F1", "balanced_accuracy": "balanced accuracy"}
DRAWS = 10
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
    tasks = [task for task in TASKS if (known["task"] == task).any()]
    claims = [claim for task in tasks for claim in _claims(known[known["task"] == task], task)]
    said = [_summary(known[known["task"] == task], task) for task in tasks]
    tables = [
        _table(known[known["task"] == task], task, measure)
        for task in tasks
        for measure in MEASURES
    ]
    return Section(
        verdict=" ".join(text for text in said if text) or "Nothing could be measured.",
        claims=claims,
        tables=tables,
        figures=[_figure(known, tasks, value) for value in (DRAW, MEAN) if tasks],
        notes=_notes(frame),
    )


def _shown(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Real values and generated ones of a kind; a point prediction compares with means alone."""
    return rows[(rows["value"] == value) | (rows["method"] == REAL)]


def _order(rows: pd.DataFrame) -> list[str]:
    there = set(rows["method"])
    return [name for name in (REAL, *METHODS) if name in there]


def _summary(rows: pd.DataFrame, task: str) -> str:
    kinds = {DRAW: "one draw", MEAN: "the mean of ten draws"}
    means = {v: _shown(rows, v).groupby("method")["macro_f1"].mean() for v in kinds}
    if REAL not in means[DRAW] or not any(COHERENT in found for found in means.values()):
        return ""
    real = means[DRAW][REAL]
    said = [f"Forests taught {TASKS[task]} on real patients reach a macro-F1 of {real:.3f} on real"]
    for value, label in kinds.items():
        if COHERENT not in means[value]:
            continue
        ours, others = means[value][COHERENT], means[value].drop([REAL, COHERENT])
        text = f"{ours:.3f} on {label} of the {COHERENT}"
        if len(others):
            best = str(others.idxmax())
            text += f" (best of the other methods: {best}, {others[best]:.3f}, "
            text += f"{_against(others[best] - ours)})"
        said.append(text)
    accuracy = rows.loc[rows["method"] == REAL, "balanced_accuracy"].mean()
    chance = 1 / float(rows["classes"].max())
    return (
        f"{', '.join(said)}. On real values the balanced accuracy is {accuracy:.3f} where guessing "
        f"among the classes that occur gives {chance:.3f}."
    )


def _against(difference: float) -> str:
    if abs(difference) < 0.0005:
        return "level"
    return f"{abs(difference):.3f} {'higher' if difference > 0 else 'lower'}"


def _claims(rows: pd.DataFrame, task: str) -> Iterator[Claim]:
    for value, label in ((DRAW, "one draw"), (MEAN, f"mean of {DRAWS} draws")):
        shown = _shown(rows, value)
        names = _order(shown)
        if COHERENT not in names or len(names) < 2:
            continue
        means = shown.groupby("method")["macro_f1"].mean()
        found = compare(shown, value="macro_f1", method="method", subject=["run", "modality"])
        pairs = [
            found.between(COHERENT, other)
            for other in (REAL, MULTI, BASELINE)
            if other in names and len(found.pairs)
        ]
        yield Claim(
            text=f"Macro-F1 of {TASKS[task]}, {label}, mean over modalities and runs: "
            + ", ".join(f"{name} {means[name]:.3f}" for name in names) + ".",
            test="; ".join([found.overall, *pairs])
            + ". Subjects are runs x modalities; runs have the same patients, so that p is too "
            "small for a claim about other patients.",
        )  # fmt: skip


def _spread(values: pd.Series[Any]) -> str:
    sd = f" ± {values.std():.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{sd}" if len(values) else "-"


def _table(rows: pd.DataFrame, task: str, measure: str) -> Table:
    cells: list[dict[str, Any]] = []
    for modality in rows["modality"].unique():
        own = rows[rows["modality"] == modality]
        row: dict[str, Any] = {"modality": modality}
        for name in _order(rows):
            values = own[own["method"] == name]
            kinds = [kind for kind in (DRAW, MEAN) if (values["value"] == kind).any()]
            for kind in kinds if len(kinds) > 1 else [None]:
                head = name if kind is None else f"{name}, {kind}"
                chosen = values if kind is None else values[values["value"] == kind]
                row[head] = _spread(chosen[measure])
        cells.append({**row, "trained on": int(own["trained"].max())})
    first = rows.iloc[0]
    return Table(
        f"{MEASURES[measure][0].upper()}{MEASURES[measure][1:]} of {TASKS[task]}, mean ± sd over "
        f"{rows['run'].nunique()} runs; {int(rows['patients'].max())} test patients, "
        f"{int(first['classes'])} classes",
        pd.DataFrame(cells).fillna("-"),
        note="draw: one draw per patient, as in the paper; mean: mean of ten draws, the completed "
        "value. In row 'all', every modality is generated from the others.",
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
    drawing, axes = figure(len(tasks), 1, height=2.6 * len(tasks) + 0.4)
    for axis, task in zip(axes, tasks, strict=True):
        rows = _shown(known[known["task"] == task], value)
        modalities, names = list(rows["modality"].unique()), _order(rows)
        width = 0.8 / len(names)
        for i, name in enumerate(names):
            grouped = rows[rows["method"] == name].groupby("modality")["macro_f1"]
            means, sds = grouped.mean().reindex(modalities), grouped.std().reindex(modalities)
            places = np.arange(len(modalities)) + (i - (len(names) - 1) / 2) * width
            axis.bar(
                places, means, width, yerr=sds.fillna(0), label=name, color=colour(name, i),
                error_kw={"linewidth": 0.8},
            )  # fmt: skip
        axis.set_xticks(range(len(modalities)), modalities)
        axis.set_ylabel("macro-F1", fontsize=8)
        axis.set_title(TASKS[task], fontsize=9, loc="left")
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=3,
                   fontsize=8, frameon=False)  # fmt: skip
    return drawing


def _notes(frame: pd.DataFrame) -> list[str]:
    notes = [
        "Macro-F1 and balanced accuracy are averaged over the classes that occur among the test "
        "patients; forests are taught all classes of the training patients.",
        "Where a modality was standardised within each cancer type's cohort, as RNA of the TCGA "
        "data here was, the position of a gene's floor after scaling still tells the cohort. "
        "Reading the cancer type from it is partly an artefact of scaling, so that its accuracy is "
        "no measure of how realistic generated values are.",
        "The mean of draws lies closer to the centre of a class than any real patient. It may be "
        "easier to classify than real values are, which is no sign of realism either.",
    ]
    trees = frame["trees"].dropna().unique()
    if len(trees):
        notes.append(f"Forests have {' or '.join(str(int(n)) for n in sorted(trees))} trees.")
    for task, rows in frame.groupby("task"):
        unknown = rows["unknown"].max()
        if unknown > 0:
            notes.append(
                f"{int(unknown)} complete test patients without a known {TASKS[str(task)]} were "
                f"left out."
            )
    for reason, rows in frame.dropna(subset=["reason"]).groupby("reason"):
        methods = ", ".join(sorted(set(rows["method"])))
        notes.append(f"Not measured for {methods}: {reason}.")
    return notes


EXPERIMENT = Experiment(
    name="signals",
    title="Signals in generated values",
    question="Can cancer type and stage be read from generated values as from real ones?",
    paper="Fig 2, S3, S6",
    parts=parts,
    section=section,
)
