"""The ensemble as a Python user gets it: from a recipe, or composed of what is installed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Self

from codenoise.core.base.errors import EnsembleError
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.settings import DEFAULT_WEIGHTING, Composition
from codenoise.registry.ensembles.composing import compose
from codenoise.registry.ensembles.recipe import (
    Coherence,
    Recipe,
    Sampler,
    read_recipe,
    recipe_of,
    write_recipe,
)
from codenoise.registry.ensembles.resolving import load_ensemble
from codenoise.registry.installed.discovery import Inventory, discover


class Ensemble(LoadedEnsemble):
    """Experts and spaces that fit together, found among what is installed.

    What it can do and holds is described at `codenoise.core.ensemble.ensemble.LoadedEnsemble`.
    """

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """Load the ensemble of a recipe.

        Parameters
        ----------
        path
            ``ensemble.toml``, as ``codenoise compose`` writes it. Where a lock stands beside it,
            only what the lock pins is taken.

        Raises
        ------
        EnsembleError, ArtifactError
            If the recipe cannot be read, or what it names is not installed, does not fit together
            or is corrupted.

        Examples
        --------
        >>> Ensemble.from_file("ensemble.toml").targets  # doctest: +SKIP
        """
        return cls._loaded(read_recipe(Path(path)), discover())

    @classmethod
    def compose(
        cls,
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
    ) -> Self:
        """Load the newest usable expert of every ordered pair that ends in a target.

        Installed experts that are broken are left out with a warning each. Parameters and errors
        are those of `codenoise.registry.ensembles.composing.compose`.

        Examples
        --------
        >>> ensemble = Ensemble.compose(["rppa"], modalities=["rna", "rppa"])  # doctest: +SKIP
        """
        inventory = discover()
        for plugin in inventory.broken:
            warnings.warn(
                f"skipped: {plugin.entry} of {plugin.where}: {plugin.reason}", stacklevel=2
            )
        recipe = compose(
            inventory,
            targets,
            modalities=modalities,
            experts=experts,
            weighting=weighting,
            weights=weights,
            composition=composition,
            coherence=coherence,
            sampler=sampler,
            commercial=commercial,
        )
        return cls._loaded(recipe, inventory)

    def write(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write its recipe, from which `from_file` loads it again.

        Parameters
        ----------
        path
            ``ensemble.toml``, or another name.
        overwrite
            Whether a file that is there is replaced.

        Raises
        ------
        EnsembleError
            If the file is there, or the ensemble has no recipe.

        Examples
        --------
        >>> Ensemble.compose(["rppa"]).write("ensemble.toml")  # doctest: +SKIP
        """
        if Path(path).exists() and not overwrite:
            raise EnsembleError(f"{path} is already there; give another path, or overwrite=True")
        write_recipe(recipe_of(self.made_with), Path(path))

    @classmethod
    def _loaded(cls, recipe: Recipe, inventory: Inventory) -> Self:
        loaded = load_ensemble(recipe, inventory)
        return cls(**{part.name: getattr(loaded, part.name) for part in fields(loaded)})
