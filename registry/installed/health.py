"""Whether an installation is well: its versions, its places, and everything that is broken."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from codenoise.registry.contract.compatibility import findings
from codenoise.registry.contract.plugin import BrokenPlugin
from codenoise.registry.installed.code_plugins import CodePlugin, load_code_plugins
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.store import home

PACKAGES = ("codenoise", "torch", "numpy", "pandas", "huggingface_hub", "safetensors")


@dataclass(frozen=True)
class Health:
    """What an installation consists of.

    Attributes
    ----------
    facts
        Versions, the device, folders and the Hub, and how many experts and spaces can be used.
    code_plugins
        Those that could be loaded.
    broken
        Code plugins, experts and spaces that cannot be used.
    """

    facts: Mapping[str, str | int]
    code_plugins: tuple[CodePlugin, ...]
    broken: tuple[BrokenPlugin, ...]


def examine() -> Health:
    """Look at all that is installed: every code plugin is loaded, every checksum compared.

    Raises
    ------
    CodenoiseError
        If the store cannot be listed; and where ``CODENOISE_STRICT=1`` is set, for the first broken
        plugin.
    """
    code, installed = load_code_plugins(), list(findings(discover(checksums=True)))
    usable = [finding for finding in installed if finding.ok]
    facts: dict[str, str | int] = {
        **_versions(),
        **_places(),
        "experts": sum(finding.kind == "expert" for finding in usable),
        "spaces": sum(finding.kind == "space" for finding in usable),
    }
    misfits = tuple(
        BrokenPlugin(finding.reference, finding.source, finding.reason, finding.remedy)
        for finding in installed
        if not finding.ok
    )
    return Health(facts, code.plugins, (*code.broken, *misfits))


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

    chosen = " (CODENOISE_HOME)" if os.environ.get("CODENOISE_HOME") else ""
    return {
        "store": f"{home()}{chosen}",
        "Hub": f"{constants.ENDPOINT}{', offline' if constants.is_offline_mode() else ''}",
        "Hub login": "there" if get_token() else "none; 'hf auth login' makes one",
    }
