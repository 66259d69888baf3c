"""How an ensemble samples; kept apart from the engine so that reading a recipe loads no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from codenoise.core.diffusion.samplers import DEFAULT_SAMPLER

Composition = Literal["mean", "product"]
Precision = Literal["float32", "bfloat16"]
DEFAULT_WEIGHTING = "precision-gain"
DEFAULT_STEPS = 30  # quality against steps stands in docs/choices.md


@dataclass(frozen=True)
class EngineSettings:
    """How an ensemble samples and what it rejects.

    Attributes
    ----------
    weighting
        Name of a reliability weighting, see `codenoise.core.ensemble.weights`;
        the paper's is ``"inverse-mse"``.
    composition
        ``"mean"``: the weighted mean of the experts' noise (the paper's consensus). ``"product"``:
        their scores add up and the surplus priors are taken off, which is exact where conditions
        are independent given the target.
    fixed
        Weight of each expert by name, for the weighting ``"fixed"``.
    threshold, max_incoherent_fraction
        A trajectory is rejected when the experts' cosine distance is over ``threshold`` in more
        than this fraction of the steps of the reference schedule.
    max_retries
        How often a rejected trajectory is redrawn before its most coherent attempt is kept and
        flagged.
    mirrored
        Whether draws come in pairs from opposite noise: each is distributed as before, and their
        mean comes close to the expectation with few draws (antithetic variates).
    sampler, steps
        One of `codenoise.core.diffusion.samplers.SAMPLERS`. ``"ddpm"`` with 1,000 steps is the
        paper's; the others need few.
    precision
        Of matrix products within networks. ``"bfloat16"`` is faster on processors that have it,
        and moves draws by about a thousandth of their spread; only ``"float32"`` promises equal
        results to the bit whatever the company.
    """

    weighting: str = DEFAULT_WEIGHTING
    composition: Composition = "mean"
    fixed: Mapping[str, float] = field(default_factory=dict)
    threshold: float = 1.0
    max_incoherent_fraction: float = 0.05
    max_retries: int = 10
    mirrored: bool = True
    sampler: str = DEFAULT_SAMPLER
    steps: int = DEFAULT_STEPS
    precision: Precision = "float32"
