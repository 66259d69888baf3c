"""Acquisition curves: how predictions improve as real values replace generated ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
# Measure at each of many sets of patients acquired, of masks ``(sets, patients)``.
Judge = Callable[[Mask], Float]

FRACTIONS = np.linspace(0, 1, 11)  # of the patients, steps of 10%


@dataclass(frozen=True)
class Acquisition:
    """What is known of the test patients before and after a modality is measured.

    Attributes
    ----------
    outcome
        True outcomes, see `codenoise.core.prioritisation.outcomes.outcome`: ``(patients,)``.
    completed, real
        What the forest predicts from generated and from measured values: labels, or risks.
    score
        Counterfactual score, by which patients are acquired.
    """

    outcome: NDArray[Any]
    completed: NDArray[Any]
    real: NDArray[Any]
    score: Float

    def of(self, rows: NDArray[np.int64]) -> Acquisition:
        """The same of some patients, any number of times each."""
        return Acquisition(
            self.outcome[rows], self.completed[rows], self.real[rows], self.score[rows]
        )

    def judge(self) -> Judge:
        """The measure of the outcome's kind: macro-F1 of labels, or Harrell's C-index of risks."""
        make = macro_f1 if self.outcome.dtype.names is None else concordance
        return make(self.outcome, self.completed, self.real)


def macro_f1(truth: NDArray[Any], completed: NDArray[Any], real: NDArray[Any]) -> Judge:
    """Macro-F1, over the classes that occur, for any set of patients with real values.

    Thousands of sets at once, which scikit-learn's ``f1_score`` takes one by one; the tests hold
    this to it.
    """

    def judge(acquired: Mask) -> Float:
        scores = []
        for label in np.unique(truth):
            predicted = np.where(acquired, real == label, completed == label)
            hits = (predicted & (truth == label)).sum(axis=1)
            scores.append(2 * hits / (predicted.sum(axis=1) + (truth == label).sum()))
        return np.asarray(np.mean(scores, axis=0))

    return judge


def concordance(y: NDArray[Any], completed: Float, real: Float) -> Judge:
    """Harrell's C-index for any set of patients with real values; NaN without a comparable pair.

    Which pairs are concordant depends on either patient's being acquired or not, so that the count
    is a quadratic form of the mask: one product of matrices for thousands of sets. Definition and
    ties are those of scikit-survival's ``concordance_index_censored``, to which the tests hold it.
    """
    time, event = y["time"], y["event"]
    earlier = (time[:, None] < time) | ((time[:, None] == time) & ~event)
    comparable = event[:, None] & earlier
    pairs = comparable.sum()

    def concordant(first: Float, second: Float) -> NDArray[np.float32]:
        apart = first[:, None] - second
        tied = np.abs(apart) <= 1e-8
        agreeing = comparable * np.where(tied, 0.5, apart > 0)
        return np.asarray(agreeing, dtype=np.float32)

    neither, both = concordant(completed, completed), concordant(real, real)
    first, second = concordant(real, completed), concordant(completed, real)
    product = both - first - second + neither
    single = (first - neither).sum(axis=1) + (second - neither).sum(axis=0)

    def judge(acquired: Mask) -> Float:
        if not pairs:
            return np.full(len(acquired), np.nan)
        m = acquired.astype(np.float32)
        agreeing = ((m @ product) * m).sum(axis=1) + m @ single + neither.sum()
        return np.asarray(agreeing / pairs, dtype=np.float64)

    return judge


def acquired(order: NDArray[np.int64]) -> Mask:
    """Who has real values at each of `FRACTIONS`.

    Parameters
    ----------
    order
        Patients, the first to be measured first: ``(orders, patients)``.

    Returns
    -------
    NDArray[np.bool_]
        Shape ``(orders, fractions, patients)``.
    """
    ranks = np.argsort(order, axis=1)
    counts = np.round(FRACTIONS * order.shape[1])
    return np.asarray(ranks[:, None] < counts[:, None])


def curves(known: Acquisition, orders: NDArray[np.int64]) -> tuple[Float, Float]:
    """The measure when acquiring by score, and the mean of that over random orders.

    Parameters
    ----------
    known
        Predictions and scores.
    orders
        Random orders, ``(orders, patients)``.

    Returns
    -------
    tuple
        Informed and random curve, both over `FRACTIONS`.
    """
    informed = np.argsort(-known.score, kind="stable")[None]
    masks = acquired(np.concatenate([informed, orders]))
    values = known.judge()(masks.reshape(-1, masks.shape[2])).reshape(masks.shape[:2])
    return values[0], values[1:].mean(axis=0)


def random_orders(patients: int, orders: int, seed: int) -> NDArray[np.int64]:
    """Random orders of patients, ``(orders, patients)``."""
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(patients), (orders, 1)), axis=1)


def area(informed: Float, random: Float) -> float:
    """Area between two curves over the fraction acquired, by the trapezoid rule."""
    return float(np.trapezoid(informed - random, FRACTIONS))


def resampled_areas(runs: Sequence[Acquisition], resamples: int, orders: int, seed: int) -> Float:
    """Areas, averaged over runs, of bootstrap samples of the patients.

    Every run has the same patients, and a sample takes the same of each, so that the spread is
    that of patients; repeated calls with one seed take the same samples, so that areas of two
    methods can be subtracted.

    Parameters
    ----------
    runs
        Of the same patients.
    resamples
        How many samples.
    orders
        Random orders per sample.
    seed
        Of samples and orders.

    Returns
    -------
    NDArray[np.float64]
        Shape ``(resamples,)``.
    """
    rng = np.random.default_rng(seed)
    count = len(runs[0].score)
    found = []
    for sample in range(resamples):
        rows = rng.integers(count, size=count)
        shuffled = random_orders(count, orders, seed + sample)
        found.append(np.mean([area(*curves(run.of(rows), shuffled)) for run in runs]))
    return np.array(found)
