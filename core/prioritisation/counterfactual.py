"""The counterfactual score: how far a prediction hangs on what a missing modality would show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.metrics import draw_variance

CHUNK = 256  # patients predicted at a time: memory stays flat however many there are


def variance_score(predictions: NDArray[np.floating], *, mirrored: bool) -> NDArray[np.float64]:
    """Variance over draws of what is predicted, averaged over outputs (the paper's score, Fig 4).

    Parameters
    ----------
    predictions
        Class probabilities, or the predicted risk as a single output, of each draw:
        ``(patients, draws, outputs)``, at least two draws.
    mirrored
        Whether draws come in mirrored pairs. The two of a pair are not independent, and the plain
        variance of a few pairs is biased; see `codenoise.core.base.metrics.draw_variance`
        for the estimate that is not.

    Returns
    -------
    NDArray
        Shape ``(patients,)``, at least 0; NaN for a patient without draws. In squared units of what
        is predicted.
    """
    return np.asarray(draw_variance(predictions, mirrored=mirrored).mean(axis=1))


def label_changes(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of draws whose most probable class is not the commonest one (the reference code).

    Parameters
    ----------
    probabilities
        Shape ``(patients, draws, classes)``.

    Returns
    -------
    NDArray
        Shape ``(patients,)``, from 0 to below 1; NaN for a patient without draws.
    """
    labels = probabilities.argmax(axis=2)
    votes = (labels[:, :, None] == np.arange(probabilities.shape[2])).sum(axis=1)
    changed = 1 - votes.max(axis=1) / labels.shape[1]
    return np.where(np.isnan(probabilities).any(axis=(1, 2)), np.nan, changed)


def predictions(model: Any, features: NDArray[np.floating]) -> NDArray[np.float64]:
    """What a forest predicts of every draw.

    Parameters
    ----------
    model
        A classifier or a survival forest, of `codenoise.core.prioritisation.outcomes.fit`.
    features
        Shape ``(patients, draws, features)``, NaN where missing.

    Returns
    -------
    NDArray
        Class probabilities in the order of ``model.classes_``, or the risk as a single output:
        ``(patients, draws, outputs)``.
    """
    found = []
    for start in range(0, len(features), CHUNK):
        block = features[start : start + CHUNK]
        flat = block.reshape(-1, block.shape[2])
        classifies = hasattr(model, "predict_proba")
        values = model.predict_proba(flat) if classifies else model.predict(flat)[:, None]
        found.append(np.asarray(values, np.float64).reshape(*block.shape[:2], -1))
    return np.concatenate(found)


def with_draws(
    latents: Mapping[str, pd.DataFrame],
    drawn: Mapping[str, pd.DataFrame],
    patients: Sequence[str],
    draws: int,
) -> NDArray[np.float32]:
    """Features of a forest: latents of all modalities side by side, one version per draw.

    Parameters
    ----------
    latents
        Measured, by modality, indexed by patient; their order is that of the features.
    drawn
        Generated latents of some of the modalities, indexed by patient and draw.
    patients
        Ids.
    draws
        Versions of each patient, which differ in what was generated alone.

    Returns
    -------
    NDArray
        Shape ``(patients, draws, features)``; NaN where nothing was measured or generated.
    """
    columns = []
    every = pd.MultiIndex.from_product([list(patients), range(draws)])
    for modality, table in latents.items():
        values = table.reindex(list(patients)).to_numpy(np.float32).repeat(draws, axis=0)
        if modality in drawn:
            generated = drawn[modality].reindex(every).to_numpy(np.float32)
            values = np.where(np.isnan(values), generated, values)
        columns.append(values.reshape(len(patients), draws, -1))
    return np.concatenate(columns, axis=2)


def drawn_table(draws: NDArray[np.float32], patients: Sequence[str]) -> pd.DataFrame:
    """Draws of shape ``(patients, draws, dim)`` as `with_draws` takes them."""
    index = pd.MultiIndex.from_product([list(patients), range(draws.shape[1])])
    return pd.DataFrame(draws.reshape(len(index), -1), index)
