"""Catalogues of institutions: what code plugins list as theirs, in folders and on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codenoise.core.base.errors import ArtifactError
from codenoise.registry.contract.folders import read_artifacts
from codenoise.registry.contract.manifest import EXPERT_FILE, SPACE_FILE
from codenoise.registry.contract.sources import Folder
from codenoise.registry.installed.code_plugins import load_code_plugins


@dataclass(frozen=True)
class Listed:
    """One expert or space of a catalogue.

    Attributes
    ----------
    catalogue
        Its name.
    holds
        ``name@version``, what is wrong with a folder, or the name of a Hub repository, which is not
        looked at.
    command
        What installs it; empty for a folder that is broken.
    """

    catalogue: str
    holds: str
    command: str


def listed(text: str = "") -> list[Listed]:
    """What the catalogues of all code plugins list, where ``text`` stands in name or catalogue.

    A folder is that of an expert or a space, or holds such folders.
    """
    entries = (
        one
        for catalogue, items in load_code_plugins().of("sources").items()
        for item in items
        for one in _entry(catalogue, item)
    )
    wanted = text.casefold()
    return [one for one in entries if wanted in f"{one.catalogue}\n{one.holds}".casefold()]


def _entry(catalogue: str, item: str) -> Iterator[Listed]:
    folder = Path(item).expanduser()
    if not folder.is_absolute():
        yield Listed(catalogue, item, f"codenoise pull {item}")
        return
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    alone = not inside or any(
        path.name in ("pyproject.toml", EXPERT_FILE, SPACE_FILE) for path in inside
    )
    for each in [folder] if alone else [path for path in inside if path.is_dir()]:
        try:
            held = read_artifacts(each)[-1].manifest.reference
            yield Listed(catalogue, held, Folder(path=str(each)).command)
        except ArtifactError as problem:
            yield Listed(catalogue, str(problem), "")
