"""Cohorts in memory: frames, AnnData and MuData are read as the same tables in files are."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import sparse

from codenoise.core.base.errors import DataError, EnsembleError
from codenoise.core.cohort.annotated import as_objects
from codenoise.core.cohort.cohort import Cohort, read_cohort, write_cohort
from codenoise.core.cohort.given import cohort_of, frame_of
from codenoise.registry.ensembles.ensemble import Ensemble

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    anndata = pytest.importorskip("anndata")
    mudata = pytest.importorskip("mudata")

EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga"
PARTS = ("completed", "spread", "mask")


@pytest.fixture(scope="module")
def given() -> Cohort:
    """The proteins and slides of the example cohort as read from CSV."""
    return read_cohort(EXAMPLE / "cohort", ["rppa", "wsi"])


@pytest.fixture(scope="module")
def frames(given: Cohort) -> dict[str, pd.DataFrame]:
    return {name: table.frame for name, table in given.tables.items()}


def as_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename_axis("patient").reset_index()


def as_polars(frame: pd.DataFrame) -> Any:
    polars = pytest.importorskip("polars")
    return polars.DataFrame({name: column.to_list() for name, column in as_column(frame).items()})


def as_anndata(frame: pd.DataFrame, values: Any = None) -> Any:
    bare = as_objects(pd.DataFrame(index=frame.index))
    var = as_objects(pd.DataFrame(index=pd.Index(frame.columns)))
    return anndata.AnnData(frame.to_numpy() if values is None else values, obs=bare, var=var)


class Stream:
    """A frame of some library that speaks Arrow's interface and nothing else."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


KINDS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "pandas, ids in a column": as_column,
    "pandas, rows picked from it": lambda frame: pd.concat(
        [as_column(frame)[:1], as_column(frame)]
    )[1:],
    "pandas, features as rows": lambda frame: frame.T,
    "pandas, ids a text column between": lambda frame: pd.concat(
        [frame.iloc[:, :3], as_column(frame)[["patient"]].set_axis(frame.index), frame.iloc[:, 3:]],
        axis=1,
    ).reset_index(drop=True),
    "pandas, nullable": lambda frame: frame.astype("Float64"),
    "pyarrow": lambda frame: pa.Table.from_pandas(as_column(frame), preserve_index=False),
    "an Arrow stream": lambda frame: Stream(pa.Table.from_pandas(as_column(frame))),
    "polars": as_polars,
    "anndata": as_anndata,
    "anndata, sparse": lambda frame: as_anndata(frame, sparse.csr_matrix(frame.to_numpy())),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_table_holds_what_the_file_holds(
    given: Cohort, frames: dict[str, pd.DataFrame], kind: str
) -> None:
    features = {name: list(frame.columns) for name, frame in frames.items()}
    made = cohort_of({n: KINDS[kind](f) for n, f in frames.items()}, features=features)
    assert made.digest() == given.digest()
    assert all(kind == np.float64 for t in made.tables.values() for kind in t.frame.dtypes)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_is_not_changed(frames: dict[str, pd.DataFrame], kind: str) -> None:
    table = KINDS[kind](frames["rppa"])
    before = repr(table), str(getattr(table, "obs", "")), id(table)
    values = np.array(table.X.toarray() if kind.endswith("sparse") else table.X) if (
        "anndata" in kind
    ) else None  # fmt: skip
    cohort = cohort_of({"rppa": table})
    cohort.tables["rppa"].frame.iloc[:] = 0.0
    assert (repr(table), str(getattr(table, "obs", "")), id(table)) == before
    if values is not None:
        now = table.X.toarray() if kind.endswith("sparse") else table.X
        np.testing.assert_array_equal(now, values)


def test_a_path_a_cohort_and_a_mudata_file_will_do(given: Cohort, tmp_path: Path) -> None:
    assert cohort_of(given) is given
    path = EXAMPLE / "cohort"
    assert cohort_of(str(path), ["rppa", "wsi"]).digest() == given.digest()
    write_cohort(given, tmp_path / "cohort.h5mu")
    from_file = read_cohort(tmp_path / "cohort.h5mu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        held = mudata.read_h5mu(tmp_path / "cohort.h5mu")
    assert cohort_of(held).digest() == from_file.digest() == given.digest()
    assert list(cohort_of(held, ["wsi"]).tables) == ["wsi"]
    assert list(cohort_of(given, ["wsi"]).tables) == ["wsi"]


def test_options_are_followed_and_kept(frames: dict[str, pd.DataFrame]) -> None:
    turned = cohort_of({"rppa": frames["rppa"].T}, orientation="features-as-rows")
    pd.testing.assert_frame_equal(turned.tables["rppa"].frame, frames["rppa"], check_names=False)
    assert turned.options == {"orientation": "features-as-rows"}


RPPA = pd.DataFrame({"A": [1.0, 2.0], "B": [3.0, 4.0]}, index=["p1", "p2"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rppa": RPPA.reset_index(drop=True)}, r"^rppa \(DataFrame\) has an index that only counts"
         r" rows, so nothing says who the patients are; put their ids into a column 'patient'"),
        ({"rppa": pa.Table.from_pandas(RPPA, preserve_index=False)},
         r"^rppa \(Table\) has no column of text, .*'patient'"),
        ({"rppa": RPPA.to_numpy()}, r"^rppa \(ndarray\) is no table; give a pandas or polars"),
        ({"rppa": RPPA.set_axis(["p1", "p1"])}, r"^rppa \(DataFrame\): 1 patient.* 'p1'"),
        ({"rppa": RPPA.set_axis(["A", "A"], axis=1)}, r"^rppa \(DataFrame\): 1 feature.* 'A'"),
        ({"rppa": RPPA.assign(B=[1.0, np.inf])}, r"^rppa \(DataFrame\), patient 'p2', column 'B'"),
        ({"rppa": RPPA.assign(B=["x", "y"])}, r"\(DataFrame\), patient 'p1', column 'B': 'x'"),
        ({"rppa": as_column(RPPA).assign(patient=["p1", None])},
         r"^rppa \(DataFrame\), data row 2: the patient id is missing"),
        ({"rppa": pd.concat({"a": RPPA})}, r"^rppa \(DataFrame\) has 2 index levels"),
        (RPPA, r"^DataFrame is no cohort; give .* a dict of modality to table"),
        (as_anndata(RPPA), r"^AnnData is no cohort; .*\{'rna': frame\}"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_with_its_mend(wrong: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        cohort_of(wrong)
    assert "\n" not in str(caught.value)


def test_more_is_asked_of_a_cohort_than_it_can_give(given: Cohort) -> None:
    with pytest.raises(DataError, match="no table for 'rna'; it has rppa, wsi"):
        cohort_of(given, ["rna"])
    with pytest.raises(DataError, match="read already; give samples where it is read"):
        cohort_of(given, samples="primary")


def test_ids_that_are_numbers_are_ids() -> None:
    frame = RPPA.set_axis([17, 4])
    assert list(cohort_of({"rppa": frame}).patients) == ["17", "4"]
    assert frame_of(frame, "rppa") is frame


# Of the whole bank: imputing the example cohort, from memory and from its files.


@pytest.fixture(scope="module")
def ensemble(bank_site: Path) -> Ensemble:
    from importlib.metadata import distributions

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "codenoise.registry.installed.discovery.distributions",
            lambda path=None: distributions(path=path or [str(bank_site)]),
        )
        return Ensemble.compose(["rppa", "wsi"], modalities=["rppa", "wsi"])


def holey(given: Cohort) -> Cohort:
    """Every patient lacks something: a third the slides, a third the proteins."""
    slides = list(given.tables["wsi"].frame.index)
    return given.subset(slides[:24])


@pytest.fixture(scope="module")
def of_files(ensemble: Ensemble, given: Cohort) -> Any:
    return ensemble.impute(holey(given), draws=2, seed=3)


@pytest.mark.parametrize("kind", ["pandas", "pyarrow", "polars", "anndata"])
def test_frames_are_completed_as_files_are(
    ensemble: Ensemble, given: Cohort, of_files: Any, kind: str
) -> None:
    tables = {n: KINDS[kind](t.frame) for n, t in holey(given).tables.items()}
    result = ensemble.impute(tables, draws=2, seed=3)
    for part in PARTS:
        for name, table in getattr(of_files, part).items():
            found = getattr(result, part)[name].frame
            pd.testing.assert_frame_equal(found, table.frame, check_exact=True, check_names=False)
    pd.testing.assert_frame_equal(result.report, of_files.report, check_exact=True)


def put(given: Cohort, rename: Callable[[str], str] = str) -> Any:
    tables = holey(given).tables
    with warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
        warnings.simplefilter("ignore")
        parts = {name: as_anndata(table.frame.rename(rename)) for name, table in tables.items()}
        made = mudata.MuData(parts)
    made["rppa"].obs["plate"] = np.arange(len(made["rppa"]))
    made["rppa"].var["antibody"] = [f"anti-{name}" for name in made["rppa"].var_names]
    made.obs["age"] = np.arange(50, 50 + len(made.obs_names))
    made.uns["study"] = "example"
    return made


def test_a_mudata_comes_back_completed(
    ensemble: Ensemble, given: Cohort, of_files: Any, tmp_path: Path
) -> None:
    held = put(given)
    before = {name: np.array(part.X) for name, part in held.mod.items()}
    made: Any = ensemble.impute(held, draws=2, seed=3)
    for name, values in before.items():
        np.testing.assert_array_equal(held.mod[name].X, values)
        assert not held.mod[name].layers
    assert set(held.uns) == {"study"}
    for name, table in of_files.completed.items():
        part = made.mod[name]
        assert list(part.obs_names) == list(table.frame.index)
        assert list(part.var_names) == list(table.frame.columns)
        np.testing.assert_array_equal(part.X, table.frame.to_numpy())
        np.testing.assert_array_equal(part.layers["spread"], of_files.spread[name].frame.to_numpy())
        np.testing.assert_array_equal(part.layers["mask"], of_files.mask[name].frame.to_numpy())
    assert list(made.obs["age"].reindex(held.obs_names)) == list(held.obs["age"])
    plates = made["rppa"].obs["plate"]
    assert list(plates[: len(before["rppa"])]) == list(range(len(before["rppa"])))
    assert plates[len(before["rppa"]) :].isna().all()
    assert list(made["rppa"].var["antibody"]) == list(held["rppa"].var["antibody"])
    about = made.uns["codenoise"]
    assert (made.uns["study"], about["draws"], about["seed"]) == ("example", 2, 3)
    report = about["report"]
    assert list(report["coherence"].isna()) == list(of_files.report["coherence"].isna())
    assert list(report["patient"].astype(str)) == list(of_files.report["patient"])
    spaces = json.loads(about["provenance"])["spaces"]
    assert set(spaces) == {"tcga-rppa@0.1.0", "tcga-wsi@0.1.0"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.write_h5mu(tmp_path / "completed.h5mu")
        again = mudata.read_h5mu(tmp_path / "completed.h5mu")
    np.testing.assert_array_equal(again["wsi"].layers["spread"], made["wsi"].layers["spread"])
    assert again.uns["codenoise"]["seed"] == 3
    assert len(again.uns["codenoise"]["report"]) == len(of_files.report)


def test_a_sample_keeps_its_name_in_every_modality(
    ensemble: Ensemble, given: Cohort, of_files: Any
) -> None:
    held = put(given, lambda patient: f"{patient}-01A")
    made: Any = ensemble.impute(held, draws=2, seed=3)
    assert set(made.obs_names) == set(held.obs_names)
    for name, table in of_files.completed.items():
        assert list(made.mod[name].obs_names) == [f"{p}-01A" for p in table.frame.index]
        np.testing.assert_array_equal(made.mod[name].X, table.frame.to_numpy())


def test_a_modality_that_is_no_target_is_kept(ensemble: Ensemble, given: Cohort) -> None:
    held = put(given)
    made: Any = ensemble.impute(held, draws=2, seed=3, targets=["wsi"])
    np.testing.assert_array_equal(made["rppa"].X, held["rppa"].X)
    assert made["rppa"] is not held["rppa"]
    assert not made["rppa"].layers
    assert set(made["wsi"].layers) == {"spread", "mask"}


def test_an_unknown_modality_is_named(ensemble: Ensemble) -> None:
    with pytest.raises(EnsembleError, match=r"proteins \(DataFrame\): 'proteins' is no modality"):
        ensemble.impute({"proteins": RPPA})
