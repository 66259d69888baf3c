"""Training a bank: every space and every ordered pair of a cohort's modalities, as packages."""

from __future__ import annotations

import multiprocessing
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from codenoise.core.cohort.cohort import Cohort
from codenoise.core.errors import ArtifactError, DataError, first_few
from codenoise.core.spaces.fit import fit_space
from codenoise.core.spaces.space import Space
from codenoise.core.threads import one_torch_thread
from codenoise.registry.artifacts import identity_digest, verify_files
from codenoise.registry.building import Origin, build_expert, build_space, manifest_path
from codenoise.registry.discovery import Plugin
from codenoise.registry.loading import load_space
from codenoise.registry.manifest import (
    AnyManifest,
    ExpertManifest,
    Modality,
    Name,
    PepVersion,
    SpaceManifest,
    Strict,
    explain,
    read_manifest,
)

if TYPE_CHECKING:
    from codenoise.core.diffusion.training import PairData, TrainingConfig


class ModalityRecipe(Strict):
    """What a bank has to know of one modality."""

    space: Name
    unit: str
    license: str
    sources: Annotated[list[str], Field(min_length=1)]
    dim: Annotated[int, Field(gt=0)] = 32


class BankRecipe(Strict):
    """The TOML file behind ``codenoise train bank``."""

    cohort: str
    version: PepVersion
    authors: Annotated[list[str], Field(min_length=1)]
    citation: str
    minimum_patients: Annotated[int, Field(ge=2)] = 300
    training: dict[str, int | float | str] = Field(default_factory=dict)
    modalities: Annotated[dict[Modality, ModalityRecipe], Field(min_length=2)]

    @model_validator(mode="after")
    def _own_spaces(self) -> BankRecipe:
        names = [entry.space for entry in self.modalities.values()]
        if len(set(names)) < len(names):
            raise ValueError(f"two modalities share a space: {', '.join(names)}")
        return self

    def config(self) -> TrainingConfig:
        """Training settings, the defaults where the recipe is silent."""
        from codenoise.core.diffusion.training import TrainingConfig

        try:
            return TypeAdapter(TrainingConfig).validate_python(
                {**asdict(TrainingConfig()), **self.training}, extra="forbid"
            )
        except ValidationError as problem:
            first = problem.errors()[0]
            where = f", {first['loc'][0]!r}" if first["loc"] else ""
            raise DataError(f"[training] of the bank recipe{where}: {first['msg']}") from None


def read_bank_recipe(path: Path) -> BankRecipe:
    """Read a bank recipe.

    Raises
    ------
    DataError
        If the file is missing, is no TOML, or a field is missing, unknown or wrong.
    """
    try:
        return BankRecipe.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError:
        raise DataError(f"{path} is not there; give a bank recipe with --recipe") from None
    except ValidationError as problem:
        raise DataError(f"{path}: {explain(problem, BankRecipe)}") from None
    except (OSError, ValueError) as problem:
        raise DataError(f"{path} is no TOML file: {problem}") from None


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


@dataclass(frozen=True)
class _Job:
    name: str
    version: str
    train: PairData
    validation: PairData
    config: TrainingConfig
    condition: SpaceManifest
    target: SpaceManifest
    origin: Origin
    root: Path
    parent: int


Report = Callable[[Outcome, int, int], None]


def train_bank(
    recipe: BankRecipe,
    cohort: Cohort,
    split: pd.Series[str],
    root: Path,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    workers: int = 1,
    report: Report | None = None,
) -> list[Outcome]:
    """Fit spaces and train pair experts, writing each as a package project below ``root``.

    Test patients are dropped before anything is computed. What is there already and was made from
    the same inputs is left as it is, so an interrupted run is finished by running it again, and a
    modality added to the recipe leaves the packages of all others alone.

    Parameters
    ----------
    recipe
        Modalities, licences and settings.
    cohort
        Tables of at least the recipe's modalities.
    split
        ``train``, ``validation`` or ``test`` for each patient.
    root
        Folder of package projects.
    pairs
        ``(condition, target)`` pairs to train; all ordered pairs by default.
    workers
        Processes; each trains with one thread, so results do not depend on their number.
    report
        Called after each package with its outcome, the number done and the number in all.

    Raises
    ------
    DataError
        If a modality is unknown, or cohort and split share no patient.
    """
    wanted = list(pairs) if pairs is not None else list(permutations(recipe.modalities, 2))
    _check_pairs(recipe, wanted, cohort)
    recipe.config()  # refuse wrong settings before anything is fitted
    parts = {name: _part(cohort, split, name) for name in ("train", "validation")}
    used = [m for m in recipe.modalities if any(m in pair for pair in wanted)]
    total = len(used) + len(wanted)
    outcomes: list[Outcome] = []

    def finish(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if report is not None:
            report(outcome, len(outcomes), total)

    spaces: dict[str, SpaceManifest] = {}
    for modality in used:
        spaces[modality], outcome = _space(recipe, modality, parts, root)
        finish(outcome)
    latents = {name: _latents(part, spaces, root) for name, part in parts.items()}
    jobs: list[_Job] = []
    for condition, target in wanted:
        planned = _plan(recipe, condition, target, spaces, latents, root)
        if isinstance(planned, Outcome):
            finish(planned)
        else:
            jobs.append(planned)
    for outcome in _run(jobs, workers):
        finish(outcome)
    return outcomes


def _check_pairs(recipe: BankRecipe, pairs: Sequence[tuple[str, str]], cohort: Cohort) -> None:
    for condition, target in pairs:
        for modality in (condition, target):
            if modality not in recipe.modalities:
                raise DataError(
                    f"modality {modality!r} is not in the bank recipe, which has "
                    f"{', '.join(recipe.modalities)}"
                )
            if modality not in cohort.tables:
                raise DataError(
                    f"the cohort has no table of {modality!r}, which the bank recipe names; "
                    f"it has {', '.join(cohort.tables)}"
                )
        if condition == target:
            raise DataError(f"condition and target are both {target!r}; give two modalities")


def _part(cohort: Cohort, split: pd.Series[str], name: str) -> Cohort:
    part = cohort.subset(split.index[split == name])
    if not part.patients:
        raise DataError(
            f"the cohort and the split have no {name} patient in common: the cohort's ids read "
            f"like {first_few(cohort.patients, 1)}, the split's like {first_few(split.index, 1)}"
        )
    return part


def _space(
    recipe: BankRecipe, modality: str, parts: Mapping[str, Cohort], root: Path
) -> tuple[SpaceManifest, Outcome]:
    entry = recipe.modalities[modality]
    data = {name: Cohort({modality: part.tables[modality]}) for name, part in parts.items()}
    digests = {name: part.digest() for name, part in data.items()}
    fingerprint = identity_digest(
        {"modality": modality, "version": recipe.version, **entry.model_dump(), "data": digests}
    )
    tables = {name: part.measured(modality) for name, part in data.items()}
    counts = (len(tables["train"]), len(tables["validation"]))
    held = _existing(manifest_path(root, "space", entry.space), SpaceManifest, fingerprint)
    if held is not None:
        return held, Outcome("space", entry.space, "up to date", *counts, held.validation.r2)
    fitted = fit_space(
        tables["train"],
        tables["validation"],
        modality=modality,
        name=entry.space,
        version=recipe.version,
        dim=entry.dim,
    )
    origin = _origin(recipe, [modality], identity_digest(digests), fingerprint)
    manifest = build_space(fitted, entry.unit, origin, root)
    return manifest, Outcome("space", entry.space, "trained", *counts, fitted.r2)


def _existing(path: Path, model: type[AnyManifest], fingerprint: str) -> AnyManifest | None:
    """The manifest that is there, if it was made from the same inputs."""
    if not path.exists():
        return None
    try:
        manifest = read_manifest(path, model)
        verify_files(path.parent, manifest)
    except ArtifactError:
        return None  # damaged: made again
    return manifest if manifest.training.fingerprint == fingerprint else None


def _origin(
    recipe: BankRecipe, modalities: Sequence[str], cohort_digest: str, fingerprint: str
) -> Origin:
    entries = [recipe.modalities[modality] for modality in modalities]
    return Origin(
        cohort=recipe.cohort,
        cohort_digest=cohort_digest,
        license=" AND ".join(dict.fromkeys(entry.license for entry in entries)),
        authors=tuple(recipe.authors),
        citation=recipe.citation,
        sources=tuple(source for entry in entries for source in entry.sources),
        fingerprint=fingerprint,
    )


def _latents(
    part: Cohort, spaces: Mapping[str, SpaceManifest], root: Path
) -> dict[str, pd.DataFrame]:
    """Latents as the written packages give them, so that training sees what users will see."""
    encoded: dict[str, pd.DataFrame] = {}
    for modality, manifest in spaces.items():
        folder = manifest_path(root, "space", manifest.name).parent
        space: Space = load_space(Plugin(manifest.name, manifest.version, folder, manifest))
        encoded[modality] = space.encode(part.measured(modality), part.tables[modality].source)
    return encoded


def _plan(
    recipe: BankRecipe,
    condition: str,
    target: str,
    spaces: Mapping[str, SpaceManifest],
    latents: Mapping[str, Mapping[str, pd.DataFrame]],
    root: Path,
) -> _Job | Outcome:
    """What has to be done for a pair: a job, or nothing for a stated reason."""
    from codenoise.core.diffusion.training import PairData

    name = f"{condition}-to-{target}".replace("_", "-")
    config = recipe.config()
    data: dict[str, PairData] = {}
    for part, tables in latents.items():
        shared = sorted(set(tables[condition].index) & set(tables[target].index))
        data[part] = PairData(
            tables[condition].loc[shared].to_numpy(), tables[target].loc[shared].to_numpy()
        )
    counts = (len(data["train"]), len(data["validation"]))
    if counts[0] < recipe.minimum_patients:
        return Outcome("expert", name, "too few patients", *counts)
    fingerprint = identity_digest(
        {
            "version": recipe.version,
            "condition": spaces[condition].training.fingerprint,
            "target": spaces[target].training.fingerprint,
            "config": asdict(config),
        }
    )
    held = _existing(manifest_path(root, "expert", name), ExpertManifest, fingerprint)
    if held is not None:
        r2 = held.validation.r2_expectation
        return Outcome("expert", name, "up to date", *counts, r2, held.training.seconds)
    cohort_digest = identity_digest(
        {m: spaces[m].training.fingerprint for m in (condition, target)}
    )
    origin = _origin(recipe, [condition, target], cohort_digest, fingerprint)
    return _Job(
        name=name,
        version=recipe.version,
        config=config,
        condition=spaces[condition],
        target=spaces[target],
        origin=origin,
        root=root,
        parent=os.getpid(),
        train=data["train"],
        validation=data["validation"],
    )


def _run(jobs: Sequence[_Job], workers: int) -> Iterator[Outcome]:
    if workers == 1 or len(jobs) <= 1:
        yield from map(_train_one, jobs)
        return
    # Forking a process that holds torch's threads can deadlock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            for future in as_completed([pool.submit(_train_one, job) for job in jobs]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _train_one(job: _Job) -> Outcome:
    from codenoise.core.diffusion.training import train_pair

    def stop_if_orphaned(*_: int) -> None:
        # A killed parent cannot stop its workers; they must not go on writing packages.
        if job.parent not in (os.getpid(), os.getppid()):
            raise SystemExit(1)

    with one_torch_thread():
        trained = train_pair(job.train, job.validation, job.config, progress=stop_if_orphaned)
    manifest = build_expert(
        job.name,
        job.version,
        trained,
        job.condition,
        job.target,
        np.asarray(job.train.condition),
        job.origin,
        job.root,
    )
    return Outcome(
        "expert",
        job.name,
        "trained",
        len(job.train),
        len(job.validation),
        manifest.validation.r2_expectation,
        trained.seconds,
    )
