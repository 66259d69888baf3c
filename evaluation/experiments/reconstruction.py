"""Reconstruction: how close generated latents come to the real ones of held-out patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.base.metrics import (
    draw_variance,
    energy_distance,
    energy_score,
    interval_coverage,
    r2_of_expectation,
    r2_per_feature,
    r2_pooled,
)
from codenoise.core.prioritisation.outcomes import Latents
from codenoise.evaluation.experiment import Experiment, Part, Row
from codenoise.evaluation.experiments.reconstruction_reading import (
    COMPLETE,
    INTERVAL,
    QUERY,
    TYPE,
    section,
)
from codenoise.evaluation.study import Method, Study, subsets

Float32 = NDArray[np.float32]
DRAWS = 4  # two mirrored pairs: the fewest from which their spread can be taken off
FOR_COVERAGE = 20  # a 90% interval needs 19
FEWEST_OF_A_TYPE = 20
QUICK_PATIENTS = 60


def measures(real: Float32, draws: Float32, *, mirrored: bool = False) -> dict[str, float]:
    """How close draws of latents come to the real ones, by every measure.

    Parameters
    ----------
    real
        Shape ``(patients, dim)``.
    draws
        Shape ``(patients, draws, dim)``; a single draw is taken for a point prediction.
    mirrored
        Whether draws come in mirrored pairs.

    Returns
    -------
    dict
        ``r2_draw``, ``r2_draw_sd``: pooled R2 of single draws (the measure of the paper's
        Table 1), mean and standard deviation over draws. ``r2_mean``, ``r2_feature``: of the mean
        of the draws, pooled and averaged over features. ``r2_expectation``: pooled, of the mean of
        infinitely many draws. ``energy_score``, ``energy_distance``: means over patients and over
        draws; lower is better. ``coverage``: share of real values in the 90% interval of the draws,
        NaN below 19. ``variance``: of a patient's draws, as a share of the variance of real values
        between patients.

        A point prediction has no draws, so their R2, coverage and variance are NaN; its expectation
        is itself, and its energy score is its distance to the real patient.
    """
    mean = draws.mean(axis=1)
    known = {
        "r2_mean": r2_pooled(real, mean),
        "r2_feature": _mean(r2_per_feature(real, mean)),
        "energy_distance": _mean([energy_distance(real, one) for one in draws.swapaxes(0, 1)]),
    }
    if draws.shape[1] == 1:
        unknown = ("r2_draw", "r2_draw_sd", "coverage", "variance")
        distance = float(np.linalg.norm(mean - real, axis=1).mean())
        return (
            known
            | {"r2_expectation": known["r2_mean"], "energy_score": distance}
            | dict.fromkeys(unknown, float("nan"))
        )
    single = [r2_pooled(real, one) for one in draws.swapaxes(0, 1)]
    between = float(real.var(axis=0, ddof=1, dtype=np.float64).mean())
    spread = float(draw_variance(draws, mirrored=mirrored).mean())
    return known | {
        "r2_draw": float(np.mean(single)),
        "r2_draw_sd": float(np.std(single, ddof=1)),
        "r2_expectation": r2_of_expectation(real, draws, mirrored=mirrored),
        "energy_score": float(energy_score(real, draws, mirrored=mirrored).mean()),
        "coverage": interval_coverage(real, draws),
        "variance": spread / between if between > 0 else float("nan"),
    }


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Mean of what is known; NaN where nothing is."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")


def parts(study: Study) -> list[Part]:
    """One part for each run and target, and one for each target's intervals.

    Raises
    ------
    DataError
        If fewer than two modalities are studied, or no test patient has two of them.
    """
    if len(study.modalities) < 2:
        raise DataError(
            f"the cohort has {', '.join(study.modalities) or 'no modality'} of the ensemble's "
            f"targets; reconstruction needs a table of a second one"
        )
    queries = {target: list(_queries(study, target)) for target in study.modalities}
    if not any(patients for asked in queries.values() for _, patients in asked):
        raise DataError(
            "no test patient of the split has two modalities; reconstruction generates one from "
            "another, so list such patients under 'test'"
        )
    every = [
        Part(f"run {run}, {target}", partial(_measured, study, target, run, seed))
        for run, seed in enumerate(study.seeds())
        for target in study.modalities
    ]
    return every + [
        Part(f"intervals, {target}", partial(_intervals, study, target))
        for target in study.modalities
    ]


def _queries(study: Study, target: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Each set of conditions and the test patients that have it and the target.

    In a quick study, sets of one condition and of all, and at most `QUICK_PATIENTS`, drawn by lot
    (ids begin with the hospital, so the first ones would be of few cancer types).
    """
    others = [m for m in study.modalities if m != target]
    for conditions in subsets(others):
        if study.quick and len(conditions) not in (1, len(others)):
            continue
        patients = study.complete("test", [target, *conditions])
        if study.quick and len(patients) > QUICK_PATIENTS:
            rng = np.random.default_rng(study.seed)
            patients = sorted(rng.choice(patients, QUICK_PATIENTS, replace=False).tolist())
        yield conditions, patients


def _measured(study: Study, target: str, run: int, seed: int) -> list[Row]:
    test = study.latents["test"]
    rows: list[Row] = []
    queries = list(_queries(study, target))
    whole = set(study.complete("test"))
    typed = _sets_by_type(queries)
    for conditions, patients in queries:
        known = _known(target, conditions, run, seed, DRAWS)
        for method in study.methods.values():
            if method.point and run:
                continue  # it depends on no seed
            about: Row = {**known, "method": method.name, "scope": QUERY}
            about["patients"] = len(patients)
            reason = _impossible(method, target, conditions, patients)
            if reason:
                rows.append(about | {"r2_draw": float("nan"), "reason": reason})
                continue
            draws = _drawn(method, test, target, conditions, patients, DRAWS, seed)
            real = test[target].loc[patients].to_numpy()
            rows.append({**about, **measures(real, draws, mirrored=method.mirrored)})
            shared = np.array([p in whole for p in patients])
            if shared.sum() > 1:
                found = measures(real[shared], draws[shared], mirrored=method.mirrored)
                scope: Row = {"scope": COMPLETE, "patients": int(shared.sum())}
                rows.append({**about, **scope, **found})
            if conditions in typed:
                rows += [
                    about | {"scope": TYPE} | of_type
                    for of_type in _by_type(study, patients, real, draws, method)
                ]
    return rows


def _sets_by_type(
    queries: Sequence[tuple[tuple[str, ...], list[str]]],
) -> set[tuple[str, ...]]:
    """All conditions, and the largest set of those that the most patients have."""
    most = max(len(patients) for _, patients in queries)
    frequent = [conditions for conditions, patients in queries if len(patients) == most]
    return {queries[-1][0], frequent[-1]}


def _by_type(
    study: Study, patients: Sequence[str], real: Float32, draws: Float32, method: Method
) -> Iterator[Row]:
    """R2 of the expectation within each cancer type, against that type's own mean.

    Pooled R2 compares with one mean of all entries. Within a type the means of features differ, so
    they are taken off first; otherwise knowing the type alone would look like knowledge within it.
    """
    if "cancer_type" not in study.clinical:
        yield {"r2_expectation": float("nan"), "reason": "no clinical column 'cancer_type'"}
        return
    types = study.clinical["cancer_type"].reindex(list(patients))
    counts = types.value_counts()
    for name in sorted(counts.index[counts >= FEWEST_OF_A_TYPE]):
        rows = (types == name).to_numpy()
        own = real[rows].mean(axis=0)
        values, drawn = real[rows] - own, draws[rows] - own
        found = (
            r2_pooled(values, drawn[:, 0])
            if method.point
            else r2_of_expectation(values, drawn, mirrored=method.mirrored)
        )
        yield {"cancer_type": str(name), "patients": int(rows.sum()), "r2_expectation": found}
    rare = counts[counts < FEWEST_OF_A_TYPE]
    unknown = int(types.isna().sum())
    if len(rare) or unknown:
        named = ", ".join(sorted(map(str, rare.index))) or "none"
        yield {
            "patients": int(rare.sum()) + unknown,
            "r2_expectation": float("nan"),
            "reason": f"cancer types with fewer than {FEWEST_OF_A_TYPE} of these patients: "
            f"{named}; patients without a type: {unknown}",
        }


def _intervals(study: Study, target: str) -> list[Row]:
    """Coverage of 90% intervals from all conditions, in the first run."""
    conditions, patients = list(_queries(study, target))[-1]
    test, rows = study.latents["test"], []
    known = _known(target, conditions, 0, study.seed, FOR_COVERAGE)
    for method in study.methods.values():
        if method.point:
            continue
        about = known | {"method": method.name, "scope": INTERVAL, "patients": len(patients)}
        reason = _impossible(method, target, conditions, patients)
        if reason:
            rows.append(about | {"coverage": float("nan"), "reason": reason})
            continue
        draws = _drawn(method, test, target, conditions, patients, FOR_COVERAGE, study.seed)
        found = interval_coverage(test[target].loc[patients].to_numpy(), draws)
        rows.append(about | {"coverage": found})
    return rows


def _known(target: str, conditions: Sequence[str], run: int, seed: int, draws: int) -> Row:
    return {
        "run": run,
        "seed": seed,
        "target": target,
        "conditions": "+".join(conditions),
        "given": len(conditions),
        "draws": draws,
    }


def _impossible(
    method: Method, target: str, conditions: Sequence[str], patients: Sequence[str]
) -> str:
    """Why a query has no answer; empty where it has one."""
    if len(patients) < 2:
        return f"{len(patients)} test patients have {target} and {' and '.join(conditions)}"
    if not method.serves(target, conditions):
        return f"no expert generates {target} from {' or '.join(conditions)}"
    return ""


def _drawn(
    method: Method,
    test: Latents,
    target: str,
    conditions: Sequence[str],
    patients: Sequence[str],
    draws: int,
    seed: int,
) -> Float32:
    shown: dict[str, pd.DataFrame] = {m: test[m].loc[list(patients)] for m in conditions}
    return method.generate(target, shown, patients, draws, seed)


EXPERIMENT = Experiment(
    name="reconstruction",
    title="Reconstruction of held-out modalities",
    question="How close do generated latents come to the real ones, from which other modalities?",
    paper="Table 1, S2",
    parts=parts,
    section=section,
)
