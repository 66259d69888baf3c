"""Scaffolding: the project of a new expert, usable before anything was trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from codenoise.core.base.errors import CodenoiseError, SpaceError
from codenoise.core.base.files import atomic_folder
from codenoise.registry.authoring.building import ENGINE_RANGE, SCHEMA
from codenoise.registry.authoring.project import (
    package_name,
    project_folder,
    render,
    space_requirements,
    write_project,
)
from codenoise.registry.contract.artifacts import (
    IDENTITY_KEY,
    WEIGHTS_FILE,
    expert_identity,
    file_entry,
    identity_digest,
    save_tensors,
)
from codenoise.registry.contract.compatibility import engine_version
from codenoise.registry.contract.manifest import (
    Architecture,
    ConditionStats,
    ExpertManifest,
    ExpertValidation,
    Name,
    Schedule,
    SpaceManifest,
    Training,
)
from codenoise.registry.contract.plugin import Inventory, Plugin

if TYPE_CHECKING:
    from codenoise.core.diffusion.denoiser import LatentDenoiser
    from codenoise.core.diffusion.schedule import NoiseSchedule

VERSION, LICENSE, AUTHOR = "0.1.0.dev0", "CC0-1.0", "author to be named"
DRAWS = 8
_NETWORK = {"width": 32, "layers": 2, "time_dim": 16, "condition_width": 16}
_FILES = {
    "new_readme.md.j2": "README.md",
    "new_license.txt.j2": "LICENSE",
    "new_test.py.j2": "tests/test_expert.py",
    "new_train.py.j2": "train.py",
}


def new_expert(
    name: str,
    condition: str,
    target: str,
    inventory: Inventory,
    root: Path,
    *,
    condition_space: str | None = None,
    target_space: str | None = None,
) -> Path:
    """Write the project of a new expert between two installed spaces; returns its folder.

    Its weights know nothing: whatever the condition, draws are standard normal latents. For latents
    of unit variance that is the best that can be done without a condition, so every figure of its
    validation follows from the normal distribution, and the expert can be installed, listed and
    composed until ``train.py`` puts real weights in its place.

    Parameters
    ----------
    name
        Of the expert; words in lower case joined by hyphens.
    condition, target
        Modalities.
    inventory
        What is installed.
    root
        Folder to put the project's folder in.
    condition_space, target_space
        ``[SOURCE:]NAME[@VERSION]`` where several spaces of the modality are installed.

    Raises
    ------
    SpaceError
        If no space, or more than one, can be meant.
    CodenoiseError
        If the name is none or taken, both modalities are the same, or the folder is there.
    """
    _check_name(name, inventory)
    if condition == target:
        raise CodenoiseError(f"condition and target are both {target!r}; give two modalities")
    spaces = {
        "condition": _space_of(condition, condition_space, "--condition-space", inventory),
        "target": _space_of(target, target_space, "--target-space", inventory),
    }
    folder = project_folder(root, "expert", name)
    if folder.exists():
        raise CodenoiseError(f"{folder} is already there; give another name or --output")
    with atomic_folder(folder) as unfinished:
        _write(unfinished, name, spaces, inventory)
    return folder


def _check_name(name: str, inventory: Inventory) -> None:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise CodenoiseError(
            f"name {name!r} should be words in lower case joined by hyphens, e.g. rna-to-rppa, of "
            f"at most 80 letters"
        ) from None
    for plugin in inventory.experts:
        if plugin.manifest.name == name:
            raise CodenoiseError(
                f"an expert {plugin.reference} is installed already ({plugin.source.label}); "
                f"give yours another name"
            )


def _space_of(
    modality: str, wanted: str | None, option: str, inventory: Inventory
) -> Plugin[SpaceManifest]:
    """The installed space of a modality that is meant."""
    spaces = [plugin for plugin in inventory.spaces if plugin.manifest.modality == modality]
    if not spaces:
        known = sorted({plugin.manifest.modality for plugin in inventory.spaces})
        raise SpaceError(
            f"no space of {modality!r} is installed; installed spaces are of "
            f"{', '.join(known) or 'nothing'}; install one, or make one with "
            f"'codenoise spaces fit'"
        )
    source, _, reference = (wanted or "").rpartition(":")
    meant = [
        plugin
        for plugin in spaces
        if (not reference or reference in (plugin.manifest.name, plugin.reference))
        and (not source or plugin.comes_from(source))
    ]
    if len(meant) == 1:
        return meant[0]
    have = ", ".join(f"{plugin.source.label}:{plugin.reference}" for plugin in meant or spaces)
    fault = f"space {wanted!r} is not" if not meant else f"{len(meant)} spaces are"
    raise SpaceError(f"{fault} among those of {modality!r}: {have}; say which with {option}")


def _write(
    folder: Path, name: str, spaces: Mapping[str, Plugin[SpaceManifest]], inventory: Inventory
) -> None:
    from codenoise.core.diffusion.schedule import linear_schedule

    schedule = linear_schedule()
    condition, target = spaces["condition"].manifest, spaces["target"].manifest
    manifest = _manifest(name, condition, target, schedule)
    package = folder / package_name("expert", name)
    weights = package / WEIGHTS_FILE
    tensors = {
        key: value.numpy()
        for key, value in _network(condition.dim, target.dim).state_dict().items()
    }
    save_tensors(tensors, weights, {IDENTITY_KEY: expert_identity(manifest)})
    manifest = manifest.model_copy(update={"files": {WEIGHTS_FILE: file_entry(weights)}})
    requirements = space_requirements(manifest, inventory)
    write_project(folder, manifest, requirements, "Written by `codenoise experts new`; yours now.")
    pulled = [p.source.command for p in spaces.values() if p.source.kind != "pip"]
    values = {"manifest": manifest, "package": package.name, "pulled": pulled}
    for template, file in _FILES.items():
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(render(template, values))


def _network(condition_dim: int, dim: int) -> LatentDenoiser:
    """A denoiser that predicts nothing but zeros."""
    import torch

    from codenoise.core.diffusion.architectures import build_denoiser

    denoiser = build_denoiser("mlp", dim, [condition_dim], _NETWORK)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.zero_()
    return denoiser


def _manifest(
    name: str, condition: SpaceManifest, target: SpaceManifest, schedule: NoiseSchedule
) -> ExpertManifest:
    # Of velocities, the prediction 0 is the exact one where clean latents are standard normal.
    nothing = identity_digest({"template": name})
    return ExpertManifest(
        schema_version=SCHEMA,
        kind="pair",
        name=name,
        version=VERSION,
        engine=ENGINE_RANGE,
        license=LICENSE,
        authors=[AUTHOR],
        citation="",
        sources=["none: a template, trained on nothing"],
        files={},
        condition=[condition.ref],
        target=target.ref,
        architecture=Architecture(name="mlp", parameters=dict(_NETWORK)),
        prediction="v",
        schedule=Schedule(type="linear", parameters=dict(schedule.parameters)),
        validation=_validation(target.dim, schedule, nothing),
        training=Training(
            cohort="none",
            n=0,
            code_version=engine_version(),
            seed=0,
            date=date.today().isoformat(),
            seconds=0.0,
            hardware="none",
            steps=0,
            best_step=0,
            config={},
            fingerprint=nothing,
        ),
        condition_stats=[
            ConditionStats(
                mean=[0.0] * condition.dim,
                covariance_factor=[[0.0] * i + [1.0] for i in range(condition.dim)],
            )
        ],
    )


def _validation(dim: int, schedule: NoiseSchedule, digest: str) -> ExpertValidation:
    """What standard normal draws, in mirrored pairs, score against other such latents."""
    from codenoise.core.diffusion.validation import NOISE_LEVELS

    bands = [schedule.steps * (2 * i + 1) // (2 * NOISE_LEVELS) for i in range(NOISE_LEVELS)]
    return ExpertValidation(
        n=0,
        mse=2.0,
        r2=-1.0,
        mse_mean_of_draws=1.0,  # the draws of a pair cancel out
        r2_mean_of_draws=0.0,
        r2_expectation=0.0,
        energy_score=math.exp(math.lgamma((dim + 1) / 2) - math.lgamma(dim / 2)),
        noise_mse_by_level=[float(schedule.alpha_bar[step]) for step in bands],
        draws=DRAWS,
        cohort_digest=digest,
        protocol="worked out for standard normal latents in mirrored pairs; no patient was used",
    )
