"""Preprocessing steps: fitted on training patients, stored with a space, undone on decoding."""

from codenoise.core.spaces.steps.base import Step
from codenoise.core.spaces.steps.filling import FillKnn, FillMedian
from codenoise.core.spaces.steps.pipeline import (
    STEP_KINDS,
    Recipe,
    apply_steps,
    fit_steps,
    invert_steps,
    load_steps,
    select_training,
    store_steps,
)
from codenoise.core.spaces.steps.selection import (
    MAX_FEATURE_GAPS,
    covered_features,
    expressed_features,
    outlier_samples,
    varying_features,
)
from codenoise.core.spaces.steps.transforms import (
    Clip,
    CopyRatio,
    CountsFromLog2,
    Cpm,
    Log,
    MedianCentre,
    Standardise,
)

__all__ = [
    "MAX_FEATURE_GAPS",
    "STEP_KINDS",
    "Clip",
    "CopyRatio",
    "CountsFromLog2",
    "Cpm",
    "FillKnn",
    "FillMedian",
    "Log",
    "MedianCentre",
    "Recipe",
    "Standardise",
    "Step",
    "apply_steps",
    "covered_features",
    "expressed_features",
    "fit_steps",
    "invert_steps",
    "load_steps",
    "outlier_samples",
    "select_training",
    "store_steps",
    "varying_features",
]
