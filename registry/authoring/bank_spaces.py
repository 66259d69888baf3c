"""Fitting the spaces of a bank and writing them as packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from codenoise.core.base.errors import ArtifactError, DataError
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.splits import split_part
from codenoise.core.spaces.fit import fit_space
from codenoise.registry.authoring.bank_recipe import BankRecipe
from codenoise.registry.authoring.building import Origin, build_space
from codenoise.registry.authoring.project import manifest_path
from codenoise.registry.contract.artifacts import identity_digest, verify_files
from codenoise.registry.contract.manifest import (
    AnyManifest,
    SpaceManifest,
)
from codenoise.registry.contract.manifest_file import read_manifest


@dataclass(frozen=True)
class Outcome:
    """What became of one space or pair.

    Attributes
    ----------
    kind, name
        ``"space"`` or ``"expert"``, and its name.
    status
        ``"trained"``, ``"up to date"`` or ``"too few patients"``.
    n_train, n_validation
        Patients.
    r2
        Validation R2: of reconstruction for a space, of the expectation of draws for an expert.
    seconds
        Time its training took.
    """

    kind: str
    name: str
    status: str
    n_train: int
    n_validation: int
    r2: float = float("nan")
    seconds: float = float("nan")


Finish = Callable[[Outcome], None]


def fit_spaces(
    recipe: BankRecipe,
    parts: Mapping[str, Cohort],
    root: Path,
    modalities: Sequence[str],
    finish: Finish,
) -> dict[str, SpaceManifest]:
    """Fit the space of each modality, or take the one that was made from the same inputs.

    Parameters
    ----------
    recipe
        Modalities, licences and settings.
    parts
        The cohort's ``train`` and ``validation`` patients, see `training_parts`.
    root
        Folder of package projects.
    modalities
        Which spaces.
    finish
        Called with each outcome.

    Returns
    -------
    dict
        Modality to manifest.

    Raises
    ------
    DataError
        If a modality is not in the recipe or has no table.
    """
    for modality in modalities:
        if modality not in recipe.modalities:
            raise DataError(
                f"modality {modality!r} is not in the bank recipe, which has "
                f"{', '.join(recipe.modalities)}"
            )
        if modality not in parts["train"].tables:
            raise DataError(
                f"the cohort has no table of {modality!r}, which the bank recipe names; "
                f"it has {', '.join(parts['train'].tables)}"
            )
    spaces: dict[str, SpaceManifest] = {}
    for modality in modalities:
        spaces[modality], outcome = _fit_one(recipe, modality, parts, root)
        finish(outcome)
    return spaces


def training_parts(cohort: Cohort, split: pd.Series[str]) -> dict[str, Cohort]:
    """The cohort's ``train`` and ``validation`` patients; test patients are in neither.

    Raises
    ------
    DataError
        If cohort and split have no patient in common.
    """
    return {name: split_part(cohort, split, name) for name in ("train", "validation")}


def _fit_one(
    recipe: BankRecipe, modality: str, parts: Mapping[str, Cohort], root: Path
) -> tuple[SpaceManifest, Outcome]:
    entry = recipe.modalities[modality]
    data = {name: Cohort({modality: part.tables[modality]}) for name, part in parts.items()}
    digests = {name: part.digest() for name, part in data.items()}
    # The licence of each source says no more than license and sources do: no reason to fit again.
    made_of = entry.model_dump(exclude={"source_licenses"})
    fingerprint = identity_digest(
        {"modality": modality, "version": recipe.version, **made_of, "data": digests}
    )
    tables = {name: part.measured(modality) for name, part in data.items()}
    counts = (len(tables["train"]), len(tables["validation"]))
    held = existing(manifest_path(root, "space", entry.space), SpaceManifest, fingerprint)
    if held is not None:
        return held, Outcome("space", entry.space, "up to date", *counts, held.validation.r2)
    fitted = fit_space(
        tables["train"],
        tables["validation"],
        modality=modality,
        name=entry.space,
        version=recipe.version,
        dim=entry.dim,
        encoder=entry.encoder,
        preprocessing=[(step.kind, step.options) for step in entry.preprocessing],
        unit=entry.unit,
    )
    origin = origin_of(recipe, [modality], identity_digest(digests), fingerprint)
    manifest = build_space(fitted, origin, root)
    return manifest, Outcome("space", entry.space, "trained", *counts, fitted.r2)


def existing(path: Path, model: type[AnyManifest], fingerprint: str) -> AnyManifest | None:
    """The manifest that is there, if it was made from the same inputs."""
    if not path.exists():
        return None
    try:
        manifest = read_manifest(path, model)
        verify_files(path.parent, manifest)
    except ArtifactError:
        return None  # damaged: made again
    return manifest if manifest.training.fingerprint == fingerprint else None


def origin_of(
    recipe: BankRecipe, modalities: Sequence[str], cohort_digest: str, fingerprint: str
) -> Origin:
    """What the packages of some modalities say of their data."""
    entries = [recipe.modalities[modality] for modality in modalities]
    return Origin(
        cohort=recipe.cohort,
        cohort_digest=cohort_digest,
        license=" AND ".join(dict.fromkeys(entry.license for entry in entries)),
        authors=tuple(recipe.authors),
        citation=recipe.citation,
        sources=tuple(source for entry in entries for source in entry.sources),
        fingerprint=fingerprint,
        source_licenses=tuple(
            source.model_copy(update={"covers": source.covers or modality})
            for modality, entry in zip(modalities, entries, strict=True)
            for source in entry.source_licenses
        ),
    )
