"""What came into the local store, and what is odd about it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from codenoise.cli.output import print_table
from codenoise.registry.contract.compatibility import findings
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.lookalikes import lookalikes
from codenoise.registry.installed.store import Installed


def print_installed(installed: Sequence[Installed]) -> None:
    """Print what came into the store."""
    print_table(
        [{"kind": one.kind, "name": one.reference, "outcome": one.outcome} for one in installed]
    )


def warn_of_new(installed: Sequence[Installed]) -> None:
    """Say on stderr what is odd about what was installed: its name, or that it is not usable."""
    inventory = discover()
    names = {one.reference.partition("@")[0] for one in installed if one.outcome != "already there"}
    for warning in lookalikes(inventory, names):
        click.echo(f"warning: {warning}", err=True)
    references = {one.reference for one in installed}
    for finding in findings(inventory):
        if finding.reference in references and not finding.ok:
            click.echo(f"note: {finding.reference} {finding.reason}; {finding.remedy}", err=True)
