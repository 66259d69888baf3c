"""An ensemble: spaces and experts that fit together, ready to complete cohorts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, Unpack, overload

import pandas as pd

from codenoise.core.base.errors import EnsembleError
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.given import Given, MuDataLike, cohort_of, is_mudata
from codenoise.core.cohort.options import ReadOptions
from codenoise.core.ensemble.calibration import Calibration
from codenoise.core.ensemble.checking import check_tables
from codenoise.core.ensemble.completed import completed_mudata
from codenoise.core.ensemble.engine import Generation, generate
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.imputation import Imputation, complete_table
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.core.ensemble.trace import check_trace_size
from codenoise.core.spaces.space import Space

Progress = Callable[[str, int, int], None]


class _Drawing(TypedDict, total=False):
    """Keywords of `Ensemble.impute`."""

    draws: int
    seed: int
    targets: Sequence[str] | None
    keep_trace: bool
    progress: Progress | None


@dataclass(frozen=True)
class LoadedEnsemble:
    """Experts of one or more targets and the spaces they meet in.

    Attributes
    ----------
    spaces
        Modality to space, for every condition and target of the experts.
    experts
        Any number per target.
    settings
        How to sample, weigh and reject.
    calibration
        Learned coefficients and spread, see `codenoise.core.ensemble.learning.calibrate`.
    made_with
        What it was made of, as JSON has it, for the provenance of results.
    """

    spaces: Mapping[str, Space]
    experts: tuple[Expert, ...]
    settings: EngineSettings = field(default_factory=EngineSettings)
    calibration: Calibration | None = None
    made_with: Mapping[str, object] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuse experts that do not live in these spaces.

        Raises
        ------
        EnsembleError
            If an expert's condition or target space is missing or is another one.
        """
        for expert in self.experts:
            ends = (
                *zip(expert.conditions, expert.condition_spaces, strict=True),
                (expert.target, expert.target_space),
            )
            for modality, digest in ends:
                space = self.spaces.get(modality)
                if space is None:
                    raise EnsembleError(f"{expert.name} needs a space of {modality}; none is given")
                if space.digest != digest:
                    raise EnsembleError(
                        f"{expert.name} lives in the {modality} space {digest[:19]}, but the "
                        f"ensemble's is {space.reference} ({space.digest[:19]}); use an expert "
                        f"trained in this space, or install the space it was trained in"
                    )

    @property
    def targets(self) -> list[str]:
        """Modalities that can be generated, in the order of the experts."""
        return list(dict.fromkeys(expert.target for expert in self.experts))

    @property
    def features(self) -> dict[str, tuple[str, ...]]:
        """Features of each space, by which the tables of a cohort are recognised."""
        return {modality: space.features for modality, space in self.spaces.items()}

    def experts_for(self, target: str) -> list[Expert]:
        """Experts that generate a modality."""
        return [expert for expert in self.experts if expert.target == target]

    def experts_fitting(self, target: str, conditions: Iterable[str]) -> list[Expert]:
        """Experts that generate a modality from some of these, as the engine chooses them."""
        known = set(conditions)
        return [e for e in self.experts_for(target) if known & set(e.conditions)]

    def read(
        self,
        given: Given | MuDataLike,
        modalities: Sequence[str] | None = None,
        **options: Unpack[ReadOptions],
    ) -> Cohort:
        """Read a cohort by the features that this ensemble knows.

        Parameters
        ----------
        given
            A path; or what is in memory: a MuData, or modality to AnnData, pandas or polars frame.
            See `codenoise.core.cohort.given.cohort_of`, which raises what this does.
        modalities
            Take these and ignore every other; by default all.
        options
            ``orientation``, ``samples`` and ``merge``, see `read_table`.

        Examples
        --------
        >>> ensemble.read("my_cohort", samples="primary")  # doctest: +SKIP
        """
        return cohort_of(given, modalities, features=self.features, **options)

    def encode(self, cohort: Cohort) -> dict[str, pd.DataFrame]:
        """Latents of all measured patients in the modalities that the ensemble knows."""
        return {
            name: self.spaces[name].encode(cohort.measured(name), table.source)
            for name, table in cohort.tables.items()
            if name in self.spaces
        }

    def generate(
        self,
        target: str,
        conditions: Mapping[str, pd.DataFrame],
        patients: Sequence[str],
        *,
        draws: int = 10,
        seed: int = 0,
        progress: Progress | None = None,
        keep_trace: bool = False,
    ) -> Generation:
        """Generate latents of one target; see `codenoise.core.ensemble.engine.generate`."""
        return generate(
            self.experts_for(target),
            conditions,
            patients,
            draws=draws,
            seed=seed,
            settings=self.settings,
            calibration=self.calibration,
            keep_trace=keep_trace,
            progress=progress and (lambda done, total: progress(target, done, total)),
        )

    @overload
    def impute(self, cohort: Given, **drawing: Unpack[_Drawing]) -> Imputation: ...

    @overload
    def impute(self, cohort: MuDataLike, **drawing: Unpack[_Drawing]) -> MuDataLike: ...

    def impute(
        self,
        cohort: Given | MuDataLike,
        *,
        draws: int = 10,
        seed: int = 0,
        targets: Sequence[str] | None = None,
        keep_trace: bool = False,
        progress: Progress | None = None,
    ) -> Imputation | MuDataLike:
        """Complete a cohort: every patient, every target, observed values untouched.

        Parameters
        ----------
        cohort
            Tables of the modalities the ensemble knows, in any form that `read` takes. A target
            without a table gets one.
        draws
            Generated versions per patient and missing modality, at least 2; the completed value is
            their mean.
        seed
            Same seed, ensemble and values: same result, whatever the order of the patients.
        targets
            Modalities to complete; all of the ensemble's by default.
        keep_trace
            Whether `Imputation.generations` holds the experts' distance at every step, see
            `codenoise.core.ensemble.trace`. A MuData has no place for it.
        progress
            Called with target, trajectories done and trajectories in all.

        Returns
        -------
        Imputation
            Or, of a MuData, a new MuData with ``layers["spread"]`` and ``layers["mask"]`` in each
            target and the report in ``uns["codenoise"]``, see `completed_mudata`.

        Raises
        ------
        DataError
            If a table cannot be used.
        EnsembleError
            If a modality of the cohort is unknown to the ensemble, a target has no expert, the
            tables have no patient in common, fewer than 2 draws are asked for, or the trace would
            not fit in memory.

        Examples
        --------
        >>> result = ensemble.impute({"rna": rna, "rppa": rppa}, draws=50)  # doctest: +SKIP
        >>> result.completed["rppa"].frame  # doctest: +SKIP
        """
        given = self.read(cohort)
        wanted = self.check(given, targets)
        result = self.complete(
            given,
            self.encode(given),
            wanted,
            draws=draws,
            seed=seed,
            keep_trace=keep_trace,
            progress=progress,
        )
        return completed_mudata(cohort, result) if is_mudata(cohort) else result

    def complete(
        self,
        cohort: Cohort,
        conditions: Mapping[str, pd.DataFrame],
        targets: Sequence[str],
        *,
        draws: int,
        seed: int,
        keep_trace: bool = False,
        progress: Progress | None = None,
    ) -> Imputation:
        """Do as `impute`, of tables that need no check, for their ids are known to agree.

        Parameters and errors are those of `impute`; ``conditions`` are the tables as `encode`
        gives them.
        """
        if draws < 2:
            raise EnsembleError(f"the spread of values needs at least 2 draws, not {draws}")
        patients = cohort.patients
        missing = {
            target: [p for p in patients if p not in conditions[target].index]
            if target in conditions
            else patients
            for target in targets
        }
        if keep_trace:
            check_trace_size(sum(map(len, missing.values())), draws, self.settings.steps)
        result = Imputation.empty(cohort, self, draws=draws, seed=seed)
        for target in targets:
            generation = self.generate(
                target,
                conditions,
                missing[target],
                draws=draws,
                seed=seed,
                keep_trace=keep_trace,
                progress=progress,
            )
            complete_table(result, cohort, self.spaces[target], conditions.get(target), generation)
        return result

    def check(self, cohort: Cohort, targets: Sequence[str] | None = None) -> list[str]:
        """Refuse a cohort that cannot be completed; return the targets that would be.

        Raises
        ------
        EnsembleError
            As `impute` does.
        """
        check_tables(cohort, self.spaces)
        return self.chosen(targets)

    def chosen(self, targets: Sequence[str] | None = None) -> list[str]:
        """Targets asked for, each once, or all.

        Raises
        ------
        EnsembleError
            If a target has no expert, or the targets are no list.
        """
        if isinstance(targets, str):
            raise EnsembleError(f"targets are a list of names; write [{targets!r}]")
        wanted = list(dict.fromkeys(targets)) if targets is not None else self.targets
        for target in wanted:
            if not self.experts_for(target):
                raise EnsembleError(
                    f"the ensemble has no expert that generates {target!r}; "
                    f"it generates {', '.join(self.targets)}"
                )
        return wanted
