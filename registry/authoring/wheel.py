"""Packaging: a folder or a plugin's project becomes a wheel that discovery finds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from packaging.version import Version

from codenoise.core.base.errors import ArtifactError, CodenoiseError
from codenoise.core.base.files import atomic_file
from codenoise.registry.authoring.project import model_card, space_requirements, write_pyproject
from codenoise.registry.authoring.release import read_release
from codenoise.registry.contract.artifacts import file_entry
from codenoise.registry.contract.folders import Artifact
from codenoise.registry.contract.manifest import ExpertManifest
from codenoise.registry.contract.plugin import Inventory
from codenoise.registry.contract.sources import Package
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.store import CARD_FILE

# The earliest time that a zip can hold: the same files give the same wheel, whenever it is built.
EARLIEST = "315532800"
_LEFT_BEHIND = ("build", "dist", "*.egg-info", "__pycache__", ".*")


@dataclass(frozen=True)
class Wheel:
    """A wheel that was built and checked.

    Attributes
    ----------
    path
        The file.
    reference
        ``name@version`` of the expert or space in it.
    distribution
        Name under which pip knows it.
    requires
        What pip installs with it.
    sha256, bytes
        Of the file.
    """

    path: Path
    reference: str
    distribution: str
    requires: tuple[str, ...]
    sha256: str
    bytes: int


def package(folder: Path, output: Path, inventory: Inventory, *, overwrite: bool = False) -> Wheel:
    """Build a wheel of an expert or a space, with the packages that are here and no network.

    A project is built by its own ``pyproject.toml``; a plain folder gets one.

    Parameters
    ----------
    folder
        Holds a manifest and the files that it names, or is the project of a plugin.
    output
        Folder of the wheel.
    inventory
        What is installed: where the spaces of an expert come from.
    overwrite
        Whether to replace a wheel of the same name.

    Raises
    ------
    ArtifactError
        If the artifact is not whole, or the wheel does not hold what discovery needs.
    CodenoiseError
        If something to build with is missing, building fails, or the wheel is there already.
    """
    artifact, _ = read_release(folder)
    with tempfile.TemporaryDirectory(prefix="codenoise-wheel-") as temporary:
        project = Path(temporary) / "project"
        if (folder / "pyproject.toml").is_file():
            shutil.copytree(folder, project, ignore=shutil.ignore_patterns(*_LEFT_BEHIND))
        else:
            project.mkdir()
            _lay_out(artifact, project, inventory)
        built = _build(project, folder, Path(temporary) / "built")
        wheel = output / built.name
        distribution, requires = _check(built, artifact, Path(temporary) / "site")
        if wheel.exists() and not overwrite:
            raise CodenoiseError(
                f"{wheel} is already there; raise the version, give another --output, or "
                f"--overwrite"
            )
        with atomic_file(wheel) as unfinished:
            shutil.copyfile(built, unfinished)
    entry = file_entry(wheel)
    return Wheel(
        wheel,
        artifact.manifest.reference,
        distribution,
        requires,
        entry.sha256,
        entry.bytes,
    )


def _lay_out(artifact: Artifact, project: Path, inventory: Inventory) -> None:
    """Write the project of a plain folder; the artifact's own files stay as they are."""
    manifest = artifact.manifest
    requirements = (
        space_requirements(manifest, inventory) if isinstance(manifest, ExpertManifest) else []
    )
    inner = write_pyproject(
        project, manifest, requirements, "Written by `codenoise experts package`."
    )
    for name in (artifact.file.name, *manifest.files):
        shutil.copyfile(artifact.file.parent / name, inner / name)
    card = artifact.file.parent / CARD_FILE
    text = card.read_text(encoding="utf-8") if card.is_file() else model_card(manifest)
    (inner / CARD_FILE).write_text(text, encoding="utf-8")


def _build(project: Path, folder: Path, output: Path) -> Path:
    try:
        from build import BuildBackendException, BuildException, ProjectBuilder
    except ImportError:
        raise CodenoiseError(
            "packaging needs the packages build and setuptools; install them with: "
            "pip install 'codenoise[publish]'"
        ) from None
    said: list[str] = []

    def run(
        cmd: Sequence[str],
        cwd: str | None = None,
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        environment = {"SOURCE_DATE_EPOCH": EARLIEST, **os.environ, **(extra_environ or {})}
        ended = subprocess.run(  # noqa: S603 (the build backend that the project names)
            cmd, cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
        said[:] = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
        ended.check_returncode()

    try:
        builder = ProjectBuilder(project, sys.executable, run)
        lacking = sorted({chain[-1] for chain in builder.check_dependencies("wheel")})
        if lacking:
            raise CodenoiseError(
                f"building {folder} needs {', '.join(lacking)}; install with: "
                f"pip install {' '.join(repr(name) for name in lacking)}"
            )
        return Path(builder.build("wheel", output))
    except (BuildException, BuildBackendException) as problem:
        # The copy that was built means nothing to the user; the folder does.
        reason = (said[-1] if said else str(problem)).replace(str(project), str(folder))
        raise CodenoiseError(
            f"{folder} cannot be built: {reason}; see its pyproject.toml"
        ) from None


def _check(wheel: Path, artifact: Artifact, site: Path) -> tuple[str, tuple[str, ...]]:
    """Find the artifact in its wheel as discovery will; returns its distribution and needs."""
    reference = artifact.manifest.reference
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.filename.endswith((".py", ".so", ".pth")) and member.file_size:
                raise ArtifactError(
                    f"{wheel.name} holds code, {member.filename}; an expert or a space is data "
                    f"alone, beside an empty __init__.py: leave it out of packages in "
                    f"pyproject.toml, and publish code as a plugin of its own"
                )
        archive.extractall(site)
    inventory = discover(checksums=True, path=[str(site)])
    if inventory.broken:
        reason = inventory.broken[0].reason.replace(f"{site}/", "")
        raise ArtifactError(f"{wheel.name}: {reason}")
    found = [plugin for plugin in inventory.plugins if plugin.manifest == artifact.manifest]
    if not found:
        raise ArtifactError(
            f"{wheel.name} does not hold {reference} where discovery looks: pyproject.toml needs "
            f"its entry point, and *.json and *.safetensors in package-data"
        )
    source = found[0].source
    assert isinstance(source, Package)
    if Version(source.version) != Version(artifact.manifest.version):
        raise ArtifactError(
            f"{wheel.name} is version {source.version}, its manifest says "
            f"{artifact.manifest.version}; give pyproject.toml the manifest's"
        )
    (distribution,) = distributions(path=[str(site)])
    return source.distribution, tuple(distribution.requires or ())
