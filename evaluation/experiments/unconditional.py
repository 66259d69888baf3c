"""Generation from nothing, and the real patients that it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from codenoise.core.ensemble.expert import Expert
from codenoise.evaluation.experiments.fidelity import NEIGHBOURS
from codenoise.evaluation.study import COHERENT, MULTI, PUBLISHED, SINGLE, Study

Float32 = NDArray[np.float32]
GENERATORS = (COHERENT, PUBLISHED, MULTI, SINGLE)
REAL, OTHERS, TEST = "real training patients", "other training patients", "real test patients"
NOBODY = "nobody"
NARROW = 0.01  # the paper's draws have 0.4 to 2.1% of the real variance
NARROWED = f"{PUBLISHED}, narrowed to {NARROW:.0%}"


class Unconditioned(Expert):
    """An expert that is given nothing, whatever conditions it is offered.

    A multi-condition expert has all its conditions masked, which it was trained for. A pair expert
    was not: it gets the null condition of the paper, the mean latent, which is zero because latents
    are standardised. What it then generates is the target of an average patient.
    """

    def condition_input(
        self, latents: Mapping[str, pd.DataFrame], patients: Sequence[str]
    ) -> Tensor:
        """What the denoiser takes as the null condition, shape ``(patients, condition_dim)``."""
        if self.masked:
            return super().condition_input({}, patients)
        return torch.zeros(len(patients), self.condition_dims[0])


def given_nothing(study: Study) -> Study:
    """The same study with every expert `Unconditioned`, and draws that are independent."""
    ensemble = study.ensemble
    return replace(
        study,
        ensemble=replace(
            ensemble,
            experts=tuple(Unconditioned(**vars(expert)) for expert in ensemble.experts),
            settings=replace(ensemble.settings, mirrored=False),
        ),
    )


def null_draws(study: Study, method: str, target: str, count: int, seed: int) -> Float32:
    """Generate a target from nothing.

    All draws are those of one pseudo-patient, with whom every expert of the method is in play; the
    engine would leave out a patient without any modality.

    Parameters
    ----------
    study
        Its experts are given nothing here, whatever they are.
    method
        Name of one of its methods.
    target
        Modality.
    count, seed
        Draws and their seed.

    Returns
    -------
    Float32
        Shape ``(count, dim)``.
    """
    offered = {
        name: pd.DataFrame(0.0, index=[NOBODY], columns=table.columns, dtype=np.float32)
        for name, table in study.latents["train"].items()
        if name != target
    }
    generator = given_nothing(study).methods[method]
    drawn: Float32 = generator.generate(target, offered, [NOBODY], count, seed)[0]
    return drawn


def compared_sets(
    study: Study, target: str, limit: int, seed: int, rng: np.random.Generator
) -> dict[str, Float32] | str:
    """Real and generated latents of a target, in sets of one size.

    Parameters
    ----------
    study
        What generates, and the patients.
    target
        Modality.
    limit
        Largest size.
    seed
        Of the draws.
    rng
        Chooses the patients.

    Returns
    -------
    dict or str
        Latents ``(size, dim)`` of `REAL` training patients, against which all others are measured,
        of as many `OTHERS`, of `TEST` patients, of each generator given nothing, and of the
        published consensus `NARROWED`; or why there are none.
    """
    train = study.latents["train"][target].to_numpy()
    test = study.latents["test"].get(target, pd.DataFrame()).to_numpy()
    size = min(len(test), len(train) // 2, limit)
    if size <= NEIGHBOURS:
        return f"{len(train)} training and {len(test)} test patients are too few"
    order = rng.permutation(len(train))
    generated = {
        name: null_draws(study, name, target, size, seed)
        for name in GENERATORS
        if name in study.methods
        and study.methods[name].serves(target, [m for m in study.modalities if m != target])
    }
    real = {
        REAL: train[order[:size]],
        OTHERS: train[order[size : 2 * size]],
        TEST: test[rng.permutation(len(test))[:size]],
    }
    if PUBLISHED in generated:
        generated[NARROWED] = narrowed(generated[PUBLISHED], real[REAL])
    return real | generated


def narrowed(draws: Float32, real: Float32, share: float = NARROW) -> Float32:
    """Draws drawn in around their mean until their variance is this share of the real one.

    Parameters
    ----------
    draws, real
        Shapes ``(n, dim)`` and ``(m, dim)``.
    share
        Of the variance, summed over dimensions.
    """
    mean = draws.mean(axis=0)
    wanted = share * real.var(axis=0).sum() / draws.var(axis=0).sum()
    return np.asarray(mean + np.sqrt(wanted) * (draws - mean), dtype=np.float32)
