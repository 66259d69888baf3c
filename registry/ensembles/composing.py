"""Choosing the newest usable expert of every ordered pair that ends in a target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from codenoise.core.base.errors import EnsembleError
from codenoise.core.ensemble.settings import (
    DEFAULT_WEIGHTING,
    Composition,
)
from codenoise.registry.contract.compatibility import usable
from codenoise.registry.contract.folders import spaces_of
from codenoise.registry.contract.manifest import (
    ExpertManifest,
)
from codenoise.registry.contract.manifest_file import explain
from codenoise.registry.contract.plugin import AnyPlugin, Inventory, Plugin
from codenoise.registry.ensembles.conditions import uncleared, uncleared_space
from codenoise.registry.ensembles.explanation import nearest, why_none
from codenoise.registry.ensembles.recipe import Coherence, ExpertChoice, Recipe, Sampler
from codenoise.registry.ensembles.resolving import (
    check_one_space_each,
    newest,
    resolve_choice,
    twins,
)


def compose(
    inventory: Inventory,
    targets: Sequence[str] | None = None,
    *,
    modalities: Sequence[str] = (),
    experts: Sequence[str] = (),
    weighting: str = DEFAULT_WEIGHTING,
    weights: Mapping[str, float] | None = None,
    composition: Composition = "mean",
    coherence: Coherence | None = None,
    sampler: Sampler | None = None,
    commercial: bool = False,
) -> Recipe:
    """Choose the newest usable expert of every ordered pair that ends in a target.

    Parameters
    ----------
    inventory
        What is installed.
    targets
        Modalities to generate; by default every one that an installed expert generates.
    modalities
        Restrict the choice to experts between these modalities.
    experts
        Restrict the choice to these, each ``name`` or ``name`` with a range (``rna-to-rppa>=1``),
        where needed with its source before a colon (a package, a folder, ``org/name`` on the Hub).
    weighting, weights, composition, coherence, sampler
        Settings written to the recipe.
    commercial
        Whether to leave out what is not cleared for commercial use, see `left_out`.

    Raises
    ------
    EnsembleError
        If a target has no usable expert, a named expert is not installed, or the newest experts
        of a target live in different spaces.
    """
    candidates = _candidates(inventory, modalities, experts)
    barred: dict[str, str] = {}
    if commercial:
        whys = [(p, uncleared(p, inventory.spaces)) for p in candidates]
        barred = {p.manifest.target.modality: f"{p.reference} is {why}" for p, why in whys if why}
        candidates = tuple(p for p, why in whys if not why)
    available = sorted({plugin.manifest.target.modality for plugin in candidates})
    wanted = list(dict.fromkeys(targets)) if targets else available
    chosen: list[Plugin[ExpertManifest]] = []
    for target in wanted:
        members = _newest_per_pair(p for p in candidates if p.manifest.target.modality == target)
        if not members and target in barred:
            raise EnsembleError(
                f"no expert that generates {target!r} is cleared for commercial use: "
                f"{barred[target]}; ask its author, or compose for other use"
            )
        if not members:
            raise EnsembleError(why_none(inventory, target, available, modalities, experts))
        chosen += members
    if not chosen and barred:
        raise EnsembleError(
            f"no expert is cleared for commercial use: {next(iter(barred.values()))}; ask its "
            f"author, or compose for other use"
        )
    if not chosen:
        raise EnsembleError("no usable expert is installed; pip install one, then compose again")
    check_one_space_each(chosen)
    return _recipe(
        targets=wanted,
        weighting=weighting,
        weights=dict(weights or {}),
        composition=composition,
        coherence=coherence or Coherence(),
        sampler=sampler or Sampler(),
        experts=[
            ExpertChoice(
                name=p.manifest.name,
                version=f"=={p.manifest.version}",
                source=p.source.label if twins(p, inventory.experts) else None,
            )
            for p in chosen
        ],
    )


def left_out(
    inventory: Inventory,
    targets: Sequence[str] = (),
    *,
    modalities: Sequence[str] = (),
    experts: Sequence[str] = (),
) -> Iterator[tuple[AnyPlugin, str]]:
    """What is not cleared for commercial use among all that could be composed, and why.

    These are the spaces under licences that forbid it, or that nobody knows, then the experts that
    are under one themselves or live in such a space. Parameters are those of `compose`.
    """
    found = [p for p in _candidates(inventory, modalities, experts)
             if not targets or p.manifest.target.modality in targets]  # fmt: skip
    for space in inventory.spaces:
        why = uncleared_space(space)
        if why and any(space.manifest.ref in spaces_of(p.manifest) for p in found):
            yield space, why
    for expert in found:
        if why := uncleared(expert, inventory.spaces):
            yield expert, why


def _candidates(
    inventory: Inventory, modalities: Sequence[str], experts: Sequence[str]
) -> tuple[Plugin[ExpertManifest], ...]:
    """The usable experts that a choice is restricted to."""
    candidates = usable(inventory)
    if experts:
        asked = [resolve_choice(inventory, _choice(text)) for text in experts]
        candidates = tuple({id(plugin): plugin for plugin in asked}.values())
    if modalities:
        known = {modality for p in candidates for modality in _ends(p)}
        unknown = [modality for modality in modalities if modality not in known]
        if unknown:
            raise EnsembleError(
                f"no usable expert has the modality {unknown[0]!r}{nearest(unknown[0], known)}; "
                f"usable experts have {', '.join(sorted(known)) or 'none'}"
            )
        candidates = tuple(p for p in candidates if _ends(p) <= set(modalities))
    return candidates


def _recipe(**fields: Any) -> Recipe:
    try:
        return Recipe(**fields)
    except ValidationError as problem:
        raise EnsembleError(f"the recipe: {explain(problem, Recipe)}") from None


def _ends(plugin: Plugin[ExpertManifest]) -> set[str]:
    refs = (*plugin.manifest.condition, plugin.manifest.target)
    return {ref.modality for ref in refs}


def _choice(text: str) -> ExpertChoice:
    source, _, rest = text.rpartition(":")
    start = next((i for i, letter in enumerate(rest) if letter in "<>=!~"), len(rest))
    try:
        return ExpertChoice(name=rest[:start].strip(), version=rest[start:], source=source or None)
    except ValidationError as problem:
        raise EnsembleError(
            f"expert {text!r}: {explain(problem, ExpertChoice)}; write e.g. 'rna-to-rppa>=0.1,<1'"
        ) from None


def _newest_per_pair(plugins: Iterable[Plugin[ExpertManifest]]) -> list[Plugin[ExpertManifest]]:
    pairs: dict[str, list[Plugin[ExpertManifest]]] = {}
    for plugin in plugins:
        pairs.setdefault(plugin.manifest.conditions, []).append(plugin)
    return [newest(pairs[condition]) for condition in sorted(pairs)]
