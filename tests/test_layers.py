"""What no import checker sees: words of the terminal in the science, commands in each other."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from codenoise.cli.main import COMMANDS, cli
from codenoise.cli.output import FLAGS, told
from codenoise.core.base.errors import CodenoiseError

ROOT = Path(__file__).parents[1]
SCIENCE = sorted([*(ROOT / "core").rglob("*.py"), *(ROOT / "evaluation").rglob("*.py")])
CLI = sorted((ROOT / "cli").glob("*.py"))


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string of a module, docstrings among them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def messages(path: Path) -> Iterator[str]:
    """Every string of a module that a docstring is not, those in braces left out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = (v.value if isinstance(v, ast.Constant) else "" for v in node.values)
            yield "".join(map(str, parts))


def test_the_science_names_no_flag() -> None:
    assert len(SCIENCE) > 100
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in SCIENCE
        for line, text in literals(path)
        # A flag alone is a word of the command that a report names, and no message.
        if re.search(r"--[a-z]{2,}", text) and not re.fullmatch(r"--[a-z]+", text)
    ]
    assert found == []


def test_parameters_that_messages_name_have_a_flag() -> None:
    named = {
        name
        for path in SCIENCE
        for text in messages(path)
        for name in re.findall(r"`(\w+)(?:=[^`]*)?`", text)
    }
    assert {"journal", "modalities", "overwrite"} <= named <= {*FLAGS}


def _options(command: click.Command) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), name)
            assert below is not None
            yield from _options(below)
    for parameter in command.params:
        yield from parameter.opts


def test_every_flag_is_one_of_a_command() -> None:
    assert {*FLAGS.values()} <= {*_options(cli)}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "give `merge='mean'` or `merge='first'` (merge in",
            "give --merge mean or --merge first (m",
        ),
        ("a.csv: leave `orientation` out", "a.csv: leave --orientation out"),
        ("name them with `modalities`", "name them with --modality"),
        ("another `folder`, or `overwrite=True`", "another --output, or --overwrite"),
        ("the column `length` of `merge='a`b'`", "the column `length` of `merge='a`b'`"),
    ],
)
def test_the_command_line_shows_flags_where_python_has_parameters(said: str, shown: str) -> None:
    assert told(CodenoiseError(said)).startswith(shown)
    assert str(CodenoiseError(said)) == said


def test_no_command_imports_another() -> None:
    """A group may import the commands it is made of, and nothing else of their modules."""
    modules = {f"codenoise.cli.{path.stem}": path for path in CLI if path.stem != "__init__"}
    commanding = {
        name
        for name in modules
        if any(
            isinstance(value, click.Command) and value.callback.__module__ == name
            for value in vars(importlib.import_module(name)).values()
            if getattr(value, "callback", None) is not None
        )
    }
    assert len(commanding) >= len(COMMANDS)
    wrong = [
        f"{name} imports {alias.name} of {node.module}"
        for name, path in modules.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module in commanding
        for alias in node.names
        if not isinstance(getattr(importlib.import_module(node.module), alias.name), click.Command)
    ]
    assert wrong == []
