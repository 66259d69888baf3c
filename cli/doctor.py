"""``codenoise doctor``: what is installed, where things are kept, and what is broken."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import click

from codenoise.cli.options import json_option
from codenoise.cli.output import print_json, print_table

if TYPE_CHECKING:
    from codenoise.registry.installed.code_plugins import CodePlugin

PACKAGES = ("codenoise", "torch", "numpy", "pandas", "huggingface_hub", "safetensors")


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Show versions, folders and code plugins, and everything that is broken.

    Loads every code plugin. Exits with 1 if anything is broken, and says what mends it.

    \b
    Example:
      codenoise doctor
    """
    from codenoise.registry.contract.compatibility import findings
    from codenoise.registry.installed.code_plugins import load_code_plugins
    from codenoise.registry.installed.discovery import discover

    code, installed = load_code_plugins(), list(findings(discover(checksums=True)))
    broken = [
        *(
            {"broken": b.entry, "of": b.where, "reason": b.reason, "mend": b.remedy}
            for b in code.broken
        ),
        *(
            {"broken": f.reference, "of": f.source, "reason": f.reason, "mend": f.remedy}
            for f in installed
            if not f.ok
        ),
    ]
    usable = [f for f in installed if f.ok]
    facts = {
        **_versions(),
        **_places(),
        "experts": sum(f.kind == "expert" for f in usable),
        "spaces": sum(f.kind == "space" for f in usable),
    }
    if as_json:
        plugins = [asdict(plugin) | {"adds": _names(plugin)} for plugin in code.plugins]
        print_json({"facts": facts, "code plugins": plugins, "broken": broken})
    else:
        print_table([{"": name, "is": value} for name, value in facts.items()])
        if code.plugins:
            print_table([_row(plugin) for plugin in code.plugins], "code plugins")
        if broken:
            print_table(broken, "broken")
        else:
            click.echo("nothing is broken")
    if broken:
        sys.exit(1)


def _versions() -> dict[str, str]:
    import torch

    known = {"python": f"{platform.python_version()} ({sys.executable})"}
    for name in PACKAGES:
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            known[name] = "not installed"
    known["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return known


def _places() -> dict[str, str]:
    from huggingface_hub import constants, get_token

    from codenoise.registry.installed.store import home

    chosen = " (CODENOISE_HOME)" if os.environ.get("CODENOISE_HOME") else ""
    return {
        "store": f"{home()}{chosen}",
        "Hub": f"{constants.ENDPOINT}{', offline' if constants.is_offline_mode() else ''}",
        "Hub login": "there" if get_token() else "none; 'hf auth login' makes one",
    }


def _names(plugin: CodePlugin) -> dict[str, list[str]]:
    return {kind: sorted(added) for kind, added in plugin.adds.items()}


def _row(plugin: CodePlugin) -> dict[str, Any]:
    adds = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in _names(plugin).items())
    return {"plugin": plugin.entry, "of": plugin.where, "adds": adds}
