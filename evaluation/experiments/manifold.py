"""The manifold: whether generated patients lie where real ones do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.base.metrics import energy_distance
from codenoise.core.base.optional import needed, quiet
from codenoise.evaluation.experiment import Experiment, Part, Row
from codenoise.evaluation.experiments.manifold_reading import (
    CHANCE,
    CONTROL,
    DRAWN,
    POINT,
    REAL,
    SCORE,
    WHOLE,
    section,
)
from codenoise.evaluation.study import Method, Study

Float32 = NDArray[np.float32]
FOLDS, TREES = 5, 100
# The first of two mirrored pairs is kept: a calibrated spread needs draws to be spread around.
DRAWS = 4
FEWEST = 20  # patients, for neighbourhoods and folds that mean something
QUICK_PATIENTS = 60
SCORED_RUNS = 3  # forests are slow, and seeds matter little beside the choice of patients


def told_apart(
    real: Float32, generated: Float32, patients: Sequence[str], seed: int = 0
) -> Float32:
    """How sure a random forest is that a held-out point was generated.

    Folds are by patient, so that a forest never sees the real side of a patient whose generated
    side it judges, or the reverse.

    Parameters
    ----------
    real, generated
        Shape ``(patients, dim)``, row by row of ``patients``.
    patients
        Ids, at least as many as there are folds.
    seed
        Of folds and forests.

    Returns
    -------
    NDArray
        Probabilities, shape ``(2, patients)``: of the real points, then of the generated ones.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import GroupKFold, cross_val_predict

    forest = RandomForestClassifier(TREES, random_state=seed)
    folds = GroupKFold(FOLDS, shuffle=True, random_state=seed)
    labels = np.repeat([0, 1], [len(real), len(generated)])
    found = cross_val_predict(
        *(forest, np.vstack([real, generated]), labels),
        groups=[*patients, *patients], cv=folds, method="predict_proba",
    )  # fmt: skip
    return np.asarray(found[:, 1].reshape(2, len(patients)), dtype=np.float32)


def parts(study: Study) -> list[Part]:
    """One part that draws the map, and one for the scores of each of the first runs.

    Raises
    ------
    DataError
        If fewer than two modalities are studied, or too few training or test patients have all.
    """
    if len(study.modalities) < 2:
        raise DataError(
            f"the cohort has {', '.join(study.modalities) or 'no modality'} of the ensemble's "
            f"targets; the manifold needs a table of a second one"
        )
    for part in ("train", "test"):
        found = len(study.complete(part))
        if found < FEWEST:
            raise DataError(
                f"{found} {part} patients of the split have all of {', '.join(study.modalities)}; "
                f"the manifold needs {FEWEST}: add patients, or leave a modality out"
            )
    scores = [
        Part(f"run {run}", partial(_scores, study, run, seed))
        for run, seed in enumerate(study.seeds()[:SCORED_RUNS])
    ]
    return [Part("map", partial(_map, study)), *scores]


def _patients(study: Study) -> list[str]:
    """Test patients with all modalities; in a quick study at most `QUICK_PATIENTS`, by lot."""
    patients = study.complete("test")
    if study.quick and len(patients) > QUICK_PATIENTS:
        rng = np.random.default_rng(study.seed)
        patients = sorted(rng.choice(patients, QUICK_PATIENTS, replace=False).tolist())
    return patients


def _spaces(study: Study, tables: Mapping[str, Float32]) -> dict[str, Float32]:
    """Latents of the whole, modalities side by side, and of each: ``(patients, dim)``."""
    return {WHOLE: np.hstack([tables[m] for m in study.modalities]), **tables}


def _real(study: Study, part: str, patients: Sequence[str]) -> dict[str, Float32]:
    tables = study.latents[part]
    return _spaces(study, {m: tables[m].loc[list(patients)].to_numpy() for m in study.modalities})


def _generated(
    study: Study, method: Method, patients: Sequence[str], seed: int
) -> dict[str, Float32] | str:
    """One draw of each modality from all others, or why there is none."""
    drawn: dict[str, Float32] = {}
    for target in study.modalities:
        others = [m for m in study.modalities if m != target]
        if not method.serves(target, others):
            return f"no expert generates {target} from {' or '.join(others)}"
        values = study.filled(
            method, study.latents["test"], patients, [target], draws=DRAWS, seed=seed
        )
        drawn[target] = values[target][:, 0]
    return _spaces(study, drawn)


def _map(study: Study) -> list[Row]:
    """Where UMAP, fitted on real training patients, puts real and generated test patients."""
    patients = _patients(study)
    train, real = _real(study, "train", study.complete("train")), _real(study, "test", patients)
    clouds: dict[str, dict[str, Float32]] = {REAL: real}
    rows: list[Row] = []
    known: Row = {"run": 0, "seed": study.seed, "kind": POINT, "patients": len(patients)}
    for name in DRAWN:
        if name in study.methods:
            found = _generated(study, study.methods[name], patients, study.seed)
            if isinstance(found, str):
                rows.append(known | {"method": name, "x": float("nan"), "reason": found})
            else:
                clouds[name] = found
    types = _types(study, patients)
    for modality, fitted in train.items():
        place = _fitted_map(fitted)
        for method, cloud in clouds.items():
            for patient, kind, (x, y) in zip(
                patients, types, place(cloud[modality]).tolist(), strict=True
            ):
                about: Row = {"method": method, "modality": modality, "cancer_type": kind}
                rows.append(known | about | {"patient": patient, "x": x, "y": y})
    return rows


def _types(study: Study, patients: Sequence[str]) -> list[str | None]:
    if "cancer_type" not in study.clinical:
        return [None] * len(patients)
    types = study.clinical["cancer_type"].reindex(list(patients))
    return [None if pd.isna(kind) else str(kind) for kind in types]


def _fitted_map(train: Float32) -> Callable[[Float32], NDArray[np.float32]]:
    """A function from ``(patients, dim)`` to ``(patients, 2)``, fitted on training patients."""
    umap: Any = needed("umap", "drawing the manifold", extra="evaluation")
    neighbours = min(15, len(train) - 1)
    with quiet():
        fitted = umap.UMAP(n_neighbors=neighbours, random_state=0, n_jobs=1).fit(train)

    def place(values: Float32) -> NDArray[np.float32]:
        with quiet():
            return np.asarray(fitted.transform(values), dtype=np.float32)

    return place


def _scores(study: Study, run: int, seed: int) -> list[Row]:
    """Distance from the real patients, and how well a forest tells generated ones from them."""
    from sklearn.metrics import roc_auc_score

    patients = _patients(study)
    real = _real(study, "test", patients)
    known: Row = {"run": run, "seed": seed, "kind": SCORE}
    clouds: dict[str, tuple[dict[str, Float32], int]] = {}
    rows: list[Row] = []
    for method in study.methods.values():
        if method.point and run:
            continue  # it depends on no seed
        found = _generated(study, method, patients, seed)
        if isinstance(found, str):
            lost: Row = {"method": method.name, "auc": float("nan"), "reason": found}
            rows.append(known | lost | {"patients": len(patients)})
        else:
            clouds[method.name] = found, len(patients)
    rng = np.random.default_rng(seed)
    others = study.complete("train")
    count = min(len(patients), len(others))
    drawn = rng.choice(others, count, replace=False).tolist()
    clouds[CONTROL] = _real(study, "train", drawn), count
    for name, (cloud, count) in clouds.items():
        for modality, values in cloud.items():
            mine = real[modality][:count]
            chances = told_apart(mine, values, patients[:count], seed)
            auc = roc_auc_score(np.repeat([0, 1], count), chances.ravel())
            about: Row = {"method": name, "modality": modality, "patients": count}
            scored: Row = {"auc": float(auc), "energy_distance": energy_distance(mine, values)}
            rows.append(known | about | scored)
            if modality == WHOLE and name != CONTROL:
                about["kind"] = CHANCE
                rows += [
                    known | about | {"patient": patient, "if_real": was_real, "if_generated": made}
                    for patient, was_real, made in zip(patients, *chances.tolist(), strict=True)
                ]
    return rows


EXPERIMENT = Experiment(
    name="manifold",
    title="The manifold of real and generated patients",
    question="Do generated patients lie where real ones do?",
    paper="Fig 1, S1",
    parts=parts,
    section=section,
)
