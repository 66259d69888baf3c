"""The ``codenoise`` command: groups are imported only when they are called."""

from __future__ import annotations

import importlib
import sys

import click

from codenoise.cli.output import told
from codenoise.core.base.errors import CodenoiseError
from codenoise.registry.contract.compatibility import engine_version

COMMANDS = {
    "calibrate": ("codenoise.cli.calibrate:calibrate", "Learn weights and spread of draws."),
    "cohort": ("codenoise.cli.cohort:cohort", "Look at a cohort before using it."),
    "compose": ("codenoise.cli.compose:compose", "Choose experts and write an ensemble recipe."),
    "doctor": ("codenoise.cli.doctor:doctor", "Show versions, folders, plugins and faults."),
    "evaluate": ("codenoise.cli.evaluate:evaluate", "Measure generated against real values."),
    "experts": ("codenoise.cli.experts:experts", "List, search, check, add and remove experts."),
    "impute": ("codenoise.cli.impute:impute", "Complete a cohort with an ensemble."),
    "lock": ("codenoise.cli.lock:lock", "Pin every artifact of an ensemble."),
    "prioritise": ("codenoise.cli.prioritise:prioritise", "Rank patients: whom to test next."),
    "pull": ("codenoise.cli.pull:pull", "Fetch experts from the Hugging Face Hub."),
    "report": ("codenoise.cli.report:report", "Write an evaluation's report again."),
    "spaces": ("codenoise.cli.spaces:spaces", "List, show, fit and apply spaces."),
    "train": ("codenoise.cli.train:train", "Split a cohort, fit spaces and train experts."),
}


class LazyGroup(click.Group):
    """A group whose commands are named here and imported on use, so that help stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands with their summaries, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in sorted(COMMANDS.items())])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(engine_version(), prog_name="codenoise")
def cli() -> None:
    """Generate missing biomedical data with ensembles of expert models.

    \b
    Example:
      codenoise experts list
      codenoise compose --target rppa --output ensemble.toml
      codenoise impute my_cohort --ensemble ensemble.toml --output completed
    """


def main() -> None:
    """Run the command line: 0 done, 1 failed with one line on stderr, 2 wrong use."""
    try:
        cli(prog_name="codenoise")
    except CodenoiseError as problem:
        click.echo(f"error: {' '.join(told(problem).split())}", err=True)
        sys.exit(1)
