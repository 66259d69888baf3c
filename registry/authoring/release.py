"""What is checked before an expert or a space leaves its author's machine."""

from __future__ import annotations

from pathlib import Path

from codenoise.registry.contract.folders import Artifact, read_artifacts
from codenoise.registry.contract.manifest import SpaceManifest
from codenoise.registry.contract.plugin import Plugin
from codenoise.registry.contract.sources import Folder
from codenoise.registry.installed.loading import load_expert, load_space


def read_release(folder: Path) -> tuple[Artifact, list[Artifact]]:
    """Read the artifact of a folder and the spaces beside it, and load them as their users will.

    Parameters
    ----------
    folder
        Holds a manifest and the files that it names, or is the project of a plugin; see
        `read_artifacts`.

    Raises
    ------
    ArtifactError
        If anything is missing, damaged, contradicts itself or cannot be loaded.
    """
    *spaces, artifact = read_artifacts(folder)
    for each in (*spaces, artifact):
        source = Folder(path=str(folder.resolve()))
        if isinstance(each.manifest, SpaceManifest):
            load_space(Plugin(source, each.file, each.manifest))
        else:
            load_expert(Plugin(source, each.file, each.manifest))
    return artifact, spaces
