"""``codenoise impute``: complete a cohort."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codenoise.cli.options import (
    PATH,
    check_free,
    cohort_argument,
    draws_option,
    dry_run_option,
    json_option,
    modality_option,
    output_option,
    overwrite_option,
    seed_option,
    targets_option,
)
from codenoise.cli.output import print_json, print_table, progress_bars
from codenoise.cli.reading import ensemble_option, reading_options
from codenoise.core.base.errors import CodenoiseError
from codenoise.core.base.files import atomic_folder
from codenoise.registry.ensembles.recipe import read_recipe
from codenoise.registry.ensembles.resolving import load_ensemble
from codenoise.registry.installed.discovery import discover

if TYPE_CHECKING:
    from codenoise.core.cohort.options import ReadOptions


@click.command()
@cohort_argument
@ensemble_option()
@output_option("Folder to write.", required=True)
@modality_option()
@reading_options
@targets_option("Complete only these modalities.")
@draws_option(
    "Generated versions per patient; their mean is the completed value.",
    default=10, least=2, most=10_000,
)  # fmt: skip
@seed_option()
@click.option("--save-draws", is_flag=True, help="Also write every draw, in features (parquet).")
@click.option(
    "--tables",
    type=click.IntRange(2, 1000),
    help="Also write so many completed versions, for multiple imputation; raises --draws to twice "
    "that where it is less. What is estimated on each is pooled by codenoise.analysis.pool.",
)
@click.option(
    "--trace",
    type=PATH,
    help="Also write how far experts were apart at each step: values (.parquet), or a picture "
    "(.png, .svg or .pdf).",
)
@overwrite_option("Replace the output folder, and trace, of an earlier run.")
@dry_run_option("Check the input, say what would be done, and stop.")
@json_option
def impute(
    cohort: Path,
    recipe_path: Path,
    output: Path,
    modalities: tuple[str, ...],
    reading: ReadOptions,
    targets: tuple[str, ...],
    draws: int,
    seed: int,
    save_draws: bool,
    tables: int | None,
    trace: Path | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Complete the tables of COHORT: a folder with one per modality (rna.csv, rppa.parquet, ...).

    A TOML that names the files, or a MuData file, will do too.

    \b
    Writes to the output folder:
      completed/       the tables, in their own features, layout and order
      spread/          standard deviation of each value, 0 where observed
      mask/            0 observed, 1 generated, 2 gap filled within the modality, 3 still missing
      tables/1 ...     with --tables: completed versions that differ by what is not known
      coherence.csv    one row per patient and generated modality
      provenance.json  versions, digests, seed: what the result was made with

    \b
    Example:
      codenoise impute my_cohort --ensemble ensemble.toml --output completed
    """
    from codenoise.core.ensemble.imputation import PROVENANCE
    from codenoise.core.ensemble.multiple import draws_needed
    from codenoise.core.ensemble.summary import notes, plan, summary
    from codenoise.core.ensemble.trace import check_trace_name
    from codenoise.core.ensemble.written import write_parts

    target_folder, source = output.resolve(), cohort.resolve()
    if target_folder == source or target_folder in source.parents:
        raise CodenoiseError(f"{output} holds the cohort {cohort}; give another --output")
    if trace is not None:
        check_trace_name(trace)
        check_free(trace, overwrite, "--trace")
    ensemble = load_ensemble(read_recipe(recipe_path), discover())
    draws = max(draws, draws_needed(tables or 0, mirrored=ensemble.settings.mirrored))
    given = ensemble.read(cohort, modalities or None, **reading)
    wanted = ensemble.check(given, targets or None)
    if dry_run:
        ensemble.encode(given)  # the features and gaps of each table are checked by encoding it
        _print_plan(plan(ensemble, given, wanted), as_json)
        return
    # Made before anything is generated: a folder that cannot be written is told of at once.
    with atomic_folder(output, PROVENANCE if overwrite else None) as folder:
        with progress_bars() as progress:
            result = ensemble.impute(
                given,
                draws=draws,
                seed=seed,
                targets=wanted,
                keep_trace=trace is not None,
                progress=progress,
            )
        write_parts(result, folder, save_draws=save_draws, tables=tables or 0)
    rows = summary(result)
    if as_json:
        print_json({"output": str(output), "targets": rows})
    else:
        print_table(rows, f"written to {output}")
    if trace is not None:  # last, for it may go into the output folder, or nowhere
        result.write_trace(trace)
    if as_json:
        return
    if trace is not None:
        click.echo(f"trace written to {trace}")
    for note in notes(result):
        click.echo(f"note: {note}", err=True)


def _print_plan(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows, "nothing written (dry run)")
    else:
        click.echo("nothing to generate: every patient has every target")
