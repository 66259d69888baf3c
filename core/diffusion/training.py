"""Training one expert: noise regression with early stopping on generated latents."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from codenoise.core.base.errors import DataError
from codenoise.core.diffusion.architectures import build_denoiser
from codenoise.core.diffusion.config import TrainingConfig
from codenoise.core.diffusion.data import ExpertData, random_subsets
from codenoise.core.diffusion.denoiser import LatentDenoiser, masked_condition
from codenoise.core.diffusion.prediction import Prediction, training_target
from codenoise.core.diffusion.schedule import NoiseSchedule, linear_schedule
from codenoise.core.diffusion.validation import Validation, generate_held_out, validate


@dataclass(frozen=True)
class TrainedDenoiser:
    """A denoiser at its best checkpoint, in half precision, and how it came to be."""

    denoiser: LatentDenoiser
    schedule: NoiseSchedule
    config: TrainingConfig
    validation: Validation
    steps: int
    best_step: int
    seconds: float
    hardware: str


def train_expert(
    train: ExpertData,
    validation: ExpertData,
    config: TrainingConfig,
    schedule: NoiseSchedule | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> TrainedDenoiser:
    """Train one denoiser by regression on noised latents (Ho et al. 2020, algorithm 1).

    Every ``validate_every`` steps the averaged weights generate the validation latents with a short
    DPM-Solver++ run; the checkpoint whose mean of draws has the lowest squared error is kept. The
    mean of draws is compared, not single draws: single-draw error rewards too narrow draws.

    A multi-condition expert sees a random subset of each patient's conditions at every step.

    Parameters
    ----------
    train, validation
        Latents; no patient is in both.
    config
        Network, optimiser and stopping rule.
    schedule
        Forward process, the paper's linear one by default.
    progress
        Called with the current and the maximal step and the validation error after each validation.

    Raises
    ------
    DataError
        If there are too few rows on either side, or training diverges.
    """
    if len(train) < 2 or len(validation) < 2:
        raise DataError(
            f"an expert needs at least 2 training and 2 validation patients with both modalities; "
            f"found {len(train)} and {len(validation)}"
        )
    schedule = schedule or linear_schedule()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    started = time.monotonic()
    torch.manual_seed(config.seed)
    denoiser = build_denoiser(
        config.architecture,
        train.target.shape[1],
        train.condition_dims,
        config.architecture_parameters(),
        masked=train.present is not None,
    ).to(device)
    average = copy.deepcopy(denoiser).eval()
    best_error, best_step = float("inf"), 0
    best_state = copy.deepcopy(average.state_dict())
    step = 0
    for step in _optimise(denoiser, average, train, config, schedule):
        if step % config.validate_every:
            continue
        draws = generate_held_out(average, validation, config, schedule)
        error = float(np.mean((draws.mean(axis=1) - validation.target) ** 2))
        if not np.isfinite(error):
            raise DataError(
                f"training diverged by step {step}: the validation error is {error}; "
                f"lower learning_rate ({config.learning_rate})"
            )
        if error < best_error:
            best_error, best_step, best_state = error, step, copy.deepcopy(average.state_dict())
        if progress is not None:
            progress(step, config.max_steps, error)
        if step - best_step >= config.patience * config.validate_every:
            break
    average.load_state_dict(best_state)
    average.cpu()
    round_to_half(average)
    return TrainedDenoiser(
        denoiser=average,
        schedule=schedule,
        config=config,
        validation=validate(average, validation, config, schedule),
        steps=step,
        best_step=best_step,
        seconds=time.monotonic() - started,
        hardware=torch.cuda.get_device_name() if device.type == "cuda" else "CPU, one thread",
    )


@torch.no_grad()
def round_to_half(module: nn.Module) -> None:
    """Round weights to what half precision can store, in place.

    Experts are published in half precision; rounding before the last validation makes the figures
    those of the published weights.
    """
    for value in _floating_state(module):
        value.copy_(value.half())


def _optimise(
    denoiser: LatentDenoiser,
    average: nn.Module,
    data: ExpertData,
    config: TrainingConfig,
    schedule: NoiseSchedule,
) -> Iterator[int]:
    """Take optimiser steps, yielding each one's number, and keep the average of weights current."""
    optimizer = torch.optim.AdamW(
        denoiser.parameters(),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )
    device = next(denoiser.parameters()).device
    target = torch.tensor(data.target, device=device)
    alpha_bar = torch.from_numpy(schedule.alpha_bar).to(device, torch.float32)
    live, kept = _floating_state(denoiser), _floating_state(average)
    denoiser.train()
    conditions = _conditions(data, config.condition_noise, device)
    batches = _batches(len(data), config.batch, device)
    for step in range(1, config.max_steps + 1):
        if config.rate == "cosine":
            fall = 0.5 * (1 + math.cos(math.pi * (step - 1) / config.max_steps))
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * fall
        rows = next(batches)
        x0 = target[rows]
        seen = conditions(rows)
        moment = torch.randint(0, schedule.steps, (len(rows),), device=device)
        level = alpha_bar[moment][:, None]
        noise = torch.randn_like(x0)
        noisy = torch.sqrt(level) * x0 + torch.sqrt(1 - level) * noise
        wanted = training_target(config.prediction, x0, noise, level)
        error = (denoiser(noisy, moment, seen) - wanted) ** 2
        if config.min_snr_gamma:
            error = error * min_snr_weight(config.prediction, level, config.min_snr_gamma)
        loss = torch.mean(error)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        # A short warm-up lets the average forget the random start.
        decay = min(config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(kept, live, 1 - decay)
        yield step


def _conditions(
    data: ExpertData, spread: float, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """From rows to the denoiser's condition input, disturbed and masked anew at each call."""
    values = torch.tensor(data.condition, device=device)
    present = None
    if data.present is not None:
        present = torch.tensor(data.present, dtype=torch.float32, device=device)

    def choose(rows: Tensor) -> Tensor:
        seen = values[rows]
        if spread:
            seen = seen + spread * torch.randn_like(seen)
        if present is None:
            return seen
        return masked_condition(seen, random_subsets(present[rows]), data.condition_dims)

    return choose


def min_snr_weight(prediction: Prediction, alpha_bar: Tensor, gamma: float) -> Tensor:
    """Weight of each row's loss so that its error in x0 counts min(SNR, gamma)."""
    snr = alpha_bar / (1 - alpha_bar)
    of_x0 = {"x0": torch.ones_like(snr), "epsilon": snr, "v": snr + 1}[prediction]
    return torch.clamp(snr, max=gamma) / of_x0


def _batches(rows: int, size: int, device: torch.device) -> Iterator[Tensor]:
    """Shuffled batches for ever; a pass's remainder is left to the next shuffle."""
    size = min(size, rows)
    while True:
        order = torch.randperm(rows, device=device)
        for start in range(0, rows - size + 1, size):
            yield order[start : start + size]


def _floating_state(module: nn.Module) -> list[Tensor]:
    return [value for value in module.state_dict().values() if value.is_floating_point()]
