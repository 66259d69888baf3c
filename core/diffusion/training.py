"""Training one pair expert: noise regression with early stopping on generated latents."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from codenoise.core.diffusion.denoiser import MLPDenoiser, build_denoiser
from codenoise.core.diffusion.prediction import Prediction, to_epsilon, training_target
from codenoise.core.diffusion.schedule import NoiseSchedule, linear_schedule
from codenoise.core.ensemble.samplers import sample, step_grid
from codenoise.core.errors import DataError
from codenoise.core.evaluation.metrics import energy_score, r2_of_expectation, r2_pooled

Float32 = NDArray[np.float32]
NOISE_LEVELS = 10


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that shapes an expert beside its data.

    Attributes
    ----------
    width, layers, time_dim, condition_width
        Network size, see `MLPDenoiser`.
    prediction
        What the network outputs; ``"epsilon"`` is the paper's.
    batch, learning_rate, weight_decay
        Rows a step, and AdamW's settings.
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

    width: int = 256
    layers: int = 4
    time_dim: int = 64
    condition_width: int = 32
    prediction: Prediction = "v"
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1.0
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
        for name in ("weight_decay", "condition_noise"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), not {self.ema_decay}")
        if self.validation_draws < 2:
            raise ValueError(f"validation_draws must be at least 2, not {self.validation_draws}")
        if self.validate_every > self.max_steps:
            raise ValueError(
                f"validate_every must not exceed max_steps ({self.max_steps}), "
                f"not {self.validate_every}"
            )

    def architecture_parameters(self) -> dict[str, int]:
        """The part that the network itself is built from."""
        names = ("width", "layers", "time_dim", "condition_width")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class PairData:
    """Latents of the patients that have both modalities, row by row.

    Attributes
    ----------
    condition, target
        Shapes ``(patients, condition_dim)`` and ``(patients, dim)``.
    """

    condition: Float32
    target: Float32

    @classmethod
    def matched(cls, condition: pd.DataFrame, target: pd.DataFrame) -> PairData:
        """Pair two tables of latents by patient id, in the order of the ids."""
        shared = sorted(set(condition.index) & set(target.index))
        return cls(condition.loc[shared].to_numpy(), target.loc[shared].to_numpy())

    def __len__(self) -> int:
        return len(self.target)


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
        Draws behind these figures.
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


@dataclass(frozen=True)
class TrainedDenoiser:
    """A denoiser at its best checkpoint, in half precision, and how it came to be."""

    denoiser: MLPDenoiser
    schedule: NoiseSchedule
    config: TrainingConfig
    validation: Validation
    steps: int
    best_step: int
    seconds: float


def train_pair(
    train: PairData,
    validation: PairData,
    config: TrainingConfig,
    schedule: NoiseSchedule | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainedDenoiser:
    """Train one denoiser by regression on noised latents (Ho et al. 2020, algorithm 1).

    Every ``validate_every`` steps the averaged weights generate the validation latents with a short
    DPM-Solver++ run; the checkpoint whose mean of draws has the lowest squared error is kept. The
    mean of draws is compared, not single draws: single-draw error rewards too narrow draws.

    Parameters
    ----------
    train, validation
        Paired latents; no patient is in both.
    config
        Network, optimiser and stopping rule.
    schedule
        Forward process, the paper's linear one by default.
    progress
        Called with the current and the maximal step after each validation.

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
    started = time.monotonic()
    torch.manual_seed(config.seed)
    denoiser = build_denoiser(
        "mlp", train.target.shape[1], train.condition.shape[1], config.architecture_parameters()
    )
    average = copy.deepcopy(denoiser).eval()
    best_error, best_step = float("inf"), 0
    best_state = copy.deepcopy(average.state_dict())
    step = 0
    for step in _optimise(denoiser, average, train, config, schedule):
        if step % config.validate_every:
            continue
        draws = _draw(average, validation, config, schedule)
        error = float(np.mean((draws.mean(axis=1) - validation.target) ** 2))
        if not np.isfinite(error):
            raise DataError(
                f"training diverged by step {step}: the validation error is {error}; "
                f"lower learning_rate ({config.learning_rate})"
            )
        if error < best_error:
            best_error, best_step, best_state = error, step, copy.deepcopy(average.state_dict())
        if progress is not None:
            progress(step, config.max_steps)
        if step - best_step >= config.patience * config.validate_every:
            break
    average.load_state_dict(best_state)
    round_to_half(average)
    return TrainedDenoiser(
        denoiser=average,
        schedule=schedule,
        config=config,
        validation=validate(average, validation, config, schedule),
        steps=step,
        best_step=best_step,
        seconds=time.monotonic() - started,
    )


@torch.no_grad()
def round_to_half(module: nn.Module) -> None:
    """Round weights to what half precision can store, in place.

    Experts are published in half precision; rounding before the last validation makes the figures
    those of the published weights.
    """
    for value in _floating_state(module):
        value.copy_(value.half())


def validate(
    denoiser: nn.Module, data: PairData, config: TrainingConfig, schedule: NoiseSchedule
) -> Validation:
    """Measure a denoiser on held-out pairs, as recorded in its manifest."""
    draws = _draw(denoiser, data, config, schedule)
    mean = draws.mean(axis=1)
    single = np.moveaxis(draws, 1, 0)
    return Validation(
        n=len(data),
        mse=float(np.mean((single - data.target) ** 2)),
        r2=float(np.mean([r2_pooled(data.target, draw) for draw in single])),
        mse_mean=float(np.mean((mean - data.target) ** 2)),
        r2_mean=r2_pooled(data.target, mean),
        r2_expectation=r2_of_expectation(data.target, draws),
        energy_score=float(np.mean(energy_score(data.target, draws))),
        noise_mse=_noise_error(denoiser, data, config, schedule),
        draws=draws.shape[1],
    )


def _optimise(
    denoiser: nn.Module,
    average: nn.Module,
    data: PairData,
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
    condition, target = torch.tensor(data.condition), torch.tensor(data.target)
    alpha_bar = torch.from_numpy(schedule.alpha_bar).to(torch.float32)
    live, kept = _floating_state(denoiser), _floating_state(average)
    denoiser.train()
    batches = _batches(len(data), config.batch)
    for step in range(1, config.max_steps + 1):
        rows = next(batches)
        x0 = target[rows]
        seen = condition[rows]
        if config.condition_noise:
            seen = seen + config.condition_noise * torch.randn_like(seen)
        moment = torch.randint(0, schedule.steps, (len(rows),))
        level = alpha_bar[moment][:, None]
        noise = torch.randn_like(x0)
        noisy = torch.sqrt(level) * x0 + torch.sqrt(1 - level) * noise
        wanted = training_target(config.prediction, x0, noise, level)
        loss = torch.mean((denoiser(noisy, moment, seen) - wanted) ** 2)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        # A short warm-up lets the average forget the random start.
        decay = min(config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(kept, live, 1 - decay)
        yield step


def _batches(rows: int, size: int) -> Iterator[Tensor]:
    """Shuffled batches for ever; a pass's remainder is left to the next shuffle."""
    size = min(size, rows)
    while True:
        order = torch.randperm(rows)
        for start in range(0, rows - size + 1, size):
            yield order[start : start + size]


def _floating_state(module: nn.Module) -> list[Tensor]:
    return [value for value in module.state_dict().values() if value.is_floating_point()]


@torch.inference_mode()
def _draw(
    denoiser: nn.Module, data: PairData, config: TrainingConfig, schedule: NoiseSchedule
) -> Float32:
    """Draw validation latents from the same noise each time: ``(patients, draws, dim)``."""
    draws = config.validation_draws
    repeated = torch.tensor(data.condition).repeat_interleave(draws, dim=0)
    generator = torch.Generator().manual_seed(config.seed)
    x = torch.randn(len(repeated), data.target.shape[1], generator=generator)
    levels = step_grid(schedule.alpha_bar, config.validation_sampler_steps, "dpm-solver++")
    moments = schedule.time_at(levels)

    def predict(x: Tensor, step: int) -> Tensor:
        output = denoiser(x, torch.full((len(x),), float(moments[step])), repeated)
        return to_epsilon(config.prediction, output, x, float(levels[step]))

    x = sample("dpm-solver++", predict, x, levels.tolist())
    return x.reshape(len(data), draws, -1).numpy()


@torch.inference_mode()
def _noise_error(
    denoiser: nn.Module, data: PairData, config: TrainingConfig, schedule: NoiseSchedule
) -> tuple[float, ...]:
    generator = torch.Generator().manual_seed(config.seed)
    x0, condition = torch.tensor(data.target), torch.tensor(data.condition)
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
