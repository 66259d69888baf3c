"""Privacy: what generators give away of the patients that they were trained on (Table 3, Fig 5).

Two questions are kept apart. How like the population is what a generator gives when it is given
nothing? And does anything that it gives tell who was in its training set?
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.base.metrics import energy_distance
from codenoise.core.base.optional import needed, quiet
from codenoise.evaluation.experiment import Experiment, Part, Row
from codenoise.evaluation.experiments.fidelity import f1, precision_recall
from codenoise.evaluation.experiments.privacy_attacks import attacks, matched
from codenoise.evaluation.experiments.privacy_reading import section
from codenoise.evaluation.experiments.unconditional import NARROWED, OTHERS, REAL, compared_sets
from codenoise.evaluation.study import Study

Float32 = NDArray[np.float32]
# Most patients of a set, of a group under attack, and of a set in the figure; and in quick mode.
SET, ATTACKED, DRAWN = (1000, 150), (240, 80), (150, 60)


def parts(study: Study) -> list[Part]:
    """For every target: fidelity and attacks of each run, and the points of the figure.

    Raises
    ------
    DataError
        If fewer than two modalities are studied.
    """
    if len(study.modalities) < 2:
        raise DataError(
            f"privacy needs a target and a condition; the study has "
            f"{', '.join(study.modalities) or 'no modality'}: give the tables of two modalities"
        )
    measured = [
        Part(f"run{run}-{target}", partial(_measure, study, target, run, seed))
        for run, seed in enumerate(study.seeds())
        for target in study.modalities
    ]
    drawn = [
        Part(f"points-{target}", partial(_points, study, target)) for target in study.modalities
    ]
    return [*measured, *drawn]


def _measure(study: Study, target: str, run: int, seed: int) -> list[Row]:
    keys: Row = {"run": run, "seed": seed, "target": target}
    rng = np.random.default_rng([seed, study.modalities.index(target)])
    sets = compared_sets(study, target, SET[study.quick], seed, rng)
    if isinstance(sets, str):
        return [keys | {"kind": "fidelity", "method": OTHERS, "patients": 0, "reason": sets}]
    rows = [keys | row for row in _fidelity(sets)]
    couples, alone = matched(study, target, ATTACKED[study.quick], rng)
    keys |= {"kind": "attack", "left_out": alone}
    if len(couples) < 2:
        reason = "fewer than 2 test patients have a training patient like them"
        return [*rows, keys | {"method": OTHERS, "patients": len(couples), "reason": reason}]
    return [*rows, *(keys | row for row in attacks(study, target, couples, sets, seed))]


def _fidelity(sets: Mapping[str, Float32]) -> Iterator[Row]:
    """Every set against the training patients called `REAL`."""
    real = sets[REAL]
    for name, values in sets.items():
        if name == REAL:
            continue
        precision, recall = precision_recall(real, values)
        yield {
            "kind": "fidelity",
            "method": name,
            "patients": len(values),
            "precision": precision,
            "recall": recall,
            "f1": f1(precision, recall),
            "energy_distance": energy_distance(real, values),
            "variance_ratio": float(values.var(axis=0).sum() / real.var(axis=0).sum()),
        }


def _points(study: Study, target: str) -> list[Row]:
    """Sets in the plane of PCA and of UMAP, both fitted on training patients; of the first run."""
    from sklearn.decomposition import PCA

    seed = study.seed
    keys: Row = {"run": 0, "seed": seed, "target": target, "kind": "point"}
    rng = np.random.default_rng([seed, study.modalities.index(target)])
    sets = compared_sets(study, target, SET[study.quick], seed, rng)
    if isinstance(sets, str):
        return [keys | {"method": REAL, "patients": 0, "reason": sets}]
    umap = needed("umap", "drawing generated patients", extra="evaluation")
    linear = PCA(2, random_state=seed).fit(sets[REAL])
    with quiet():
        curved = umap.UMAP(random_state=seed, n_jobs=1).fit(sets[REAL])
        shown = {
            name: values[: DRAWN[study.quick]]
            for name, values in sets.items()
            if name not in (OTHERS, NARROWED)
        }
        every = np.concatenate(list(shown.values()))
        plane = np.hstack([linear.transform(every), curved.transform(every)])
    names = [name for name, values in shown.items() for _ in values]
    return [
        keys
        | {"method": name, "patients": len(shown[name])}
        | dict(zip(("pca_x", "pca_y", "umap_x", "umap_y"), map(float, point), strict=True))
        for name, point in zip(names, plane, strict=True)
    ]


EXPERIMENT = Experiment(
    name="privacy",
    title="Privacy",
    question=(
        "What do the generators give when they are given nothing, and does anything that they "
        "give away tell who was in their training set?"
    ),
    paper="Table 3, Fig 5",
    parts=parts,
    section=section,
)
