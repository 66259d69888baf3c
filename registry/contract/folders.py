"""Experts and spaces in a folder: an artifact's own files, or a plugin project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codenoise.core.base.errors import ArtifactError
from codenoise.registry.contract.artifacts import imposter, verify_files, verify_identity
from codenoise.registry.contract.manifest import (
    EXPERT_FILE,
    SPACE_FILE,
    AnyManifest,
    ExpertManifest,
    SpaceManifest,
    SpaceRef,
)
from codenoise.registry.contract.manifest_file import read_manifest

MAX_MANIFEST_BYTES = 16_000_000
MEND = "give a folder that is whole, or tell its author"


@dataclass(frozen=True)
class Artifact:
    """An expert or a space in a folder, read and checked.

    Attributes
    ----------
    file
        Its manifest; the other files stand beside it.
    manifest
        What it says of itself.
    """

    file: Path
    manifest: ExpertManifest | SpaceManifest

    @property
    def kind(self) -> str:
        """``expert`` or ``space``."""
        return "space" if isinstance(self.manifest, SpaceManifest) else "expert"


def read_artifacts(folder: Path) -> list[Artifact]:
    """Read and check the artifact of a folder, and the spaces it brings, which come first.

    Parameters
    ----------
    folder
        Holds ``expert.json`` or ``space.json`` and the files that it names, as a package, a Hub
        repository and a plugin's project do; spaces of an expert may stand in ``spaces/NAME``.

    Raises
    ------
    ArtifactError
        If the folder holds no artifact or more than one, or anything in it is missing, damaged or
        contradicts itself.
    """
    file = _manifest_of(folder)
    if file.name == SPACE_FILE:
        return [_checked(file, SpaceManifest)]
    expert = _checked(file, ExpertManifest)
    refs = spaces_of(expert.manifest)
    return [*(space for ref in refs for space in _bundled(file.parent, ref)), expert]


def spaces_of(manifest: ExpertManifest | SpaceManifest) -> list[SpaceRef]:
    """The spaces that an expert lives in; none for a space."""
    return [*manifest.condition, manifest.target] if isinstance(manifest, ExpertManifest) else []


def bundled_space(ref: SpaceRef) -> str:
    """Where an expert's folder or repository holds the manifest of a space it brings."""
    return f"spaces/{ref.name}/{SPACE_FILE}"


def read_bounded(file: Path, model: type[AnyManifest]) -> AnyManifest:
    """Read a manifest that nobody vouches for.

    Raises
    ------
    ArtifactError
        If it is too large, no manifest at all, or a field is missing, unknown or wrong.
    """
    if file.is_file():
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise ArtifactError(f"{file} has over {MAX_MANIFEST_BYTES} bytes; {MEND}")
        fault = imposter(file)
        if fault:
            raise ArtifactError(f"{file} {fault}; {MEND}")
    return read_manifest(file, model)


def _manifest_of(folder: Path) -> Path:
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is no folder; give one with an {EXPERT_FILE}")
    inside = [folder / EXPERT_FILE, folder / SPACE_FILE]
    if (folder / "pyproject.toml").is_file():
        inside += sorted([*folder.glob(f"*/{EXPERT_FILE}"), *folder.glob(f"*/{SPACE_FILE}")])
    found = [file for file in inside if file.is_file()]
    if len(found) != 1:
        have = ", ".join(str(file.relative_to(folder)) for file in found) or "neither"
        raise ArtifactError(
            f"{folder} should hold one {EXPERT_FILE} or {SPACE_FILE}, or be the project of a "
            f"plugin; it holds {have}"
        )
    return found[0]


def _checked(file: Path, model: type[AnyManifest]) -> Artifact:
    manifest = read_bounded(file, model)
    verify_files(file.parent, manifest, mend=MEND)
    verify_identity(file.parent, manifest, mend=MEND)
    return Artifact(file, manifest)


def _bundled(folder: Path, ref: SpaceRef) -> list[Artifact]:
    file = folder / bundled_space(ref)
    if not file.is_file():
        return []
    space = _checked(file, SpaceManifest)
    assert isinstance(space.manifest, SpaceManifest)
    for field in SpaceRef.model_fields:
        has, wanted = getattr(space.manifest.ref, field), getattr(ref, field)
        if has != wanted:
            raise ArtifactError(
                f"{file}: field {field!r} is {has!r}, its expert needs {wanted!r}; {MEND}"
            )
    return [space]
