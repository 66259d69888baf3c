"""Completed tables against values that were held back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from codenoise.core.base.errors import DataError, SpaceError
from codenoise.core.ensemble.imputation import Origin
from codenoise.core.spaces.fit import fit_space
from codenoise.core.spaces.space import Space
from codenoise.evaluation.truth import TruthResult, against_truth

FEATURES = [f"f{i}" for i in range(8)]


def factor_table(patients: int, seed: int) -> pd.DataFrame:
    mixing = np.random.default_rng(99).standard_normal((3, len(FEATURES)))
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((patients, 3))
    values = 4 * (hidden @ mixing) + rng.standard_normal((patients, len(FEATURES))) + 10
    return pd.DataFrame(values, index=[f"p{i}" for i in range(patients)], columns=FEATURES)


@pytest.fixture(scope="module")
def space() -> Space:
    """A space that takes gaps."""
    train = factor_table(200, seed=0)
    train.iloc[:5, 0] = np.nan
    return fit_space(
        train, factor_table(50, seed=1), modality="rna", name="toy", version="1", dim=3
    ).space


@pytest.fixture(scope="module")
def strict_space() -> Space:
    """A space that takes no gaps."""
    train, validation = factor_table(200, seed=0), factor_table(50, seed=1)
    return fit_space(train, validation, modality="rna", name="toy", version="1", dim=3).space


@pytest.fixture
def truth() -> pd.DataFrame:
    return factor_table(60, seed=2)


@pytest.fixture
def guess(truth: pd.DataFrame) -> pd.DataFrame:
    return truth + np.random.default_rng(3).standard_normal(truth.shape)


def compare(
    space: Space,
    completed: pd.DataFrame,
    truth: pd.DataFrame,
    spread: float | pd.DataFrame = 1.0,
    mask: pd.DataFrame | None = None,
) -> TruthResult:
    if isinstance(spread, float):
        spread = pd.DataFrame(spread, index=completed.index, columns=completed.columns)
    if mask is None:
        mask = pd.DataFrame(int(Origin.GENERATED), index=completed.index, columns=completed.columns)
    return against_truth(space, completed, spread, mask, truth)


def test_a_perfect_imputation_is_perfect_in_every_measure(
    space: Space, truth: pd.DataFrame
) -> None:
    result = compare(space, truth.copy(), truth)
    assert result.target == "rna"
    assert (result.patients, result.values) == (60, 60 * 8)
    assert result.r2_latent == pytest.approx(1)
    assert result.r2_feature_pooled == pytest.approx(1)
    assert result.r2_feature_mean == pytest.approx(1)
    assert result.within_90 == 1


def test_a_perfect_imputation_is_within_even_no_spread(space: Space, truth: pd.DataFrame) -> None:
    assert compare(space, truth.copy(), truth, spread=0.0).within_90 == 1


def test_features_are_compared_in_units_of_the_training_patients(
    space: Space, truth: pd.DataFrame, guess: pd.DataFrame
) -> None:
    result = compare(space, guess, truth)
    wanted, got = ((t.to_numpy() - space.center) / space.scale for t in (truth, guess))
    pooled = r2_score(wanted.ravel(), got.ravel())
    assert result.r2_feature_pooled == pytest.approx(pooled, abs=1e-5)
    each = r2_score(truth, guess, multioutput="raw_values")
    assert result.r2_feature_mean == pytest.approx(each.mean(), abs=1e-5)


def test_latents_are_compared_after_encoding_both(
    space: Space, truth: pd.DataFrame, guess: pd.DataFrame
) -> None:
    wanted, got = (space.encode(t).to_numpy().ravel() for t in (truth, guess))
    assert compare(space, guess, truth).r2_latent == pytest.approx(r2_score(wanted, got), abs=1e-5)


def test_the_training_mean_has_an_r2_of_about_zero(space: Space) -> None:
    truth = factor_table(2000, seed=4)
    mean = pd.DataFrame(
        np.broadcast_to(space.center, truth.shape), index=truth.index, columns=FEATURES
    )
    result = compare(space, mean, truth)
    assert result.r2_feature_pooled == pytest.approx(0, abs=0.05)
    assert result.r2_latent == pytest.approx(0, abs=0.05)


def test_ninety_percent_of_gaussian_errors_are_within_the_interval(space: Space) -> None:
    truth = factor_table(2000, seed=4)
    rng = np.random.default_rng(5)
    spread = pd.DataFrame(rng.uniform(0.5, 2, truth.shape), index=truth.index, columns=FEATURES)
    guess = truth + spread * rng.standard_normal(truth.shape)
    assert compare(space, guess, truth, spread).within_90 == pytest.approx(0.9, abs=0.01)
    assert compare(space, guess, truth, spread / 2).within_90 < 0.65


def test_only_patients_with_a_truth_that_were_generated_are_compared(
    space: Space, truth: pd.DataFrame, guess: pd.DataFrame
) -> None:
    mask = pd.DataFrame(Origin.GENERATED, index=guess.index, columns=FEATURES).astype("int64")
    mask.iloc[:10] = Origin.OBSERVED
    mask.iloc[10:15] = Origin.UNAVAILABLE
    mask.iloc[15:20, 0] = Origin.RECONSTRUCTED
    mask.iloc[15:20, 1:] = Origin.OBSERVED
    stranger = truth.iloc[:1].rename(index={"p0": "stranger"})
    known = pd.concat([truth.iloc[:50], stranger])
    result = compare(space, guess, known, mask=mask)
    ids = truth.index[20:50]
    assert result == compare(space, guess.loc[ids], truth.loc[ids])
    assert (result.patients, result.values) == (30, 240)


def test_the_order_of_patients_and_columns_does_not_matter(
    space: Space, truth: pd.DataFrame, guess: pd.DataFrame
) -> None:
    shuffled = truth.sample(frac=1, random_state=0)[FEATURES[::-1]].assign(extra=1.0)
    result, expected = compare(space, guess, shuffled), compare(space, guess, truth)
    for name in ("r2_latent", "r2_feature_pooled", "r2_feature_mean", "within_90"):
        assert getattr(result, name) == pytest.approx(getattr(expected, name), abs=1e-6)


def test_columns_beyond_the_space_are_not_compared(
    space: Space, truth: pd.DataFrame, guess: pd.DataFrame
) -> None:
    wide, more = guess.assign(extra=np.nan), truth.assign(extra=5.0)
    mask = pd.DataFrame(Origin.GENERATED, index=wide.index, columns=wide.columns).astype("int64")
    mask["extra"] = int(Origin.UNAVAILABLE)
    assert compare(space, wide, more, mask=mask) == compare(space, guess, truth)


def test_gaps_in_the_truth_are_not_counted(space: Space, truth: pd.DataFrame) -> None:
    holey = truth.copy()
    holey.iloc[0, :3] = np.nan
    holey.iloc[7, 2] = np.nan
    result = compare(space, truth.copy(), holey)
    assert (result.patients, result.values) == (60, 476)
    assert result.r2_feature_pooled == pytest.approx(1)
    assert result.within_90 == 1


def test_gaps_in_the_truth_are_left_out_of_every_measure_of_features(
    space: Space, truth: pd.DataFrame, guess: pd.DataFrame
) -> None:
    holey = truth.copy()
    holey.iloc[0, :3] = np.nan
    holey.iloc[7, 2] = np.nan
    other = guess.where(holey.notna(), guess + 50)
    one, two = compare(space, guess, holey), compare(space, other, holey)
    assert two.within_90 == one.within_90
    assert two.r2_feature_pooled == pytest.approx(one.r2_feature_pooled)
    assert two.r2_feature_mean == pytest.approx(one.r2_feature_mean)
    known = holey.notna()
    each = [r2_score(truth[f][known[f]], guess[f][known[f]]) for f in FEATURES]
    assert one.r2_feature_mean == pytest.approx(np.mean(each), abs=1e-5)


def test_a_gap_in_the_truth_is_left_out_of_the_latents_of_a_perfect_imputation(
    space: Space, truth: pd.DataFrame
) -> None:
    holey = truth.copy()
    holey.iloc[0, :3] = np.nan
    assert compare(space, truth.copy(), holey).r2_latent == pytest.approx(1)


def test_gaps_in_the_truth_are_left_out_where_the_space_takes_none(
    strict_space: Space, truth: pd.DataFrame
) -> None:
    holey = truth.copy()
    holey.iloc[0, 0] = np.nan
    result = compare(strict_space, truth.copy(), holey)
    assert result.values == 479
    assert result.r2_feature_pooled == pytest.approx(1)


def test_a_feature_with_a_constant_truth_is_left_out_of_the_mean_over_features(
    space: Space, truth: pd.DataFrame, guess: pd.DataFrame
) -> None:
    flat = truth.assign(f3=10.0)
    each = r2_score(flat.drop(columns="f3"), guess.drop(columns="f3"), multioutput="raw_values")
    assert compare(space, guess, flat).r2_feature_mean == pytest.approx(each.mean(), abs=1e-5)


def test_no_overlap_is_refused_with_the_number_of_patients(
    space: Space, truth: pd.DataFrame, guess: pd.DataFrame
) -> None:
    strangers = truth.rename(index="x{}".format)
    with pytest.raises(DataError, match="rna: none of the 60 patients with a truth was generated"):
        compare(space, guess, strangers)
    observed = pd.DataFrame(0, index=guess.index, columns=FEATURES)
    with pytest.raises(DataError, match="give the truth of patients that lacked the modality"):
        compare(space, guess, truth, mask=observed)


def test_a_truth_that_lacks_features_is_refused_with_their_names(
    space: Space, truth: pd.DataFrame, guess: pd.DataFrame
) -> None:
    with pytest.raises(SpaceError, match="lacks 2 of the 8 features of space toy@1: 'f0', 'f5'"):
        compare(space, guess, truth.drop(columns=["f0", "f5"]))


def test_one_patient_has_no_r2_of_features(
    space: Space, truth: pd.DataFrame, guess: pd.DataFrame
) -> None:
    result = compare(space, guess, truth.iloc[:1])
    assert (result.patients, result.values) == (1, 8)
    assert np.isnan(result.r2_feature_mean)
    assert np.isfinite(result.r2_feature_pooled)


def test_a_truth_without_any_value_is_refused(
    space: Space, truth: pd.DataFrame, guess: pd.DataFrame
) -> None:
    with pytest.raises(DataError, match="rna"):
        compare(space, guess, truth.iloc[:3] * np.nan)
