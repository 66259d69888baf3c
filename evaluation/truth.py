"""Completed values against values that were held back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError, SpaceError, first_few
from codenoise.core.base.metrics import r2_pooled
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.given import Given, MuDataLike
from codenoise.core.cohort.tables import Table
from codenoise.core.ensemble.imputation import Imputation, Origin
from codenoise.core.spaces.space import Space

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class TruthResult:
    """One modality of a completed cohort against its truth.

    Attributes
    ----------
    target
        Modality.
    patients, values
        Generated patients with a known truth, and known values among them.
    r2_latent
        Pooled R2 of latents: completed and true tables, both encoded.
    r2_feature_pooled
        Pooled R2 of features in units of the training patients' standard deviations, so that 0 is
        what the training mean would reach on patients like those of training.
    r2_feature_mean
        Mean over features of the R2 of each against its own mean among these patients.
    within_90
        Share of true values within 1.645 spreads of the completed value.
    """

    target: str
    patients: int
    values: int
    r2_latent: float
    r2_feature_pooled: float
    r2_feature_mean: float
    within_90: float


def compare_with_truth(result: Imputation, truth: Given | MuDataLike) -> list[TruthResult]:
    """Compare what was generated with values that were held back.

    Parameters
    ----------
    result
        A completed cohort.
    truth
        Real tables of patients that were generated, in any form that `Ensemble.read` takes.

    Raises
    ------
    DataError
        If a modality was not completed, or none of its generated patients has a truth.
    SpaceError
        If a table lacks features of its space.

    Examples
    --------
    >>> compare_with_truth(ensemble.impute("my_cohort"), "held_back")  # doctest: +SKIP
    """
    parts = {"completed": result.completed, "spread": result.spread, "mask": result.mask}
    spaces = result.ensemble.spaces
    return compare_parts(parts, result.ensemble.read(truth), spaces.__getitem__, "the result")


def compare_parts(
    parts: Mapping[str, Mapping[str, Table]],
    truth: Cohort,
    space_of: Callable[[str], Space],
    called: str,
) -> list[TruthResult]:
    """Compare tables of ``completed``, ``spread`` and ``mask``; see `compare_with_truth`."""
    results = []
    for modality, table in truth.tables.items():
        if modality not in parts["completed"]:
            raise DataError(f"{table.source}: {modality!r} was not completed in {called}")
        completed, spread, mask = (
            parts[name][modality].frame for name in ("completed", "spread", "mask")
        )
        found = against_truth(space_of(modality), completed, spread, mask, table.frame)
        results.append(found)
    return results


def against_truth(
    space: Space,
    completed: pd.DataFrame,
    spread: pd.DataFrame,
    mask: pd.DataFrame,
    truth: pd.DataFrame,
) -> TruthResult:
    """Compare the generated patients of one modality with their real values.

    Parameters
    ----------
    space
        Space of the modality.
    completed, spread, mask
        As `Ensemble.impute` gives them, patients x features.
    truth
        Real values of some of the generated patients; gaps are left out of the comparison.

    Raises
    ------
    SpaceError
        If the truth lacks features of the space.
    DataError
        If no generated patient has a truth.
    """
    features = list(space.features)
    absent = space.absent(truth)
    if absent:
        raise SpaceError(
            f"the truth of {space.modality} lacks {len(absent)} of the {len(features)} features of "
            f"space {space.reference}: {first_few(absent)}"
        )
    known_patients = truth.index[truth[features].notna().any(axis=1)]
    generated = mask.index[(mask[features] == Origin.GENERATED).any(axis=1)]
    patients = list(known_patients.intersection(generated, sort=False))
    if not patients:
        raise DataError(
            f"{space.modality}: none of the {len(known_patients)} patients with a truth was "
            f"generated; give the truth of patients that lacked the modality"
        )
    real = truth.loc[patients, features].to_numpy(dtype=np.float32)
    guess = completed.loc[patients, features].to_numpy(dtype=np.float32)
    known = ~np.isnan(real)
    wanted, got = space.standardised(real), space.standardised(guess)
    within = np.abs(real - guess) <= 1.645 * spread.loc[patients, features].to_numpy(np.float32)
    # A gap in the truth is taken as met, so that it adds no error to the latents.
    filled = pd.DataFrame(np.where(known, real, guess), index=patients, columns=features)
    return TruthResult(
        target=space.modality,
        patients=len(patients),
        values=int(known.sum()),
        r2_latent=r2_pooled(
            space.encode(filled, any_scale=True).to_numpy(),
            space.encode(completed.loc[patients], any_scale=True).to_numpy(),
        ),
        r2_feature_pooled=r2_pooled(wanted[known], got[known]),
        r2_feature_mean=_feature_mean(wanted, got, known),
        within_90=float(within[known].mean()),
    )


def _feature_mean(wanted: Float32, got: Float32, known: NDArray[np.bool_]) -> float:
    """Mean R2 of the features that vary among the patients in which they are known."""
    each = [
        r2_pooled(wanted[rows, column], got[rows, column])
        for column, rows in enumerate(known.T)
        if rows.any()
    ]
    defined = [value for value in each if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
