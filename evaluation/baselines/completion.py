"""Baselines that complete one table: all modalities side by side, with the gaps patients have."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.base.optional import needed
from codenoise.evaluation.baselines.queries import Latents, Query, checked, side_by_side

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
PENALTIES = (0.4, 0.2, 0.1, 0.05)
HELD_OUT = 0.1


@checked
def missforest(train: Latents, queries: Sequence[Query], seed: int) -> list[Float32]:
    """Random forests in turns, each column from all others (Stekhoven & Bühlmann 2012).

    Fitted once to the training patients; every query is answered by the same forests. As in the
    method's own defaults, a tree tries the square root of the columns at a split and keeps five
    patients in a leaf; 25 trees and 4 rounds stand for its 100 and at most 10.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    table = side_by_side(train, sorted(train))
    forest = RandomForestRegressor(25, max_features="sqrt", min_samples_leaf=5, random_state=seed)
    imputer = IterativeImputer(forest, max_iter=4, random_state=seed)
    with warnings.catch_warnings():
        # Forests never settle to the imputer's tolerance; the number of rounds is the rule here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        imputer.fit(table.to_numpy(np.float32))
    rows = [_asked(query, table) for query in queries]
    # Each row is completed by itself, so all queries can share the passes through the forests.
    completed = imputer.transform(np.concatenate(rows))
    blocks = np.split(completed, np.cumsum([len(block) for block in rows])[:-1])
    return [_answer(block, query, table) for block, query in zip(blocks, queries, strict=True)]


@checked
def softimpute(train: Latents, queries: Sequence[Query], seed: int) -> list[Float32]:
    """Low-rank completion by soft-thresholded singular values (Mazumder et al. 2010).

    Each query's patients are completed together with the training patients, and apart from those of
    other queries, which may show what this one asks for. Columns are centred on their training
    means. The penalty is chosen once, see `_penalty`.
    """
    table = side_by_side(train, sorted(train))
    centre = table.mean().to_numpy()
    known = table.to_numpy(np.float64) - centre
    penalty = _penalty(known, table.columns.get_level_values(0), seed)
    answers = []
    for query in queries:
        stacked = np.concatenate([known, _asked(query, table) - centre])
        rows = _soft_thresholded(stacked, penalty)[len(known) :] + centre
        answers.append(_answer(rows, query, table))
    return answers


def _penalty(known: Float64, modalities: pd.Index, seed: int) -> float:
    """The penalty that errs least on hidden entries.

    A random tenth of the patients with several modalities lose one of them, as whole modalities are
    what queries ask for. Penalties are tried at `PENALTIES` of the largest singular value.
    """
    rng = np.random.default_rng(seed)
    shown = known.copy()
    blocks = [modalities == name for name in modalities.unique()]
    has = np.stack([~np.isnan(known[:, block]).any(axis=1) for block in blocks], axis=1)
    several = np.flatnonzero(has.sum(axis=1) > 1)
    if not len(several):
        raise DataError("softimpute: no training patient has two modalities to learn from")
    for row in rng.permutation(several)[: int(np.ceil(len(several) * HELD_OUT))]:
        shown[row, blocks[rng.choice(np.flatnonzero(has[row]))]] = np.nan
    hidden = np.isnan(shown) & ~np.isnan(known)
    largest = float(np.linalg.norm(np.nan_to_num(shown), ord=2))
    errors = {
        share * largest: np.mean(
            (_soft_thresholded(shown, share * largest)[hidden] - known[hidden]) ** 2
        )
        for share in PENALTIES
    }
    return min(errors, key=lambda penalty: float(errors[penalty]))


def _soft_thresholded(values: Float64, penalty: float) -> Float64:
    library = needed("imputation_methods", "the baseline softimpute", extra="baselines")
    imputer = library.SoftImputeImputer(max_iter=1000, shrinkage_value=penalty, on_error="raise")
    return np.asarray(imputer.impute(pd.DataFrame(values)).to_numpy(), dtype=np.float64)


def _asked(query: Query, table: pd.DataFrame) -> Float32:
    """The query's patients in the table's columns, NaN in all that is not shown."""
    return query.shown().reindex(columns=table.columns).to_numpy(np.float32)


def _answer(rows: NDArray[np.floating], query: Query, table: pd.DataFrame) -> Float32:
    return rows[:, table.columns.get_level_values(0) == query.target].astype(np.float32)
