"""Slide embeddings from HDF5, npz, CSV and folders: averaged by patient, ids never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.tables import read_table, write_table

h5py = pytest.importorskip("h5py")
SLIDES = ["TCGA-AA-0001-01Z-00-DX1", "TCGA-AA-0001-01Z-00-DX2.svs", "TCGA-AA-0002-11A-01-TS1", "x"]
UUID = "0B1C2D3E-0A1B-4C5D-8E9F-0123456789AB"
DIM = 768


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((4, DIM)).astype(np.float32)


def put(path: Path, **arrays: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, **arrays)  # type: ignore[arg-type]
        return path
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            text = array.dtype.kind == "U"
            file[name] = array.astype(object) if text else array
    return path


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["wsi.h5", "wsi.npz"])
@pytest.mark.parametrize("ids", ["ids", "slide_id", "filenames"])
def test_several_slides_of_a_patient_are_averaged(
    tmp_path: Path, vectors: np.ndarray, name: str, ids: str
) -> None:
    path = put(tmp_path / name, features=vectors, **{ids: np.array(SLIDES)})
    table = read_table(path)
    assert list(table.frame.index) == ["TCGA-AA-0001", "x"]
    assert list(table.frame.columns) == [str(i) for i in range(DIM)]
    np.testing.assert_allclose(table.frame.loc["TCGA-AA-0001"], vectors[:2].mean(axis=0), rtol=1e-5)
    assert table.frame.loc["x"].to_numpy(np.float32).tobytes() == vectors[3].tobytes()
    assert "4 slides; written back as a table" in table.notes
    assert "averaged the slides of 1 sample with more than one ('TCGA-AA-0001-01')" in table.notes
    assert "dropped 1 normal sample ('TCGA-AA-0002-11')" in table.notes


def test_embeddings_are_written_as_csv_to_the_bit(tmp_path: Path, vectors: np.ndarray) -> None:
    table = read_table(put(tmp_path / "wsi.h5", features=vectors, ids=np.array(SLIDES)))
    written = write_table(table, tmp_path / "out", "wsi")
    assert written.name == "wsi.csv"
    again = read_table(written).frame
    assert again.to_numpy(np.float32).tobytes() == table.frame.to_numpy(np.float32).tobytes()


def test_a_folder_has_one_file_per_slide_named_after_it(
    tmp_path: Path, vectors: np.ndarray
) -> None:
    folder = tmp_path / "wsi"
    put(folder / f"TCGA-AA-0001-01Z-00-DX1.{UUID}.h5", features=vectors[0])
    put(folder / "TCGA-AA-0001-01Z-00-DX2.npz", features=vectors[1:2])
    put(folder / "p-7.h5", features=vectors[2][None, None])
    (folder / "README.md").write_text("about")
    frame = read_table(folder).frame
    assert list(frame.index) == ["TCGA-AA-0001", "p-7"]
    np.testing.assert_allclose(frame.loc["TCGA-AA-0001"], vectors[:2].mean(axis=0), rtol=1e-5)


def test_slides_of_different_encoders_are_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    put(tmp_path / "wsi" / "a.h5", features=vectors[0])
    path = put(tmp_path / "wsi" / "b.h5", features=vectors[1, :512])
    assert refusal(tmp_path / "wsi") == (
        f"{path} has vectors of 512 numbers, a.h5 of 768; give the slides of one encoder"
    )


def test_the_space_names_the_numbers_and_says_how_many(tmp_path: Path, vectors: np.ndarray) -> None:
    path = put(tmp_path / "wsi.h5", features=vectors, ids=np.array(SLIDES))
    names = [f"titan_{i}" for i in range(DIM)]
    assert list(read_table(path, features=names).frame.columns) == names
    assert refusal(path, features=names[:5]) == (
        f"{path} has vectors of 768 numbers, the space has 5 features; give embeddings of the "
        f"encoder that the space was fitted on"
    )


@pytest.mark.parametrize("count", [None, 3])
def test_vectors_without_an_id_each_are_refused(
    tmp_path: Path, vectors: np.ndarray, count: int | None
) -> None:
    ids = {} if count is None else {"ids": np.array(SLIDES[:count])}
    path = put(tmp_path / "wsi.h5", features=vectors, **ids)
    have = "no ids" if count is None else "3 ids"
    assert refusal(path) == (
        f"{path} has 4 vectors and {have}; put the id of each slide or patient into 'ids'"
    )


@pytest.mark.parametrize("name", ["wsi.h5", "wsi.npz"])
def test_a_file_without_features_is_refused(tmp_path: Path, vectors: np.ndarray, name: str) -> None:
    path = put(tmp_path / name, ids=np.array(SLIDES))
    assert refusal(path).startswith(f"{path} has no 'features'; it has 'ids'; expected slide emb")


@pytest.mark.parametrize("shape", [(2, 3, 4), ()])
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = put(tmp_path / "wsi.npz", features=np.zeros(shape, dtype=np.int64))
    assert "expected floating point of shape (slides, numbers) or (numbers,)" in refusal(path)


def test_infinity_in_an_embedding_is_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    vectors[3, 5] = np.inf
    path = put(tmp_path / "wsi.h5", features=vectors, ids=np.array(SLIDES))
    assert refusal(path).startswith(f"{path}, patient 'x', column '5': ")


def test_text_in_pickles_is_not_executed(tmp_path: Path, vectors: np.ndarray) -> None:
    path = put(tmp_path / "wsi.npz", features=vectors, ids=np.array(SLIDES, dtype=object))
    assert "cannot be read as .npz: Object arrays cannot be loaded" in refusal(path)


@pytest.mark.parametrize("content", [b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(600)])
def test_damaged_hdf5_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "wsi.h5").write_bytes(content)
    assert "wsi.h5 cannot be read as .h5: " in refusal(tmp_path / "wsi.h5")


CSV = "slide_id,f0,f1\nTCGA-AA-0001-01Z-00-DX1,1,2\nTCGA-AA-0001-01Z-00-DX2,3,\np,5.50,6\n"


def test_a_csv_of_slides_is_averaged_for_a_slide_modality(tmp_path: Path) -> None:
    (tmp_path / "wsi.csv").write_text(CSV)
    table = read_table(tmp_path / "wsi.csv", modality="wsi")
    assert table.frame.to_numpy().tolist() == [[2, 2], [5.5, 6]]
    assert list(table.frame.index) == ["TCGA-AA-0001", "p"]
    assert any(note.startswith("averaged the slides of 1 sample") for note in table.notes)


def test_a_csv_with_one_slide_per_patient_keeps_its_cells(tmp_path: Path) -> None:
    content = CSV.replace("TCGA-AA-0001-01Z-00-DX2", "q")
    (tmp_path / "wsi.csv").write_text(content)
    table = read_table(tmp_path / "wsi.csv", modality="wsi")
    assert write_table(table, tmp_path / "out", "x").read_text() == content


@pytest.mark.parametrize(
    ("modality", "header"), [("wsi", "area,count"), ("rna", "f0,f1"), (None, "f0,f1")]
)
def test_other_tables_that_name_a_patient_twice_are_refused(
    tmp_path: Path, modality: str | None, header: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"id,{header}\np,1,2\np,3,4\n")
    assert "1 patient(s) stand more than once: 'p'" in refusal(path, modality=modality)


def test_text_in_a_csv_of_slides_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wsi.csv"
    path.write_text("id,0,1\np,1,2\np,x,4\n")
    assert "patient 'p', column '0': 'x' should be a number" in refusal(path, modality="wsi")


def test_without_h5py_the_extra_is_named(
    tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "wsi.h5", features=vectors[0])
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    assert refusal(path) == (
        f"reading {path} needs the package h5py; install it with: pip install 'codenoise[h5]'"
    )


def test_embeddings_index_is_text(tmp_path: Path, vectors: np.ndarray) -> None:
    path = put(tmp_path / "wsi.npz", features=vectors, ids=np.array([1, 2, 3, 4]))
    frame = read_table(path).frame
    assert list(frame.index) == ["1", "2", "3", "4"]
    assert pd.api.types.is_float_dtype(frame.dtypes.iloc[0])
