"""``codenoise report``: write the report of an evaluation again from its stored results."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def report(folder: Path) -> None:
    """Write report.html, report.md and figures again from the results in FOLDER.

    FOLDER is the output of 'codenoise evaluate'; nothing is measured.

    \b
    Example:
      codenoise report evaluation
    """
    from codenoise.core.evaluation.report import write_report

    click.echo(write_report(folder))
