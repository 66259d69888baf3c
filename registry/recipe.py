"""Ensemble recipes: which experts, how weighed, how sampled; composed, written, read, loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from pydantic import Field, ValidationError

from codenoise.core.ensemble.settings import EngineSettings, SamplerName
from codenoise.core.errors import EnsembleError, first_few
from codenoise.core.files import atomic_file
from codenoise.registry.compatibility import findings, missing_space, usable, wrong_engine
from codenoise.registry.discovery import Inventory, Plugin
from codenoise.registry.manifest import (
    ExpertManifest,
    Name,
    PepRange,
    SpaceManifest,
    Strict,
    explain,
)
from codenoise.registry.toml_file import read_toml

if TYPE_CHECKING:
    from codenoise.core.ensemble.ensemble import Ensemble


class ExpertChoice(Strict):
    """One expert of a recipe."""

    name: Name
    version: PepRange = ""
    distribution: str | None = None


class Coherence(Strict):
    """When a trajectory is rejected, and how often it is redrawn."""

    threshold: Annotated[float, Field(ge=0, le=2)] = 1.0
    max_incoherent_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_retries: Annotated[int, Field(ge=0)] = 10


class Sampler(Strict):
    """How latents are drawn."""

    name: SamplerName = "dpm-solver++"
    steps: Annotated[int, Field(ge=1, le=1000)] = 50


class Recipe(Strict):
    """``ensemble.toml``."""

    schema_version: Literal["1.0"] = "1.0"
    targets: Annotated[list[str], Field(min_length=1)]
    weighting: Literal["inverse-mse", "softmax-inverse-mse", "uniform"] = "inverse-mse"
    coherence: Coherence = Coherence()
    sampler: Sampler = Sampler()
    experts: Annotated[list[ExpertChoice], Field(min_length=1)]

    @property
    def settings(self) -> EngineSettings:
        """The engine's view of the recipe."""
        return EngineSettings(
            weighting=self.weighting,
            sampler=self.sampler.name,
            steps=self.sampler.steps,
            **self.coherence.model_dump(),
        )


def compose(
    inventory: Inventory,
    targets: Sequence[str] | None = None,
    *,
    modalities: Sequence[str] = (),
    experts: Sequence[str] = (),
    weighting: str = "inverse-mse",
    coherence: Coherence | None = None,
    sampler: Sampler | None = None,
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
        Restrict the choice to these, each ``name`` or ``name`` with a range (``rna-to-rppa>=1``).
    weighting, coherence, sampler
        Settings written to the recipe.

    Raises
    ------
    EnsembleError
        If a target has no usable expert, a named expert is not installed, or the newest experts
        of a target live in different spaces.
    """
    candidates = usable(inventory)
    if experts:
        asked = [_choice(text) for text in experts]
        candidates = tuple({id(p): p for p in (_resolve(inventory, a) for a in asked)}.values())
    if modalities:
        known = {modality for p in candidates for modality in _ends(p)}
        unknown = [modality for modality in modalities if modality not in known]
        if unknown:
            raise EnsembleError(
                f"no usable expert has the modality {unknown[0]!r}; "
                f"usable experts have {', '.join(sorted(known)) or 'none'}"
            )
        candidates = tuple(p for p in candidates if _ends(p) <= set(modalities))
    available = sorted({plugin.manifest.target.modality for plugin in candidates})
    wanted = list(dict.fromkeys(targets)) if targets else available
    chosen: list[Plugin[ExpertManifest]] = []
    for target in wanted:
        members = _newest_per_pair(p for p in candidates if p.manifest.target.modality == target)
        if not members:
            raise EnsembleError(
                f"no expert generates {target!r} from the modalities {', '.join(modalities)}; "
                f"name more of them with --modality"
                if modalities
                else _no_expert(inventory, target, available)
            )
        chosen += members
    if not chosen:
        raise EnsembleError("no usable expert is installed; pip install one, then compose again")
    _check_one_space_each(chosen)
    return Recipe(
        targets=wanted,
        weighting=weighting,
        coherence=coherence or Coherence(),
        sampler=sampler or Sampler(),
        experts=[
            ExpertChoice(
                name=p.manifest.name,
                version=f"=={p.manifest.version}",
                distribution=p.distribution if _twins(p, inventory.experts) else None,
            )
            for p in chosen
        ],
    )


def _ends(plugin: Plugin[ExpertManifest]) -> set[str]:
    refs = (*plugin.manifest.condition, plugin.manifest.target)
    return {ref.modality for ref in refs}


def _choice(text: str) -> ExpertChoice:
    distribution, _, rest = text.rpartition(":")
    start = next((i for i, letter in enumerate(rest) if letter in "<>=!~"), len(rest))
    try:
        return ExpertChoice(
            name=rest[:start].strip(), version=rest[start:], distribution=distribution or None
        )
    except ValidationError as problem:
        raise EnsembleError(
            f"expert {text!r}: {explain(problem, ExpertChoice)}; write e.g. 'rna-to-rppa>=0.1,<1'"
        ) from None


def _newest_per_pair(plugins: Iterable[Plugin[ExpertManifest]]) -> list[Plugin[ExpertManifest]]:
    pairs: dict[str, list[Plugin[ExpertManifest]]] = {}
    for plugin in plugins:
        pairs.setdefault(plugin.manifest.condition[0].modality, []).append(plugin)
    return [_newest(pairs[condition]) for condition in sorted(pairs)]


def _newest(plugins: Sequence[Plugin[ExpertManifest]]) -> Plugin[ExpertManifest]:
    """The newest version; refused where two distributions give it different content."""
    newest = max(plugins, key=lambda plugin: Version(plugin.manifest.version))
    for twin in _twins(newest, plugins):
        raise EnsembleError(
            f"{newest.reference} is installed twice with different content, by "
            f"{newest.distribution} and {twin.distribution}; say which with "
            f"--expert {newest.distribution}:{newest.manifest.name}"
        )
    return newest


def _twins(
    plugin: Plugin[ExpertManifest], plugins: Iterable[Plugin[ExpertManifest]]
) -> list[Plugin[ExpertManifest]]:
    """Plugins of the same name and version with other content."""
    return [
        other
        for other in plugins
        if other.reference == plugin.reference and other.manifest != plugin.manifest
    ]


def _no_expert(inventory: Inventory, target: str, available: Sequence[str]) -> str:
    for finding in findings(inventory):
        if finding.target == target and not finding.ok:
            return (
                f"no usable expert generates {target!r}: {finding.reference} {finding.reason}; "
                f"{finding.remedy}"
            )
    return (
        f"no installed expert generates {target!r}; installed experts generate "
        f"{', '.join(available) or 'nothing'}; pip install one, then see 'codenoise experts list'"
    )


def _check_one_space_each(experts: Sequence[Plugin[ExpertManifest]]) -> None:
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


def _resolve(inventory: Inventory, choice: ExpertChoice) -> Plugin[ExpertManifest]:
    """The newest installed expert that a choice admits."""
    named = [p for p in inventory.experts if p.manifest.name == choice.name]
    if choice.distribution:
        wanted = canonicalize_name(choice.distribution)
        named = [p for p in named if canonicalize_name(p.distribution) == wanted]
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
            f"pip install 'codenoise-expert-{choice.name}{choice.version}'"
        )
    newest = _newest(admitted)
    reason, remedy = wrong_engine(newest.manifest)
    if reason:
        raise EnsembleError(f"{newest.reference} {reason}; {remedy}")
    return newest


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe as TOML, whole or not at all."""
    import tomli_w

    with atomic_file(path) as temporary:
        temporary.write_text(tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True)))


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises
    ------
    EnsembleError
        If the file is missing, is no TOML, or a field is missing, unknown or wrong.
    """
    return read_toml(path, Recipe, EnsembleError, "make it with 'codenoise compose'")


def resolve(
    recipe: Recipe, inventory: Inventory
) -> tuple[list[Plugin[ExpertManifest]], dict[str, Plugin[SpaceManifest]]]:
    """The installed experts of a recipe, and the space of each modality they need.

    Raises
    ------
    EnsembleError
        If an expert or a space is not installed, two experts disagree on a space, or experts and
        targets do not match.
    """
    experts = [_resolve(inventory, choice) for choice in recipe.experts]
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
    _check_one_space_each(experts)
    by_digest = {plugin.manifest.digest: plugin for plugin in inventory.spaces}
    spaces: dict[str, Plugin[SpaceManifest]] = {}
    for expert in experts:
        reason, remedy = missing_space(expert.manifest, set(by_digest))
        if reason:
            raise EnsembleError(f"{expert.reference} {reason}; {remedy}")
        for ref in (*expert.manifest.condition, expert.manifest.target):
            spaces[ref.modality] = by_digest[ref.digest]
    return experts, spaces


def load_ensemble(recipe: Recipe, inventory: Inventory) -> Ensemble:
    """Load the spaces and networks of a recipe.

    Raises
    ------
    EnsembleError, ArtifactError
        If something is not installed, does not fit, or is corrupted.
    """
    from codenoise.core.ensemble.ensemble import Ensemble
    from codenoise.registry.loading import load_expert, load_space

    experts, spaces = resolve(recipe, inventory)
    return Ensemble(
        spaces={modality: load_space(plugin) for modality, plugin in spaces.items()},
        experts=tuple(load_expert(plugin) for plugin in experts),
        settings=recipe.settings,
    )


def provenance(recipe: Recipe, inventory: Inventory) -> Mapping[str, object]:
    """What a result was made with: the recipe, and digests of every artifact in play."""
    experts, spaces = resolve(recipe, inventory)
    return {
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "experts": {
            plugin.reference: {
                "distribution": f"{plugin.distribution}=={plugin.distribution_version}",
                "files": plugin.manifest.model_dump(mode="json")["files"],
                "license": plugin.manifest.license,
                "validation_mse": plugin.manifest.validation.mse,
            }
            for plugin in experts
        },
        "spaces": {plugin.reference: plugin.manifest.digest for plugin in spaces.values()},
    }
