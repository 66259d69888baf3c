"""Steps that change the scale of values; gaps stay gaps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import pandas as pd

from codenoise.core.base.errors import DataError, first_few
from codenoise.core.spaces.steps.base import (
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_VECTOR,
    VECTOR,
    Float32,
    StoredStep,
    library_sizes,
    one_of,
    per_feature,
    refuse_cells,
)
from codenoise.core.spaces.steps.selection import varying_features

# No sequencing run counts more; a larger "logarithm" is a count.
MAX_LOG2_COUNT = 40


@dataclass(frozen=True)
class CountsFromLog2(StoredStep):
    """Counts from ``log2(count + offset)``, the form in which public matrices come.

    Rounding of the input may give counts a trace under zero; these become zero.
    """

    kind: ClassVar[str] = "counts-from-log2"
    offset: float = field(metadata=POSITIVE)

    @classmethod
    def fit(cls, train: pd.DataFrame, offset: float = 1.0) -> Self:  # noqa: ARG003 (learns nothing)
        """``offset`` is what was added to the counts before their logarithm was taken."""
        return cls(offset)

    def apply(self, values: Float32) -> Float32:
        """Log2 values to counts; `DataError` for values that stand for counts under zero."""
        problem = (
            f"is not log2(count + {self.offset:g}) of a count from 0 to 2**{MAX_LOG2_COUNT}; give "
            f"the offset that was added, or leave this step out if the table holds no log2 values"
        )
        refuse_cells(values > MAX_LOG2_COUNT, values, self.kind, problem)
        counts = np.exp2(values) - self.offset
        refuse_cells(counts < -0.01 * self.offset, values, self.kind, problem)
        return np.asarray(np.maximum(counts, 0), dtype=np.float32)

    def invert(self, values: Float32) -> Float32:
        """Counts to log2 values; counts that a generator put under zero count as zero."""
        return np.asarray(np.log2(np.maximum(values, 0) + self.offset), dtype=np.float32)


@dataclass(frozen=True)
class Cpm(StoredStep):
    """Counts per million of a patient's library, the sum over the features of this table.

    A generated patient has no library of their own: `invert` gives counts at ``library_size``,
    the training patients' median, and so returns real patients' counts up to a factor each.
    Features left out before this step do not count towards the library.
    """

    kind: ClassVar[str] = "cpm"
    library_size: float = field(metadata=POSITIVE)

    @classmethod
    def fit(cls, train: pd.DataFrame) -> Self:
        """Take the reference library size from training counts."""
        return cls(float(np.nanmedian(library_sizes(train.to_numpy(np.float32), cls.kind))))

    def apply(self, values: Float32) -> Float32:
        """Counts to counts per million; `DataError` for negative counts and empty libraries."""
        return np.asarray(values / library_sizes(values, self.kind)[:, None] * 1e6, np.float32)

    def invert(self, values: Float32) -> Float32:
        """Counts per million to counts in a library of the reference size."""
        return np.asarray(values * (self.library_size / 1e6), dtype=np.float32)


@dataclass(frozen=True)
class Log(StoredStep):
    """Logarithm of value + offset, ``function`` being ``log2`` or ``ln``.

    Inverting never gives less than zero, which the step would not have taken.
    """

    kind: ClassVar[str] = "log"
    function: str = field(metadata=one_of("log2", "ln"))
    offset: float = field(metadata=NOT_NEGATIVE)

    @classmethod
    def fit(
        cls,
        train: pd.DataFrame,  # noqa: ARG003 (learns nothing)
        function: str = "log2",
        offset: float = 1.0,
    ) -> Self:
        """``offset``, in units of the values, keeps zeros finite."""
        return cls(function, offset)

    def apply(self, values: Float32) -> Float32:
        """Values to logarithms; `DataError` for values that have none."""
        bad = (values < 0) | (values + self.offset <= 0)
        problem = "has no logarithm here; expected amounts of 0 or more, and an offset over 0 with"
        refuse_cells(
            bad, values, self.kind, f"{problem} zeros: is the table logged or scaled already?"
        )
        log = np.log2 if self.function == "log2" else np.log
        return np.asarray(log(values + self.offset), dtype=np.float32)

    def invert(self, values: Float32) -> Float32:
        """Logarithms to values."""
        with np.errstate(over="ignore"):  # far outside the data; stays finite below
            grown = np.exp2(values) if self.function == "log2" else np.exp(values)
        return np.clip(grown - self.offset, 0, np.finfo(np.float32).max).astype(np.float32)


@dataclass(frozen=True)
class CopyRatio(StoredStep):
    """Log2 ratio of copies to the diploid two, clipped to +- ``limit``.

    Zeros become gaps, as in the paper: they have no logarithm. Copies beyond the limits come back
    from `invert` as the limit: 0.5 and 8 copies by default.
    """

    kind: ClassVar[str] = "copy-ratio"
    limit: float = field(metadata=POSITIVE)

    @classmethod
    def fit(cls, train: pd.DataFrame, limit: float = 2.0) -> Self:  # noqa: ARG003 (learns nothing)
        """``limit`` is in log2 units."""
        return cls(limit)

    def apply(self, values: Float32) -> Float32:
        """Copies to log2 ratios; `DataError` for less than no copies."""
        problem = "is under 0; expected copies, 2 being normal: leave this step out for log2 ratios"
        refuse_cells(values < 0, values, self.kind, problem)
        ratio = np.log2(np.where(values == 0, np.float32(np.nan), values) / 2)
        return np.asarray(np.clip(ratio, -self.limit, self.limit), dtype=np.float32)

    def invert(self, values: Float32) -> Float32:
        """Log2 ratios to copies."""
        return np.asarray(2 * np.exp2(np.clip(values, -self.limit, self.limit)), dtype=np.float32)


@dataclass(frozen=True)
class MedianCentre(StoredStep):
    """Subtract medians: of each feature over training patients, or of each patient.

    ``axis='feature'`` is the paper's centring per protein; ``axis='sample'`` the reference code's.
    A generated patient has no median of their own, so under ``'sample'`` `invert` adds the median
    of the training patients' medians, which ``median`` then holds for every feature.
    """

    kind: ClassVar[str] = "median-centre"
    axis: str = field(metadata=one_of("feature", "sample"))
    median: Float32 = field(repr=False, metadata=VECTOR)

    @classmethod
    def fit(cls, train: pd.DataFrame, axis: str = "feature") -> Self:
        """Take medians of observed values; `DataError` for a feature without any."""
        median = per_feature(train.median(), cls.kind)
        if axis == "sample":
            median = np.full_like(median, np.nanmedian(train.median(axis=1)))
        return cls(axis, median)

    def apply(self, values: Float32) -> Float32:
        """Centre values."""
        if self.axis == "sample":  # pandas, because numpy warns of patients without any value
            own = pd.DataFrame(values).median(axis=1).to_numpy(dtype=np.float32)
            return np.asarray(values - own[:, None], dtype=np.float32)
        return np.asarray(values - self.median, dtype=np.float32)

    def invert(self, values: Float32) -> Float32:
        """Centred values to the input's units."""
        return np.asarray(values + self.median, dtype=np.float32)


@dataclass(frozen=True)
class Standardise(StoredStep):
    """Subtract the mean and divide by the standard deviation (``ddof=0``) of training patients."""

    kind: ClassVar[str] = "standardise"
    mean: Float32 = field(repr=False, metadata=VECTOR)
    scale: Float32 = field(repr=False, metadata=POSITIVE_VECTOR)

    @classmethod
    def fit(cls, train: pd.DataFrame) -> Self:
        """Take both from observed values; `DataError` for a feature that does not vary."""
        exact = train.astype(np.float64)
        mean = per_feature(exact.mean(), cls.kind)
        constant = train.columns.difference(varying_features(train), sort=False)
        if len(constant):
            raise DataError(
                f"step {cls.kind!r}: {len(constant)} of {len(train.columns)} features are the same "
                f"in all training patients: {first_few(constant)}; leave them out by the step "
                f"'varying-features'"
            )
        return cls(mean, per_feature(exact.std(ddof=0), cls.kind))

    def apply(self, values: Float32) -> Float32:
        """Values in standard deviations of training patients."""
        return np.asarray((values - self.mean) / self.scale, dtype=np.float32)

    def invert(self, values: Float32) -> Float32:
        """Standardised values to the input's units."""
        return np.asarray(values * self.scale + self.mean, dtype=np.float32)


@dataclass(frozen=True)
class Clip(StoredStep):
    """Bound values to +- ``limit``; `invert` cannot tell what was beyond."""

    kind: ClassVar[str] = "clip"
    limit: float = field(metadata=POSITIVE)

    @classmethod
    def fit(cls, train: pd.DataFrame, limit: float = 10.0) -> Self:  # noqa: ARG003 (learns nothing)
        """``limit`` is in units of the values, standard deviations after 'standardise'."""
        return cls(limit)

    def apply(self, values: Float32) -> Float32:
        """Bounded values."""
        return np.clip(values, -self.limit, self.limit)
