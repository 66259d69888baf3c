"""A whole evaluation: what it starts from, its experiments, its report."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any, Unpack

import pandas as pd
import torch

from codenoise.core.base.errors import AbsentError, DataError, first_few
from codenoise.core.cohort.cohort import read_clinical
from codenoise.core.cohort.given import Given, MuDataLike
from codenoise.core.cohort.options import ReadOptions
from codenoise.core.cohort.splits import split_of
from codenoise.core.ensemble.ensemble import LoadedEnsemble, Progress
from codenoise.evaluation.experiments import EXPERIMENTS, experiment
from codenoise.evaluation.report import Chapter, read_chapters, write_report
from codenoise.evaluation.running import leave_out, open_results, run_experiment
from codenoise.evaluation.study import Study, studied

RUNS, QUICK_RUNS = 10, 2


@dataclass(frozen=True)
class Evaluation:
    """Experiments that were made.

    Attributes
    ----------
    report
        The page, beside its figures and results.
    chapters
        Those made, with verdict, claims and tables in their ``section``.
    left_out
        Those that could not be made, and why.
    """

    report: Path
    chapters: tuple[Chapter, ...]
    left_out: Mapping[str, str]


def evaluate(
    ensemble: LoadedEnsemble,
    cohort: Given | MuDataLike,
    split: pd.Series[str] | Path | str,
    experiments: Sequence[str] = tuple(EXPERIMENTS),
    *,
    output: Path | str,
    clinical: pd.DataFrame | Path | str | None = None,
    modalities: Sequence[str] = (),
    runs: int | None = None,
    seed: int = 0,
    quick: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Run the paper's experiments on the held-out patients of a cohort and write a report.

    Parameters
    ----------
    ensemble
        What is studied.
    cohort
        In any form that `Ensemble.read` takes.
    split
        Patient to ``train``, ``validation`` or ``test``, or a CSV of it: simple methods learn from
        the training patients, test patients are measured.
    experiments
        Their names; all by default. One alone that cannot be made is an error, one of several is
        left out.
    output
        Folder of results, figures and report; a run that was interrupted goes on there.
    clinical
        ``cancer_type``, ``stage``, ``os_days`` and ``os_event``, or where they stand; by default
        those of the cohort's folder, if any.
    modalities
        Those studied; by default see `studied`.
    runs
        Repetitions, each with a seed of its own; by default 10, quick 2.
    seed
        Of the first run.
    quick
        Whether to measure a part of everything, in some minutes.
    overwrite
        Whether earlier results in the folder are deleted.
    progress
        Called with a label, work done and in all.

    Raises
    ------
    DataError
        If the cohort, the split or the clinical table do not fit, or no experiment can be made.

    Examples
    --------
    >>> evaluate(ensemble, "tcga", "split.csv", ["rejection"], output="eval")  # doctest: +SKIP
    """
    repeated = runs or (QUICK_RUNS if quick else RUNS)
    about, study = open_study(
        ensemble, cohort, split,
        clinical=clinical, modalities=modalities, runs=repeated, seed=seed, quick=quick,
    )  # fmt: skip
    return run_study(about, study, experiments, Path(output), overwrite, progress)


def run_study(
    about: Mapping[str, Any],
    study: Study,
    names: Sequence[str],
    output: Path,
    overwrite: bool = False,
    progress: Progress | None = None,
    missed: Callable[[str, DataError], None] | None = None,
) -> Evaluation:
    """Make experiments of a study that is open; ``missed`` is told of those left out, and why."""
    open_results(output, about, overwrite=overwrite)
    made, left = [], {}
    for number, name in enumerate(names):
        if len(names) > 1 and progress is not None:
            progress("experiments", number, len(names))
        try:
            run_experiment(experiment(name), study, output, progress)
        except DataError as problem:
            if len(names) == 1:
                raise
            leave_out(output, name, str(problem))
            left[name] = str(problem)
            if missed is not None:
                missed(name, problem)
        else:
            made.append(name)
    if len(names) > 1 and progress is not None:
        progress("experiments", len(names), len(names))
    chapters = read_chapters(output)
    report = write_report(output, chapters)
    answered = [c for c in chapters if c.experiment.name in made and c.section is not None]
    if not answered:
        raise DataError(f"no experiment could be made; {report} says why")
    return Evaluation(report, tuple(answered), left)


def open_study(
    ensemble: LoadedEnsemble,
    cohort: Given | MuDataLike,
    split: pd.Series[str] | Path | str,
    *,
    clinical: pd.DataFrame | Path | str | None = None,
    modalities: Sequence[str] = (),
    runs: int = RUNS,
    seed: int = 0,
    quick: bool = False,
    recipe: Path | str = "ENSEMBLE.TOML",
    **options: Unpack[ReadOptions],
) -> tuple[dict[str, Any], Study]:
    """Read everything an evaluation starts from; parameters and errors as in `evaluate`.

    Parameters
    ----------
    recipe
        Where the ensemble stands, for messages and for the commands that the report names.
    options
        How the tables are read, see `read_table`.

    Returns
    -------
    tuple
        What identifies the study and what it was made with, as plain JSON; and the study.
    """
    names = list(modalities) or studied(ensemble)
    unknown = [name for name in names if name not in ensemble.spaces]
    if unknown:
        raise DataError(
            f"{recipe} has no modality {first_few(unknown)}; it knows "
            f"{', '.join(sorted(ensemble.spaces))}"
        )
    given = ensemble.read(cohort, names, **options)
    known = _clinical(clinical, cohort)
    called = _named(cohort, "COHORT"), _named(split, "SPLIT.CSV")
    parts = split_of(split)
    study = Study.of(
        ensemble, given, parts, " and ".join(called),
        clinical=known, modalities=names, runs=runs, seed=seed, quick=quick,
    )  # fmt: skip
    words: list[object] = [called[0], "-e", recipe, "--split", called[1], "--runs", runs]
    words += ["--clinical", _named(clinical, "CLINICAL.CSV")] if clinical is not None else []
    words += [word for name in modalities for word in ("--modality", name)]
    words += ["--seed", seed, *(["--quick"] if quick else [])]
    of_split = split.to_csv().encode() if isinstance(split, pd.Series) else Path(split).read_bytes()
    about = {
        "codenoise": version("codenoise"),
        "python": python_version(),
        "torch": torch.__version__,
        "cohort": called[0],
        "cohort_digest": given.digest(),
        "split": called[1],
        "split_digest": f"sha256:{hashlib.sha256(of_split).hexdigest()}",
        "ensemble": str(recipe),
        "recipe_digest": _digest(ensemble.made_with),
        "clinical_digest": "" if known is None else _digest(known.sort_index().to_csv()),
        "modalities": names,
        "runs": runs,
        "seed": seed,
        "quick": quick,
        "patients": {part: len(found.patients) for part, found in study.parts.items()},
        "arguments": shlex.join(map(str, words)),
        "made_with": dict(ensemble.made_with),
    }
    return about, study


def _clinical(clinical: pd.DataFrame | Path | str | None, cohort: object) -> pd.DataFrame | None:
    if isinstance(clinical, pd.DataFrame):
        return clinical
    if clinical is not None:
        return read_clinical(clinical)
    if not isinstance(cohort, str | Path):
        return None
    try:
        return read_clinical(cohort)
    except AbsentError:  # experiments that need it say so
        return None


def _named(given: object, otherwise: str) -> str:
    return str(given) if isinstance(given, str | Path) else otherwise


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
