"""Rejection (the paper, S9): when trajectories are rejected, and whether that finds conflicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.diffusion.grid import step_grid, step_shares
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.prioritisation.outcomes import Latents
from codenoise.evaluation.experiment import Experiment, Part, Row
from codenoise.evaluation.experiments.conflict import (
    OF_EXPECTATIONS,
    OF_TRAJECTORIES,
    RULE,
    Scoring,
    auc,
    expectation_scores,
    trajectory_scores,
)
from codenoise.evaluation.experiments.rejection_reading import (
    EXPECTATIONS,
    OTHER,
    POWER,
    RATE,
    SAME,
    section,
)
from codenoise.evaluation.study import COHERENT, PUBLISHED, Study, subsets

THRESHOLDS = (0.7, 0.85, 1.0, 1.15, 1.3)  # the paper's 1.0, 30% up and down
FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2)
FALSE_ALARMS = 0.05
FEWEST = 20  # patients of a part that a condition's usual relations can be learned from


def parts(study: Study) -> list[Part]:
    """One part per run and target.

    Raises
    ------
    DataError
        If there are no two conditions of a target, or fewer than two test patients have everything.
    """
    if len(study.modalities) < 3:
        raise DataError(
            f"conditions can only disagree where a target has two: the study has "
            f"{', '.join(study.modalities) or 'no modality'}; give tables of three modalities"
        )
    patients = study.complete("test")
    if len(patients) < 2:
        raise DataError(
            f"{len(patients)} test patients have all of {', '.join(study.modalities)}; rejection "
            f"needs 2; give fewer modalities"
        )
    return [
        Part(f"run={run} target={target}", partial(_measure, study, run, seed, target))
        for run, seed in enumerate(study.seeds())
        for target in study.modalities
    ]


def _measure(study: Study, run: int, seed: int, target: str) -> list[Row]:
    test = study.latents["test"]
    patients = study.complete("test")
    everyone = set().union(*(test[name].index for name in study.modalities))
    about: Row = {
        "run": run, "seed": seed, "target": target, "patients": len(patients),
        "left_out": len(everyone) - len(patients),
    }  # fmt: skip
    names = [name for name in study.modalities if name != target]
    rates = [
        about | {"measure": RATE, "method": method, "conditions": "+".join(used)} | row
        for method, ensemble in ensembles(study).items()
        for used in ([tuple(names)] if study.quick else subsets(names))
        if len(used) > 1
        for row in _rates(ensemble, target, test, used, patients, seed)
    ]
    return [*rates, *(about | {"measure": POWER} | row for row in _powers(study, target, seed))]


def ensembles(study: Study) -> dict[str, LoadedEnsemble]:
    """The consensuses whose filter is judged: as published, and the ensemble as it is."""
    return {PUBLISHED: study.published, COHERENT: study.ensemble}


def _rates(
    ensemble: LoadedEnsemble,
    target: str,
    test: Latents,
    used: Sequence[str],
    patients: Sequence[str],
    seed: int,
) -> Iterator[Row]:
    """Rejection rates of first attempts over thresholds and fractions.

    Nothing for fewer than two experts, which cannot disagree.
    """
    playing = ensemble.experts_fitting(target, used)
    if len(playing) < 2:
        return
    settings = replace(ensemble.settings, max_retries=0)
    shown = {name: test[name] for name in used}
    trace = replace(ensemble, settings=settings).generate(
        target, shown, patients, draws=1, seed=seed, keep_trace=True
    ).trace  # fmt: skip
    assert trace is not None
    schedule = linear_schedule().alpha_bar
    shares = step_shares(schedule, step_grid(schedule, settings.steps, settings.sampler))
    for threshold in THRESHOLDS:
        over = (trace[:, 0] > threshold) @ shares
        for fraction in FRACTIONS:
            yield {
                "number": len(used), "experts": len(playing), "threshold": threshold,
                "fraction": fraction, "rate": float((over > fraction).mean()),
            }  # fmt: skip


def _powers(study: Study, target: str, seed: int) -> Iterator[Row]:
    """How well each statistic tells patients with one condition swapped from themselves."""
    names = [name for name in study.modalities if name != target]
    scorings = _scorings(study, target, names, seed)
    patients = study.complete("test")
    shown = {name: study.latents["test"][name].loc[patients] for name in names}
    held = study.complete("validation", names)
    usual = {m: f(study.latents["validation"], held) for m, (f, _) in scorings.items() if f}
    own = {m: f(shown, patients) for m, (f, _) in scorings.items() if f}
    rule = {m: e.settings.max_incoherent_fraction for m, e in ensembles(study).items()}
    rng = np.random.default_rng([seed, study.modalities.index(target)])
    for kind, partner in partners(study, patients, rng):
        served = np.flatnonzero(partner >= 0)
        for name in names:
            about: Row = {"swapped": name, "partner": kind, "patients": len(served)}
            ids = [patients[i] for i in served]
            theirs = shown[name].iloc[partner[served]].set_axis(pd.Index(ids))
            swapped = {n: theirs if n == name else shown[n].loc[ids] for n in names}
            for method, (scoring, reason) in scorings.items():
                expected = OF_EXPECTATIONS if method == EXPECTATIONS else OF_TRAJECTORIES
                scores = scoring(swapped, ids) if scoring and len(ids) > 1 else {}
                for statistic in expected:
                    row = about | {"method": method, "statistic": statistic}
                    if statistic not in scores:
                        few = f"{len(ids)} test patients have such a partner" * (len(ids) < 2)
                        yield row | _missing(few or reason or f"no two experts for {statistic}")
                        continue
                    limit = rule[method] if statistic == RULE else _limit(usual[method][statistic])
                    coherent = own[method][statistic][served]
                    yield row | _power(scores[statistic], coherent, limit, seed)


def _scorings(
    study: Study, target: str, names: Sequence[str], seed: int
) -> dict[str, tuple[Scoring | None, str]]:
    """For each consensus and for expectations: what scores patients, or why nothing can."""
    validation, train = study.latents["validation"], study.latents["train"]
    held = study.complete("validation", names)
    found: dict[str, tuple[Scoring | None, str]] = {}
    few = [
        f"{len(there)} {part} patients have all of {', '.join(names)}; {FEWEST} are needed"
        for part, there in (("validation", held), ("training", study.complete("train", names)))
        if len(there) < FEWEST
    ]
    for method, ensemble in ensembles(study).items():
        playing = ensemble.experts_fitting(target, names)
        if few or len(playing) < 2:
            found[method] = None, few[0] if few else f"{len(playing)} experts cannot disagree"
        else:
            found[method] = trajectory_scores(ensemble, target, validation, held, seed), ""
    expected = None
    if not few:
        expected = expectation_scores(study.ensemble.experts, target, names, train, validation)
    found[EXPECTATIONS] = expected, few[0] if few else ""
    return found


def partners(
    study: Study, patients: Sequence[str], rng: np.random.Generator
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Whose condition each patient is given: somebody of another cancer type, then of the same.

    Parameters
    ----------
    study
        Its clinical table says who has which ``cancer_type``.
    patients
        Ids, from which partners are drawn as well.
    rng
        Draws them.

    Yields
    ------
    tuple
        Kind of partner, and position of each patient's, shape ``(patients,)``; -1 where there is
        none, as for a patient of unknown cancer type.
    """
    column = study.clinical.get("cancer_type", pd.Series(dtype=object))
    types = column.reindex(list(patients)).astype(object)
    codes = pd.factorize(types)[0]
    known = codes >= 0
    alike = codes[:, None] == codes
    for kind, fitting in ((OTHER, ~alike), (SAME, alike & ~np.eye(len(codes), dtype=bool))):
        allowed = fitting & known & known[:, None]
        chosen = [int(rng.choice(np.flatnonzero(row))) if row.any() else -1 for row in allowed]
        yield kind, np.array(chosen)


def _limit(scores: NDArray[np.float64]) -> float:
    return float(np.quantile(scores, 1 - FALSE_ALARMS))


def _power(
    swapped: NDArray[np.float64], coherent: NDArray[np.float64], limit: float, seed: int
) -> Row:
    area, low, high = auc(swapped, coherent, seed)
    return {
        "auc": area,
        "low": low,
        "high": high,
        "flagged_coherent": float((coherent > limit).mean()),
        "flagged_swapped": float((swapped > limit).mean()),
        "reason": None,
    }


def _missing(reason: str) -> Row:
    measures = ("auc", "low", "high", "flagged_coherent", "flagged_swapped")
    return dict.fromkeys(measures, float("nan")) | {"reason": reason}


EXPERIMENT = Experiment(
    name="rejection",
    title="Rejection of incoherent trajectories",
    question="How often are trajectories rejected, and does that find conditions in conflict?",
    paper="S9",
    parts=parts,
    section=section,
)
