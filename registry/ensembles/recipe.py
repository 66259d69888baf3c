"""Ensemble recipes: the TOML file that says which experts, how weighed, how sampled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, model_validator

from codenoise.core.base.errors import EnsembleError
from codenoise.core.base.files import atomic_file
from codenoise.core.diffusion.samplers import DEFAULT_SAMPLER
from codenoise.core.ensemble.settings import (
    DEFAULT_STEPS,
    DEFAULT_WEIGHTING,
    Composition,
    EngineSettings,
    Precision,
)
from codenoise.registry.contract.lock import Lock, lock_beside, read_lock
from codenoise.registry.contract.manifest import (
    Name,
    PepRange,
    Strict,
)
from codenoise.registry.contract.toml_file import read_toml
from codenoise.registry.ensembles.recipe_calibration import LearnedCalibration


class ExpertChoice(Strict):
    """One expert of a recipe."""

    name: Name
    version: PepRange = ""
    source: str | None = None


class Coherence(Strict):
    """When a trajectory is rejected, and how often it is redrawn.

    Attributes
    ----------
    threshold
        Cosine distance over which a step is incoherent.
    max_incoherent_fraction
        Share of incoherent steps over which a draw is rejected.
    max_retries
        Redraws of a rejected draw.
    """

    threshold: Annotated[float, Field(ge=0, le=2)] = 1.0
    max_incoherent_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_retries: Annotated[int, Field(ge=0)] = 10


class Sampler(Strict):
    """How latents are drawn.

    Attributes
    ----------
    name
        Of a sampler that is built in or that a plugin adds.
    steps
        From noise to data.
    mirrored
        Whether draws come in pairs from opposite noise, so that few have a steady mean.
    precision
        Of matrix products; ``None`` is ``float32``.
    """

    name: str = DEFAULT_SAMPLER
    steps: Annotated[int, Field(ge=1, le=1000)] = DEFAULT_STEPS
    mirrored: bool = True
    precision: Precision | None = None  # float32


class Recipe(Strict):
    """``ensemble.toml``."""

    schema_version: Literal["1.0"] = "1.0"
    targets: Annotated[list[str], Field(min_length=1)]
    weighting: str = DEFAULT_WEIGHTING
    weights: dict[Name, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    composition: Composition = "mean"
    coherence: Coherence = Coherence()
    sampler: Sampler = Sampler()
    experts: Annotated[list[ExpertChoice], Field(min_length=1)]
    calibration: LearnedCalibration | None = None
    _lock: Lock | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _weighed(self) -> Recipe:
        if (self.weighting == "fixed") != bool(self.weights):
            raise ValueError("weighting 'fixed' goes with a table [weights] of expert = number")
        if self.weighting == "stacked" and self.calibration is None:
            raise ValueError(
                "weighting 'stacked' goes with a [calibration], which 'codenoise calibrate' writes"
            )
        return self

    @property
    def settings(self) -> EngineSettings:
        """The engine's view of the recipe."""
        return EngineSettings(
            weighting=self.weighting,
            fixed=self.weights,
            composition=self.composition,
            sampler=self.sampler.name,
            steps=self.sampler.steps,
            mirrored=self.sampler.mirrored,
            precision=self.sampler.precision or "float32",
            **self.coherence.model_dump(),
        )


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe as TOML, whole or not at all."""
    import tomli_w

    with atomic_file(path) as temporary:
        temporary.write_text(tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True)))


def recipe_of(made_with: Mapping[str, object]) -> Recipe:
    """The recipe that an ensemble was loaded from, of what it says it was made with.

    Raises
    ------
    EnsembleError
        If it was made by hand.
    """
    if "recipe" not in made_with:
        raise EnsembleError(
            "this ensemble was put together by hand and has no recipe; load it with "
            "codenoise.Ensemble"
        )
    return Recipe.model_validate(made_with["recipe"])


def read_recipe(path: Path, *, locked: bool = True) -> Recipe:
    """Read a recipe, and the lock beside it if there is one.

    Parameters
    ----------
    path
        ``ensemble.toml``; its lock is ``ensemble.lock``.
    locked
        Whether to hold to the lock: only what it pins is then admitted.

    Raises
    ------
    EnsembleError
        If a file is missing, is no TOML, or a field is missing, unknown or wrong.
    """
    recipe = read_toml(path, Recipe, EnsembleError, "make it with 'codenoise compose'")
    beside = lock_beside(path)
    if locked and beside.exists():
        recipe._lock = read_lock(beside)
    return recipe
