"""Printing: tables for people, JSON for scripts, progress on a terminal only."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from codenoise.core.base.errors import CodenoiseError

if TYPE_CHECKING:
    from codenoise.registry.contract.plugin import BrokenPlugin

# The flag of each parameter that errors name.
FLAGS = {
    "folder": "--output",
    "journal": "--journal",
    "merge": "--merge",
    "modalities": "--modality",
    "orientation": "--orientation",
    "overwrite": "--overwrite",
    "samples": "--samples",
}
_PARAMETER = re.compile(r"`(\w+)(?:=(?:True|'([^`']*)'))?`")


def print_json(content: object) -> None:
    """Print as JSON; numbers that are none become null."""
    click.echo(json.dumps(plain_json(content), indent=2, allow_nan=False))


def print_conditions(conditions: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    """Print which conditions of use come with experts, in a line."""
    from codenoise.registry.ensembles.conditions import in_words

    click.echo(_printable(f"conditions of use: {in_words(conditions)}"))


def print_table(rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Print rows of equal keys as a table; the keys are the header."""
    if title:
        click.echo(title)  # not rich's title: that wraps paths and reads brackets as markup
    names = list(rows[0]) if rows else []
    numeric = [all(isinstance(row[name], int | float) for row in rows) for name in names]
    cells = [[_cell(value) for value in row.values()] for row in rows]
    if not sys.stdout.isatty():
        _print_plain(names, numeric, cells)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name, right in zip(names, numeric, strict=True):
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    Console().print(table, highlight=False)


def _print_plain(
    names: Sequence[str], numeric: Sequence[bool], cells: Sequence[Sequence[str]]
) -> None:
    """The same table for a pipe: one line a row however long, and in a tenth of the time."""
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    lines = [
        "   ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        for line in (names, *cells)
    ]
    lines.insert(1, "───".join("─" * width for width in widths))
    click.echo("\n".join(f" {line}".rstrip() for line in lines))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}"
    return _printable(str(value))


def _printable(text: str) -> str:
    """Text without what could move the cursor, which a plugin must not."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def told(problem: CodenoiseError | str) -> str:
    """What an error says, in flags of the command line where it names parameters of Python.

    Examples
    --------
    >>> told(CodenoiseError("give `merge='mean'` or `overwrite=True`"))
    'give --merge mean or --overwrite'
    """

    def flag(match: re.Match[str]) -> str:
        name, value = match.groups()
        return " ".join(filter(None, (FLAGS[name], value))) if name in FLAGS else match[0]

    return _PARAMETER.sub(flag, str(problem))


def warn_of_broken(broken: tuple[BrokenPlugin, ...]) -> None:
    """Name on stderr each plugin that was skipped."""
    for plugin in broken:
        click.echo(
            f"skipped: {plugin.entry} of {plugin.where}: {plugin.reason}",
            err=True,
        )


def plain_json(content: object) -> object:
    """Content as JSON has it: numbers that are none become null."""
    if isinstance(content, Mapping):
        return {str(key): plain_json(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain_json(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function ``(label, done, total)`` that draws one bar per label, on a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        tasks: dict[str, Any] = {}

        def update(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = progress.add_task(label, total=total)
            progress.update(tasks[label], completed=done)

        yield update
