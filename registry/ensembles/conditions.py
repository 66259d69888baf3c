"""Which conditions of use experts and their spaces carry, and what of them asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from codenoise.registry.contract.folders import spaces_of
from codenoise.registry.contract.licences import CONDITIONS, UNCLEARED, terms_of
from codenoise.registry.contract.manifest import ExpertManifest, Manifest, SpaceManifest
from codenoise.registry.contract.plugin import Plugin

Carried = dict[str, dict[str, list[str]]]
"""Condition to licence to what is under it: a modality, or a source's or an expert's own name."""


def carried(
    experts: Sequence[Plugin[ExpertManifest]], spaces: Iterable[Plugin[SpaceManifest]]
) -> Carried:
    """The conditions that come with experts and the spaces they live in, the weightiest first.

    What an expert has from one of its spaces is named by the space's modality; what it has of its
    own, by the part of the data that its manifest says, or by its name.

    Parameters
    ----------
    experts
        Of an ensemble, or any others.
    spaces
        What is installed; those that no expert lives in do not count.
    """
    there = {plugin.manifest.digest: plugin.manifest for plugin in spaces}
    found: dict[tuple[str, str], set[str]] = {}
    for expert in experts:
        homes = [there[ref.digest] for ref in spaces_of(expert.manifest) if ref.digest in there]
        inherited = [(key, what) for home in homes for key, what in _asked(home, home.modality)]
        known = {key for key, _ in inherited}
        own = _asked(expert.manifest, expert.manifest.name)
        for key, what in (*inherited, *(pair for pair in own if pair[0] not in known)):
            found.setdefault(key, set()).add(what)
    return {
        name: {licence: sorted(found[name, licence]) for licence in licences}
        for name in CONDITIONS
        if (licences := sorted(licence for condition, licence in found if condition == name))
    }


def _asked(manifest: Manifest, own_name: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Condition and licence, and what of an artifact is under it."""
    said: set[tuple[str, str]] = set()
    parts = [(one.license, one.covers or one.name) for one in manifest.source_licenses]
    for expression, what in (*parts, (manifest.license, "")):
        for name, licences in terms_of(expression).items():
            keys = {(name, licence) for licence in licences}
            # The licence of the whole repeats those of its sources.
            yield from ((key, what or own_name) for key in keys if what or key not in said)
            said |= keys


def in_words(conditions: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """Conditions as a sentence has them: ``non-commercial (CC-BY-NC-4.0: wsi), copyleft (...)``."""
    named = {
        name: "; ".join(f"{licence}: {', '.join(what)}" for licence, what in licences.items())
        for name, licences in conditions.items()
    }
    said = ", ".join(f"{name} ({licences})" for name, licences in named.items())
    return said or "none, or to name the authors"


def uncleared(expert: Plugin[ExpertManifest], spaces: Iterable[Plugin[SpaceManifest]]) -> str:
    """Why an expert may not be used commercially, for itself or a space of its; empty if it may.

    What is unknown is not cleared.
    """
    return _barring(carried([expert], spaces))


def uncleared_space(space: Plugin[SpaceManifest]) -> str:
    """The same of a space."""
    found: Carried = {}
    for (name, licence), what in _asked(space.manifest, space.manifest.modality):
        found.setdefault(name, {}).setdefault(licence, []).append(what)
    return _barring(found)


def _barring(conditions: Carried) -> str:
    barring = {name: conditions[name] for name in UNCLEARED if name in conditions}
    return in_words(barring) if barring else ""
