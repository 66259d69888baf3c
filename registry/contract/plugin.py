"""What discovery finds: plugins that can be read, and those that cannot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from codenoise.registry.contract.artifacts import file_entry
from codenoise.registry.contract.manifest import AnyManifest, ExpertManifest, SpaceManifest
from codenoise.registry.contract.sources import Source


@dataclass(frozen=True)
class Plugin(Generic[AnyManifest]):
    """An installed expert or space that could be read.

    Attributes
    ----------
    source
        Where it came from.
    file
        Its manifest; the other files stand beside it.
    manifest
        What it says of itself.
    also
        Further sources of the very same content.
    """

    source: Source
    file: Path
    manifest: AnyManifest
    also: tuple[Source, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.file.parent

    @property
    def kind(self) -> str:
        """``expert`` or ``space``."""
        return "space" if isinstance(self.manifest, SpaceManifest) else "expert"

    @property
    def reference(self) -> str:
        """``name@version``."""
        return self.manifest.reference

    @property
    def sha256(self) -> str:
        """Digest of the manifest, which holds the digests of all other files."""
        return file_entry(self.file).sha256

    def comes_from(self, text: str) -> bool:
        """Whether a user's ``source`` is one of those it came from."""
        return any(source.matches(text) for source in (self.source, *self.also))


AnyPlugin = Plugin[ExpertManifest] | Plugin[SpaceManifest]


@dataclass(frozen=True)
class BrokenPlugin:
    """An installed expert or space that cannot be used, and why.

    Attributes
    ----------
    entry
        The name it is installed under.
    where
        The distribution and its version, or the folder of the store.
    reason
        What is wrong, with file and remedy.
    remedy
        The command that mends it.
    """

    entry: str
    where: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Inventory:
    """Everything that is installed."""

    experts: tuple[Plugin[ExpertManifest], ...]
    spaces: tuple[Plugin[SpaceManifest], ...]
    broken: tuple[BrokenPlugin, ...]

    @property
    def plugins(self) -> tuple[AnyPlugin, ...]:
        """Experts and spaces that could be read."""
        return (*self.experts, *self.spaces)
