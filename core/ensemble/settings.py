"""How an ensemble samples; kept apart from the engine so that reading a recipe loads no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SamplerName = Literal["ddpm", "ddim", "dpm-solver++"]


@dataclass(frozen=True)
class EngineSettings:
    """How an ensemble samples and what it rejects.

    Attributes
    ----------
    weighting
        Name of a reliability weighting.
    threshold, max_incoherent_fraction
        A trajectory is rejected when the experts' cosine distance is over ``threshold`` in more
        than this fraction of the steps.
    max_retries
        How often a rejected trajectory is redrawn before its most coherent attempt is kept and
        flagged.
    sampler, steps
        ``"ddpm"`` with 1,000 steps is the paper's; the others need few.
    """

    weighting: str = "inverse-mse"
    threshold: float = 1.0
    max_incoherent_fraction: float = 0.05
    max_retries: int = 10
    sampler: SamplerName = "dpm-solver++"
    steps: int = 50
