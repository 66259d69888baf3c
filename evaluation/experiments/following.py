"""Trajectories seen step by step: what each expert expects on the way, for studies of agreement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from codenoise.core.base.threads import one_torch_thread
from codenoise.core.diffusion.grid import step_grid, step_shares
from codenoise.core.diffusion.samplers import SAMPLERS, predicted_x0
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.consensus import BLOCK, Consensus
from codenoise.core.ensemble.denoising import denoise
from codenoise.core.ensemble.ensemble import LoadedEnsemble
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
    ensemble: LoadedEnsemble,
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
    dim, values = experts[0].dim, SAMPLERS[settings.sampler].values(settings.steps)
    names = [Trajectory(target, patient, 0, 0, mirrored=settings.mirrored) for patient in patients]
    clean = np.empty((len(levels), len(experts), len(names), dim), dtype=np.float32)
    distances = np.empty((len(names), len(levels)), dtype=np.float32)
    with one_torch_thread():
        for start in range(0, len(names), BLOCK):
            block = slice(start, start + BLOCK)
            noise = torch.from_numpy(trajectory_noise(names[block], seed, values, dim))
            _, apart = denoise(
                consensus,
                settings.sampler,
                noise[:, 0],
                np.arange(len(names))[block],
                noise[:, 1:],
                observe=partial(_keep, clean[:, :, block], levels),
            )
            distances[block] = apart.numpy()
    return Steps(clean, distances, levels, step_shares(schedule, levels))


def _keep(
    clean: Float32,
    levels: NDArray[np.float64],
    step: int,
    x: Tensor,
    epsilons: Tensor,
    _agreed: Tensor,
) -> None:
    clean[step] = predicted_x0(x, epsilons, float(levels[step])).numpy()
