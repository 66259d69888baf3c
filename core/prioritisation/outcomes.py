"""What is predicted of a patient, the forests that predict it, and how predictions are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError, first_few
from codenoise.core.base.optional import needed

Array = NDArray[Any]
Latents = Mapping[str, pd.DataFrame]
Measures = dict[str, float | str | None]

COLUMNS = {
    "cancer_type": ("cancer_type",),
    "stage": ("stage",),
    "survival": ("os_days", "os_event"),
}
SURVIVAL = np.dtype([("event", bool), ("time", np.float64)])
TREES = 500  # the paper's; its public code has 100
# A leaf of one patient would estimate a hazard from one death or none.
LEAF = 10
# The log-rank statistic of a split costs patients x distinct times. On 2,534 patients and 500 trees
# days and whole bootstraps take some 360 s of one core, with these two settings 20 s, and the
# concordance with held-out patients is no lower.
MONTH = 365.25 / 12
PER_TREE = 700


def outcome(
    clinical: pd.DataFrame, task: str, patients: Sequence[str]
) -> tuple[list[str], NDArray[Any]]:
    """The outcome of those patients whose outcome is known.

    Parameters
    ----------
    clinical
        Clinical columns, indexed by patient.
    task
        ``cancer_type``, ``stage``, or ``survival``, which is of ``os_days`` and ``os_event``.
    patients
        Ids; the order is kept.

    Returns
    -------
    tuple
        Ids with a known outcome, and their outcomes: labels as text; or for survival records of
        ``event`` (whether death was seen) and ``time`` (days to it or to the last follow-up).

    Raises
    ------
    DataError
        If the task is none of these, a column is missing, or ``os_event`` holds anything but 0
        and 1.
    """
    if task not in COLUMNS:
        raise DataError(f"there is no task {task!r}; choose one of {', '.join(COLUMNS)}")
    columns = list(COLUMNS[task])
    lacking = [name for name in columns if name not in clinical]
    if lacking:
        raise DataError(
            f"the clinical table has no column {first_few(lacking)}, which {task} needs; "
            f"add it, or rename the column that holds it"
        )
    known = clinical[columns].reindex(list(patients)).dropna()
    if task != "survival":
        return list(known.index), _labels(known[columns[0]])
    days, event = (known[name].astype(np.float64) for name in columns)
    if not event.isin([0, 1]).all():
        odd = event[~event.isin([0, 1])]
        raise DataError(f"os_event must be 1 (death) or 0, but is {first_few(odd.unique())}")
    known = known[days >= 0]
    y = np.zeros(len(known), dtype=SURVIVAL)
    y["event"], y["time"] = event.loc[known.index] == 1, days.loc[known.index]
    return list(known.index), y


def _labels(column: pd.Series[Any]) -> Array:
    """Labels as text, whole numbers (stages that a gap turned into fractions) without a point."""
    if pd.api.types.is_numeric_dtype(column) and (column % 1 == 0).all():
        column = column.astype(int)
    return np.asarray(column.astype(str), dtype=str)


def features(
    latents: Latents,
    patients: Sequence[str],
    modalities: Sequence[str],
    completed: dict[str, NDArray[np.float32]] | None = None,
) -> NDArray[np.float32]:
    """Latents of several modalities side by side, as the forests take them.

    Parameters
    ----------
    latents
        Of each of the modalities, indexed by patient.
    patients
        Ids.
    modalities
        In the order of the columns.
    completed
        Values that stand in place of a modality's own, ``(patients, dim)`` each.

    Returns
    -------
    NDArray[np.float32]
        Shape ``(patients, sum of dims)``; NaN where a patient lacks a modality.
    """
    given = completed or {}
    columns = [
        given[m] if m in given else latents[m].reindex(list(patients)).to_numpy(dtype=np.float32)
        for m in modalities
    ]
    return np.hstack(columns).astype(np.float32, copy=False)


def fit(task: str, x: Array, y: Array, seed: int, trees: int = TREES, jobs: int = -1) -> Any:
    """Fit the forest of a task.

    A value missing at a split goes, where training saw missing values there, to the side that fits
    best, and otherwise to the side with more training patients.

    Parameters
    ----------
    task
        See `outcome`.
    x
        Shape ``(patients, features)``; may hold NaN.
    y
        Outcomes, see `outcome`.
    seed
        Of bootstrap and feature choice; the forest is the same for any number of ``jobs``.
    trees
        How many.
    jobs
        Threads; -1 for all cores.

    Returns
    -------
    estimator
        A fitted random forest with balanced class weights; or a random survival forest, whose
        ``predict`` is a risk: leaves of at least ten patients, times in whole months, each tree of
        at most 700 patients drawn with replacement.

    Raises
    ------
    DataError
        If all outcomes are one class, no death was seen, or scikit-survival is not installed.
    """
    if task == "survival":
        if not y["event"].any():
            raise DataError(f"a survival forest needs deaths; none of {len(y)} patients died")
        forests = needed("sksurv.ensemble", "predicting survival", extra="evaluation")
        model = forests.RandomSurvivalForest(
            n_estimators=trees,
            min_samples_leaf=LEAF,
            max_features="sqrt",
            max_samples=min(PER_TREE, len(y)),
            low_memory=True,  # only the risk is asked for, not whole survival functions
            n_jobs=jobs,
            random_state=seed,
        )
        months = y.copy()
        months["time"] = np.ceil(y["time"] / MONTH)
        return model.fit(x, months)
    if len(np.unique(y)) < 2:
        raise DataError(f"a forest needs two classes of {task}; {len(y)} patients have one")
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.utils.class_weight import compute_sample_weight

    # What class_weight="balanced" does, which scikit-learn 1.9 refuses for labels such as "1".
    weights = compute_sample_weight("balanced", y)
    model = RandomForestClassifier(n_estimators=trees, n_jobs=jobs, random_state=seed)
    return model.fit(x, y, sample_weight=weights)


def score(task: str, model: Any, x: Array, y: Array) -> Measures:
    """Judge a forest on patients of known outcome.

    Parameters
    ----------
    task, model, x, y
        See `outcome` and `fit`.

    Returns
    -------
    dict
        ``macro_f1`` and ``balanced_accuracy``, see `agreement`; or ``c_index`` and ``pairs``, see
        `concordance`. ``reason`` says why a measure is NaN, and is ``None`` where none is.
    """
    if not len(y):
        names = ("c_index",) if task == "survival" else ("macro_f1", "balanced_accuracy")
        return {**dict.fromkeys(names, float("nan")), "reason": "no patient of known outcome"}
    predicted = model.predict(x)
    return concordance(y, predicted) if task == "survival" else agreement(y, predicted)


def agreement(y: Array, predicted: Array) -> Measures:
    """Macro-F1 and balanced accuracy, both over the classes that occur in ``y``.

    A class that is predicted but never occurs counts through the precision and recall of the
    others alone, so that methods are averaged over the same classes.
    """
    from sklearn.metrics import f1_score, recall_score

    classes = np.unique(y)
    options: dict[str, Any] = {"labels": classes, "average": "macro", "zero_division": 0}
    return {
        "macro_f1": float(f1_score(y, predicted, **options)),
        "balanced_accuracy": float(recall_score(y, predicted, **options)),
        "reason": None,
    }


def concordance(y: Array, risk: Array, groups: Sequence[str] | Array | None = None) -> Measures:
    """Harrell's concordance index of a risk: higher risk with shorter survival is concordant.

    A pair of patients is comparable where the one with the shorter time was seen to die. Pairs of
    equal risk count one half.

    Parameters
    ----------
    y
        Records of ``event`` and ``time``, see `outcome`.
    risk
        Shape ``(patients,)``.
    groups
        Where given, one label a patient: only pairs within a group are compared, which is the mean
        of the groups' indices weighted by their comparable pairs.

    Returns
    -------
    dict
        ``c_index`` (NaN without a comparable pair), ``pairs`` (comparable ones) and ``reason``.
    """
    sksurv = needed("sksurv.metrics", "the concordance index", extra="evaluation")
    absent = needed("sksurv.exceptions", "the concordance index", extra="evaluation")
    labels = np.zeros(len(y)) if groups is None else np.asarray(groups)
    agreeing, pairs = 0.0, 0
    for label in np.unique(labels):
        own = labels == label
        if not y["event"][own].any() or own.sum() < 2:
            continue
        try:
            _, concordant, discordant, tied, _ = sksurv.concordance_index_censored(
                y["event"][own], y["time"][own], np.asarray(risk, dtype=np.float64)[own]
            )
        except absent.NoComparablePairException:
            continue
        agreeing += concordant + tied / 2
        pairs += concordant + discordant + tied
    if not pairs:
        within = "" if groups is None else " within any group"
        reason = f"no comparable pair{within} among {len(y)} patients, {y['event'].sum()} deaths"
        return {"c_index": float("nan"), "pairs": 0, "reason": reason}
    return {"c_index": float(agreeing / pairs), "pairs": int(pairs), "reason": None}
