"""Calibration of an ensemble on a cohort, kept in its recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

from codenoise.core.cohort.given import Given, MuDataLike
from codenoise.core.ensemble.ensemble import LoadedEnsemble, Progress
from codenoise.core.ensemble.learning import Evidence
from codenoise.core.ensemble.learning import calibrate as learn
from codenoise.core.ensemble.settings import DEFAULT_WEIGHTING, Composition
from codenoise.registry.ensembles.recipe import recipe_of
from codenoise.registry.ensembles.recipe_calibration import stored

AnyEnsemble = TypeVar("AnyEnsemble", bound=LoadedEnsemble)


def calibrate(
    ensemble: AnyEnsemble,
    cohort: Given | MuDataLike,
    *,
    composition: Composition = "product",
    draws: int = 39,
    seed: int = 0,
    called: str = "",
    progress: Progress | None = None,
) -> tuple[AnyEnsemble, list[Evidence]]:
    """Learn weights and spread of an ensemble from patients whose targets are known.

    For each target and each set of conditions with at least 20 such patients, what every expert
    counts at each noise level is learned by least squares; then, per latent dimension, how far
    draws have to spread for 90% intervals to hold 90% of the true values. See
    `codenoise.core.ensemble.learning.calibrate`. What was learned before has no part in it.

    Parameters
    ----------
    ensemble
        What to calibrate; it stays as it is.
    cohort
        Patients that no expert was trained on, with a table of every modality of the ensemble; in
        any form that `Ensemble.read` takes.
    composition
        Whether experts are averaged (``"mean"``) or multiplied (``"product"``).
    draws
        Draws per patient behind the spread, at least 19.
    seed
        Of noise and draws.
    called
        Name of the cohort in the recipe; by default that of the folder or file.
    progress
        Called with a label, work done and in all.

    Returns
    -------
    tuple
        The calibrated ensemble, and evidence for each target.

    Raises
    ------
    DataError
        If a table cannot be used, or a target has too few patients.

    Examples
    --------
    >>> learned, evidence = calibrate(ensemble, "calibration_cohort")  # doctest: +SKIP
    >>> learned.write("calibrated.toml")  # doctest: +SKIP
    """
    given = ensemble.read(cohort, list(ensemble.spaces))
    if ensemble.calibration is not None:
        settings = replace(ensemble.settings, weighting=DEFAULT_WEIGHTING, composition="mean")
        ensemble = replace(ensemble, calibration=None, settings=settings)
    learned, evidence = learn(
        ensemble,
        ensemble.encode(given),
        composition=composition,
        draws=draws,
        seed=seed,
        progress=progress,
    )
    name = called or (Path(cohort).name if isinstance(cohort, str | Path) else "cohort")
    kept = _with_recipe(learned, evidence, name, given.digest())
    return cast(AnyEnsemble, kept), evidence


def _with_recipe(
    learned: LoadedEnsemble, evidence: Sequence[Evidence], cohort: str, digest: str
) -> LoadedEnsemble:
    """The ensemble with what was learned in its recipe."""
    assert learned.calibration is not None
    changed = recipe_of(learned.made_with).model_copy(
        update={
            "weighting": learned.settings.weighting,
            "weights": {},
            "composition": learned.settings.composition,
            "calibration": stored(learned.calibration, evidence, cohort, digest),
        }
    )
    recipe = changed.model_dump(mode="json", exclude_none=True)
    return replace(learned, made_with={**learned.made_with, "recipe": recipe})
