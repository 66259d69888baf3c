"""Learning from patients whose target is known: coefficients per noise level, spread of draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from codenoise.core.base.errors import DataError
from codenoise.core.base.metrics import energy_score, interval_coverage, r2_of_expectation
from codenoise.core.base.threads import one_torch_thread
from codenoise.core.diffusion.grid import step_grid
from codenoise.core.diffusion.samplers import DEFAULT_SAMPLER
from codenoise.core.diffusion.schedule import linear_schedule, log_snr
from codenoise.core.ensemble.calibration import (
    Calibration,
    PatternCoefficients,
    interpolation,
    widened,
)
from codenoise.core.ensemble.consensus import Consensus
from codenoise.core.ensemble.ensemble import LoadedEnsemble, Progress
from codenoise.core.ensemble.expert import Expert, conditions_of
from codenoise.core.ensemble.settings import Composition, EngineSettings
from codenoise.core.ensemble.weights import STACKED, reliability_weights

Latents = Mapping[str, pd.DataFrame]
Float32 = NDArray[np.float32]
LEVEL = 0.9
KNOTS, LEVELS = 9, 25
# Enough rows for a few dozen coefficients; more patients repeat less.
ROWS, REPEATS = 1600, 4
RIDGE, SHRINK = 1e-2, 1000


@dataclass(frozen=True)
class Evidence:
    """What calibration did to one target, on the calibration patients.

    Attributes
    ----------
    target
        Modality.
    patients
        Calibration patients that have it and a condition.
    r2_before, r2_after
        Pooled R2 of the expectation of the draws. The coefficients were learned on these patients.
    energy_before, energy_after
        Mean energy score, spread included; lower is better.
    coverage_before
        Share of true values in the 90% interval of the draws, with learned coefficients.
    coverage_after
        The same with the spread corrected, each half of the patients by the other half.
    learned
        Whether the learned coefficients were kept: where they do not lower the energy score on
        these patients, the default weights stay and only the spread is corrected.
    """

    target: str
    patients: int
    r2_before: float
    r2_after: float
    energy_before: float
    energy_after: float
    coverage_before: float
    coverage_after: float
    learned: bool = True


def calibrate(
    ensemble: LoadedEnsemble,
    latents: Latents,
    *,
    composition: Composition = "product",
    draws: int = 39,
    seed: int = 0,
    minimum: int = 20,
    progress: Progress | None = None,
) -> tuple[LoadedEnsemble, list[Evidence]]:
    """Learn how to combine the experts of each target, and how wide their draws have to be.

    For each set of conditions, on the patients that have them and the target: the coefficients
    that predict the noise best, piecewise linear in log signal-to-noise ratio (least squares; on
    the simplex for the composition ``"mean"``, non-negative for ``"product"``). Then, per latent
    dimension, the factor that makes 90% intervals of draws hold 90% of true values (split
    conformal, Romano et al. 2019, scaled by the interval's own sides).

    Parameters
    ----------
    ensemble
        What to calibrate; evidence compares with it as it is.
    latents
        Of the calibration patients, by modality; patients that no expert was trained on.
    composition
        Whether experts are averaged or multiplied, see `EngineSettings`.
    draws
        Draws per patient behind the spread, at least 19.
    seed
        Of noise and draws.
    minimum
        Patients that a set of conditions needs; sets with fewer stay as they were.
    progress
        Called with a label, work done and in all.

    Returns
    -------
    tuple
        The calibrated ensemble, and evidence for each target.

    Raises
    ------
    DataError
        If a target has too few calibration patients.
    """
    entries: list[PatternCoefficients] = []
    product = composition == "product"
    levels = step_grid(linear_schedule().alpha_bar, LEVELS, DEFAULT_SAMPLER)
    knots = np.quantile(log_snr(levels), np.linspace(0, 1, KNOTS))
    known = {t: _known_patients(ensemble, latents, t, minimum) for t in ensemble.targets}
    for target in known:
        patterns = list(_patterns(ensemble.experts_for(target), latents, target, minimum))
        for done, (conditions, patients) in enumerate(patterns, 1):
            entries.append(
                _fit(ensemble, latents, target, conditions, patients, levels, knots, product, seed)
            )
            if progress is not None:
                progress(f"{target}: coefficients", done, len(patterns))
    calibration = Calibration(composition, tuple(knots.round(4).tolist()), tuple(entries))
    settings = replace(ensemble.settings, weighting=STACKED, composition=composition)
    learned = replace(ensemble, settings=settings, calibration=calibration)
    unlearned = replace(learned, calibration=replace(calibration, coefficients=()))
    spread: dict[str, tuple[float, ...]] = {}
    evidence, kept = [], set()
    for target, patients in known.items():
        real = latents[target].loc[patients].to_numpy()
        drawn = [
            model.generate(target, latents, patients, draws=draws, seed=seed, progress=progress)
            for model in (ensemble, learned, unlearned)
        ]
        before, after, default = (generation.draws for generation in drawn)
        mirrored = settings.mirrored
        # What fits the noise of each level best need not sample best, with few patients above all.
        score, other = (energy_score(real, d, mirrored=mirrored).mean() for d in (after, default))
        if score < other:
            kept.add(target)
        else:
            after = default
        spread[target] = tuple(spread_factors(real, after).round(4).tolist())
        shown = _evidence(target, real, before, after, np.array(spread[target]), mirrored)
        evidence.append(replace(shown, learned=target in kept))
    used = tuple(entry for entry in entries if entry.target in kept)
    final = replace(calibration, spread=spread, coefficients=used)
    return replace(learned, calibration=final), evidence


def spread_factors(real: Float32, draws: Float32) -> NDArray[np.float64]:
    """Per dimension, by how much intervals have to grow to hold 90% of true values.

    Parameters
    ----------
    real
        Shape ``(patients, dim)``.
    draws
        Shape ``(patients, draws, dim)``, at least 19 draws.
    """
    tail = (1 - LEVEL) / 2
    mean = draws.mean(axis=1)
    low, high = np.quantile(draws, [tail, 1 - tail], axis=1, method="weibull")
    above = real > mean
    side = np.where(above, high - mean, mean - low)
    ratio = np.abs(real - mean) / np.maximum(side, 1e-6)
    # The order statistic that holds for one more patient, exchangeable with these.
    rank = min(int(np.ceil((len(real) + 1) * LEVEL)), len(real))
    return np.asarray(np.sort(ratio, axis=0)[rank - 1], dtype=np.float64)


def _known_patients(
    ensemble: LoadedEnsemble, latents: Latents, target: str, minimum: int
) -> list[str]:
    """Patients that have the target and a condition of its experts."""
    conditions = conditions_of(ensemble.experts_for(target))
    given = [latents[name].index for name in conditions if name in latents]
    if target not in latents or not given:
        raise DataError(
            f"calibration needs patients with {target} and one of {', '.join(conditions)}; "
            f"the cohort has {', '.join(latents) or 'nothing'}; leave the target out of the recipe"
        )
    patients = sorted(set().union(*given) & set(latents[target].index))
    if len(patients) < minimum:
        raise DataError(
            f"calibration of {target} needs {minimum} patients with {target} and one of "
            f"{', '.join(conditions)}; the cohort has {len(patients)}"
        )
    return patients


def _patterns(
    experts: Sequence[Expert], latents: Latents, target: str, minimum: int
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Every set of conditions with enough patients, and these patients."""
    names = [name for name in conditions_of(experts) if name in latents]
    sets = chain.from_iterable(combinations(names, size + 1) for size in range(len(names)))
    for conditions in sets:
        shared = set.intersection(*(set(latents[name].index) for name in (*conditions, target)))
        if len(shared) >= minimum:
            yield tuple(sorted(conditions)), sorted(shared)


@torch.inference_mode()
def _fit(
    ensemble: LoadedEnsemble,
    latents: Latents,
    target: str,
    conditions: tuple[str, ...],
    patients: list[str],
    levels: NDArray[np.float64],
    knots: NDArray[np.float64],
    product: bool,
    seed: int,
) -> PatternCoefficients:
    """Least squares of the true noise on the experts' predictions, over all levels at once."""
    experts = ensemble.experts_fitting(target, conditions)
    seen = {name: latents[name] for name in conditions}
    # Coefficients of zero leave everything to the prior, so that it is there to be compared.
    nothing = np.zeros((len(levels), len(experts)))
    consensus = Consensus(experts, seen, patients, levels, nothing)
    times = int(np.clip(ROWS // len(patients), 1, REPEATS))
    rows = np.repeat(np.arange(len(patients)), times)
    x0 = torch.tensor(latents[target].loc[patients].to_numpy())[torch.from_numpy(rows)]
    generator = torch.Generator().manual_seed(seed)
    basis = interpolation(knots.tolist(), levels)
    size = len(knots) * len(experts)
    gram, moment = np.zeros((size, size)), np.zeros(size)
    with one_torch_thread():
        terms = consensus.terms(rows)
        for step, level in enumerate(levels):
            noise = torch.randn(x0.shape, generator=generator)
            epsilons, prior = consensus.predict(
                level**0.5 * x0 + (1 - level) ** 0.5 * noise, step, terms
            )
            # On the simplex any common start cancels; the mean leaves what tells experts apart.
            start_at = prior if product else epsilons.mean(dim=0)
            moves = (epsilons - start_at).reshape(len(experts), -1).double().numpy()
            wanted = (noise - start_at).reshape(-1).double().numpy()
            # Each level counts by the error that is left to explain there.
            unit = 1 / max(float(np.mean((noise - prior).numpy() ** 2)), 1e-9) / wanted.size
            gram += np.kron(np.outer(basis[step], basis[step]), moves @ moves.T) * unit
            moment += np.kron(basis[step], moves @ wanted) * unit
    start = reliability_weights(EngineSettings(), experts)
    values = _solve(gram, moment, start, len(patients), on_simplex=not product)
    return PatternCoefficients(
        target=target,
        conditions=conditions,
        experts=tuple(expert.name for expert in experts),
        values=tuple(tuple(row) for row in values.round(4).tolist()),
        patients=len(patients),
    )


def _solve(
    gram: NDArray[np.float64],
    moment: NDArray[np.float64],
    start: NDArray[np.float64],
    patients: int,
    *,
    on_simplex: bool,
) -> NDArray[np.float64]:
    """Non-negative least squares from normal equations, ``(knots, experts)``.

    Drawn towards ``start``, the more so the fewer the patients; on the simplex rows sum to one.
    """
    size, experts = len(gram), len(start)
    # The last term is for a single expert, or equal ones, between which nothing has to be chosen.
    ridge = RIDGE * (1 + SHRINK / patients) * np.trace(gram) / size + 1e-12
    gram = gram + ridge * np.eye(size)
    moment = moment + ridge * np.tile(start, size // experts)
    root = np.linalg.cholesky(gram).T
    matrix, wanted = root, np.linalg.solve(root.T, moment)
    if on_simplex:
        heavy = 1e3 * np.sqrt(np.trace(gram) / size)
        sums = np.kron(np.eye(size // experts), np.ones(experts))
        matrix = np.vstack([matrix, heavy * sums])
        wanted = np.concatenate([wanted, np.full(len(sums), heavy)])
    values = nnls(matrix, wanted, maxiter=100 * size)[0].reshape(-1, experts)
    return np.asarray(values / values.sum(axis=1, keepdims=True) if on_simplex else values)


def _evidence(
    target: str,
    real: Float32,
    before: Float32,
    after: Float32,
    spread: NDArray[np.float64],
    mirrored: bool,
) -> Evidence:
    halves = [np.arange(start, len(real), 2) for start in (0, 1)]
    covered = [
        interval_coverage(real[one], widened(after[one], spread_factors(real[other], after[other])))
        for one, other in (halves, halves[::-1])
    ]
    wide = widened(after, spread)
    return Evidence(
        target=target,
        patients=len(real),
        r2_before=r2_of_expectation(real, before, mirrored=mirrored),
        r2_after=r2_of_expectation(real, after, mirrored=mirrored),
        energy_before=float(energy_score(real, before, mirrored=mirrored).mean()),
        energy_after=float(energy_score(real, wide, mirrored=mirrored).mean()),
        coverage_before=interval_coverage(real, after),
        coverage_after=float(np.average(covered, weights=[len(half) for half in halves])),
    )
