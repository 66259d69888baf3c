"""Completed values against values that were held back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from codenoise.core.ensemble.imputation import Origin
from codenoise.core.errors import DataError
from codenoise.core.evaluation.metrics import r2_per_feature, r2_pooled
from codenoise.core.spaces.space import Space


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
    DataError
        If no generated patient has a truth.
    """
    features = list(space.features)
    generated = mask.index[(mask[features] == Origin.GENERATED).any(axis=1)]
    patients = [patient for patient in truth.index if patient in set(generated)]
    if not patients:
        raise DataError(
            f"{space.modality}: none of the {len(truth)} patients with a truth was generated; "
            f"give the truth of patients that lacked the modality"
        )
    real = truth.loc[patients, features].to_numpy(dtype=np.float32)
    guess = completed.loc[patients, features].to_numpy(dtype=np.float32)
    known = ~np.isnan(real)
    # A gap in the truth counts as met, so that it adds no error.
    wanted = space.standardised(np.where(known, real, guess))
    got = space.standardised(guess)
    distance = np.abs(real - guess)[known]
    width = 1.645 * spread.loc[patients, features].to_numpy(dtype=np.float32)[known]
    encoded = [space.encode(table.loc[patients, features]) for table in (truth, completed)]
    return TruthResult(
        target=space.modality,
        patients=len(patients),
        values=int(known.sum()),
        r2_latent=r2_pooled(encoded[0].to_numpy(), encoded[1].to_numpy()),
        r2_feature_pooled=r2_pooled(wanted[known], got[known]),
        r2_feature_mean=float(np.nanmean(r2_per_feature(wanted, got))),
        within_90=float(np.mean(distance <= width)),
    )
