"""``codenoise train``: split a cohort, fit spaces and train experts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codenoise.cli.options import (
    cohort_argument,
    json_option,
    output_option,
    overwrite_option,
    pair_options,
    seed_option,
    targets_option,
)
from codenoise.cli.output import print_json, print_table
from codenoise.cli.packages import bank_options, packages_done, print_outcomes
from codenoise.cli.reading import reading_options
from codenoise.cli.tune import tune
from codenoise.core.base.errors import CodenoiseError, DataError

if TYPE_CHECKING:
    from codenoise.core.cohort.options import ReadOptions
    from codenoise.registry.authoring.bank import Ends


@click.group()
def train() -> None:
    """Split a cohort, fit spaces and train experts."""


train.add_command(tune)


@train.command()
@cohort_argument
@click.option(
    "--stratify",
    default="cancer_type",
    show_default=True,
    help="Column of the clinical table to stratify by.",
)
@click.option(
    "--complete",
    multiple=True,
    required=True,
    help="Modality that every test patient must have; repeat for several.",
)
@seed_option("Seed of the shuffle.")
@output_option("CSV to write: patient,split.", required=True)
@overwrite_option("Replace the file if it is there.")
@reading_options
@json_option
def split(
    cohort: Path,
    stratify: str,
    complete: tuple[str, ...],
    seed: int,
    output: Path,
    overwrite: bool,
    reading: ReadOptions,
    as_json: bool,
) -> None:  # fmt: skip
    """Assign the patients of COHORT to train, validation and test: 80, 5 and 15%.

    \b
    Example:
      codenoise train split tcga --complete rna --complete rppa --output split.csv
    """
    from codenoise.core.cohort.cohort import read_clinical, read_cohort
    from codenoise.core.cohort.splits import split_cohort, write_split

    if output.exists() and not overwrite:
        raise CodenoiseError(
            f"{output} is already there, and a new split would move test patients into training; "
            f"give another --output, or --overwrite"
        )
    given, clinical = read_cohort(cohort, list(complete), **reading), read_clinical(cohort)
    assigned = split_cohort(given, clinical, stratify=stratify, seed=seed, called=str(cohort))
    write_split(assigned, output)
    counts = assigned.value_counts()
    rows = [{"split": str(name), "patients": int(n)} for name, n in counts.items()]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, f"written to {output}")


workers_option = click.option(
    "--workers",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    show_default=True,
    help="Processes, one thread each; results do not depend on it.",
)


@train.command()
@bank_options
@workers_option
def bank(
    cohort: Path,
    recipe: Path,
    split_path: Path,
    output: Path,
    reading: ReadOptions,
    as_json: bool,
    workers: int,
) -> None:
    """Fit every space and train every ordered pair of the recipe's modalities.

    Packages that were made from the same inputs are left alone: run it again after an interruption,
    or after adding a modality to the recipe.

    \b
    Example:
      codenoise train bank tcga --recipe tcga.toml --split split.csv --output plugins
    """
    _train(cohort, recipe, split_path, output, reading, as_json, None, workers)


@train.command()
@bank_options
@pair_options
def expert(
    cohort: Path,
    recipe: Path,
    split_path: Path,
    output: Path,
    reading: ReadOptions,
    as_json: bool,
    condition: str,
    target: str,
) -> None:
    """Train one expert, fitting the two spaces it needs if they are not there.

    \b
    Example:
      codenoise train expert tcga --condition rna --target rppa \\
          --recipe tcga.toml --split split.csv --output plugins
    """
    _train(cohort, recipe, split_path, output, reading, as_json, [((condition,), target)], 1)


@train.command()
@bank_options
@targets_option()
@workers_option
def multi(
    cohort: Path,
    recipe: Path,
    split_path: Path,
    output: Path,
    reading: ReadOptions,
    as_json: bool,
    targets: tuple[str, ...],
    workers: int,
) -> None:
    """Train multi-condition experts: one per target, from any subset of all other modalities.

    At every step each patient's conditions are masked at random, down to none at all.

    \b
    Example:
      codenoise train multi tcga --recipe tcga.toml --split split.csv --output plugins
    """
    from codenoise.registry.authoring.bank import multis_of
    from codenoise.registry.authoring.bank_recipe import read_bank_recipe

    known = list(read_bank_recipe(recipe).modalities)
    for name in targets:
        if name not in known:
            raise DataError(f"target {name!r} is not in {recipe}, which has {', '.join(known)}")
    if len(known) < 3:
        raise DataError(
            f"{recipe} has {len(known)} modalities; a multi-condition expert needs at least 3, "
            f"with two train a pair: codenoise train expert"
        )
    experts = [ends for ends in multis_of(known) if not targets or ends[1] in targets]
    _train(cohort, recipe, split_path, output, reading, as_json, experts, workers)


def _train(
    cohort: Path,
    recipe_path: Path,
    split_path: Path,
    output: Path,
    reading: ReadOptions,
    as_json: bool,
    experts: list[Ends] | None,
    workers: int,
) -> None:
    from codenoise.registry.authoring.training import train as train_all

    with packages_done() as report:
        outcomes = train_all(
            cohort, recipe_path, split_path, output,
            experts=experts, workers=workers, report=report, **reading,
        )  # fmt: skip
    print_outcomes(outcomes, output, as_json)
