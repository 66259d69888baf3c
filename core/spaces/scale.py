"""Scale traps: a table in other units than the space was fitted in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError

Float32 = NDArray[np.float32]

# A cohort of one cancer type lies up to about one training standard deviation off in the median
# feature; a wrong unit lies several off, or spreads several times too wide or too narrow.
MAX_SHIFT, MAX_SPREAD, MIN_SPREAD = 2.0, 5.0, 0.2
# Below this many patients the spread of a feature says little.
MIN_PATIENTS = 10
# Patients whose values are held in double precision at a time.
BLOCK = 4096


@dataclass(frozen=True)
class Moments:
    """Mean and spread of each feature, of a table that may come in parts.

    Attributes
    ----------
    patients
        How many there are.
    counted, mean, squares
        Per feature: values that are no gap, their mean, and the sum of squared deviations from it.
    """

    patients: int
    counted: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, values: Float32) -> Moments:
        """Those of patients x features, gaps as NaN."""
        none = np.zeros(values.shape[1])
        found = cls(0, none, none, none)
        for start in range(0, len(values), BLOCK):
            block = values[start : start + BLOCK].astype(np.float64)
            counted = (~np.isnan(block)).sum(axis=0).astype(np.float64)
            mean = np.nansum(block, axis=0) / np.maximum(counted, 1)
            squares = np.nansum((block - mean) ** 2, axis=0)
            found = found.joined(cls(len(block), counted, mean, squares))
        return found

    def joined(self, other: Moments) -> Moments:
        """Those of both tables together (Chan et al. 1979)."""
        counted = self.counted + other.counted
        share = other.counted / np.maximum(counted, 1)
        apart = other.mean - self.mean
        return Moments(
            self.patients + other.patients,
            counted,
            self.mean + apart * share,
            self.squares + other.squares + apart**2 * self.counted * share,
        )


def check_scale(
    values: Float32, center: Float32, scale: Float32, source: str, space: str, unit: str
) -> None:
    """Refuse values far from the training patients', naming the transform that would mend them.

    Parameters
    ----------
    values
        Patients x features, gaps as NaN.
    center, scale
        Mean and standard deviation of the training patients, per feature.
    source, space, unit
        For the message.

    Raises
    ------
    DataError
        If the median feature lies more than `MAX_SHIFT` training standard deviations off, or
        spreads more than `MAX_SPREAD` times or less than `MIN_SPREAD` times as wide.
    """
    check_moments(Moments.of(values), values, center, scale, source, space, unit)


def check_moments(
    moments: Moments,
    some: Float32,
    center: Float32,
    scale: Float32,
    source: str,
    space: str,
    unit: str,
) -> None:
    """Like `check_scale`, of the moments of a table that is not held whole.

    Parameters
    ----------
    moments
        Of all patients.
    some
        Values of some of them, by which the transform that would mend the others is found.
    center, scale, source, space, unit
        As in `check_scale`.

    Raises
    ------
    DataError
        As in `check_scale`.
    """
    problem = _off(moments, center, scale)
    if problem is None:
        return
    mends = [
        name
        for name, changed in _transforms(some)
        if _off(Moments.of(changed), center, scale) is None
    ]
    mend = f"{mends[0]} would fit" if mends else "no usual transform would fit"
    raise DataError(f"{source} is not on the scale of space {space} ({unit}): {problem}; {mend}")


def _off(moments: Moments, center: Float32, scale: Float32) -> str | None:
    """What is far off, or ``None``."""
    known = moments.counted > 0
    if not known.any():
        return None
    shift = float(np.median(np.abs(moments.mean - center)[known] / scale[known]))
    if shift > MAX_SHIFT:
        return f"its median feature lies {shift:.1f} standard deviations from the training mean"
    if moments.patients < MIN_PATIENTS:
        return None
    deviation = np.sqrt(moments.squares[known] / moments.counted[known])
    spread = float(np.median(deviation / scale[known]))
    if not MIN_SPREAD <= spread <= MAX_SPREAD:
        return f"its median feature spreads {spread:.2g} times as wide as in training"
    return None


def _transforms(values: Float32) -> Iterator[tuple[str, Float32]]:
    """Usual transforms that these values admit, by name."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    wide = values.astype(np.float64)
    plain: list[tuple[str, bool, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = [
        ("log2(x + 1)", low >= 0, lambda x: np.log2(x + 1)),
        ("log2(x)", low > 0, np.log2),
        ("log2(x / 2)", low > 0, lambda x: np.log2(x / 2)),
        ("sign(x) * log(1 + abs(x))", True, lambda x: np.sign(x) * np.log1p(np.abs(x))),
        ("2**x - 1", high < 64, lambda x: np.exp2(x) - 1),
        ("2**x", high < 64, np.exp2),
    ]
    for name, admitted, transform in plain:
        if admitted:
            yield name, transform(wide).astype(np.float32)
    if len(values) >= MIN_PATIENTS:
        scored = "a z-score of each feature within the cohort"
        ways = [(scored, wide)]
        if low >= 0:
            ways.append((f"log2(x + 1) and then {scored}", np.log2(wide + 1)))
        # No logarithm reaches 64, so these are amounts, which are logged before they are scored.
        for name, given in reversed(ways) if high >= 64 else ways:
            yield name, _z_scores(given)


def _z_scores(values: NDArray[np.float64]) -> Float32:
    spread = np.nanstd(values, axis=0)
    spread[spread == 0] = 1
    return np.asarray((values - np.nanmean(values, axis=0)) / spread, dtype=np.float32)
