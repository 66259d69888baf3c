"""Scale traps: a table in other units than the space was fitted in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from codenoise.core.errors import DataError

Float32 = NDArray[np.float32]

# A cohort of one cancer type lies up to about one training standard deviation off in the median
# feature; a wrong unit lies several off, or spreads several times too wide or too narrow.
MAX_SHIFT, MAX_SPREAD, MIN_SPREAD = 2.0, 5.0, 0.2
# Below this many patients the spread of a feature says little.
MIN_PATIENTS = 10


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
    problem = _off(values, center, scale)
    if problem is None:
        return
    mends = [name for name, changed in _transforms(values) if _off(changed, center, scale) is None]
    mend = f"{mends[0]} would fit" if mends else "no usual transform would fit"
    raise DataError(f"{source} is not on the scale of space {space} ({unit}): {problem}; {mend}")


def _off(values: Float32, center: Float32, scale: Float32) -> str | None:
    """What is far off, or ``None``."""
    if not len(values):
        return None
    counted = (~np.isnan(values)).sum(axis=0)
    known = counted > 0
    mean = np.nanmean(values[:, known], axis=0, dtype=np.float64)
    shift = float(np.median(np.abs(mean - center[known]) / scale[known]))
    if shift > MAX_SHIFT:
        return f"its median feature lies {shift:.1f} standard deviations from the training mean"
    if len(values) < MIN_PATIENTS:
        return None
    spread = float(np.median(np.nanstd(values[:, known], axis=0, dtype=np.float64) / scale[known]))
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
        yield scored, _z_scores(wide)
        if low >= 0:
            yield f"log2(x + 1) and then {scored}", _z_scores(np.log2(wide + 1))


def _z_scores(values: NDArray[np.float64]) -> Float32:
    spread = np.nanstd(values, axis=0)
    spread[spread == 0] = 1
    return np.asarray((values - np.nanmean(values, axis=0)) / spread, dtype=np.float32)
