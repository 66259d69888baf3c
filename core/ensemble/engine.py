"""The Coherent Denoising engine: one target, any patients, every expert their data allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from codenoise.core.base.errors import EnsembleError
from codenoise.core.base.threads import one_torch_thread
from codenoise.core.diffusion.grid import step_grid, step_shares
from codenoise.core.diffusion.samplers import SAMPLERS
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.calibration import Calibration, widened
from codenoise.core.ensemble.consensus import BLOCK, Consensus
from codenoise.core.ensemble.denoising import denoise
from codenoise.core.ensemble.expert import Expert, conditions_of
from codenoise.core.ensemble.noise import Trajectory, trajectory_noise
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.core.ensemble.weights import ADAPTIVE, coefficients

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Generation:
    """Draws of one target for some patients, and how coherent they were.

    Attributes
    ----------
    patients
        Ids, in the order of the rows below.
    draws
        Latents, shape ``(patients, draws, dim)``; NaN for a patient without any usable condition.
    coherence
        One minus the distance averaged over steps, shape ``(patients, draws)``; NaN where a single
        expert left nothing to compare. Each step of a grid counts for its share of the schedule.
    incoherent_fraction
        Share of the schedule's steps with a distance over the threshold, same shape, NaN likewise.
    attempts
        Trajectories drawn until this one was kept, same shape; 0 where none could be.
    flagged
        Whether the kept trajectory is still incoherent, same shape.
    weights
        Reliability weight of each expert for each patient, averaged over steps where it was
        learned, shape ``(patients, experts)``. Where weights are adaptive, before adaptation.
    learned
        Whether a patient's weights were learned by calibration, shape ``(patients,)``.
    experts
        Names, in the order of the columns of ``weights``.
    mirrored
        Whether draws come in pairs from opposite noise.
    trace
        Distance at each step, shape ``(patients, draws, steps)``, if it was asked for.
    """

    patients: tuple[str, ...]
    draws: NDArray[np.float32]
    coherence: NDArray[np.float32]
    incoherent_fraction: NDArray[np.float32]
    attempts: NDArray[np.int64]
    flagged: NDArray[np.bool_]
    weights: NDArray[np.float64]
    learned: NDArray[np.bool_]
    experts: tuple[str, ...]
    mirrored: bool = False
    trace: NDArray[np.float32] | None = None


def generate(
    experts: Sequence[Expert],
    conditions: Mapping[str, pd.DataFrame],
    patients: Sequence[str],
    *,
    draws: int = 10,
    seed: int = 0,
    settings: EngineSettings | None = None,
    calibration: Calibration | None = None,
    keep_trace: bool = False,
    progress: Progress | None = None,
) -> Generation:
    """Generate one target by the consensus of its experts (the paper, eq. 1-7).

    Blocks of trajectories are shared out to as many workers as torch may use threads; their number
    changes no result.

    Parameters
    ----------
    experts
        Experts of one target space.
    conditions
        Latents of each available modality, ``(patients, dim)``, indexed by patient id. A patient
        uses every expert whose condition table holds the patient.
    patients
        Ids to generate for, each once.
    draws
        Trajectories per patient.
    seed
        With the patient's id, the target and the number of the draw it determines the noise.
    settings
        Weighting, composition, rejection and sampler.
    calibration
        Learned coefficients, used by the weighting ``"stacked"``, and spread of draws.
    keep_trace
        Whether to return the distance at every step.
    progress
        Called with trajectories done and in all.

    Raises
    ------
    EnsembleError
        If the experts do not share a target space, or a setting makes no sense.
    """
    settings = settings or EngineSettings()
    _check(experts, patients, settings)
    result = _empty(experts, patients, draws, settings, keep_trace)
    done = 0
    levels = step_grid(linear_schedule().alpha_bar, settings.steps, settings.sampler)
    for rows, available in _groups(experts, conditions, patients):
        subset = [i for i, expert in enumerate(experts) if available & set(expert.conditions)]
        if subset:
            playing = [experts[i] for i in subset]
            shares, learned = coefficients(
                settings, playing, sorted(available), calibration, levels
            )
            ids = [patients[row] for row in rows]
            seen = {name: conditions[name] for name in available}
            adaptive = settings.weighting == ADAPTIVE
            consensus = Consensus(
                playing, seen, ids, levels, shares, adaptive=adaptive, precision=settings.precision
            )
            result.weights[rows[:, None], np.array(subset)] = consensus.weights.mean(dim=0)
            result.learned[rows] = learned
            with one_torch_thread() as workers:
                for finished in _complete(consensus, rows, draws, seed, settings, result, workers):
                    if progress is not None:
                        progress(done + finished, len(patients) * draws)
        done += len(rows) * draws
    if progress is not None:
        progress(done, len(patients) * draws)
    if calibration is not None and experts[0].target in calibration.spread:
        result.draws[:] = widened(result.draws, calibration.spread[experts[0].target])
    return result


def _check(experts: Sequence[Expert], patients: Sequence[str], settings: EngineSettings) -> None:
    if not experts:
        raise EnsembleError("no expert to generate with")
    first = experts[0]
    for other in experts[1:]:
        if other.target_space != first.target_space:
            raise EnsembleError(
                f"{first.name} and {other.name} generate in different {first.target} spaces "
                f"({first.target_space[:19]} and {other.target_space[:19]}); "
                f"use experts of one target space"
            )
    if len(set(patients)) != len(patients):
        raise EnsembleError("a patient is asked for twice; give each id once")
    if not 1 <= settings.steps <= linear_schedule().steps:
        raise EnsembleError(f"steps must be between 1 and 1000, not {settings.steps}")


def _empty(
    experts: Sequence[Expert],
    patients: Sequence[str],
    draws: int,
    settings: EngineSettings,
    keep_trace: bool,
) -> Generation:
    dim = experts[0].dim
    shape = (len(patients), draws)
    return Generation(
        patients=tuple(patients),
        draws=np.full((*shape, dim), np.nan, dtype=np.float32),
        coherence=np.full(shape, np.nan, dtype=np.float32),
        incoherent_fraction=np.full(shape, np.nan, dtype=np.float32),
        attempts=np.zeros(shape, dtype=np.int64),
        flagged=np.zeros(shape, dtype=np.bool_),
        weights=np.zeros((len(patients), len(experts))),
        learned=np.zeros(len(patients), dtype=np.bool_),
        experts=tuple(expert.name for expert in experts),
        mirrored=settings.mirrored,
        trace=np.full((*shape, settings.steps), np.nan, dtype=np.float32) if keep_trace else None,
    )


def _groups(
    experts: Sequence[Expert], conditions: Mapping[str, pd.DataFrame], patients: Sequence[str]
) -> Iterator[tuple[NDArray[np.int64], set[str]]]:
    """Patients that have the same of the experts' conditions: their rows, and those modalities."""
    index = pd.Index(patients)
    names = [name for name in conditions_of(experts) if name in conditions]
    there = np.zeros((len(patients), len(names)), dtype=bool)
    for column, name in enumerate(names):
        there[:, column] = index.isin(conditions[name].index)
    for pattern in np.unique(there, axis=0):
        available = {name for name, present in zip(names, pattern, strict=True) if present}
        yield np.flatnonzero((there == pattern).all(axis=1)), available


def _complete(
    consensus: Consensus,
    rows: NDArray[np.int64],
    draws: int,
    seed: int,
    settings: EngineSettings,
    result: Generation,
    workers: int,
) -> Iterator[int]:
    """Draw every trajectory of a group, redraw the rejected, and fill in the result.

    Yields the number of trajectories accepted or given up so far.
    """
    patient, draw = np.divmod(np.arange(len(rows) * draws), draws)
    first = consensus.experts[0]
    values = SAMPLERS[settings.sampler].values(settings.steps)
    shares = step_shares(linear_schedule().alpha_bar, consensus.levels).astype(np.float32)

    def attempted(block: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        names = [
            Trajectory(
                first.target, consensus.patients[patient[i]], int(draw[i]), attempt,
                mirrored=settings.mirrored,
            )
            for i in block
        ]  # fmt: skip
        noise = torch.from_numpy(trajectory_noise(names, seed, values, first.dim))
        latents, distances = denoise(
            consensus, settings.sampler, noise[:, 0], patient[block], noise[:, 1:]
        )
        return latents.numpy(), distances.numpy()

    pending = np.arange(len(patient))
    pool = ThreadPoolExecutor(workers)
    try:
        for attempt in range(settings.max_retries + 1):
            finished = len(patient) - len(pending)
            blocks = [pending[start : start + BLOCK] for start in range(0, len(pending), BLOCK)]
            rejected = []
            for block, (latents, distances) in zip(
                blocks, pool.map(attempted, blocks), strict=True
            ):
                over = _keep(
                    result, rows[patient[block]], draw[block], attempt, latents, distances, shares,
                    settings,
                )  # fmt: skip
                rejected.append(block[over])
                finished += len(block) - int(over.sum())
                yield finished
            pending = np.concatenate(rejected)
            if not len(pending):
                return
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupted run must not draw to its end


def _keep(
    result: Generation,
    row: NDArray[np.int64],
    draw: NDArray[np.int64],
    attempt: int,
    latents: NDArray[np.float32],
    distances: NDArray[np.float32],
    shares: NDArray[np.float32],
    settings: EngineSettings,
) -> NDArray[np.bool_]:
    """Store attempts that beat what is there; return which of them are to be redrawn."""
    # Summed row by row: a matrix product rounds differently for other numbers of rows.
    fraction = np.where(distances > settings.threshold, shares, 0).sum(axis=1)
    compared = ~np.isnan(distances[:, 0])
    over = compared & (fraction > settings.max_incoherent_fraction)
    earlier = result.incoherent_fraction[row, draw]
    better = np.isnan(earlier) | (fraction < earlier)
    at = (row[better], draw[better])
    result.draws[at] = latents[better]
    result.coherence[at] = 1 - (distances[better] * shares).sum(axis=1)
    result.incoherent_fraction[at] = np.where(compared, fraction, np.nan)[better]
    result.flagged[at] = over[better]
    result.attempts[row, draw] = attempt + 1
    if result.trace is not None:
        result.trace[at] = distances[better]
    return np.asarray(over)
