"""Training the expert of a project on its author's cohort, in the spaces that are installed."""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from codenoise.core.base.errors import ArtifactError, SpaceError
from codenoise.core.base.files import atomic_folder
from codenoise.core.base.threads import one_torch_thread
from codenoise.core.cohort.cohort import Cohort, read_cohort
from codenoise.core.cohort.splits import read_split
from codenoise.registry.authoring.bank_spaces import training_parts
from codenoise.registry.authoring.building import Origin, build_expert
from codenoise.registry.authoring.project import manifest_path
from codenoise.registry.contract.artifacts import identity_digest
from codenoise.registry.contract.compatibility import missing_space
from codenoise.registry.contract.folders import Artifact, read_artifacts, spaces_of
from codenoise.registry.contract.manifest import (
    EXPERT_FILE,
    ExpertManifest,
    SourceLicense,
    SpaceManifest,
)
from codenoise.registry.contract.plugin import Plugin
from codenoise.registry.installed.code_plugins import need
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.loading import load_space

if TYPE_CHECKING:
    from codenoise.core.diffusion.config import TrainingConfig
    from codenoise.core.diffusion.data import ExpertData
    from codenoise.core.spaces.space import Space


@dataclass(frozen=True)
class About:
    """What the data of an expert are and who answers for it.

    Attributes
    ----------
    cohort
        Name of the cohort.
    authors, citation, sources
        For the manifest and the model card.
    source_licenses
        Licences of the single sources, where they differ.
    """

    cohort: str
    authors: Sequence[str]
    citation: str
    sources: Sequence[str]
    source_licenses: Sequence[SourceLicense] = ()


def train_project(
    project: Path, cohort: Path, split: Path, about: About, config: TrainingConfig
) -> ExpertManifest:
    """Train the expert of a project and put its files in place of those that are there.

    Spaces are not fitted but taken as they are installed, so the expert meets all others that live
    in them. Version and licence are those of ``pyproject.toml``. Test patients are dropped before
    anything is computed.

    Parameters
    ----------
    project
        Folder with ``pyproject.toml`` and the package, as `new_expert` writes it.
    cohort
        Holds a table of each of the expert's modalities.
    split
        CSV of patient,split.
    about
        What the project does not say.
    config
        Training settings.

    Raises
    ------
    ArtifactError, DataError, SpaceError
        If the project is not whole, a space is not installed, or cohort or split cannot be used.
    """
    from codenoise.core.diffusion.training import train_expert

    need("architectures", config.architecture)
    version, license = _declared(project)
    artifact, old = _expert_of(project)
    plugins = _installed_spaces(old)
    spaces = {modality: load_space(plugin) for modality, plugin in plugins.items()}
    features = {modality: space.features for modality, space in spaces.items()}
    given = read_cohort(cohort, list(spaces), features=features)
    parts = training_parts(given, read_split(split))
    data = {name: _latents(old, part, spaces) for name, part in parts.items()}
    with one_torch_thread():
        trained = train_expert(data["train"], data["validation"], config)
    digests = {name: part.digest() for name, part in parts.items()}
    made_of = {
        "version": version,
        "spaces": [ref.digest for ref in spaces_of(old)],
        "config": asdict(config),
        "data": digests,
    }
    origin = Origin(
        cohort=about.cohort,
        cohort_digest=identity_digest(digests),
        license=license,
        authors=tuple(about.authors),
        citation=about.citation,
        sources=tuple(about.sources),
        fingerprint=identity_digest(made_of),
        source_licenses=tuple(about.source_licenses),
    )
    conditions = [plugins[ref.modality].manifest for ref in old.condition]
    target = plugins[old.target.modality].manifest
    with tempfile.TemporaryDirectory(prefix="codenoise-expert-") as temporary:
        root = Path(temporary)
        manifest = build_expert(
            old.name, version, trained, conditions, target, data["train"], origin, root
        )
        made = manifest_path(root, "expert", old.name).parent
        with atomic_folder(artifact.file.parent, EXPERT_FILE) as folder:
            shutil.copytree(artifact.file.parent, folder, dirs_exist_ok=True)
            shutil.copytree(made, folder, dirs_exist_ok=True)
    return manifest


def _declared(project: Path) -> tuple[str, str]:
    """Version and licence that a project gives itself."""
    path = project / "pyproject.toml"
    try:
        about = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        return str(Version(about["version"])), about["license"] + ""
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ArtifactError(
            f"{path} should give version and license, both as text, under [project]: {problem}"
        ) from None


def _expert_of(project: Path) -> tuple[Artifact, ExpertManifest]:
    artifact = read_artifacts(project)[-1]
    if isinstance(artifact.manifest, SpaceManifest):
        raise ArtifactError(f"{project} is the project of a space; give that of an expert")
    return artifact, artifact.manifest


def _installed_spaces(manifest: ExpertManifest) -> dict[str, Plugin[SpaceManifest]]:
    installed = {plugin.manifest.digest: plugin for plugin in discover().spaces}
    reason, remedy = missing_space(manifest, installed.values())
    if reason:
        raise SpaceError(f"{manifest.reference} {reason}; {remedy}")
    return {ref.modality: installed[ref.digest] for ref in spaces_of(manifest)}


def _latents(manifest: ExpertManifest, part: Cohort, spaces: Mapping[str, Space]) -> ExpertData:
    from codenoise.core.diffusion.data import ExpertData

    latents = {
        name: space.encode(part.measured(name), part.tables[name].source)
        for name, space in spaces.items()
    }
    target = latents.pop(manifest.target.modality)
    if manifest.kind == "multi":
        return ExpertData.multi(latents, target)
    return ExpertData.pair(latents[manifest.condition[0].modality], target)
