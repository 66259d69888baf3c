"""The local store: experts and spaces that came from folders or the Hub, with their origin.

::

    CODENOISE_HOME/                 by default the platform's folder for a user's data
      experts/NAME/VERSION-DIGEST/  expert.json, denoiser.safetensors, README.md, origin.json
      spaces/NAME/VERSION-DIGEST/   space.json, encoder.safetensors, README.md, origin.json

The digest is the start of the manifest's SHA-256, so several versions, and several contents of one
version, stand side by side.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from codenoise.core.base.errors import ArtifactError, CodenoiseError
from codenoise.core.base.files import atomic_file, atomic_folder
from codenoise.registry.contract.artifacts import file_entry, verify_files
from codenoise.registry.contract.folders import Artifact
from codenoise.registry.contract.manifest import (
    AnyManifest,
    Sha256,
    Strict,
)
from codenoise.registry.contract.manifest_file import explain, read_manifest
from codenoise.registry.contract.plugin import Plugin
from codenoise.registry.contract.sources import Folder, Source

ORIGIN_FILE, CARD_FILE = "origin.json", "README.md"
DIGEST_DIGITS = 12


class Origin(Strict):
    """``origin.json``: where an item came from, and the digest its manifest had then."""

    sha256: Sha256
    source: Source


@dataclass(frozen=True)
class Installed:
    """What installing one artifact came to.

    Attributes
    ----------
    kind, reference
        What it is.
    outcome
        ``replaced`` where another content from the same folder gave way.
    """

    kind: str
    reference: str
    outcome: Literal["installed", "already there", "replaced"]


@dataclass(frozen=True)
class StoreItem:
    """One folder of the store, read or not.

    Attributes
    ----------
    kind
        ``expert`` or ``space``.
    folder
        Where it is.
    """

    kind: str
    folder: Path

    @property
    def name(self) -> str:
        """Name of the expert or space."""
        return self.folder.parent.name

    @property
    def reference(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.folder.name.rpartition('-')[0]}"

    def origin(self) -> Origin:
        """Where it came from.

        Raises
        ------
        ArtifactError
            If ``origin.json`` is missing or damaged.
        """
        path = self.folder / ORIGIN_FILE
        try:
            return Origin.model_validate_json(path.read_bytes())
        except OSError:
            raise ArtifactError(f"{path} is missing; {self.removal}") from None
        except ValidationError as problem:
            raise ArtifactError(f"{path}: {explain(problem, Origin)}; {self.removal}") from None

    @property
    def removal(self) -> str:
        """The command that removes it."""
        return f"codenoise experts remove {self.name}@{self.folder.name}"

    def matches(self, text: str) -> bool:
        """Whether ``[SOURCE:]NAME[@VERSION[-DIGEST]]`` means this item."""
        source, _, rest = text.rpartition(":")
        if rest not in (self.name, self.reference, f"{self.name}@{self.folder.name}"):
            return False
        return not source or self.origin().source.matches(source)


def home() -> Path:
    """The store's folder: ``CODENOISE_HOME``, or the platform's folder for a user's data."""
    chosen = os.environ.get("CODENOISE_HOME")
    if chosen:
        return Path(chosen)
    import platformdirs

    return platformdirs.user_data_path("codenoise", appauthor=False)


def items() -> list[StoreItem]:
    """Everything in the store, whole or damaged.

    Raises
    ------
    CodenoiseError
        If the store cannot be listed.
    """
    try:
        return [
            StoreItem(kind, folder)
            for kind in ("expert", "space")
            for folder in sorted((home() / f"{kind}s").glob("[!.]*/[!.]*"))
            if folder.is_dir()
        ]
    except OSError as problem:
        raise CodenoiseError(
            f"{home()} cannot be listed: {problem.strerror}; set CODENOISE_HOME to another folder"
        ) from None


def read_item(item: StoreItem, model: type[AnyManifest], *, checksums: bool) -> Plugin[AnyManifest]:
    """Read one item.

    Raises
    ------
    ArtifactError
        If a file is missing, damaged, or was changed after it came into the store.
    """
    origin = item.origin()
    file = item.folder / f"{item.kind}.json"
    manifest = read_manifest(file, model)
    if file_entry(file).sha256 != origin.sha256:
        raise ArtifactError(f"{file} was changed in the store; {origin.source.command}")
    verify_files(item.folder, manifest, checksums=checksums, mend=origin.source.command)
    return Plugin(origin.source, file, manifest)


def install(artifact: Artifact, source: Source) -> Installed:
    """Copy an artifact into the store, whole or not at all.

    Another content of the same version that came from the same folder gives way, for that folder
    no longer holds it; one from another source or commit stays beside.

    Raises
    ------
    ArtifactError
        If a file changed while it was copied.
    CodenoiseError
        If the store cannot be written.
    """
    digest = file_entry(artifact.file).sha256
    origin = Origin(sha256=digest, source=source)
    short = digest.removeprefix("sha256:")[:DIGEST_DIGITS]
    manifest = artifact.manifest
    folder = home() / f"{artifact.kind}s" / manifest.name / f"{manifest.version}-{short}"
    item = StoreItem(artifact.kind, folder)
    with locked("store"):
        if folder.is_dir():
            if _intact(item, artifact, digest):
                if item.origin().source != source:
                    _write_origin(origin, folder)
                return Installed(item.kind, item.reference, "already there")
            _take_out(item)
        with atomic_folder(folder) as temporary:
            for name in (artifact.file.name, *manifest.files, CARD_FILE):
                if name != CARD_FILE or (artifact.file.parent / name).is_file():
                    shutil.copyfile(artifact.file.parent / name, temporary / name)
            verify_files(temporary, manifest, mend="add it again")
            _write_origin(origin, temporary)
        replaced = [other for other in items() if _gives_way(other, item, source)]
        for other in replaced:
            _take_out(other)
    return Installed(item.kind, item.reference, "replaced" if replaced else "installed")


def remove(item: StoreItem) -> None:
    """Take an item out of the store.

    Raises
    ------
    CodenoiseError
        If it cannot be removed.
    """
    with locked("store"):
        _take_out(item)


def _take_out(item: StoreItem) -> None:
    try:
        aside = Path(tempfile.mkdtemp(dir=item.folder.parent, prefix=".removed-"))
        # Moved first, so that nobody finds a half of it.
        item.folder.rename(aside / item.folder.name)
        shutil.rmtree(aside)
        if not any(item.folder.parent.iterdir()):
            item.folder.parent.rmdir()
    except OSError as problem:
        raise CodenoiseError(f"{item.folder} cannot be removed: {problem.strerror}") from None


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of the store, so that no other process does the same at the same time.

    Raises
    ------
    CodenoiseError
        If the store cannot be written.
    """
    from filelock import FileLock

    path = home() / ".locks" / f"{name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire()
    except OSError as problem:
        raise CodenoiseError(
            f"{home()} cannot be written: {problem.strerror}; set CODENOISE_HOME to another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _intact(item: StoreItem, artifact: Artifact, digest: str) -> bool:
    try:
        item.origin()
        verify_files(item.folder, artifact.manifest)
        return file_entry(item.folder / artifact.file.name).sha256 == digest
    except (ArtifactError, OSError):
        return False


def _gives_way(other: StoreItem, item: StoreItem, source: Source) -> bool:
    if other.folder == item.folder or (other.kind, other.reference) != (item.kind, item.reference):
        return False
    try:
        return isinstance(source, Folder) and other.origin().source == source
    except ArtifactError:
        return False  # damaged, so it is reported where the store is listed


def _write_origin(origin: Origin, folder: Path) -> None:
    with atomic_file(folder / ORIGIN_FILE) as temporary:
        temporary.write_text(origin.model_dump_json(indent=1) + "\n")
