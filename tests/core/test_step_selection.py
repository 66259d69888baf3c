"""Choosing features and training patients by a recipe, and what a space keeps of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codenoise.core.base.errors import DataError
from codenoise.core.spaces.fit import FittedSpace, fit_space
from codenoise.core.spaces.space import Space
from codenoise.core.spaces.steps import Recipe, fit_steps, select_training

COUNTS: Recipe = (
    ("expressed-features", {"threshold": 1.0, "share": 0.2}),
    ("cpm", {}),
    ("log", {}),
    ("fill-median", {}),
    ("standardise", {}),
)


def counts(patients: int = 120, seed: int = 0) -> pd.DataFrame:
    """Reads of 30 genes in libraries of about a million: 20 expressed, 5 in few patients, 5 never.

    A gene of the second kind has 5 reads in 15% of the patients, one of the third a single read in
    every third patient, which is under one count per million.
    """
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(patients, 6))
    depth = rng.uniform(1.2e6, 2.4e6, size=(patients, 1))
    share = np.exp(factors @ np.random.default_rng(9).normal(0, 0.3, (6, 20)))
    table = np.zeros((patients, 30))
    table[:, :20] = rng.poisson(depth * share / share.sum(axis=1, keepdims=True))
    table[: int(0.15 * patients), 20:25] = 5
    table[::3, 25:] = 1
    return pd.DataFrame(
        table, [f"P{seed}-{i}" for i in range(patients)], [f"g{i}" for i in range(30)]
    )


def fit(train: pd.DataFrame, recipe: Recipe, validation: pd.DataFrame, **more: Any) -> FittedSpace:
    return fit_space(
        train,
        validation,
        modality="rna",
        name="x",
        version="1",
        dim=4,
        preprocessing=recipe,
        **more,
    )


def reloaded(space: Space) -> Space:
    return Space.from_tensors(
        modality=space.modality,
        name=space.name,
        version=space.version,
        features=space.features,
        preprocessing=space.preprocessing,
        encoder=space.encoder.kind,
        unit=space.unit,
        max_missing_fraction=space.max_missing_fraction,
        max_absent_fraction=space.max_absent_fraction,
        tensors=space.tensors(),
    )


def test_a_space_has_the_expressed_features_of_its_training_patients() -> None:
    train, validation = counts(), counts(40, seed=1)
    space = fit(train, COUNTS, validation).space
    assert space.features == tuple(f"g{i}" for i in range(20))
    # A gene that the validation patients alone express is still none of the space's.
    loud = validation.assign(g25=1e5)
    assert fit(train, COUNTS, loud).space.features == space.features


def test_without_the_step_every_varying_feature_is_kept() -> None:
    space = fit(counts(), COUNTS[1:], counts(40, seed=1)).space
    assert space.features == tuple(f"g{i}" for i in range(30))


def test_the_manifest_says_how_features_were_chosen_and_a_space_is_rebuilt_from_it() -> None:
    train, validation = counts(), counts(40, seed=1)
    space = fit(train, COUNTS, validation).space
    assert space.preprocessing[0] == {
        "kind": "expressed-features",
        "options": {"threshold": 1.0, "share": 0.2},
    }
    again = reloaded(space)
    assert again.digest == space.digest
    pd.testing.assert_frame_equal(
        again.encode(validation), space.encode(validation), check_exact=True
    )


def test_a_selection_sees_the_values_that_the_steps_before_it_leave() -> None:
    train, validation = counts(), counts(40, seed=1)
    logged: Recipe = (("counts-from-log2", {"offset": 1.0}), *COUNTS)
    space = fit(np.log2(train + 1), logged, np.log2(validation + 1)).space
    assert space.features == tuple(f"g{i}" for i in range(20))


def test_steps_before_a_selection_are_fitted_on_what_it_leaves() -> None:
    train = counts()
    recipe: Recipe = (("median-centre", {}), ("covered-features", {"max_gaps": 0.0}))
    train.loc["P0-0", ["g3", "g7"]] = np.nan
    rows = select_training(train, recipe)
    assert list(rows.columns) == [c for c in train.columns if c not in ("g3", "g7")]
    (centre, covered) = fit_steps(rows, recipe)
    np.testing.assert_array_equal(centre.tensors()["median"], rows.median().astype(np.float32))
    assert covered.tensors() == {}


def test_values_are_given_back_as_they_came() -> None:
    train = counts()
    rows = select_training(train, COUNTS)
    pd.testing.assert_frame_equal(rows, train[[f"g{i}" for i in range(20)]])
    pd.testing.assert_frame_equal(select_training(train, COUNTS[1:]), train)


def test_more_gaps_are_allowed_where_the_recipe_says_so() -> None:
    train, validation = counts(), counts(40, seed=1)
    train.iloc[:24, 0] = np.nan  # a fifth of the patients
    strict, lax = (
        fit(train, (*first, ("fill-median", {}), ("standardise", {})), validation).space
        for first in ((), (("covered-features", {"max_gaps": 0.25}),))
    )
    assert "g0" not in strict.features
    assert lax.features[0] == "g0"
    assert lax.preprocessing[0] == {"kind": "covered-features", "options": {"max_gaps": 0.25}}


def test_outliers_are_looked_for_where_the_recipe_says_so() -> None:
    train, validation = counts(), counts(40, seed=1)
    train.iloc[5] *= 40  # a deep library: far off in counts, like the others per million
    logs = (("log", {}), ("outlier-samples", {"cutoff": 3.0}), ("standardise", {}))
    per_million = (("cpm", {}), *logs)
    unsaid = fit(train, (("cpm", {}), ("log", {}), ("standardise", {})), validation)
    assert unsaid.n_outliers >= 1
    assert fit(train, per_million, validation).n_outliers == unsaid.n_outliers - 1
    said = fit(train, logs, validation)
    assert (said.n_outliers, said.n_train) == (1, 119)
    assert fit(train, logs, validation, leave_out_outliers=False).n_outliers == 1


def test_a_recipe_that_names_no_selection_is_fitted_as_ever() -> None:
    """The same by naming what is done without being asked, in the same order."""
    train, validation = np.log2(counts() + 1), np.log2(counts(40, seed=1) + 1)
    plain: Recipe = (("fill-median", {}), ("standardise", {}))
    named: Recipe = (
        ("covered-features", {}),
        ("varying-features", {}),
        ("outlier-samples", {}),
        *plain,
    )
    one, other = (fit(train, recipe, validation) for recipe in (plain, named))
    assert one.space.features == other.space.features
    assert (one.n_train, one.n_outliers) == (other.n_train, other.n_outliers)
    for name in ("center", "scale", "latent_mean", "encoder.components"):
        np.testing.assert_array_equal(one.space.tensors()[name], other.space.tensors()[name])
    assert one.space.digest != other.space.digest  # the manifests differ


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            "expressed-features",
            {"share": 20},
            "step 'expressed-features': share is 20.0, expected from 0 to 1",
        ),
        (
            "expressed-features",
            {"threshold": -1.0},
            "step 'expressed-features': threshold is -1.0, expected 0 or more",
        ),
        (
            "expressed-features",
            {"cpm": 1.0},
            "step 'expressed-features' has no option 'cpm'; it takes threshold, share",
        ),
        (
            "covered-features",
            {"max_gaps": 1.5},
            "step 'covered-features': max_gaps is 1.5, expected from 0 to 1",
        ),
        (
            "outlier-samples",
            {"cutoff": 0},
            "step 'outlier-samples': cutoff is 0.0, expected more than 0",
        ),
        (
            "varying-features",
            {"x": 1},
            "step 'varying-features' has no option 'x'; it takes none",
        ),
    ],
)
def test_wrong_options_are_refused(kind: str, options: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        select_training(counts(), [(kind, options)])
    assert str(caught.value) == message


def test_logarithms_given_for_counts_are_refused_by_patient_and_feature() -> None:
    train = np.log2(counts() + 0.001)
    with pytest.raises(DataError) as caught:
        select_training(train, COUNTS)
    assert str(caught.value) == (
        "step 'expressed-features', patient 'P0-1', feature 'g25': -9.96578 is under 0; expected "
        "counts: undo their logarithm first (and 909 more values)"
    )


def test_a_selection_that_leaves_too_little_is_refused_with_the_numbers() -> None:
    recipe: Recipe = (("expressed-features", {"threshold": 9e5}), *COUNTS[1:])
    with pytest.raises(DataError) as caught:
        fit(counts(), recipe, counts(40, seed=1))
    assert str(caught.value) == (
        "a 4-dimensional space of rna needs more than 4 training patients, 4 varying features "
        "with under 10% gaps, 2 validation ones, not 120, 0 and 40"
    )


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0, 1), threshold=st.floats(0, 1e5))
def test_stricter_selections_leave_fewer_features(share: float, threshold: float) -> None:
    train = counts(30)

    def kept(least: float, of: float) -> set[str]:
        options = {"threshold": least, "share": of}
        return set(select_training(train, [("expressed-features", options)]).columns)

    assert kept(threshold, share) <= kept(threshold / 2, share)
    assert kept(threshold, share) <= kept(threshold, share / 2)
