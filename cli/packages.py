"""What commands that make packages share: their arguments, their progress and its outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codenoise.cli.options import (
    PATH,
    cohort_argument,
    json_option,
    output_option,
    split_option,
)
from codenoise.cli.output import print_json, print_table, progress_bars
from codenoise.cli.reading import reading_options

if TYPE_CHECKING:
    from codenoise.registry.authoring.bank_spaces import Outcome

Decorator = Callable[[Callable[..., None]], Callable[..., None]]
PackageLog = Callable[["Outcome", int, int], None]


def bank_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments that training and fitting share."""
    options: Sequence[Decorator] = (
        cohort_argument,
        click.option("--recipe", type=PATH, required=True,
                     help="TOML with modalities, licences and training settings."),
        split_option("CSV of patient,split, from 'codenoise train split'."),
        output_option("Folder of plugin projects.", required=True),
        reading_options,
        json_option,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def packages_done() -> Iterator[PackageLog]:
    """Yield a function that logs each package as it is done, on stderr."""
    with progress_bars() as progress:
        yield package_log(progress)


def package_log(progress: Callable[[str, int, int], None]) -> PackageLog:
    """Make a function that logs each package as it is done, on stderr and on a bar."""
    started = time.monotonic()

    def report(outcome: Outcome, done: int, total: int) -> None:
        progress("packages", done, total)
        click.echo(
            f"[{done}/{total}] {outcome.kind} {outcome.name}: {outcome.status} "
            f"({time.monotonic() - started:.0f} s)",
            err=True,
        )

    return report


def print_outcomes(outcomes: Sequence[Outcome], output: Path, as_json: bool) -> None:
    """Print what became of each package."""
    rows: list[dict[str, Any]] = [asdict(outcome) for outcome in outcomes]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, f"in {output}; R2 on validation patients")
