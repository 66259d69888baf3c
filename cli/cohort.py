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
from codenoise.core.base.errors import CodenoiseError
from codenoise.registry.installed.discovery import discover

if TYPE_CHECKING:
    from codenoise.core.cohort.cohort import Cohort
    from codenoise.core.cohort.options import ReadOptions
    from codenoise.core.spaces.space import Space


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
    from codenoise.core.cohort.cohort import read_cohort
    from codenoise.core.cohort.picture import check_picture_name, draw_pattern

    if plot is not None:
        check_picture_name(plot)
        check_free(plot, overwrite, "--plot")
    spaces = _newest_spaces()
    features = {name: space.features for name, space in spaces.items()}
    given = read_cohort(path, modalities or None, features=features, **reading)
    rows = [_verdict(given, name, spaces.get(name)) for name in given.tables]
    patterns = _patterns(given)
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
    if any(row["verdict"] not in ("ok", "no space installed") for row in rows):
        sys.exit(1)


def _newest_spaces() -> dict[str, Space]:
    """The newest installed space of each modality."""
    from packaging.version import Version

    from codenoise.registry.installed.loading import load_space

    plugins = sorted(discover().spaces, key=lambda plugin: Version(plugin.manifest.version))
    return {
        modality: load_space(plugin)
        for modality, plugin in {p.manifest.modality: p for p in plugins}.items()
    }


def _verdict(given: Cohort, modality: str, space: Space | None) -> dict[str, Any]:
    table, measured = given.tables[modality], given.measured(modality)
    row: dict[str, Any] = {
        "modality": modality,
        "file": table.source,
        "patients": len(measured),
        "features": len(table.frame.columns),
        "gaps %": 100 * float(measured.isna().to_numpy().mean()) if measured.size else 0.0,
        "space": "",
        "matched": "",
        "verdict": "no space installed",
    }
    if space is None:
        return row
    there = len(space.features) - len(space.absent(table.frame))
    row |= {"space": space.reference, "matched": f"{there}/{len(space.features)}", "verdict": "ok"}
    try:
        space.encode(measured, table.source)
    except CodenoiseError as problem:
        row["verdict"] = told(problem)
    return row


def _patterns(given: Cohort) -> list[dict[str, Any]]:
    mask = given.mask()
    counts = mask.value_counts()
    return [
        {
            "measured": "+".join(n for n, there in zip(mask.columns, pattern, strict=True) if there)
            or "nothing",
            "patients": int(count),
        }
        for pattern, count in counts.items()
        if isinstance(pattern, tuple)
    ]
