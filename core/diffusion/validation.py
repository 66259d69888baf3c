"""How a denoiser does on held-out patients: short generation, and noise error per level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from codenoise.core.base.metrics import energy_score, r2_of_expectation, r2_pooled
from codenoise.core.diffusion.config import TrainingConfig
from codenoise.core.diffusion.data import ExpertData
from codenoise.core.diffusion.grid import step_grid
from codenoise.core.diffusion.prediction import to_epsilon
from codenoise.core.diffusion.samplers import DEFAULT_SAMPLER, SAMPLERS
from codenoise.core.diffusion.schedule import NoiseSchedule

Float32 = NDArray[np.float32]
NOISE_LEVELS = 10


@dataclass(frozen=True)
class Validation:
    """How the kept checkpoint does on the validation patients.

    Attributes
    ----------
    n
        Patients.
    mse, r2
        Of single draws against the real latents, averaged over draws (the paper's measure).
    mse_mean, r2_mean
        Of the mean of ``draws`` draws.
    r2_expectation
        R2 that the mean of infinitely many draws would reach: what the expert knows.
    energy_score
        Mean energy score of the draws; lower is better.
    noise_mse
        Mean squared error of the predicted noise in bands of equal width in time, from least to
        most noise.
    draws
        Draws behind these figures, in mirrored pairs.
    """

    n: int
    mse: float
    r2: float
    mse_mean: float
    r2_mean: float
    r2_expectation: float
    energy_score: float
    noise_mse: tuple[float, ...]
    draws: int


def validate(
    denoiser: nn.Module, data: ExpertData, config: TrainingConfig, schedule: NoiseSchedule
) -> Validation:
    """Measure a denoiser (on the CPU) on held-out patients, as recorded in its manifest."""
    draws = generate_held_out(denoiser, data, config, schedule)
    mean = draws.mean(axis=1)
    single = np.moveaxis(draws, 1, 0)
    return Validation(
        n=len(data),
        mse=float(np.mean((single - data.target) ** 2)),
        r2=float(np.mean([r2_pooled(data.target, draw) for draw in single])),
        mse_mean=float(np.mean((mean - data.target) ** 2)),
        r2_mean=r2_pooled(data.target, mean),
        r2_expectation=r2_of_expectation(data.target, draws, mirrored=True),
        energy_score=float(np.mean(energy_score(data.target, draws, mirrored=True))),
        noise_mse=_noise_error(denoiser, data, config, schedule),
        draws=draws.shape[1],
    )


@torch.inference_mode()
def generate_held_out(
    denoiser: nn.Module, data: ExpertData, config: TrainingConfig, schedule: NoiseSchedule
) -> Float32:
    """Draw held-out latents from the same mirrored noise each time: ``(patients, draws, dim)``."""
    draws = config.validation_draws
    device = next(denoiser.parameters()).device
    repeated = data.network_input().repeat_interleave(draws, dim=0).to(device)
    generator = torch.Generator().manual_seed(config.seed)
    dim = data.target.shape[1]
    half = torch.randn(len(data), draws // 2, 1, dim, generator=generator)
    x = torch.cat([half, -half], dim=2).reshape(len(repeated), dim).to(device)
    levels = step_grid(schedule.alpha_bar, config.validation_sampler_steps, DEFAULT_SAMPLER)
    moments = schedule.time_at(levels)

    def predict(x: Tensor, step: int) -> Tensor:
        moment = torch.full((len(x),), float(moments[step]), device=device)
        output = denoiser(x, moment, repeated)
        return to_epsilon(config.prediction, output, x, float(levels[step]))

    x = SAMPLERS[DEFAULT_SAMPLER].run(predict, x, levels.tolist(), None)
    return x.reshape(len(data), draws, -1).cpu().numpy()


@torch.inference_mode()
def _noise_error(
    denoiser: nn.Module, data: ExpertData, config: TrainingConfig, schedule: NoiseSchedule
) -> tuple[float, ...]:
    generator = torch.Generator().manual_seed(config.seed)
    x0, condition = torch.tensor(data.target), data.network_input()
    errors = []
    for band in np.array_split(np.arange(schedule.steps), NOISE_LEVELS):
        moment = int(band[len(band) // 2])
        level = float(schedule.alpha_bar[moment])
        noise = torch.randn(x0.shape, generator=generator)
        noisy = level**0.5 * x0 + (1 - level) ** 0.5 * noise
        output = denoiser(noisy, torch.full((len(x0),), moment), condition)
        epsilon = to_epsilon(config.prediction, output, noisy, level)
        errors.append(float(torch.mean((epsilon - noise) ** 2)))
    return tuple(errors)
