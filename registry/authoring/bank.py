"""Training a bank: every space and every ordered pair of a cohort's modalities, as packages."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.core.base.threads import one_torch_thread
from codenoise.core.cohort.cohort import Cohort
from codenoise.registry.authoring.bank_recipe import BankRecipe
from codenoise.registry.authoring.bank_spaces import (
    Outcome,
    existing,
    fit_spaces,
    origin_of,
    training_parts,
)
from codenoise.registry.authoring.building import Origin, build_expert
from codenoise.registry.authoring.project import manifest_path
from codenoise.registry.contract.artifacts import identity_digest
from codenoise.registry.contract.manifest import ExpertManifest, SpaceManifest
from codenoise.registry.contract.sources import Folder
from codenoise.registry.installed.code_plugins import need
from codenoise.registry.installed.discovery import Plugin
from codenoise.registry.installed.loading import load_space

if TYPE_CHECKING:
    from codenoise.core.diffusion.config import TrainingConfig
    from codenoise.core.diffusion.data import ExpertData


@dataclass(frozen=True)
class _Job:
    name: str
    version: str
    train: ExpertData
    validation: ExpertData
    config: TrainingConfig
    conditions: list[SpaceManifest]
    target: SpaceManifest
    origin: Origin
    root: Path
    parent: int


Report = Callable[[Outcome, int, int], None]
Ends = tuple[tuple[str, ...], str]
"""Condition modalities and target: one condition is a pair, several a multi-condition expert."""


def pairs_of(modalities: Iterable[str]) -> list[Ends]:
    """Every ordered pair of these modalities."""
    return [((condition,), target) for condition, target in permutations(modalities, 2)]


def multis_of(modalities: Sequence[str]) -> list[Ends]:
    """For each modality, the expert that generates it from any subset of all others."""
    return [(tuple(m for m in modalities if m != target), target) for target in modalities]


def train_bank(
    recipe: BankRecipe,
    cohort: Cohort,
    split: pd.Series[str],
    root: Path,
    *,
    experts: Sequence[Ends] | None = None,
    workers: int = 1,
    report: Report | None = None,
) -> list[Outcome]:
    """Fit spaces and train experts, writing each as a package project below ``root``.

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
    experts
        What to train; all ordered pairs of the recipe's modalities by default.
    workers
        Processes; each trains with one thread, so results do not depend on their number.
    report
        Called after each package with its outcome, the number done and the number in all.

    Raises
    ------
    DataError
        If a modality is unknown, or cohort and split share no patient.
    """
    wanted = list(experts) if experts is not None else pairs_of(recipe.modalities)
    for conditions, target in wanted:
        if target in conditions:
            raise DataError(f"condition and target are both {target!r}; give two modalities")
    config = recipe.config()  # wrong settings are refused before anything is fitted
    parts = training_parts(cohort, split)
    named = {modality for conditions, target in wanted for modality in (*conditions, target)}
    used = [m for m in recipe.modalities if m in named] + sorted(named - {*recipe.modalities})
    total = len(used) + len(wanted)
    outcomes: list[Outcome] = []

    def finish(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if report is not None:
            report(outcome, len(outcomes), total)

    spaces = fit_spaces(recipe, parts, root, used, finish)
    latents = _latents(parts, spaces, root)
    jobs: list[_Job] = []
    for conditions, target in wanted:
        planned = _plan(recipe, config, conditions, target, spaces, latents, root)
        if isinstance(planned, Outcome):
            finish(planned)
        else:
            jobs.append(planned)
    for outcome in _run(jobs, workers):
        finish(outcome)
    return outcomes


def expert_data(
    recipe: BankRecipe,
    cohort: Cohort,
    split: pd.Series[str],
    root: Path,
    ends: Ends,
    finish: Callable[[Outcome], None],
) -> dict[str, ExpertData]:
    """What an expert would be trained and validated on: ``train`` and ``validation``.

    Spaces that are not there are fitted and written; see `train_bank`.
    """
    conditions, target = ends
    parts = training_parts(cohort, split)
    spaces = fit_spaces(recipe, parts, root, [*conditions, target], finish)
    latents = _latents(parts, spaces, root)
    return {part: _matched(tables, conditions, target) for part, tables in latents.items()}


def _matched(
    tables: Mapping[str, pd.DataFrame], conditions: tuple[str, ...], target: str
) -> ExpertData:
    from codenoise.core.diffusion.data import ExpertData

    if len(conditions) == 1:
        return ExpertData.pair(tables[conditions[0]], tables[target])
    return ExpertData.multi({m: tables[m] for m in conditions}, tables[target])


def _latents(
    parts: Mapping[str, Cohort], spaces: Mapping[str, SpaceManifest], root: Path
) -> dict[str, dict[str, pd.DataFrame]]:
    """Latents of each part as the written packages give them: training sees what users will see."""
    encoded: dict[str, dict[str, pd.DataFrame]] = {name: {} for name in parts}
    for modality, manifest in spaces.items():
        file = manifest_path(root, "space", manifest.name)
        space = load_space(Plugin(Folder(path=str(file.parent)), file, manifest))
        for name, part in parts.items():
            source = part.tables[modality].source
            encoded[name][modality] = space.encode(part.measured(modality), source)
    return encoded


def _plan(
    recipe: BankRecipe,
    config: TrainingConfig,
    conditions: tuple[str, ...],
    target: str,
    spaces: Mapping[str, SpaceManifest],
    latents: Mapping[str, Mapping[str, pd.DataFrame]],
    root: Path,
) -> _Job | Outcome:
    """What has to be done for an expert: a job, or nothing for a stated reason."""
    name = f"{conditions[0] if len(conditions) == 1 else 'multi'}-to-{target}".replace("_", "-")
    data = {part: _matched(tables, conditions, target) for part, tables in latents.items()}
    counts = (len(data["train"]), len(data["validation"]))
    if counts[0] < recipe.minimum_patients:
        return Outcome("expert", name, "too few patients", *counts)
    fingerprint = identity_digest(
        {
            "version": recipe.version,
            "conditions": [spaces[m].training.fingerprint for m in conditions],
            "target": spaces[target].training.fingerprint,
            "config": asdict(config),
        }
    )
    held = existing(manifest_path(root, "expert", name), ExpertManifest, fingerprint)
    if held is not None:
        r2 = held.validation.r2_expectation
        return Outcome("expert", name, "up to date", *counts, r2, held.training.seconds)
    cohort_digest = identity_digest(
        {m: spaces[m].training.fingerprint for m in (*conditions, target)}
    )
    origin = origin_of(recipe, [*conditions, target], cohort_digest, fingerprint)
    return _Job(
        name=name,
        version=recipe.version,
        config=config,
        conditions=[spaces[m] for m in conditions],
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
    from codenoise.core.diffusion.training import train_expert

    def stop_if_orphaned(*_: float) -> None:
        # A killed parent cannot stop its workers; they must not go on writing packages. The pool
        # would catch an exception and wait for the next job for ever.
        if job.parent not in (os.getpid(), os.getppid()):
            os._exit(1)

    need("architectures", job.config.architecture)
    with one_torch_thread():
        trained = train_expert(job.train, job.validation, job.config, progress=stop_if_orphaned)
    manifest = build_expert(
        job.name,
        job.version,
        trained,
        job.conditions,
        job.target,
        job.train,
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
