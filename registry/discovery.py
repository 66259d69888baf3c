"""Finding installed experts and spaces through entry points, without importing any of them."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import TYPE_CHECKING, Generic, cast

from packaging.utils import canonicalize_name

from codenoise.core.errors import ArtifactError
from codenoise.registry.artifacts import ENCODER_FILE, WEIGHTS_FILE, verify_files
from codenoise.registry.manifest import AnyManifest, ExpertManifest, SpaceManifest, read_manifest

if TYPE_CHECKING:
    from email.message import Message
    from importlib.metadata import FileHash

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
    seen: set[str] = set()
    found: list[Plugin[AnyManifest]] = []
    for distribution in distributions() if path is None else distributions(path=list(path)):
        name, version, entries = "unknown", "unknown", tuple[EntryPoint, ...]()
        try:
            # Most distributions have no such entry point; their metadata is never parsed.
            entries = tuple(distribution.entry_points.select(group=group))
            if not entries:
                continue
            metadata = cast("Message", distribution.metadata)
            name, version = metadata.get("Name", name), metadata.get("Version", version)
            if "unknown" in (name, version):
                raise ArtifactError(
                    f"the METADATA of {name} names no distribution or no version; reinstall it"
                )
            if canonicalize_name(name) in seen:
                continue  # the same distribution twice on the path counts once
            seen.add(canonicalize_name(name))
        except Exception as problem:  # noqa: BLE001 (a plugin must not break the others)
            if _claims(distribution, group):
                broken.append(BrokenPlugin(name, version, _named(entries), _reason(problem)))
            continue
        for entry in entries:
            try:
                found.append(_read(entry, model, name, version, checksums))
            except Exception as problem:  # noqa: BLE001 (a plugin must not break the others)
                broken.append(BrokenPlugin(name, version, entry.name, _reason(problem)))
    return sorted(found, key=lambda plugin: plugin.reference)


def _read(
    entry: EntryPoint, model: type[AnyManifest], name: str, version: str, checksums: bool
) -> Plugin[AnyManifest]:
    file = _data_file(entry, checksums)
    manifest = read_manifest(file, model)
    weights = WEIGHTS_FILE if isinstance(manifest, ExpertManifest) else ENCODER_FILE
    if weights not in manifest.files:
        raise ArtifactError(f"{file}: field 'files' does not name {weights}")
    verify_files(file.parent, manifest, checksums=checksums)
    return Plugin(name, version, file.parent, manifest)


def _claims(distribution: Distribution, group: str) -> bool:
    """Whether a distribution that cannot be read seems to be one of ours."""
    try:
        return group in (distribution.read_text("entry_points.txt") or "")
    except Exception:  # noqa: BLE001 (unreadable, so not ours to report)
        return False


def _named(entries: tuple[EntryPoint, ...]) -> str:
    return entries[0].name if entries else "unknown"


def _reason(problem: Exception) -> str:
    if isinstance(problem, ArtifactError):
        return str(problem)
    return f"{type(problem).__name__}: {problem}; reinstall the package"


def _data_file(entry: EntryPoint, checksums: bool) -> Path:
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
            located = Path(str(candidate.locate()))
            if checksums and candidate.hash is not None and located.is_file():
                _check_record(located, candidate.hash)
            return located
    raise ArtifactError(
        f"{relative} is not in the distribution's file list; reinstall the package "
        f"(not as an editable install)"
    )


def _check_record(file: Path, recorded: FileHash) -> None:
    """Compare a manifest with the checksum that pip recorded when it installed the package."""
    digest = hashlib.new(recorded.mode, file.read_bytes()).digest()
    if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != recorded.value:
        raise ArtifactError(f"{file} was changed after its installation; reinstall the package")
