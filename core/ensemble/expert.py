"""What the engine needs to know of an expert."""

from __future__ import annotations

from dataclasses import dataclass

from codenoise.core.diffusion.denoiser import Denoiser
from codenoise.core.diffusion.prediction import Prediction
from codenoise.core.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class Expert:
    """A loaded pair expert.

    Attributes
    ----------
    name
        ``name@version``, for messages and reports.
    condition, target
        Modalities.
    condition_space, target_space
        Digests of the spaces that the latents live in.
    dim
        Latent dimensions of the target.
    denoiser
        Network in evaluation mode, or any function of the same form.
    schedule, prediction
        Forward process it was trained on and what it outputs.
    validation_mse
        Mean squared error of generated against real validation latents; sets its reliability.
    """

    name: str
    condition: str
    target: str
    condition_space: str
    target_space: str
    dim: int
    denoiser: Denoiser
    schedule: NoiseSchedule
    prediction: Prediction
    validation_mse: float
