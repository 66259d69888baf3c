"""Whom to test next: patients that lack a modality, by how much it could change a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError, first_few
from codenoise.core.cohort.given import Given, MuDataLike
from codenoise.core.ensemble.ensemble import LoadedEnsemble, Progress
from codenoise.core.prioritisation import outcomes
from codenoise.core.prioritisation.counterfactual import (
    drawn_table,
    label_changes,
    predictions,
    variance_score,
    with_draws,
)

Score = Literal["variance", "label-changes"]

FEWEST = 20  # patients to train on
MOST_CLASSES = 40  # a column of more kinds is a measurement or an id, and no label


@dataclass(frozen=True)
class Priorities:
    """Patients that lack something, in the order in which to test them.

    Attributes
    ----------
    table
        One row a patient: ``rank``, ``patient``, ``score``; ``predicted`` and its ``probability``,
        or ``risk``, as expected over the draws; ``recorded``, what the clinical table says already;
        ``lacks`` and ``has`` (modalities, joined by ``+``); ``incoherent_draws``; and ``reason``
        where there is no score. Patients without a score come last and have no rank.
    trained
        Patients that the forest was trained on.
    classes
        How many of them in each class; empty for survival.
    aside
        Patients with a known outcome that lack something and are therefore ranked, not trained on.
    """

    table: pd.DataFrame
    trained: int
    classes: Mapping[str, int]
    aside: int


def prioritise(
    ensemble: LoadedEnsemble,
    cohort: Given | MuDataLike,
    clinical: pd.DataFrame,
    missing: Sequence[str],
    *,
    task: str = "stage",
    label: str | None = None,
    draws: int = 10,
    seed: int = 0,
    score: Score = "variance",
    trees: int = 500,
    progress: Progress | None = None,
) -> Priorities:
    """Rank the patients that lack a modality by how much measuring it could change a prediction.

    A forest is trained on the patients that have all of ``missing`` and a known outcome. For each
    of the others what it lacks of ``missing`` is generated ``draws`` times from whatever it has;
    the score says how far the forest's predictions of these versions are apart. The ranked have no
    part in the training, even where their outcome is known: a forest is too sure of those it has
    seen, whatever they lack. Other modalities that a patient lacks stay missing, for the forest
    takes missing values.

    Parameters
    ----------
    ensemble
        What generates.
    cohort
        Patients of both kinds, in any form that `Ensemble.read` takes.
    clinical
        Clinical columns, indexed by patient.
    missing
        Modalities that could be measured; patients that lack any of them are ranked.
    task
        ``"stage"``, ``"cancer_type"`` or ``"survival"``; without meaning where ``label`` is given.
    label
        Any other clinical column of a few kinds, to be predicted instead.
    draws, seed
        Versions of each patient, at least 2, and the seed of draws and forest.
    score
        ``"variance"`` (the paper's) or ``"label-changes"`` (what its public code computes).
    trees
        Of the forest.
    progress
        Called with a label, steps done and steps in all.

    Raises
    ------
    EnsembleError
        If the cohort does not fit the ensemble, or no expert generates a modality.
    DataError
        If nobody lacks anything, the clinical table has not what is to be predicted, or there is
        too little to train on.

    Examples
    --------
    >>> clinical = read_clinical("my_cohort")  # doctest: +SKIP
    >>> prioritise(ensemble, "my_cohort", clinical, ["rna"]).table  # doctest: +SKIP
    """
    survival = label is None and task == "survival"
    if survival and score == "label-changes":
        raise DataError("survival has no labels that could change; take the score 'variance'")
    given = ensemble.read(cohort)
    wanted = ensemble.check(given, missing)
    mask = given.mask()
    has_all = mask.reindex(columns=wanted, fill_value=False).all(axis=1)
    lacking = list(mask.index[~has_all])
    if not lacking:
        raise DataError(f"every patient has {' and '.join(wanted)}; there is nobody to rank")
    known, y = _outcome(clinical, list(mask.index), task, label)
    used = has_all.loc[known].to_numpy()
    trained, y_trained = [p for p, use in zip(known, used, strict=True) if use], y[used]
    _check_training(y_trained, wanted, label or task, survival)
    latents = ensemble.encode(given)
    if progress is not None:
        progress("forest", 0, 1)
    # One classification's forest is made like any other's.
    kind = "stage" if label is not None else task
    model = outcomes.fit(kind, with_draws(latents, {}, trained, 1)[:, 0], y_trained, seed, trees)
    if progress is not None:
        progress("forest", 1, 1)
    generated = _generated(ensemble, latents, mask.loc[lacking], wanted, draws, seed, progress)
    scores = _scored(model, latents, generated, score, draws)
    recorded = None if survival else dict(zip(known, y, strict=True))
    table = _table(mask.loc[lacking], wanted, generated, scores, recorded)
    classes = {} if survival else {str(c): int((y_trained == c).sum()) for c in model.classes_}
    return Priorities(table, len(trained), classes, len(known) - len(trained))


def _outcome(
    clinical: pd.DataFrame, patients: Sequence[str], task: str, label: str | None
) -> tuple[list[str], NDArray[Any]]:
    """Patients whose outcome is known, and the outcomes."""
    if not clinical.index.isin(patients).any():
        raise DataError(
            f"no patient of the cohort is in the clinical table; ids must be written alike in both "
            f"({first_few(patients, 1)} and {first_few(clinical.index, 1) or 'none at all'})"
        )
    if label is None:
        return outcomes.outcome(clinical, task, patients)
    if label not in clinical:
        raise DataError(
            f"the clinical table has no column {label!r}; it has {first_few(clinical.columns, 12)}"
        )
    kinds = clinical[label].nunique()
    if kinds > MOST_CLASSES:
        raise DataError(
            f"column {label!r} has {kinds} different values; a label has at most {MOST_CLASSES}"
        )
    return outcomes.outcome(clinical[[label]].set_axis(["stage"], axis=1), "stage", patients)


def _check_training(y: NDArray[Any], wanted: Sequence[str], what: str, survival: bool) -> None:
    who = f"have {' and '.join(wanted)} and a known {what}"
    if len(y) < FEWEST:
        raise DataError(
            f"only {len(y)} patients {who}; a forest needs {FEWEST}: add patients, or name another "
            f"modality or label"
        )
    if survival and not y["event"].any():
        raise DataError(f"none of the {len(y)} patients that {who} died; risks cannot be learned")
    if not survival and len(np.unique(y)) < 2:
        raise DataError(
            f"all {len(y)} patients that {who} are {str(y[0])!r}; there is nothing to tell apart"
        )


@dataclass(frozen=True)
class _Generated:
    """What was generated for the patients that are ranked.

    Attributes
    ----------
    drawn
        Latents by modality, indexed by patient and draw.
    patients
        Those for whom all that they lack could be generated.
    flagged
        Incoherent draws by patient, over all that was generated.
    unserved
        Patient to the first modality that no expert could generate.
    mirrored
        Whether draws come in mirrored pairs.
    """

    drawn: dict[str, pd.DataFrame]
    patients: list[str]
    flagged: pd.Series[int]
    unserved: dict[str, str]
    mirrored: bool


def _generated(
    ensemble: LoadedEnsemble,
    latents: Mapping[str, pd.DataFrame],
    mask: pd.DataFrame,
    wanted: Sequence[str],
    draws: int,
    seed: int,
    progress: Progress | None,
) -> _Generated:
    drawn: dict[str, pd.DataFrame] = {}
    unserved: dict[str, str] = {}
    flagged = pd.Series(0, mask.index)
    for target in wanted:
        lack = list(mask.index[~mask[target]]) if target in mask else list(mask.index)
        made = ensemble.generate(target, latents, lack, draws=draws, seed=seed, progress=progress)
        flagged.loc[lack] += made.flagged.sum(axis=1)
        for row in np.flatnonzero(made.attempts[:, 0] == 0):
            unserved.setdefault(lack[row], target)
        drawn[target] = drawn_table(made.draws, lack)
    served = [patient for patient in mask.index if patient not in unserved]
    return _Generated(drawn, served, flagged, unserved, ensemble.settings.mirrored)


def _scored(
    model: Any,
    latents: Mapping[str, pd.DataFrame],
    generated: _Generated,
    score: Score,
    draws: int,
) -> pd.DataFrame:
    """Score and expected prediction of the patients that everything could be generated for."""
    patients = generated.patients
    if not patients:
        return pd.DataFrame(columns=["score"], dtype=np.float64)
    predicted = predictions(model, with_draws(latents, generated.drawn, patients, draws))
    expected = predicted.mean(axis=1)
    if score == "variance":
        scores = variance_score(predicted, mirrored=generated.mirrored)
    else:
        scores = label_changes(predicted)
    found = pd.DataFrame({"score": scores}, pd.Index(patients))
    if not hasattr(model, "classes_"):
        return found.assign(risk=expected[:, 0])
    best = expected.argmax(axis=1)
    return found.assign(predicted=model.classes_[best], probability=expected.max(axis=1))


def _table(
    mask: pd.DataFrame,
    wanted: Sequence[str],
    generated: _Generated,
    scores: pd.DataFrame,
    recorded: Mapping[str, Any] | None,
) -> pd.DataFrame:
    """All patients that lack something, the most urgent first and those without a score last."""
    has = [_joined(mask.columns[row]) for row in mask.to_numpy()]
    there = mask.reindex(columns=list(wanted), fill_value=False).to_numpy()
    lacks = [_joined(np.array(wanted)[~row]) for row in there]
    reasons = [
        f"no expert generates {generated.unserved[patient]} from {owned or 'nothing'}"
        if patient in generated.unserved
        else ""
        for patient, owned in zip(mask.index, has, strict=True)
    ]
    table = scores.reindex(mask.index)
    if recorded is not None:
        table["recorded"] = [recorded.get(patient) for patient in mask.index]
    table = table.assign(
        lacks=lacks, has=has, incoherent_draws=generated.flagged, reason=reasons
    ).rename_axis("patient").reset_index()  # fmt: skip
    table = table.sort_values(["score", "patient"], ascending=[False, True], ignore_index=True)
    scored = table["score"].notna()
    ranks = pd.Series(np.arange(len(table)) + 1, dtype="Int64").where(scored)
    return pd.concat([ranks.rename("rank"), table], axis=1)


def _joined(names: Sequence[str] | NDArray[Any] | pd.Index) -> str:
    return "+".join(map(str, names))
