"""Experts and spaces as packages: found, checked, combined, built."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codenoise.registry.discovery import discover
    from codenoise.registry.ensemble import Ensemble
    from codenoise.registry.recipe import Coherence, Sampler

__all__ = ["Coherence", "Ensemble", "Sampler", "discover"]

_HOMES = {
    "Coherence": "recipe",
    "Ensemble": "ensemble",  # brings torch
    "Sampler": "recipe",
    "discover": "discovery",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that importing the package stays fast."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
