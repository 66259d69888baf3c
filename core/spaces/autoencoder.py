"""Autoencoders as encoders: trained with torch, evaluated without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from codenoise.core.base.errors import SpaceError
from codenoise.core.base.threads import one_torch_thread

if TYPE_CHECKING:
    from torch import Tensor, nn

Float32 = NDArray[np.float32]
NAMES = tuple(f"{part}.{layer}.{kind}" for part in ("encoder", "decoder") for layer in (0, 1)
              for kind in ("weight", "bias"))  # fmt: skip


@dataclass(frozen=True)
class AutoencoderConfig:
    """How an autoencoder is trained.

    Attributes
    ----------
    hidden
        Units of the one hidden layer on each side.
    variational
        Whether codes are noisy during training and pulled to a standard normal (Kingma & Welling
        2014), weighted by ``beta``.
    noise
        Standard deviation of Gaussian noise added to the input during training.
    dropout
        Share of inputs set to zero during training.
    batch, learning_rate, weight_decay
        AdamW's settings.
    max_epochs, patience
        Epochs at most, and epochs without a better validation error before training stops.
    seed
        Seeds initialisation, batches and noise.
    """

    hidden: int = 512
    variational: bool = False
    beta: float = 0.01
    noise: float = 0.0
    dropout: float = 0.1
    batch: int = 256
    learning_rate: float = 5e-4
    weight_decay: float = 1e-2
    max_epochs: int = 300
    patience: int = 20
    seed: int = 0


@dataclass(frozen=True)
class Autoencoder:
    """One hidden layer of rectified units on each side of the code.

    Attributes
    ----------
    weights
        Named tensors, as listed in `NAMES`.
    """

    kind: ClassVar[str] = "autoencoder"
    weights: dict[str, Float32]

    @classmethod
    def from_tensors(cls, tensors: dict[str, Float32]) -> Autoencoder:
        """Rebuild from `tensors`.

        Raises
        ------
        KeyError
            If a tensor is missing.
        SpaceError
            If the tensors' shapes do not fit together.
        """
        weights = {name: tensors[name] for name in NAMES}
        shapes = [weights[f"{part}.{layer}.weight"].shape for part, layer in _LAYERS]
        biases = [weights[f"{part}.{layer}.bias"].shape for part, layer in _LAYERS]
        chained = all(len(shape) == 2 for shape in shapes) and all(
            before[0] == after[1] and bias == (before[0],)
            for before, after, bias in zip(shapes, [*shapes[1:], shapes[0]], biases, strict=True)
        )
        if not chained:
            raise SpaceError(f"autoencoder layers do not fit together: {shapes}, biases {biases}")
        return cls(weights)

    @property
    def dim(self) -> int:
        """Latent dimensions."""
        return len(self.weights["encoder.1.bias"])

    @property
    def features(self) -> int:
        """Features the encoder takes."""
        return len(self.weights["decoder.1.bias"])

    def tensors(self) -> dict[str, Float32]:
        """What has to be stored, by name."""
        return dict(self.weights)

    def encode(self, values: Float32) -> Float32:
        """Standardised values ``(patients, features)`` to codes ``(patients, dim)``."""
        return self._pass("encoder", values)

    def decode(self, codes: Float32) -> Float32:
        """Codes ``(..., dim)`` to standardised values ``(..., features)``."""
        return self._pass("decoder", codes)

    def _pass(self, part: str, x: Float32) -> Float32:
        hidden = x @ self.weights[f"{part}.0.weight"].T + self.weights[f"{part}.0.bias"]
        hidden = np.maximum(hidden, 0)
        return np.asarray(
            hidden @ self.weights[f"{part}.1.weight"].T + self.weights[f"{part}.1.bias"]
        )


_LAYERS = [(part, layer) for part in ("encoder", "decoder") for layer in (0, 1)]


def fit_autoencoder(
    train: Float32, validation: Float32, dim: int, config: AutoencoderConfig | None = None
) -> Autoencoder:
    """Train to reconstruct standardised values, keeping the best validation epoch.

    Parameters
    ----------
    train, validation
        Standardised values without gaps, shape ``(patients, features)``.
    dim
        Latent dimensions.
    config
        Network, optimiser and stopping rule.
    """
    with one_torch_thread():  # so that the result does not depend on the machine's cores
        return _trained(train, validation, dim, config or AutoencoderConfig())


def _trained(
    train: Float32, validation: Float32, dim: int, config: AutoencoderConfig
) -> Autoencoder:
    import torch
    from torch import nn

    torch.manual_seed(config.seed)
    features = train.shape[1]
    outputs = 2 * dim if config.variational else dim
    encoder = nn.Sequential(
        nn.Linear(features, config.hidden), nn.ReLU(), nn.Linear(config.hidden, outputs)
    )
    decoder = nn.Sequential(
        nn.Linear(dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, features)
    )
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    rows, held = torch.tensor(train), torch.tensor(validation)
    best_error, best_epoch, best = float("inf"), 0, [p.detach().clone() for p in parameters]
    for epoch in range(config.max_epochs):
        for batch in torch.split(torch.randperm(len(rows)), config.batch):
            loss = _loss(encoder, decoder, rows[batch], dim, config)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.inference_mode():
            error = float(torch.mean((decoder(encoder(held)[:, :dim]) - held) ** 2))
        if error < best_error:
            best_error, best_epoch = error, epoch
            best = [p.detach().clone() for p in parameters]
        elif epoch - best_epoch >= config.patience:
            break
    return Autoencoder(_named([p.numpy() for p in best], dim))


def _loss(
    encoder: nn.Module, decoder: nn.Module, x: Tensor, dim: int, config: AutoencoderConfig
) -> Tensor:
    import torch

    seen = torch.nn.functional.dropout(x + config.noise * torch.randn_like(x), config.dropout)
    codes = encoder(seen)
    penalty = torch.zeros(())
    if config.variational:
        mean, log_variance = codes[:, :dim], codes[:, dim:].clamp(-10, 10)
        codes = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)
        penalty = config.beta * divergence.sum(dim=1).mean() / x.shape[1]
    loss: Tensor = torch.mean((decoder(codes) - x) ** 2) + penalty
    return loss


def _named(parameters: list[Float32], dim: int) -> dict[str, Float32]:
    """Parameters by name; of a variational encoder only the means' half of the last layer."""
    weights = dict(zip(NAMES, parameters, strict=True))
    for kind in ("weight", "bias"):
        weights[f"encoder.1.{kind}"] = weights[f"encoder.1.{kind}"][:dim]
    return {name: np.ascontiguousarray(value) for name, value in weights.items()}
