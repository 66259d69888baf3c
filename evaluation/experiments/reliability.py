"""Reliability weights: how much each expert counts, by each way to weigh them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.familiarity import familiarity
from codenoise.core.ensemble.weights import (
    ADAPTIVE,
    STACKED,
    WEIGHTINGS,
    reliability_weights,
)
from codenoise.evaluation.experiment import Experiment, Part, Row
from codenoise.evaluation.experiments.reliability_reading import (
    ALL,
    CODE,
    FORMULA,
    GAIN,
    LEARNED,
    PAIRS,
    section,
)
from codenoise.evaluation.study import Study, subsets


def parts(study: Study) -> list[Part]:
    """One part for each target.

    Raises
    ------
    DataError
        If no modality of the cohort can be generated from another one.
    """
    served = [
        target
        for target in study.modalities
        if any(
            set(e.conditions) & set(study.modalities) for e in study.ensemble.experts_for(target)
        )
    ]
    if not served:
        raise DataError(
            "the ensemble has no expert between two modalities of this cohort; add a table of one "
            "that it generates from"
        )
    return [Part(target, partial(_measured, study, target)) for target in served]


def _measured(study: Study, target: str) -> list[Row]:
    """Weights of the experts in play for each set of conditions; they depend on no seed."""
    rows: list[Row] = []
    for conditions in subsets([m for m in study.modalities if m != target]):
        everyone = [
            e for e in study.ensemble.experts_for(target) if set(e.conditions) & set(conditions)
        ]
        pairs = [e for e in everyone if not e.masked]
        for members, experts in ((PAIRS, pairs), (ALL, everyone)):
            if not experts or (members == ALL and len(experts) == len(pairs)):
                continue
            known: Row = {
                "run": 0,
                "seed": study.seed,
                "target": target,
                "conditions": "+".join(conditions),
                "given": len(conditions),
                "members": members,
                "experts": len(experts),
            }
            rows += [known | found for found in _weightings(study, target, conditions, experts)]
    return rows


def _weightings(
    study: Study, target: str, conditions: Sequence[str], experts: Sequence[Expert]
) -> Iterator[Row]:
    for weighting in (FORMULA, CODE, GAIN):
        yield from _rows(weighting, experts, WEIGHTINGS[weighting](experts)[None], 0)
    patients = study.complete("test", conditions)
    try:
        adapted, reason = _adapted(study, conditions, experts, patients), ""
    except DataError as problem:
        adapted, reason = np.full((1, len(experts)), np.nan), str(problem)
    yield from _rows(ADAPTIVE, experts, adapted, len(patients), reason)
    learned, reason = _learned(study, target, conditions, experts, patients)
    yield from _rows(LEARNED, experts, learned, len(patients[:1]), reason)


def _rows(
    weighting: str,
    experts: Sequence[Expert],
    weights: NDArray[np.float64],
    patients: int,
    reason: str | None = None,
) -> Iterator[Row]:
    """A row for each expert, of weights ``(patients, experts)``."""
    for expert, own in zip(experts, weights.T, strict=True):
        row: Row = {
            "weighting": weighting,
            "method": weighting,
            "expert": expert.name.partition("@")[0],
            "weight": float(own.mean()),
            "low": float(np.quantile(own, 0.05)),
            "high": float(np.quantile(own, 0.95)),
            "mse": expert.validation_mse,
            "r2": expert.validation_r2,
            "patients": patients,
        }
        yield row | {"reason": reason} if reason else row


def _adapted(
    study: Study, conditions: Sequence[str], experts: Sequence[Expert], patients: Sequence[str]
) -> NDArray[np.float64]:
    """Weights of each test patient, ``(patients, experts)``, as the engine moves them.

    Raises
    ------
    DataError
        If no test patient has the conditions, or an expert does not say what it was trained on.
    """
    if not patients:
        raise DataError(f"no test patient has {' and '.join(conditions)}")
    strangers = [e.name for e in experts if not e.moments]
    if strangers:
        raise DataError(f"{', '.join(strangers)} without moments of their conditions")
    shown = {m: study.latents["test"][m].loc[list(patients)] for m in conditions}
    inputs = [expert.condition_input(shown, patients) for expert in experts]
    settings = replace(study.ensemble.settings, weighting=ADAPTIVE)
    moved = reliability_weights(settings, experts) * familiarity(experts, inputs)
    return np.asarray(moved / moved.sum(axis=1, keepdims=True))


def _learned(
    study: Study,
    target: str,
    conditions: Sequence[str],
    experts: Sequence[Expert],
    patients: Sequence[str],
) -> tuple[NDArray[np.float64], str]:
    """Shares that calibration learned, averaged over steps as the engine reports them."""
    unknown = np.full((1, len(experts)), np.nan)
    if study.ensemble.settings.weighting != STACKED or study.ensemble.calibration is None:
        return unknown, "the ensemble is not calibrated ('codenoise calibrate')"
    if not patients:
        return unknown, f"no test patient has {' and '.join(conditions)}"
    one = list(patients[:1])  # learned weights are the same for all patients with these conditions
    shown = {m: study.latents["test"][m].loc[one] for m in conditions}
    members = replace(study.ensemble, experts=tuple(experts))
    generation = members.generate(target, shown, one, draws=1, seed=study.seed)
    if not generation.learned.all():
        return unknown, "nothing was learned for just these experts and conditions"
    return generation.weights, ""


EXPERIMENT = Experiment(
    name="weights",
    title="Reliability weights",
    question="How unequally do experts count, and do the published formula and code agree?",
    paper="S8",
    parts=parts,
    section=section,
)
