"""``codenoise lock``: pin every artifact of an ensemble."""

from __future__ import annotations

from pathlib import Path

import click

from codenoise.cli.output import json_option, print_json, print_table
from codenoise.registry.contract.lock import short
from codenoise.registry.ensembles.locking import lock as pin


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path), metavar="ENSEMBLE.TOML")
@click.option("--overwrite", is_flag=True, help="Replace the lock if it is there.")
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
        print_json(locked.lock.model_dump(mode="json"))
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
