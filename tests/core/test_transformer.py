"""An ensemble in a scikit-learn pipeline."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from codenoise.core.base.errors import CodenoiseError, DataError, EnsembleError, SpaceError
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.tables import Table
from codenoise.core.cohort.wide import wide_table
from codenoise.core.diffusion.architectures import build_denoiser
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.core.ensemble.transformer import EnsembleImputer
from codenoise.core.spaces.fit import fit_space

FEATURES = {"cna": 6, "rna": 8, "rppa": 5}
# No expert leads from protein to copy number: a patient with protein alone stays without it.
PAIRS = [("cna", "rna"), ("rppa", "rna"), ("rna", "cna"), ("rna", "rppa"), ("cna", "rppa")]
PATIENTS = 24

# Checks that hand over arrays, which name neither patients nor features. What they look at is
# tested below with data frames.
ARRAYS = dict.fromkeys(
    [
        "check_dict_unchanged",
        "check_dont_overwrite_parameters",
        "check_dtype_object",
        "check_estimators_dtypes",
        "check_estimators_fit_returns_self",
        "check_estimators_overwrite_params",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_fit2d_1feature",
        "check_fit2d_1sample",
        "check_fit2d_predict1d",
        "check_fit_check_is_fitted",
        "check_fit_idempotent",
        "check_fit_score_takes_y",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_n_features_in",
        "check_n_features_in_after_fitting",
        "check_pipeline_consistency",
        "check_positive_only_tag_during_fit",
        "check_readonly_memmap_input",
        "check_transformer_data_not_an_array",
        "check_transformer_general",
        "check_transformer_preserve_dtypes",
    ],
    "arrays name neither patients nor features",
)


def tables(patients: int, seed: int) -> dict[str, pd.DataFrame]:
    """Three modalities that mix the same three hidden factors."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((patients, 3))
    ids = pd.Index([f"s{seed}-{i:03d}" for i in range(patients)], name="patient")
    made = {}
    for number, (name, count) in enumerate(FEATURES.items()):
        mixing = np.random.default_rng(100 + number).standard_normal((3, count))
        values = hidden @ mixing + 0.3 * rng.standard_normal((patients, count))
        made[name] = pd.DataFrame(values, ids, [f"{name}_{i}" for i in range(count)])
    return made


@pytest.fixture(scope="module")
def ensemble() -> LoadedEnsemble:
    """Real spaces, and networks that were never trained: they are only to be run."""
    train, validation = tables(300, seed=0), tables(100, seed=1)
    train["rna"].iloc[:5, 0] = np.nan  # so that this space takes gaps, and the others do not
    spaces = {
        name: fit_space(
            train[name], validation[name], modality=name, name=f"toy-{name}", version="1", dim=3
        ).space
        for name in FEATURES
    }
    torch.manual_seed(0)
    experts = tuple(
        Expert(
            name=f"{condition}-to-{target}@1",
            conditions=(condition,),
            target=target,
            condition_spaces=(spaces[condition].digest,),
            target_space=spaces[target].digest,
            condition_dims=(3,),
            dim=3,
            denoiser=build_denoiser("mlp", 3, (3,), {"width": 16, "layers": 2}).eval(),
            schedule=linear_schedule(),
            prediction="epsilon",
            validation_mse=1.0,
        )
        for condition, target in PAIRS
    )
    return LoadedEnsemble(spaces, experts, EngineSettings("uniform", steps=5, threshold=2.0))


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    """0-7 have all, 8-13 no rna, 14-17 no rppa, 18-23 no cna; 3 and 4 have gaps in their rna."""
    frames = tables(PATIENTS, seed=2)
    ids = frames["rna"].index
    frames["rna"].loc[ids[[3, 4]], ["rna_1", "rna_6"]] = np.nan
    lacking = {"rna": ids[8:14], "rppa": ids[14:18], "cna": ids[18:]}
    return Cohort({name: Table(frame.drop(lacking[name])) for name, frame in frames.items()})


@pytest.fixture(scope="module")
def wide(cohort: Cohort) -> pd.DataFrame:
    return wide_table(cohort)


@pytest.fixture(scope="module")
def imputer(ensemble: LoadedEnsemble, wide: pd.DataFrame) -> EnsembleImputer:
    return EnsembleImputer(ensemble, draws=4).fit(wide)


@pytest.fixture(scope="module")
def completed(imputer: EnsembleImputer, wide: pd.DataFrame) -> pd.DataFrame:
    frame = imputer.transform(wide)
    assert isinstance(frame, pd.DataFrame)
    return frame


def test_the_wide_table_has_every_patient_and_a_column_per_modality_and_feature(
    cohort: Cohort, wide: pd.DataFrame
) -> None:
    assert list(wide.index) == cohort.patients
    assert wide.index.name == "patient"
    assert list(wide.columns) == [f"{m}__{m}_{i}" for m, n in FEATURES.items() for i in range(n)]
    for name, table in cohort.tables.items():
        own = wide.filter(like=f"{name}__").dropna(how="all")
        assert np.array_equal(own.loc[table.frame.index], table.frame, equal_nan=True)


def test_the_wide_table_keeps_the_features_asked_for(cohort: Cohort) -> None:
    kept = wide_table(cohort, {"rna": ["rna_5", "rna_2", "other"], "rppa": ["rppa_0"]})
    assert list(kept.columns) == ["rna__rna_2", "rna__rna_5", "rppa__rppa_0"]
    assert list(kept.index) == cohort.patients


def test_everything_is_filled_and_observed_values_stay(
    wide: pd.DataFrame, completed: pd.DataFrame
) -> None:
    assert completed.notna().all(axis=None)
    assert completed.index.equals(wide.index)
    assert list(completed.columns) == list(wide.columns)
    assert completed.where(wide.notna()).equals(wide)


def test_values_are_those_of_the_ensemble(
    ensemble: LoadedEnsemble, cohort: Cohort, completed: pd.DataFrame
) -> None:
    result = ensemble.impute(cohort, draws=4, seed=0)
    expected = wide_table(Cohort(result.completed)).loc[completed.index, completed.columns]
    pd.testing.assert_frame_equal(completed, expected, check_exact=True)


@pytest.mark.parametrize("kind", ["cohort", "frames", "arrow"])
def test_other_kinds_of_tables_give_the_same_values(
    ensemble: LoadedEnsemble, cohort: Cohort, wide: pd.DataFrame, completed: pd.DataFrame, kind: str
) -> None:
    kinds: dict[str, Any] = {
        "cohort": cohort,
        "frames": {name: table.frame for name, table in cohort.tables.items()},
        "arrow": pa.Table.from_pandas(wide.reset_index(), preserve_index=False),
    }
    found = EnsembleImputer(ensemble, draws=4).fit_transform(kinds[kind])
    pd.testing.assert_frame_equal(found, completed, check_exact=True)


def test_a_table_of_an_unknown_modality_is_refused(
    ensemble: LoadedEnsemble, cohort: Cohort
) -> None:
    with pytest.raises(EnsembleError, match="'protein' is no modality of this ensemble"):
        EnsembleImputer(ensemble).fit({"protein": cohort.tables["rppa"].frame})


@given(rows=st.lists(st.integers(0, PATIENTS - 1), min_size=1, unique=True))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_row_gets_the_same_values_whatever_rows_come_with_it(
    imputer: EnsembleImputer, wide: pd.DataFrame, completed: pd.DataFrame, rows: list[int]
) -> None:
    assert imputer.transform(wide.iloc[rows]).equals(completed.iloc[rows])


def test_another_seed_gives_other_values(
    ensemble: LoadedEnsemble, wide: pd.DataFrame, completed: pd.DataFrame
) -> None:
    other = EnsembleImputer(ensemble, draws=4, seed=1).fit_transform(wide)
    # A gap within a modality has one value, whatever the draws.
    lacking = wide["rna__rna_0"].isna()
    assert (other != completed).loc[lacking, "rna__rna_0"].all()
    assert other.where(wide.notna()).equals(wide)


def test_fitting_returns_itself_and_changes_neither_data_nor_parameters(
    ensemble: LoadedEnsemble, wide: pd.DataFrame
) -> None:
    given_data = wide.copy()
    imputer = EnsembleImputer(ensemble, draws=4)
    before = imputer.get_params()
    assert imputer.fit(wide, y=np.zeros(len(wide))) is imputer
    imputer.transform(wide)
    pd.testing.assert_frame_equal(wide, given_data, check_exact=True)
    assert imputer.get_params() == before
    assert imputer.n_features_in_ == 19
    assert list(imputer.feature_names_in_) == list(wide.columns)
    assert imputer.targets_ == ["rna", "cna", "rppa"]


@pytest.mark.parametrize("copied", [clone, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_clone_and_a_pickle_give_the_same_values(
    imputer: EnsembleImputer, wide: pd.DataFrame, completed: pd.DataFrame, copied: Any
) -> None:
    assert copied(imputer).fit(wide).transform(wide).equals(completed)


def test_a_pickle_is_still_fitted(
    imputer: EnsembleImputer, wide: pd.DataFrame, completed: pd.DataFrame
) -> None:
    assert pickle.loads(pickle.dumps(imputer)).transform(wide).equals(completed)


def test_ids_may_be_numbers_and_come_back_as_such(
    imputer: EnsembleImputer, wide: pd.DataFrame
) -> None:
    numbered = wide.set_axis(range(100, 100 + len(wide)), axis=0)
    found = imputer.transform(numbered)
    assert found.index.equals(numbered.index)
    assert (
        imputer.transform(numbered.set_axis(numbered.index.map(str)))
        .reset_index(drop=True)
        .equals(found.reset_index(drop=True))
    )


def test_single_precision_and_whole_numbers_are_taken(
    imputer: EnsembleImputer, wide: pd.DataFrame
) -> None:
    rounded = wide.round()
    whole = rounded.astype({name: "Int64" for name in wide if name.startswith("cna")})
    assert imputer.transform(whole).equals(imputer.transform(rounded))
    assert imputer.transform(rounded.astype(np.float32)).equals(imputer.transform(rounded))


def test_columns_of_modalities_may_be_mixed(imputer: EnsembleImputer, wide: pd.DataFrame) -> None:
    mixed = wide[sorted(wide.columns, key=lambda name: name[::-1])]
    found = clone(imputer).fit(mixed).transform(mixed)
    assert list(found.columns) == list(mixed.columns)
    assert found[list(wide.columns)].equals(imputer.transform(wide))


def test_targets_without_columns_are_added_and_others_stay_as_they_are(
    ensemble: LoadedEnsemble, wide: pd.DataFrame
) -> None:
    part = wide.drop(columns=wide.filter(like="rppa__").columns)
    imputer = EnsembleImputer(ensemble, targets=["rppa", "rna"], draws=2).fit(part)
    found = imputer.transform(part)
    names = [*part.columns, *(f"rppa__rppa_{i}" for i in range(5))]
    assert list(imputer.get_feature_names_out()) == names
    assert list(found.columns) == names
    assert found.filter(like="rppa__").notna().all(axis=None)
    assert found.filter(like="rna__").notna().all(axis=None)
    assert found.filter(like="cna__").equals(part.filter(like="cna__"))


def test_the_spread_is_appended_and_zero_where_observed(
    ensemble: LoadedEnsemble, cohort: Cohort, wide: pd.DataFrame, completed: pd.DataFrame
) -> None:
    imputer = EnsembleImputer(ensemble, draws=4, add_spread=True).fit(wide)
    found = imputer.transform(wide)
    names = [f"{name}__spread" for name in wide]
    assert list(found.columns) == [*wide.columns, *names]
    assert list(imputer.get_feature_names_out()) == list(found.columns)
    assert found[list(wide.columns)].equals(completed)
    spread = found[names].set_axis(wide.columns, axis=1)
    assert ((spread == 0) == wide.notna()).all(axis=None)
    expected = wide_table(Cohort(ensemble.impute(cohort, draws=4).spread))
    assert spread.equals(expected.loc[spread.index, spread.columns])


def test_names_out_take_the_names_in_and_no_others(
    imputer: EnsembleImputer, wide: pd.DataFrame
) -> None:
    names = imputer.get_feature_names_out()
    assert names.dtype == object
    assert list(names) == list(imputer.get_feature_names_out(list(wide.columns)))
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        imputer.get_feature_names_out(["a"])


def test_set_output_is_heeded(
    imputer: EnsembleImputer, wide: pd.DataFrame, completed: pd.DataFrame
) -> None:
    asked = clone(imputer).set_output(transform="pandas").fit(wide)
    assert asked.transform(wide).equals(completed)


def test_a_patient_that_no_expert_fits_stays_missing_and_is_warned_of(
    imputer: EnsembleImputer, wide: pd.DataFrame
) -> None:
    poor = wide.iloc[:2].copy()
    poor.loc[poor.index[0], [name for name in wide if not name.startswith("rppa")]] = np.nan
    with pytest.warns(UserWarning) as caught:
        found = imputer.transform(poor)
    assert [str(one.message) for one in caught] == [
        "1 patient(s) stay without cna, for they have no modality that an expert could use: "
        "'s2-000'"
    ]
    assert found.isna().sum().sum() == FEATURES["cna"]


def test_a_forest_may_follow(ensemble: LoadedEnsemble, wide: pd.DataFrame) -> None:
    labels = np.arange(len(wide)) % 2
    pipeline = make_pipeline(
        EnsembleImputer(ensemble, draws=2),
        RandomForestClassifier(n_estimators=5, random_state=0),
    )
    scores = cross_val_score(pipeline, wide, labels, cv=2, error_score="raise")
    assert scores.shape == (2,)
    pipeline.fit(wide, labels)
    whole = pipeline.predict_proba(wide)
    one_by_one = np.concatenate([pipeline.predict_proba(wide.iloc[[i]]) for i in range(len(wide))])
    assert np.array_equal(whole, one_by_one)


def test_other_columns_go_past_it(
    ensemble: LoadedEnsemble, wide: pd.DataFrame, completed: pd.DataFrame
) -> None:
    aged = wide.assign(age=np.arange(len(wide)))
    columns = ColumnTransformer(
        [("omics", EnsembleImputer(ensemble, draws=4), list(wide.columns))],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    found = columns.fit_transform(aged)
    assert found.drop(columns="age").equals(completed)
    assert list(found["age"]) == list(range(len(wide)))


def test_a_survival_forest_may_follow(ensemble: LoadedEnsemble, wide: pd.DataFrame) -> None:
    survival = pytest.importorskip("sksurv.ensemble")
    util = pytest.importorskip("sksurv.util")
    days = np.arange(1.0, len(wide) + 1)
    outcome = util.Surv.from_arrays(event=days % 3 > 0, time=days)
    pipeline = make_pipeline(
        EnsembleImputer(ensemble, draws=2),
        survival.RandomSurvivalForest(n_estimators=5, min_samples_leaf=2, random_state=0),
    )
    pipeline.fit(wide, outcome)
    risks = pipeline.predict(wide)
    assert risks.shape == (len(wide),)
    assert pipeline.score(wide, outcome) > 0.5


def test_scikit_learns_own_checks_pass_but_those_that_hand_over_arrays(
    ensemble: LoadedEnsemble,
) -> None:
    results = check_estimator(
        EnsembleImputer(ensemble, draws=2), expected_failed_checks=ARRAYS, on_skip=None
    )
    status = {}
    for result in results:
        status.setdefault(result["status"], set()).add(result["check_name"])
    assert status["xfail"] == set(ARRAYS)
    assert "failed" not in status
    assert len(status["passed"]) >= 15
    for result in results:
        if result["status"] == "xfail":
            chain = [result["exception"], result["exception"].__cause__]
            assert any(isinstance(one, CodenoiseError) for one in chain), result["check_name"]


def test_it_has_to_be_fitted_first(ensemble: LoadedEnsemble, wide: pd.DataFrame) -> None:
    with pytest.raises(NotFittedError):
        EnsembleImputer(ensemble).transform(wide)
    with pytest.raises(NotFittedError):
        EnsembleImputer(ensemble).get_feature_names_out()


def test_an_array_is_refused(ensemble: LoadedEnsemble, wide: pd.DataFrame) -> None:
    with pytest.raises(DataError) as caught:
        EnsembleImputer(ensemble).fit(wide.to_numpy())
    assert str(caught.value) == (
        "X is no pandas DataFrame but ndarray; give one with patient ids in its index and columns "
        "named modality__feature (a step before this one keeps them after "
        "set_output(transform='pandas'))"
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("rna_0", "'rna_0'"),
        ("dna__x", "'dna__x'"),
        ("rna__nothing", "'rna__nothing'"),
        (7, "'7'"),
        (("rna", "rna_0"), "\"('rna', 'rna_0')\""),
    ],
)
def test_a_column_of_no_space_is_named(
    ensemble: LoadedEnsemble, wide: pd.DataFrame, name: Any, shown: str
) -> None:
    spoilt = wide.set_axis(pd.Index([name, *wide.columns[1:]], tupleize_cols=False), axis=1)
    with pytest.raises(DataError) as caught:
        EnsembleImputer(ensemble).fit(spoilt)
    assert str(caught.value) == (
        f"1 of 19 columns of X are no feature of the ensemble: {shown}; name columns "
        f"modality__feature, with the features of cna, rna, rppa, and take others past this step "
        f"with a ColumnTransformer"
    )


def test_a_column_or_patient_that_stands_twice_is_named(
    ensemble: LoadedEnsemble, wide: pd.DataFrame
) -> None:
    with pytest.raises(DataError) as caught:
        EnsembleImputer(ensemble).fit(wide[[*wide.columns, "rna__rna_3"]])
    assert str(caught.value) == "X has column 'rna__rna_3' twice; give each once"
    with pytest.raises(DataError) as caught:
        EnsembleImputer(ensemble).fit(wide.iloc[[0, 1, 1]])
    assert str(caught.value) == "X has patient 's2-001' twice; give each once"


def test_text_and_infinity_are_placed(ensemble: LoadedEnsemble, wide: pd.DataFrame) -> None:
    with pytest.raises(DataError) as caught:
        EnsembleImputer(ensemble).fit(wide.astype({"rna__rna_3": str}))
    assert str(caught.value) == "X, column 'rna__rna_3' holds str, not numbers; convert it"
    spoilt = wide.copy()
    spoilt.loc["s2-005", "rna__rna_3"] = -np.inf
    with pytest.raises(DataError) as caught:
        EnsembleImputer(ensemble).fit(spoilt)
    assert str(caught.value) == (
        "X, patient 's2-005', column 'rna__rna_3' is infinite; give a number, or NaN where there "
        "is none"
    )


def test_too_few_features_of_a_space_are_refused_when_fitting(
    ensemble: LoadedEnsemble, wide: pd.DataFrame
) -> None:
    with pytest.raises(SpaceError, match=r"^X, columns rna__\* lacks 3 of the 8 features"):
        EnsembleImputer(ensemble).fit(wide.drop(columns=[f"rna__rna_{i}" for i in range(3)]))


def test_another_scale_is_refused_of_many_patients(
    imputer: EnsembleImputer, wide: pd.DataFrame
) -> None:
    other = wide.copy()
    other[[name for name in wide if name.startswith("rppa")]] *= 1000
    with pytest.raises(DataError, match=r"^X, columns rppa__\* is not on the scale"):
        imputer.transform(other)


def test_columns_of_another_table_than_fitted_are_refused(
    imputer: EnsembleImputer, wide: pd.DataFrame
) -> None:
    with pytest.raises(ValueError, match="feature names should match"):
        imputer.transform(wide[wide.columns[::-1]])
    with pytest.raises(ValueError, match="feature names should match"):
        imputer.transform(wide[wide.columns[1:]])


def test_targets_are_checked(ensemble: LoadedEnsemble, wide: pd.DataFrame) -> None:
    with pytest.raises(EnsembleError, match="no expert that generates 'wsi'"):
        EnsembleImputer(ensemble, targets=["wsi"]).fit(wide)
    with pytest.raises(EnsembleError) as caught:
        EnsembleImputer(ensemble, targets=[]).fit(wide.filter(like="rna__"))
    assert str(caught.value) == (
        "there is nothing to complete: the ensemble generates rna, cna, rppa, and X has columns of "
        "rna; name the targets to add"
    )


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"ensemble": "a.toml"}, "'a.toml' is no Ensemble; load one"),
        ({"draws": 2.5}, "draws is a whole number, not 2.5"),
        ({"seed": None}, "seed is a whole number, not None"),
        ({"targets": "rna"}, "targets are a list of names; write ['rna']"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    ensemble: LoadedEnsemble, wide: pd.DataFrame, parameters: dict[str, Any], problem: str
) -> None:
    with pytest.raises(EnsembleError) as caught:
        EnsembleImputer(ensemble).set_params(**parameters).fit(wide)
    assert str(caught.value) == problem


def test_a_row_without_an_id_is_refused(ensemble: LoadedEnsemble, wide: pd.DataFrame) -> None:
    with pytest.raises(DataError) as caught:
        EnsembleImputer(ensemble).fit(wide.set_axis([*wide.index[:-1], np.nan], axis=0))
    assert str(caught.value) == "X has rows without an id; put the patients' ids into its index"


def test_too_few_draws_are_refused(ensemble: LoadedEnsemble, wide: pd.DataFrame) -> None:
    with pytest.raises(EnsembleError, match="at least 2 draws, not 1"):
        EnsembleImputer(ensemble, draws=1).fit_transform(wide)
