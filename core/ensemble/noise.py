"""Counter-based noise: each trajectory's random numbers depend on its own name alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Trajectory:
    """The name of one draw; with the seed it determines the noise, and nothing else does.

    Attributes
    ----------
    target, patient, draw, attempt
        What is drawn, for whom, and how often it was before.
    mirrored
        Whether an odd draw takes the noise of the one before it with the opposite sign.
    """

    target: str
    patient: str
    draw: int
    attempt: int
    mirrored: bool = False


def trajectory_noise(
    trajectories: Sequence[Trajectory], seed: int, steps: int, dim: int
) -> NDArray[np.float32]:
    """Standard normal values for each trajectory, shape ``(trajectories, steps, dim)``.

    A Philox generator (Salmon et al. 2011) is keyed by a hash of seed, target, patient, draw and
    attempt, so batch size, the order of patients and the presence of others change nothing.
    """
    noise = np.empty((len(trajectories), steps, dim), dtype=np.float32)
    for row, name in enumerate(trajectories):
        draw = name.draw // 2 * 2 if name.mirrored else name.draw
        parts = (seed, name.target, name.patient, draw, name.attempt)
        text = "\x1f".join(str(part) for part in parts)
        key = hashlib.blake2b(text.encode(), digest_size=16).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
        noise[row] = generator.standard_normal((steps, dim), dtype=np.float32)
        if draw != name.draw:
            noise[row] *= -1
    return noise
