"""Why compose took the experts it took, and left the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from codenoise.core.base.errors import first_few
from codenoise.registry.contract.compatibility import judge_expert
from codenoise.registry.contract.folders import spaces_of
from codenoise.registry.contract.manifest import ExpertManifest
from codenoise.registry.contract.plugin import Inventory, Plugin
from codenoise.registry.ensembles.conditions import uncleared


@dataclass(frozen=True)
class Explained:
    """The verdict on one expert, or on a pair of modalities that has none.

    Attributes
    ----------
    pair
        ``condition -> target``.
    expert, source
        Which expert, and where it came from; empty for a pair without one.
    chosen
        Whether it is in the recipe.
    reason, remedy
        Why, and what would change it; the remedy is empty where nothing has to change.
    """

    pair: str
    expert: str
    source: str
    chosen: bool
    reason: str
    remedy: str = ""


def explain_choice(
    inventory: Inventory,
    chosen: Sequence[Plugin[ExpertManifest]],
    *,
    targets: Sequence[str] = (),
    modalities: Sequence[str] = (),
    experts: Sequence[str] = (),
    commercial: bool = False,
) -> Iterator[Explained]:
    """Explain a choice by pairs: the experts taken, those left, and pairs that have none.

    Parameters
    ----------
    inventory
        What is installed.
    chosen
        What was taken of it.
    targets, modalities, experts, commercial
        What was asked for; see `codenoise.registry.ensembles.composing.compose`.
    """
    taken = {id(plugin) for plugin in chosen}
    by_pair: dict[str, list[Plugin[ExpertManifest]]] = {}
    for plugin in inventory.experts:
        by_pair.setdefault(_pair(plugin), []).append(plugin)
    wanted = set(targets) or {plugin.manifest.target.modality for plugin in chosen}
    within = set(modalities)
    if not within:
        within = {m for plugin in chosen for m in _modalities(plugin)}
    bare = {f"{one} -> {two}" for one in within for two in wanted if one != two} - set(by_pair)
    for pair in sorted({*by_pair, *bare}):
        if pair in bare:
            condition, _, target = pair.partition(" -> ")
            look = f"codenoise experts search --hub --condition {condition} --target {target}"
            yield Explained(pair, "", "", False, "no expert of this pair is installed", look)
        for plugin in by_pair.get(pair, ()):
            if id(plugin) in taken:
                reason, remedy = _why_taken(plugin, by_pair[pair], experts), ""
            else:
                barred = uncleared(plugin, inventory.spaces) if commercial else ""
                reason, remedy = _why_left(
                    plugin, inventory, chosen, wanted, modalities, experts, barred
                )
            label = plugin.source.label
            yield Explained(pair, plugin.reference, label, id(plugin) in taken, reason, remedy)
    for broken in inventory.broken:
        yield Explained("?", broken.entry, broken.where, False, broken.reason, broken.remedy)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that comes closest, if one does."""
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def why_none(
    inventory: Inventory,
    target: str,
    available: Sequence[str],
    modalities: Sequence[str],
    experts: Sequence[str],
) -> str:
    """Say in one line why nothing generates a target, and the nearest mend.

    Parameters
    ----------
    inventory
        What is installed.
    target
        The modality that has no expert.
    available
        Modalities that usable experts generate.
    modalities, experts
        What the choice was restricted to.
    """
    ending = [p for p in inventory.experts if p.manifest.target.modality == target]
    if experts and ending:
        return (
            f"none of the named experts generates {target!r}; installed ones that do: "
            f"{first_few(p.manifest.name for p in ending)}; name one with --expert"
        )
    between = [p for p in ending if not modalities or set(_modalities(p)) <= set(modalities)]
    for finding in (judge_expert(plugin, inventory) for plugin in between):
        if not finding.ok:
            return (
                f"no usable expert generates {target!r}: {finding.reference} {finding.reason}; "
                f"{finding.remedy}"
            )
    if ending:
        ways = {p.manifest.conditions for p in ending}
        others = ", ".join(sorted(ways, key=lambda way: (way.count("+"), way)))
        return (
            f"no expert generates {target!r} from the modalities {', '.join(modalities)}; "
            f"installed experts generate it from {others}; name {target} and one of these "
            f"(all that a '+' joins) with --modality"
        )
    return (
        f"no installed expert generates {target!r}{nearest(target, available)}; installed "
        f"experts generate {', '.join(available) or 'nothing'}; pip install one, then see "
        f"'codenoise experts list'"
    )


def _why_taken(
    plugin: Plugin[ExpertManifest],
    rivals: Sequence[Plugin[ExpertManifest]],
    experts: Sequence[str],
) -> str:
    mse = f"validation MSE {plugin.manifest.validation.mse:.3f}"
    if experts:
        return f"named with --expert; {mse}"
    if len(rivals) == 1:
        return f"the only expert of this pair; {mse}"
    return f"the newest usable of {len(rivals)} experts of this pair; {mse}"


def _why_left(
    plugin: Plugin[ExpertManifest],
    inventory: Inventory,
    chosen: Sequence[Plugin[ExpertManifest]],
    wanted: Collection[str],
    modalities: Sequence[str],
    experts: Sequence[str],
    barred: str,
) -> tuple[str, str]:
    """Why a plugin was left, the first obstacle first, and what would change it."""
    manifest = plugin.manifest
    finding = judge_expert(plugin, inventory)
    if not finding.ok:
        return finding.reason, finding.remedy
    if barred:
        return f"not cleared for commercial use: {barred}", "compose without --commercial"
    if manifest.target.modality not in wanted:
        target = manifest.target.modality
        return f"{target} is not among the targets", f"--target {target}"
    outside = [m for m in _modalities(plugin) if modalities and m not in modalities]
    if outside:
        return f"{outside[0]} is not among the modalities", f"--modality {outside[0]}"
    rivals = [p for p in chosen if _pair(p) == _pair(plugin)]
    pinned = f"--expert '{plugin.source.label}:{manifest.name}=={manifest.version}'"
    if rivals:
        return f"{rivals[0].reference} was taken for this pair", pinned
    return "not named with --expert" if experts else "usable; nothing was composed", pinned


def _pair(plugin: Plugin[ExpertManifest]) -> str:
    return f"{plugin.manifest.conditions} -> {plugin.manifest.target.modality}"


def _modalities(plugin: Plugin[ExpertManifest]) -> list[str]:
    return [ref.modality for ref in spaces_of(plugin.manifest)]
