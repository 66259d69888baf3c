"""Finding experts and spaces: installed packages by their entry points, and the local store.

Nothing that is found is imported.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import TYPE_CHECKING, cast

from packaging.utils import canonicalize_name

from codenoise.core.base.errors import ArtifactError
from codenoise.registry.contract.artifacts import REINSTALL, verify_files
from codenoise.registry.contract.manifest import (
    AnyManifest,
    ExpertManifest,
    SpaceManifest,
)
from codenoise.registry.contract.manifest_file import read_manifest
from codenoise.registry.contract.plugin import BrokenPlugin, Inventory, Plugin
from codenoise.registry.contract.sources import Package
from codenoise.registry.installed.store import StoreItem, items, read_item

if TYPE_CHECKING:
    from email.message import Message
    from importlib.metadata import FileHash

__all__ = ["EXPERTS", "SPACES", "BrokenPlugin", "Inventory", "Plugin", "discover"]

EXPERTS, SPACES = "codenoise.experts", "codenoise.spaces"
_VALUE = re.compile(r"[A-Za-z_][\w.]*:[\w-]+\.json")


def discover(*, checksums: bool = False, path: Sequence[str] | None = None) -> Inventory:
    """List installed experts and spaces, the broken ones apart.

    Parameters
    ----------
    checksums
        Whether to read every weights file and compare its checksum; sizes are always compared.
    path
        Where to look for distributions, leaving the store aside; by default ``sys.path`` and the
        store.

    Raises
    ------
    ArtifactError
        Only where ``CODENOISE_STRICT=1`` is set: for the first broken plugin.

    Examples
    --------
    >>> [expert.reference for expert in discover().experts]  # doctest: +SKIP
    """
    broken: list[BrokenPlugin] = []
    stored = items() if path is None else []
    experts = _read_group(EXPERTS, ExpertManifest, checksums, path, broken)
    experts += _read_store("expert", ExpertManifest, checksums, stored, broken)
    spaces = _read_group(SPACES, SpaceManifest, checksums, path, broken)
    spaces += _read_store("space", SpaceManifest, checksums, stored, broken)
    if broken and os.environ.get("CODENOISE_STRICT") == "1":
        first = broken[0]
        raise ArtifactError(
            f"{first.where}, entry {first.entry!r}: {first.reason} "
            f"(CODENOISE_STRICT=1 makes this fatal)"
        )
    return Inventory(_distinct(experts), _distinct(spaces), tuple(broken))


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
                broken.append(_broken(name, version, _named(entries), problem))
            continue
        for entry in entries:
            try:
                found.append(_read(entry, model, name, version, checksums))
            except Exception as problem:  # noqa: BLE001 (a plugin must not break the others)
                broken.append(_broken(name, version, entry.name, problem))
    return found


def _read(
    entry: EntryPoint, model: type[AnyManifest], name: str, version: str, checksums: bool
) -> Plugin[AnyManifest]:
    file = _data_file(entry, checksums)
    manifest = read_manifest(file, model)
    verify_files(file.parent, manifest, checksums=checksums)
    return Plugin(Package(distribution=name, version=version), file, manifest)


def _read_store(
    kind: str,
    model: type[AnyManifest],
    checksums: bool,
    stored: Sequence[StoreItem],
    broken: list[BrokenPlugin],
) -> list[Plugin[AnyManifest]]:
    found: list[Plugin[AnyManifest]] = []
    for item in stored:
        if item.kind != kind:
            continue
        try:
            found.append(read_item(item, model, checksums=checksums))
        except Exception as problem:  # noqa: BLE001 (an item must not break the others)
            remedy = item.removal
            with suppress(ArtifactError):
                remedy = item.origin().source.command
            reason = _reason(problem, remedy)
            broken.append(BrokenPlugin(item.name, str(item.folder), reason, remedy))
    return found


def _distinct(found: list[Plugin[AnyManifest]]) -> tuple[Plugin[AnyManifest], ...]:
    """Sort by name and version; what has the same content counts once, with all its sources."""
    kept: dict[str, list[Plugin[AnyManifest]]] = {}
    for plugin in found:
        others = kept.setdefault(plugin.reference, [])
        same = [i for i, other in enumerate(others) if other.manifest == plugin.manifest]
        if same:
            first: Plugin[AnyManifest] = others[same[0]]
            sources = (*first.also, plugin.source)
            others[same[0]] = Plugin(first.source, first.file, first.manifest, sources)
        else:
            others.append(plugin)
    return tuple(plugin for reference in sorted(kept) for plugin in kept[reference])


def _claims(distribution: Distribution, group: str) -> bool:
    """Whether a distribution that cannot be read seems to be one of ours."""
    try:
        return group in (distribution.read_text("entry_points.txt") or "")
    except Exception:  # noqa: BLE001 (unreadable, so not ours to report)
        return False


def _named(entries: tuple[EntryPoint, ...]) -> str:
    return entries[0].name if entries else "unknown"


def _broken(name: str, version: str, entry: str, problem: Exception) -> BrokenPlugin:
    remedy = Package(distribution=name, version=version).repair
    return BrokenPlugin(entry, f"{name} {version}", _reason(problem, REINSTALL), remedy)


def _reason(problem: Exception, mend: str) -> str:
    if isinstance(problem, ArtifactError):
        return str(problem)
    return f"{type(problem).__name__}: {problem}; {mend}"


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
