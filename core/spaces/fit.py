"""Fitting a space on training patients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.base.metrics import r2_per_feature, r2_pooled
from codenoise.core.spaces.autoencoder import AutoencoderConfig, fit_autoencoder
from codenoise.core.spaces.pca import PCAEncoder
from codenoise.core.spaces.space import Encoder, Space
from codenoise.core.spaces.steps import (
    MAX_FEATURE_GAPS,
    Recipe,
    apply_steps,
    covered_features,
    fit_steps,
    outlier_samples,
    select_training,
    varying_features,
)

Float32 = NDArray[np.float32]
EncoderName = Literal["pca", "autoencoder", "variational"]

# A patient of a modality with gaps may lack up to this share of features; the widest antibody panel
# gap of TCGA's RPPA stays below it.
MAX_PATIENT_GAPS = 0.5
# Without other instructions: gaps at the median, unit variance, and no single value that can move
# a patient across the whole space.
DEFAULT_PREPROCESSING: Recipe = (
    ("fill-median", {}),
    ("standardise", {}),
    ("clip", {"limit": 10.0}),
)


@dataclass(frozen=True)
class FittedSpace:
    """A space and how well it reconstructs validation patients.

    Attributes
    ----------
    space
        The fitted space.
    n_train, n_outliers, n_validation
        Patients fitted on, left out of the fit as outliers, and measured on.
    r2
        Pooled R2 of standardised features after encoding and decoding validation patients.
    r2_feature_mean
        Mean over features of the per-feature R2.
    """

    space: Space
    n_train: int
    n_outliers: int
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
    encoder: EncoderName = "pca",
    preprocessing: Recipe = DEFAULT_PREPROCESSING,
    leave_out_outliers: bool = True,
    unit: str = "as in training",
) -> FittedSpace:
    """Fit preprocessing, an encoder and latent standardisation (the paper, Methods).

    Before the preprocessing, features with more than `MAX_FEATURE_GAPS` gaps, features that do not
    vary, and outlying patients are left out. A recipe that names ``covered-features``,
    ``varying-features`` or ``outlier-samples`` has that done where it says, and as it says.

    Parameters
    ----------
    train, validation
        Patients x features; gaps are NaN. Validation patients measure what decoding loses, and
        stop the training of an autoencoder.
    modality, name, version
        Identity of the space.
    dim
        Latent dimensions.
    encoder
        Principal components, an autoencoder or a variational one.
    preprocessing
        Kinds and options of the steps, see `codenoise.core.spaces.steps`.
    unit
        What the values are, in words.
    leave_out_outliers
        Whether training patients far from all others are left out of the fit, where the recipe
        does not say so itself.

    Raises
    ------
    DataError
        If there are too few patients or features for ``dim`` dimensions, or a step refuses them.
    """
    rows = _usable(train, modality, {kind for kind, _ in preprocessing}, leave_out_outliers)
    rows = select_training(rows, preprocessing)
    kept, outliers = list(rows.columns), len(train) - len(rows)
    if len(rows) <= dim or len(kept) < dim or len(validation) < 2:
        raise DataError(
            f"a {dim}-dimensional space of {modality} needs more than {dim} training patients, "
            f"{dim} varying features with under {MAX_FEATURE_GAPS:.0%} gaps, 2 validation ones, "
            f"not {len(rows)}, {len(kept)} and {len(validation)}"
        )
    steps = fit_steps(rows, preprocessing)
    ready, held = (
        apply_steps(steps, t[kept].to_numpy(dtype=np.float32), rows=t.index, columns=kept)
        for t in (rows, validation)
    )
    if np.isnan(ready).any():
        raise DataError(
            f"preprocessing of {modality} leaves gaps; add a 'fill-median' or 'fill-knn' step"
        )
    fitted = _fit_encoder(encoder, ready, held, dim)
    codes = fitted.encode(ready)
    directions = int((codes.std(axis=0) > 1e-4).sum())
    if directions < dim:
        raise DataError(
            f"a {dim}-dimensional space of {modality} needs training patients that vary in {dim} "
            f"directions, these vary in {directions}; fit at most {directions} dimensions"
        )
    unmeasured = np.zeros(len(kept), dtype=np.float32)
    space = Space(
        modality=modality,
        name=name,
        version=version,
        features=tuple(map(str, kept)),
        steps=steps,
        encoder=fitted,
        center=rows.mean().to_numpy(dtype=np.float32),
        scale=rows.std(ddof=0).to_numpy(dtype=np.float32),
        latent_mean=codes.mean(axis=0),
        latent_scale=codes.std(axis=0),
        residual_sd=unmeasured,
        r2=unmeasured,
        unit=unit,
        max_missing_fraction=MAX_PATIENT_GAPS if train[kept].isna().any(axis=None) else 0.0,
    )
    return _measured(space, validation, len(rows), outliers)


def _usable(
    train: pd.DataFrame, modality: str, named: set[str], leave_out_outliers: bool
) -> pd.DataFrame:
    """The training patients and features that are left without a recipe's doing."""
    rows = train
    if "covered-features" not in named:
        rows = rows[covered_features(rows, MAX_FEATURE_GAPS)]
    if "varying-features" not in named:
        rows = rows[varying_features(rows)]
    if "outlier-samples" not in named and leave_out_outliers and rows.size and len(rows) > 1:
        rows = rows[~outlier_samples(rows.to_numpy(dtype=np.float32), modality)]
    return rows


def _fit_encoder(name: EncoderName, train: Float32, validation: Float32, dim: int) -> Encoder:
    if name == "pca":
        return PCAEncoder.fit(train, dim)
    config = AutoencoderConfig(variational=name == "variational")
    return fit_autoencoder(train, validation, dim, config)


def _measured(space: Space, validation: pd.DataFrame, rows: int, outliers: int) -> FittedSpace:
    """Encode and decode the validation patients; gaps count as met."""
    real = validation[list(space.features)].to_numpy(dtype=np.float32)
    encoded = space.encode(validation, f"the validation table of {space.modality}")
    decoded = space.decode(encoded.to_numpy())
    real = np.where(np.isnan(real), decoded, real)
    wanted, got = space.standardised(real), space.standardised(decoded)
    each = r2_per_feature(wanted, got)
    return FittedSpace(
        space=replace(
            space,
            residual_sd=(real - decoded).std(axis=0).astype(np.float32),
            r2=each.astype(np.float32),
        ),
        n_train=rows,
        n_outliers=outliers,
        n_validation=len(validation),
        r2=r2_pooled(wanted, got),
        r2_feature_mean=float(np.nanmean(each)),
    )
