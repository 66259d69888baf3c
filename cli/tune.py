"""``codenoise train tune``: search the paper's grid of settings for one expert."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codenoise.cli.options import PATH, check_free, overwrite_option, pair_options
from codenoise.cli.output import print_json, print_table, progress_bars
from codenoise.cli.packages import bank_options, package_log

if TYPE_CHECKING:
    from codenoise.core.cohort.options import ReadOptions


@click.command()
@bank_options
@pair_options
@click.option(
    "--trials", type=click.IntRange(1), default=20, show_default=True, help="Settings to try."
)
@click.option("--minutes", type=click.FloatRange(0), help="Begin no trial after this time.")
@click.option(
    "--journal",
    type=PATH,
    required=True,
    help="File that keeps all trials; the same file goes on where it stopped.",
)
@click.option(
    "--best",
    type=PATH,
    help="TOML to write: the best trial as [training] of a recipe.",
)
@overwrite_option("Replace the file of --best if it is there.")
def tune(
    cohort: Path,
    recipe: Path,
    split_path: Path,
    output: Path,
    reading: ReadOptions,
    as_json: bool,
    condition: str,
    target: str,
    trials: int,
    minutes: float | None,
    journal: Path,
    best: Path | None,
    overwrite: bool,
) -> None:
    """Try network sizes, batches and rates for one expert, and rank them by energy score.

    The recipe's own settings are tried first. No package of an expert is written; spaces that are
    not in the output folder are fitted and written there. Needs pip install 'codenoise[tune]'.

    \b
    Example:
      codenoise train tune tcga --condition rna --target rppa --recipe tcga.toml \\
          --split split.csv --output plugins --minutes 30 --journal rna-to-rppa.journal
    """
    from codenoise.registry.authoring.tuning import tune_expert

    check_free(best, overwrite, "--best")
    with progress_bars() as progress:
        report = package_log(progress)
        found = tune_expert(
            cohort,
            recipe,
            split_path,
            output,
            condition=condition,
            target=target,
            journal=journal,
            trials=trials,
            seconds=None if minutes is None else 60 * minutes,
            finish=lambda outcome: report(outcome, 1, 2),
            progress=lambda done, total: progress("trials", done, total),
            **reading,
        )
    rows: list[dict[str, Any]] = [
        {
            "trial": trial.number,
            **trial.settings,
            "energy score": trial.energy_score,
            "R2": trial.r2_expectation,
            "seconds": trial.seconds,
        }
        for trial in found.trials
    ]
    if best is not None:
        found.write(best, overwrite=overwrite)
    if as_json:
        print_json(rows)
    else:
        where = f"; the best is in {best}" if best is not None else ""
        print_table(rows, f"{len(rows)} trials in {journal}, best first{where}")
