"""Conflict: how well anything tells conditions of two different patients from those of one.

The paper judges a trajectory by the cosine distance of the experts' noise. Here that rule and
others score patients whose conditions fit together, and the same patients with one condition taken
from somebody else. A higher score always means more conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, pairwise, permutations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.ensemble.conflict import expectation
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert
from codenoise.evaluation.experiments.following import follow

Float = NDArray[np.float64]
Latents = Mapping[str, pd.DataFrame]
Scores = dict[str, Float]
Scoring = Callable[[Latents, Sequence[str]], Scores]

RULE = "rejection rule"
DISTANCE = "mean distance"
ADJUSTED = "distance, standardised"
CLEAN = "clean estimates"
MAHALANOBIS = "expectations, Mahalanobis"
COSINE = "expectations, cosine"
CROSS = "cross-prediction"
DIRECT = "conditions, no experts"
OF_TRAJECTORIES = (RULE, DISTANCE, ADJUSTED, CLEAN)
OF_EXPECTATIONS = (MAHALANOBIS, COSINE, CROSS, DIRECT)


def trajectory_scores(
    ensemble: LoadedEnsemble, target: str, validation: Latents, patients: Sequence[str], seed: int
) -> Scoring:
    """Scores of a trajectory, those of `OF_TRAJECTORIES`.

    Parameters
    ----------
    ensemble
        At least two of its experts of ``target`` fit the conditions.
    target
        What is generated.
    validation
        Latents of the conditions.
    patients
        Validation patients that have every condition; they show what coherent ones look like.
    seed
        Of the noise, for validation patients and for those that are scored.
    """
    known = follow(ensemble, target, validation, patients, seed)
    centre, scale = known.distances.mean(axis=0), known.distances.std(axis=0, ddof=1)
    early = known.levels < 0.5
    usual = _differences(known.clean[early]).mean(axis=2, keepdims=True)

    def score(conditions: Latents, ids: Sequence[str]) -> Scores:
        seen = follow(ensemble, target, conditions, ids, seed)
        unlike = _differences(seen.clean[early]) / usual
        found = {
            RULE: (seen.distances > ensemble.settings.threshold) @ seen.shares,
            DISTANCE: seen.distances @ seen.shares,
            ADJUSTED: ((seen.distances - centre) / scale) @ seen.shares,
            CLEAN: unlike.mean(axis=(0, 1, 3)),
        }
        return {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}

    return score


def expectation_scores(
    experts: Sequence[Expert],
    target: str,
    names: Sequence[str],
    train: Latents,
    validation: Latents,
) -> Scoring:
    """Scores that need no trajectory, those of `OF_EXPECTATIONS`; what cannot be had is left out.

    Parameters
    ----------
    experts
        Of any targets; pair experts are used.
    target
        What is generated.
    names
        Conditions, at least two.
    train, validation
        Latents. Each pair of conditions is judged by the patients that have both.
    """
    pairs = {(e.conditions[0], e.target): e for e in experts if not e.masked}
    to_target = [
        _Pair(pairs[a, target], pairs[b, target], validation)
        for a, b in combinations(names, 2)
        if (a, target) in pairs and (b, target) in pairs
    ]
    across = [
        _Pair(pairs[a, b], b, validation) for a, b in permutations(names, 2) if (a, b) in pairs
    ]
    shared = sorted(set.intersection(*(set(train[name].index) for name in names)))
    direct = _Unrelated([train[name].loc[shared].to_numpy(np.float64) for name in names])

    def score(conditions: Latents, ids: Sequence[str]) -> Scores:
        seen = {name: conditions[name].loc[list(ids)] for name in names}
        found = {DIRECT: direct.evidence([seen[name].to_numpy(np.float64) for name in names])}
        if to_target:
            ends = [pair.centred(seen) for pair in to_target]
            lengths = [p.length(a - b) for p, (a, b) in zip(to_target, ends, strict=True)]
            found[MAHALANOBIS] = np.sum(lengths, axis=0)
            found[COSINE] = np.mean([_cosine_distance(a, b) for a, b in ends], axis=0)
        if across:
            crossed = [_cosine_distance(*pair.centred(seen)) for pair in across]
            found[CROSS] = np.mean(crossed, axis=0)
        return found

    return score


def auc(swapped: Float, coherent: Float, seed: int) -> tuple[float, float, float]:
    """Chance that a patient's score rises above a coherent one's when a condition is swapped.

    Parameters
    ----------
    swapped, coherent
        Scores of the same patients with a swapped condition and with their own, ``(patients,)``.
    seed
        Of the bootstrap.

    Returns
    -------
    tuple
        Area under the ROC curve, and its 95% interval (percentiles of 2,000 resamples of patients,
        each with both of its scores).
    """
    wins = (swapped[:, None] > coherent) + 0.5 * (swapped[:, None] == coherent)
    count = len(wins)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(count, np.full(count, 1 / count), size=2000).astype(np.float64)
    resampled = ((times @ wins) * times).sum(axis=1) / count**2
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(wins.mean()), float(low), float(high)


class _Pair:
    """Two views of one modality from two conditions, and how they agree on validation patients."""

    def __init__(self, expert: Expert, other: Expert | str, validation: Latents) -> None:
        self.expert, self.other = expert, other
        ends = (expert.conditions[0], other if isinstance(other, str) else other.conditions[0])
        both = sorted(set(validation[ends[0]].index) & set(validation[ends[1]].index))
        self.means: tuple[Float, Float] = (np.zeros(1), np.zeros(1))
        first, second = self.centred({name: validation[name].loc[both] for name in ends})
        self.means = first.mean(axis=0), second.mean(axis=0)
        self.factor = _factor((first - self.means[0]) - (second - self.means[1]))

    def centred(self, seen: Latents) -> tuple[Float, Float]:
        first = expectation(self.expert, seen[self.expert.conditions[0]])
        if isinstance(self.other, str):
            second = seen[self.other].to_numpy(np.float64)
        else:
            second = expectation(self.other, seen[self.other.conditions[0]])
        return first - self.means[0], second - self.means[1]

    def length(self, difference: Float) -> Float:
        return np.asarray((np.linalg.solve(self.factor, difference.T) ** 2).sum(axis=0))


class _Unrelated:
    """Normal distributions of conditions together and each alone."""

    def __init__(self, values: Sequence[Float]) -> None:
        self.mean = np.hstack(values).mean(axis=0)
        factor = _factor(np.hstack(values) - self.mean)
        covariance, edges = factor @ factor.T, np.cumsum([0, *(v.shape[1] for v in values)])
        self.parts = [slice(a, b) for a, b in pairwise(edges)]
        self.joint = factor
        self.alone = [np.asarray(np.linalg.cholesky(covariance[part, part])) for part in self.parts]

    def evidence(self, values: Sequence[Float]) -> Float:
        centred = np.hstack(values) - self.mean
        unrelated = np.zeros(len(centred))
        for factor, part in zip(self.alone, self.parts, strict=True):
            unrelated += _log_density(factor, centred[:, part])
        return np.asarray(unrelated - _log_density(self.joint, centred))


def _factor(centred: Float) -> Float:
    """Lower triangular factor of the shrunk covariance of centred rows."""
    from sklearn.covariance import ledoit_wolf

    return np.asarray(np.linalg.cholesky(ledoit_wolf(centred, assume_centered=True)[0]))


def _log_density(factor: Float, centred: Float) -> Float:
    """Of a normal distribution, up to a constant of the dimension: ``(rows,)``."""
    squares = (np.linalg.solve(factor, centred.T) ** 2).sum(axis=0)
    return np.asarray(-squares / 2 - np.log(np.diag(factor)).sum())


def _differences(clean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared differences of each two experts, ``(steps, pairs, patients, dim)``."""
    first, second = np.triu_indices(clean.shape[1], 1)
    return np.asarray((clean[:, first] - clean[:, second]) ** 2)


def _cosine_distance(first: Float, second: Float) -> Float:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray(1 - (first * second).sum(axis=1) / lengths)
