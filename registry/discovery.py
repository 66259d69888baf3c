"""Finding installed experts and spaces through entry points, without importing any of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Generic

from packaging.utils import canonicalize_name

from codenoise.core.errors import ArtifactError
from codenoise.registry.artifacts import verify_files
from codenoise.registry.manifest import AnyManifest, ExpertManifest, SpaceManifest, read_manifest

EXPERTS, SPACES = "codenoise.experts", "codenoise.spaces"
_VALUE = re.compile(r"[A-Za-z_][\w.]*:[\w-]+\.json")


@dataclass(frozen=True)
class Plugin(Generic[AnyManifest]):
    """An installed expert or space that could be read.

    Attributes
    ----------
    distribution, distribution_version
        The package it came in.
    folder
        Where its files are.
    manifest
        What it says of itself.
    """

    distribution: str
    distribution_version: str
    folder: Path
    manifest: AnyManifest

    @property
    def reference(self) -> str:
        """``name@version``."""
        return self.manifest.reference


@dataclass(frozen=True)
class BrokenPlugin:
    """An installed expert or space that cannot be used, and why.

    Attributes
    ----------
    distribution, distribution_version
        The package it came in.
    entry
        Name of its entry point.
    reason
        What is wrong, with file and remedy.
    """

    distribution: str
    distribution_version: str
    entry: str
    reason: str


@dataclass(frozen=True)
class Inventory:
    """Everything that is installed."""

    experts: tuple[Plugin[ExpertManifest], ...]
    spaces: tuple[Plugin[SpaceManifest], ...]
    broken: tuple[BrokenPlugin, ...]


def discover(*, checksums: bool = False, path: Sequence[str] | None = None) -> Inventory:
    """List installed experts and spaces, the broken ones apart.

    Parameters
    ----------
    checksums
        Whether to read every weights file and compare its checksum; sizes are always compared.
    path
        Where to look for distributions; ``sys.path`` by default.

    Raises
    ------
    ArtifactError
        Only where ``CODENOISE_STRICT=1`` is set: for the first broken plugin.
    """
    broken: list[BrokenPlugin] = []
    experts = _read_group(EXPERTS, ExpertManifest, checksums, path, broken)
    spaces = _read_group(SPACES, SpaceManifest, checksums, path, broken)
    if broken and os.environ.get("CODENOISE_STRICT") == "1":
        first = broken[0]
        raise ArtifactError(
            f"{first.distribution} {first.distribution_version}, entry {first.entry!r}: "
            f"{first.reason} (CODENOISE_STRICT=1 makes this fatal)"
        )
    return Inventory(tuple(experts), tuple(spaces), tuple(broken))


def _read_group(
    group: str,
    model: type[AnyManifest],
    checksums: bool,
    path: Sequence[str] | None,
    broken: list[BrokenPlugin],
) -> list[Plugin[AnyManifest]]:
    found: list[Plugin[AnyManifest]] = []
    for entry in _entry_points(group, path):
        distribution = entry.dist
        name, version = "unknown", "unknown"
        try:
            if distribution is not None:
                name, version = distribution.name, distribution.version
            file = _data_file(entry)
            manifest = read_manifest(file, model)
            verify_files(file.parent, manifest, checksums=checksums)
            found.append(Plugin(name, version, file.parent, manifest))
        except ArtifactError as problem:
            broken.append(BrokenPlugin(name, version, entry.name, str(problem)))
        except Exception as problem:  # noqa: BLE001 (a plugin must not break the others)
            reason = f"{type(problem).__name__}: {problem}; reinstall the package"
            broken.append(BrokenPlugin(name, version, entry.name, reason))
    return sorted(found, key=lambda plugin: plugin.reference)


def _entry_points(group: str, path: Sequence[str] | None) -> Iterator[EntryPoint]:
    """Entry points of a group; a distribution seen twice on the path counts once."""
    seen: set[str] = set()
    for distribution in distributions() if path is None else distributions(path=list(path)):
        # Most distributions have no such entry point; their metadata is never parsed.
        matching = distribution.entry_points.select(group=group)
        if matching and (name := canonicalize_name(distribution.name or "")) not in seen:
            seen.add(name)
            yield from matching


def _data_file(entry: EntryPoint) -> Path:
    """Locate the manifest that an entry point names in its distribution's own file list."""
    if not _VALUE.fullmatch(entry.value):
        raise ArtifactError(
            f"entry point value {entry.value!r} should read like 'package:expert.json'; "
            f"ask its author for a corrected release"
        )
    package, _, file = entry.value.partition(":")
    relative = f"{package.replace('.', '/')}/{file}"
    files = entry.dist.files if entry.dist is not None else None
    for candidate in files or ():
        if candidate.as_posix() == relative:
            return Path(str(candidate.locate()))
    raise ArtifactError(
        f"{relative} is not in the distribution's file list; reinstall the package "
        f"(not as an editable install)"
    )
