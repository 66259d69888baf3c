"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from codenoise.core.diffusion.prediction import Prediction


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that shapes an expert beside its data.

    Attributes
    ----------
    architecture
        Name of a network in `codenoise.core.diffusion.architectures`.
    width, layers, time_dim, condition_width
        Network size, see the network.
    prediction
        What the network outputs; ``"epsilon"`` is the paper's.
    batch, learning_rate, weight_decay
        Rows a step, and AdamW's settings; without decay it is Adam, the paper's.
    rate
        ``"constant"``, or ``"cosine"`` to fall to zero at ``max_steps``.
    min_snr_gamma
        Caps each noise level's weight in the loss at this signal-to-noise ratio (Hang et al. 2023,
        eq. 5); 0 weighs all levels alike.
    condition_noise
        Standard deviation of Gaussian noise added to condition latents, against over-fitting.
    ema_decay
        Decay of the moving average of weights that is validated and kept.
    max_steps, validate_every, patience
        Optimiser steps at most, steps between validations, and validations without progress
        before training stops.
    validation_draws, validation_sampler_steps
        Draws and DPM-Solver++ steps of each validation.
    seed
        Seeds initialisation, batches and noise.
    """

    architecture: str = "mlp"
    width: int = 256
    layers: int = 4
    time_dim: int = 64
    condition_width: int = 32
    prediction: Prediction = "v"
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1.0
    rate: Literal["constant", "cosine"] = "constant"
    min_snr_gamma: float = 0.0
    condition_noise: float = 0.5
    ema_decay: float = 0.998
    max_steps: int = 20_000
    validate_every: int = 250
    patience: int = 8
    validation_draws: int = 8
    validation_sampler_steps: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that cannot train.

        Raises
        ------
        ValueError
            Naming the first one that is out of its range.
        """
        positive = (
            "width", "layers", "time_dim", "condition_width", "batch", "learning_rate",
            "max_steps", "validate_every", "patience", "validation_sampler_steps",
        )  # fmt: skip
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("weight_decay", "condition_noise", "min_snr_gamma"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), not {self.ema_decay}")
        if self.validation_draws < 4 or self.validation_draws % 2:
            raise ValueError(
                f"validation_draws come in pairs: an even number, at least 4, "
                f"not {self.validation_draws}"
            )
        if self.validate_every > self.max_steps:
            raise ValueError(
                f"validate_every must not exceed max_steps ({self.max_steps}), "
                f"not {self.validate_every}"
            )

    def architecture_parameters(self) -> dict[str, int]:
        """The part that the network itself is built from."""
        names = ("width", "layers", "time_dim", "condition_width")
        return {name: getattr(self, name) for name in names}
