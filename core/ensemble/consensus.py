"""One group of patients with its experts: what they predict, and what they agree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from codenoise.core.diffusion.folded import stacks
from codenoise.core.diffusion.prediction import to_epsilon
from codenoise.core.ensemble.coherence import incoherence
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.familiarity import familiarity
from codenoise.core.ensemble.settings import Precision

# Trajectories are always computed in blocks of this many rows, padded when fewer: matrix kernels
# round differently for different shapes, and results must not depend on the number of patients.
BLOCK = 128


class Consensus:
    """Experts of one target and patients that have a condition of each, over a grid of levels.

    Parameters
    ----------
    experts
        Experts in play.
    conditions
        Latents by modality, indexed by patient.
    patients
        Ids.
    levels
        Signal variance at each step of the run, shape ``(steps,)``.
    coefficients
        What each expert counts at each step, shape ``(steps, experts)``; where they do not sum to
        one, the prior takes the rest.
    adaptive
        Whether an expert counts less for a patient unlike those it was trained on.
    precision
        See `EngineSettings`.
    """

    def __init__(
        self,
        experts: Sequence[Expert],
        conditions: Mapping[str, pd.DataFrame],
        patients: Sequence[str],
        levels: NDArray[np.float64],
        coefficients: NDArray[np.float64],
        *,
        adaptive: bool = False,
        precision: Precision = "float32",
    ) -> None:
        self.experts = tuple(experts)
        self.patients = patients
        self.levels = levels
        self.coefficients = torch.from_numpy(coefficients).to(torch.float32)
        total = coefficients.sum(axis=1, keepdims=True)
        shares = np.where(total > 0, coefficients, 1.0)
        self.weights = torch.from_numpy(shares / shares.sum(axis=1, keepdims=True)).float()
        self._needs_prior = bool(np.any(np.abs(total - 1) > 1e-9))
        prior = prior_of(experts) if self._needs_prior else None
        members = [*experts] if prior is None else [*experts, prior]
        self._predictions = [member.prediction for member in members]
        self._inputs = [expert.condition_input(conditions, patients) for expert in experts]
        if prior is not None:
            self._inputs.append(prior.condition_input({}, patients))
        self._stacks = stacks(
            [member.denoiser for member in members],
            [torch.from_numpy(member.schedule.time_at(levels)) for member in members],
            getattr(torch, precision),
        )
        self._familiarity = (
            torch.from_numpy(familiarity(experts, self._inputs)).float() if adaptive else None
        )

    def terms(self, rows: NDArray[np.int64]) -> list[Tensor]:
        """What each stack's first layer adds for these rows; each patient is computed once."""
        unique, where = np.unique(rows, return_inverse=True)
        padded = torch.from_numpy(np.resize(unique, max(BLOCK, len(unique))))
        return [
            stack.condition_terms([self._inputs[i][padded] for i in positions])[
                :, torch.from_numpy(where)
            ]
            for positions, stack in self._stacks
        ]

    def predict(self, x: Tensor, step: int, terms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Each expert's noise ``e_i = M_i(x_t, t, C_i)``, and the prior's.

        The prior is a multi-condition expert that is given nothing, or, where there is none, the
        standard normal distribution that latents are scaled to. Experts of any prediction meet in
        epsilon at the same signal-to-noise ratio.

        Parameters
        ----------
        x
            Noisy latents, shape ``(rows, dim)``.
        step
            Position in the grid.
        terms
            Of the same rows.

        Returns
        -------
        tuple
            Shapes ``(experts, rows, dim)`` and ``(rows, dim)``.
        """
        epsilons = torch.empty(len(self._predictions), *x.shape)
        level = float(self.levels[step])
        for (positions, stack), term in zip(self._stacks, terms, strict=True):
            for position, output in zip(positions, stack(x, step, term), strict=True):
                epsilons[position] = to_epsilon(self._predictions[position], output, x, level)
        count = len(self.experts)
        prior = epsilons[count] if len(epsilons) > count else (1 - level) ** 0.5 * x
        return epsilons[:count], prior

    def combine(
        self, epsilons: Tensor, prior: Tensor, step: int, rows: NDArray[np.int64]
    ) -> Tensor:
        """The consensus noise ``sum_i w_i e_i`` (eq. 5), shape ``(rows, dim)``.

        Parameters
        ----------
        epsilons, prior, step
            See `predict`.
        rows
            Positions of the patients.
        """
        coefficients = self._moved(self.coefficients[step], rows)
        each = "k" if coefficients.ndim == 1 else "nk"
        agreed = torch.einsum(f"{each},knd->nd", coefficients, epsilons)
        if self._needs_prior:
            agreed = agreed + (1 - coefficients.sum(dim=-1, keepdim=True)) * prior
        return agreed

    def distance(self, epsilons: Tensor, step: int, rows: NDArray[np.int64]) -> Tensor:
        """The distance between the experts (eq. 6), shape ``(rows,)``; NaN for one expert.

        Parameters are those of `combine`.
        """
        if len(epsilons) == 1:
            return torch.full((len(rows),), torch.nan)
        return incoherence(epsilons, self._moved(self.weights[step], rows))

    def _moved(self, shares: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Shares of the experts, for each row where they are adaptive."""
        if self._familiarity is None:
            return shares
        return _shifted(shares, self._familiarity[rows])


def prior_of(experts: Sequence[Expert]) -> Expert | None:
    """The multi-condition expert among these, to be given nothing; ``None`` without one."""
    for expert in experts:
        if expert.masked:
            return replace(expert, name=f"{expert.name} given nothing")
    return None


def _shifted(coefficients: Tensor, familiarity: Tensor) -> Tensor:
    """Move coefficients to the more familiar experts, the sum kept: ``(rows, experts)``."""
    moved = coefficients * familiarity
    return moved * (coefficients.sum() / moved.sum(dim=1, keepdim=True))
