"""Rubin's rules: one estimate, with honest uncertainty, from those of several completed tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from codenoise.core.base.errors import DataError

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Pooled:
    """Pooled estimates of one or more quantities, each array of their shape.

    Attributes
    ----------
    estimate, standard_error
        The mean over tables, and its standard error: sampling and imputation together.
    dof
        Degrees of freedom of Student's t for intervals and tests.
    fraction_missing
        Fraction of missing information: the share of the uncertainty that is due to imputation.
    """

    estimate: Float64
    standard_error: Float64
    dof: Float64
    fraction_missing: Float64

    def interval(self, level: float = 0.95) -> tuple[Float64, Float64]:
        """Lower and upper ends of confidence intervals.

        Parameters
        ----------
        level
            Share of such intervals that hold the true value.
        """
        half = stats.t.ppf(0.5 + level / 2, self.dof) * self.standard_error
        return self.estimate - half, self.estimate + half

    def p_values(self, null: float = 0.0) -> Float64:
        """Two-sided p-values of the hypothesis that the true value is ``null``."""
        with np.errstate(divide="ignore", invalid="ignore"):  # no error at all: p is 0, or NaN at 0
            t = np.abs(self.estimate - null) / self.standard_error
        return np.asarray(2 * stats.t.sf(t, self.dof))

    def table(self, names: list[str] | None = None, level: float = 0.95) -> pd.DataFrame:
        """One row for each quantity, with its interval and p-value.

        Parameters
        ----------
        names
            Of the quantities, for the index.
        level
            Of the intervals.
        """
        low, high = self.interval(level)
        return pd.DataFrame(
            {
                "estimate": np.ravel(self.estimate),
                "standard_error": np.ravel(self.standard_error),
                "low": np.ravel(low),
                "high": np.ravel(high),
                "p": np.ravel(self.p_values()),
                "dof": np.ravel(self.dof),
                "fraction_missing": np.ravel(self.fraction_missing),
            },
            index=names,
        )


def pool(
    estimates: ArrayLike, standard_errors: ArrayLike, *, complete_dof: float = np.inf
) -> Pooled:
    """Combine what was estimated on each of several completed tables (Rubin 1987, section 3.1).

    The pooled variance is the mean sampling variance and, times ``1 + 1 / m``, the variance of the
    estimates between the ``m`` tables. Degrees of freedom are those of Barnard & Rubin (1999,
    eq. 3), which never exceed the ones that complete data would have.

    Parameters
    ----------
    estimates
        Of each table, shape ``(m, ...)``: one quantity, or an array of them, at least two tables.
    standard_errors
        Their sampling standard errors, same shape, not negative.
    complete_dof
        Degrees of freedom if nothing had been missing, such as patients less coefficients.

    Raises
    ------
    DataError
        If there are fewer than two tables, the shapes differ, a value is not finite, or a standard
        error is negative.

    Examples
    --------
    >>> pooled = pool([1.9, 2.1, 2.0], [0.5, 0.5, 0.5])
    >>> float(pooled.estimate.round(3)), float(pooled.standard_error.round(3))
    (2.0, 0.513)
    """
    values, errors = np.asarray(estimates, np.float64), np.asarray(standard_errors, np.float64)
    _check(values, errors)
    count = len(values)
    within = np.mean(errors**2, axis=0)
    between = (1 + 1 / count) * values.var(axis=0, ddof=1)
    total = within + between
    share = np.divide(between, total, out=np.zeros_like(total), where=total > 0)
    dof = _dof(share, count, complete_dof)
    # Share of information that imputation cost, the degrees of freedom accounted for (eq. 3.1.10).
    ratio = np.divide(between, within, out=np.full_like(total, np.inf), where=within > 0)
    ratio = np.where(total > 0, ratio, 0.0)
    with np.errstate(invalid="ignore"):
        fraction = np.where(np.isinf(ratio), 1.0, (ratio + 2 / (dof + 3)) / (ratio + 1))
    fraction = np.where(share > 0, fraction, 0.0)
    return Pooled(values.mean(axis=0), np.sqrt(total), dof, fraction)


def _dof(share: Float64, count: int, complete: float) -> Float64:
    with np.errstate(divide="ignore", over="ignore"):  # nothing missing: any number will do
        large = (count - 1) / share**2
    if np.isinf(complete):
        return np.asarray(large)
    observed = (complete + 1) / (complete + 3) * complete * (1 - share)
    return np.asarray(1 / (1 / large + 1 / np.maximum(observed, np.finfo(float).tiny)))


def _check(values: Float64, errors: Float64) -> None:
    if values.shape != errors.shape or values.ndim == 0:
        raise DataError(
            f"estimates have shape {values.shape} and standard errors {errors.shape}; give one of "
            f"each for every table, tables first"
        )
    if len(values) < 2:
        raise DataError(
            f"pooling needs the estimates of at least 2 completed tables, not {len(values)}; a "
            f"single table cannot tell how much its imputation adds to the error"
        )
    for what, array in (("estimate", values), ("standard error", errors)):
        wrong = np.argwhere(~np.isfinite(array))
        if len(wrong):
            raise DataError(
                f"the {what} of table {wrong[0][0] + 1} is {array[tuple(wrong[0])]}; leave "
                f"quantities out that cannot be estimated on every table"
            )
    if (errors < 0).any():
        place = np.argwhere(errors < 0)[0]
        raise DataError(
            f"the standard error of table {place[0] + 1} is {errors[tuple(place)]}; give standard "
            f"errors, which are not negative"
        )
