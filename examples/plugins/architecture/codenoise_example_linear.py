"""The network, in a module of its own: torch is imported when an expert needs it, not before."""

import torch
from torch import nn

from codenoise.core.diffusion.denoiser import LatentDenoiser, time_embedding


class LinearDenoiser(LatentDenoiser):
    """One linear layer over noisy latents, condition and time."""

    def __init__(
        self,
        dim,
        condition_dims,
        *,
        masked=False,
        width=0,
        layers=1,
        time_dim=16,
        condition_width=16,
    ):
        super().__init__(condition_dims, masked, time_dim, condition_width)
        self.output = nn.Linear(dim + self.condition.out_features + time_dim, dim)

    def forward(self, x, time, condition):
        """Predict from noisy latents; see `MLPDenoiser.forward` in codenoise."""
        embedded = time_embedding(time, self.time_dim)
        return self.output(torch.cat([self.start(x, condition), embedded], dim=1))
