"""``codenoise train``: split a cohort, fit spaces and train experts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codenoise.cli.output import json_option, print_json, print_table, progress_bars
from codenoise.cli.reading import reading_options
from codenoise.core.base.errors import CodenoiseError, DataError

if TYPE_CHECKING:
    from codenoise.core.cohort.options import ReadOptions
    from codenoise.registry.authoring.bank import Ends
    from codenoise.registry.authoring.bank_spaces import Outcome


@click.group()
def train() -> None:
    """Split a cohort, fit spaces and train experts."""


@train.command()
@click.argument("cohort", type=click.Path(path_type=Path))
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
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the shuffle.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV to write: patient,split.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
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


Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def bank_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments that training and fitting share."""
    options: Sequence[Decorator] = (
        click.argument("cohort", type=click.Path(path_type=Path)),
        click.option("--recipe", type=click.Path(path_type=Path), required=True,
                     help="TOML with modalities, licences and training settings."),
        click.option("--split", "split_path", type=click.Path(path_type=Path), required=True,
                     help="CSV of patient,split, from 'codenoise train split'."),
        click.option("--output", "-o", type=click.Path(path_type=Path), required=True,
                     help="Folder of plugin projects."),
        reading_options,
        json_option,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


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
@click.option("--condition", required=True, help="Modality to generate from.")
@click.option("--target", required=True, help="Modality to generate.")
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
@click.option("--target", "targets", multiple=True, help="Modality to generate; all by default.")
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


@contextmanager
def packages_done() -> Iterator[Callable[[Outcome, int, int], None]]:
    """Yield a function that logs each package as it is done, on stderr."""
    started = time.monotonic()
    with progress_bars() as progress:

        def report(outcome: Outcome, done: int, total: int) -> None:
            progress("packages", done, total)
            click.echo(
                f"[{done}/{total}] {outcome.kind} {outcome.name}: {outcome.status} "
                f"({time.monotonic() - started:.0f} s)",
                err=True,
            )

        yield report


def print_outcomes(outcomes: Sequence[Outcome], output: Path, as_json: bool) -> None:
    """Print what became of each package."""
    rows: list[dict[str, Any]] = [asdict(outcome) for outcome in outcomes]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, f"in {output}; R2 on validation patients")
