"""Features: completed tables, in the features a user receives, beside regressions of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.ensemble.multiple import whole_draws
from codenoise.core.spaces.space import Space
from codenoise.evaluation.baselines.regression import FEWEST
from codenoise.evaluation.baselines.tables import (
    TABLE_BASELINES,
    Side,
    bootstrapped,
    fitted,
)
from codenoise.evaluation.experiment import Experiment, Part, Row
from codenoise.evaluation.experiments.features_reading import section
from codenoise.evaluation.study import BASELINE, Study, subsets
from codenoise.evaluation.table_measures import distribution, measures

Float32 = NDArray[np.float32]
DRAWS = 20  # the fewest whose central 90% interval is exact
FEWEST_OF_A_TYPE = 20
QUICK = ("training mean", "type mean", "ridge with type", "k nearest")


def parts(study: Study) -> list[Part]:
    """One part for each target and set of conditions.

    Raises
    ------
    DataError
        If fewer than two modalities are studied, the clinical table has no cancer type, or no test
        patient has two modalities.
    """
    if len(study.modalities) < 2:
        raise DataError(
            f"the cohort has {', '.join(study.modalities) or 'no modality'} of the ensemble's "
            f"targets; features are generated from those of a second one, so give its table"
        )
    if "cancer_type" not in study.clinical:
        raise DataError(
            "the clinical table has no cancer_type, which the baselines are told; add the column"
        )
    asked = [
        (target, conditions)
        for target in study.modalities
        for conditions in subsets([m for m in study.modalities if m != target])
        if not study.quick or len(conditions) == len(study.modalities) - 1
        if all(study.complete(part, [target, *conditions]) for part in ("test", "validation"))
        if len(study.complete("train", [target, *conditions])) >= FEWEST
    ]
    if not asked:
        raise DataError(
            f"no target has {FEWEST} training patients and a validation and a test patient with a "
            f"second modality; give a split with such patients"
        )
    return [
        Part(f"{target} from {'+'.join(conditions)}", partial(_measured, study, target, conditions))
        for target, conditions in asked
    ]


def _measured(study: Study, target: str, conditions: tuple[str, ...]) -> list[Row]:
    sides = {part: _side(study, target, conditions, part) for part in ("train", "validation")}
    patients = study.complete("test", [target, *conditions])
    test = _side(study, target, conditions, "test")
    kinds = _kinds(study, patients)
    about: Row = {
        "target": target, "conditions": "+".join(conditions), "given": len(conditions),
        "patients": len(patients), "trained": len(sides["train"].target),
    }  # fmt: skip
    rows: list[Row] = []
    for name, guess, draws, mirrored in (
        *_generated(study, target, conditions, patients),
        *_regressed(study, sides, test),
    ):
        found, inside = distribution(test.target, draws, mirrored=mirrored)
        whole: Row = {"method": name, "cancer_type": ""}
        rows.append({**about, **whole, **measures(test.target, guess, kinds), **found})
        for kind in pd.unique(kinds):
            of = kinds == kind
            if kind and of.sum() >= FEWEST_OF_A_TYPE:
                own: Row = {"method": name, "cancer_type": kind, "patients": int(of.sum())}
                covered = {"coverage": float(np.nanmean(inside[of]))}
                rows.append(
                    {**about, **own, **measures(test.target[of], guess[of], kinds[of]), **covered}
                )
    return rows


def _generated(
    study: Study, target: str, conditions: tuple[str, ...], patients: list[str]
) -> Iterator[tuple[str, Float32, Float32, bool]]:
    """Completed values and draws of each method of the study that draws latents."""
    space = study.ensemble.spaces[target]
    shown = {m: study.latents["test"][m].loc[patients] for m in conditions}
    for name, method in study.methods.items():
        if name == BASELINE or not method.serves(target, conditions):
            continue
        latents = method.generate(target, shown, patients, DRAWS, study.seed)
        decoded = space.decode(latents)
        guess = space.standardised(decoded.mean(axis=1))
        whole = space.standardised(whole_draws(space, patients, decoded, study.seed))
        yield name, guess, whole, method.mirrored


def _regressed(
    study: Study, sides: dict[str, Side], test: Side
) -> Iterator[tuple[str, Float32, Float32, bool]]:
    """Predictions of each baseline, and its draws: residuals of validation patients around them."""
    for name in QUICK if study.quick else TABLE_BASELINES:
        predict = fitted(name, sides["train"], sides["validation"], study.seed)
        guess = predict(test)
        residuals = sides["validation"].target - predict(sides["validation"])
        rng = np.random.default_rng(study.seed)
        yield name, guess, bootstrapped(guess, residuals, DRAWS, rng), False


def _side(study: Study, target: str, conditions: tuple[str, ...], part: str) -> Side:
    patients = study.complete(part, [target, *conditions])
    kinds = sorted({k for k in _kinds(study, study.complete("train", [target, *conditions])) if k})
    own = _kinds(study, patients)
    condition = np.hstack([_values(study, part, m, patients) for m in conditions])
    return Side(
        np.nan_to_num(condition),
        np.stack([own == kind for kind in kinds], axis=1).astype(np.float32),
        _values(study, part, target, patients),
    )


def _values(study: Study, part: str, modality: str, patients: list[str]) -> Float32:
    """Features as given, in training standard deviations; gaps are NaN."""
    space: Space = study.ensemble.spaces[modality]
    table = study.parts[part].tables[modality].frame
    return space.standardised(table.reindex(patients, columns=space.features).to_numpy(np.float32))


def _kinds(study: Study, patients: list[str]) -> NDArray[np.object_]:
    """Cancer types, empty where unknown."""
    column = study.clinical["cancer_type"].reindex(patients).astype(object)
    return column.where(column.notna(), "").to_numpy(dtype=object)


EXPERIMENT = Experiment(
    name="features",
    title="Completed tables beside regressions",
    question="Are completed values, in the features a user receives, better than a regression's?",
    paper="",
    parts=parts,
    section=section,
)
