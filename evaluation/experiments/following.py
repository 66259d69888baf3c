"""Trajectories seen step by step: what each expert expects on the way, for studies of agreement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from codenoise.core.base.threads import one_torch_thread
from codenoise.core.diffusion.samplers import predicted_x0, sample, step_grid, step_shares
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.consensus import BLOCK, Consensus
from codenoise.core.ensemble.ensemble import Ensemble
from codenoise.core.ensemble.noise import Trajectory, trajectory_noise
from codenoise.core.ensemble.weights import ADAPTIVE, coefficients

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Steps:
    """One trajectory of each patient.

    Attributes
    ----------
    clean
        Clean latents that each expert expects, shape ``(steps, experts, patients, dim)``.
    distances
        Cosine distance of the experts' noise, shape ``(patients, steps)``; NaN for one expert.
    levels, shares
        Signal variance at each step, and its share of the schedule, shape ``(steps,)``.
    """

    clean: Float32
    distances: Float32
    levels: NDArray[np.float64]
    shares: NDArray[np.float64]


def follow(
    ensemble: Ensemble,
    target: str,
    conditions: Mapping[str, pd.DataFrame],
    patients: Sequence[str],
    seed: int,
) -> Steps:
    """Run the engine's first draw of each patient, once, and keep what each expert expects.

    Parameters
    ----------
    ensemble
        Experts of ``target`` without any of the conditions stay out.
    target
        What is generated.
    conditions
        Latents of each condition, all of which hold every patient.
    patients
        Ids.
    seed
        With the same seed these are the trajectories that `Ensemble.generate` draws first.
    """
    settings, schedule = ensemble.settings, linear_schedule().alpha_bar
    levels = step_grid(schedule, settings.steps, settings.sampler)
    experts = ensemble.experts_fitting(target, conditions)
    counts, _ = coefficients(settings, experts, sorted(conditions), ensemble.calibration, levels)
    adaptive = settings.weighting == ADAPTIVE
    consensus = Consensus(experts, conditions, patients, levels, counts, adaptive=adaptive)
    dim, fresh = experts[0].dim, settings.steps if settings.sampler == "ddpm" else 1
    names = [Trajectory(target, patient, 0, 0, mirrored=settings.mirrored) for patient in patients]
    clean = np.empty((len(levels), len(experts), len(names), dim), dtype=np.float32)
    distances = np.empty((len(names), len(levels)), dtype=np.float32)
    with one_torch_thread():
        for start in range(0, len(names), BLOCK):
            # Blocks are filled up by repeating rows, which compute the same again.
            rows = np.resize(np.arange(start, min(start + BLOCK, len(names))), BLOCK)
            noise = trajectory_noise([names[row] for row in rows], seed, fresh, dim)
            expected, apart = _block(consensus, settings.sampler, rows, torch.from_numpy(noise))
            clean[:, :, rows], distances[rows] = expected.numpy(), apart.numpy()
    return Steps(clean, distances, levels, step_shares(schedule, levels))


@torch.inference_mode()
def _block(
    consensus: Consensus, sampler: str, rows: NDArray[np.int64], noise: Tensor
) -> tuple[Tensor, Tensor]:
    steps, experts, dim = len(consensus.levels), len(consensus.experts), noise.shape[2]
    expected = torch.empty(steps, experts, len(rows), dim)
    apart = torch.empty(len(rows), steps)
    terms = consensus.terms(rows)

    def agreed(x: Tensor, step: int) -> Tensor:
        epsilons, _ = consensus.predict(x, step, terms)
        expected[step] = predicted_x0(x, epsilons, float(consensus.levels[step]))
        noise_agreed, apart[:, step] = consensus.agree(x, step, terms, rows)
        return noise_agreed

    sample(sampler, agreed, noise[:, 0], consensus.levels.tolist(), noise[:, 1:])
    return expected, apart
