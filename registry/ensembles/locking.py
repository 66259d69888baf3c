"""Locks: everything that a recipe stands for, pinned beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codenoise.core.base.errors import CodenoiseError
from codenoise.registry.contract.lock import Lock, lock_beside, lock_of, write_lock
from codenoise.registry.contract.plugin import AnyPlugin
from codenoise.registry.ensembles.conditions import Carried, carried
from codenoise.registry.ensembles.recipe import read_recipe
from codenoise.registry.ensembles.resolving import resolve
from codenoise.registry.installed.discovery import discover


@dataclass(frozen=True)
class Locked:
    """A lock that was written.

    Attributes
    ----------
    path
        Where it stands.
    lock
        What it says.
    plugins
        What it pins, experts before spaces.
    conditions
        Of use, that their licences set.
    """

    path: Path
    lock: Lock
    plugins: tuple[AnyPlugin, ...]
    conditions: Carried


def lock(recipe: Path | str, *, overwrite: bool = False) -> Locked:
    """Pin every expert and space of a recipe by version, source and digest.

    Whoever reads the recipe then gets exactly what is pinned, or an error.

    Parameters
    ----------
    recipe
        ``ensemble.toml``; the lock stands beside it, as ``ensemble.lock``.
    overwrite
        Whether a lock that is there is replaced.

    Raises
    ------
    CodenoiseError
        If a lock is there, or the recipe cannot be resolved.

    Examples
    --------
    >>> lock("ensemble.toml").path  # doctest: +SKIP
    PosixPath('ensemble.lock')
    """
    recipe = Path(recipe)
    path = lock_beside(recipe)
    if path == recipe:
        raise CodenoiseError(f"{recipe} is a lock itself; give the recipe, e.g. ensemble.toml")
    if path.exists() and not overwrite:
        raise CodenoiseError(
            f"{path} is already there; `overwrite=True` pins what is installed now"
        )
    experts, spaces = resolve(read_recipe(recipe, locked=False), discover(checksums=True))
    plugins: tuple[AnyPlugin, ...] = (*experts, *spaces.values())
    pinned = lock_of(plugins)
    write_lock(pinned, path)
    return Locked(path, pinned, plugins, carried(experts, spaces.values()))
