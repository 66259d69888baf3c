"""``codenoise spaces encode`` and ``decode``: tables to latents and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codenoise.cli.options import PATH, check_free, json_option, output_option, overwrite_option
from codenoise.cli.output import print_json, progress_bars
from codenoise.cli.reading import reading_options

if TYPE_CHECKING:
    from codenoise.core.cohort.options import ReadOptions
    from codenoise.core.spaces.space import Space

space_option = click.option(
    "--space", "name", required=True, help="Installed space, NAME or NAME@VERSION."
)
OUTPUT = "File to write (.parquet, .csv, .tsv; text may be compressed)."
OVERWRITE = "Replace the file if it is there."


@click.command()
@click.argument("table", type=PATH)
@space_option
@output_option(OUTPUT, required=True)
@overwrite_option(OVERWRITE)
@reading_options
@json_option
def encode(
    table: Path,
    name: str,
    output: Path,
    overwrite: bool,
    reading: ReadOptions,
    as_json: bool,
) -> None:
    """Turn TABLE into latents of a space: a file, or a cohort that has one of the space's modality.

    Text and parquet with a row per patient are read some patients at a time, so that memory does
    not grow with the table. Any other file, one with a row per feature among them, is read whole,
    and it is said so.

    \b
    Example:
      codenoise spaces encode my_cohort --space tcga-rna --output rna_latents.parquet
    """
    from codenoise.core.cohort.writing import write_chunks
    from codenoise.core.spaces.streaming import encode_table, latent_names
    from codenoise.registry.installed.checking import open_space

    _check_output(output, overwrite)
    space = open_space(name)
    with progress_bars() as progress:
        found = encode_table(space, table, progress=progress, **reading)
    if found.whole:
        click.echo(f"note: {found.whole}", err=True)
    write_chunks([found.latents.set_axis(latent_names(space), axis=1)], output)
    _report(output, len(found.latents), space, found.changes, as_json)


@click.command()
@click.argument("latents", type=PATH)
@space_option
@output_option(OUTPUT, required=True)
@overwrite_option(OVERWRITE)
@json_option
def decode(latents: Path, name: str, output: Path, overwrite: bool, as_json: bool) -> None:
    """Turn LATENTS, written by 'codenoise spaces encode', into features in the space's units.

    \b
    Example:
      codenoise spaces decode rna_latents.parquet --space tcga-rna --output rna.parquet
    """
    from codenoise.core.spaces.streaming import decode_table
    from codenoise.registry.installed.checking import open_space

    _check_output(output, overwrite)
    space = open_space(name)
    found = decode_table(space, latents, output, overwrite=overwrite)
    _report(output, found.patients, space, found.changes, as_json)


def _check_output(output: Path, overwrite: bool) -> None:
    from codenoise.core.cohort.writing import check_table_name

    check_table_name(output)
    check_free(output, overwrite)


def _report(
    output: Path, patients: int, space: Space, changes: Sequence[str], as_json: bool
) -> None:
    for change in changes:
        click.echo(f"note: {change}", err=True)
    if as_json:
        print_json({"output": str(output), "space": space.reference, "patients": patients})
    else:
        click.echo(f"{patients} patients written to {output}")
