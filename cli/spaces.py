"""``codenoise spaces``: the coordinate systems in which experts meet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from codenoise.cli.encoding import decode, encode
from codenoise.cli.options import json_option, modality_option
from codenoise.cli.output import print_json, print_table, warn_of_broken
from codenoise.cli.packages import bank_options, packages_done, print_outcomes
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.searching import named_spaces

if TYPE_CHECKING:
    from codenoise.core.cohort.options import ReadOptions


@click.group()
def spaces() -> None:
    """List, show, fit and apply spaces."""


spaces.add_command(decode)
spaces.add_command(encode)


@spaces.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List installed spaces.

    \b
    Example:
      codenoise spaces list
    """
    inventory = discover()
    rows = [
        {
            "space": plugin.reference,
            "modality": plugin.manifest.modality,
            "dimensions": plugin.manifest.dim,
            "features": len(plugin.manifest.features),
            "reconstruction R2": plugin.manifest.validation.r2,
            "digest": plugin.manifest.digest[:19],
            "source": plugin.source.label,
        }
        for plugin in inventory.spaces
    ]
    if as_json:
        print_json(rows)
        return
    if rows:
        print_table(rows)
    else:
        click.echo("no space is installed; pip install one, e.g. codenoise-space-tcga-rna")
    warn_of_broken(inventory.broken)


@spaces.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the manifest of space NAME; with --json its features too.

    \b
    Example:
      codenoise spaces show tcga-rppa
    """
    matching = named_spaces(name)
    if as_json:
        print_json(
            [
                plugin.manifest.model_dump(mode="json") | {"source": plugin.source.model_dump()}
                for plugin in matching
            ]
        )
        return
    for plugin in matching:
        content = plugin.manifest.model_dump(mode="json")
        content["features"] = (
            f"{len(content['features'])} ({', '.join(content['features'][:5])}, ...)"
        )
        rows = [{"field": key, "value": value} for key, value in content.items()]
        print_table(rows, f"{plugin.reference} ({plugin.source.label})")


@spaces.command()
@bank_options
@modality_option("Fit only these; all by default.")
def fit(
    cohort: Path,
    recipe: Path,
    split_path: Path,
    output: Path,
    reading: ReadOptions,
    as_json: bool,
    modalities: tuple[str, ...],
) -> None:
    """Fit the spaces of a bank recipe on the training patients of COHORT, as packages.

    Dimensions, encoder and preprocessing of each modality stand in the recipe. A space that was
    fitted to the same inputs is left alone.

    \b
    Example:
      codenoise spaces fit tcga --recipe tcga.toml --split split.csv --output plugins
    """
    from codenoise.registry.authoring.training import train_spaces

    with packages_done() as report:
        outcomes = train_spaces(
            cohort, recipe, split_path, output,
            modalities=modalities, report=report, **reading,
        )  # fmt: skip
    print_outcomes(outcomes, output, as_json)
