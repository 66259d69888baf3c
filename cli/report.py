"""``codenoise report``: write the report of an evaluation again from its stored results."""

from __future__ import annotations

from pathlib import Path

import click

from codenoise.cli.options import PATH, json_option
from codenoise.cli.output import print_json


@click.command()
@click.argument("folder", type=PATH)
@json_option
def report(folder: Path, as_json: bool) -> None:
    """Write report.html, report.md and figures again from the results in FOLDER.

    FOLDER is the output of 'codenoise evaluate'; nothing is measured.

    \b
    Example:
      codenoise report evaluation
    """
    from codenoise.evaluation.report import write_report

    page = write_report(folder)
    if as_json:
        figures = sorted(map(str, (folder / "figures").iterdir()))
        print_json({"report": str(page), "figures": figures})
    else:
        click.echo(page)
