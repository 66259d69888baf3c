"""Latent size: how much of a modality's features is restored with latents of 8 to 128 (S10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.base.metrics import r2_of_expectation, r2_per_feature, r2_pooled
from codenoise.core.base.threads import one_torch_thread
from codenoise.core.diffusion.config import TrainingConfig
from codenoise.core.diffusion.data import ExpertData
from codenoise.core.diffusion.training import train_expert
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.core.spaces.fit import fit_space
from codenoise.core.spaces.pca import PCAEncoder
from codenoise.core.spaces.space import Space
from codenoise.evaluation.baselines.regression import ridge
from codenoise.evaluation.experiment import Experiment, Part, Row
from codenoise.evaluation.experiments.dimension_reading import CEILING, REGRESSION, section
from codenoise.evaluation.study import COHERENT, PUBLISHED, Study, subsets

Float32 = NDArray[np.float32]
SIZES, QUICK_SIZES = (8, 16, 32, 64, 128), (8, 32)
MOST_RUNS = 3  # each trains its networks
CONDITIONS = 2
STEPS, QUICK_STEPS = 1000, 300
DRAWS = 10
# New experts have no learned weights: the product, as ours have, and the paper's weighted mean.
SETTINGS = {
    COHERENT: EngineSettings(composition="product"),
    PUBLISHED: EngineSettings(weighting="inverse-mse"),
}
FEWEST_VALUES = 20  # of a feature, for an R2 of its own


@dataclass(frozen=True)
class Setting:
    """What is generated from what: the modalities that most training patients have together."""

    target: str
    conditions: tuple[str, ...]

    @classmethod
    def of(cls, study: Study) -> Setting:
        """Choose the largest group of modalities; its narrowest table is the target.

        Raises
        ------
        DataError
            If no two modalities share enough patients.
        """
        size = min(CONDITIONS + 1, len(study.modalities))
        groups = [group for group in subsets(study.modalities) if len(group) == size >= 2]
        best = max(groups, key=lambda g: len(study.complete("train", g)), default=())
        if not best or any(len(study.complete(part, best)) < 2 for part in study.parts):
            raise DataError(
                "latent size is studied on a target and its conditions, but no "
                f"{max(size, 2)} of the modalities ({', '.join(study.modalities) or 'none'}) have "
                "2 patients in common in every part of the split; give such tables"
            )
        target = min(best, key=lambda name: len(study.ensemble.spaces[name].features))
        return cls(target, tuple(name for name in best if name != target))

    @property
    def modalities(self) -> tuple[str, ...]:
        """Target and conditions."""
        return (self.target, *self.conditions)


def parts(study: Study) -> list[Part]:
    """One for every run, three at most, and latent size.

    Raises
    ------
    DataError
        See `Setting.of`.
    """
    setting = Setting.of(study)
    sizes = QUICK_SIZES if study.quick else SIZES
    runs = study.seeds()[: 1 if study.quick else MOST_RUNS]
    widest = cache(partial(_fitted, study, max(sizes)))  # components of all sizes are nested
    return [
        Part(f"run{run}-dim{size}", partial(_measure, study, setting, widest, size, run, seed))
        for run, seed in enumerate(runs)
        for size in sizes
    ]


@dataclass(frozen=True)
class Widest:
    """A space of as many components as are studied, and the latents of every part in it.

    The first components of a space are those of a smaller one, and so are its latents.
    """

    space: Space
    latents: Mapping[str, pd.DataFrame]


def _fitted(study: Study, size: int, modality: str) -> Widest:
    """A space of this many principal components, or of as many as there can be.

    Features and preprocessing are those of the modality's own space.
    """
    own = study.ensemble.spaces[modality]
    train, validation = (
        study.parts[part].measured(modality).reindex(columns=list(own.features))
        for part in ("train", "validation")
    )
    steps = [(str(step["kind"]), step["options"]) for step in own.preprocessing]
    space = fit_space(
        train,
        validation,
        modality=modality,
        name=f"{modality}-pca",
        version="0",
        dim=min(size, len(own.features), len(train) - 1),
        preprocessing=steps,
        leave_out_outliers=False,
    ).space
    latents = {part: space.encode(c.measured(modality)) for part, c in study.parts.items()}
    return Widest(space, latents)


def truncated(space: Space, size: int) -> Space:
    """The space of the first principal components alone, as a fit of this size would give it.

    Raises
    ------
    DataError
        If the space has fewer.
    """
    if size > space.dim:
        raise DataError(
            f"{space.modality} has {space.dim} principal components at most; "
            f"latents of {size} cannot be fitted"
        )
    components = space.encoder.tensors()["components"][:size]
    return replace(
        space,
        encoder=PCAEncoder(components),
        latent_mean=space.latent_mean[:size],
        latent_scale=space.latent_scale[:size],
    )


def _measure(
    study: Study,
    setting: Setting,
    widest: Callable[[str], Widest],
    size: int,
    run: int,
    seed: int,
) -> list[Row]:
    patients = study.complete("test", setting.modalities)
    keys: Row = {
        "run": run,
        "seed": seed,
        "target": setting.target,
        "conditions": "+".join(setting.conditions),
        "size": size,
        "patients": len(patients),
    }
    try:
        spaces = {name: truncated(widest(name).space, size) for name in setting.modalities}
    except DataError as problem:
        return [keys | {"kind": "r2", "method": COHERENT, "reason": str(problem)}]
    latents = {
        part: {name: widest(name).latents[part].iloc[:, :size] for name in setting.modalities}
        for part in study.parts
    }
    steps = QUICK_STEPS if study.quick else STEPS
    ensemble = _trained(spaces, latents, setting, TrainingConfig(max_steps=steps, seed=seed))
    shown = {name: latents["test"][name].loc[patients] for name in setting.conditions}
    space = spaces[setting.target]
    real = study.parts["test"].measured(setting.target).loc[patients, list(space.features)]
    generated = {
        method: replace(ensemble, settings=settings)
        .generate(setting.target, shown, patients, draws=DRAWS, seed=seed)
        .draws
        for method, settings in SETTINGS.items()
    }
    restored = generated | {
        REGRESSION: _regressed(latents, setting, patients)[:, None],
        CEILING: latents["test"][setting.target].loc[patients].to_numpy()[:, None],
    }
    wanted = space.standardised(real.to_numpy(dtype=np.float32))
    return [
        keys | {"method": method} | row
        for method, values in restored.items()
        for row in _rows(wanted, space.standardised(space.decode(values)), each=method == COHERENT)
    ]


def _trained(
    spaces: Mapping[str, Space],
    latents: Mapping[str, Mapping[str, pd.DataFrame]],
    setting: Setting,
    config: TrainingConfig,
) -> LoadedEnsemble:
    """One pair expert of each condition."""
    target = spaces[setting.target]
    experts = []
    for name in setting.conditions:
        train, validation = (
            ExpertData.pair(latents[part][name], latents[part][setting.target])
            for part in ("train", "validation")
        )
        with one_torch_thread():
            trained = train_expert(train, validation, config)
        experts.append(
            Expert(
                name=f"{name}-to-{setting.target}-{target.dim}",
                conditions=(name,),
                target=setting.target,
                condition_spaces=(spaces[name].digest,),
                target_space=target.digest,
                condition_dims=(spaces[name].dim,),
                dim=target.dim,
                denoiser=trained.denoiser,
                schedule=trained.schedule,
                prediction=config.prediction,
                validation_mse=trained.validation.mse,
                validation_r2=trained.validation.r2_expectation,
            )
        )
    return LoadedEnsemble(spaces, tuple(experts))


def _regressed(
    latents: Mapping[str, Mapping[str, pd.DataFrame]], setting: Setting, patients: Sequence[str]
) -> Float32:
    """Ridge regression on all conditions, shape ``(patients, dim)``."""
    train = latents["train"]
    known = sorted(set.intersection(*(set(train[name].index) for name in setting.modalities)))

    def beside(part: str, ids: Sequence[str]) -> Float32:
        tables = latents[part]
        return np.hstack([tables[name].loc[list(ids)].to_numpy() for name in setting.conditions])

    wanted = train[setting.target].loc[known].to_numpy()
    return ridge(beside("train", known), wanted, beside("test", patients))


def _rows(wanted: Float32, draws: Float32, *, each: bool) -> Iterator[Row]:
    """R2 over the values that were measured, and the squared error of each patient if asked for.

    ``wanted`` has the shape ``(patients, features)`` and is NaN at gaps, ``draws`` has ``(patients,
    draws, features)``; both are in standard deviations of the training patients.
    """
    known, got = ~np.isnan(wanted), draws.mean(axis=1)
    columns = [
        float(r2_per_feature(wanted[rows, j : j + 1], got[rows, j : j + 1])[0])
        for j, rows in enumerate(known.T)
        if rows.sum() >= FEWEST_VALUES
    ]
    pooled = r2_pooled(wanted[known], got[known])
    expectation = pooled
    if draws.shape[1] > 1:
        values = draws.transpose(0, 2, 1)[known][..., None]  # a measured value a row
        mirrored = EngineSettings().mirrored
        expectation = r2_of_expectation(wanted[known][:, None], values, mirrored=mirrored)
    yield {
        "kind": "r2",
        "r2_pooled": pooled,
        "r2_expectation": expectation,
        "r2_feature": float(np.nanmean(columns)) if columns else float("nan"),
        "features": len(columns),
        "gaps": int((~known).sum()),
    }
    if each:
        errors = np.nanmean((wanted - got) ** 2, axis=1)
        for i, error in enumerate(errors):
            yield {"kind": "patient", "subject": i, "error": float(error)}


EXPERIMENT = Experiment(
    name="dimension",
    title="Latent size",
    question="How many latent dimensions does a modality need to be restored from others?",
    paper="S10",
    parts=parts,
    section=section,
)
