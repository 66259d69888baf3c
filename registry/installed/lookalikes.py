"""Names that can be taken for another: a typing slip or a trap."""

from __future__ import annotations

from collections.abc import Collection
from difflib import SequenceMatcher

from codenoise.registry.contract.folders import spaces_of
from codenoise.registry.contract.manifest import SpaceManifest
from codenoise.registry.contract.plugin import AnyPlugin, Inventory

# Names are plain ASCII by the manifest's rule, so these are all that look alike.
_SINGLE = str.maketrans("015i8", "olslb", "-")
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))


def lookalikes(inventory: Inventory, names: Collection[str]) -> list[str]:
    """Warnings about new names that can be taken for other installed ones.

    Parameters
    ----------
    inventory
        What is installed, the new included.
    names
        Names of the new.

    Returns
    -------
    list of str
        One for each pair of names.
    """
    return sorted(
        {
            f"{new.reference} from {new.source.label} has a name much like that of "
            f"{other.manifest.name} from {other.source.label}; make sure that it is the one you "
            f"mean, or 'codenoise experts remove {new.manifest.name}'"
            for new in inventory.plugins
            if new.manifest.name in names
            for other in inventory.plugins
            if other.manifest.name not in names and _alike(new, other)
        }
    )


def _alike(new: AnyPlugin, other: AnyPlugin) -> bool:
    one, two = new.manifest.name, other.manifest.name
    if new.kind != other.kind or one == two:
        return False
    if _skeleton(one) == _skeleton(two):
        return True
    # One letter apart is a lookalike only where both are for the same: cna-to-rna and rna-to-rna
    # are honest names.
    slips = 1.5 / max(len(one), len(two))
    return _ends(new) == _ends(other) and SequenceMatcher(None, one, two).ratio() >= 1 - slips


def _skeleton(name: str) -> str:
    text = name.translate(_SINGLE)
    for pair, letter in _PAIRS:
        text = text.replace(pair, letter)
    return text


def _ends(plugin: AnyPlugin) -> list[str]:
    manifest = plugin.manifest
    if isinstance(manifest, SpaceManifest):
        return [manifest.modality]
    return [ref.modality for ref in spaces_of(manifest)]
