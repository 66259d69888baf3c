"""Orientation, names of patients and features, and writing back as it came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.tables import Table, like, read_table, write_table

XENA = "sample\tTCGA-AA-0001-01\tTCGA-AA-0002-01\nTP53\t1.50\tNA\nKRAS\t2e-3\t+3.\n"
CBIOPORTAL = (
    "Hugo_Symbol\tEntrez_Gene_Id\tTCGA-AA-0001-01\tTCGA-AA-0002-06\n"
    "TP53\t7157\t1.50\t\n"
    "\t3845\t2e-3\t+3.\n"
)


def put(folder: Path, text: str, name: str = "rna.tsv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_xena_matrix_is_read_and_written_back_to_the_letter(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, XENA))
    assert list(table.frame.index) == ["TCGA-AA-0001", "TCGA-AA-0002"]
    assert list(table.frame.columns) == ["TP53", "KRAS"]
    np.testing.assert_array_equal(table.frame.to_numpy(), [[1.5, 2e-3], [np.nan, 3.0]])
    assert "features as rows, for the columns are TCGA barcodes" in table.notes
    written = write_table(table, tmp_path / "out", "rna")
    assert written.read_text() == XENA.replace("NA", "")
    assert read_table(written).frame.equals(table.frame)


def test_completing_a_xena_matrix_adds_columns_by_patient(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, XENA))
    ids = [*table.frame.index, "TCGA-ZZ-0009"]
    filled = pd.DataFrame(9.25, index=ids, columns=table.frame.columns)
    assert write_table(table.completed(filled), tmp_path / "out", "rna").read_text() == (
        "sample\tTCGA-AA-0001-01\tTCGA-AA-0002-01\tTCGA-ZZ-0009\n"
        "TP53\t1.50\t9.25\t9.25\nKRAS\t2e-3\t+3.\t9.25\n"
    )


def test_a_cbioportal_table_keeps_both_id_columns(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, CBIOPORTAL, "rna.txt"))
    assert list(table.frame.columns) == ["TP53", "3845"]
    assert list(table.frame.index) == ["TCGA-AA-0001", "TCGA-AA-0002"]
    assert "1 feature(s) without a symbol named by their Entrez id" in table.notes
    assert "features as rows, for the first column is 'Hugo_Symbol'" in table.notes
    assert any("kept 1 metastatic sample" in note for note in table.notes)
    assert write_table(table, tmp_path / "out", "rna").read_text() == CBIOPORTAL


def test_a_feature_without_any_name_is_refused(tmp_path: Path) -> None:
    text = CBIOPORTAL.replace("\t3845", "\t")
    path = put(tmp_path, text)
    assert refusal(path) == f"{path}, data row 2: the feature's name is missing"


@pytest.mark.parametrize("header", ["Composite.Element.REF", "antibody"])
def test_antibody_ids_are_the_part_after_the_bar(tmp_path: Path, header: str) -> None:
    text = f"{header}\tTCGA-AA-0001-01\nYWHAB|14-3-3_beta\t1\nAKT1 AKT2|Akt\t2\n"
    table = read_table(put(tmp_path, text))
    assert list(table.frame.columns) == ["14-3-3_beta", "Akt"]
    assert (
        "features named by the part after '|': 'YWHAB|14-3-3_beta' is '14-3-3_beta'" in table.notes
    )
    assert write_table(table, tmp_path / "out", "x").read_text() == text


def test_antibody_ids_over_columns(tmp_path: Path) -> None:
    path = put(tmp_path, "id,YWHAB|14-3-3_beta,AKT1|Akt\np,1,2\n", "rppa.csv")
    table = read_table(path)
    assert list(table.frame.columns) == ["14-3-3_beta", "Akt"]
    assert write_table(table, tmp_path / "out", "x").read_bytes() == path.read_bytes()


def test_symbols_with_entrez_ids_are_the_part_before_the_bar(tmp_path: Path) -> None:
    path = put(tmp_path, "id,TP53|7157,?|100130426\np,1,2\n", "rna.csv")
    assert list(read_table(path).frame.columns) == ["TP53", "100130426"]


def test_the_space_says_which_part_of_a_name_counts(tmp_path: Path) -> None:
    path = put(tmp_path, "id,YWHAB|14-3-3_beta,AKT1|Akt\np,1,2\n", "rppa.csv")
    for wanted in (["YWHAB", "AKT1"], ["YWHAB|14-3-3_beta", "AKT1|Akt"], ["Akt", "14-3-3_beta"]):
        assert set(read_table(path, features=wanted).frame.columns) == set(wanted)


@pytest.mark.parametrize("turned", [False, True])
def test_the_features_decide_the_orientation(tmp_path: Path, turned: bool) -> None:
    frame = pd.DataFrame([[1.0, 2], [3, 4], [5, 6]], ["p", "q", "r"], ["TP53", "KRAS"])
    path = tmp_path / "rna.csv"
    (frame.T if turned else frame).to_csv(path, index_label="id")
    table = read_table(path, features=["KRAS", "TP53", "EGFR"])
    assert table.frame.loc["q", "KRAS"] == 4.0
    way, counts = (
        ("features", "0 of 3 columns and 2 of 2 rows")
        if turned
        else ("patients", "2 of 2 columns and 0 of 3 rows")
    )
    assert f"{way} as rows: {counts} are among the 3 features of the space" in table.notes
    assert "2/3 features matched; missing: 'EGFR'" in table.notes
    assert write_table(table, tmp_path / "out", "x").read_bytes() == path.read_bytes()


def test_few_features_of_a_small_space_decide_in_a_table_of_all_genes(tmp_path: Path) -> None:
    genes = [f"g{i}" for i in range(300)]
    frame = pd.DataFrame(1.0, index=genes, columns=["p", "q"])
    frame.to_csv(tmp_path / "rna.csv")
    table = read_table(tmp_path / "rna.csv", features=["g1", "g2", "g3", "absent"])
    assert table.frame.shape == (2, 300)


@pytest.mark.parametrize("known", ["neither", "both"])
def test_an_orientation_that_is_not_clear_is_refused(tmp_path: Path, known: str) -> None:
    path = put(tmp_path, "id,a,b\na,1,2\nq,3,4\n", "rna.csv")
    features = ["x", "y"] if known == "neither" else ["a", "y"]
    count = 0 if known == "neither" else 1
    assert refusal(path, features=features) == (
        f"{path}: cannot tell patients from features: {count} of 2 columns and {count} of 2 rows "
        f"are among the 2 features of the space, and the ids do not tell either; give "
        f"`orientation='patients-as-rows'` or `orientation='features-as-rows'` (orientation in a "
        f"cohort's TOML)"
    )
    assert list(read_table(path, features=features, orientation="features-as-rows").frame) == [
        "a",
        "q",
    ]
    told = read_table(path, features=features, orientation="patients-as-rows")
    assert list(told.frame.index) == ["a", "q"]
    assert "patients as rows, as told" in told.notes


def test_barcodes_tell_where_features_do_not(tmp_path: Path) -> None:
    assert read_table(put(tmp_path, XENA), features=["x"]).frame.shape == (2, 2)
    path = put(tmp_path, "id,a\nTCGA-AA-0001,1\n", "rna.csv")
    table = read_table(path, features=["x"])
    assert "patients as rows, for the rows are TCGA barcodes" in table.notes


def test_without_features_and_barcodes_patients_are_rows(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "sample,a\np,1\n", "rna.csv"))
    assert "patients as rows, for nothing says otherwise" in table.notes


def test_ensembl_versions_and_r_names_get_the_names_of_the_space(tmp_path: Path) -> None:
    path = put(tmp_path, "id,ENSG00000141510.18,chr1.0.10Mb,other\np,1,2,3\n", "rna.csv")
    table = read_table(path, features=["ENSG00000141510", "chr1:0-10Mb"])
    assert list(table.frame.columns) == ["ENSG00000141510", "chr1:0-10Mb", "other"]
    assert "2/2 features matched" in table.notes
    assert write_table(table, tmp_path / "out", "x").read_bytes() == path.read_bytes()


def test_sample_labels_are_written_back_and_new_patients_by_their_id(tmp_path: Path) -> None:
    text = "id,a\nTCGA-AA-0001-01A-11R-A081-07,1.0\nTCGA.AA.0002.01,\nforeign 7,2\n"
    table = read_table(put(tmp_path, text, "rna.csv"))
    assert list(table.frame.index) == ["TCGA-AA-0001", "TCGA-AA-0002", "foreign 7"]
    filled = pd.DataFrame(5.0, index=[*table.frame.index, "new"], columns=["a"])
    filled.index.name = "id"
    written = write_table(table.completed(filled), tmp_path / "out", "x")
    assert written.read_text() == (
        "id,a\nTCGA-AA-0001-01A-11R-A081-07,1.0\nTCGA.AA.0002.01,5\nforeign 7,2\nnew,5\n"
    )


def test_normal_samples_are_dropped_with_a_note(tmp_path: Path) -> None:
    path = put(tmp_path, "id,a\nTCGA-AA-0001-11,1\nTCGA-AA-0001-01,2\n", "rna.csv")
    table = read_table(path)
    assert table.frame["a"].to_dict() == {"TCGA-AA-0001": 2.0}
    assert "dropped 1 normal sample ('TCGA-AA-0001-11')" in table.notes
    assert read_table(path, samples="normal").frame.loc["TCGA-AA-0001", "a"] == 1.0


def test_text_in_a_sample_that_is_dropped_is_no_matter(tmp_path: Path) -> None:
    text = "id,a\nTCGA-AA-0001-11,failed\nTCGA-AA-0001-01,2\n"
    assert len(read_table(put(tmp_path, text, "rna.csv")).frame) == 1


def test_a_table_of_normal_samples_alone_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "id,a\nTCGA-AA-0001-11,1\n", "rna.csv")
    assert f"{path}: `samples='tumour'` takes none of its 1 sample" in refusal(path)


def test_dates_of_excel_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path, XENA.replace("KRAS", "2-Sep"))
    assert (
        f"{path}: 1 feature name(s) look like dates that Excel makes of gene symbols: '2-Sep', "
        f"probably of 'SEPTIN2/SEPT2'" in refusal(path)
    )


def test_a_feature_row_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, XENA.replace("KRAS", "TP53"))
    assert refusal(path) == (
        f"{path}: 1 feature(s) stand more than once: 'TP53'; keep one of each, or give "
        f"`merge='mean'` or `merge='first'` (merge in a cohort's TOML)"
    )


def test_a_sample_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, XENA.replace("0002", "0001"))
    assert refusal(path) == (
        f"{path}: 1 patient(s) stand more than once: 'TCGA-AA-0001-01'; keep one of each"
    )


def test_a_sample_column_without_a_name_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "Hugo_Symbol\tp\t\nTP53\t1\t2\n")
    assert refusal(path) == f"{path}, sample column 2: the patient id is missing"


@pytest.mark.parametrize(("merge", "cell"), [("mean", "2.0"), ("first", "1.0")])
def test_features_are_merged_when_asked(tmp_path: Path, merge: str, cell: str) -> None:
    text = "id,ENSG00000000001.1,b,ENSG00000000001.2\np,1.0,7,3.0\nq,,7,4.0\n"
    path = put(tmp_path, text, "rna.csv")
    assert "1 feature(s) stand more than once, Ensembl versions aside" in refusal(path)
    table = read_table(path, merge=merge)  # type: ignore[arg-type]
    assert f"1 column merged into others ({merge})" in table.notes
    rows = write_table(table, tmp_path / "out", "x").read_text().splitlines()
    assert rows[:2] == ["id,ENSG00000000001.1,b", f"p,{cell},7"]
    assert table.frame.iloc[1, 0] == 4.0 if merge == "mean" else np.isnan(table.frame.iloc[1, 0])


@pytest.mark.parametrize("cell", ["high", "inf"])
def test_a_bad_cell_is_named_by_feature_and_column(tmp_path: Path, cell: str) -> None:
    path = put(tmp_path, XENA.replace("+3.", cell))
    wanted = "a number or empty" if cell == "high" else "a finite number"
    assert refusal(path) == (
        f"{path}, feature 'KRAS', column 'TCGA-AA-0002-01': {cell!r} should be {wanted} "
        f"(1 such cells)"
    )


def test_a_matrix_without_samples_or_without_values_counts_as_missing(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "Hugo_Symbol\tEntrez_Gene_Id\nTP53\t7157\n"))
    assert table.frame.shape == (0, 1)
    assert table.notes[-1] == "no patient in the table; the modality counts as missing"
    table = read_table(put(tmp_path, XENA.replace("\t1.50\tNA", "\t\t").replace("2e-3\t+3.", "\t")))
    assert table.notes[-1] == "no value in the table; the modality counts as missing"


def test_spread_and_mask_of_a_matrix_are_laid_out_like_it(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, CBIOPORTAL, "rna.txt"))
    other = like(table.frame * 0, table)
    lines = write_table(other, tmp_path / "out", "spread").read_text().splitlines()
    assert lines[0] == CBIOPORTAL.splitlines()[0]
    assert lines[2].startswith("\t3845\t0\t")


def test_another_modality_takes_orientation_and_separator_but_no_names(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, CBIOPORTAL, "rna.txt"))
    frame = pd.DataFrame({"Akt": [1.0]}, index=["TCGA-AA-0001"])
    written = write_table(like(frame, table), tmp_path / "out", "rppa")
    assert written.read_text() == "Hugo_Symbol\tTCGA-AA-0001\nAkt\t1\n"


def test_a_plain_table_still_needs_no_layout(tmp_path: Path) -> None:
    table = Table(pd.DataFrame({"a": [1.0]}, index=["p"]), suffix=".tsv.zst")
    assert read_table(write_table(table, tmp_path, "x")).frame.loc["p", "a"] == 1.0
