"""``codenoise cohort``: what a cohort holds and what stands in its way, before it is used."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codenoise.cli.conflicts import conflicts
from codenoise.cli.options import PATH, check_free, json_option, modality_option, overwrite_option
from codenoise.cli.output import print_json, print_table, told
from codenoise.cli.reading import reading_options

if TYPE_CHECKING:
    from codenoise.core.cohort.options import ReadOptions


@click.group()
def cohort() -> None:
    """Look at a cohort before using it."""


cohort.add_command(conflicts)


@cohort.command()
@click.argument("path", type=PATH)
@modality_option("Look only at these; all by default.")
@reading_options
@click.option(
    "--plot",
    type=PATH,
    help="Draw which modalities patients have, as an UpSet plot (.png, .svg or .pdf).",
)
@overwrite_option("Replace the picture if it is there.")
@json_option
def check(
    path: Path,
    modalities: tuple[str, ...],
    reading: ReadOptions,
    plot: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Read every table of cohort PATH, say what was understood, and change nothing.

    Each table is held against the newest installed space of its modality. Exits with 1 if a table
    could not be used.

    \b
    Example:
      codenoise cohort check my_cohort --plot patients.png
    """
    from codenoise.core.cohort.picture import check_picture_name, draw_pattern
    from codenoise.registry.installed.checking import check_cohort

    if plot is not None:
        check_picture_name(plot)
        check_free(plot, overwrite, "--plot")
    checked = check_cohort(path, modalities or None, **reading)
    given = checked.cohort
    verdicts = checked.tables["verdict"].map(told)
    rows: Any = checked.tables.assign(verdict=verdicts).to_dict("records")
    patterns: Any = checked.patterns.to_dict("records")
    if plot is not None:
        draw_pattern(given.mask(), plot)
    if as_json:
        notes = {name: list(table.notes) for name, table in given.tables.items()}
        print_json({"tables": rows, "patterns": patterns, "notes": notes})
    else:
        print_table(rows, f"{len(given.patients)} patients in {path}")
        print_table(patterns, "patients by what they have")
        for table in given.tables.values():
            for note in table.notes:
                click.echo(f"{table.source}: {note}")
        if plot is not None:
            click.echo(f"picture written to {plot}")
    if not checked.usable:
        sys.exit(1)
