"""Reading, writing and reading again loses nothing, in any format."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codenoise.core.cohort.cohort import Cohort, read_cohort, write_cohort
from codenoise.core.cohort.compression import compressed
from codenoise.core.cohort.tables import SUFFIXES, Table, write_table

EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga" / "cohort"
TEXT = [suffix for suffix in SUFFIXES if suffix not in (".parquet", ".h5ad")]


def assert_same(one: Cohort, other: Cohort) -> None:
    """Same patients, features and values to the bit, in the same order."""
    assert other.digest() == one.digest()
    assert list(other.tables) == list(one.tables)
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(
            other.tables[name].frame,
            table.frame,
            check_exact=True,
            check_names=False,
        )


@pytest.fixture(scope="module")
def small() -> Cohort:
    """Two tables of the example, cut to be quick, with a gap and a patient without a value."""
    tables = {}
    for name, table in read_cohort(EXAMPLE, ["cna", "rppa"]).tables.items():
        frame = table.frame.iloc[:8, :6].copy()
        frame.iloc[2, 3] = np.nan
        frame.iloc[4] = np.nan
        tables[name] = Table(frame, f"{name}.csv")
    return Cohort(tables)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_of_any_format(tmp_path: Path, small: Cohort, suffix: str) -> None:
    given = Cohort({n: Table(t.frame, suffix=suffix) for n, t in small.tables.items()})
    write_cohort(given, tmp_path / "one")
    first = read_cohort(tmp_path / "one")
    write_cohort(first, tmp_path / "two")
    assert_same(first, read_cohort(tmp_path / "two"))
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [f"cna{suffix}", f"rppa{suffix}"]
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == files
    if suffix != ".h5ad":  # HDF5 holds the time of writing
        for name in files:
            assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.parametrize("suffix", TEXT)
def test_text_is_written_back_to_the_letter(tmp_path: Path, suffix: str) -> None:
    separator = "," if suffix.startswith(".csv") else "\t"
    text = 'id,a,"b c"\n0012,1.50,\n12,2e-3,+3.\nTCGA-AA-0001-01A,-0,1e300\n'.replace(
        ",", separator
    )
    ending = "." + suffix.rpartition(".")[2]
    content = compressed(text.replace('"', "").encode(), ending)
    (tmp_path / f"rna{suffix}").write_bytes(content)
    write_cohort(read_cohort(tmp_path), tmp_path / "again")
    assert (tmp_path / "again" / f"rna{suffix}").read_bytes() == content


def test_the_example_in_one_mudata_file(tmp_path: Path) -> None:
    given = read_cohort(EXAMPLE, ["cna", "rppa"])
    write_cohort(given, tmp_path / "cohort.h5mu")
    first = read_cohort(tmp_path / "cohort.h5mu")
    assert_same(given, first)
    write_cohort(first, tmp_path / "again.h5mu")
    assert_same(first, read_cohort(tmp_path / "again.h5mu"))


def test_files_that_a_toml_names(tmp_path: Path) -> None:
    xena = "sample\tTCGA-AA-0001-01\tTCGA-AA-0002-06\nTP53\t1.50\t\nKRAS\t2e-3\t+3.\n"
    (tmp_path / "matrix.tsv").write_text(xena)
    (tmp_path / "protein.csv.xz").write_bytes(compressed(b"id,x\nTCGA-AA-0001-01A,4.0\n", ".xz"))
    toml = tmp_path / "cohort.toml"
    toml.write_text(
        '[tables]\nrna = { path = "matrix.tsv", orientation = "features-as-rows" }\n'
        'rppa = { path = "protein.csv.xz", samples = "primary" }\n'
    )
    given = read_cohort(toml)
    write_cohort(given, tmp_path / "folder")
    assert_same(given, read_cohort(tmp_path / "folder"))
    assert (tmp_path / "folder" / "rna.tsv").read_text() == xena
    again = (tmp_path / "folder" / "rppa.csv.xz").read_bytes()
    assert again == (tmp_path / "protein.csv.xz").read_bytes()


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_parquet_and_anndata_keep_the_precision(tmp_path: Path, kind: str) -> None:
    values = np.array([[0.1, np.nan], [1 / 3, -1e-30]], dtype=kind)
    frame = pd.DataFrame(values, pd.Index(["p", "q"], name="patient"), ["a", "b"])
    for suffix in (".parquet", ".h5ad"):
        write_table(Table(frame, suffix=suffix), tmp_path / suffix, "rna")
        found = read_cohort(tmp_path / suffix).tables["rna"].frame
        assert set(found.dtypes) == {np.dtype(kind)}
        assert found.to_numpy().tobytes() == values.tobytes()


@settings(deadline=None, max_examples=30)
@given(
    values=st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
        min_size=1,
        max_size=4,
    ),
    suffix=st.sampled_from([".csv", ".tsv.gz", ".parquet"]),
)
def test_any_finite_number_comes_back(values: list[list[float]], suffix: str) -> None:
    """Written as given, for a table that was read from text or parquet before."""
    index = pd.Index([f"p{i}" for i in range(len(values))], name="patient")
    frame = pd.DataFrame(values, index, ["a", "b"], dtype=np.float64)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if suffix == ".parquet":
            frame.to_parquet(folder / "rna.parquet")
        else:
            frame.to_csv(folder / f"rna{suffix}", sep="," if suffix == ".csv" else "\t")
        first = read_cohort(folder)
        write_cohort(first, folder / "again")
        assert_same(first, read_cohort(folder / "again"))
