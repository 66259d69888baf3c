"""``codenoise cohort conflicts``: patients whose modalities do not fit together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codenoise.cli.options import (
    check_free,
    cohort_argument,
    json_option,
    modality_option,
    output_option,
    overwrite_option,
)
from codenoise.cli.output import print_json, print_table
from codenoise.cli.reading import ensemble_option, reading_options
from codenoise.core.base.files import atomic_file
from codenoise.registry.ensembles.recipe import read_recipe
from codenoise.registry.ensembles.resolving import load_ensemble
from codenoise.registry.installed.discovery import discover

if TYPE_CHECKING:
    from codenoise.core.cohort.options import ReadOptions


@click.command()
@cohort_argument
@ensemble_option(help="Recipe written by 'codenoise compose'; its pair experts are used.")
@modality_option()
@click.option(
    "--top",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Print only so many; the CSV has all.",
)
@output_option("CSV of all patients.")
@overwrite_option("Replace the CSV if it is there.")
@reading_options
@json_option
def conflicts(
    cohort: Path,
    recipe_path: Path,
    modalities: tuple[str, ...],
    top: int,
    output: Path | None,
    overwrite: bool,
    reading: ReadOptions,
    as_json: bool,
) -> None:
    """List the patients of COHORT whose modalities do not fit together, the worst first.

    Swapped samples and wrong ids look like that. Each modality of a patient is compared with what
    the pair experts expect of it from the patient's other ones, and the distance ranked among the
    cohort's patients that have the same two, of whom it takes 20. The suspect is the modality that
    the ranks most speak against, and p the chance of such ranks where nothing is swapped. Patients
    that cannot be compared come last, with the reason.

    \b
    Example:
      codenoise cohort conflicts my_cohort -e ensemble.toml --top 10 -o conflicts.csv
    """
    from codenoise.core.ensemble.conflict import conflicts as rank

    check_free(output, overwrite)
    ensemble = load_ensemble(read_recipe(recipe_path), discover())
    given = ensemble.read(cohort, modalities or None, **reading)
    table = rank(ensemble, given)
    if output is not None:
        with atomic_file(output) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")
    compared = int(table["p"].notna().sum())
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    if as_json:
        print_json({"patients": len(rows), "compared": compared, "worst": rows[:top]})
    else:
        what = f"{len(rows)} patients in {cohort}, the least fitting first"
        print_table(
            [_shown(row) for row in rows[:top]], what + (f"; first {top}" * (len(rows) > top))
        )
        if output is not None:
            click.echo(f"written to {output}")
    for source in given.tables.values():
        for change in source.changes:
            click.echo(f"note: {source.source}: {change}", err=True)
    _tell(compared, len(rows))


def _tell(compared: int, count: int) -> None:
    """Say on stderr how many could be compared, and what a low p is worth."""
    if not compared:
        click.echo(f"note: none of {count} patients could be compared, see their reason", err=True)
        return
    click.echo(
        f"note: {compared} of {count} patients were compared; where nothing is swapped, about "
        f"{compared / 20:.0f} of them have a p below 0.05",
        err=True,
    )
    click.echo(
        "note: a low p is a reason to look at the samples, no proof: on TCGA a modality taken from "
        "another patient was told with an AUC of .87 (another cancer type) or .73 (the same), see "
        "'codenoise evaluate rejection'",
        err=True,
    )


def _shown(row: dict[Any, Any]) -> dict[str, Any]:
    """Small chances in full, which a table would show as nothing."""
    cells = {str(k).replace("_", " "): "-" if v in (None, "") else v for k, v in row.items()}
    if row["p"] is not None:
        cells |= {"score": f"{row['score']:.3f}", "p": f"{row['p']:.2g}"}
    return cells
