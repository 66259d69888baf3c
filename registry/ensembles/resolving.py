"""From a recipe to what is installed: the experts and spaces it means, loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from codenoise.core.base.errors import CodenoiseError, EnsembleError, first_few
from codenoise.registry.contract.compatibility import missing_space, wrong_engine
from codenoise.registry.contract.lock import Lock
from codenoise.registry.contract.manifest import (
    ExpertManifest,
    SpaceManifest,
)
from codenoise.registry.contract.sources import command_for
from codenoise.registry.ensembles.recipe import ExpertChoice, Recipe
from codenoise.registry.ensembles.recipe_calibration import restored
from codenoise.registry.installed.code_plugins import Kind, need
from codenoise.registry.installed.discovery import Inventory, Plugin

if TYPE_CHECKING:
    from codenoise.core.ensemble.ensemble import LoadedEnsemble


def resolve(
    recipe: Recipe, inventory: Inventory
) -> tuple[list[Plugin[ExpertManifest]], dict[str, Plugin[SpaceManifest]]]:
    """The installed experts of a recipe, and the space of each modality they need.

    Raises
    ------
    EnsembleError
        If an expert or a space is not installed or not the one that the lock pins, two experts
        disagree on a space, or experts and targets do not match.
    """
    experts = [resolve_choice(inventory, choice, recipe._lock) for choice in recipe.experts]
    names = [choice.name for choice in recipe.experts]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise EnsembleError(
            f"the recipe names expert {twice[0]!r} twice, which would count it double; keep one"
        )
    made = [expert.manifest.target.modality for expert in experts]
    for expert, target in zip(experts, made, strict=True):
        if target not in recipe.targets:
            raise EnsembleError(
                f"{expert.reference} generates {target!r}, which the recipe's targets do not name; "
                f"add it to targets, or take the expert out"
            )
    lacking = [target for target in recipe.targets if target not in made]
    if lacking:
        raise EnsembleError(
            f"no expert of the recipe generates its target {lacking[0]!r}; "
            f"add an expert, or take the target out"
        )
    check_one_space_each(experts)
    by_digest = {plugin.manifest.digest: plugin for plugin in inventory.spaces}
    spaces: dict[str, Plugin[SpaceManifest]] = {}
    for expert in experts:
        reason, remedy = missing_space(expert.manifest, inventory.spaces)
        if reason:
            raise EnsembleError(f"{expert.reference} {reason}; {remedy}")
        for ref in (*expert.manifest.condition, expert.manifest.target):
            spaces[ref.modality] = by_digest[ref.digest]
    if recipe._lock is not None:
        for modality, space in spaces.items():
            same = [p for p in inventory.spaces if p.manifest.digest == space.manifest.digest]
            spaces[modality] = recipe._lock.admitted("space", space.manifest.name, same)[0]
    return experts, spaces


def load_ensemble(recipe: Recipe, inventory: Inventory) -> LoadedEnsemble:
    """Load the spaces and networks of a recipe.

    Raises
    ------
    EnsembleError, ArtifactError
        If something is not installed, unknown, does not fit, or is corrupted.
    """
    from codenoise.core.ensemble.ensemble import LoadedEnsemble
    from codenoise.registry.installed.loading import load_expert, load_space

    named: tuple[tuple[str, Kind, str], ...] = (
        ("weighting", "weightings", recipe.weighting),
        ("sampler.name", "samplers", recipe.sampler.name),
    )
    for field, kind, name in named:
        try:
            need(kind, name)
        except CodenoiseError as problem:
            raise EnsembleError(f"the recipe: field {field!r}: {problem}") from None
    experts, spaces = resolve(recipe, inventory)
    return LoadedEnsemble(
        spaces={modality: load_space(plugin) for modality, plugin in spaces.items()},
        experts=tuple(load_expert(plugin) for plugin in experts),
        settings=recipe.settings,
        calibration=restored(recipe.calibration) if recipe.calibration else None,
        made_with=_made_with(recipe, experts, spaces.values()),
    )


def _made_with(
    recipe: Recipe,
    experts: Iterable[Plugin[ExpertManifest]],
    spaces: Iterable[Plugin[SpaceManifest]],
) -> dict[str, object]:
    """What results are made with: the recipe, and digests of every artifact in play."""
    return {
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "experts": {
            plugin.reference: {
                "source": plugin.source.model_dump(),
                "files": plugin.manifest.model_dump(mode="json", include={"files"})["files"],
                "license": plugin.manifest.license,
                "validation_mse": plugin.manifest.validation.mse,
            }
            for plugin in experts
        },
        "spaces": {plugin.reference: plugin.manifest.digest for plugin in spaces},
    }


def resolve_choice(
    inventory: Inventory, choice: ExpertChoice, lock: Lock | None = None
) -> Plugin[ExpertManifest]:
    """The newest installed expert that a choice, and the lock if there is one, admits."""
    named = [p for p in inventory.experts if p.manifest.name == choice.name]
    if choice.source:
        named = [p for p in named if p.comes_from(choice.source)]
    if lock is not None:
        named = lock.admitted("expert", choice.name, named)
    admitted = [
        p
        for p in named
        if SpecifierSet(choice.version).contains(p.manifest.version, prereleases=True)
    ]
    if not admitted:
        there = [p.reference for p in named]
        broken = [b.reason for b in inventory.broken if b.entry == choice.name]
        have = f"installed: {first_few(there)}" if there else "not installed"
        raise EnsembleError(
            f"expert {choice.name}{choice.version}: {broken[0] if broken else have}; "
            f"{command_for(choice.source, f'codenoise-expert-{choice.name}{choice.version}')}"
        )
    chosen = newest(admitted)
    reason, remedy = wrong_engine(chosen.manifest)
    if reason:
        raise EnsembleError(f"{chosen.reference} {reason}; {remedy}")
    return chosen


def newest(plugins: Sequence[Plugin[ExpertManifest]]) -> Plugin[ExpertManifest]:
    """The newest version; refused where two sources give it different content."""
    newest = max(plugins, key=lambda plugin: Version(plugin.manifest.version))
    for twin in twins(newest, plugins):
        raise EnsembleError(
            f"{newest.reference} is installed twice with different content, by "
            f"{newest.source.label} and {twin.source.label}; say which with "
            f"--expert {newest.source.label}:{newest.manifest.name}"
        )
    return newest


def twins(
    plugin: Plugin[ExpertManifest], plugins: Iterable[Plugin[ExpertManifest]]
) -> list[Plugin[ExpertManifest]]:
    """Plugins of the same name and version with other content."""
    return [
        other
        for other in plugins
        if other.reference == plugin.reference and other.manifest != plugin.manifest
    ]


def check_one_space_each(experts: Sequence[Plugin[ExpertManifest]]) -> None:
    """Experts of an ensemble must agree on one space per modality."""
    spaces: dict[str, tuple[str, str]] = {}
    for plugin in experts:
        for ref in (*plugin.manifest.condition, plugin.manifest.target):
            digest, holder = spaces.setdefault(ref.modality, (ref.digest, plugin.reference))
            if digest != ref.digest:
                raise EnsembleError(
                    f"{holder} and {plugin.reference} use different {ref.modality} spaces "
                    f"({digest[:19]} and {ref.digest[:19]}); choose experts of one space with "
                    f"--expert, or install versions that share it"
                )
