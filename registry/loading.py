"""From installed files to the engine's spaces and experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codenoise.core.errors import ArtifactError, CodenoiseError
from codenoise.registry.artifacts import (
    ENCODER_FILE,
    IDENTITY_KEY,
    WEIGHTS_FILE,
    expert_identity,
    load_tensors,
    verify_files,
)
from codenoise.registry.discovery import Plugin
from codenoise.registry.manifest import ExpertManifest, SpaceManifest

if TYPE_CHECKING:
    from codenoise.core.ensemble.expert import Expert
    from codenoise.core.spaces.space import Space


def load_space(plugin: Plugin[SpaceManifest]) -> Space:
    """Load a space and check that its content has the digest it claims.

    Raises
    ------
    ArtifactError
        If a file is missing, corrupted, or its content is not what the manifest says.
    """
    from codenoise.core.spaces.space import Space

    manifest = plugin.manifest
    verify_files(plugin.folder, manifest)
    tensors, _ = load_tensors(plugin.folder / ENCODER_FILE)
    space = Space.from_tensors(
        modality=manifest.modality,
        name=manifest.name,
        version=manifest.version,
        features=manifest.features,
        preprocessing=[step.model_dump() for step in manifest.preprocessing],
        encoder=manifest.encoder,
        unit=manifest.unit,
        max_missing_fraction=manifest.max_missing_fraction,
        max_absent_fraction=manifest.max_absent_fraction,
        tensors=tensors,
    )
    for field, said, got in (
        ("dim", manifest.dim, space.dim),
        ("digest", manifest.digest, space.digest),
    ):
        if said != got:
            raise ArtifactError(
                f"{plugin.folder / 'space.json'}: {field} is {said}, its content gives {got}; "
                f"reinstall {plugin.distribution}"
            )
    return space


def load_expert(plugin: Plugin[ExpertManifest]) -> Expert:
    """Load an expert's network.

    Raises
    ------
    ArtifactError
        If a file is missing or corrupted, or the weights do not belong to the manifest.
    """
    import torch

    from codenoise.core.diffusion.denoiser import build_denoiser
    from codenoise.core.diffusion.schedule import schedule_from
    from codenoise.core.ensemble.expert import Expert

    manifest = plugin.manifest
    verify_files(plugin.folder, manifest)
    path = plugin.folder / WEIGHTS_FILE
    tensors, metadata = load_tensors(path)
    if metadata.get(IDENTITY_KEY) != expert_identity(manifest):
        raise ArtifactError(
            f"{path} was not made for {manifest.reference}: the identity in its metadata differs "
            f"from that of expert.json; reinstall {plugin.distribution}"
        )
    condition = manifest.condition[0]
    try:
        denoiser = build_denoiser(
            manifest.architecture.name,
            manifest.target.dim,
            condition.dim,
            manifest.architecture.parameters,
        )
        schedule = schedule_from(manifest.schedule.type, manifest.schedule.parameters)
    except CodenoiseError as problem:
        raise ArtifactError(f"{plugin.folder / 'expert.json'}: {problem}") from None
    state = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    try:
        denoiser.load_state_dict(state)
    except RuntimeError as problem:
        reason = " ".join(str(problem).split())
        raise ArtifactError(f"{path} does not fit its architecture: {reason}") from None
    return Expert(
        name=manifest.reference,
        condition=condition.modality,
        target=manifest.target.modality,
        condition_space=condition.digest,
        target_space=manifest.target.digest,
        dim=manifest.target.dim,
        denoiser=denoiser.eval(),
        schedule=schedule,
        prediction=manifest.prediction,
        validation_mse=manifest.validation.mse,
    )
