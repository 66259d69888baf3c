"""Writing plugin packages: a fitted space or trained expert becomes a project to install."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codenoise.core.base.files import atomic_folder
from codenoise.registry.authoring.project import package_name, project_folder, write_project
from codenoise.registry.contract.artifacts import (
    ENCODER_FILE,
    IDENTITY_KEY,
    WEIGHTS_FILE,
    expert_identity,
    file_entry,
    save_tensors,
)
from codenoise.registry.contract.compatibility import engine_version
from codenoise.registry.contract.manifest import (
    Architecture,
    ConditionStats,
    ExpertManifest,
    ExpertValidation,
    Schedule,
    SourceLicense,
    SpaceManifest,
    SpaceTraining,
    SpaceValidation,
    StoredStep,
    Training,
)
from codenoise.registry.contract.manifest_file import SCHEMA_MAJOR, SCHEMA_MINOR

if TYPE_CHECKING:
    from codenoise.core.diffusion.data import ExpertData
    from codenoise.core.diffusion.training import TrainedDenoiser
    from codenoise.core.spaces.fit import FittedSpace

ENGINE_RANGE = ">=0.1,<1"
SCHEMA = f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}"


@dataclass(frozen=True)
class Origin:
    """Where the data of a package come from and who answers for it.

    Attributes
    ----------
    cohort, cohort_digest
        Name and content digest of the cohort trained on.
    license
        SPDX expression that the sources ask for.
    authors, citation, sources
        For the manifest and the model card.
    fingerprint
        Digest of all inputs; equal fingerprints mean nothing has to be done again.
    source_licenses
        Licences of the single sources, where known.
    """

    cohort: str
    cohort_digest: str
    license: str
    authors: tuple[str, ...]
    citation: str
    sources: tuple[str, ...]
    fingerprint: str
    source_licenses: tuple[SourceLicense, ...] = ()


def build_space(fitted: FittedSpace, origin: Origin, root: Path) -> SpaceManifest:
    """Write a space's project below ``root`` and return its manifest."""
    space = fitted.space
    name, package = space.name, package_name("space", space.name)
    with atomic_folder(project_folder(root, "space", name), "pyproject.toml") as folder:
        inner = folder / package
        save_tensors(space.tensors(), inner / ENCODER_FILE, {IDENTITY_KEY: space.digest})
        manifest = SpaceManifest(
            schema_version=SCHEMA,
            kind="space",
            name=name,
            version=space.version,
            engine=ENGINE_RANGE,
            license=origin.license,
            authors=list(origin.authors),
            citation=origin.citation,
            sources=list(origin.sources),
            source_licenses=list(origin.source_licenses),
            files={ENCODER_FILE: file_entry(inner / ENCODER_FILE)},
            modality=space.modality,
            unit=space.unit,
            dim=space.dim,
            features=list(space.features),
            preprocessing=[StoredStep(**step) for step in space.preprocessing],
            encoder=space.encoder.kind,
            max_missing_fraction=space.max_missing_fraction,
            max_absent_fraction=space.max_absent_fraction,
            digest=space.digest,
            validation=SpaceValidation(
                n=fitted.n_validation, r2=fitted.r2, r2_feature_mean=fitted.r2_feature_mean
            ),
            training=SpaceTraining(
                cohort=origin.cohort,
                n=fitted.n_train,
                outliers_left_out=fitted.n_outliers,
                code_version=engine_version(),
                date=date.today().isoformat(),
                fingerprint=origin.fingerprint,
            ),
        )
        write_project(folder, manifest, [])
    return manifest


def build_expert(
    name: str,
    version: str,
    trained: TrainedDenoiser,
    conditions: Sequence[SpaceManifest],
    target: SpaceManifest,
    train: ExpertData,
    origin: Origin,
    root: Path,
) -> ExpertManifest:
    """Write an expert's project below ``root`` and return its manifest.

    Weights are stored in half precision.

    Parameters
    ----------
    name, version
        Identity of the expert.
    trained
        Network and record of its training.
    conditions, target
        The spaces it lives in.
    train
        What it was trained on, for the manifest's statistics of conditions.
    origin
        Data, licence and people behind it.
    root
        Folder of plugin projects.
    """
    package = package_name("expert", name)
    manifest = ExpertManifest(
        schema_version=SCHEMA,
        kind="pair" if train.present is None else "multi",
        name=name,
        version=version,
        engine=ENGINE_RANGE,
        license=origin.license,
        authors=list(origin.authors),
        citation=origin.citation,
        sources=list(origin.sources),
        source_licenses=list(origin.source_licenses),
        files={},
        condition=[space.ref for space in conditions],
        target=target.ref,
        architecture=Architecture(
            name=trained.config.architecture,
            parameters=dict(trained.config.architecture_parameters()),
        ),
        prediction=trained.config.prediction,
        schedule=Schedule(type="linear", parameters=dict(trained.schedule.parameters)),
        validation=_validation(trained, origin),
        training=_training(trained, len(train), origin),
        condition_stats=_condition_stats(train),
    )
    with atomic_folder(project_folder(root, "expert", name), "pyproject.toml") as folder:
        weights = folder / package / WEIGHTS_FILE
        tensors = {
            key: value.numpy().astype(np.float16) if value.is_floating_point() else value.numpy()
            for key, value in trained.denoiser.state_dict().items()
        }
        save_tensors(tensors, weights, {IDENTITY_KEY: expert_identity(manifest)})
        manifest = manifest.model_copy(update={"files": {WEIGHTS_FILE: file_entry(weights)}})
        requirements = [f"codenoise-space-{s.name}=={s.version}" for s in (*conditions, target)]
        write_project(folder, manifest, requirements)
    return manifest


def _validation(trained: TrainedDenoiser, origin: Origin) -> ExpertValidation:
    measured, config = trained.validation, trained.config
    return ExpertValidation(
        n=measured.n,
        mse=measured.mse,
        r2=measured.r2,
        mse_mean_of_draws=measured.mse_mean,
        r2_mean_of_draws=measured.r2_mean,
        r2_expectation=measured.r2_expectation,
        energy_score=measured.energy_score,
        noise_mse_by_level=list(measured.noise_mse),
        draws=measured.draws,
        cohort_digest=origin.cohort_digest,
        protocol=(
            f"{measured.draws} mirrored DPM-Solver++ draws of {config.validation_sampler_steps} "
            f"steps; the checkpoint with the lowest error of the mean of draws was kept on these "
            f"same patients"
        ),
    )


def _training(trained: TrainedDenoiser, n: int, origin: Origin) -> Training:
    return Training(
        cohort=origin.cohort,
        n=n,
        code_version=engine_version(),
        seed=trained.config.seed,
        date=date.today().isoformat(),
        seconds=round(trained.seconds, 1),
        hardware=f"{platform.machine()} {trained.hardware}",
        steps=trained.steps,
        best_step=trained.best_step,
        config=dict(vars(trained.config)),
        fingerprint=origin.fingerprint,
    )


def _condition_stats(train: ExpertData) -> list[ConditionStats]:
    """Mean and covariance of each condition over the training patients that have it."""
    stats, end = [], 0
    for position, dim in enumerate(train.condition_dims):
        latents = train.condition[:, end : end + dim]
        end += dim
        if train.present is not None:
            latents = latents[train.present[:, position]]
        covariance = np.cov(latents, rowvar=False, dtype=np.float64)
        # A trace of ridge keeps the factor defined when a dimension does not vary.
        factor = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(covariance)))
        stats.append(
            ConditionStats(
                mean=[round(float(value), 6) for value in latents.mean(axis=0)],
                covariance_factor=[
                    [round(float(value), 6) for value in row[: i + 1]]
                    for i, row in enumerate(factor)
                ],
            )
        )
    return stats
