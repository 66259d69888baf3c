"""Spaces: fitting, encoding, decoding, identity and storage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from codenoise.core.base.errors import DataError, SpaceError
from codenoise.core.cohort.tables import read_table
from codenoise.core.spaces.fit import FittedSpace, fit_space
from codenoise.core.spaces.pca import PCAEncoder
from codenoise.core.spaces.space import Space

ROOT = Path(__file__).parents[2]
TENSORS = (
    "center",
    "encoder.components",
    "latent_mean",
    "latent_scale",
    "r2",
    "residual_sd",
    "scale",
    "step.0.median",
    "step.1.mean",
    "step.1.scale",
)


def factor_table(patients: int, seed: int, features: int = 12, noise: float = 0.3) -> pd.DataFrame:
    """Features that are noisy mixtures of four hidden factors, in units of their own."""
    mixing = np.random.default_rng(99).standard_normal((4, features))
    units = np.random.default_rng(98).uniform(0.1, 10, features)
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((patients, 4))
    values = hidden @ mixing + noise * rng.standard_normal((patients, features)) + 3
    return pd.DataFrame(
        values * units,
        index=[f"P{seed}-{i}" for i in range(patients)],
        columns=[f"f{i}" for i in range(features)],
    )


def with_gaps(table: pd.DataFrame, share: float = 0.05, seed: int = 0) -> pd.DataFrame:
    gaps = np.random.default_rng(seed).random(table.shape) < share
    return table.mask(gaps)


def fit(
    train: pd.DataFrame, validation: pd.DataFrame | None = None, dim: int = 4, version: str = "1.0"
) -> FittedSpace:
    if validation is None:
        validation = factor_table(50, seed=1)
    return fit_space(
        train, validation, modality="rna", name="toy", version=version, dim=dim,
        leave_out_outliers=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def train() -> pd.DataFrame:
    return factor_table(200, seed=0)


@pytest.fixture(scope="module")
def validation() -> pd.DataFrame:
    return factor_table(50, seed=1)


@pytest.fixture(scope="module")
def complete(train: pd.DataFrame, validation: pd.DataFrame) -> Space:
    """A space fitted on complete data."""
    return fit(train, validation).space


@pytest.fixture(scope="module")
def gappy(train: pd.DataFrame, validation: pd.DataFrame) -> Space:
    """A space fitted on data with gaps."""
    return fit(with_gaps(train), validation).space


@pytest.fixture(scope="module")
def packaged() -> dict[str, tuple[Space, dict[str, Any]]]:
    """The bundled spaces with their manifests."""
    found = {}
    for path in sorted((ROOT / "plugins").glob("codenoise-space-*/*/space.json")):
        about = json.loads(path.read_text())
        found[about["modality"]] = (
            Space.from_tensors(
                modality=about["modality"],
                name=about["name"],
                version=about["version"],
                features=about["features"],
                preprocessing=about["preprocessing"],
                encoder=about["encoder"],
                unit=about["unit"],
                max_missing_fraction=about["max_missing_fraction"],
                max_absent_fraction=about["max_absent_fraction"],
                tensors=load_file(path.with_name("encoder.safetensors")),
            ),
            about,
        )
    return found


def parts_of(space: Space) -> dict[str, Any]:
    return {
        "modality": space.modality,
        "name": space.name,
        "version": space.version,
        "features": space.features,
        "preprocessing": space.preprocessing,
        "encoder": space.encoder.kind,
        "unit": space.unit,
        "max_missing_fraction": space.max_missing_fraction,
        "max_absent_fraction": space.max_absent_fraction,
        "tensors": dict(space.tensors()),
    }


def whitened(train: pd.DataFrame, table: pd.DataFrame, dim: int) -> np.ndarray:
    """The same latents by scikit-learn's pipeline, up to the sign of each dimension."""
    scaler = StandardScaler().fit(train)
    pca = PCA(dim, svd_solver="full", whiten=True).fit(scaler.transform(train))
    # Whitening divides by the sample's n - 1; latents are standardised by n.
    codes = pca.transform(scaler.transform(table))
    return np.asarray(codes * np.sqrt(len(train) / (len(train) - 1)))


def assert_equal_up_to_sign(got: np.ndarray, expected: np.ndarray) -> None:
    signs = np.sign(np.sum(got * expected, axis=0))
    np.testing.assert_allclose(got * signs, expected, atol=2e-3)


@pytest.mark.parametrize("dim", [1, 4, 8])
def test_latents_are_whitened_principal_components(
    train: pd.DataFrame, validation: pd.DataFrame, dim: int
) -> None:
    space = fit(train, validation, dim).space
    for table in (train, validation):
        assert_equal_up_to_sign(space.encode(table).to_numpy(), whitened(train, table, dim))


@pytest.mark.parametrize("modality", ["cna", "wsi"])
def test_latents_of_real_data_are_whitened_principal_components(modality: str) -> None:
    real = read_table(ROOT / "examples" / "tcga" / "cohort" / f"{modality}.csv").frame
    real = real.loc[:, real.std() > 0]
    held = read_table(ROOT / "examples" / "tcga" / "truth" / f"{modality}.csv").frame
    space = fit_space(
        real, held, modality=modality, name="x", version="1", dim=8, leave_out_outliers=False
    ).space
    assert space.features == tuple(real.columns)
    assert_equal_up_to_sign(space.encode(real).to_numpy(), whitened(real, real, 8))


def test_latents_of_training_patients_have_mean_0_and_standard_deviation_1(
    train: pd.DataFrame, complete: Space
) -> None:
    latents = complete.encode(train).to_numpy(dtype=np.float64)
    np.testing.assert_allclose(latents.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(latents.std(axis=0), 1, atol=1e-5)


def test_latents_of_training_patients_with_gaps_are_standardised_too(train: pd.DataFrame) -> None:
    holey = with_gaps(train)
    latents = fit(holey).space.encode(holey).to_numpy(dtype=np.float64)
    np.testing.assert_allclose(latents.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(latents.std(axis=0), 1, atol=1e-5)


def test_latents_keep_the_patients_and_are_single_precision(
    validation: pd.DataFrame, complete: Space
) -> None:
    latents = complete.encode(validation)
    assert latents.shape == (50, 4)
    assert list(latents.index) == list(validation.index)
    assert set(latents.dtypes) == {np.dtype(np.float32)}


def test_statistics_are_those_of_the_training_patients(train: pd.DataFrame) -> None:
    holey = with_gaps(train)
    space = fit(holey).space
    median = space.tensors()["step.0.median"]
    np.testing.assert_allclose(median, np.nanmedian(holey, axis=0), rtol=1e-6)
    np.testing.assert_allclose(space.center, holey.mean(), rtol=1e-5)
    np.testing.assert_allclose(space.scale, holey.std(ddof=0), rtol=1e-5)


def test_nothing_but_the_residual_is_fitted_on_validation_patients(train: pd.DataFrame) -> None:
    one = fit(train, factor_table(50, seed=1)).space
    other = fit(train, factor_table(40, seed=2) * 2).space
    for name, tensor in one.tensors().items():
        equal = np.array_equal(tensor, other.tensors()[name])
        assert equal == (name not in ("residual_sd", "r2")), name


def test_fitting_twice_gives_the_same_space(train: pd.DataFrame, validation: pd.DataFrame) -> None:
    assert fit(train, validation).space.digest == fit(train, validation).space.digest


def test_extra_columns_and_the_order_of_columns_do_not_matter(
    validation: pd.DataFrame, complete: Space
) -> None:
    other = validation.assign(extra=np.nan, more=1e9)[
        ["more", *reversed(validation.columns), "extra"]
    ]
    pd.testing.assert_frame_equal(
        complete.encode(other), complete.encode(validation), check_exact=True
    )


def test_gaps_are_filled_with_medians(validation: pd.DataFrame, gappy: Space) -> None:
    holey = validation.copy()
    holey.iloc[0, [2, 5]] = np.nan
    holey.iloc[7, 0] = np.nan
    medians = pd.Series(
        gappy.tensors()["step.0.median"], index=list(gappy.features), dtype=np.float64
    )
    pd.testing.assert_frame_equal(
        gappy.encode(holey), gappy.encode(holey.fillna(medians)), check_exact=True
    )


def test_a_corrupt_value_is_clipped(validation: pd.DataFrame, complete: Space) -> None:
    corrupt, bound = validation.copy(), validation.copy()
    corrupt.loc[:, "f3"] = 1e12
    bound.loc[:, "f3"] = float(complete.center[3]) + 10 * float(complete.scale[3])
    np.testing.assert_allclose(complete.encode(corrupt), complete.encode(bound), atol=1e-4)


def test_an_empty_table_has_no_latents(validation: pd.DataFrame, complete: Space) -> None:
    assert complete.encode(validation.iloc[:0]).shape == (0, 4)


def test_latents_of_a_patient_do_not_depend_on_the_others(
    packaged: dict[str, tuple[Space, dict[str, Any]]],
) -> None:
    space, _ = packaged["cna"]
    table = read_table(ROOT / "examples" / "tcga" / "cohort" / "cna.csv").frame
    together = space.encode(table)
    for count in (1, 2, 7, 30):
        pd.testing.assert_frame_equal(
            space.encode(table.iloc[-count:]), together.iloc[-count:], check_exact=True
        )


def test_missing_features_are_counted_and_the_first_named(
    validation: pd.DataFrame, complete: Space
) -> None:
    table = validation.drop(columns=["f1", "f2", "f5", "f7", "f11"])
    with pytest.raises(SpaceError) as caught:
        complete.encode(table, "rna.csv")
    message = str(caught.value)
    assert (
        "rna.csv lacks 5 of the 12 features of space toy@1.0, which takes 10%: "
        "'f1', 'f2', 'f5' and 2 more" in message
    )
    assert "use a table with the space's features" in message


def test_too_many_gaps_in_a_patient_are_refused_by_name(
    validation: pd.DataFrame, gappy: Space
) -> None:
    holey = validation.copy()
    holey.iloc[3, :6] = np.nan
    assert gappy.encode(holey).notna().all(axis=None)
    holey.iloc[8, :7] = np.nan
    with pytest.raises(DataError) as caught:
        gappy.encode(holey, "rna.csv")
    message = str(caught.value)
    assert "rna.csv, patient 'P1-8': 7 of 12 values are missing" in message
    assert "('f0', 'f1', 'f2' and 4 more)" in message
    assert "at most 50% of a patient's features" in message


def test_a_space_of_complete_data_refuses_any_gap(
    validation: pd.DataFrame, complete: Space
) -> None:
    holey = validation.copy()
    holey.iloc[4, 2] = np.nan
    assert complete.max_missing_fraction == 0
    with pytest.raises(DataError, match=r"patient 'P1-4': 1 of 12 values are missing \('f2'\)"):
        complete.encode(holey)


def test_gaps_in_columns_the_space_does_not_know_do_not_matter(
    validation: pd.DataFrame, complete: Space
) -> None:
    complete.encode(validation.assign(extra=np.nan))


def test_encoding_leaves_the_table_as_it_was(validation: pd.DataFrame, gappy: Space) -> None:
    holey = with_gaps(validation, 0.02)
    before = holey.copy()
    gappy.encode(holey)
    pd.testing.assert_frame_equal(holey, before)


def test_decoding_recovers_what_the_components_hold(
    train: pd.DataFrame, validation: pd.DataFrame
) -> None:
    fitted = fit(train, validation)
    decoded = fitted.space.decode(fitted.space.encode(validation).to_numpy())
    per_feature = r2_score(validation, decoded, multioutput="raw_values")
    assert per_feature.min() > 0.8
    assert fitted.r2_feature_mean == pytest.approx(per_feature.mean(), abs=1e-4)
    scaler = StandardScaler().fit(train)
    wanted, got = (scaler.transform(pd.DataFrame(t, columns=train.columns)).ravel()
                   for t in (validation.to_numpy(), decoded))  # fmt: skip
    assert fitted.r2 == pytest.approx(r2_score(wanted, got), abs=1e-4)
    assert (fitted.n_train, fitted.n_validation) == (200, 50)


def test_as_many_components_as_features_decode_everything(
    train: pd.DataFrame, validation: pd.DataFrame
) -> None:
    fitted = fit(train, validation, dim=12)
    decoded = fitted.space.decode(fitted.space.encode(validation).to_numpy())
    np.testing.assert_allclose(decoded, validation, rtol=1e-3, atol=1e-3)
    assert fitted.r2 == pytest.approx(1, abs=1e-5)


def test_the_residual_is_what_decoding_loses_on_validation_patients(
    train: pd.DataFrame, validation: pd.DataFrame
) -> None:
    space = fit(train, validation).space
    lost = validation.to_numpy() - space.decode(space.encode(validation).to_numpy())
    np.testing.assert_allclose(space.residual_sd, lost.std(axis=0), rtol=1e-3)
    assert (space.residual_sd > 0).all()


def test_draws_are_decoded_as_patients_are(complete: Space) -> None:
    draws = np.random.default_rng(0).standard_normal((5, 3, 4)).astype(np.float32)
    decoded = complete.decode(draws)
    assert decoded.shape == (5, 3, 12)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded[2, 1], complete.decode(draws[2, 1]), rtol=1e-5)


def test_latents_of_zero_decode_to_the_training_mean(train: pd.DataFrame, complete: Space) -> None:
    decoded = complete.decode(np.zeros((1, 4), np.float32))[0]
    np.testing.assert_allclose(decoded, train.mean(), rtol=1e-3)


def test_standardised_values_are_in_units_of_the_training_patients(
    train: pd.DataFrame, complete: Space
) -> None:
    np.testing.assert_allclose(
        complete.standardised(train.to_numpy(dtype=np.float32)),
        StandardScaler().fit_transform(train),
        atol=1e-3,
    )


def test_features_with_many_gaps_are_left_out(train: pd.DataFrame) -> None:
    holey = train.copy()
    holey.iloc[:20, 0] = np.nan
    holey.iloc[:21, 1] = np.nan
    space = fit(holey).space
    assert space.features == tuple(f"f{i}" for i in range(12) if i != 1)
    assert space.max_missing_fraction == 0.5


def test_gaps_of_a_feature_that_is_left_out_do_not_make_the_space_accept_gaps(
    train: pd.DataFrame,
) -> None:
    holey = train.copy()
    holey.iloc[:21, 1] = np.nan
    assert fit(holey).space.max_missing_fraction == 0


@pytest.mark.parametrize("constant", [0.0, 3.0, 0.1])
@pytest.mark.parametrize("patients", [10, 100, 200])
def test_features_that_do_not_vary_are_left_out(
    train: pd.DataFrame, validation: pd.DataFrame, constant: float, patients: int
) -> None:
    fitted = fit(train.iloc[:patients].assign(same=constant), validation.assign(same=constant))
    assert fitted.space.features == tuple(train.columns)


def test_too_few_patients_or_features_are_refused_with_the_numbers(train: pd.DataFrame) -> None:
    too_small = [(train.iloc[:4], "not 4, 12 and 50"), (train.iloc[:, :3], "not 200, 3 and 50")]
    for table, numbers in too_small:
        with pytest.raises(DataError, match="a 4-dimensional space of rna needs more than 4") as e:
            fit(table)
        assert numbers in str(e.value)
    with pytest.raises(DataError, match="not 200, 12 and 1"):
        fit(train, factor_table(1, seed=3))


def test_fewer_varying_directions_than_dimensions_are_refused(train: pd.DataFrame) -> None:
    # Six copies of one feature vary in one direction; three latents would be rounding errors.
    copies, held = (
        pd.DataFrame({f"c{i}": table["f0"] for i in range(6)})
        for table in (train, factor_table(50, seed=1))
    )
    with pytest.raises(DataError, match="4-dimensional"):
        fit(copies, held)


def test_a_space_is_named_by_name_and_version(complete: Space) -> None:
    assert complete.reference == "toy@1.0"
    assert complete.dim == 4
    assert complete.digest.startswith("sha256:")
    assert len(complete.digest) == len("sha256:") + 64


def test_the_digest_does_not_depend_on_name_and_version(complete: Space) -> None:
    assert replace(complete, name="other", version="2").digest == complete.digest


@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize("position", [0, -1])
def test_the_digest_changes_with_any_number(complete: Space, tensor: str, position: int) -> None:
    parts = parts_of(complete)
    changed = parts["tensors"][tensor].copy()
    changed.flat[position] = np.nextafter(changed.flat[position], np.float32(np.inf))
    parts["tensors"][tensor] = changed
    assert Space.from_tensors(**parts).digest != complete.digest


def test_every_number_of_a_space_is_stored(complete: Space) -> None:
    assert tuple(sorted(complete.tensors())) == TENSORS


def test_the_digest_changes_with_modality_features_and_accepted_gaps(complete: Space) -> None:
    others = [
        replace(complete, modality="cna"),
        replace(complete, features=("g0", *complete.features[1:])),
        replace(complete, features=complete.features[::-1]),
        replace(complete, max_missing_fraction=0.5),
    ]
    digests = {space.digest for space in others} | {complete.digest}
    assert len(digests) == 5


def test_a_space_survives_storage(validation: pd.DataFrame, gappy: Space) -> None:
    rebuilt = Space.from_tensors(**parts_of(gappy))
    assert rebuilt.digest == gappy.digest
    pd.testing.assert_frame_equal(
        rebuilt.encode(validation), gappy.encode(validation), check_exact=True
    )


def test_an_unknown_encoder_is_refused(complete: Space) -> None:
    parts = parts_of(complete) | {"encoder": "vae"}
    with pytest.raises(SpaceError, match="encoder 'vae' is unknown; known: autoencoder, pca"):
        Space.from_tensors(**parts)


@pytest.mark.parametrize("tensor", TENSORS)
def test_a_missing_tensor_is_refused_by_name(complete: Space, tensor: str) -> None:
    parts = parts_of(complete)
    del parts["tensors"][tensor]
    with pytest.raises(SpaceError) as caught:
        Space.from_tensors(**parts)
    assert "space toy@1.0" in str(caught.value)
    assert tensor.rpartition(".")[2] in str(caught.value)


@pytest.mark.parametrize("tensor", [name for name in TENSORS if "." not in name])
@pytest.mark.parametrize("shape", [(3,), (12, 1), (13,), ()])
def test_a_tensor_of_the_wrong_shape_is_refused_by_name(
    complete: Space, tensor: str, shape: tuple[int, ...]
) -> None:
    parts = parts_of(complete)
    parts["tensors"][tensor] = np.ones(shape, np.float32)
    expected = 4 if tensor.startswith("latent_") else 12
    with pytest.raises(SpaceError) as caught:
        Space.from_tensors(**parts)
    assert f"tensor {tensor!r} of space toy@1.0 has shape {shape}" in str(caught.value)
    assert f"expected ({expected},)" in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 11), (4, 13), (4,), (4, 12, 1), ()])
def test_components_of_the_wrong_shape_are_refused(complete: Space, shape: tuple[int, ...]) -> None:
    parts = parts_of(complete)
    parts["tensors"]["encoder.components"] = np.ones(shape, np.float32)
    with pytest.raises(SpaceError, match=r"components|the encoder of space"):
        Space.from_tensors(**parts)


def test_an_encoder_is_rebuilt_from_its_tensors(train: pd.DataFrame) -> None:
    values = StandardScaler().fit_transform(train).astype(np.float32)
    encoder = PCAEncoder.fit(values, 3)
    again = PCAEncoder.from_tensors(encoder.tensors())
    assert again.dim == 3
    np.testing.assert_array_equal(again.encode(values), encoder.encode(values))
    np.testing.assert_allclose(encoder.components @ encoder.components.T, np.eye(3), atol=1e-5)


def test_packaged_spaces_have_the_digest_of_their_manifest(
    packaged: dict[str, tuple[Space, dict[str, Any]]],
) -> None:
    assert {"cna", "rna", "rppa", "wsi"} <= set(packaged)
    for space, about in packaged.values():
        assert space.digest == about["digest"]
        assert space.dim == about["dim"]


@pytest.mark.parametrize("modality", ["cna", "rna", "rppa", "wsi"])
def test_packaged_spaces_decode_real_patients_as_well_as_they_say(
    packaged: dict[str, tuple[Space, dict[str, Any]]], modality: str
) -> None:
    space, about = packaged[modality]
    tables = [read_table(ROOT / "examples" / "tcga" / part / f"{modality}.csv").frame
              for part in ("cohort", "truth")]  # fmt: skip
    real = pd.concat(tables)[list(space.features)]
    real = real[real.notna().all(axis=1)]
    decoded = space.decode(space.encode(real).to_numpy())
    wanted, got = (space.standardised(np.asarray(t, np.float32)).ravel() for t in (real, decoded))
    assert r2_score(wanted, got) == pytest.approx(about["validation"]["r2"], abs=0.1)


def test_a_few_absent_features_are_filled_as_gaps_are(
    validation: pd.DataFrame, complete: Space
) -> None:
    medians = complete.tensors()["step.0.median"]
    filled = validation.assign(f4=float(medians[4]))
    lacking = validation.drop(columns="f4")
    assert complete.absent(lacking) == ["f4"]
    pd.testing.assert_frame_equal(
        complete.encode(lacking), complete.encode(filled), check_exact=True
    )


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (lambda t: np.exp2(t) - 1, "log2(x + 1) would fit"),
        (lambda t: np.log2(t.clip(lower=0) + 1), "2**x - 1 would fit"),
        (lambda t: t * 1000 + 500, "no usual transform would fit"),
    ],
)
def test_a_table_on_another_scale_is_refused_with_the_transform_that_mends_it(
    spoil: Any, mend: str
) -> None:
    rng = np.random.default_rng(0)
    columns = [f"g{i}" for i in range(12)]

    def table(patients: int) -> pd.DataFrame:
        hidden = rng.normal(size=(patients, 4)) @ np.random.default_rng(1).normal(size=(4, 12))
        values = 8 + hidden / 3 + 0.2 * rng.normal(size=(patients, 12))
        return pd.DataFrame(values, columns=columns, index=[f"p{i}" for i in range(patients)])

    space = fit(table(200), table(50)).space
    space.encode(table(30))
    with pytest.raises(DataError) as caught:
        space.encode(spoil(table(30)), "rna.csv")
    assert "rna.csv is not on the scale of space toy@1.0" in str(caught.value)
    assert mend in str(caught.value)


@pytest.mark.parametrize("encoder", ["autoencoder", "variational"])
def test_autoencoders_reconstruct_and_survive_storage(
    train: pd.DataFrame, validation: pd.DataFrame, encoder: Any
) -> None:
    fitted = fit_space(
        train, validation, modality="rna", name="toy", version="1.0", dim=4, encoder=encoder
    )
    assert fitted.r2 > 0.6
    rebuilt = Space.from_tensors(**parts_of(fitted.space))
    assert rebuilt.encoder.kind == "autoencoder"
    assert rebuilt.digest == fitted.space.digest
    pd.testing.assert_frame_equal(
        rebuilt.encode(validation), fitted.space.encode(validation), check_exact=True
    )
    again = fit_space(
        train, validation, modality="rna", name="toy", version="1.0", dim=4, encoder=encoder
    )
    assert again.space.digest == fitted.space.digest


def test_outlying_training_patients_are_left_out_of_the_fit(
    train: pd.DataFrame, validation: pd.DataFrame
) -> None:
    spoilt = train.copy()
    spoilt.iloc[:3] = spoilt.iloc[:3] * 40 - 500
    fitted = fit_space(spoilt, validation, modality="rna", name="toy", version="1", dim=4)
    assert fitted.n_outliers >= 3
    assert fitted.n_train + fitted.n_outliers == len(train)
    np.testing.assert_allclose(fitted.space.center, train.iloc[3:].mean(), rtol=0.1)


def test_per_feature_r2_is_that_of_validation_patients(
    validation: pd.DataFrame, complete: Space
) -> None:
    decoded = complete.decode(complete.encode(validation).to_numpy())
    wanted = r2_score(validation, decoded, multioutput="raw_values")
    np.testing.assert_allclose(complete.r2, wanted, atol=1e-3)
