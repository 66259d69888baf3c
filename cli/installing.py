"""``codenoise experts add | remove | export``: what comes into the local store and goes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from codenoise.cli.installed import print_installed, warn_of_new
from codenoise.cli.options import PATH, check_free, json_option, output_option, overwrite_option
from codenoise.cli.output import print_json
from codenoise.core.base.errors import first_few
from codenoise.registry.contract.lock import lock_of, write_lock
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.pull import add as add_folder
from codenoise.registry.installed.removing import dependents, stored
from codenoise.registry.installed.store import remove as remove_item


@click.command()
@click.argument("folder", type=PATH)
@json_option
def add(folder: Path, as_json: bool) -> None:
    """Copy the expert or space of FOLDER into the local store, with the spaces it brings.

    FOLDER holds expert.json and denoiser.safetensors, or space.json and encoder.safetensors, or is
    the project of a plugin package; the spaces of an expert may stand in spaces/NAME. Everything is
    checked first, and nothing of it is imported or executed.

    \b
    Example:
      codenoise experts add plugins/codenoise-expert-rna-to-rppa
    """
    installed = add_folder(folder)
    if as_json:
        print_json([asdict(one) for one in installed])
    else:
        print_installed(installed)
    warn_of_new(installed)


@click.command()
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
def remove(name: str, yes: bool, as_json: bool) -> None:
    """Remove expert or space NAME from the local store.

    NAME may read NAME@VERSION, NAME@VERSION-DIGEST, or SOURCE:NAME. What pip installed is left to
    pip.

    \b
    Example:
      codenoise experts remove rna-to-rppa@0.1.0
    """
    inventory = discover()
    item = stored(name, inventory)
    needing = dependents(item, inventory)
    if needing:
        click.echo(f"note: {first_few(needing)} cannot be used without {item.reference}", err=True)
    if not yes:
        click.confirm(f"remove {item.reference} ({item.folder})?", abort=True, err=True)
    remove_item(item)
    if as_json:
        print_json({"removed": item.reference, "folder": str(item.folder)})
    else:
        click.echo(f"removed {item.reference}")


@click.command()
@output_option("File to write.", "installed.lock")
@overwrite_option("Replace the file if it is there.")
@json_option
def export(output: Path, overwrite: bool, as_json: bool) -> None:
    """Write everything that is installed to a file: name, version, digest and source of each.

    'codenoise pull --from FILE' brings it all back, here or elsewhere: from the Hub at the same
    commit, from folders, and names what pip has to install.

    \b
    Example:
      codenoise experts export --output installed.lock
    """
    check_free(output, overwrite)
    lock = lock_of(discover(checksums=True).plugins)
    write_lock(lock, output)
    if as_json:
        print_json(lock.model_dump(mode="json"))
        return
    click.echo(
        f"{len(lock.experts)} experts and {len(lock.spaces)} spaces written to {output}; "
        f"'codenoise pull --from {output}' brings them back"
    )
