"""Options and arguments that several commands share, each written once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from codenoise.core.base.errors import CodenoiseError

Command = Callable[..., None]
Decorator = Callable[[Command], Command]

PATH = click.Path(path_type=Path)

cohort_argument = click.argument("cohort", type=PATH)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def check_free(path: Path | None, overwrite: bool, option: str = "--output") -> None:
    """Refuse to write over what is there, unless asked to.

    Parameters
    ----------
    path
        What would be written, if anything.
    overwrite
        Whether ``--overwrite`` was given.
    option
        Where the user gives another path.
    """
    if path is not None and path.exists() and not overwrite:
        raise CodenoiseError(f"{path} is already there; give another {option}, or --overwrite")


def output_option(help: str, default: str | None = None, *, required: bool = False) -> Decorator:
    """Add ``--output`` or ``-o``."""
    preset: dict[str, Any] = {} if default is None else {"default": default, "show_default": True}
    return click.option("--output", "-o", type=PATH, required=required, help=help, **preset)


def overwrite_option(help: str) -> Decorator:
    """Add ``--overwrite``."""
    return click.option("--overwrite", is_flag=True, help=help)


def dry_run_option(help: str) -> Decorator:
    """Add ``--dry-run``."""
    return click.option("--dry-run", is_flag=True, help=help)


def seed_option(help: str = "Same seed, same result.") -> Decorator:
    """Add ``--seed``, 0 by default."""
    return click.option("--seed", type=int, default=0, show_default=True, help=help)


def draws_option(help: str, *, default: int, least: int, most: int | None = None) -> Decorator:
    """Add ``--draws``, a number from ``least`` to ``most``."""
    span = click.IntRange(least, most)
    return click.option("--draws", type=span, default=default, show_default=True, help=help)


def split_option(help: str, *, required: bool = True) -> Decorator:
    """Add ``--split``; the command gets it as ``split_path``."""
    return click.option("--split", "split_path", type=PATH, required=required, help=help)


def clinical_option(help: str) -> Decorator:
    """Add ``--clinical``; the command gets it as ``clinical_path``."""
    return click.option("--clinical", "clinical_path", type=PATH, help=help)


def modality_option(
    help: str = "Read only these tables of the cohort; all by default.",
) -> Decorator:
    """Add ``--modality``, to be repeated; the command gets ``modalities``."""
    return click.option("--modality", "modalities", multiple=True, help=help)


def targets_option(help: str = "Modality to generate; all by default.") -> Decorator:
    """Add ``--target``, to be repeated; the command gets ``targets``."""
    return click.option("--target", "targets", multiple=True, help=help)


def pair_options(command: Command) -> Command:
    """Add ``--condition`` and ``--target``, the two modalities of a pair expert."""
    target = click.option("--target", required=True, help="Modality to generate.")
    condition = click.option("--condition", required=True, help="Modality to generate from.")
    return condition(target(command))
