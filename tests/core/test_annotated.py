"""AnnData and MuData: read, completed and written back to the bit."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.annotated import to_anndata
from codenoise.core.cohort.cohort import Cohort, read_clinical, read_cohort, write_cohort
from codenoise.core.cohort.layout import Layout
from codenoise.core.cohort.tables import Table, read_table, write_table

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    anndata = pytest.importorskip("anndata")
    mudata = pytest.importorskip("mudata")

VALUES = np.array([[0.1, np.nan], [0.3, 0.4], [5, 6]], np.float32)
LABELS = ["TCGA-AA-0001-01", "TCGA-AA-0002-01", "TCGA-AA-0002-11"]


def objects(labels: list[str]) -> pd.Index:
    return pd.Index(np.array(labels, dtype=object), dtype=object)


def data(values: Any = VALUES, labels: list[str] | None = None) -> Any:
    index = objects(labels or LABELS)
    obs = pd.DataFrame({"age": [50, 60, 60][: len(index)]}, index=index)
    obs["site"] = pd.Categorical(
        ["lung", None, "skin"][: len(index)], categories=objects(["lung", "skin"])
    )
    var = pd.DataFrame({"length": [1.0, 2.0]}, index=objects(["ENSG00000000001.3", "KRAS"]))
    return anndata.AnnData(values, obs=obs, var=var)


def put(path: Path, content: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content.write(path)
    return path


def back(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return anndata.read_h5ad(path)


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["rna.h5ad", "rna.csv"])
def test_obs_are_patients_and_var_are_features(tmp_path: Path, name: str) -> None:
    put(tmp_path / "x.h5ad", data()).rename(tmp_path / name)
    table = read_table(tmp_path / name, features=["KRAS", "ENSG00000000001"])
    assert table.suffix == ".h5ad"
    assert list(table.frame.index) == ["TCGA-AA-0001", "TCGA-AA-0002"]
    assert list(table.frame.columns) == ["ENSG00000000001", "KRAS"]
    assert table.frame.to_numpy().tobytes() == VALUES[:2].tobytes()
    assert "patients as rows, as the format has them" in table.notes
    assert "dropped 1 normal sample ('TCGA-AA-0002-11')" in table.notes


def test_anndata_is_written_back_to_the_bit_with_its_columns(tmp_path: Path) -> None:
    original = data(VALUES[:2], LABELS[:2])
    table = read_table(put(tmp_path / "rna.h5ad", original))
    got = back(write_table(table, tmp_path / "out", "rna"))
    assert got.X.dtype == np.float32
    assert got.X.tobytes() == VALUES[:2].tobytes()
    assert list(got.obs_names) == LABELS[:2]
    assert list(got.var_names) == ["ENSG00000000001.3", "KRAS"]
    assert got.obs["age"].tolist() == [50, 60]
    assert got.obs["site"].isna().tolist() == [False, True]
    assert got.var["length"].tolist() == [1.0, 2.0]


def test_new_patients_are_added_to_obs_under_their_id(tmp_path: Path) -> None:
    table = read_table(put(tmp_path / "rna.h5ad", data()))
    filled = pd.DataFrame(9.0, index=[*table.frame.index, "new"], columns=table.frame.columns)
    got = back(write_table(table.completed(filled), tmp_path / "out", "rna"))
    assert list(got.obs_names) == [*LABELS[:2], "new"]
    assert got.X[[0, 2]].tolist() == [[float(np.float32(0.1)), 9.0], [9.0, 9.0]]
    assert got.X[1].tobytes() == VALUES[1].tobytes()
    assert got.obs["site"].isna().tolist() == [False, True, True]


def test_a_sparse_matrix_stays_sparse(tmp_path: Path) -> None:
    values = sparse.csr_matrix(np.array([[0, 1], [2, 0], [0, 0]], np.float32))
    table = read_table(put(tmp_path / "rna.h5ad", data(values)))
    assert table.frame.to_numpy().tolist() == [[0, 1], [2, 0]]
    got = back(write_table(table, tmp_path / "out", "rna"))
    assert sparse.issparse(got.X)
    np.testing.assert_array_equal(got.X.toarray(), [[0, 1], [2, 0]])


def test_other_parts_are_left_out_with_a_note(tmp_path: Path) -> None:
    content = data()
    content.layers["counts"] = VALUES
    content.uns["about"] = 1
    table = read_table(put(tmp_path / "rna.h5ad", content))
    assert "X of AnnData; layers, uns left out" in table.notes


def test_anndata_without_values_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "rna.h5ad", anndata.AnnData(obs=data().obs, var=data().var))
    assert refusal(path) == f"{path} has no X; put the values there"


def test_anndata_has_one_orientation(tmp_path: Path) -> None:
    path = put(tmp_path / "rna.h5ad", data())
    assert refusal(path, orientation="features-as-rows") == (
        f"{path}: this format has patients as rows; leave `orientation` out, or say it in a "
        f"cohort's TOML of the tables that have features as rows"
    )


def test_infinity_in_anndata_is_refused(tmp_path: Path) -> None:
    values = np.where(np.isnan(VALUES), np.inf, VALUES)
    path = put(tmp_path / "rna.h5ad", data(values))
    assert refusal(path) == (
        f"{path}, patient 'TCGA-AA-0001-01', column 'KRAS': np.float32(inf) should be a finite "
        f"number (1 such cells)"
    )


@pytest.mark.parametrize("module", ["anndata", "h5py"])
def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    path = put(tmp_path / "rna.h5ad", data())
    monkeypatch.setitem(sys.modules, module, None)
    assert refusal(path) == (
        f"reading {path} needs the package {module}; install it with: pip install 'codenoise[h5]'"
    )


@pytest.fixture
def cohort() -> Cohort:
    return Cohort(
        {
            "rna": Table(
                pd.DataFrame(VALUES[:2], index=["p", "TCGA-AA-0001"], columns=["a", "b"]),
                layout=Layout(labels={"TCGA-AA-0001": "TCGA-AA-0001-01"}),
            ),
            "cna": Table(pd.DataFrame({"a": [0.25]}, index=["q"])),
        }
    )


def test_a_mudata_file_is_a_cohort_and_is_written_as_one(tmp_path: Path, cohort: Cohort) -> None:
    write_cohort(cohort, tmp_path / "cohort.h5mu")
    got = read_cohort(tmp_path / "cohort.h5mu")
    assert list(got.tables) == ["rna", "cna"]
    assert got.digest() == cohort.digest()
    assert got.tables["rna"].layout.labels == {"TCGA-AA-0001": "TCGA-AA-0001-01"}
    assert got.tables["rna"].frame.to_numpy().tobytes() == VALUES[:2].tobytes()
    write_cohort(got, tmp_path / "again.h5mu")
    assert read_cohort(tmp_path / "again.h5mu").digest() == cohort.digest()


def test_named_modalities_of_mudata_alone_are_read(tmp_path: Path, cohort: Cohort) -> None:
    path = tmp_path / "cohort.h5mu"
    write_cohort(cohort, path)
    assert list(read_cohort(path, ["cna"]).tables) == ["cna"]
    assert read_table(path, modality="cna").frame.loc["q", "a"] == 0.25
    with pytest.raises(DataError) as caught:
        read_cohort(path, ["wsi"])
    assert str(caught.value) == f"{path} has no modality 'wsi'; it has rna, cna"


def test_mudata_in_the_place_of_a_table_is_refused(tmp_path: Path, cohort: Cohort) -> None:
    write_cohort(cohort, tmp_path / "rna.h5mu")
    assert refusal(tmp_path / "rna.h5mu") == (
        f"{tmp_path / 'rna.h5mu'} holds several modalities (MuData); give it as the cohort"
    )


def test_obs_of_mudata_are_the_clinical_table(tmp_path: Path, cohort: Cohort) -> None:
    write_cohort(cohort, tmp_path / "bare.h5mu")
    with pytest.raises(DataError, match="has no clinical columns; put them into obs"):
        read_clinical(tmp_path / "bare.h5mu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = {n: to_anndata(t.frame, t.layout) for n, t in cohort.tables.items()}
        with mudata.set_options(pull_on_update=False):
            content = mudata.MuData(parts)
            content.obs = pd.DataFrame({"stage": [1, 2, 3]}, index=objects(["p", "TCGA-AA-1", "q"]))
            content.var = content.var.set_axis(objects(list(content.var_names)), axis=0)
            content.write(tmp_path / "cohort.h5mu")
    assert read_clinical(tmp_path / "cohort.h5mu").loc["q", "stage"] == 3
