"""Finding and checking experts and spaces among what is installed."""

from __future__ import annotations

from codenoise.core.base.errors import EnsembleError, SpaceError, first_few
from codenoise.registry.contract.compatibility import Finding, verified
from codenoise.registry.contract.manifest import ExpertManifest, SpaceManifest
from codenoise.registry.contract.plugin import Inventory, Plugin
from codenoise.registry.installed.discovery import discover


def search(
    text: str = "",
    *,
    condition: str | None = None,
    target: str | None = None,
    inventory: Inventory | None = None,
) -> list[Plugin[ExpertManifest]]:
    """Installed experts that a text and modalities fit.

    Parameters
    ----------
    text
        Stands in the name, the cohort, the licence, an author, a source or the citation, in
        capitals or not; by default anything does.
    condition, target
        Modality that an expert starts from, alone or with others, and the one that it generates.
    inventory
        What to search; by default what `discover` finds.

    Examples
    --------
    >>> [expert.reference for expert in search("tcga", target="rppa")]  # doctest: +SKIP
    """
    return [
        plugin
        for plugin in (inventory or discover()).experts
        if text.casefold() in _words(plugin.manifest)
        and condition in (None, *(ref.modality for ref in plugin.manifest.condition))
        and target in (None, plugin.manifest.target.modality)
    ]


def named_experts(name: str) -> list[Plugin[ExpertManifest]]:
    """Every installed expert of a name, ``NAME`` or ``NAME@VERSION``.

    Raises
    ------
    EnsembleError
        If there is none; where one is broken, the message says why.
    """
    inventory = discover()
    matching = [p for p in inventory.experts if name in (p.manifest.name, p.reference)]
    if matching:
        return matching
    broken = [b.reason for b in inventory.broken if b.entry == name]
    if broken:
        raise EnsembleError(f"expert {name!r} is broken: {broken[0]}")
    have = ", ".join(p.manifest.name for p in inventory.experts) or "none"
    raise EnsembleError(f"expert {name!r} is not installed; installed: {have}")


def named_spaces(name: str) -> list[Plugin[SpaceManifest]]:
    """Every installed space of a name, ``NAME`` or ``NAME@VERSION``.

    Raises
    ------
    SpaceError
        If there is none.
    """
    spaces = discover().spaces
    matching = [p for p in spaces if name in (p.manifest.name, p.reference)]
    if not matching:
        have = ", ".join(p.manifest.name for p in spaces) or "none"
        raise SpaceError(f"space {name!r} is not installed; installed: {have}")
    return matching


def verify(*names: str) -> list[Finding]:
    """Reread every file of installed experts and spaces, and compare it with its manifest.

    Sizes and checksums are compared, and the manifest with what the weights were made for.

    Parameters
    ----------
    names
        ``NAME`` or ``NAME@VERSION`` of each; by default everything that is installed.

    Returns
    -------
    list of Finding
        Whether each is ``ok``, else the ``reason`` and its ``remedy``.

    Raises
    ------
    EnsembleError
        If nothing of a name is installed.

    Examples
    --------
    >>> all(found.ok for found in verify("rna-to-rppa", "tcga-rppa"))  # doctest: +SKIP
    True
    """
    results = list(verified(discover(checksums=True)))
    known = {name for found in results for name in _names(found)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise EnsembleError(
            f"{first_few(unknown)}: nothing of this name is installed; "
            f"see 'codenoise experts list' and 'codenoise spaces list'"
        )
    return [found for found in results if not names or set(names) & set(_names(found))]


def _words(manifest: ExpertManifest) -> str:
    said = (manifest.reference, manifest.training.cohort, manifest.license, manifest.citation)
    return "\n".join((*said, *manifest.authors, *manifest.sources)).casefold()


def _names(finding: Finding) -> tuple[str, str]:
    return finding.reference, finding.reference.partition("@")[0]
