"""From generated latents to completed tables in the user's own features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.files import atomic_folder
from codenoise.core.base.metrics import draw_variance
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.tables import Table, like
from codenoise.core.ensemble.engine import Generation
from codenoise.core.ensemble.trace import write_trace
from codenoise.core.spaces.space import Space

if TYPE_CHECKING:
    from codenoise.core.ensemble.ensemble import LoadedEnsemble

# By this file a folder of an earlier run is known.
PROVENANCE = "provenance.json"
# Patients decoded at a time: memory stays flat however many there are.
CHUNK = 256


class Origin(IntEnum):
    """Where a completed value comes from, as written to the mask."""

    OBSERVED = 0
    GENERATED = 1
    """The patient lacks the modality; the ensemble generated it."""
    RECONSTRUCTED = 2
    """A gap in a measured modality, filled from the patient's other values of that modality."""
    UNAVAILABLE = 3
    """Still missing: no expert fits the patient, or the space does not know the feature."""


@dataclass
class Imputation:
    """A completed cohort.

    Attributes
    ----------
    completed
        Modality to table: the input's features, layout and order, patients that lacked the modality
        after those that had a row. The value of a hole is the mean of its draws.
    spread
        Same shape: standard deviation of each value, from the draws and from what the space cannot
        decode; 0 where observed, NaN where unavailable.
    mask
        Same shape: an `Origin` per value.
    report
        One row per patient and generated modality: experts, their weights and whether those were
        learned by calibration, coherence and what was rejected.
    generations
        Modality to the latent draws behind it.
    given
        The cohort that was completed.
    ensemble
        What completed it.
    draws, seed
        As asked for.
    """

    completed: dict[str, Table]
    spread: dict[str, Table]
    mask: dict[str, Table]
    report: pd.DataFrame
    generations: dict[str, Generation]
    given: Cohort
    ensemble: LoadedEnsemble
    draws: int
    seed: int

    @classmethod
    def empty(cls, given: Cohort, ensemble: LoadedEnsemble, *, draws: int, seed: int) -> Imputation:
        """Nothing completed yet."""
        return cls({}, {}, {}, pd.DataFrame(), {}, given, ensemble, draws, seed)

    @property
    def provenance(self) -> dict[str, Any]:
        """What the result was made of and with, as JSON has it: versions, digests, seed."""
        return {
            "codenoise": version("codenoise"),
            "cohort_digest": self.given.digest(),
            "read_options": dict(self.given.options),
            "read": {name: list(table.notes) for name, table in self.given.tables.items()},
            "draws": self.draws,
            "seed": self.seed,
            "targets": list(self.completed),
            **self.ensemble.made_with,
        }

    def write(
        self,
        folder: Path | str,
        *,
        save_draws: bool = False,
        tables: int = 0,
        overwrite: bool = False,
    ) -> None:
        """Write everything to a folder, whole or not at all, as ``codenoise impute`` does.

        Parameters
        ----------
        folder
            Gets ``completed``, ``spread`` and ``mask`` with a table per modality in the format it
            was given in, ``coherence.csv`` (the report) and ``provenance.json``.
        save_draws
            Whether to write every draw too, in features, as ``draws/MODALITY.parquet``: with noise
            for what the space does not carry, so that their spread is that of the values.
        tables
            How many completed versions to write for multiple imputation, as ``tables/1`` and so
            on; see `codenoise.core.ensemble.multiple.completed_tables`.
        overwrite
            Whether a folder of an earlier run is replaced.

        Raises
        ------
        CodenoiseError
            If the folder holds anything that may not be replaced, or cannot be written, or there
            are too few draws for so many tables.

        Examples
        --------
        >>> result = ensemble.impute("my_cohort", draws=50)  # doctest: +SKIP
        >>> result.write("completed")  # doctest: +SKIP
        """
        from codenoise.core.ensemble.written import write_parts

        with atomic_folder(Path(folder), PROVENANCE if overwrite else None) as temporary:
            write_parts(self, temporary, save_draws=save_draws, tables=tables)

    def tables(self, count: int) -> list[dict[str, Table]]:
        """Several completed versions of every target, for multiple imputation.

        Parameters, errors and what differs between them: see
        `codenoise.core.ensemble.multiple.completed_tables`.

        Examples
        --------
        >>> versions = ensemble.impute("my_cohort", draws=40).tables(20)  # doctest: +SKIP
        """
        from codenoise.core.ensemble.multiple import completed_tables

        return completed_tables(self, count)

    def write_trace(self, path: Path | str) -> None:
        """Write how far the experts were apart at each step, see `ensemble.trace.write_trace`.

        The result is to be of ``impute(..., keep_trace=True)``.
        """
        write_trace(self.generations, self.ensemble.settings, Path(path))


def complete_table(
    result: Imputation,
    cohort: Cohort,
    space: Space,
    latents: pd.DataFrame | None,
    generation: Generation,
) -> None:
    """Add one modality to the result.

    Parameters
    ----------
    result
        Gains the modality's table, spread, mask, report rows and draws.
    cohort
        As given by the user.
    space
        Space of the modality.
    latents
        Latents of the patients that have the modality, for filling gaps; ``None`` if nobody has it.
    generation
        Draws of the patients that lack it.
    """
    table = given_table(cohort, space)
    order = [*table.frame.index]
    there = set(order)
    order += [patient for patient in generation.patients if patient not in there]
    columns = table.frame.columns
    filled = pd.DataFrame(
        np.nan, index=pd.Index(order, name=table.frame.index.name), columns=columns
    )
    spread = filled.copy()
    origin = filled.copy()
    origin[:] = Origin.UNAVAILABLE
    shared = [name for name in space.features if name in columns]
    where = [space.features.index(name) for name in shared]
    for ids, mean, deviation in _decoded_draws(space, generation):
        filled.loc[ids, shared] = mean[:, where]
        spread.loc[ids, shared] = deviation[:, where]
        origin.loc[ids, shared] = Origin.GENERATED
    if latents is not None:
        ids = list(latents.index)
        # One by one: a product of matrices rounds differently for other numbers of patients.
        decoded = space.decode(latents.to_numpy()[:, None])[:, 0]
        filled.loc[ids, shared] = decoded[:, where]
        spread.loc[ids, shared] = space.residual_sd[where]
        origin.loc[ids, shared] = Origin.RECONSTRUCTED
    observed = table.frame.reindex(order).notna().to_numpy()
    origin = origin.mask(observed, Origin.OBSERVED).astype(np.int64)
    result.completed[space.modality] = table.completed(filled)
    result.spread[space.modality] = like(spread.mask(observed, 0.0), table)
    result.mask[space.modality] = like(origin, table)
    result.generations[space.modality] = generation
    report = _report(space.modality, generation)
    result.report = pd.concat([result.report, report], ignore_index=True)


def given_table(cohort: Cohort, space: Space) -> Table:
    """A cohort's table of the modality, or an empty one in the format of its first table."""
    if space.modality in cohort.tables:
        return cohort.tables[space.modality]
    model = next(iter(cohort.tables.values()))
    empty = pd.DataFrame(columns=list(space.features), dtype=np.float64)
    empty.index = pd.Index([], name=model.frame.index.name, dtype=str)
    return replace(like(empty, model), source=f"{space.modality}{model.suffix}")


def _decoded_draws(
    space: Space, generation: Generation
) -> Iterator[tuple[list[str], NDArray[np.float32], NDArray[np.float32]]]:
    """Ids, means and standard deviations of features, for patients that could be generated."""
    usable = np.flatnonzero(generation.attempts[:, 0] > 0)
    for start in range(0, len(usable), CHUNK):
        rows = usable[start : start + CHUNK]
        values = space.decode(generation.draws[rows])
        # What the latents do not carry is independent of the draws, so variances add.
        deviation = np.sqrt(
            draw_variance(values, mirrored=generation.mirrored) + space.residual_sd**2
        )
        yield [generation.patients[row] for row in rows], values.mean(axis=1), deviation


def _report(target: str, generation: Generation) -> pd.DataFrame:
    usable = generation.attempts[:, 0] > 0
    names = np.array(generation.experts, dtype=object)
    compared = ~np.isnan(generation.coherence[:, 0])
    coherence = np.full(len(usable), np.nan)
    coherence[compared] = generation.coherence[compared].mean(axis=1)
    fraction = np.full(len(usable), np.nan)
    fraction[compared] = generation.incoherent_fraction[compared].mean(axis=1)
    return pd.DataFrame(
        {
            "patient": list(generation.patients),
            "target": target,
            "status": np.where(usable, "generated", "no expert fits"),
            "experts": ["; ".join(names[row > 0]) for row in generation.weights],
            "weights learned": generation.learned,
            "weights": ["; ".join(f"{w:.3f}" for w in row[row > 0]) for row in generation.weights],
            "coherence": coherence,
            "incoherent_fraction": fraction,
            "redraws": (generation.attempts - 1).clip(min=0).sum(axis=1),
            "incoherent_draws": generation.flagged.sum(axis=1),
        }
    )
