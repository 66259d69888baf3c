"""Bringing experts and spaces into the local store: from a folder, the Hub, or as a lock says."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codenoise.core.base.errors import ArtifactError
from codenoise.registry.contract.folders import Artifact, read_artifacts, spaces_of
from codenoise.registry.contract.lock import Lock, Pin, read_lock, short
from codenoise.registry.contract.plugin import AnyPlugin
from codenoise.registry.contract.sources import COMMIT, Folder, HubRepository, Package
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.hub import fetch, look_up, split_reference
from codenoise.registry.installed.store import Installed, home, install, locked


@dataclass(frozen=True)
class Pulled:
    """What was, or would be, fetched.

    Attributes
    ----------
    source
        Repository and commit.
    files
        Size of each file in bytes, by its path in the repository; empty where nothing had to be.
    installed
        What came into the store; empty after a dry run.
    """

    source: HubRepository
    files: Mapping[str, int]
    installed: tuple[Installed, ...]


def pull(reference: str, *, dry_run: bool = False) -> Pulled:
    """Fetch an expert or space from the Hub into the store, with the spaces it brings.

    What the store already holds of the same commit is not fetched again, and is found offline
    (``HF_HUB_OFFLINE=1``) too. Nothing that is fetched is imported or executed.

    Parameters
    ----------
    reference
        ``org/name``, or ``org/name@revision``: a branch, a tag or a commit.
    dry_run
        Look up what would be fetched, reading manifests only.

    Raises
    ------
    ArtifactError
        If the repository or revision is not there or not open to the user, the Hub does not
        answer, or a file is missing, too large, damaged or not what its manifest says.

    Examples
    --------
    >>> pull("some-lab/rna-to-rppa@v1.0").installed  # doctest: +SKIP
    """
    repo, revision = split_reference(reference)
    with locked(repo.replace("/", "--")):
        if revision is not None and re.fullmatch(COMMIT, revision):
            stored = _stored(HubRepository(repo=repo, commit=revision))
            if stored:
                return Pulled(HubRepository(repo=repo, commit=revision), {}, stored)
        try:
            commit = look_up(repo, revision)
        except ConnectionError:  # offline by the user's wish
            return _offline(repo, revision)
        stored = _stored(commit.source)
        if stored:
            return Pulled(commit.source, {}, stored)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=home()) as temporary:
            try:
                files = fetch(commit, Path(temporary), dry_run)
                artifacts = [] if dry_run else read_artifacts(Path(temporary))
            except ArtifactError as problem:
                # The temporary folder means nothing to the user; the repository does.
                told = str(problem).replace(temporary, commit.source.label)
                raise ArtifactError(told) from None
            installed = tuple(
                install(artifact, _within(commit.source, artifact, Path(temporary)))
                for artifact in artifacts
            )
    return Pulled(commit.source, files, installed)


def add(folder: Path) -> tuple[Installed, ...]:
    """Copy the expert or space of a folder into the store, with the spaces it brings.

    Raises
    ------
    ArtifactError
        If the folder holds no artifact, or anything in it is damaged or contradicts itself.
    """
    return tuple(
        install(artifact, Folder(path=str(artifact.file.parent.resolve())))
        for artifact in read_artifacts(folder)
    )


def missing(lock: Lock | Path | str) -> list[Pin]:
    """What a lock or export, or its file, pins and is not installed with that content."""
    pinned = _opened(lock)
    inventory = discover(checksums=True)
    there = {(plugin.manifest.name, plugin.sha256) for plugin in inventory.plugins}
    return [pin for pin in (*pinned.spaces, *pinned.experts) if (pin.name, pin.sha256) not in there]


def restore(lock: Lock | Path | str) -> tuple[list[Installed], list[Package]]:
    """Bring what a lock or export pins from where it came, but for what pip has to install.

    Parameters
    ----------
    lock
        ``ensemble.lock``, or what ``codenoise experts export`` wrote.

    Returns
    -------
    installed, packages
        What came into the store, and the packages that are left to pip.

    Raises
    ------
    EnsembleError
        If the file is missing or is no lock.
    ArtifactError
        If a source cannot be read, or no longer has the content that is pinned.

    Examples
    --------
    >>> installed, left_to_pip = restore("ensemble.lock")  # doctest: +SKIP
    """
    pinned = _opened(lock)
    installed: list[Installed] = []
    packages: list[Package] = []
    for source in dict.fromkeys(pin.source for pin in missing(pinned)):
        if isinstance(source, Package):
            packages.append(source)
        elif isinstance(source, Folder):
            installed += add(Path(source.path))
        else:
            installed += pull(f"{source.repo}@{source.commit}").installed
    for pin in missing(pinned):
        if not isinstance(pin.source, Package):
            raise ArtifactError(
                f"{pin.name}@{pin.version} of {pin.source.label} is not the pinned one any more "
                f"({short(pin.sha256)}); take it out of the file, or restore it there"
            )
    return installed, packages


def _opened(lock: Lock | Path | str) -> Lock:
    return lock if isinstance(lock, Lock) else read_lock(Path(lock))


def _within(source: HubRepository, artifact: Artifact, root: Path) -> HubRepository:
    """Where in the repository an artifact stood that was fetched to ``root``."""
    folder = artifact.file.parent.relative_to(root).as_posix()
    return source.model_copy(update={"folder": "" if folder == "." else folder})


def _stored(source: HubRepository) -> tuple[Installed, ...]:
    """What stands at the root of this commit and its spaces, if all of it is there and whole."""
    inventory = discover(checksums=True)
    spaces = {space.manifest.digest: space for space in inventory.spaces}
    for plugin in inventory.plugins:
        digests = [ref.digest for ref in spaces_of(plugin.manifest)]
        if source in (plugin.source, *plugin.also) and all(d in spaces for d in digests):
            there: list[AnyPlugin] = [*(spaces[digest] for digest in digests), plugin]
            return tuple(Installed(p.kind, p.reference, "already there") for p in there)
    return ()


def _offline(repo: str, revision: str | None) -> Pulled:
    """What the store holds of a repository, where the Hub may not be asked."""
    wanted = repo if revision is None else f"{repo}@{revision}"
    sources = {source for p in discover().plugins for source in (p.source, *p.also)}
    roots = [
        s for s in sources if isinstance(s, HubRepository) and s.matches(wanted) and not s.folder
    ]
    whole = [(source, stored) for source in roots if (stored := _stored(source))]
    if len(whole) != 1:
        have = "the store holds several commits of it" if whole else "the store does not hold it"
        raise ArtifactError(
            f"{wanted} cannot be looked up, for HF_HUB_OFFLINE is set, and {have}; "
            f"unset HF_HUB_OFFLINE, or give a commit that the store holds"
        )
    ((source, stored),) = whole
    return Pulled(source, {}, stored)
