"""Completing cohorts: what is kept, what is generated, what is reported, what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from torch import Tensor

from codenoise.core.base.errors import CodenoiseError, DataError, EnsembleError, SpaceError
from codenoise.core.cohort.cohort import Cohort, read_cohort
from codenoise.core.cohort.tables import Table, write_table
from codenoise.core.diffusion.denoiser import Denoiser
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.engine import Generation
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.imputation import CHUNK, Imputation, Origin
from codenoise.core.ensemble.multiple import draws_table
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.core.spaces.fit import fit_space
from codenoise.core.spaces.space import Space
from codenoise.evaluation.truth import against_truth, compare_with_truth

SCHEDULE = linear_schedule()
FEATURES = {"cna": 6, "rna": 8, "rppa": 5}
DIMS = {"cna": 3, "rna": 3, "rppa": 2}
# There is no expert from protein to copy number: a patient with protein alone lacks one for it.
PAIRS = [("cna", "rna"), ("rppa", "rna"), ("rna", "cna"), ("rna", "rppa"), ("cna", "rppa")]
# A threshold that no distance passes: nothing is redrawn unless a test asks for it.
NEVER_REJECT = EngineSettings("inverse-mse", steps=10, threshold=2.1, mirrored=False)
REPORT = [
    "patient",
    "target",
    "status",
    "experts",
    "weights learned",
    "weights",
    "coherence",
    "incoherent_fraction",
    "redraws",
    "incoherent_draws",
]


def tables(patients: int, seed: int) -> dict[str, pd.DataFrame]:
    """Three modalities that mix the same three hidden factors."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((patients, 3))
    ids = pd.Index([f"s{seed}-{i:03d}" for i in range(patients)], name="patient")
    made = {}
    for number, (name, features) in enumerate(FEATURES.items()):
        mixing = np.random.default_rng(100 + number).standard_normal((3, features))
        values = hidden @ mixing + 0.3 * rng.standard_normal((patients, features)) + 2 * number
        made[name] = pd.DataFrame(
            values, index=ids, columns=[f"{name}{i}" for i in range(features)]
        )
    return made


def gaussian_denoiser(matrix: NDArray[np.float64], sd: float) -> Denoiser:
    """The exact denoiser of latents distributed as N(condition @ matrix, sd^2)."""
    weights = torch.tensor(matrix, dtype=torch.float32)
    levels = torch.tensor(SCHEDULE.alpha_bar, dtype=torch.float32)

    def predict_x0(x: Tensor, time: Tensor, condition: Tensor, /) -> Tensor:
        level = levels[time.round().long()][:, None]
        mean = condition @ weights
        gain = sd**2 * level.sqrt() / (level * sd**2 + 1 - level)
        return mean + gain * (x - level.sqrt() * mean)

    return predict_x0


@pytest.fixture(scope="module")
def ensemble() -> LoadedEnsemble:
    train, validation = tables(400, seed=0), tables(100, seed=1)
    train["rna"].iloc[:5, 0] = np.nan  # so that this space takes gaps, and the others do not
    spaces = {
        name: fit_space(
            train[name], validation[name], modality=name, name=f"toy-{name}", version="1", dim=dim
        ).space
        for name, dim in DIMS.items()
    }
    latents = {name: spaces[name].encode(train[name]).to_numpy(np.float64) for name in spaces}
    experts = []
    for condition, target in PAIRS:
        matrix = np.linalg.lstsq(latents[condition], latents[target], rcond=None)[0]
        error = float(np.mean((latents[target] - latents[condition] @ matrix) ** 2))
        experts.append(
            Expert(
                name=f"{condition}-to-{target}@1",
                conditions=(condition,),
                target=target,
                condition_spaces=(spaces[condition].digest,),
                condition_dims=(DIMS[condition],),
                target_space=spaces[target].digest,
                dim=DIMS[target],
                denoiser=gaussian_denoiser(matrix, error**0.5),
                schedule=SCHEDULE,
                prediction="x0",
                validation_mse=error,
            )
        )
    return LoadedEnsemble(spaces, tuple(experts), NEVER_REJECT)


@pytest.fixture(scope="module")
def real() -> dict[str, pd.DataFrame]:
    """What the cohort would be without holes."""
    return tables(24, seed=2)


@pytest.fixture(scope="module")
def holey(real: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Patients 0-7 have all, 8-13 no rna, 14-17 no rppa, 18-21 no cna, 22-23 protein alone.

    Patient 3 has an rna row with two gaps; 5 has an rna row without any value. The rna table is not
    in the order of the others.
    """
    ids = real["rna"].index
    made = {
        "cna": real["cna"].drop(ids[18:]),
        "rna": real["rna"].drop([*ids[8:14], *ids[22:]]).iloc[::-1].copy(),
        "rppa": real["rppa"].drop(ids[14:18]),
    }
    made["rna"].loc[ids[3], ["rna1", "rna6"]] = np.nan
    made["rna"].loc[ids[5]] = np.nan
    return made


def cohort_of(frames: Mapping[str, pd.DataFrame]) -> Cohort:
    return Cohort({name: Table(frame, f"{name}.csv") for name, frame in frames.items()})


@pytest.fixture(scope="module")
def result(ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame]) -> Imputation:
    return ensemble.impute(cohort_of(holey), draws=8, seed=0)


def missing(real: dict[str, pd.DataFrame]) -> dict[str, list[str]]:
    """Who lacks what, in the order of the union of the tables: cna's patients, then the others."""
    ids = list(real["rna"].index)
    return {
        "cna": [*ids[18:22][::-1], *ids[22:]],
        "rna": [ids[5], *ids[8:14], *ids[22:]],
        "rppa": ids[14:18],
    }


def same(one: Imputation, other: Imputation, patients: Sequence[str] | None = None) -> None:
    """Assert that two results hold the same, to the bit, for these or all patients."""
    assert one.completed.keys() == other.completed.keys()
    for kind in ("completed", "spread", "mask"):
        for name, table in getattr(one, kind).items():
            chosen = list(table.frame.index if patients is None else patients)
            pd.testing.assert_frame_equal(
                getattr(other, kind)[name].frame.loc[chosen],
                table.frame.loc[chosen],
                check_exact=True,
            )


def test_every_target_is_completed(result: Imputation) -> None:
    for part in (result.completed, result.spread, result.mask, result.generations):
        assert sorted(part) == ["cna", "rna", "rppa"]
    assert (result.draws, result.seed) == (8, 0)


def test_patients_stand_in_the_order_of_their_table_and_others_after(
    result: Imputation, holey: dict[str, pd.DataFrame], real: dict[str, pd.DataFrame]
) -> None:
    for name, frame in holey.items():
        ids = list(result.completed[name].frame.index)
        assert ids[: len(frame)] == list(frame.index)
        appended = [p for p in missing(real)[name] if p not in frame.index]
        assert ids[len(frame) :] == appended
        assert sorted(ids) == sorted(real[name].index)


def test_spread_and_mask_have_the_shape_of_the_completed_table(
    result: Imputation, holey: dict[str, pd.DataFrame]
) -> None:
    for name, frame in holey.items():
        completed = result.completed[name].frame
        assert list(completed.columns) == list(frame.columns)
        assert completed.index.name == "patient"
        for other in (result.spread[name].frame, result.mask[name].frame):
            pd.testing.assert_index_equal(other.index, completed.index)
            pd.testing.assert_index_equal(other.columns, completed.columns)


def test_observed_values_are_untouched(result: Imputation, holey: dict[str, pd.DataFrame]) -> None:
    for name, frame in holey.items():
        observed = frame.notna()
        got = result.completed[name].frame.loc[frame.index]
        pd.testing.assert_frame_equal(got.where(observed), frame, check_exact=True)
        mask = result.mask[name].frame.loc[frame.index]
        pd.testing.assert_frame_equal(
            mask == Origin.OBSERVED, observed, check_dtype=False, check_names=False
        )
        assert (result.spread[name].frame.loc[frame.index].to_numpy()[observed] == 0).all()


def test_the_given_cohort_is_not_changed(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame]
) -> None:
    cohort = cohort_of({name: frame.copy() for name, frame in holey.items()})
    before = cohort.digest()
    ensemble.impute(cohort, draws=2)
    assert cohort.digest() == before


def test_missing_modalities_are_generated_with_a_spread(
    result: Imputation, real: dict[str, pd.DataFrame]
) -> None:
    for name in ("rna", "rppa"):
        ids = missing(real)[name]
        assert (result.mask[name].frame.loc[ids] == Origin.GENERATED).all(axis=None)
        assert result.completed[name].frame.loc[ids].notna().all(axis=None)
        assert (result.spread[name].frame.loc[ids] > 0).all(axis=None)


def test_a_row_without_any_value_is_generated_in_its_place(
    result: Imputation, holey: dict[str, pd.DataFrame], real: dict[str, pd.DataFrame]
) -> None:
    patient = real["rna"].index[5]
    place = list(holey["rna"].index).index(patient)
    assert result.completed["rna"].frame.index[place] == patient
    assert (result.mask["rna"].frame.loc[patient] == Origin.GENERATED).all()


def test_gaps_in_a_measured_row_are_reconstructed_from_the_rest_of_the_row(
    result: Imputation,
    ensemble: LoadedEnsemble,
    holey: dict[str, pd.DataFrame],
    real: dict[str, pd.DataFrame],
) -> None:
    patient, gaps, space = real["rna"].index[3], ["rna1", "rna6"], ensemble.spaces["rna"]
    mask = result.mask["rna"].frame.loc[patient]
    assert list(mask.index[mask == Origin.RECONSTRUCTED]) == gaps
    assert (mask.drop(gaps) == Origin.OBSERVED).all()
    row = holey["rna"].loc[[patient]]
    expected = pd.Series(space.decode(space.encode(row).to_numpy())[0], index=space.features)
    got = result.completed["rna"].frame.loc[patient]
    np.testing.assert_allclose(got[gaps].to_numpy(), expected[gaps], rtol=1e-5)
    spread = result.spread["rna"].frame.loc[patient]
    residual = pd.Series(space.residual_sd, index=space.features)
    np.testing.assert_allclose(spread[gaps].to_numpy(), residual[gaps], rtol=1e-6)
    assert (spread.drop(gaps) == 0).all()


def test_a_measured_patient_is_never_generated(
    result: Imputation, real: dict[str, pd.DataFrame]
) -> None:
    for name, generation in result.generations.items():
        assert sorted(generation.patients) == sorted(missing(real)[name])
        assert generation.draws.shape == (len(missing(real)[name]), 8, DIMS[name])


def test_a_patient_that_no_expert_fits_is_reported_and_kept_empty(
    result: Imputation, real: dict[str, pd.DataFrame]
) -> None:
    ids = list(real["cna"].index[22:])
    assert result.completed["cna"].frame.loc[ids].isna().all(axis=None)
    assert result.spread["cna"].frame.loc[ids].isna().all(axis=None)
    assert (result.mask["cna"].frame.loc[ids] == Origin.UNAVAILABLE).all(axis=None)
    report = result.report[(result.report.target == "cna") & result.report.patient.isin(ids)]
    assert report.status.tolist() == ["no expert fits"] * 2
    assert report.experts.tolist() == ["", ""]
    assert report.weights.tolist() == ["", ""]
    assert report[["coherence", "incoherent_fraction"]].isna().all(axis=None)
    assert (report[["redraws", "incoherent_draws"]] == 0).all(axis=None)


def decoded_draws(space: Space, generation: Generation) -> pd.DataFrame:
    """What latents carry of each draw, by patient and draw."""
    usable = np.flatnonzero(generation.attempts[:, 0] > 0)
    decoded = space.decode(generation.draws[usable])
    index = pd.MultiIndex.from_product(
        [[generation.patients[row] for row in usable], range(decoded.shape[1])],
        names=["patient", "draw"],
    )
    return pd.DataFrame(decoded.reshape(len(index), -1), index=index, columns=list(space.features))


def test_the_completed_value_is_the_mean_of_the_draws(
    result: Imputation, ensemble: LoadedEnsemble, real: dict[str, pd.DataFrame]
) -> None:
    for name in ("rna", "rppa"):
        space = ensemble.spaces[name]
        draws = decoded_draws(space, result.generations[name])
        assert len(draws) == len(missing(real)[name]) * 8
        groups = draws.groupby(level="patient", sort=False)
        ids = missing(real)[name]
        mean = result.completed[name].frame.loc[ids]
        np.testing.assert_allclose(mean, groups.mean().loc[ids], rtol=1e-4, atol=1e-5)
        spread = np.sqrt(groups.var(ddof=1).loc[ids] + space.residual_sd**2)
        np.testing.assert_allclose(result.spread[name].frame.loc[ids], spread, rtol=1e-4)


def test_draws_of_patients_that_no_expert_fits_are_left_out(
    result: Imputation, ensemble: LoadedEnsemble, real: dict[str, pd.DataFrame]
) -> None:
    draws = draws_table(ensemble.spaces["cna"], result.generations["cna"], result.seed)
    assert set(draws.index.get_level_values("patient")) == set(real["cna"].index[18:22])
    assert draws.notna().all(axis=None)


def test_draws_of_one_expert_follow_its_distribution(ensemble: LoadedEnsemble) -> None:
    space, expert = ensemble.spaces["rppa"], ensemble.experts_for("rppa")[1]
    given = tables(5, seed=3)
    only = LoadedEnsemble(ensemble.spaces, (expert,), replace(NEVER_REJECT, steps=100))
    result = only.impute(cohort_of({"cna": given["cna"]}), draws=400)
    condition = ensemble.spaces["cna"].encode(given["cna"]).to_numpy(np.float64)
    # The denoiser is linear in its condition; at no signal it gives the mean it is built around.
    mean = expert.denoiser(
        torch.zeros(5, 2), torch.full((5,), 999.0), torch.tensor(condition, dtype=torch.float32)
    ).numpy()
    draws, sd = result.generations["rppa"].draws, expert.validation_mse**0.5
    np.testing.assert_allclose(draws.mean(axis=1), mean, atol=5 * sd / 400**0.5)
    np.testing.assert_allclose(draws.std(axis=1), sd, rtol=0.15)
    got = result.completed["rppa"].frame
    np.testing.assert_allclose(got, space.decode(draws.mean(axis=1)), rtol=1e-4, atol=1e-4)


def only_rna(result: Imputation) -> Imputation:
    return replace(result, completed={"rna": result.completed["rna"]})


def test_generated_values_come_close_to_the_real_ones(ensemble: LoadedEnsemble) -> None:
    real = tables(200, seed=4)
    given = {"cna": real["cna"], "rna": real["rna"].iloc[:100], "rppa": real["rppa"]}
    result = ensemble.impute(cohort_of(given), draws=20)
    held = real["rna"].iloc[100:]
    got = result.completed["rna"].frame.loc[held.index]
    assert r2_score(held, got) > 0.8
    against = against_truth(
        ensemble.spaces["rna"],
        result.completed["rna"].frame,
        result.spread["rna"].frame,
        result.mask["rna"].frame,
        real["rna"],
    )
    assert compare_with_truth(result, {"rna": real["rna"]}) == [against]
    with pytest.raises(DataError, match="'cna' was not completed in the result"):
        compare_with_truth(only_rna(result), {"cna": real["cna"]})
    assert against.patients == 100
    assert against.r2_feature_mean == pytest.approx(r2_score(held, got), abs=1e-4)
    assert 0.8 < against.within_90 < 1


def test_the_report_has_a_row_per_generated_patient_and_modality(
    result: Imputation, real: dict[str, pd.DataFrame]
) -> None:
    report = result.report
    assert list(report.columns) == REPORT
    wanted = {(p, target) for target, ids in missing(real).items() for p in ids}
    assert set(zip(report.patient, report.target, strict=True)) == wanted
    assert len(report) == len(wanted)
    assert set(report.status) == {"generated", "no expert fits"}


def test_the_rows_of_the_report_are_numbered_through(result: Imputation) -> None:
    assert list(result.report.index) == list(range(len(result.report)))


def test_the_report_names_the_experts_in_play_and_their_weights(
    result: Imputation, ensemble: LoadedEnsemble, real: dict[str, pd.DataFrame]
) -> None:
    report = result.report.set_index(["target", "patient"])
    ids = real["rna"].index
    both = report.loc[("rna", ids[8])]
    assert both.experts == "cna-to-rna@1; rppa-to-rna@1"
    weights = [float(weight) for weight in both.weights.split("; ")]
    assert sum(weights) == pytest.approx(1, abs=2e-3)
    errors = [expert.validation_mse for expert in ensemble.experts_for("rna")]
    assert weights[0] / weights[1] == pytest.approx(errors[1] / errors[0], rel=0.02)
    alone = report.loc[("rna", ids[22])]
    assert (alone.experts, alone.weights) == ("rppa-to-rna@1", "1.000")


def test_coherence_is_reported_where_experts_can_be_compared(
    result: Imputation, real: dict[str, pd.DataFrame]
) -> None:
    report = result.report.set_index(["target", "patient"])
    ids = real["rna"].index
    both, alone = report.loc[("rna", ids[8])], report.loc[("rna", ids[22])]
    assert -1 <= both.coherence <= 1
    assert both.incoherent_fraction == 0
    assert np.isnan(alone.coherence)
    assert np.isnan(alone.incoherent_fraction)
    assert (result.report.redraws == 0).all()
    assert (result.report.incoherent_draws == 0).all()


def test_patients_whose_experts_never_agree_are_kept_and_reported(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame], real: dict[str, pd.DataFrame]
) -> None:
    # Every distance is over this threshold, so every attempt of two experts is rejected.
    strict = replace(NEVER_REJECT, threshold=-1.0, max_retries=2)
    settings = LoadedEnsemble(ensemble.spaces, ensemble.experts, strict)
    result = settings.impute(cohort_of(holey), draws=3)
    report = result.report.set_index(["target", "patient"])
    both = report.loc[("rna", real["rna"].index[8])]
    assert both.status == "generated"
    assert both.redraws == 3 * 2
    assert both.incoherent_draws == 3
    assert both.incoherent_fraction == 1
    alone = report.loc[("rna", real["rna"].index[22])]
    assert (alone.redraws, alone.incoherent_draws) == (0, 0)
    assert result.completed["rna"].frame.notna().all(axis=None)


def test_a_column_the_space_does_not_know_stays_empty_where_it_is(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame], real: dict[str, pd.DataFrame]
) -> None:
    extra = holey["rna"].copy()
    extra.insert(2, "batch", 7.0)
    first, second = extra.index[:2]
    unmeasured = real["rna"].index[5]
    extra.loc[[first, unmeasured], "batch"] = np.nan
    result = ensemble.impute(cohort_of({**holey, "rna": extra}), draws=2)
    completed, spread, mask = (
        part["rna"].frame for part in (result.completed, result.spread, result.mask)
    )
    assert list(completed.columns) == list(extra.columns)
    appended = [patient for patient in completed.index if patient not in extra.index]
    empty = [first, unmeasured, *appended]
    assert completed.loc[empty, "batch"].isna().all()
    assert spread.loc[empty, "batch"].isna().all()
    assert (mask.loc[empty, "batch"] == Origin.UNAVAILABLE).all()
    assert (mask.loc[appended].drop(columns="batch") == Origin.GENERATED).all(axis=None)
    kept = (completed.loc[second, "batch"], spread.loc[second, "batch"], mask.loc[second, "batch"])
    assert kept == (7.0, 0.0, Origin.OBSERVED)


def test_a_row_with_nothing_but_a_value_the_space_does_not_know_is_refused(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame]
) -> None:
    extra = holey["rna"].assign(batch=7.0)  # now even the row without rna values holds a value
    with pytest.raises(DataError, match=r"rna\.csv, patient 's2-005': 8 of 8 values are missing"):
        ensemble.impute(cohort_of({**holey, "rna": extra}), draws=2)


def test_columns_in_another_order_stay_in_it_and_get_the_same_values(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame], result: Imputation
) -> None:
    turned = {name: frame[frame.columns[::-1]] for name, frame in holey.items()}
    other = ensemble.impute(cohort_of(turned), draws=8, seed=0)
    for name, table in other.completed.items():
        assert list(table.frame.columns) == list(turned[name].columns)
        expected = result.completed[name].frame
        pd.testing.assert_frame_equal(table.frame[expected.columns], expected, check_exact=True)


def test_a_target_without_a_table_gets_one(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame]
) -> None:
    cohort = Cohort({name: Table(holey[name], f"{name}.tsv", ".tsv") for name in ("cna", "rna")})
    result = ensemble.impute(cohort, draws=2)
    table = result.completed["rppa"]
    assert (table.source, table.suffix) == ("rppa.tsv", ".tsv")
    assert list(table.frame.columns) == list(ensemble.spaces["rppa"].features)
    assert list(table.frame.index) == cohort.patients
    assert table.frame.index.name == "patient"
    assert table.frame.notna().all(axis=None)
    assert (result.mask["rppa"].frame == Origin.GENERATED).all(axis=None)
    assert (result.spread["rppa"].frame > 0).all(axis=None)


def test_one_table_is_enough(ensemble: LoadedEnsemble, real: dict[str, pd.DataFrame]) -> None:
    result = ensemble.impute(cohort_of({"rna": real["rna"]}), draws=2)
    assert sorted(result.completed) == ["cna", "rna", "rppa"]
    for name in ("cna", "rppa"):
        assert len(result.completed[name].frame) == 24
        assert result.completed[name].frame.notna().all(axis=None)


def test_a_complete_cohort_comes_back_as_it_is(
    ensemble: LoadedEnsemble, real: dict[str, pd.DataFrame]
) -> None:
    result = ensemble.impute(cohort_of(real), draws=2)
    assert len(result.report) == 0
    assert list(result.report.columns) == REPORT
    for name, frame in real.items():
        pd.testing.assert_frame_equal(result.completed[name].frame, frame, check_exact=True)
        assert (result.mask[name].frame == Origin.OBSERVED).all(axis=None)


def test_only_the_targets_asked_for_are_completed(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame], result: Imputation
) -> None:
    only = ensemble.impute(cohort_of(holey), draws=8, seed=0, targets=["rppa"])
    assert list(only.completed) == ["rppa"]
    assert set(only.report.target) == {"rppa"}
    pd.testing.assert_frame_equal(
        only.completed["rppa"].frame, result.completed["rppa"].frame, check_exact=True
    )


def test_the_same_seed_gives_the_same_and_another_seed_something_else(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame], result: Imputation
) -> None:
    same(ensemble.impute(cohort_of(holey), draws=8, seed=0), result)
    other = ensemble.impute(cohort_of(holey), draws=8, seed=1)
    generated = result.mask["rna"].frame == Origin.GENERATED
    differ = other.completed["rna"].frame != result.completed["rna"].frame
    pd.testing.assert_frame_equal(differ, generated, check_dtype=False)


def test_the_order_of_the_patients_does_not_matter(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame], result: Imputation
) -> None:
    turned = {name: frame.iloc[::-1] for name, frame in holey.items()}
    other = ensemble.impute(cohort_of(turned), draws=8, seed=0)
    same(result, other)
    for name, frame in turned.items():
        assert list(other.completed[name].frame.index[: len(frame)]) == list(frame.index)
    order = ["target", "patient"]
    pd.testing.assert_frame_equal(
        other.report.sort_values(order, ignore_index=True),
        result.report.sort_values(order, ignore_index=True),
    )


def test_the_order_of_the_tables_does_not_matter(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame], result: Imputation
) -> None:
    turned = dict(reversed(holey.items()))
    same(result, ensemble.impute(cohort_of(turned), draws=8, seed=0))


def test_the_other_patients_do_not_matter(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame], result: Imputation
) -> None:
    ids = list(holey["cna"].index[4:16])
    other = ensemble.impute(cohort_of(holey).subset(ids), draws=8, seed=0)
    same(other, result, ids)


def test_more_draws_extend_the_first_ones(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame], result: Imputation
) -> None:
    few = ensemble.impute(cohort_of(holey), draws=3, seed=0)
    for name, generation in few.generations.items():
        np.testing.assert_array_equal(generation.draws, result.generations[name].draws[:, :3])


def test_more_patients_than_are_decoded_at_a_time_are_all_completed(
    ensemble: LoadedEnsemble,
) -> None:
    many = tables(CHUNK + 40, seed=5)
    given = {"cna": many["cna"], "rna": many["rna"].iloc[:2]}
    result = ensemble.impute(cohort_of(given), draws=2, targets=["rna"])
    completed = result.completed["rna"].frame
    assert len(completed) == CHUNK + 40
    assert completed.notna().all(axis=None)
    draws = decoded_draws(ensemble.spaces["rna"], result.generations["rna"])
    last = completed.index[-1]
    np.testing.assert_allclose(
        completed.loc[last].to_numpy(), draws.loc[last].mean().to_numpy(), rtol=1e-4, atol=1e-5
    )


def test_progress_counts_up_to_all_trajectories_of_each_target(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame], real: dict[str, pd.DataFrame]
) -> None:
    calls: list[tuple[str, int, int]] = []
    ensemble.impute(cohort_of(holey), draws=3, progress=lambda *call: calls.append(call))
    for name in FEATURES:
        done = [(count, total) for target, count, total in calls if target == name]
        total = 3 * len(missing(real)[name])
        assert done[-1] == (total, total)
        assert done == sorted(done)


def test_single_precision_tables_stay_single_precision(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame]
) -> None:
    single = {name: frame.astype(np.float32) for name, frame in holey.items()}
    cohort = Cohort({n: Table(f, f"{n}.parquet", ".parquet") for n, f in single.items()})
    result = ensemble.impute(cohort, draws=2)
    for name, frame in single.items():
        completed = result.completed[name].frame
        assert set(completed.dtypes) == {np.dtype(np.float32)}
        pd.testing.assert_frame_equal(
            completed.loc[frame.index].where(frame.notna()), frame, check_exact=True
        )


def test_what_is_written_holds_the_observed_cells_to_the_letter(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    for name, frame in holey.items():
        frame.map("{:.3e}".format).where(frame.notna()).to_csv(tmp_path / f"{name}.csv")
    result = ensemble.impute(read_cohort(tmp_path), draws=2)
    for name, table in result.completed.items():
        before, after = (
            pd.read_csv(path, dtype=str, index_col=0)
            for path in (tmp_path / f"{name}.csv", write_table(table, tmp_path / "done", name))
        )
        observed = after.loc[before.index].where(before.notna())
        pd.testing.assert_frame_equal(observed, before)
        mask = pd.read_csv(write_table(result.mask[name], tmp_path / "mask", name), index_col=0)
        assert set(np.unique(mask)) <= set(Origin)


def test_tables_without_a_common_patient_are_refused_with_ids_of_each(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame]
) -> None:
    renamed = holey["cna"].rename(index=lambda name: f"{name}-01A")
    with pytest.raises(EnsembleError) as caught:
        ensemble.impute(cohort_of({"rna": holey["rna"], "cna": renamed}))
    message = str(caught.value)
    assert "no patient of rna.csv is in another table; ids must be written alike" in message
    assert f"rna.csv: '{holey['rna'].index[0]}' and 15 more" in message
    assert "cna.csv: 's2-000-01A' and 17 more" in message


def test_an_unknown_modality_is_refused_with_the_known_ones(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame]
) -> None:
    with pytest.raises(EnsembleError) as caught:
        ensemble.impute(cohort_of({**holey, "mirna": holey["rna"]}))
    message = str(caught.value)
    assert "mirna.csv: 'mirna' is no modality of this ensemble" in message
    assert "which knows cna, rna, rppa" in message


def test_a_target_without_an_expert_is_refused(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame]
) -> None:
    with pytest.raises(EnsembleError, match="no expert that generates 'wsi'; it generates rna, "):
        ensemble.impute(cohort_of(holey), targets=["rna", "wsi"])


def test_a_table_without_the_features_of_its_space_is_refused_by_file(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame]
) -> None:
    short = holey["rna"].drop(columns=["rna0", "rna4"])
    with pytest.raises(SpaceError, match=r"rna\.csv lacks 2 of the 8 features .*'rna0', 'rna4'"):
        ensemble.impute(cohort_of({**holey, "rna": short}))


def test_a_gap_in_a_modality_of_complete_data_is_refused_by_file_and_patient(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame]
) -> None:
    gap = holey["cna"].copy()
    gap.iloc[2, 1] = np.nan
    with pytest.raises(DataError, match=r"cna\.csv, patient 's2-002': 1 of 6 values .*'cna1'"):
        ensemble.impute(cohort_of({**holey, "cna": gap}))


@pytest.mark.parametrize("draws", [1, 0, -1])
def test_too_few_draws_for_a_spread_are_refused(
    ensemble: LoadedEnsemble, holey: dict[str, pd.DataFrame], draws: int
) -> None:
    with pytest.raises(EnsembleError, match="draws"):
        ensemble.impute(cohort_of(holey), draws=draws)


def test_a_cohort_without_tables_is_refused(ensemble: LoadedEnsemble) -> None:
    with pytest.raises(EnsembleError):
        ensemble.impute(Cohort({}))


def test_an_expert_whose_space_is_not_given_is_refused(ensemble: LoadedEnsemble) -> None:
    spaces = {name: space for name, space in ensemble.spaces.items() if name != "rppa"}
    with pytest.raises(EnsembleError, match="rppa-to-rna@1 needs a space of rppa; none is given"):
        LoadedEnsemble(spaces, ensemble.experts)


def test_an_expert_of_another_space_is_refused(ensemble: LoadedEnsemble) -> None:
    other = replace(ensemble.spaces["cna"], max_missing_fraction=0.25)
    with pytest.raises(EnsembleError) as caught:
        LoadedEnsemble({**ensemble.spaces, "cna": other}, ensemble.experts)
    message = str(caught.value)
    assert "cna-to-rna@1 lives in the cna space sha256:" in message
    assert f"toy-cna@1 ({other.digest[:19]})" in message


def test_targets_are_named_once_in_the_order_of_the_experts(ensemble: LoadedEnsemble) -> None:
    assert ensemble.targets == ["rna", "cna", "rppa"]
    assert [expert.name for expert in ensemble.experts_for("rppa")] == [
        "rna-to-rppa@1",
        "cna-to-rppa@1",
    ]


def test_a_result_is_written_whole_or_not_at_all(
    result: Imputation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new" / "completed"
    result.write(str(folder), save_draws=True)
    tables = [f"{part}/{m}.csv" for part in ("completed", "mask", "spread") for m in FEATURES]
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    draws = {f"draws/{m}.parquet" for m in FEATURES}
    assert files == {*tables, *draws, "coherence.csv", "provenance.json"}
    written = read_cohort(folder / "spread")
    for name, table in result.spread.items():
        np.testing.assert_allclose(written.tables[name].frame, table.frame, rtol=1e-5)
    record = json.loads((folder / "provenance.json").read_text())
    assert record == result.provenance
    assert (record["draws"], record["seed"]) == (8, 0)
    assert record["cohort_digest"] == result.given.digest()
    with pytest.raises(CodenoiseError, match="already holds files"):
        result.write(folder)
    monkeypatch.setattr("codenoise.core.ensemble.written.json.dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        result.write(folder, overwrite=True)
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == files
    assert list(folder.parent.iterdir()) == [folder]
