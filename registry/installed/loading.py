"""From installed files to the engine's spaces and experts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from codenoise.core.base.errors import ArtifactError, CodenoiseError
from codenoise.registry.contract.artifacts import (
    ENCODER_FILE,
    IDENTITY_KEY,
    WEIGHTS_FILE,
    check_finite,
    expert_identity,
    load_tensors,
    verify_files,
)
from codenoise.registry.contract.manifest import ConditionStats, ExpertManifest, SpaceManifest
from codenoise.registry.installed.code_plugins import need
from codenoise.registry.installed.discovery import Plugin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from codenoise.core.ensemble.expert import Expert, Moments
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
    path = plugin.folder / ENCODER_FILE
    tensors, _ = load_tensors(path)
    # A feature that does not vary has no R2.
    check_finite(path, {name: tensor for name, tensor in tensors.items() if name != "r2"})
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
                f"{plugin.source.repair}"
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

    from codenoise.core.diffusion.architectures import build_denoiser
    from codenoise.core.diffusion.schedule import schedule_from
    from codenoise.core.ensemble.expert import Expert

    manifest = plugin.manifest
    verify_files(plugin.folder, manifest)
    path = plugin.folder / WEIGHTS_FILE
    tensors, metadata = load_tensors(path)
    if metadata.get(IDENTITY_KEY) != expert_identity(manifest):
        raise ArtifactError(
            f"{path} was not made for {manifest.reference}: the identity in its metadata differs "
            f"from that of expert.json; {plugin.source.repair}"
        )
    masked = manifest.kind == "multi"
    dims = tuple(ref.dim for ref in manifest.condition)
    try:
        need("architectures", manifest.architecture.name)
        build = partial(
            build_denoiser,
            manifest.architecture.name,
            manifest.target.dim,
            dims,
            manifest.architecture.parameters,
            masked=masked,
        )
        with torch.device("meta"):  # takes no memory, whatever size the manifest claims
            shapes = {key: tuple(tensor.shape) for key, tensor in build().state_dict().items()}
        schedule = schedule_from(manifest.schedule.type, manifest.schedule.parameters)
    except CodenoiseError as problem:
        raise ArtifactError(f"{plugin.folder / 'expert.json'}: {problem}") from None
    _check_shapes(path, tensors, shapes)
    check_finite(path, tensors)
    denoiser = build()
    denoiser.load_state_dict({key: torch.from_numpy(tensor) for key, tensor in tensors.items()})
    return Expert(
        name=manifest.reference,
        conditions=tuple(ref.modality for ref in manifest.condition),
        target=manifest.target.modality,
        condition_spaces=tuple(ref.digest for ref in manifest.condition),
        target_space=manifest.target.digest,
        condition_dims=dims,
        dim=manifest.target.dim,
        denoiser=denoiser.eval(),
        schedule=schedule,
        prediction=manifest.prediction,
        validation_mse=manifest.validation.mse,
        validation_r2=manifest.validation.r2_expectation,
        moments=tuple(_moments(stats) for stats in manifest.condition_stats),
        masked=masked,
    )


def _moments(stats: ConditionStats) -> Moments:
    import numpy as np

    from codenoise.core.ensemble.expert import Moments

    factor = np.zeros((len(stats.mean), len(stats.mean)))
    for i, row in enumerate(stats.covariance_factor):
        factor[i, : i + 1] = row
    return Moments(np.array(stats.mean), factor)


def _check_shapes(
    path: Path, tensors: Mapping[str, NDArray[np.float32]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Compare the tensors of a file with what the manifest's architecture and dims ask for."""
    for key in sorted({*tensors, *shapes}):
        # Files hold a single number as an array of one.
        has = tensors[key].shape or (1,) if key in tensors else "missing"
        wanted = shapes[key] or (1,) if key in shapes else "unknown"
        if has != wanted:
            raise ArtifactError(
                f"{path} does not fit its architecture: tensor {key!r} is {has}, by the fields "
                f"'architecture', 'condition' and 'target' of expert.json it is {wanted}"
            )
