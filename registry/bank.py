"""Training a bank: every space and every ordered pair of a cohort's modalities, as packages."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from codenoise.core.cohort.cohort import Cohort
from codenoise.core.errors import DataError
from codenoise.core.threads import one_torch_thread
from codenoise.registry.artifacts import identity_digest
from codenoise.registry.bank_recipe import BankRecipe
from codenoise.registry.bank_spaces import Outcome, existing, fit_spaces, origin_of, training_parts
from codenoise.registry.building import Origin, build_expert, manifest_path
from codenoise.registry.discovery import Plugin
from codenoise.registry.loading import load_space
from codenoise.registry.manifest import ExpertManifest, SpaceManifest

if TYPE_CHECKING:
    from codenoise.core.diffusion.training import PairData, TrainingConfig


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
    for condition, target in wanted:
        if condition == target:
            raise DataError(f"condition and target are both {target!r}; give two modalities")
    config = recipe.config()  # wrong settings are refused before anything is fitted
    parts = training_parts(cohort, split)
    named = {modality for pair in wanted for modality in pair}
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
    for condition, target in wanted:
        planned = _plan(recipe, config, condition, target, spaces, latents, root)
        if isinstance(planned, Outcome):
            finish(planned)
        else:
            jobs.append(planned)
    for outcome in _run(jobs, workers):
        finish(outcome)
    return outcomes


def _latents(
    parts: Mapping[str, Cohort], spaces: Mapping[str, SpaceManifest], root: Path
) -> dict[str, dict[str, pd.DataFrame]]:
    """Latents of each part as the written packages give them: training sees what users will see."""
    encoded: dict[str, dict[str, pd.DataFrame]] = {name: {} for name in parts}
    for modality, manifest in spaces.items():
        folder = manifest_path(root, "space", manifest.name).parent
        space = load_space(Plugin(manifest.name, manifest.version, folder, manifest))
        for name, part in parts.items():
            source = part.tables[modality].source
            encoded[name][modality] = space.encode(part.measured(modality), source)
    return encoded


def _plan(
    recipe: BankRecipe,
    config: TrainingConfig,
    condition: str,
    target: str,
    spaces: Mapping[str, SpaceManifest],
    latents: Mapping[str, Mapping[str, pd.DataFrame]],
    root: Path,
) -> _Job | Outcome:
    """What has to be done for a pair: a job, or nothing for a stated reason."""
    from codenoise.core.diffusion.training import PairData

    name = f"{condition}-to-{target}".replace("_", "-")
    data = {
        part: PairData.matched(tables[condition], tables[target])
        for part, tables in latents.items()
    }
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
    held = existing(manifest_path(root, "expert", name), ExpertManifest, fingerprint)
    if held is not None:
        r2 = held.validation.r2_expectation
        return Outcome("expert", name, "up to date", *counts, r2, held.training.seconds)
    cohort_digest = identity_digest(
        {m: spaces[m].training.fingerprint for m in (condition, target)}
    )
    origin = origin_of(recipe, [condition, target], cohort_digest, fingerprint)
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
        job.train.condition,
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
