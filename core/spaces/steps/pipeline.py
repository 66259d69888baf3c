"""Steps one after another: fitted, applied, undone, stored and loaded."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from codenoise.core.base.errors import DataError, first_few
from codenoise.core.spaces.steps.base import (
    Float32,
    Names,
    Option,
    Step,
    checked_scalar,
    naming_cells,
    refuse_cells,
)
from codenoise.core.spaces.steps.filling import FillKnn, FillMedian
from codenoise.core.spaces.steps.selection import (
    CoveredFeatures,
    ExpressedFeatures,
    OutlierSamples,
    Selection,
    VaryingFeatures,
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

_CLASSES: tuple[type[Step], ...] = (
    CountsFromLog2,
    Cpm,
    Log,
    CopyRatio,
    MedianCentre,
    FillMedian,
    FillKnn,
    Standardise,
    Clip,
    ExpressedFeatures,
    CoveredFeatures,
    VaryingFeatures,
    OutlierSamples,
)
STEP_KINDS: Mapping[str, type[Step]] = {step.kind: step for step in _CLASSES}


Recipe = Sequence[tuple[str, Mapping[str, Option]]]


def select_training(train: pd.DataFrame, recipe: Recipe) -> pd.DataFrame:
    """The training patients and features that the selections of a recipe leave.

    Each selection sees the values as the steps before it leave them, fitted on what the selections
    before it have left.

    Parameters
    ----------
    train, recipe
        As in `fit_steps`.

    Returns
    -------
    pandas.DataFrame
        Values as they were given; to be given to `fit_steps` with the same recipe.

    Raises
    ------
    DataError
        As in `fit_steps`.
    """
    chosen = [number for number, (kind, _) in enumerate(recipe) if _is_selection(kind)]
    frame = train.astype(np.float32) if chosen else train
    for kind, options in recipe[: chosen[-1] + 1] if chosen else ():
        step = _fitted(frame, kind, options)
        with naming_cells(frame.index, frame.columns):
            frame = step.selected(frame) if isinstance(step, Selection) else _applied(step, frame)
    return train.loc[frame.index, frame.columns]


def fit_steps(train: pd.DataFrame, recipe: Recipe) -> tuple[Step, ...]:
    """Fit steps one after another, each on training values as the steps before it leave them.

    Selections select nothing here, see `select_training`.

    Parameters
    ----------
    train
        Training patients x features, in the units of the first step; gaps are NaN.
    recipe
        Kind, one of `STEP_KINDS`, and options of each step, in order.

    Raises
    ------
    DataError
        If a step or an option is unknown, or a value cannot go through a step; names the patient
        and the feature.
    """
    steps: list[Step] = []
    frame = train.astype(np.float32)
    for kind, options in recipe:
        steps.append(_fitted(frame, kind, options))
        frame = _applied(steps[-1], frame)
    return tuple(steps)


def _fitted(train: pd.DataFrame, kind: str, options: Mapping[str, Option]) -> Step:
    step_class = _step_class(kind)
    checked = _fit_options(step_class, options)
    with naming_cells(train.index, train.columns):
        return step_class.fit(train, **checked)


def _applied(step: Step, frame: pd.DataFrame) -> pd.DataFrame:
    values = apply_steps([step], frame.to_numpy(), rows=frame.index, columns=frame.columns)
    return pd.DataFrame(values, index=frame.index, columns=frame.columns)


def _is_selection(kind: str) -> bool:
    return issubclass(_step_class(kind), Selection)


def _fit_options(step: type[Step], options: Mapping[str, Option]) -> dict[str, Option]:
    known = {name: str(p.annotation) for name, p in inspect.signature(step.fit).parameters.items()}
    del known["train"]
    if unknown := [name for name in options if name not in known]:
        raise DataError(
            f"step {step.kind!r} has no option {first_few(unknown)}; "
            f"it takes {', '.join(known) or 'none'}"
        )
    return {
        name: checked_scalar(step.kind, name, known[name], value) for name, value in options.items()
    }


def apply_steps(
    steps: Sequence[Step],
    values: Float32,
    *,
    rows: Names | None = None,
    columns: Names | None = None,
) -> Float32:
    """Values ``(patients, features)`` after all steps; the input array is left as it is.

    Parameters
    ----------
    steps, values
        What to do, and float32 values in the units of the first step's input; gaps are NaN.
    rows, columns
        Names of patients and features for messages, which have positions counted from 1 without.

    Raises
    ------
    DataError
        If a value is infinite or cannot go through a step, or the number of features is not the
        one that the steps were fitted on.
    """
    with naming_cells(rows, columns):
        first = steps[0].kind if steps else "none"
        refuse_cells(np.isinf(values), values, first, "is no measurement; leave the cell empty")
        for step in steps:
            _check_width(step, values)
            values = step.apply(values)
    return values


def invert_steps(steps: Sequence[Step], values: Float32) -> Float32:
    """Values ``(..., features)`` in the units of the first step's input.

    Filled gaps stay filled and clipped values clipped; the library size of 'cpm' and the patients'
    medians of 'median-centre' with ``axis='sample'`` are those of a typical training patient.

    Raises
    ------
    DataError
        If the number of features is not the one that the steps were fitted on.
    """
    for step in reversed(steps):
        _check_width(step, values)
        values = step.invert(values)
    return values


def _check_width(step: Step, values: Float32) -> None:
    for tensor in step.tensors().values():
        if tensor.shape[-1] != values.shape[-1]:
            raise DataError(
                f"step {step.kind!r} was fitted on {tensor.shape[-1]} features, not "
                f"{values.shape[-1]}; give the features of the space, in its order"
            )


def store_steps(steps: Sequence[Step]) -> tuple[list[dict[str, Any]], dict[str, Float32]]:
    """What a manifest and a tensor file keep: ``{"kind", "options"}`` each, ``step.N.name``."""
    stored = [{"kind": step.kind, "options": step.options()} for step in steps]
    tensors = {
        f"step.{number}.{name}": tensor
        for number, step in enumerate(steps)
        for name, tensor in step.tensors().items()
    }
    return stored, tensors


def load_steps(
    stored: Sequence[Mapping[str, Any]], tensors: Mapping[str, Float32]
) -> tuple[Step, ...]:
    """Rebuild what `store_steps` gave; tensors without the prefix ``step.`` are left alone.

    Raises
    ------
    DataError
        If a step is unknown, or an option or a tensor is missing, unknown or wrong.
    """
    steps: list[Step] = []
    used: set[str] = set()
    for number, item in enumerate(stored):
        if item.keys() != {"kind", "options"} or not isinstance(item["options"], Mapping):
            raise DataError(f"stored step {number} is {item!r}, expected its kind and options")
        prefix = f"step.{number}."
        names = [name for name in tensors if name.startswith(prefix)]
        used.update(names)
        own = {name.removeprefix(prefix): tensors[name] for name in names}
        steps.append(_step_class(item["kind"]).from_stored(item["options"], own))
    if left := sorted(name for name in tensors if name.startswith("step.") and name not in used):
        raise DataError(f"tensors {first_few(left)} belong to none of the {len(steps)} steps")
    widths = {tensor.shape[-1] for step in steps for tensor in step.tensors().values()}
    if len(widths) > 1:
        raise DataError(f"stored steps differ in their number of features: {sorted(widths)}")
    return tuple(steps)


def _step_class(kind: object) -> type[Step]:
    if not isinstance(kind, str) or kind not in STEP_KINDS:
        raise DataError(f"preprocessing step {kind!r} is unknown; known: {', '.join(STEP_KINDS)}")
    return STEP_KINDS[kind]
