"""What fits what, decided offline from manifests alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet

from codenoise.core.base.errors import ArtifactError
from codenoise.registry.contract.artifacts import verify_files, verify_identity
from codenoise.registry.contract.manifest import ExpertManifest, Manifest, SpaceManifest
from codenoise.registry.contract.plugin import AnyPlugin, Inventory, Plugin


@dataclass(frozen=True)
class Finding:
    """The verdict on one installed expert or space.

    Attributes
    ----------
    kind, reference, source
        What was looked at, and where it came from.
    ok
        Whether it can be used.
    reason, remedy
        What is in the way, and the command that mends it; empty where nothing is.
    target
        Modality that an expert generates or a space is of.
    """

    kind: str
    reference: str
    source: str
    ok: bool
    reason: str = ""
    remedy: str = ""
    target: str = ""


def engine_version() -> str:
    """The version of the installed codenoise."""
    try:
        return version("codenoise")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0.0.0"


def findings(inventory: Inventory) -> Iterator[Finding]:
    """Judge everything that is installed: spaces, then experts, then what could not be read."""
    for space in inventory.spaces:
        yield _judge("space", space, ("", ""))
    for expert in inventory.experts:
        yield judge_expert(expert, inventory)
    yield from _broken(inventory)


def verified(inventory: Inventory) -> Iterator[Finding]:
    """Reread every file of everything that is installed, and compare checksums and identities."""
    for plugin in inventory.plugins:
        reason, mend = "", plugin.source.repair
        try:
            verify_files(plugin.folder, plugin.manifest, mend=mend)
            verify_identity(plugin.folder, plugin.manifest, mend=mend)
        except ArtifactError as problem:
            reason = str(problem)
        yield _judge(plugin.kind, plugin, (reason, mend if reason else ""), engine=False)
    yield from _broken(inventory)


def usable(inventory: Inventory) -> tuple[Plugin[ExpertManifest], ...]:
    """The experts that nothing stands in the way of."""
    return tuple(p for p in inventory.experts if judge_expert(p, inventory).ok)


def judge_expert(plugin: Plugin[ExpertManifest], inventory: Inventory) -> Finding:
    """Whether an expert runs on this codenoise and its spaces are installed."""
    return _judge("expert", plugin, missing_space(plugin.manifest, inventory.spaces))


def _broken(inventory: Inventory) -> Iterator[Finding]:
    for broken in inventory.broken:
        yield Finding("broken", broken.entry, broken.where, False, broken.reason, broken.remedy)


def _judge(kind: str, plugin: AnyPlugin, other: tuple[str, str], *, engine: bool = True) -> Finding:
    reason, remedy = wrong_engine(plugin.manifest) if engine else ("", "")
    if not reason:
        reason, remedy = other
    manifest = plugin.manifest
    target = manifest.modality if isinstance(manifest, SpaceManifest) else manifest.target.modality
    return Finding(kind, plugin.reference, plugin.source.label, not reason, reason, remedy, target)


def wrong_engine(manifest: Manifest) -> tuple[str, str]:
    """Why this codenoise is outside a manifest's range, and the remedy; empty if it is inside."""
    running = engine_version()
    if SpecifierSet(manifest.engine).contains(running, prereleases=True):
        return "", ""
    return (
        f"needs codenoise {manifest.engine}, this is {running}",
        f"pip install 'codenoise{manifest.engine}'",
    )


def missing_space(
    manifest: ExpertManifest, spaces: Iterable[Plugin[SpaceManifest]]
) -> tuple[str, str]:
    """Which space of an expert is not there, or is of another modality; empty if none is."""
    modalities = {space.manifest.digest: space.manifest.modality for space in spaces}
    for ref in (*manifest.condition, manifest.target):
        if ref.digest in modalities and modalities[ref.digest] != ref.modality:
            return (
                f"has {modalities[ref.digest]}'s space ({ref.digest[:19]}) for its {ref.modality}, "
                f"so what it generates would be taken for something else",
                "ask its author for one whose manifest names its own spaces",
            )
        if ref.digest not in modalities:
            return (
                f"needs its {ref.modality} space {ref.name}@{ref.version} ({ref.digest[:19]}), "
                f"which is not installed",
                f"pip install 'codenoise-space-{ref.name}=={ref.version}'",
            )
    return "", ""
