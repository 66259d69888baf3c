"""Preprocessing steps: values, filling of gaps, choice of features and patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import median_abs_deviation
from sklearn.cluster import KMeans
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.metrics.pairwise import nan_euclidean_distances
from sklearn.preprocessing import StandardScaler

from codenoise.core.base.errors import DataError
from codenoise.core.spaces.steps import (
    FillKnn,
    apply_steps,
    covered_features,
    expressed_features,
    fit_steps,
    invert_steps,
    outlier_samples,
    varying_features,
)
from codenoise.core.spaces.steps.filling import MIN_PATIENTS_PER_CENTROID

COHORT = Path(__file__).parents[2] / "examples" / "tcga" / "cohort"
NAN = np.nan


def frame(values: Any) -> pd.DataFrame:
    """A table of patients P1, P2, ... and features f1, f2, ..."""
    table = np.asarray(values, dtype=np.float32)
    rows, columns = (range(1, size + 1) for size in table.shape)
    return pd.DataFrame(table, index=[f"P{i}" for i in rows], columns=[f"f{i}" for i in columns])


def apply(kind: str, train: Any, values: Any = None, **options: Any) -> Any:
    table = train if isinstance(train, pd.DataFrame) else frame(train)
    steps = fit_steps(table, [(kind, options)])
    given = table.to_numpy() if values is None else np.asarray(values, dtype=np.float32)
    return apply_steps(steps, given)


@pytest.fixture(scope="module")
def rppa() -> pd.DataFrame:
    return pd.read_csv(COHORT / "rppa.csv", index_col="patient").astype(np.float32)


# Values


def test_counts_are_recovered_from_log2_with_either_offset() -> None:
    counts = [[0, 1, 7], [3, 1023, 0.5]]
    np.testing.assert_allclose(
        apply("counts-from-log2", np.log2(np.add(counts, 1))), counts, atol=1e-4
    )
    xena = np.round(np.log2(np.add(counts, 0.001)), 4)  # as UCSC Xena rounds
    found = apply("counts-from-log2", xena, offset=0.001)
    np.testing.assert_allclose(found, counts, rtol=1e-4)
    assert found.min() == 0


def test_cpm_sums_to_a_million_in_every_patient() -> None:
    counts = np.array([[1, 3, NAN], [10, 10, 20]])
    expected = [[250_000, 750_000, NAN], [250_000, 250_000, 500_000]]
    np.testing.assert_allclose(apply("cpm", counts), expected)


def test_cpm_is_undone_at_the_median_library_of_training() -> None:
    steps = fit_steps(frame([[1, 3], [10, 30], [100, 300]]), [("cpm", {})])
    assert steps[0].options() == {"library_size": 40.0}
    cpm = apply_steps(steps, np.array([[100, 300]], dtype=np.float32))
    np.testing.assert_allclose(invert_steps(steps, cpm), [[10, 30]], rtol=1e-6)


@pytest.mark.parametrize(("function", "numpy"), [("log2", np.log2), ("ln", np.log)])
def test_log_is_of_value_plus_offset(function: str, numpy: Any) -> None:
    values = np.array([[0, 1.5], [7, 1000]])
    found = apply("log", values, function=function, offset=0.5)
    np.testing.assert_allclose(found, numpy(values + 0.5), rtol=1e-6)


def test_undoing_a_log_never_gives_less_than_nothing_nor_infinity() -> None:
    steps = fit_steps(frame([[1, 2]]), [("log", {})])
    generated = np.array([[-3, 500]], dtype=np.float32)
    undone = invert_steps(steps, generated)
    assert undone[0, 0] == 0
    assert np.isfinite(undone).all()


def test_undoing_log2_of_counts_takes_generated_negative_counts_as_none() -> None:
    steps = fit_steps(frame([[1, 2]]), [("counts-from-log2", {})])
    assert invert_steps(steps, np.array([[-5, 3]], dtype=np.float32)).tolist() == [[0, 2]]


def test_copy_ratio_by_hand() -> None:
    copies = [[0, 1, 2, 4], [0.1, 3, 8, 200]]
    expected = [[NAN, -1, 0, 1], [-2, np.log2(1.5), 2, 2]]
    np.testing.assert_allclose(apply("copy-ratio", copies), expected, rtol=1e-6)


def test_centring_per_protein_leaves_medians_of_zero(rppa: pd.DataFrame) -> None:
    centred = apply("median-centre", rppa)
    np.testing.assert_allclose(np.nanmedian(centred, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(centred, rppa - rppa.median(), atol=1e-6)


def test_centring_per_sample_is_the_reference_codes(rppa: pd.DataFrame) -> None:
    centred = apply("median-centre", rppa, axis="sample")
    np.testing.assert_allclose(centred, rppa.sub(rppa.median(axis=1), axis=0), atol=1e-6)


def test_centring_per_sample_is_undone_at_the_median_of_training_medians() -> None:
    steps = fit_steps(
        frame([[1, 2, 3], [4, 5, 6], [9, 9, 9]]), [("median-centre", {"axis": "sample"})]
    )
    centred = np.array([[-1, 0, 1]], dtype=np.float32)
    assert invert_steps(steps, centred).tolist() == [[4, 5, 6]]


def test_fill_median_agrees_with_scikit_learn(rppa: pd.DataFrame) -> None:
    train, other = rppa[:15], rppa[15:].mask(np.random.default_rng(0).random((10, 144)) < 0.2)
    expected = SimpleImputer(strategy="median").fit(train).transform(other)
    np.testing.assert_allclose(apply("fill-median", train, other), expected, rtol=1e-6)


def test_standardise_agrees_with_scikit_learn(rppa: pd.DataFrame) -> None:
    train, other = rppa[:15], rppa[15:]
    expected = StandardScaler().fit(train.astype(float)).transform(other.astype(float))
    np.testing.assert_allclose(apply("standardise", train, other), expected, rtol=1e-4, atol=1e-5)


def test_clip_bounds_both_sides() -> None:
    assert apply("clip", [[-3, 0.5, 3]], limit=2).tolist() == [[-2, 0.5, 2]]


# Filling from neighbours


def clusters(patients: int = 60, seed: int = 0) -> pd.DataFrame:
    """Three well separated kinds of patients, eight features."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(10 * np.eye(3, 8), patients // 3, axis=0)
    return frame(centres + 0.1 * rng.standard_normal(centres.shape))


def test_centroids_are_those_of_k_means_on_complete_data() -> None:
    train = clusters()
    (step,) = fit_steps(train, [("fill-knn", {"n_centroids": 3})])
    expected = KMeans(3, n_init=1, random_state=0).fit(train.to_numpy(float)).cluster_centers_
    np.testing.assert_allclose(step.tensors()["centroids"], expected, atol=1e-5)


def test_gaps_take_the_mean_of_the_nearest_centroids_by_nan_euclidean_distance() -> None:
    train, gappy = clusters(), clusters(seed=1).to_numpy(copy=True)
    gappy[np.random.default_rng(2).random(gappy.shape) < 0.3] = NAN
    (step,) = fit_steps(train, [("fill-knn", {"k": 2, "n_centroids": 12})])
    centroids = step.tensors()["centroids"]
    nearest = nan_euclidean_distances(gappy, centroids).argsort(axis=1)[:, :2]
    expected = np.where(np.isnan(gappy), centroids[nearest].mean(axis=1), gappy)
    np.testing.assert_allclose(step.apply(gappy), expected, rtol=1e-6)


def test_a_patient_without_values_gets_the_medians() -> None:
    train = clusters()
    filled = apply("fill-knn", train, np.full((1, 8), NAN))
    np.testing.assert_array_equal(filled[0], train.median())


def test_every_centroid_stands_for_enough_patients() -> None:
    train = clusters().to_numpy(copy=True)
    train[0] = 1000  # a patient like no other would be a cluster of one
    train[20:37, 3] = NAN  # a feature that one cluster has from three patients only
    (step,) = fit_steps(frame(train), [("fill-knn", {"n_centroids": 4})])
    centroids = step.tensors()["centroids"]
    assert len(centroids) == 3
    assert not np.isclose(centroids, 1000).any()
    mixed = centroids[np.argmax(centroids[:, 1])]
    assert mixed[3] == np.float32(np.nanmedian(train[:, 3]))
    few = fit_steps(frame(train[:14]), [("fill-knn", {})])[0].tensors()["centroids"]
    assert len(few) <= 14 // MIN_PATIENTS_PER_CENTROID


def test_the_filling_of_a_patient_does_not_depend_on_the_batch() -> None:
    gappy = clusters(seed=1).to_numpy(copy=True)
    gappy[np.random.default_rng(2).random(gappy.shape) < 0.3] = NAN
    (step,) = fit_steps(clusters(), [("fill-knn", {"k": 3, "n_centroids": 12})])
    alone = np.vstack([step.apply(row[None]) for row in gappy])
    np.testing.assert_array_equal(step.apply(gappy), alone)


def test_identical_patients_make_one_centroid_without_a_warning() -> None:
    filled = apply("fill-knn", np.ones((40, 3)), [[NAN, 1, 1]])
    assert filled.tolist() == [[1, 1, 1]]


def test_fewer_centroids_than_neighbours_are_enough() -> None:
    step = FillKnn(3, 1, np.ones((1, 2), np.float32), np.zeros(2, np.float32))
    assert step.apply(np.array([[NAN, 2]], np.float32)).tolist() == [[1, 2]]


def imputation_error(
    train: np.ndarray[Any, Any], test: np.ndarray[Any, Any], rng: np.random.Generator
) -> dict[str, Any]:
    """Squared errors of filling a tenth of the test values, hidden."""
    hidden = (rng.random(test.shape) < 0.1) & ~np.isnan(test)
    gappy = np.where(hidden, NAN, test).astype(np.float32)
    filled = {
        "ours": apply("fill-knn", train, gappy),
        "sklearn": KNNImputer().fit(train).transform(gappy),
        "median": apply("fill-median", train, gappy),
    }
    return {name: (table - test)[hidden] ** 2 for name, table in filled.items()}


def test_filling_real_proteins_is_nearly_as_good_as_with_all_patients(rppa: pd.DataFrame) -> None:
    """Pooled over 40 splits of few patients: at most 10% more error than scikit-learn's imputer."""
    values, errors = rppa[covered_features(rppa)].to_numpy(), []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(values))
        errors.append(imputation_error(values[order[5:]], values[order[:5]], rng))
    ours, theirs = (
        np.sqrt(np.mean(np.concatenate([error[name] for error in errors])))
        for name in ("ours", "sklearn")
    )
    assert ours <= 1.10 * theirs


def test_filling_from_many_patients_is_far_better_than_medians() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.standard_normal((12, 40))
    values = kinds[rng.integers(0, 12, 700)] + 0.5 * rng.standard_normal((700, 40))
    error = imputation_error(values[:600], values[600:], rng)
    ours, theirs, median = (np.sqrt(error[name].mean()) for name in ("ours", "sklearn", "median"))
    assert ours <= 1.10 * theirs
    assert ours < 0.6 * median


# Features and outliers


def test_expressed_features_are_over_one_cpm_in_a_fifth_of_the_patients() -> None:
    library = 1e6
    counts = np.zeros((10, 4))
    counts[:2, 0] = 2  # two of ten: kept
    counts[:1, 1] = 2  # one of ten
    counts[:, 2] = 1  # one per million is not over one
    counts[:, 3] = library - counts.sum(axis=1)
    assert expressed_features(frame(counts)) == ["f1", "f4"]
    assert expressed_features(frame(counts * 7)) == ["f1", "f4"]  # whatever the depth
    assert expressed_features(frame(counts), threshold=0.5, share=0.1) == ["f1", "f2", "f3", "f4"]


def test_expressed_features_count_observed_patients_only() -> None:
    counts = np.array([[NAN, 5, 1e6], [NAN, NAN, 1e6], [NAN, NAN, 1e6]])
    assert expressed_features(frame(counts), share=1.0) == ["f2", "f3"]


def test_expressed_features_names_a_negative_value() -> None:
    with pytest.raises(DataError, match="patient 'P1', feature 'f2': -1 is under 0"):
        expressed_features(frame([[1, -1]]))


def test_covered_features_have_at_most_a_tenth_of_gaps() -> None:
    values = np.ones((20, 3))
    values[:2, 1] = NAN
    values[:3, 2] = NAN
    assert covered_features(frame(values)) == ["f1", "f2"]
    assert covered_features(frame(values), max_gaps=0) == ["f1"]


def test_varying_features_differ_between_two_patients_at_least() -> None:
    table = frame([[0.1, 1, NAN, NAN], [0.1, 1, 2, NAN], [0.1, 1.001, 2, NAN]])
    assert varying_features(table) == ["f2"]


def test_outliers_follow_the_stated_rule(rppa: pd.DataFrame) -> None:
    values = rppa[covered_features(rppa)].to_numpy(dtype=np.float64)
    spread = median_abs_deviation(values, axis=0, nan_policy="omit") * 1.4826
    deviation = np.abs(values - np.nanmedian(values, axis=0)) / spread
    logs = np.log(np.nanmean(np.minimum(deviation, 10), axis=1))
    scale = median_abs_deviation(logs) * 1.4826
    for cutoff in (0.5, 1.0, 3.0):
        expected = logs > np.median(logs) + cutoff * scale
        found = outlier_samples(values.astype(np.float32), "rppa", cutoff)
        np.testing.assert_array_equal(found, expected)
    assert expected.sum() < (logs > np.median(logs) + 0.5 * scale).sum()


def test_a_failed_measurement_is_an_outlier_and_one_corrupt_value_is_not() -> None:
    values = np.random.default_rng(0).standard_normal((300, 100)).astype(np.float32)
    values[7] *= 5
    values[9, 3] = 1e6
    assert np.flatnonzero(outlier_samples(values, "rna", cutoff=6)).tolist() == [7]


def test_copy_number_has_a_cutoff_of_its_own() -> None:
    rng = np.random.default_rng(0)
    altered = np.exp(rng.normal(0, 0.8, (500, 1)))  # shares of the genome vary widely
    values = (altered * rng.standard_normal((500, 200))).astype(np.float32)
    assert outlier_samples(values, "cna").sum() > outlier_samples(values, "rna").sum()


def test_patients_who_cannot_be_judged_are_no_outliers() -> None:
    values = np.random.default_rng(0).standard_normal((50, 20)).astype(np.float32)
    values[0] = NAN
    values[:, 1] = 3
    assert not outlier_samples(values, "rna", cutoff=10).any()
    assert not outlier_samples(np.ones((5, 3), dtype=np.float32), "rna").any()


def test_zero_inflated_features_count_by_their_mean_deviation() -> None:
    values = np.random.default_rng(0).standard_normal((100, 10)).astype(np.float32)
    values[:, :8] = 0
    values[:10, :8] = 1
    values[0, :8] = 50
    assert outlier_samples(values, "rna")[0]
