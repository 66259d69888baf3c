"""``codenoise lock``: pin every artifact of an ensemble."""

from __future__ import annotations

from pathlib import Path

import click

from codenoise.cli.options import PATH, json_option, overwrite_option
from codenoise.cli.output import print_conditions, print_json, print_table
from codenoise.registry.contract.lock import short
from codenoise.registry.ensembles.locking import lock as pin


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
    locked = pin(recipe, overwrite=overwrite)
    if as_json:
        print_json(locked.lock.model_dump(mode="json") | {"conditions": locked.conditions})
        return
    rows = [
        {
            "kind": plugin.kind,
            "name": plugin.reference,
            "digest": short(plugin.sha256),
            "source": plugin.source.label,
        }
        for plugin in locked.plugins
    ]
    print_table(rows, f"written to {locked.path}")
    print_conditions(locked.conditions)
