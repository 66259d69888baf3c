"""Multiple imputation: several completed tables that differ by all that is not known.

What is estimated on each of them is pooled by `codenoise.analysis.pool`. A single completed table
holds expectations; tests on it take what was generated for measured, and find what is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import EnsembleError
from codenoise.core.ensemble.engine import Generation
from codenoise.core.ensemble.imputation import Imputation, Origin, given_table
from codenoise.core.ensemble.noise import Trajectory, trajectory_noise
from codenoise.core.spaces.space import Space

if TYPE_CHECKING:
    from codenoise.core.cohort.tables import Table

Float32 = NDArray[np.float32]
# In place of an attempt, these name the noise of what latents do not carry, and that of gaps.
RESIDUAL, GAP = -1, -2


def whole_draws(space: Space, patients: Sequence[str], decoded: Float32, seed: int) -> Float32:
    """Decoded draws with noise for what the space does not carry.

    A feature's noise is Gaussian with its ``residual_sd``, independent of the others'; like that of
    trajectories it depends on patient, draw and seed alone.

    Parameters
    ----------
    space
        Of the target.
    patients
        Ids.
    decoded
        Their draws as `Space.decode` gives them, shape ``(patients, draws, features)``.
    seed
        Of the imputation.

    Returns
    -------
    Float32
        In the space's units, same shape.
    """
    of = [(patient, draw) for patient in patients for draw in range(decoded.shape[1])]
    noise = _noise(space, of, RESIDUAL, seed).reshape(decoded.shape)
    return np.asarray(decoded + noise * space.residual_sd, dtype=np.float32)


def draws_table(space: Space, generation: Generation, seed: int) -> pd.DataFrame:
    """Every whole draw, indexed by patient and draw; patients without one are left out.

    Units and noise are those of `whole_draws`.
    """
    usable = np.flatnonzero(generation.attempts[:, 0] > 0)
    patients = [generation.patients[row] for row in usable]
    index = pd.MultiIndex.from_product(
        [patients, range(generation.draws.shape[1])], names=["patient", "draw"]
    )
    values = whole_draws(space, patients, space.decode(generation.draws[usable]), seed)
    return pd.DataFrame(values.reshape(len(index), -1), index=index, columns=list(space.features))


def draws_needed(tables: int, *, mirrored: bool) -> int:
    """Draws behind some completed tables: of a mirrored pair only one, for two are not independent.

    Parameters
    ----------
    tables
        Completed tables wanted.
    mirrored
        Whether draws come in mirrored pairs.
    """
    return 2 * tables if mirrored else tables


def completed_tables(result: Imputation, count: int) -> list[dict[str, Table]]:
    """Several completed versions of every target, for multiple imputation (Rubin 1987).

    Parameters
    ----------
    result
        With at least `draws_needed` draws.
    count
        Tables wanted, at least 2.

    Returns
    -------
    list of dict
        For each version, modality to table: observed values as given, each generated value a draw
        (`whole_draws`), and each gap filled by the decoded value with noise of the space's
        ``residual_sd``. Values that nothing could generate stay missing.

    Raises
    ------
    EnsembleError
        If fewer than two are wanted, or there are too few draws.
    """
    if count < 2:
        raise EnsembleError(f"multiple imputation needs at least 2 completed tables, not {count}")
    mirrored = result.ensemble.settings.mirrored
    needed = draws_needed(count, mirrored=mirrored)
    if result.draws < needed:
        pairs = ", for draws come in mirrored pairs of which each takes one" if mirrored else ""
        raise EnsembleError(
            f"{count} completed tables need {needed} draws{pairs}; there are {result.draws}, so "
            f"ask for draws={needed}"
        )
    whole = {
        name: draws_table(result.ensemble.spaces[name], generation, result.seed)
        for name, generation in result.generations.items()
    }
    step = 2 if mirrored else 1
    return [
        {name: _version(result, name, whole[name], place * step) for name in result.completed}
        for place in range(count)
    ]


def _version(result: Imputation, name: str, whole: pd.DataFrame, draw: int) -> Table:
    space, origin = result.ensemble.spaces[name], result.mask[name].frame
    values = result.completed[name].frame.copy()
    shared = [feature for feature in space.features if feature in values.columns]
    drawn = whole.xs(draw, level="draw") if len(whole) else whole.droplevel("draw")
    values.loc[drawn.index, shared] = drawn[shared].to_numpy()
    gaps = origin[shared] == Origin.RECONSTRUCTED
    rows = list(values.index[gaps.any(axis=1)])
    if rows:
        noise = _noise(space, [(patient, draw) for patient in rows], GAP, result.seed)
        moved = pd.DataFrame(noise * space.residual_sd, rows, list(space.features))[shared]
        values.loc[rows, shared] += moved.where(gaps.loc[rows], 0.0)
    return given_table(result.given, space).completed(values)


def _noise(
    space: Space, of: Sequence[tuple[str, int]], what: int, seed: int
) -> NDArray[np.float32]:
    """Standard normal values, shape ``(len(of), features)``, each row named by patient and draw."""
    names = [Trajectory(space.modality, patient, draw, what) for patient, draw in of]
    return trajectory_noise(names, seed, 1, len(space.features))[:, 0]
