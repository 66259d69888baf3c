"""Fitting a space on training patients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from codenoise.core.errors import DataError
from codenoise.core.evaluation.metrics import r2_per_feature, r2_pooled
from codenoise.core.spaces.pca import PCAEncoder
from codenoise.core.spaces.space import CLIP, Space

# Features with more gaps than this among training patients are left out of the space (the paper).
MAX_FEATURE_GAPS = 0.10
# A patient of a modality with gaps may lack up to this share of features; the widest antibody panel
# gap of TCGA's RPPA stays below it.
MAX_PATIENT_GAPS = 0.5


@dataclass(frozen=True)
class FittedSpace:
    """A space and how well it reconstructs validation patients.

    Attributes
    ----------
    space
        The fitted space.
    n_train, n_validation
        Patients.
    r2
        Pooled R2 of standardised features after encoding and decoding validation patients.
    r2_feature_mean
        Mean over features of the per-feature R2.
    """

    space: Space
    n_train: int
    n_validation: int
    r2: float
    r2_feature_mean: float


def fit_space(
    train: pd.DataFrame,
    validation: pd.DataFrame,
    *,
    modality: str,
    name: str,
    version: str,
    dim: int = 32,
) -> FittedSpace:
    """Fit median filling, standardisation, PCA and latent standardisation.

    Parameters
    ----------
    train, validation
        Patients x features; gaps are NaN. Nothing is fitted on validation patients; they only
        measure what decoding loses.
    modality, name, version
        Identity of the space.
    dim
        Latent dimensions.

    Raises
    ------
    DataError
        If there are too few patients or features for ``dim`` dimensions.
    """
    gaps = train.isna().mean()
    kept = train.columns[(gaps <= MAX_FEATURE_GAPS) & (train.max() > train.min())]
    if len(train) <= dim or len(kept) < dim or len(validation) < 2:
        raise DataError(
            f"a {dim}-dimensional space of {modality} needs more than {dim} training patients, "
            f"{dim} varying features with under {MAX_FEATURE_GAPS:.0%} gaps, 2 validation ones, "
            f"not {len(train)}, {len(kept)} and {len(validation)}"
        )
    median = train[kept].median()
    filled = train[kept].fillna(median)
    center, scale = filled.mean(), filled.std(ddof=0)
    standardised = ((filled - center) / scale).clip(-CLIP, CLIP).to_numpy(dtype=np.float32)
    encoder = PCAEncoder.fit(standardised, dim)
    codes = encoder.encode(standardised)
    directions = int((codes.std(axis=0) > 1e-4).sum())
    if directions < dim:
        raise DataError(
            f"a {dim}-dimensional space of {modality} needs training patients that vary in {dim} "
            f"directions, these vary in {directions}; fit at most {directions} dimensions"
        )
    space = Space(
        modality=modality,
        name=name,
        version=version,
        features=tuple(map(str, kept)),
        median=median.to_numpy(dtype=np.float32),
        center=center.to_numpy(dtype=np.float32),
        scale=scale.to_numpy(dtype=np.float32),
        encoder=encoder,
        latent_mean=codes.mean(axis=0),
        latent_scale=codes.std(axis=0),
        residual_sd=np.zeros(len(kept), dtype=np.float32),
        max_missing_fraction=MAX_PATIENT_GAPS if gaps[kept].max() > 0 else 0.0,
    )
    real = validation[kept].fillna(median).to_numpy(dtype=np.float32)
    encoded = space.encode(validation[kept], f"the validation table of {modality}")
    decoded = space.decode(encoded.to_numpy())
    residual = (real - decoded).std(axis=0).astype(np.float32)
    wanted, got = space.standardised(real), space.standardised(decoded)
    return FittedSpace(
        space=replace(space, residual_sd=residual),
        n_train=len(train),
        n_validation=len(validation),
        r2=r2_pooled(wanted, got),
        r2_feature_mean=float(np.nanmean(r2_per_feature(wanted, got))),
    )
