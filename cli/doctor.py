"""``codenoise doctor``: what is installed, where things are kept, and what is broken."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from codenoise.cli.options import json_option
from codenoise.cli.output import print_json, print_table

if TYPE_CHECKING:
    from codenoise.registry.installed.code_plugins import CodePlugin


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Show versions, folders and code plugins, and everything that is broken.

    Loads every code plugin. Exits with 1 if anything is broken, and says what mends it.

    \b
    Example:
      codenoise doctor
    """
    from codenoise.registry.installed.health import examine

    health = examine()
    broken = [
        {"broken": b.entry, "of": b.where, "reason": b.reason, "mend": b.remedy}
        for b in health.broken
    ]
    if as_json:
        plugins = [asdict(plugin) | {"adds": _names(plugin)} for plugin in health.code_plugins]
        print_json({"facts": health.facts, "code plugins": plugins, "broken": broken})
    else:
        print_table([{"": name, "is": value} for name, value in health.facts.items()])
        if health.code_plugins:
            print_table([_row(plugin) for plugin in health.code_plugins], "code plugins")
        if broken:
            print_table(broken, "broken")
        else:
            click.echo("nothing is broken")
    if broken:
        sys.exit(1)


def _names(plugin: CodePlugin) -> dict[str, list[str]]:
    return {kind: sorted(added) for kind, added in plugin.adds.items()}


def _row(plugin: CodePlugin) -> dict[str, Any]:
    adds = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in _names(plugin).items())
    return {"plugin": plugin.entry, "of": plugin.where, "adds": adds}
