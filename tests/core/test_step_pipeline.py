"""Steps in sequence: inverses, fitting on training patients alone, storage, messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load, save
from sklearn.preprocessing import StandardScaler

from codenoise.core.base.errors import DataError
from codenoise.core.spaces.steps import (
    STEP_KINDS,
    apply_steps,
    covered_features,
    fit_steps,
    invert_steps,
    load_steps,
    store_steps,
    varying_features,
)

COHORT = Path(__file__).parents[2] / "examples" / "tcga" / "cohort"
NAN = np.nan
# Per kind: options, and a range of inputs on which the step can be undone; None if it never can.
CASES: dict[str, tuple[dict[str, Any], tuple[float, float], bool]] = {
    "counts-from-log2": ({"offset": 1.0}, (0, 20), True),
    "cpm": ({}, (1, 1e5), False),
    "log": ({"function": "ln", "offset": 0.5}, (0, 1e6), True),
    "copy-ratio": ({"limit": 2.0}, (0.5, 8), True),
    "median-centre": ({"axis": "feature"}, (-20, 20), True),
    "fill-median": ({}, (-20, 20), True),
    "fill-knn": ({"k": 2, "n_centroids": 3}, (-20, 20), True),
    "standardise": ({}, (-20, 20), True),
    "clip": ({"limit": 20.0}, (-20, 20), True),
}
SELECTIONS = ("covered-features", "expressed-features", "outlier-samples", "varying-features")
RECIPES = {
    "rna": [("log", {}), ("fill-knn", {"n_centroids": 4}), ("standardise", {}), ("clip", {})],
    "rppa": [("median-centre", {}), ("fill-knn", {}), ("standardise", {}), ("clip", {"limit": 10})],
    "cna": [("copy-ratio", {}), ("fill-median", {}), ("standardise", {})],
}


def frame(values: Any) -> pd.DataFrame:
    """A table of patients P1, P2, ... and features f1, f2, ..."""
    table = np.asarray(values, dtype=np.float32)
    rows, columns = (range(1, size + 1) for size in table.shape)
    return pd.DataFrame(table, index=[f"P{i}" for i in rows], columns=[f"f{i}" for i in columns])


def uniform(kind: str, patients: int, seed: int, gaps: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = rng.uniform(*CASES[kind][1], (patients, 5))
    return frame(np.where(rng.random(values.shape) < gaps, NAN, values))


@pytest.fixture(scope="module")
def real() -> dict[str, pd.DataFrame]:
    """Real tables in the units that the recipes start from: amounts, log2 protein, copies."""
    rna, rppa, cna = (
        pd.read_csv(COHORT / f"{modality}.csv", index_col="patient").astype(np.float32)
        for modality in ("rna", "rppa", "cna")
    )
    return {
        "rna": np.exp2(rna.iloc[:, :200]),
        "rppa": rppa[varying_features(rppa[covered_features(rppa)])],
        "cna": (2 * np.exp2(cna)),
    }


def test_every_kind_is_registered_under_its_name() -> None:
    assert set(STEP_KINDS) == {*CASES, *SELECTIONS}
    assert all(step.kind == kind for kind, step in STEP_KINDS.items())


# Inverses, gaps, training patients alone


@pytest.mark.parametrize("kind", [kind for kind, case in CASES.items() if case[2]])
@given(data=st.data())
def test_inverting_undoes_a_step(kind: str, data: st.DataObject) -> None:
    low, high = CASES[kind][1]
    numbers = st.floats(low, high, width=32)
    values = data.draw(arrays(np.float32, (4, 5), elements=numbers))
    steps = fit_steps(uniform(kind, 30, seed=0), [(kind, CASES[kind][0])])
    undone = invert_steps(steps, apply_steps(steps, values))
    assert undone.dtype == np.float32
    np.testing.assert_allclose(undone, values, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("modality", RECIPES)
def test_inverting_a_recipe_returns_the_users_units(
    modality: str, real: dict[str, pd.DataFrame]
) -> None:
    table = real[modality]
    steps = fit_steps(table, RECIPES[modality])
    undone = invert_steps(steps, apply_steps(steps, table.to_numpy()))
    inside = table.notna().to_numpy()
    if modality == "cna":
        inside &= ((table >= 0.5) & (table <= 8)).to_numpy()
    np.testing.assert_allclose(undone[inside], table.to_numpy()[inside], rtol=1e-4, atol=1e-5)
    assert not np.isnan(undone).any()


def test_draws_are_inverted_like_patients(real: dict[str, pd.DataFrame]) -> None:
    steps = fit_steps(real["cna"], RECIPES["cna"])
    latent = np.random.default_rng(0).standard_normal((3, 4, 283)).astype(np.float32)
    together = invert_steps(steps, latent)
    np.testing.assert_array_equal(together[1], invert_steps(steps, latent[1]))


@pytest.mark.parametrize("kind", CASES)
def test_gaps_pass_through_unless_filled(kind: str) -> None:
    options = CASES[kind][0]
    steps = fit_steps(uniform(kind, 30, seed=0, gaps=0.1), [(kind, options)])
    values = uniform(kind, 20, seed=1, gaps=0.3).to_numpy(copy=True)
    values[0] = NAN
    given = values.copy()
    done = apply_steps(steps, values)
    assert done.dtype == np.float32
    np.testing.assert_array_equal(values, given)  # the input is left as it is
    filled = kind.startswith("fill-")
    np.testing.assert_array_equal(
        np.isnan(done), np.zeros_like(values) if filled else np.isnan(given)
    )
    if filled:
        np.testing.assert_array_equal(done[~np.isnan(given)], given[~np.isnan(given)])


@pytest.mark.parametrize("kind", CASES)
def test_a_step_learns_from_training_patients_alone(kind: str) -> None:
    steps = fit_steps(uniform(kind, 30, seed=0, gaps=0.05), [(kind, CASES[kind][0])])
    patients, others = uniform(kind, 10, seed=1), uniform(kind, 10, seed=2)
    beside = apply_steps(steps, pd.concat([patients, others]).to_numpy())
    np.testing.assert_array_equal(beside[:10], apply_steps(steps, patients.to_numpy()))


def test_each_step_is_fitted_on_what_the_one_before_gives() -> None:
    train = frame([[1, 8], [3, 2], [7, 0]])
    together = fit_steps(train, [("log", {}), ("standardise", {})])
    expected = StandardScaler().fit(np.log2(train.to_numpy(float) + 1))
    np.testing.assert_allclose(together[1].tensors()["mean"], expected.mean_, rtol=1e-6)
    np.testing.assert_allclose(together[1].tensors()["scale"], expected.scale_, rtol=1e-6)


# Storage


@pytest.mark.parametrize("modality", RECIPES)
def test_storage_is_bitwise(modality: str, real: dict[str, pd.DataFrame]) -> None:
    steps = fit_steps(real[modality], RECIPES[modality])
    listed, tensors = store_steps(steps)
    loaded = load_steps(json.loads(json.dumps(listed)), load(save(tensors)))
    values = real[modality].to_numpy()
    assert [step.options() for step in loaded] == [step.options() for step in steps]
    assert apply_steps(loaded, values).tobytes() == apply_steps(steps, values).tobytes()
    assert invert_steps(loaded, values).tobytes() == invert_steps(steps, values).tobytes()


def test_every_kind_is_stored_and_loaded() -> None:
    for kind, (options, _, _) in CASES.items():
        steps = fit_steps(uniform(kind, 30, seed=0), [(kind, options)])
        listed, tensors = store_steps(steps)
        assert listed[0]["kind"] == kind
        assert all(name.startswith("step.0.") for name in tensors)
        assert store_steps(load_steps(listed, tensors))[0] == listed


def test_more_than_ten_steps_keep_their_tensors_apart() -> None:
    train = uniform("standardise", 30, seed=0)
    steps = fit_steps(train, [("standardise", {}), *[("clip", {})] * 9, ("median-centre", {})])
    listed, tensors = store_steps(steps)
    assert set(tensors) == {"step.0.mean", "step.0.scale", "step.10.median"}
    assert load_steps(listed, tensors | {"encoder.components": train.to_numpy()})[10].tensors()


SCALED = {"step.0.mean": np.zeros(2, np.float32), "step.0.scale": np.ones(2, np.float32)}
STANDARDISE = {"kind": "standardise", "options": {}}


@pytest.mark.parametrize(
    ("listed", "tensors", "message"),
    [
        ([{"kind": "nonesuch", "options": {}}], {}, "step 'nonesuch' is unknown; known: counts-"),
        ([{"kind": ["clip"], "options": {}}], {}, "is unknown"),
        (
            [{"kind": "clip"}],
            {},
            "stored step 0 is {'kind': 'clip'}, expected its kind and options",
        ),
        ([{"kind": "clip", "options": 3}], {}, "expected its kind and options"),
        ([{"kind": "clip", "options": {}}], {}, "lacks, or does not know, 'limit'"),
        ([{"kind": "clip", "options": {"limit": 1.0, "low": 2}}], {}, "does not know, 'low'"),
        (
            [{"kind": "clip", "options": {"limit": "1"}}],
            {},
            "limit is '1', expected a value of type",
        ),
        ([STANDARDISE], {}, "lacks, or does not know, 'mean', 'scale'"),
        ([STANDARDISE], SCALED | {"step.1.mean": np.ones(2)}, "'step.1.mean' belong to none"),
        ([STANDARDISE], SCALED | {"step.0.mean": np.ones((2, 2))}, "mean is an array (2, 2)"),
        ([STANDARDISE], SCALED | {"step.0.scale": np.zeros(2)}, "expected one value over 0"),
        ([STANDARDISE], SCALED | {"step.0.mean": np.array([NAN, 1])}, "expected one finite value"),
        ([STANDARDISE], SCALED | {"step.0.mean": np.ones(3)}, "differ in their number of features"),
    ],
)
def test_wrong_storage_is_refused(listed: Any, tensors: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        load_steps(listed, tensors)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# Messages


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("nonesuch", {}, "preprocessing step 'nonesuch' is unknown; known: counts-from-log2, cpm,"),
        ("log", {"ofset": 1}, "step 'log' has no option 'ofset'; it takes function, offset"),
        ("cpm", {"offset": 1}, "step 'cpm' has no option 'offset'; it takes none"),
        ("log", {"offset": "1"}, "option offset is '1', expected a value of type float"),
        ("log", {"offset": True}, "option offset is True, expected a value of type float"),
        ("log", {"offset": -1}, "offset is -1.0, expected 0 or more"),
        ("log", {"function": "log10"}, "function is 'log10', expected 'log2' or 'ln'"),
        ("counts-from-log2", {"offset": 0}, "offset is 0.0, expected more than 0"),
        ("copy-ratio", {"limit": 0}, "limit is 0.0, expected more than 0"),
        ("clip", {"limit": NAN}, "limit is nan, expected more than 0"),
        ("median-centre", {"axis": "column"}, "axis is 'column', expected 'feature' or 'sample'"),
        ("fill-knn", {"k": 1.5}, "option k is 1.5, expected a value of type int"),
        ("fill-knn", {"n_centroids": 0}, "n_centroids is 0, expected more than 0"),
        ("fill-knn", {}, "needs 5 training patients or more, not 2; use 'fill-median'"),
    ],
)
def test_wrong_steps_and_options_are_refused(kind: str, options: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        fit_steps(frame([[1, 2], [3, 4]]), [(kind, options)])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("kind", "bad", "message"),
    [
        ("log", -1.5, "step 'log', patient 'P2', feature 'f3': -1.5 has no logarithm here"),
        ("cpm", -1.5, "step 'cpm', patient 'P2', feature 'f3': -1.5 is under 0; expected counts"),
        ("copy-ratio", -1.5, "patient 'P2', feature 'f3': -1.5 is under 0; expected copies"),
        ("counts-from-log2", -1.5, "feature 'f3': -1.5 is not log2(count + 1) of a count from 0"),
        ("counts-from-log2", 5000, "feature 'f3': 5000 is not log2(count + 1) of a count from 0"),
        ("clip", np.inf, "patient 'P2', feature 'f3': inf is no measurement"),
    ],
)
def test_values_a_step_cannot_take_are_named(kind: str, bad: float, message: str) -> None:
    good = frame([[1, 2, 3], [4, 5, 6]])
    table = good.copy()
    table.loc["P2", "f3"] = bad
    with pytest.raises(DataError) as fitting:
        fit_steps(table, [(kind, {})])
    steps = fit_steps(good, [(kind, {})])
    with pytest.raises(DataError) as applying:
        apply_steps(steps, table.to_numpy(), rows=table.index, columns=list(table.columns))
    assert message in str(fitting.value)
    assert str(applying.value) == str(fitting.value)
    with pytest.raises(DataError, match="row 2, column 3: "):
        apply_steps(steps, table.to_numpy())


def test_the_first_bad_value_is_named_and_the_others_counted() -> None:
    with pytest.raises(DataError, match=r"'P1', feature 'f2': -1 .* \(and 2 more values\)$"):
        fit_steps(frame([[1, -1], [-2, -3]]), [("log", {})])


def test_log_of_zero_needs_an_offset() -> None:
    with pytest.raises(DataError, match=r"'f2': 0 has no logarithm here; .* an offset over 0"):
        fit_steps(frame([[1, 0]]), [("log", {"offset": 0})])


def test_a_patient_without_counts_is_named() -> None:
    with pytest.raises(DataError, match="'cpm', patient 'P2': has no counts over 0"):
        fit_steps(frame([[1, 2], [0, 0]]), [("cpm", {})])


@pytest.mark.parametrize("kind", ["median-centre", "fill-median", "fill-knn", "standardise"])
def test_a_feature_no_training_patient_has_is_named(kind: str) -> None:
    with pytest.raises(DataError, match="for 1 of 2 features: 'f2'; leave them out by the step"):
        fit_steps(frame([[1, NAN]] * 6), [(kind, {})])


def test_a_constant_feature_cannot_be_standardised() -> None:
    with pytest.raises(DataError, match=r"1 of 2 features are the same in all .*: 'f1'"):
        fit_steps(frame([[0.1, 1], [0.1, 2], [0.1, 3]]), [("standardise", {})])


def test_another_number_of_features_is_refused() -> None:
    steps = fit_steps(frame([[1, 5], [2, 7]]), [("standardise", {})])
    for use in (apply_steps, invert_steps):
        with pytest.raises(DataError, match="'standardise' was fitted on 2 features, not 1"):
            use(steps, np.ones((3, 1), dtype=np.float32))
