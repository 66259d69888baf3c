"""Conflict: patients whose modalities do not seem to be of one person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError, EnsembleError
from codenoise.core.base.threads import one_torch_thread
from codenoise.core.cohort.given import Given, MuDataLike
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.consensus import BLOCK, Consensus
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert

Float = NDArray[np.float64]
Pair = tuple[str, str]

FEWEST = 20  # patients that show what is usual of a pair of modalities
SAMPLES = 100_000  # of what is usual, by which chances are told


def conflicts(ensemble: LoadedEnsemble, cohort: Given | MuDataLike) -> pd.DataFrame:
    """Rank the patients of a cohort by how badly their modalities fit together.

    Swapped samples and wrong ids look like that.

    Parameters
    ----------
    ensemble
        Its pair experts say what to expect of one modality given another.
    cohort
        In any form that `Ensemble.read` takes.

    Returns
    -------
    DataFrame
        One row a patient, those most in conflict first; the columns are those of
        `ranked_conflicts`.

    Raises
    ------
    DataError
        If a table cannot be used, or there are not two modalities.
    EnsembleError
        If the cohort does not fit the ensemble, or no pair expert goes between two modalities.

    Examples
    --------
    >>> conflicts(ensemble, "my_cohort").head()  # doctest: +SKIP
    """
    given = ensemble.read(cohort)
    ensemble.check(given)
    return ranked_conflicts(ensemble, ensemble.encode(given), given.patients)


def ranked_conflicts(
    ensemble: LoadedEnsemble, latents: Mapping[str, pd.DataFrame], patients: Iterable[str] = ()
) -> pd.DataFrame:
    """Rank the patients of a cohort by how badly their modalities fit together.

    The pair expert ``i -> j`` says what to expect of modality j given i. The cross-prediction
    distance of an ordered pair is the cosine distance of that expectation and the patient's own
    latent of j, each less its mean over the cohort's patients that have both. As some modalities
    say little of each other, distances of different pairs are not compared as they are: each
    becomes its rank among those same patients, and the rank a normal score. What speaks against
    one modality of a patient is the sum of the normal scores of all pairs with it, in units of the
    standard deviation that follows from their correlations in the cohort; a patient is judged by
    the modality that most speaks against.

    Parameters
    ----------
    ensemble
        Its pair experts are used; of several for one ordered pair, that with the best validation
        R2. An ordered pair needs 20 patients that have both modalities.
    latents
        Modality to latents, ``(patients, dim)``, as `Ensemble.encode` gives them.
    patients
        Ids to be listed even where they have no latent.

    Returns
    -------
    DataFrame
        One row a patient, those most in conflict first, and last those that could not be compared:
        ``patient``; ``score``, the mean distance, from 0 over 1 (unrelated) to 2; ``p``, the
        chance that as much speaks against some modality of a patient with the same modalities, if
        the normal scores are jointly normal (so it is uniform in a cohort without conflicts; the
        rows are sorted by it, and it is told to 0.00001); ``suspect``, that modality, or both of
        two (``"rna or rppa"``); ``worst_pair``, the ordered pair of the highest rank, as
        ``"rna -> rppa"``; ``pairs``, how many ordered pairs count; and ``reason``, where there is
        no score.

    Raises
    ------
    DataError
        If there are not two modalities.
    EnsembleError
        If no pair expert goes between two of them.
    """
    if len(latents) < 2:
        raise DataError(
            f"the cohort has {' and '.join(latents) or 'no modality'}; conflicts are between "
            f"modalities: give at least two"
        )
    experts = _pair_experts(ensemble, latents)
    everyone = sorted(set(patients).union(*(table.index for table in latents.values())))
    distances = pd.DataFrame(index=pd.Index(everyone, name="patient"), dtype=np.float64)
    pairs: list[Pair] = []
    for (condition, target), expert in experts.items():
        # In one order whatever that of the tables, so that sums are the same to the bit.
        both = sorted(set(latents[condition].index) & set(latents[target].index))
        if len(both) >= FEWEST:
            tables = latents[condition].loc[both], latents[target].loc[both]
            found = pd.Series(cross_prediction(expert, *tables), index=both)
            distances[f"{condition} -> {target}"] = found
            pairs.append((condition, target))
    scores = distances.apply(_normal_scores)
    compared = scores.notna().any(axis=1)
    worst = scores[compared].idxmax(axis=1) if compared.any() else pd.Series(dtype=str)
    chances, suspects = _judged(scores, pairs)
    table = pd.DataFrame(
        {
            "score": distances.mean(axis=1),
            "p": chances,
            "suspect": suspects,
            "worst_pair": worst.reindex(scores.index, fill_value=""),
            "pairs": scores.notna().sum(axis=1).astype(int),
            "reason": [
                "" if scored else _reason(patient, latents, experts)
                for patient, scored in zip(everyone, compared, strict=True)
            ],
        }
    ).reset_index()
    order = {"p": True, "score": False, "patient": True}
    return table.sort_values([*order], ascending=[*order.values()], ignore_index=True)


def cross_prediction(expert: Expert, condition: pd.DataFrame, target: pd.DataFrame) -> Float:
    """Distance of each patient's latent from what a pair expert expects, each less its mean.

    Parameters
    ----------
    expert
        A pair expert.
    condition, target
        Latents of the same patients, ``(patients, condition_dim)`` and ``(patients, dim)``.

    Returns
    -------
    NDArray
        Cosine distances, shape ``(patients,)``.
    """
    from sklearn.metrics.pairwise import paired_cosine_distances

    expected, known = expectation(expert, condition), target.to_numpy(np.float64)
    centred = expected - expected.mean(axis=0), known - known.mean(axis=0)
    return np.asarray(paired_cosine_distances(*centred))


@torch.inference_mode()
def expectation(expert: Expert, table: pd.DataFrame) -> Float:
    """What a pair expert expects of its target: its clean estimate where hardly any signal is left.

    Parameters
    ----------
    expert
        A pair expert.
    table
        Latents of its condition, ``(patients, condition_dim)``.

    Returns
    -------
    NDArray
        Shape ``(patients, dim)``.
    """
    level = linear_schedule().alpha_bar[-1:]
    ids = list(table.index)
    consensus = Consensus([expert], {expert.conditions[0]: table}, ids, level, np.ones((1, 1)))
    nothing = torch.zeros(BLOCK, expert.dim)
    found = np.empty((len(ids), expert.dim))
    with one_torch_thread():
        for start in range(0, len(ids), BLOCK):
            rows = np.resize(np.arange(start, min(start + BLOCK, len(ids))), BLOCK)
            epsilons, _ = consensus.predict(nothing, 0, consensus.terms(rows))
            found[rows] = epsilons[0].numpy()
    return np.asarray(-(((1 - level) / level) ** 0.5) * found)


def _pair_experts(ensemble: LoadedEnsemble, names: Iterable[str]) -> dict[Pair, Expert]:
    """The best pair expert of each ordered pair of modalities."""
    ranked = sorted(ensemble.experts, key=lambda e: (e.validation_r2, e.name))
    best = {(e.conditions[0], e.target): e for e in ranked if not e.masked}
    wanted = list(permutations(sorted(names), 2))
    found = {pair: best[pair] for pair in wanted if pair in best}
    if not found:
        raise EnsembleError(
            f"the ensemble has no pair expert between {', '.join(sorted(names))}; compose it with "
            f"one, such as from {wanted[0][0]} to {wanted[0][1]}"
        )
    return found


def _normal_scores(distances: pd.Series[float]) -> pd.Series[float]:
    """Quantiles of the normal distribution at the ranks; NaN stays."""
    from scipy.stats import norm

    shares = (distances.rank() - 0.5) / distances.count()
    return pd.Series(norm.ppf(shares), index=distances.index)


def _judged(scores: pd.DataFrame, pairs: Sequence[Pair]) -> tuple[Float, list[str]]:
    """Chance of each patient's worst modality, and its name; NaN and nothing where no score is.

    Pairs that too few patients have in common to tell their correlation count as one and the same.
    """
    names = sorted({name for pair in pairs for name in pair})
    part = np.array([[name in pair for pair in pairs] for name in names], dtype=bool)
    correlation = scores.corr(min_periods=FEWEST).fillna(1.0).to_numpy()
    values, chances, suspects = scores.to_numpy(), np.full(len(scores), np.nan), [""] * len(scores)
    patterns, group = np.unique(~np.isnan(values), axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        rows = np.flatnonzero(group.ravel() == number)
        shares = (part & pattern).astype(np.float64)
        playing = np.flatnonzero(shares.any(axis=1))
        shares = shares[playing]
        # No less than of independent scores: correlations of few patients may cancel by chance.
        variance = np.maximum(((shares @ correlation) * shares).sum(axis=1), shares.sum(axis=1))
        shares /= np.sqrt(variance)[:, None]
        against = np.nan_to_num(values[rows]) @ shares.T
        top = against.max(axis=1)
        usual = np.random.default_rng(0).multivariate_normal(
            np.zeros(len(playing)), shares @ correlation @ shares.T, SAMPLES,
            check_valid="ignore", method="eigh",
        ).max(axis=1)  # fmt: skip
        above = SAMPLES - np.searchsorted(np.sort(usual), top)
        chances[rows] = (1 + above) / (1 + SAMPLES)
        for row, near in zip(rows, np.isclose(against, top[:, None]), strict=True):
            suspects[row] = " or ".join(names[i] for i in playing[near])
    return chances, suspects


def _reason(
    patient: str, latents: Mapping[str, pd.DataFrame], experts: Mapping[Pair, Expert]
) -> str:
    """Why a patient could not be compared."""
    has = sorted(name for name, table in latents.items() if patient in table.index)
    if len(has) < 2:
        return f"has only {has[0]}" if has else "has no value"
    pairs = [pair for pair in permutations(has, 2) if pair in experts]
    if not pairs:
        return f"no pair expert between {', '.join(has)}"
    counts = {
        " and ".join(sorted(pair)): len(latents[pair[0]].index.intersection(latents[pair[1]].index))
        for pair in pairs
    }
    few = ", ".join(f"{count} patients have {pair}" for pair, count in counts.items())
    return f"{few}; {FEWEST} are needed"
