"""Training data of an expert: latents of one target and of its condition or conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from codenoise.core.diffusion.denoiser import masked_condition

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class ExpertData:
    """Latents of patients that have the target, row by row.

    Attributes
    ----------
    condition
        Condition latents side by side, shape ``(patients, sum of condition_dims)``; zero where a
        condition is absent.
    target
        Shape ``(patients, dim)``.
    condition_dims
        Latent dimensions of each condition.
    present
        For a multi-condition expert, which conditions a patient has, shape
        ``(patients, conditions)``; ``None`` for a pair, whose patients have both modalities.
    """

    condition: Float32
    target: Float32
    condition_dims: tuple[int, ...]
    present: NDArray[np.bool_] | None = None

    @classmethod
    def pair(cls, condition: pd.DataFrame, target: pd.DataFrame) -> ExpertData:
        """Match two tables of latents by patient id, in the order of the ids."""
        shared = sorted(set(condition.index) & set(target.index))
        values = condition.loc[shared].to_numpy()
        return cls(values, target.loc[shared].to_numpy(), (values.shape[1],))

    @classmethod
    def multi(cls, conditions: Mapping[str, pd.DataFrame], target: pd.DataFrame) -> ExpertData:
        """Every patient of the target, with whichever conditions are there, in order of the ids."""
        patients = sorted(target.index)
        values, present = side_by_side(list(conditions.values()), patients)
        return cls(
            condition=values,
            target=target.loc[patients].to_numpy(),
            condition_dims=tuple(table.shape[1] for table in conditions.values()),
            present=present,
        )

    def __len__(self) -> int:
        return len(self.target)

    def network_input(self) -> Tensor:
        """What the denoiser takes as its condition when every condition is used."""
        values = torch.tensor(self.condition)
        if self.present is None:
            return values
        present = torch.tensor(self.present, dtype=torch.float32)
        return masked_condition(values, present, self.condition_dims)


def side_by_side(
    tables: Sequence[pd.DataFrame], patients: Sequence[str]
) -> tuple[Float32, NDArray[np.bool_]]:
    """Latents of several conditions for some patients, whichever of them they have.

    Parameters
    ----------
    tables
        Latents of each condition, indexed by patient.
    patients
        Ids; a table need not hold them.

    Returns
    -------
    tuple
        Latents, zero where absent, shape ``(patients, sum of dims)``; and which conditions a
        patient has, shape ``(patients, conditions)``.
    """
    asked = [table.reindex(list(patients)) for table in tables]
    values = np.hstack([table.to_numpy(np.float32) for table in asked])
    present = np.stack([table.notna().all(axis=1).to_numpy() for table in asked], axis=1)
    return np.nan_to_num(values, nan=0.0), present


def random_subsets(present: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Choose among each row's conditions a random subset, all subsets alike, the empty one too.

    Parameters
    ----------
    present
        1 where a row has a condition, shape ``(rows, conditions)``.
    generator
        Source of randomness.
    """
    kept = torch.rand(present.shape, generator=generator, device=present.device) < 0.5
    return present * kept
