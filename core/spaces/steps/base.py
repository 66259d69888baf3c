"""What a preprocessing step is, and what the steps share: storage, checks, messages.

A step maps float32 values ``(patients, features)`` to values of the same shape. Gaps are NaN and
pass through every step except those that fill them. Steps take and return arrays; `fit_steps` and
`apply_steps` know the names of patients and features and put them into messages.

The steps and their defaults follow the Methods of the paper (doi:10.1371/journal.pcbi.1013455).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError, first_few

Float32 = NDArray[np.float32]
Option = int | float | str
Names = Sequence[Any] | pd.Index


class Step(Protocol):
    """One named transformation, its parameters learnt from training patients alone."""

    kind: ClassVar[str]

    @classmethod
    def fit(cls, train: pd.DataFrame, *args: Any, **options: Any) -> Self: ...  # noqa: D102
    @classmethod
    def from_stored(  # noqa: D102
        cls, options: Mapping[str, Option], tensors: Mapping[str, Float32]
    ) -> Self: ...
    def apply(self, values: Float32) -> Float32: ...  # noqa: D102
    def invert(self, values: Float32) -> Float32: ...  # noqa: D102
    def options(self) -> dict[str, Option]: ...  # noqa: D102
    def tensors(self) -> dict[str, Float32]: ...  # noqa: D102


@dataclass(frozen=True)
class StoredStep:
    """Checks and storage of a step: its scalars are options, its arrays tensors.

    Every field has one of the requirements below as its metadata.
    """

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        for item in fields(self):
            value, expected = getattr(self, item.name), item.metadata["expected"]
            if item.type in SCALARS:
                value = checked_scalar(self.kind, item.name, str(item.type), value)
                object.__setattr__(self, item.name, value)  # 2 given for 2.0
            if not item.metadata["holds"](value):
                given = repr(value) if item.type in SCALARS else f"an array {value.shape}"
                raise DataError(f"step {self.kind!r}: {item.name} is {given}, expected {expected}")

    @classmethod
    def from_stored(cls, options: Mapping[str, Option], tensors: Mapping[str, Float32]) -> Self:
        """Rebuild from `options` and `tensors`; `DataError` if any is missing, unknown or wrong."""
        scalars = {item.name for item in fields(cls) if item.type in SCALARS}
        arrays = {item.name for item in fields(cls)} - scalars
        if wrong := (options.keys() ^ scalars) | (tensors.keys() ^ arrays):
            raise DataError(
                f"stored step {cls.kind!r} lacks, or does not know, {first_few(sorted(wrong))}; "
                f"expected options {sorted(scalars)} and tensors {sorted(arrays)}"
            )
        build: Callable[..., Self] = cls
        exact = {name: np.asarray(value, dtype=np.float32) for name, value in tensors.items()}
        return build(**options, **exact)

    def options(self) -> dict[str, Option]:
        """Scalars to be stored, as JSON holds them."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.type in SCALARS}

    def tensors(self) -> dict[str, Float32]:
        """Arrays to be stored, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.type not in SCALARS}

    def invert(self, values: Float32) -> Float32:
        """Values ``(..., features)`` as they are: what this step does is not undone."""
        return values


# Requirements of a step's fields: what a value has to be, in words and as a function.
POSITIVE = {"expected": "more than 0", "holds": lambda value: 0 < value < np.inf}
NOT_NEGATIVE = {"expected": "0 or more", "holds": lambda value: 0 <= value < np.inf}
SHARE = {"expected": "from 0 to 1", "holds": lambda value: 0 <= value <= 1}
VECTOR = {
    "expected": "one finite value per feature",
    "holds": lambda value: value.ndim == 1 and np.isfinite(value).all(),
}
POSITIVE_VECTOR = {
    "expected": "one value over 0 per feature",
    "holds": lambda value: value.ndim == 1 and np.isfinite(value).all() and (value > 0).all(),
}
MATRIX = {
    "expected": "one or more rows of one finite value per feature",
    "holds": lambda value: value.ndim == 2 and len(value) > 0 and np.isfinite(value).all(),
}


def one_of(*words: str) -> dict[str, Any]:
    """Requirement of a field that is one of a few words."""
    return {"expected": " or ".join(map(repr, words)), "holds": lambda value: value in words}


# Annotations of options, as they stand in the source of a step, and the types they name.
SCALARS: Mapping[str, type[int] | type[float] | type[str]] = {
    "int": int,
    "float": float,
    "str": str,
}


def checked_scalar(kind: str, name: str, annotation: str, value: object) -> Option:
    """Value of an option in the type that its annotation names; `DataError` for another type."""
    wanted = SCALARS[annotation]
    admitted = (int, float) if wanted is float else wanted
    if not isinstance(value, admitted) or isinstance(value, bool):
        raise DataError(
            f"step {kind!r}: option {name} is {value!r}, expected a value of type {annotation}"
        )
    return wanted(value)


def per_feature(statistic: pd.Series, kind: str) -> Float32:
    """A statistic of training patients, refused where a feature has no value to take it from."""
    empty = statistic.index[statistic.isna()]
    if len(empty):
        raise DataError(
            f"step {kind!r}: no training patient has a value for {len(empty)} of "
            f"{len(statistic)} features: {first_few(empty)}; leave them out by the step "
            f"'covered-features'"
        )
    return statistic.to_numpy(dtype=np.float32)


def library_sizes(counts: Float32, kind: str) -> Float32:
    """Sum of each patient's counts, NaN for a patient without any value."""
    refuse_cells(
        counts < 0, counts, kind, "is under 0; expected counts: undo their logarithm first"
    )
    empty = np.isnan(counts).all(axis=1)
    sizes = np.where(empty, np.nan, np.nansum(counts, axis=1, dtype=np.float64))
    if (sizes == 0).any():
        problem = "has no counts over 0, so no library size; leave the patient out"
        raise CellError(kind, int(np.argmax(sizes == 0)), None, problem)
    return np.asarray(sizes, dtype=np.float32)


def refuse_cells(bad: NDArray[np.bool_], values: Float32, kind: str, problem: str) -> None:
    """Raise for the first of the bad values, if there is one."""
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        count = int(bad.sum())
        others = f" (and {count - 1} more values)" if count > 1 else ""
        raise CellError(kind, row, column, f"{values[row, column]:g} {problem}{others}")


class CellError(DataError):
    """A value no step can take, known by its position until `naming_cells` gives it names."""

    def __init__(self, kind: str, row: int, column: int | None, problem: str) -> None:
        self.kind, self.row, self.column, self.problem = kind, row, column, problem
        place = f"row {row + 1}" if column is None else f"row {row + 1}, column {column + 1}"
        super().__init__(f"step {kind!r}, {place}: {problem}")


@contextmanager
def naming_cells(rows: Names | None, columns: Names | None) -> Iterator[None]:
    """Give a `CellError` the names of its patient and feature, where these are known."""
    try:
        yield
    except CellError as cell:
        if rows is None or columns is None:
            raise
        place = f"patient {str(rows[cell.row])!r}"
        if cell.column is not None:
            place += f", feature {str(columns[cell.column])!r}"
        raise DataError(f"step {cell.kind!r}, {place}: {cell.problem}") from None
