"""Writing plugin packages: a fitted space or trained expert becomes a project to install."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codenoise.core.files import atomic_folder
from codenoise.registry.artifacts import (
    ENCODER_FILE,
    IDENTITY_KEY,
    WEIGHTS_FILE,
    expert_identity,
    file_entry,
    save_tensors,
    write_manifest,
)
from codenoise.registry.compatibility import engine_version
from codenoise.registry.discovery import EXPERTS, SPACES
from codenoise.registry.manifest import (
    EXPERT_FILE,
    SPACE_FILE,
    Architecture,
    ConditionStats,
    ExpertManifest,
    ExpertValidation,
    Manifest,
    Schedule,
    SpaceManifest,
    SpaceTraining,
    SpaceValidation,
    StoredStep,
    Training,
)

if TYPE_CHECKING:
    from codenoise.core.diffusion.training import TrainedDenoiser
    from codenoise.core.spaces.fit import FittedSpace

ENGINE_RANGE = ">=0.1,<1"
SCHEMA = "1.0"


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
    """

    cohort: str
    cohort_digest: str
    license: str
    authors: tuple[str, ...]
    citation: str
    sources: tuple[str, ...]
    fingerprint: str


def project_folder(root: Path, kind: str, name: str) -> Path:
    """Where a plugin's project stands: ``root/codenoise-expert-NAME``."""
    return root / f"codenoise-{kind}-{name}"


def package_name(kind: str, name: str) -> str:
    """Import name of a plugin's package."""
    return f"codenoise_{kind}_{name}".replace("-", "_")


def manifest_path(root: Path, kind: str, name: str) -> Path:
    """Where a plugin's manifest stands in its project."""
    file = EXPERT_FILE if kind == "expert" else SPACE_FILE
    return project_folder(root, kind, name) / package_name(kind, name) / file


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
        description = f"{space.modality} space for codenoise, {space.dim} dimensions"
        _write_project(folder, "space", manifest, description, [])
    return manifest


def build_expert(
    name: str,
    version: str,
    trained: TrainedDenoiser,
    condition: SpaceManifest,
    target: SpaceManifest,
    condition_latents: np.ndarray[tuple[int, int], np.dtype[np.float32]],
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
    condition, target
        The spaces it lives in.
    condition_latents
        Training patients' condition latents, ``(patients, dim)``, for the manifest's statistics.
    origin
        Data, licence and people behind it.
    root
        Folder of plugin projects.
    """
    package = package_name("expert", name)
    manifest = ExpertManifest(
        schema_version=SCHEMA,
        kind="pair",
        name=name,
        version=version,
        engine=ENGINE_RANGE,
        license=origin.license,
        authors=list(origin.authors),
        citation=origin.citation,
        sources=list(origin.sources),
        files={},
        condition=[condition.ref],
        target=target.ref,
        architecture=Architecture(
            name="mlp", parameters=dict(trained.config.architecture_parameters())
        ),
        prediction=trained.config.prediction,
        schedule=Schedule(type="linear", parameters=dict(trained.schedule.parameters)),
        validation=_validation(trained, origin),
        training=_training(trained, len(condition_latents), origin),
        condition_stats=_condition_stats(condition_latents),
    )
    with atomic_folder(project_folder(root, "expert", name), "pyproject.toml") as folder:
        weights = folder / package / WEIGHTS_FILE
        tensors = {
            key: value.numpy().astype(np.float16) if value.is_floating_point() else value.numpy()
            for key, value in trained.denoiser.state_dict().items()
        }
        save_tensors(tensors, weights, {IDENTITY_KEY: expert_identity(manifest)})
        manifest = manifest.model_copy(update={"files": {WEIGHTS_FILE: file_entry(weights)}})
        description = (
            f"codenoise expert: {target.modality} from {condition.modality} (conditional diffusion)"
        )
        requirements = [f"codenoise-space-{s.name}=={s.version}" for s in (condition, target)]
        _write_project(folder, "expert", manifest, description, requirements)
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
            f"{measured.draws} DPM-Solver++ draws of {config.validation_sampler_steps} steps; the "
            f"checkpoint with the lowest error of the mean of draws was kept on these same patients"
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
        hardware=f"{platform.machine()} CPU, one thread",
        steps=trained.steps,
        best_step=trained.best_step,
        config=dict(vars(trained.config)),
        fingerprint=origin.fingerprint,
    )


def _condition_stats(
    latents: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> ConditionStats:
    covariance = np.cov(latents, rowvar=False, dtype=np.float64)
    # A trace of ridge keeps the factor defined when a dimension does not vary.
    factor = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(covariance)))
    return ConditionStats(
        mean=[round(float(value), 6) for value in latents.mean(axis=0)],
        covariance_factor=[
            [round(float(value), 6) for value in row[: i + 1]] for i, row in enumerate(factor)
        ],
    )


def _write_project(
    folder: Path, kind: str, manifest: Manifest, description: str, requirements: list[str]
) -> None:
    package = package_name(kind, manifest.name)
    file = EXPERT_FILE if kind == "expert" else SPACE_FILE
    values = {
        "manifest": manifest,
        "manifest_file": file,
        "package": package,
        "distribution": f"codenoise-{kind}-{manifest.name}",
        "description": description,
        "requirements": requirements,
        "group": EXPERTS if kind == "expert" else SPACES,
        "hub_license": _hub_license(manifest.license),
    }
    inner = folder / package
    (inner / "__init__.py").write_text("")
    (inner / "README.md").write_text(_render(f"{kind}_card.md.j2", values))
    (folder / "pyproject.toml").write_text(_render("pyproject.toml.j2", values))
    write_manifest(manifest, inner / file)


def _hub_license(expression: str) -> str:
    """The Hub's name of a licence; it knows single licences only, all others are ``other``."""
    return "other" if " " in expression else expression.removesuffix("-only").lower()


def _render(template: str, values: Mapping[str, object]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("codenoise.registry", "templates"),
        autoescape=False,  # noqa: S701 (Markdown and TOML, not HTML)
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)
