"""Reconstruction: how close generated latents come to the real ones of held-out patients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.ensemble.ensemble import Ensemble
from codenoise.core.ensemble.expert import conditions_of
from codenoise.core.evaluation.baselines import ridge
from codenoise.core.evaluation.metrics import (
    draw_variance,
    energy_score,
    interval_coverage,
    r2_of_expectation,
    r2_per_feature,
    r2_pooled,
)

Progress = Callable[[str, int, int], None]
Float32 = NDArray[np.float32]
Latents = Mapping[str, pd.DataFrame]
ENSEMBLE = "coherent ensemble"


@dataclass(frozen=True)
class ReconstructionResult:
    """One method on one target and one set of patients; every R2 is of latents.

    Attributes
    ----------
    target, method, conditions
        What was generated, by what, from what.
    scope
        ``"shared"``: test patients that have the target and every condition of its experts, the
        same for all methods. ``"own"``: every test patient that the method can serve.
    patients
        Number of patients.
    r2_draw, r2_draw_sd
        Pooled R2 of single draws: mean and standard deviation over the draws (the paper's figure).
    r2_mean
        Pooled R2 of the mean of the draws.
    r2_expectation
        Pooled R2 that the mean of infinitely many draws would reach; compares with a point
        prediction such as ridge.
    r2_feature
        Mean over latent dimensions of the R2 of the mean of the draws.
    energy_score
        Mean energy score; lower is better. NaN for a point prediction.
    coverage
        Share of real latents inside the 90% interval of the draws; NaN below 19 draws.
    variance_ratio
        Variance of draws around their mean, as a share of the real variance.
    incoherent
        Share of draws still incoherent after redrawing.
    """

    target: str
    method: str
    conditions: str
    scope: str
    patients: int
    r2_draw: float
    r2_draw_sd: float
    r2_mean: float
    r2_expectation: float
    r2_feature: float
    energy_score: float
    coverage: float
    variance_ratio: float
    incoherent: float


def reconstruction(
    ensemble: Ensemble,
    train: Latents,
    test: Latents,
    *,
    draws: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[ReconstructionResult]:
    """Compare the ensemble, each of its experts alone, and ridge regression on test patients.

    Parameters
    ----------
    ensemble
        Its own settings are used; single experts run in it alone.
    train, test
        Latents per modality, indexed by patient; ridge is fitted on ``train``.
    draws
        Draws per patient; at least four where they are mirrored, else two.
    seed
        Seed of the draws.
    progress
        Called with method, trajectories done and in all.
    """
    results: list[ReconstructionResult] = []
    for target in ensemble.targets:
        conditions = conditions_of(ensemble.experts_for(target))
        shared = _patients(test, [target, *conditions])
        predictions = [
            *_generated(ensemble, target, test, draws, seed, progress),
            *_regressed(target, conditions, train, test),
        ]
        for label, used, patients, values, flagged in predictions:
            for scope, ids in (("shared", shared), ("own", patients)):
                if len(ids) < 2:
                    continue
                rows = pd.Index(patients).get_indexer(pd.Index(ids))
                real = test[target].loc[ids].to_numpy()
                results.append(
                    ReconstructionResult(
                        target=target,
                        method=label,
                        conditions="+".join(used),
                        scope=scope,
                        patients=len(ids),
                        incoherent=float(flagged[rows].mean()),
                        **_measures(real, values[rows], ensemble.settings.mirrored),
                    )
                )
    return results


def results_table(results: Sequence[ReconstructionResult]) -> pd.DataFrame:
    """Results as one tidy table."""
    return pd.DataFrame([asdict(result) for result in results])


Prediction = tuple[str, list[str], list[str], Float32, Float32]
"""Label, conditions, patients, values ``(patients, draws, dim)``, share of flagged draws."""


def _generated(
    ensemble: Ensemble,
    target: str,
    test: Latents,
    draws: int,
    seed: int,
    progress: Progress | None,
) -> Iterator[Prediction]:
    experts = ensemble.experts_for(target)
    methods = [(ENSEMBLE, tuple(experts))] + [(expert.name, (expert,)) for expert in experts]
    for label, members in methods:
        used = conditions_of(members)
        served = set().union(*(test[name].index for name in used))
        patients = sorted(served.intersection(test[target].index))
        generation = replace(ensemble, experts=members).generate(
            target,
            test,
            patients,
            draws=draws,
            seed=seed,
            progress=partial(_relabel, progress, label) if progress else None,
        )
        flagged = generation.flagged.mean(axis=1, dtype=np.float32)
        yield label, used, patients, generation.draws, flagged


def _relabel(progress: Progress, label: str, target: str, done: int, total: int) -> None:
    progress(f"{target}: {label}", done, total)


def _regressed(
    target: str, conditions: Sequence[str], train: Latents, test: Latents
) -> Iterator[Prediction]:
    subsets = [list(conditions)]
    if len(conditions) > 1:
        subsets += [[name] for name in conditions]
    for used in subsets:
        known, patients = _patients(train, [target, *used]), _patients(test, [target, *used])
        if len(known) < 2 or not patients:
            continue
        wanted = train[target].loc[known].to_numpy()
        values = ridge(_beside(train, used, known), wanted, _beside(test, used, patients))
        nobody = np.full(len(patients), np.nan, dtype=np.float32)
        yield "ridge", used, patients, values[:, None], nobody


def _patients(latents: Latents, modalities: Sequence[str]) -> list[str]:
    """Patients that have all of these modalities, sorted."""
    common = set.intersection(*(set(latents[name].index) for name in modalities))
    return sorted(common)


def _beside(latents: Latents, modalities: Sequence[str], patients: list[str]) -> Float32:
    return np.hstack([latents[name].loc[patients].to_numpy() for name in modalities])


def _measures(real: Float32, draws: Float32, mirrored: bool) -> dict[str, float]:
    mean = draws.mean(axis=1)
    measures = {
        "r2_mean": r2_pooled(real, mean),
        "r2_feature": float(np.nanmean(r2_per_feature(real, mean))),
    }
    if draws.shape[1] == 1:  # a point prediction has no distribution to measure
        unknown = ("r2_draw", "r2_draw_sd", "energy_score", "coverage", "variance_ratio")
        known = {"r2_expectation": measures["r2_mean"]}
        return measures | known | dict.fromkeys(unknown, float("nan"))
    single = [r2_pooled(real, draws[:, i]) for i in range(draws.shape[1])]
    return measures | {
        "r2_draw": float(np.mean(single)),
        "r2_draw_sd": float(np.std(single, ddof=1)),
        "r2_expectation": r2_of_expectation(real, draws, mirrored=mirrored),
        "energy_score": float(energy_score(real, draws, mirrored=mirrored).mean()),
        "coverage": interval_coverage(real, draws),
        "variance_ratio": float(
            draw_variance(draws, mirrored=mirrored).mean() / real.var(axis=0).mean()
        ),
    }
