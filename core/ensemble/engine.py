"""The Coherent Denoising engine: one target, any patients, every expert their data allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from codenoise.core.diffusion.folded import stacks
from codenoise.core.diffusion.prediction import to_epsilon
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.coherence import incoherence
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.noise import Trajectory, trajectory_noise
from codenoise.core.ensemble.samplers import sample, step_grid
from codenoise.core.ensemble.settings import EngineSettings, SamplerName
from codenoise.core.ensemble.weights import reliability_weights
from codenoise.core.errors import EnsembleError
from codenoise.core.threads import one_torch_thread

# Trajectories are always computed in blocks of this many rows, padded when fewer: matrix kernels
# round differently for different shapes, and results must not depend on the number of patients.
BLOCK = 64

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
        expert left nothing to compare.
    incoherent_fraction
        Share of steps with a distance over the threshold, same shape, NaN likewise.
    attempts
        Trajectories drawn until this one was kept, same shape; 0 where none could be.
    flagged
        Whether the kept trajectory is still incoherent, same shape.
    weights
        Reliability weight of each expert for each patient, shape ``(patients, experts)``.
    experts
        Names, in the order of the columns of ``weights``.
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
    experts: tuple[str, ...]
    trace: NDArray[np.float32] | None = None


def generate(
    experts: Sequence[Expert],
    conditions: Mapping[str, pd.DataFrame],
    patients: Sequence[str],
    *,
    draws: int = 10,
    seed: int = 0,
    settings: EngineSettings | None = None,
    keep_trace: bool = False,
    progress: Progress | None = None,
) -> Generation:
    """Generate one target by the consensus of its experts (the paper, eq. 1-7).

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
        Weighting, rejection and sampler.
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
    result = _empty(experts, patients, draws, settings.steps if keep_trace else None)
    done = 0
    for rows, subset in _groups(experts, conditions, patients):
        if subset:
            playing = [experts[i] for i in subset]
            weights = reliability_weights(
                settings.weighting, [expert.validation_mse for expert in playing]
            )
            result.weights[rows[:, None], np.array(subset)] = weights
            ids = [patients[row] for row in rows]
            consensus = _Consensus(playing, weights, conditions, ids, settings)
            with one_torch_thread():
                for finished in _complete(consensus, rows, draws, seed, settings, result):
                    if progress is not None:
                        progress(done + finished, len(patients) * draws)
        done += len(rows) * draws
    if progress is not None:
        progress(done, len(patients) * draws)
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
    if settings.sampler not in get_args(SamplerName):
        known = ", ".join(get_args(SamplerName))
        raise EnsembleError(f"sampler {settings.sampler!r} is unknown; choose one of: {known}")
    if not 1 <= settings.steps <= linear_schedule().steps:
        raise EnsembleError(f"steps must be between 1 and 1000, not {settings.steps}")


def _empty(
    experts: Sequence[Expert], patients: Sequence[str], draws: int, steps: int | None
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
        experts=tuple(expert.name for expert in experts),
        trace=None if steps is None else np.full((*shape, steps), np.nan, dtype=np.float32),
    )


def _groups(
    experts: Sequence[Expert], conditions: Mapping[str, pd.DataFrame], patients: Sequence[str]
) -> Iterator[tuple[NDArray[np.int64], list[int]]]:
    """Patients that share their usable experts: their rows, and the experts' positions."""
    index = pd.Index(patients)
    usable = np.zeros((len(patients), len(experts)), dtype=bool)
    for column, expert in enumerate(experts):
        if expert.condition in conditions:
            usable[:, column] = index.isin(conditions[expert.condition].index)
    for pattern in np.unique(usable, axis=0):
        yield np.flatnonzero((usable == pattern).all(axis=1)), list(np.flatnonzero(pattern))


class _Consensus:
    """One group of patients with its experts, made ready for a run over the noise levels."""

    def __init__(
        self,
        experts: Sequence[Expert],
        weights: NDArray[np.float64],
        conditions: Mapping[str, pd.DataFrame],
        patients: Sequence[str],
        settings: EngineSettings,
    ) -> None:
        self.target = experts[0].target
        self.dim = experts[0].dim
        self.patients = patients
        self.weights = torch.from_numpy(weights).to(torch.float32)
        self.settings = settings
        self.levels = step_grid(linear_schedule().alpha_bar, settings.steps, settings.sampler)
        self._experts = experts
        self._latents = [
            torch.tensor(conditions[expert.condition].loc[list(patients)].to_numpy(np.float32))
            for expert in experts
        ]
        self._stacks = stacks(
            [expert.denoiser for expert in experts],
            [torch.from_numpy(expert.schedule.time_at(self.levels)) for expert in experts],
        )

    def condition_terms(self, patients: NDArray[np.int64]) -> list[Tensor]:
        """What each stack's first layer adds for these rows; each patient is computed once."""
        unique, where = np.unique(patients, return_inverse=True)
        padded = torch.from_numpy(np.resize(unique, BLOCK))
        return [
            stack.condition_terms([self._latents[i][padded] for i in positions])[
                :, torch.from_numpy(where)
            ]
            for positions, stack in self._stacks
        ]

    def predict(self, x: Tensor, step: int, terms: Sequence[Tensor]) -> Tensor:
        """Each expert's noise ``e_i = M_i(x_t, t, C_i)``, shape ``(experts, rows, dim)``."""
        epsilons = torch.empty(len(self._experts), *x.shape)
        level = float(self.levels[step])
        for (positions, stack), term in zip(self._stacks, terms, strict=True):
            for position, output in zip(positions, stack(x, step, term), strict=True):
                prediction = self._experts[position].prediction
                epsilons[position] = to_epsilon(prediction, output, x, level)
        return epsilons


@torch.inference_mode()
def _sample(
    consensus: _Consensus, patients: NDArray[np.int64], noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Run a block of trajectories from noise to latents (eq. 7), with the distance at each step."""
    terms = consensus.condition_terms(patients)
    distances = torch.full((len(noise), len(consensus.levels)), torch.nan)

    def agreed(x: Tensor, step: int) -> Tensor:
        epsilons = consensus.predict(x, step, terms)
        if len(epsilons) > 1:
            distances[:, step] = incoherence(epsilons, consensus.weights)
        return torch.einsum("k,knd->nd", consensus.weights, epsilons)

    levels = consensus.levels.tolist()
    latents = sample(consensus.settings.sampler, agreed, noise[:, 0], levels, noise[:, 1:])
    return latents, distances


def _complete(
    consensus: _Consensus,
    rows: NDArray[np.int64],
    draws: int,
    seed: int,
    settings: EngineSettings,
    result: Generation,
) -> Iterator[int]:
    """Draw every trajectory of a group, redraw the rejected, and fill in the result.

    Yields the number of trajectories accepted or given up so far.
    """
    patient, draw = np.divmod(np.arange(len(rows) * draws), draws)
    noise_steps = settings.steps if settings.sampler == "ddpm" else 1
    pending = np.arange(len(patient))
    for attempt in range(settings.max_retries + 1):
        rejected = []
        for start in range(0, len(pending), BLOCK):
            block = pending[start : start + BLOCK]
            names = [
                Trajectory(consensus.target, consensus.patients[patient[i]], int(draw[i]), attempt)
                for i in block
            ]
            noise = torch.zeros(BLOCK, noise_steps, consensus.dim)
            noise[: len(block)] = torch.from_numpy(
                trajectory_noise(names, seed, noise_steps, consensus.dim)
            )
            latents, distances = _sample(consensus, np.resize(patient[block], BLOCK), noise)
            over = _keep(
                result,
                rows[patient[block]],
                draw[block],
                attempt,
                latents[: len(block)].numpy(),
                distances[: len(block)].numpy(),
                settings,
            )
            rejected.append(block[over])
            yield len(patient) - len(pending) + start + len(block) - sum(map(len, rejected))
        pending = np.concatenate(rejected)
        if not len(pending):
            return


def _keep(
    result: Generation,
    row: NDArray[np.int64],
    draw: NDArray[np.int64],
    attempt: int,
    latents: NDArray[np.float32],
    distances: NDArray[np.float32],
    settings: EngineSettings,
) -> NDArray[np.bool_]:
    """Store attempts that beat what is there; return which of them are to be redrawn."""
    fraction = (distances > settings.threshold).mean(axis=1, dtype=np.float32)
    compared = ~np.isnan(distances[:, 0])
    over = compared & (fraction > settings.max_incoherent_fraction)
    earlier = result.incoherent_fraction[row, draw]
    better = np.isnan(earlier) | (fraction < earlier)
    at = (row[better], draw[better])
    result.draws[at] = latents[better]
    result.coherence[at] = 1 - distances[better].mean(axis=1)
    result.incoherent_fraction[at] = np.where(compared, fraction, np.nan)[better]
    result.flagged[at] = over[better]
    result.attempts[row, draw] = attempt + 1
    if result.trace is not None:
        result.trace[at] = distances[better]
    return np.asarray(over)
