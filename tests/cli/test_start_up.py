from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from codenoise.cli.main import COMMANDS, cli

HEAVY = ["torch", "pandas", "sklearn", "scipy", "pyarrow", "jinja2", "huggingface_hub", "httpx2"]
PROBE = f"""
import json, sys
from codenoise.cli.main import main
try:
    main()
finally:
    print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["experts", "list"],
        ["experts", "list", "--json"],
        ["experts", "search", "rppa"],
        ["experts", "check"],
        ["experts", "verify"],
        ["experts", "show", "rna-to-rppa"],
        ["spaces", "list"],
        ["compose", "--dry-run", "--expert", "rna-to-rppa"],
    ],
    ids=" ".join,
)
def test_light_commands_import_nothing_heavy(
    bank_site: Path, tmp_path: Path, words: list[str]
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        env={**os.environ, "PYTHONPATH": str(bank_site)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
    assert json.loads(ended.stderr.splitlines()[-1]) == []


def test_version_is_printed(done: Callable[..., str]) -> None:
    assert done("--version").startswith("codenoise, version ")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_command(done: Callable[..., str], flag: str) -> None:
    text = done(flag)
    for name, (_, summary) in COMMANDS.items():
        assert name in text
        assert summary in text


def _commands(group: click.Group, prefix: str = "") -> list[tuple[str, click.Command]]:
    found = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        found.append((f"{prefix}{name}", command))
        if isinstance(command, click.Group):
            found += _commands(command, f"{prefix}{name} ")
    return found


@pytest.mark.parametrize("words", [name for name, _ in _commands(cli)])
def test_every_command_has_help_with_an_example(done: Callable[..., str], words: str) -> None:
    text = done(*words.split(), "--help")
    assert text.startswith(f"Usage: codenoise {words}")
    command = dict(_commands(cli))[words]
    if not isinstance(command, click.Group):
        assert f"codenoise {words}" in text.partition("Example:")[2]
        assert "--json" in text


def test_every_option_is_explained() -> None:
    for words, command in _commands(cli):
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{words} {parameter.name}"


def test_summary_in_the_list_is_the_start_of_the_command(done: Callable[..., str]) -> None:
    assert sorted(COMMANDS) == [name for name, _ in _commands(cli) if " " not in name]


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["experts", "nonsense"],
        ["experts", "list", "--nonsense"],
        ["experts", "show"],
        ["experts", "add"],
        ["experts", "remove"],
        ["pull"],
        ["pull", "a/b", "--from", "a.lock"],
        ["lock"],
        ["impute"],
        ["impute", "cohort", "--output", "out"],
        ["impute", "cohort", "-e", "a.toml", "-o", "out", "--draws", "1"],
        ["impute", "cohort", "-e", "a.toml", "-o", "out", "--draws", "many"],
        ["impute", "cohort", "-e", "a.toml", "-o", "out", "--seed", "x"],
        ["compose", "--weighting", "best"],
        ["compose", "--sampler", "euler"],
        ["compose", "--steps", "0"],
        ["compose", "--steps", "1001"],
        ["compose", "--threshold", "3"],
        ["compose", "--max-incoherent", "-0.1"],
        ["train", "bank", "cohort"],
        ["train", "split", "cohort"],
        ["evaluate", "truth", "out"],
        ["evaluate", "all", "cohort"],
        ["evaluate", "weights", "cohort", "-e", "a.toml", "--split", "s.csv", "--runs", "0"],
    ],
    ids=" ".join,
)
def test_wrong_use_exits_with_two(run: Callable[..., Any], words: list[str]) -> None:
    ran = run(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("Usage: codenoise")
    assert "Traceback" not in ran.err
