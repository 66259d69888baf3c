"""What every experiment works on: patients of a split, their latents, and the methods compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError, EnsembleError, first_few
from codenoise.core.base.metrics import r2_pooled
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.splits import SPLITS, split_part
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import conditions_of
from codenoise.core.prioritisation.outcomes import Latents
from codenoise.evaluation.baselines import BASELINES, Query
from codenoise.evaluation.baselines.regression import FEWEST

Float32 = NDArray[np.float32]
Generate = Callable[[str, Latents, Sequence[str], int, int], Float32]

COHERENT = "coherent ensemble"
PUBLISHED = "coherent, as published"
MULTI = "multi-condition"
SINGLE = "best single expert"
BASELINE = "best simple baseline"
METHODS = (COHERENT, PUBLISHED, SINGLE, MULTI, BASELINE)  # in the order of tables and figures
SIMPLE = ("mean", "ridge", "mlp")  # fast ones: all six stand in docs/quality.md, these strongest


@dataclass(frozen=True)
class Method:
    """A way to generate a modality that a patient lacks.

    Attributes
    ----------
    name
        As reports show it.
    generate
        Called with target, latents of the conditions, patients, draws and seed; gives latents of
        shape ``(patients, draws, dim)``, with one draw if ``point`` is set.
    serves
        Whether there is anything to generate a target with from a set of conditions.
    point
        Whether it gives one value and no distribution.
    mirrored
        Whether its draws come in mirrored pairs.
    """

    name: str
    generate: Generate
    serves: Callable[[str, Sequence[str]], bool]
    point: bool = False
    mirrored: bool = False


@dataclass(frozen=True)
class Study:
    """A cohort, its split and the ensemble under study.

    Attributes
    ----------
    ensemble
        The coherent ensemble, with its own settings and calibration.
    parts
        Cohort of each part of the split: ``train``, ``validation`` and ``test``.
    clinical
        Clinical columns (``cancer_type``, ``stage``, ``os_days``, ``os_event``) of any patients.
    runs, seed
        Repetitions of each measurement; run ``r`` has the seed ``seed + r``.
    quick
        Whether to measure a part of everything, in a few minutes.
    modalities
        Those studied, in a fixed order.
    """

    ensemble: LoadedEnsemble
    parts: Mapping[str, Cohort]
    clinical: pd.DataFrame
    runs: int = 10
    seed: int = 0
    quick: bool = False
    modalities: tuple[str, ...] = ()
    _chosen: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict, repr=False)
    _predicted: dict[tuple[object, ...], Float32] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        ensemble: LoadedEnsemble,
        cohort: Cohort,
        split: pd.Series[str],
        called: str,
        *,
        clinical: pd.DataFrame | None = None,
        modalities: Sequence[str] = (),
        runs: int = 10,
        seed: int = 0,
        quick: bool = False,
    ) -> Study:
        """Divide a cohort by its split.

        Parameters
        ----------
        ensemble, cohort, split, clinical, runs, seed, quick
            See the attributes.
        called, modalities
            Cohort and split in messages; and those studied, by default see `studied`.

        Raises
        ------
        DataError
            If the cohort has no patient of a part, or no table of a modality.
        """
        parts = {part: split_part(cohort, split, part, called) for part in SPLITS}
        known = tuple(modalities or (m for m in studied(ensemble) if m in cohort.tables))
        absent = [m for m in known if m not in cohort.tables]
        if absent:
            raise DataError(
                f"{called} have no table of {first_few(absent)}; there are "
                f"{', '.join(sorted(cohort.tables))}"
            )
        given = pd.DataFrame() if clinical is None else clinical
        return cls(ensemble, parts, given, runs, seed, quick, known)

    @cached_property
    def latents(self) -> dict[str, Latents]:
        """Latents of the modalities studied in each part, indexed by patient."""
        return {
            part: {m: t for m, t in self.ensemble.encode(cohort).items() if m in self.modalities}
            for part, cohort in self.parts.items()
        }

    def complete(self, part: str, modalities: Sequence[str] | None = None) -> list[str]:
        """Patients of a part that have all of these modalities (by default all studied), sorted."""
        tables = self.latents[part]
        wanted = self.modalities if modalities is None else modalities
        if any(m not in tables for m in wanted):
            return []
        return sorted(set.intersection(*(set(tables[m].index) for m in wanted)))

    def seeds(self) -> list[int]:
        """The seed of each run."""
        return [self.seed + run for run in range(self.runs)]

    @cached_property
    def methods(self) -> dict[str, Method]:
        """The methods compared, by name; those that the ensemble has no expert for are left out.

        The published consensus is that of the pair experts alone, with the paper's weights and
        without calibration. The single expert is, of those that fit, the one whose expectation had
        the highest R2 in validation; the baseline is the one that does best on validation patients
        (ridge where fewer than two have what it takes, the mean where fewer than 20 training
        patients have).
        """
        found = {COHERENT: self.drawing(COHERENT, self.ensemble)}
        if self.published.experts:
            found[PUBLISHED] = self.drawing(PUBLISHED, self.published)
            found[SINGLE] = replace(found[PUBLISHED], name=SINGLE, generate=self._single)
        multis = tuple(e for e in self.ensemble.experts if e.masked)
        if multis:
            found[MULTI] = self.drawing(MULTI, replace(self.published, experts=multis))
        targets = self.ensemble.targets
        found[BASELINE] = Method(
            BASELINE, self._regress, lambda target, _: target in targets, point=True
        )
        return found

    @cached_property
    def published(self) -> LoadedEnsemble:
        """The pair experts by the paper's consensus: its weights, its rejection, no calibration."""
        settings = replace(
            self.ensemble.settings, weighting="inverse-mse", composition="mean", threshold=1.0,
            max_incoherent_fraction=0.05,
        )  # fmt: skip
        pairs = tuple(e for e in self.ensemble.experts if not e.masked)
        return replace(self.ensemble, experts=pairs, settings=settings, calibration=None)

    def drawing(self, name: str, ensemble: LoadedEnsemble) -> Method:
        """A method that draws from an ensemble, with every expert that the conditions allow."""

        def generate(
            target: str, conditions: Latents, patients: Sequence[str], draws: int, seed: int
        ) -> Float32:
            shown = {m: conditions[m].loc[list(patients)] for m in conditions}
            return ensemble.generate(target, shown, patients, draws=draws, seed=seed).draws

        return Method(
            name,
            generate,
            lambda target, conditions: bool(ensemble.experts_fitting(target, conditions)),
            mirrored=ensemble.settings.mirrored,
        )

    def _single(
        self, target: str, conditions: Latents, patients: Sequence[str], draws: int, seed: int
    ) -> Float32:
        """Draw from the one of the published consensus that did best in validation."""
        fitting = self.published.experts_fitting(target, conditions)
        best = max(fitting, key=lambda expert: expert.validation_r2)
        alone = self.drawing(best.name, replace(self.published, experts=(best,)))
        return alone.generate(
            target, {m: conditions[m] for m in best.conditions}, patients, draws, seed
        )

    def _regress(
        self, target: str, conditions: Latents, patients: Sequence[str], _draws: int, _seed: int
    ) -> Float32:
        """Predict with the simple method that does best on validation patients."""
        names = tuple(sorted(conditions))
        if (target, names) not in self._chosen:
            held = self.complete("validation", [target, *names])
            shown = self.latents["validation"]
            enough = len(self.complete("train", [target, *names])) >= FEWEST
            r2 = {"ridge" if enough else "mean": 0.0}
            if enough and len(held) > 1:
                real = shown[target].loc[held].to_numpy()
                r2 = {
                    simple: r2_pooled(real, self.regressed(simple, target, names, shown, held))
                    for simple in SIMPLE
                }
            self._chosen[target, names] = max(r2, key=lambda name: r2[name])
        chosen = self._chosen[target, names]
        return self.regressed(chosen, target, names, conditions, patients)[:, None]

    def regressed(
        self,
        baseline: str,
        target: str,
        names: Sequence[str],
        conditions: Latents,
        patients: Sequence[str],
    ) -> Float32:
        """Predictions of one baseline, fitted on training patients: ``(patients, dim)``."""
        shown = {m: conditions[m].loc[list(patients)] for m in names}
        values = tuple(table.to_numpy().tobytes() for table in shown.values())
        key = (baseline, target, tuple(names), tuple(patients), hash(values))
        if key not in self._predicted:  # runs differ in nothing that a point prediction depends on
            query = Query(target, names, shown, patients)
            self._predicted[key] = BASELINES[baseline](self.latents["train"], [query], 0)[0]
        return self._predicted[key]

    def filled(
        self,
        method: Method,
        latents: Latents,
        patients: Sequence[str],
        missing: Sequence[str],
        *,
        draws: int = 10,
        seed: int = 0,
    ) -> dict[str, Float32]:
        """Take some modalities from patients that have them all, and generate them again.

        Parameters
        ----------
        method
            What generates.
        latents, patients
            Of every modality studied, for patients of these ids.
        missing
            Modalities taken away; at least one is left.
        draws, seed
            Draws per patient and their seed.

        Returns
        -------
        dict
            For each of ``missing``, draws ``(patients, draws, dim)``.

        Raises
        ------
        EnsembleError
            If nothing is left to generate from, or the method cannot serve what is.
        """
        left = [m for m in self.modalities if m not in missing]
        for target in missing:
            if not left or not method.serves(target, left):
                raise EnsembleError(
                    f"{method.name} cannot generate {target} from {', '.join(left) or 'nothing'}"
                )
        shown = {m: latents[m].loc[list(patients)] for m in left}
        return {m: method.generate(m, shown, patients, draws, seed) for m in missing}


def subsets(names: Sequence[str], *, proper: bool = False) -> Iterator[tuple[str, ...]]:
    """Every non-empty subset in order of size; without the whole where only proper ones count."""
    most = len(names) - proper
    yield from chain.from_iterable(combinations(names, n + 1) for n in range(most))


def studied(ensemble: LoadedEnsemble) -> list[str]:
    """Modalities that an evaluation is about: an ensemble's targets; of one, its conditions too."""
    conditions = conditions_of(ensemble.experts) if len(ensemble.targets) == 1 else []
    return list(dict.fromkeys([*ensemble.targets, *conditions]))
