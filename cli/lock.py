"""``codenoise lock``: pin every artifact of an ensemble."""

from __future__ import annotations

from pathlib import Path

import click

from codenoise.cli.options import PATH, json_option, overwrite_option
from codenoise.cli.output import print_conditions, print_json, print_table
from codenoise.core.base.errors import CodenoiseError
from codenoise.registry.contract.lock import lock_beside, lock_of, short, write_lock
from codenoise.registry.contract.plugin import AnyPlugin
from codenoise.registry.ensembles.conditions import carried
from codenoise.registry.ensembles.recipe import read_recipe
from codenoise.registry.ensembles.resolving import resolve
from codenoise.registry.installed.discovery import discover


@click.command()
@click.argument("recipe", type=PATH, metavar="ENSEMBLE.TOML")
@overwrite_option("Replace the lock if it is there.")
@json_option
def lock(recipe: Path, overwrite: bool, as_json: bool) -> None:
    """Pin every expert and space of a recipe by version, source and digest, in a .lock beside it.

    Commands that read the recipe then use exactly what is pinned, and refuse anything else.
    'codenoise pull --from ENSEMBLE.lock' brings it to another machine.

    \b
    Example:
      codenoise lock ensemble.toml
    """
    path = lock_beside(recipe)
    if path == recipe:
        raise CodenoiseError(f"{recipe} is a lock itself; give the recipe, e.g. ensemble.toml")
    if path.exists() and not overwrite:
        raise CodenoiseError(f"{path} is already there; --overwrite pins what is installed now")
    experts, spaces = resolve(read_recipe(recipe, locked=False), discover(checksums=True))
    plugins: list[AnyPlugin] = [*experts, *spaces.values()]
    pinned = lock_of(plugins)
    write_lock(pinned, path)
    conditions = carried(experts, spaces.values())
    if as_json:
        print_json(pinned.model_dump(mode="json") | {"conditions": conditions})
        return
    rows = [
        {
            "kind": plugin.kind,
            "name": plugin.reference,
            "digest": short(plugin.sha256),
            "source": plugin.source.label,
        }
        for plugin in plugins
    ]
    print_table(rows, f"written to {path}")
    print_conditions(conditions)
