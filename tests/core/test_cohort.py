"""Cohorts: who has what, subsets, digests, and reading a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.cohort import Cohort, read_clinical, read_cohort, write_cohort
from codenoise.core.cohort.tables import Table, write_table

EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga" / "cohort"
TCGA = Path(__file__).parents[3] / "shared" / "data" / "tcga"


def table(values: list[list[float]], ids: list[str], columns: str = "ab") -> Table:
    index = pd.Index(ids, name="patient")
    return Table(pd.DataFrame(values, index=index, columns=list(columns)))


@pytest.fixture
def cohort() -> Cohort:
    return Cohort(
        {
            "rna": table([[1, 2], [np.nan, np.nan], [5, np.nan]], ["p3", "p1", "p2"]),
            "cna": table([[1, 2], [3, 4]], ["p4", "p3"]),
        }
    )


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        separator = "\t" if name.endswith(".tsv") else ","
        (folder / name).write_text(f"patient{separator}a\np1{separator}1\n")
    return folder


def test_patients_are_the_union_in_order_of_first_appearance(cohort: Cohort) -> None:
    assert cohort.patients == ["p3", "p1", "p2", "p4"]


def test_a_patient_with_any_value_is_measured_and_one_with_none_is_not(cohort: Cohort) -> None:
    assert list(cohort.measured("rna").index) == ["p3", "p2"]
    assert list(cohort.measured("cna").index) == ["p4", "p3"]


def test_the_mask_says_who_is_measured_in_what(cohort: Cohort) -> None:
    mask = cohort.mask()
    assert mask.index.name == "patient"
    assert list(mask.index) == cohort.patients
    assert list(mask.columns) == ["rna", "cna"]
    assert mask.to_numpy().tolist() == [[True, True], [False, False], [True, False], [False, True]]


def test_a_patient_whose_only_row_is_empty_is_kept(cohort: Cohort) -> None:
    assert not cohort.mask().loc["p1"].any()
    assert "p1" in cohort.patients


def test_a_cohort_without_tables_has_no_patients() -> None:
    assert Cohort({}).patients == []
    assert Cohort({}).mask().empty


def test_a_subset_keeps_each_tables_own_order_and_ignores_unknown_ids(cohort: Cohort) -> None:
    part = cohort.subset(["p2", "p3", "stranger"])
    assert list(part.tables["rna"].frame.index) == ["p3", "p2"]
    assert list(part.tables["cna"].frame.index) == ["p3"]
    assert list(cohort.tables["rna"].frame.index) == ["p3", "p1", "p2"]


def test_a_subset_keeps_format_source_and_cells() -> None:
    cohort = read_cohort(EXAMPLE, ["cna"])
    original = cohort.tables["cna"]
    ids = list(original.frame.index[[5, 1]])
    part = cohort.subset(ids).tables["cna"]
    assert (part.source, part.suffix) == ("cna.csv", ".csv")
    assert original.text is not None
    assert part.text is not None
    pd.testing.assert_frame_equal(part.text, original.text.iloc[[1, 5]])
    pd.testing.assert_frame_equal(part.frame, original.frame.iloc[[1, 5]])


def test_the_digest_is_that_of_the_content(cohort: Cohort) -> None:
    copied = Cohort(
        {
            name: Table(one.frame.copy(), "elsewhere.tsv", ".tsv")
            for name, one in cohort.tables.items()
        }
    )
    assert cohort.digest().startswith("sha256:")
    assert len(cohort.digest()) == len("sha256:") + 64
    assert copied.digest() == cohort.digest()


def test_the_digest_does_not_depend_on_the_order_of_the_tables(cohort: Cohort) -> None:
    assert Cohort(dict(reversed(list(cohort.tables.items())))).digest() == cohort.digest()


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("column", range(2))
def test_the_digest_changes_with_any_value(cohort: Cohort, row: int, column: int) -> None:
    frame = cohort.tables["rna"].frame
    values = frame.to_numpy(copy=True)
    values[row, column] = np.nextafter(np.nan_to_num(values[row, column]), np.inf)
    other = pd.DataFrame(values, index=frame.index, columns=frame.columns)
    assert Cohort({**cohort.tables, "rna": Table(other)}).digest() != cohort.digest()


def test_the_digest_changes_with_any_id_feature_and_modality(cohort: Cohort) -> None:
    frame = cohort.tables["rna"].frame
    others = [
        {**cohort.tables, "rna": Table(frame.rename(index={"p2": "p9"}))},
        {**cohort.tables, "rna": Table(frame.rename(columns={"b": "c"}))},
        {"rna2": cohort.tables["rna"], "cna": cohort.tables["cna"]},
        {"rna": cohort.tables["rna"]},
        {"rna": cohort.tables["cna"], "cna": cohort.tables["rna"]},
    ]
    digests = {Cohort(tables).digest() for tables in others}
    assert len(digests) == len(others)
    assert cohort.digest() not in digests


def test_the_digest_tells_patients_from_features() -> None:
    wide = Cohort({"rna": table([[1, 2]], ["a"], "bc")})
    tall = Cohort({"rna": table([[1], [2]], ["a", "b"], "c")})
    assert wide.digest() != tall.digest()


def test_the_real_cohort_is_read() -> None:
    cohort = read_cohort(EXAMPLE)
    assert {"cna", "rna", "rppa", "wsi"} <= set(cohort.tables)
    assert "clinical" not in cohort.tables
    mask = cohort.mask()
    for name in cohort.tables:
        lines = (EXAMPLE / f"{name}.csv").read_text().splitlines()[1:]
        assert list(mask.index[mask[name]].sort_values()) == sorted(x.split(",")[0] for x in lines)
    assert mask.any(axis=1).all()


def test_the_digest_does_not_depend_on_the_format_of_the_files(tmp_path: Path) -> None:
    original = read_cohort(EXAMPLE, ["cna", "rppa"])
    for name, one in original.tables.items():
        one.frame.to_parquet(tmp_path / f"{name}.parquet")
    assert read_cohort(tmp_path).digest() == original.digest()


def test_only_the_named_modalities_are_read(tmp_path: Path) -> None:
    folder = put(tmp_path / "cohort", "rna.csv", "cna.csv")
    (folder / "notes.csv").write_text("not a table at all")
    assert list(read_cohort(folder, ["rna"]).tables) == ["rna"]


def test_clinical_is_not_a_modality(tmp_path: Path) -> None:
    folder = put(tmp_path / "cohort", "rna.csv")
    shutil.copy(EXAMPLE / "clinical.csv", folder)
    assert list(read_cohort(folder).tables) == ["rna"]


def test_hidden_files_folders_and_other_files_are_passed_over(tmp_path: Path) -> None:
    folder = put(tmp_path / "cohort", "rna.csv", ".cna.csv")
    (folder / "wsi.csv").mkdir()
    (folder / "README.md").write_text("about")
    assert list(read_cohort(folder).tables) == ["rna"]


def test_formats_may_be_mixed(tmp_path: Path) -> None:
    folder = put(tmp_path / "cohort", "rna.csv", "cna.tsv")
    table([[1, 2]], ["p1"]).frame.to_parquet(folder / "wsi.parquet")
    cohort = read_cohort(folder)
    assert {name: one.suffix for name, one in cohort.tables.items()} == {
        "cna": ".tsv",
        "rna": ".csv",
        "wsi": ".parquet",
    }
    assert cohort.patients == ["p1"]


def test_a_cohort_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", put(tmp_path / "cohort", "rna.csv") / "rna.csv"):
        with pytest.raises(DataError, match="is not a folder; give a folder") as caught:
            read_cohort(path)
        assert str(path) in str(caught.value)


def test_two_files_of_one_modality_are_refused(tmp_path: Path) -> None:
    folder = put(tmp_path / "cohort", "rna.csv", "rna.tsv")
    with pytest.raises(DataError, match=r"rna\.csv and rna\.tsv are both rna; keep one"):
        read_cohort(folder)


def test_a_named_modality_that_is_absent_is_refused(tmp_path: Path) -> None:
    folder = put(tmp_path / "cohort", "rna.csv")
    with pytest.raises(DataError, match=r"no table for 'wsi', 'cna'; expected e\.g\. wsi\.csv"):
        read_cohort(folder, ["wsi", "rna", "cna"])


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("about")
    with pytest.raises(DataError, match=r"holds no table; expected e\.g\. rna\.csv"):
        read_cohort(tmp_path)


def test_a_folder_with_clinical_data_only_is_refused(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "clinical.csv", tmp_path)
    with pytest.raises(DataError, match="holds no table"):
        read_cohort(tmp_path)


def test_a_bad_table_is_refused_by_its_path(tmp_path: Path) -> None:
    folder = put(tmp_path / "cohort", "cna.csv", "rna.csv")
    (folder / "rna.csv").write_text("patient,a\np1,high\n")
    with pytest.raises(DataError, match=r"rna\.csv, patient 'p1', column 'a': 'high'"):
        read_cohort(folder)


def test_clinical_data_keep_mixed_columns() -> None:
    clinical = read_clinical(EXAMPLE)
    assert len(clinical) == 64
    assert clinical.loc["TCGA-05-4396", "cancer_type"] == "LUAD"
    assert clinical.loc["TCGA-05-4396", "age"] == 76.0


def test_clinical_ids_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    (tmp_path / "clinical.csv").write_text("patient,stage\n0012,2\n0013,3\n")
    assert list(read_clinical(tmp_path).index) == ["0012", "0013"]


def test_clinical_data_are_read_from_any_format(tmp_path: Path) -> None:
    expected = pd.DataFrame({"stage": [2, 3]}, index=pd.Index(["p1", "p2"], name="patient"))
    for suffix in (".csv", ".tsv", ".tsv.gz", ".parquet"):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        if suffix == ".parquet":
            expected.to_parquet(folder / "clinical.parquet")
        else:
            separator = "\t" if ".tsv" in suffix else ","
            expected.to_csv(folder / f"clinical{suffix}", sep=separator)
        pd.testing.assert_frame_equal(read_clinical(folder), expected, check_index_type=False)


def test_a_cohort_without_clinical_data_is_refused_by_those_who_need_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no clinical table; expected e\.g\. clinical\.csv"):
        read_clinical(put(tmp_path / "cohort", "rna.csv"))


@pytest.mark.parametrize("name", ["clinical.csv", "clinical.parquet"])
@pytest.mark.parametrize("content", [b"", b"\xe9\xff,1\nx,2\n"])
def test_unreadable_clinical_data_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        read_clinical(tmp_path)


def test_a_toml_names_the_files_and_how_to_read_them(tmp_path: Path) -> None:
    folder = put(tmp_path / "data", "a.csv")
    (folder / "b.tsv").write_text("gene\tTCGA-AA-0001-06\tTCGA-AA-0002-01\nx\t1\t2\n")
    (folder / "people.csv").write_text("patient,stage\np1,2\n")
    path = tmp_path / "cohort.toml"
    path.write_text(
        'clinical = "data/people.csv"\n[tables]\nrna = "data/a.csv"\n'
        'cna = { path = "data/b.tsv", samples = "metastatic", orientation = "features-as-rows" }\n'
    )
    cohort = read_cohort(path)
    assert list(cohort.tables) == ["rna", "cna"]
    assert cohort.patients == ["p1", "TCGA-AA-0001"]
    assert list(read_cohort(path, ["cna"]).tables) == ["cna"]
    assert read_clinical(path).loc["p1", "stage"] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("rna = ", " cannot be read as TOML: "),
        ('rna = "a.csv"', ": 'rna' unknown; expected [tables] and clinical"),
        ("", ' names no table; expected [tables] and e.g. rna = "rna.tsv"'),
        ("[tables]\nrna = 1", ", rna: expected a path or a table with a path, e.g. rna ="),
        (
            '[tables]\nrna = { path = "a.csv", sample = "x" }',
            ", rna: 'sample' is unknown; known: path, orientation, samples, merge",
        ),
        (
            '[tables]\nrna = { path = "a.csv", merge = "sum" }',
            ", rna: merge = 'sum'; expected one of refuse, mean, first",
        ),
        ('[tables]\nrna = "nowhere.csv"', "nowhere.csv is not there"),
    ],
)
def test_a_toml_that_says_something_else_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "cohort.toml"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_cohort(path)
    assert message in str(caught.value)


def test_a_file_is_taken_for_a_modality_by_words_in_its_name(tmp_path: Path) -> None:
    put(tmp_path, "xena_rnaseq_log2tpm.tsv", "rppa_level3.csv", "data_mirna.tsv", "lipids.csv")
    cohort = read_cohort(tmp_path)
    assert list(cohort.tables) == ["lipids", "mirna", "rna", "rppa"]
    assert cohort.tables["rna"].notes[0] == (
        "xena_rnaseq_log2tpm.tsv is taken for rna, by its name"
    )


def test_a_modality_of_its_own_name_comes_before_words(tmp_path: Path) -> None:
    put(tmp_path, "rna.csv", "mrna_other.csv", "rna_log2.csv")
    assert list(read_cohort(tmp_path).tables) == ["mrna_other", "rna", "rna_log2"]


def test_a_known_modality_is_not_taken_for_another(tmp_path: Path) -> None:
    put(tmp_path, "mrna_log2.csv")
    assert list(read_cohort(tmp_path, ["mrna_log2"]).tables) == ["mrna_log2"]
    assert list(read_cohort(tmp_path, features={"mrna_log2": ["a"]}).tables) == ["mrna_log2"]
    assert list(read_cohort(tmp_path).tables) == ["rna"]


def test_two_files_that_could_be_one_modality_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "rnaseq_a.csv", "mrna_b.csv", "cna.csv")
    with pytest.raises(DataError) as caught:
        read_cohort(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: 2 files could be rna: 'mrna_b.csv', 'rnaseq_a.csv'; name one of them rna, "
        f"or name the files in a TOML"
    )
    assert list(read_cohort(tmp_path, ["cna"]).tables) == ["cna"]


def test_a_text_file_is_a_table_only_by_its_name(tmp_path: Path) -> None:
    put(tmp_path, "rna.csv", "notes.txt", "data_rppa.txt", "meta_cna.txt")
    (tmp_path / "notes.txt").write_text("not a table at all")
    assert list(read_cohort(tmp_path).tables) == ["rna", "rppa"]


def test_a_folder_of_slides_is_a_modality(tmp_path: Path) -> None:
    put(tmp_path, "rna.csv")
    (tmp_path / "wsi").mkdir()
    np.savez(tmp_path / "wsi" / "p1.npz", features=np.arange(4.0))
    cohort = read_cohort(tmp_path)
    assert cohort.tables["wsi"].frame.loc["p1"].tolist() == [0, 1, 2, 3]
    assert cohort.mask().to_numpy().all()


def test_ids_that_r_has_changed_meet_those_of_the_other_tables(tmp_path: Path) -> None:
    (tmp_path / "cna.csv").write_text("id,a\n7-b,1\n12,2\n")
    (tmp_path / "rna.csv").write_text("id,a\nX7.b,1.50\nX12,2\nX99,3\n")
    table = read_cohort(tmp_path).tables["rna"]
    assert list(table.frame.index) == ["7-b", "12", "X99"]
    assert any(note.startswith("undid R's changes to 2 labels") for note in table.notes)
    written = write_table(table, tmp_path / "out", "rna")
    assert written.read_bytes() == (tmp_path / "rna.csv").read_bytes()


def test_modalities_are_joined_by_patient_whatever_the_barcode(tmp_path: Path) -> None:
    (tmp_path / "rna.tsv").write_text("sample\tTCGA-AA-0002-01\tTCGA-AA-0001-01\ng\t1\t2\n")
    (tmp_path / "rppa.csv").write_text("id,x\nTCGA.AA.0001.01A.11.A1B2.20,3\n")
    mask = read_cohort(tmp_path).mask()
    assert mask.loc["TCGA-AA-0001"].all()
    assert mask["rppa"].tolist() == [False, True]


def test_an_empty_modality_counts_as_missing(tmp_path: Path) -> None:
    put(tmp_path, "rna.csv")
    (tmp_path / "cna.csv").write_text("patient,a\n")
    (tmp_path / "wsi.csv").write_text("patient,a\np1,\n")
    cohort = read_cohort(tmp_path)
    assert cohort.mask().loc["p1"].to_dict() == {"cna": False, "rna": True, "wsi": False}


def test_features_are_given_by_modality(tmp_path: Path) -> None:
    (tmp_path / "rna.csv").write_text("id,p1,p2\ng1,1,2\ng2,3,4\n")
    (tmp_path / "cna.seg").write_text(
        "ID\tchrom\tloc.start\tloc.end\tnum.mark\tseg.mean\np1\t1\t1\t10000000\t9\t0.5\n"
    )
    cohort = read_cohort(tmp_path, features={"rna": ["g1", "g2"], "cna": ["chr1:0-10Mb"]})
    assert cohort.tables["rna"].frame.loc["p2", "g1"] == 2
    assert cohort.tables["cna"].frame.loc["p1"].tolist() == [0.5]
    with pytest.raises(DataError, match="holds copy-number segments"):
        read_cohort(tmp_path)


def test_a_cohort_is_written_as_a_folder_of_the_same_formats(tmp_path: Path) -> None:
    original = read_cohort(EXAMPLE)
    write_cohort(original, tmp_path / "out")
    for name in original.tables:
        written = tmp_path / "out" / f"{name}.csv"
        assert written.read_bytes() == (EXAMPLE / f"{name}.csv").read_bytes()


@pytest.mark.skipif(not TCGA.is_dir(), reason="the shared data are not here")
def test_every_raw_file_is_read_and_written_back(tmp_path: Path) -> None:
    features = {
        name: pq.read_schema(TCGA / f"{name}.parquet").names[:-1]
        for name in ("cna", "rna", "rppa", "wsi")
    }
    cohort = read_cohort(TCGA / "raw", features=features)
    assert cohort.mask().sum().to_dict() == {"cna": 40, "rna": 60, "rppa": 60, "wsi": 30}
    assert len(cohort.patients) == 60
    shapes = {name: one.frame.shape[1] for name, one in cohort.tables.items()}
    assert shapes == {"cna": 283, "rna": 200, "rppa": 212, "wsi": 607}
    write_cohort(cohort, tmp_path)
    for name in ("rna", "rppa", "wsi"):
        table = cohort.tables[name]
        raw = TCGA / "raw" / table.source
        assert (tmp_path / f"{name}{table.suffix}").read_bytes() == raw.read_bytes()
    assert read_cohort(tmp_path, features=features).digest() == cohort.digest()
    assert set(read_clinical(TCGA / "raw").index) == set(cohort.patients)
