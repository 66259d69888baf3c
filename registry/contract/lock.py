"""Locks: every artifact of an ensemble, or of an installation, pinned by the digest of its content.

A lock stands beside its recipe, ``ensemble.lock`` beside ``ensemble.toml``. What
``codenoise experts export`` writes has the same form.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import PrivateAttr

from codenoise.core.base.errors import EnsembleError
from codenoise.core.base.files import atomic_file
from codenoise.registry.contract.manifest import AnyManifest, Name, PepVersion, Sha256, Strict
from codenoise.registry.contract.plugin import AnyPlugin, Plugin
from codenoise.registry.contract.sources import SHOWN_DIGITS, Source
from codenoise.registry.contract.toml_file import read_toml

SUFFIX = ".lock"


class Pin(Strict):
    """One expert or space: which, from where, and the digest of its manifest.

    The manifest holds the digests of all other files.
    """

    name: Name
    version: PepVersion
    sha256: Sha256
    source: Source


class Lock(Strict):
    """``ensemble.lock``."""

    schema_version: Literal["1.0"] = "1.0"
    experts: list[Pin]
    spaces: list[Pin]
    _path: Path = PrivateAttr(default=Path())

    def admitted(
        self, kind: Literal["expert", "space"], name: str, found: Sequence[Plugin[AnyManifest]]
    ) -> list[Plugin[AnyManifest]]:
        """Of the plugins of one name, those with the content that is pinned.

        Raises
        ------
        EnsembleError
            If the name is not pinned, or none of the plugins has that content.
        """
        again = f"lock again with 'codenoise lock {self._path.with_suffix('.toml')} --overwrite'"
        pins = [pin for pin in (self.experts if kind == "expert" else self.spaces)
                if pin.name == name]  # fmt: skip
        if not pins:
            raise EnsembleError(f"{self._path} does not pin {kind} {name!r}; {again}")
        same = [p for p in found if p.sha256 in {pin.sha256 for pin in pins}]
        if not same:
            pin = pins[0]
            have = ", ".join(f"{p.reference} {short(p.sha256)}" for p in found) or "none"
            raise EnsembleError(
                f"{self._path} pins {kind} {pin.name}@{pin.version} {short(pin.sha256)}, and "
                f"installed is {have}; {pin.source.repair}, or {again}"
            )
        return same


def short(digest: str) -> str:
    """The start of a digest, as messages and tables show it."""
    return digest[: len("sha256:") + SHOWN_DIGITS]


def lock_of(plugins: Iterable[AnyPlugin]) -> Lock:
    """Pin what is installed as it is."""
    pins: dict[str, list[Pin]] = {"expert": [], "space": []}
    for plugin in plugins:
        manifest = plugin.manifest
        pins[plugin.kind].append(
            Pin(
                name=manifest.name,
                version=manifest.version,
                sha256=plugin.sha256,
                source=plugin.source,
            )
        )
    return Lock(experts=pins["expert"], spaces=pins["space"])


def lock_beside(recipe: Path) -> Path:
    """Where the lock of a recipe stands."""
    return recipe.with_suffix(SUFFIX)


def write_lock(lock: Lock, path: Path) -> None:
    """Write a lock as TOML, whole or not at all."""
    import tomli_w

    with atomic_file(path) as temporary:
        temporary.write_text(tomli_w.dumps(lock.model_dump(mode="json")))


def read_lock(path: Path) -> Lock:
    """Read a lock or an export.

    Raises
    ------
    EnsembleError
        If the file is missing, is no TOML, or a field is missing, unknown or wrong.
    """
    mend = "make it with 'codenoise lock' or 'codenoise experts export'"
    lock = read_toml(path, Lock, EnsembleError, mend)
    lock._path = path
    return lock
