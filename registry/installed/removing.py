"""What of the local store a user means to remove, and what would be unusable without it."""

from __future__ import annotations

from codenoise.core.base.errors import CodenoiseError, first_few
from codenoise.registry.contract.folders import spaces_of
from codenoise.registry.contract.plugin import Inventory
from codenoise.registry.contract.sources import Package
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.store import StoreItem, items


def stored(name: str, inventory: Inventory | None = None) -> StoreItem:
    """The one item of the local store that a name means, whole or damaged; `remove` takes it out.

    Parameters
    ----------
    name
        ``[SOURCE:]NAME[@VERSION[-DIGEST]]``.
    inventory
        By which the message knows what pip installed; by default what `discover` finds.

    Raises
    ------
    CodenoiseError
        If the store holds none or several of the name, or pip installed it.
    """
    found = [item for item in items() if item.matches(name)]
    if len(found) == 1:
        return found[0]
    if found:
        which = first_few(f"{item.name}@{item.folder.name}" for item in found)
        raise CodenoiseError(f"{name!r} may be any of {which}; say which")
    packages = [
        source.distribution
        for plugin in (inventory or discover()).plugins
        if name in (plugin.manifest.name, plugin.reference)
        for source in (plugin.source, *plugin.also)
        if isinstance(source, Package)
    ]
    if packages:
        raise CodenoiseError(f"{name} was installed by pip; run: pip uninstall {packages[0]}")
    raise CodenoiseError(f"{name!r} is not in the local store; see 'codenoise experts list'")


def dependents(item: StoreItem, inventory: Inventory | None = None) -> list[str]:
    """References of the experts that have no other copy of a space; of an expert none.

    Parameters
    ----------
    item
        Of the local store.
    inventory
        Whose experts; by default what `discover` finds.
    """
    there = inventory or discover()
    mine = [p for p in there.spaces if p.folder == item.folder and not p.also]
    digests = {plugin.manifest.digest for plugin in mine}
    return [
        expert.reference
        for expert in there.experts
        if digests & {ref.digest for ref in spaces_of(expert.manifest)}
    ]
