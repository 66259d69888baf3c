"""Options of every command that reads a cohort."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, get_args

import click

from codenoise.cli.output import warn_of_broken
from codenoise.core.cohort.options import Merge, Orientation, ReadOptions, SampleChoice

Command = Callable[..., None]


def ensemble_option(
    help: str = "Recipe written by 'codenoise compose' or 'codenoise calibrate'.",
) -> Callable[[Command], Command]:
    """Add ``--ensemble``; the command gets the path as ``recipe_path``."""
    return click.option(
        "--ensemble",
        "-e",
        "recipe_path",
        type=click.Path(path_type=Path),
        required=True,
        help=help,
    )


def reading_options(command: Command) -> Command:
    """Add ``--orientation``, ``--samples`` and ``--merge``; the command gets them as ``reading``.

    A cohort's TOML may say something else of single tables, and is then followed.
    """

    @wraps(command)
    def told(
        *, orientation: Orientation, samples: SampleChoice, merge: Merge, **others: Any
    ) -> None:
        from codenoise.registry.installed.code_plugins import load_code_plugins

        reading = ReadOptions(orientation=orientation, samples=samples, merge=merge)
        warn_of_broken(load_code_plugins().broken)  # some may bring a reader
        command(reading=reading, **others)

    for option in (
        click.option(
            "--merge",
            type=click.Choice(get_args(Merge)),
            default="refuse",
            show_default=True,
            help="What to do with columns that are the same feature.",
        ),
        click.option(
            "--samples",
            type=click.Choice(get_args(SampleChoice)),
            default="tumour",
            show_default=True,
            help="Which samples stand for a TCGA patient: one tumour sample, primary first; or "
            "those of one kind alone.",
        ),
        click.option(
            "--orientation",
            type=click.Choice(get_args(Orientation)),
            default="auto",
            show_default=True,
            help="Which way round the tables stand; auto goes by features and ids.",
        ),
    ):
        told = option(told)
    return told
