"""Latents of tables that are never held whole: those of `Space.encode`, and its refusals."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from codenoise.core.base.errors import CodenoiseError, DataError
from codenoise.core.cohort import chunks as module
from codenoise.core.cohort.chunks import read_chunks
from codenoise.core.cohort.writing import write_chunks
from codenoise.core.spaces.fit import fit_space
from codenoise.core.spaces.scale import Moments
from codenoise.core.spaces.space import Space
from codenoise.core.spaces.streaming import (
    decode_chunks,
    decode_table,
    encode_file,
    latent_names,
)


def table(patients: int, seed: int) -> pd.DataFrame:
    """Positive mixtures of four factors in twelve features."""
    mixing = np.random.default_rng(9).normal(size=(4, 12))
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(patients, 4)) @ mixing + 0.1 * rng.normal(size=(patients, 12)) + 20
    index = pd.Index([f"P{i:03d}" for i in range(patients)], name="patient")
    return pd.DataFrame(values, index, [f"f{i}" for i in range(12)])


@pytest.fixture(scope="module")
def space() -> Space:
    train = table(200, seed=0)
    train.iloc[3, 4] = np.nan  # so that gaps are taken
    recipe = (("log", {}), ("fill-median", {}), ("standardise", {}))
    return fit_space(
        train, table(50, seed=1), modality="rna", name="toy", version="1.0", dim=4,
        preprocessing=recipe, leave_out_outliers=False,
    ).space  # fmt: skip


@pytest.fixture(autouse=True)
def many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven patients a chunk."""
    monkeypatch.setattr(module, "CELLS", 7 * 12)


@pytest.fixture
def put(tmp_path: Path) -> Callable[[pd.DataFrame], Path]:
    def apply(frame: pd.DataFrame) -> Path:
        frame.to_csv(tmp_path / "rna.csv")
        return tmp_path / "rna.csv"

    return apply


Put = Callable[[pd.DataFrame], Path]


def test_latents_are_those_of_the_whole_table_to_the_bit(space: Space, put: Put) -> None:
    frame = table(60, seed=2)
    frame.iloc[30, [1, 5]] = np.nan
    pd.testing.assert_frame_equal(encode_file(space, put(frame)), space.encode(frame))


def test_patients_without_a_value_are_left_out(space: Space, put: Put) -> None:
    frame = table(20, seed=2)
    frame.iloc[[0, 19]] = np.nan
    assert list(encode_file(space, put(frame)).index) == list(frame.index[1:19])
    frame[:] = np.nan
    assert encode_file(space, put(frame)).shape == (0, 4)
    assert encode_file(space, put(frame.iloc[:0])).shape == (0, 4)


def test_latents_stand_in_the_order_of_the_patients(space: Space, put: Put) -> None:
    frame = table(16, seed=2)
    labels = [f"TCGA-AA-{i:04d}-01A" for i in range(16)]
    labels[0], labels[15] = "TCGA-AA-0001-06A", "TCGA-AA-0000-01A"
    frame.index = pd.Index(labels, name="id")
    latents = encode_file(space, put(frame))
    assert list(latents.index) == [f"TCGA-AA-{i:04d}" for i in (1, *range(2, 15), 0)]
    pd.testing.assert_series_equal(
        latents.loc["TCGA-AA-0001"], space.encode(frame).loc[labels[1]], check_names=False
    )


def test_progress_counts_patients(space: Space, put: Put) -> None:
    told: list[tuple[str, int, int]] = []
    encode_file(space, put(table(20, seed=2)), progress=lambda *step: told.append(step))
    assert told == [("patients", 7, 20), ("patients", 14, 20), ("patients", 20, 20)]


def refusals(space: Space, frame: pd.DataFrame, path: Path) -> tuple[str, str]:
    """Why the table is refused whole, and in chunks."""
    with pytest.raises(CodenoiseError) as alone:
        space.encode(frame, path.name)
    with pytest.raises(CodenoiseError) as caught:
        encode_file(space, path)
    return str(alone.value), str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda t: np.log2(t),
            "rna.csv is not on the scale of space toy@1.0 (as in training): its median feature "
            "lies 8.0 standard deviations from the training mean; 2**x - 1 would fit",
        ),
        (
            lambda t: t.drop(columns=["f1", "f2"]),
            "rna.csv lacks 2 of the 12 features of space toy@1.0, which takes 10%: 'f1', 'f2'; use "
            "a table with the space's features",
        ),
        (
            lambda t: t.where((np.arange(len(t))[:, None] != 33) | (np.arange(12) > 6)),
            "rna.csv, patient 'P033': 7 of 12 values are missing ('f0', 'f1', 'f2' and 4 more); "
            "space toy@1.0 takes gaps in at most 50% of a patient's features; fill them, or leave "
            "the patient's row out so that the whole modality is imputed",
        ),
        (
            lambda t: t.where((np.arange(len(t))[:, None] != 33) | (np.arange(12) != 6), -1.5),
            "rna.csv: step 'log', patient 'P033', feature 'f6': -1.5 has no logarithm here; "
            "expected amounts of 0 or more, and an offset over 0 with zeros: is the table logged "
            "or scaled already?",
        ),
    ],
)
def test_what_is_refused_whole_is_refused_in_chunks_with_the_same_words(
    space: Space, put: Put, spoil: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    frame = spoil(table(60, seed=2))
    assert refusals(space, frame, put(frame)) == (message, message)


def test_of_values_on_another_scale_that_a_step_refuses_the_scale_is_told(
    space: Space, put: Put
) -> None:
    frame = table(60, seed=2) - 400
    for message in refusals(space, frame, put(frame)):
        assert message.startswith("rna.csv is not on the scale of space toy@1.0 (as in training): ")
        assert message.endswith(" from the training mean; no usual transform would fit")


def test_a_scale_that_only_the_whole_table_shows_is_refused(space: Space, put: Put) -> None:
    frame = table(60, seed=2)
    frame.iloc[7:] *= 3
    alone, caught = refusals(space, frame, put(frame))
    assert caught.partition(";")[0] == alone.partition(";")[0]


@pytest.mark.parametrize("parts", [(1, 59), (20, 20, 20), (0, 60), (7, 0, 53)])
def test_moments_of_parts_are_those_of_the_whole(parts: tuple[int, ...]) -> None:
    values = table(60, seed=3).to_numpy(dtype=np.float32, copy=True)
    values[::4, 2] = np.nan
    values[:, 5] = np.nan
    ends = np.cumsum((0, *parts))
    pieces = [Moments.of(values[a:b]) for a, b in pairwise(ends)]
    joined = pieces[0]
    for piece in pieces[1:]:
        joined = joined.joined(piece)
    wide = values.astype(np.float64)
    known = np.arange(12) != 5
    assert joined.patients == 60
    np.testing.assert_array_equal(joined.counted, (~np.isnan(values)).sum(axis=0))
    np.testing.assert_allclose(joined.mean[known], np.nanmean(wide[:, known], axis=0), rtol=1e-12)
    deviation = np.sqrt(joined.squares[known] / joined.counted[known])
    np.testing.assert_allclose(deviation, np.nanstd(wide[:, known], axis=0), rtol=1e-9)


# Decoding


@pytest.mark.parametrize("name", ["latents.parquet", "latents.csv.gz"])
def test_latents_are_written_and_decoded(space: Space, tmp_path: Path, name: str) -> None:
    latents = space.encode(table(60, seed=2))
    named = latents.set_axis(latent_names(space), axis=1)
    assert list(named)[:2] == ["toy@1.0:0", "toy@1.0:1"]
    write_chunks([named], tmp_path / name)
    chunks = read_chunks(tmp_path / name, orientation="patients-as-rows")
    decoded = pd.concat(list(decode_chunks(space, chunks, name)))
    assert list(decoded.columns) == list(space.features)
    assert list(decoded.index) == list(latents.index)
    np.testing.assert_allclose(decoded, space.decode(latents.to_numpy()), rtol=1e-5)


def test_a_file_of_latents_becomes_a_file_of_features(space: Space, tmp_path: Path) -> None:
    latents = space.encode(table(60, seed=2))
    source, output = str(tmp_path / "latents.parquet"), str(tmp_path / "features.csv")
    write_chunks([latents.set_axis(latent_names(space), axis=1)], Path(source))
    found = decode_table(space, source, output)
    assert (found.path, found.patients, found.changes) == (Path(output), 60, ())
    decoded = pd.read_csv(output, index_col="patient")
    assert list(decoded.columns) == list(space.features)
    np.testing.assert_allclose(decoded, space.decode(latents.to_numpy()), rtol=1e-5)
    with pytest.raises(CodenoiseError, match=r"already there; .*`overwrite=True`"):
        decode_table(space, source, output)
    assert decode_table(space, source, output, overwrite=True) == found
    with pytest.raises(DataError, match="tells no format of a table"):
        decode_table(space, source, tmp_path / "features.json")


def test_nobodys_latents_are_decoded_to_nobody(space: Space, tmp_path: Path) -> None:
    none = space.encode(table(1, seed=2)).iloc[:0].set_axis(latent_names(space), axis=1)
    write_chunks([none], tmp_path / "latents.parquet")
    chunks = read_chunks(tmp_path / "latents.parquet")
    (frame,) = decode_chunks(space, chunks, "latents.parquet")
    assert frame.shape == (0, 12)


def test_latents_of_another_space_are_refused(space: Space, tmp_path: Path) -> None:
    latents = space.encode(table(8, seed=2)).set_axis([f"other@1:{i}" for i in range(4)], axis=1)
    write_chunks([latents], tmp_path / "latents.csv")
    with pytest.raises(DataError) as caught:
        list(decode_chunks(space, read_chunks(tmp_path / "latents.csv"), "latents.csv"))
    assert str(caught.value) == (
        "latents.csv holds no latents of space toy@1.0: 4 of 4 columns are missing, 'toy@1.0:0', "
        "'toy@1.0:1', 'toy@1.0:2' and 1 more; give what 'codenoise spaces encode' wrote"
    )


def test_a_missing_latent_is_refused_by_patient(space: Space, tmp_path: Path) -> None:
    latents = space.encode(table(8, seed=2)).set_axis(latent_names(space), axis=1)
    latents.iloc[5, 1] = np.nan
    write_chunks([latents], tmp_path / "latents.csv")
    with pytest.raises(DataError) as caught:
        list(decode_chunks(space, read_chunks(tmp_path / "latents.csv"), "latents.csv"))
    assert str(caught.value) == (
        "latents.csv, patient 'P005': a latent is missing; leave the patient out"
    )
