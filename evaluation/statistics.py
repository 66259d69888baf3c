"""Repeated-measures tests with post-hoc correction, and intervals (the paper, S6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from codenoise.core.base.errors import DataError
from codenoise.core.base.optional import needed, quiet

FEWEST = 5  # subjects; a signed-rank test of fewer cannot reach any usual level


@dataclass(frozen=True)
class Comparison:
    """Several methods measured on the same subjects.

    Attributes
    ----------
    subjects
        Number of subjects with a value of every method.
    overall
        The test of any difference, ready to be read: Friedman's where there are three methods or
        more.
    p
        Its p-value; NaN where it could not be made.
    pairs
        Columns ``first``, ``second``, ``p`` (Wilcoxon's signed-rank test, Holm-corrected over all
        pairs).
    measured
        The measure of each subject (rows) by each method (columns).
    """

    subjects: int
    overall: str
    p: float
    pairs: pd.DataFrame
    measured: pd.DataFrame

    def between(self, first: str, second: str) -> str:
        """The corrected test of two methods, ready to be read.

        Raises
        ------
        DataError
            If the two were not compared.
        """
        p = p_text(self.p_of(first, second))
        return (
            f"{first} - {second}: median {self.difference(first, second):+.3f}, Wilcoxon "
            f"signed-rank, {p} after Holm, n = {self.subjects}"
        )

    def difference(self, first: str, second: str) -> float:
        """Median over subjects of the first less the second."""
        return float((self.measured[first] - self.measured[second]).median())

    def p_of(self, first: str, second: str) -> float:
        """The corrected p-value of two methods.

        Raises
        ------
        DataError
            If the two were not compared.
        """
        both = self.pairs[["first", "second"]].isin([first, second]).all(axis=1)
        if first == second or not both.any():
            raise DataError(f"{first} and {second} were not compared")
        return float(self.pairs.loc[both, "p"].iloc[0])

    def significant(self, first: str, second: str, level: float = 0.05) -> bool:
        """Whether the corrected test tells two methods apart; never where there was none."""
        return len(self.pairs) > 0 and self.p_of(first, second) < level


def compare(frame: pd.DataFrame, *, value: str, method: str, subject: list[str]) -> Comparison:
    """Compare methods on the subjects that have a value of every one.

    Parameters
    ----------
    frame
        Tidy rows. Several of one method and subject are averaged.
    value, method
        Columns of the measure and of the method's name.
    subject
        Columns that together name a subject (a patient, a target with its conditions, ...).

    Raises
    ------
    DataError
        If fewer than two methods are there.
    """
    wide = frame.pivot_table(index=subject, columns=method, values=value, sort=False).dropna()
    names = list(wide.columns)
    if len(names) < 2:
        raise DataError(f"a comparison needs two methods; there are {names}")
    if len(wide) < FEWEST:
        pairs = pd.DataFrame(columns=["first", "second", "p"])
        return Comparison(len(wide), f"not tested: {len(wide)} subjects", np.nan, pairs, wide)
    long = wide.reset_index(drop=True).rename_axis("subject").reset_index()
    long = long.melt("subject", var_name="method", value_name="value")
    pingouin = needed("pingouin", "comparing methods", extra="evaluation")
    with quiet():
        found = pingouin.pairwise_tests(
            long, dv="value", within="method", subject="subject", parametric=False, padjust="holm"
        )
        overall, p = "two methods, see the pair", np.nan
        if len(names) > 2:
            test = pingouin.friedman(long, dv="value", within="method", subject="subject").iloc[0]
            p = float(test["p_unc"])
            overall = (
                f"Friedman chi2({int(test['ddof1'])}) = {float(test['Q']):.1f}, {p_text(p)}, "
                f"n = {len(wide)}"
            )
    corrected = found["p_corr"] if "p_corr" in found else found["p_unc"]
    first, second = found["A"].astype(str), found["B"].astype(str)
    pairs = pd.DataFrame({"first": first, "second": second, "p": corrected})
    return Comparison(len(wide), overall, p, pairs, wide)


def p_text(p: float) -> str:
    """A p-value as it is read."""
    if np.isnan(p):
        return "p not available"
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".")


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95% interval of a mean over subjects, by bootstrap (BCa, 2,000 resamples).

    NaN where there are fewer than `FEWEST` values, of which it would be far too narrow, or none
    differs.
    """
    from scipy.stats import bootstrap

    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if len(known) < FEWEST or np.ptp(known) == 0:
        return float("nan"), float("nan")
    found = bootstrap((known,), np.mean, n_resamples=2000, rng=seed).confidence_interval
    return float(found.low), float(found.high)


def effective_experts(weights: ArrayLike) -> float:
    """Number of equally weighted experts with the same entropy: one to ``len(weights)``.

    The exponential of Shannon's entropy in nats (Hill's number of order one). NaN where a weight is
    unknown or none is positive.

    Parameters
    ----------
    weights
        Non-negative, shape ``(experts,)``; scaled to sum to one.
    """
    values = np.asarray(weights, dtype=np.float64)
    total = float(values.sum())
    if not np.all(np.isfinite(values)) or total <= 0:
        return float("nan")
    shares = values[values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))
