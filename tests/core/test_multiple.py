"""Several completed tables: what differs between them, and by how much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import codenoise
from codenoise.core.base.errors import EnsembleError
from codenoise.core.ensemble.imputation import Imputation, Origin
from codenoise.core.ensemble.multiple import completed_tables, draws_table, whole_draws

EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga"
TABLES = 10


@pytest.fixture(scope="module")
def result(example_ensemble: codenoise.Ensemble) -> Imputation:
    cohort = codenoise.read_cohort(
        EXAMPLE / "cohort", ["rppa", "cna"], features=example_ensemble.features
    )
    return example_ensemble.impute(cohort, draws=2 * TABLES, seed=1, targets=["rppa"])


@pytest.fixture(scope="module")
def versions(result: Imputation) -> list[pd.DataFrame]:
    return [version["rppa"].frame for version in result.tables(TABLES)]


def test_observed_values_are_the_same_in_every_table(
    result: Imputation, versions: list[pd.DataFrame]
) -> None:
    observed = result.mask["rppa"].frame == Origin.OBSERVED
    for version in versions:
        assert list(version.index) == list(result.completed["rppa"].frame.index)
        pd.testing.assert_frame_equal(
            version.where(observed), result.completed["rppa"].frame.where(observed)
        )
        assert version.notna().all(axis=None)


def test_generated_values_are_whole_draws_of_independent_trajectories(
    result: Imputation, versions: list[pd.DataFrame]
) -> None:
    space = result.ensemble.spaces["rppa"]
    table = draws_table(space, result.generations["rppa"], result.seed)
    for place, version in enumerate(versions):
        own = table.xs(2 * place, level="draw")  # the other of a mirrored pair is not independent
        np.testing.assert_array_equal(version.loc[own.index, own.columns], own)


def test_tables_vary_as_the_spread_says(result: Imputation, versions: list[pd.DataFrame]) -> None:
    origin, spread = result.mask["rppa"].frame, result.spread["rppa"].frame
    stack = np.stack([version.to_numpy() for version in versions])
    # Gaps are few: their variance is that of 15 values in 10 tables.
    for kind, off in ((Origin.GENERATED, 0.05), (Origin.RECONSTRUCTED, 0.4)):
        cells = (origin == kind).to_numpy()
        assert cells.any()
        ratio = stack.var(axis=0, ddof=1)[cells].mean() / (spread.to_numpy()[cells] ** 2).mean()
        assert ratio == pytest.approx(1, abs=off)


def test_what_latents_do_not_carry_is_gaussian_noise_of_its_own_for_every_draw(
    result: Imputation,
) -> None:
    space, generation = result.ensemble.spaces["rppa"], result.generations["rppa"]
    patients, draws = list(generation.patients[:20]), space.decode(generation.draws[:20])
    noise = whole_draws(space, patients, draws, 1) - draws
    unit = noise / space.residual_sd
    assert unit.mean() == pytest.approx(0, abs=0.01)
    assert unit.std() == pytest.approx(1, abs=0.01)
    pairs = unit[:, ::2].ravel() @ unit[:, 1::2].ravel() / (unit.size / 2)
    assert pairs == pytest.approx(0, abs=0.02)


def test_a_patient_has_the_same_draws_in_any_company(result: Imputation) -> None:
    space, generation = result.ensemble.spaces["rppa"], result.generations["rppa"]
    patients, draws = list(generation.patients), space.decode(generation.draws)
    alone = whole_draws(space, patients[3:4], draws[3:4], 1)
    np.testing.assert_array_equal(whole_draws(space, patients, draws, 1)[3:4], alone)
    assert (whole_draws(space, patients[3:4], draws[3:4], 2) != alone).any()


def test_too_few_draws_are_refused_with_how_many_are_needed(result: Imputation) -> None:
    with pytest.raises(EnsembleError, match=r"11 completed tables need 22 draws.*there are 20"):
        completed_tables(result, TABLES + 1)
    with pytest.raises(EnsembleError, match="at least 2 completed tables, not 1"):
        completed_tables(result, 1)
    single = replace(
        result, ensemble=replace(
            result.ensemble, settings=replace(result.ensemble.settings, mirrored=False)
        ),
    )  # fmt: skip
    assert len(completed_tables(single, 2 * TABLES)) == 2 * TABLES
