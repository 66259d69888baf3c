"""Feature names: what is the same feature, what has lost its name, and where a space's stand."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.features import (
    FeatureMatch,
    Merge,
    canonical,
    check_features,
    excel_dates,
    match_features,
)
from codenoise.core.cohort.identifiers import r_name

RAW = Path(__file__).parents[3] / "shared" / "data" / "tcga" / "raw"

genes = st.builds("ENSG{:011d}".format, st.integers(0, 10**11 - 1))
names = st.lists(st.text("aA1.-_ ", min_size=1, max_size=5) | genes, unique=True, min_size=1)


def match_refusal(labels: list[str], wanted: list[str]) -> str:
    with pytest.raises(DataError) as caught:
        match_features(labels, wanted, "rna.csv")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check_refusal(labels: list[str], merge: Merge = "refuse") -> str:
    with pytest.raises(DataError) as caught:
        check_features(labels, "rna.csv", merge=merge)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ENSG00000141510.18", "ENSG00000141510"),
        ("ENST00000269305.9", "ENST00000269305"),
        ("ENSP00000269305.4", "ENSP00000269305"),
        ("ENSMUSG00000059552.14", "ENSMUSG00000059552"),
        ("ENSG00000182378.15_PAR_Y", "ENSG00000182378_PAR_Y"),
        ("ENSGR0000182378.10", "ENSGR0000182378"),
        ("ENSG00000141510", "ENSG00000141510"),
        ("ENSG00000182378_PAR_Y", "ENSG00000182378_PAR_Y"),
        ("ENSG00000141510.", "ENSG00000141510."),
        ("ENSG00000141510.18_x", "ENSG00000141510.18_x"),
        ("ENSG141510.18", "ENSG141510.18"),
        ("ensg00000141510.18", "ensg00000141510.18"),
        ("TP53", "TP53"),
        ("AC012345.1", "AC012345.1"),
        ("hsa-let-7a-1", "hsa-let-7a-1"),
        ("chr1:0-10Mb", "chr1:0-10Mb"),
        ("", ""),
    ],
)
def test_only_an_ensembl_version_is_stripped(name: str, expected: str) -> None:
    assert canonical(name) == expected


@given(st.text() | genes)
def test_a_canonical_name_stays_as_it_is(name: str) -> None:
    assert canonical(canonical(name)) == canonical(name)


@given(genes, st.integers(0, 99))
def test_genes_are_equal_whatever_their_version_but_not_on_both_sex_chromosomes(
    gene: str, version: int
) -> None:
    assert canonical(f"{gene}.{version}") == gene
    assert canonical(f"{gene}.{version}_PAR_Y") == f"{gene}_PAR_Y" != gene


def test_exact_names_match_without_a_word() -> None:
    assert match_features(["c", "a", "x"], ["a", "b", "c"], "rna.csv") == FeatureMatch(
        {"a": 1, "c": 0}, ["b"], []
    )


def test_positions_and_missing_are_in_the_order_wanted() -> None:
    match = match_features(["a", "b", "c"], ["c", "z", "a", "y"], "rna.csv")
    assert list(match.positions) == ["c", "a"]
    assert match.missing == ["z", "y"]


def test_versions_are_left_out_on_both_sides() -> None:
    labels = ["ENSG00000000003.15", "ENSG00000000005", "TP53"]
    wanted = ["ENSG00000000003.14", "ENSG00000000005.6", "TP53"]
    match = match_features(labels, wanted, "rna.csv")
    assert match == FeatureMatch(
        {"ENSG00000000003.14": 0, "ENSG00000000005.6": 1, "TP53": 2},
        [],
        [
            "2 columns matched without Ensembl version "
            "('ENSG00000000003.15', 'ENSG00000000005')"
        ],
    )  # fmt: skip


def test_a_gene_of_the_y_chromosome_is_not_its_twin_on_x() -> None:
    labels = ["ENSG00000182378.15_PAR_Y"]
    assert match_features(labels, ["ENSG00000182378"], "rna.csv").missing == ["ENSG00000182378"]
    assert match_features(labels, ["ENSG00000182378_PAR_Y"], "rna.csv").missing == []


def test_names_that_r_changed_are_found() -> None:
    match = match_features(
        ["X14.3.3_beta", "HLA.A", "TP53"], ["TP53", "HLA-A", "14-3-3_beta"], "rppa.csv"
    )
    assert match == FeatureMatch(
        {"TP53": 2, "HLA-A": 1, "14-3-3_beta": 0},
        [],
        ["2 columns matched by the name that R makes of it ('HLA.A', 'X14.3.3_beta')"],
    )


def test_a_space_whose_names_r_changed_is_met_by_the_original_names() -> None:
    assert match_features(["14-3-3_beta"], ["X14.3.3_beta"], "rppa.csv").positions == {
        "X14.3.3_beta": 0
    }


def test_names_that_only_look_alike_to_r_do_not_match() -> None:
    assert match_features(["HLA A"], ["HLA-A"], "rna.csv").missing == ["HLA-A"]


def test_an_equal_name_goes_before_the_name_r_makes_of_it() -> None:
    assert match_features(["HLA.A", "HLA-A"], ["HLA-A"], "rna.csv") == FeatureMatch(
        {"HLA-A": 1}, [], []
    )


def test_a_column_that_could_be_several_features_is_none_and_noted() -> None:
    match = match_features(["A.B"], ["A-B", "A B"], "rna.csv")
    assert match == FeatureMatch(
        {}, ["A-B", "A B"], ["1 column left out, could be several wanted features ('A.B')"]
    )
    wanted = ["ENSG00000000003.1", "ENSG00000000003.2"]
    assert match_features(["ENSG00000000003.3"], wanted, "rna.csv").missing == wanted


def test_two_columns_of_one_feature_are_refused_by_name() -> None:
    assert match_refusal(["ENSG00000000003.14", "x", "ENSG00000000003"], ["ENSG00000000003"]) == (
        "rna.csv: 1 wanted feature(s) stand more than once: 'ENSG00000000003'; 'ENSG00000000003' "
        "is columns 'ENSG00000000003.14', 'ENSG00000000003'; keep one of each"
    )


def test_equal_columns_and_columns_equal_to_r_are_refused() -> None:
    assert "'a' is columns 'a', 'a';" in match_refusal(["a", "a"], ["a"])
    assert "'A.B' is columns 'A-B', 'A B';" in match_refusal(["A-B", "A B"], ["A.B"])


def test_columns_that_nobody_wants_may_repeat() -> None:
    assert match_features(["a", "x", "x"], ["a"], "rna.csv").positions == {"a": 0}


@given(names, st.randoms(use_true_random=False))
def test_a_table_with_the_names_of_the_space_matches_whole(
    wanted: list[str], shuffler: random.Random
) -> None:
    labels = list(wanted)
    shuffler.shuffle(labels)
    match = match_features(labels, wanted, "rna.csv")
    assert {name: labels[where] for name, where in match.positions.items()} == {
        name: name for name in wanted
    }
    assert match.missing == match.notes == []


@given(names, names)
def test_every_wanted_feature_has_a_column_of_its_own_or_is_missing(
    labels: list[str], wanted: list[str]
) -> None:
    try:
        match = match_features(labels, wanted, "rna.csv")
    except DataError:
        return
    assert [*match.positions] == [name for name in wanted if name not in match.missing]
    assert len(set(match.positions.values())) == len(match.positions)
    for name, where in match.positions.items():
        label = labels[where]
        alike = {canonical(label) == canonical(name), r_name(name) == label, r_name(label) == name}
        assert True in alike


@pytest.mark.parametrize(
    "label",
    ["1-Mar", "01-Mar", "2-Sep", "31-Dec", "1-Dec", "3-Oct", "Mar-01", "Sep-02", "Sep-15", "Mar-1"],
)
def test_dates_that_excel_makes_are_seen(label: str) -> None:
    assert excel_dates(["TP53", label, label, "a"]) == [label]


@pytest.mark.parametrize(
    "label",
    [
        "MARCH1", "MARCHF1", "SEPT2", "DEC1", "March1", "Mar", "1-mar", "mar-1", "sep-1", "dec-1",
        "32-Mar", "0-Mar", "00-Mar", "1-March", "Mar-001", "Mar-0", "Oct-4", "c-Jun_pS73", "43891",
        "2019-03-01", "4E-BP1", "1-Marx", "chr1:0-10Mb", "hsa-let-7a-1", "",
    ],
)  # fmt: skip
def test_names_that_are_no_clear_date_are_left_alone(label: str) -> None:
    assert excel_dates([label]) == []
    assert check_features([label], "rna.csv") == {}


def test_excel_dates_are_refused_with_the_symbols_they_were() -> None:
    labels = ["TP53", "1-Mar", "2-Sep", "1-Dec", "Sep-15", "1-Mar"]
    for merge in ("refuse", "mean", "first"):
        assert check_refusal(labels, merge) == (
            "rna.csv: 4 feature name(s) look like dates that Excel makes of gene symbols: "
            "'1-Mar', '2-Sep', '1-Dec' and 1 more, probably of 'MARCHF1/MARCH1 or MTARC1/MARC1', "
            "'SEPTIN2/SEPT2', 'DELEC1/DEC1' and 1 more; put the symbols back, from the data as "
            "they were before Excel"
        )


@pytest.mark.parametrize(
    ("label", "symbols"),
    [
        ("2-Mar", "MARCHF2/MARCH2 or MTARC2/MARC2"),
        ("11-Mar", "MARCHF11/MARCH11"),
        ("Mar-03", "MARCHF3/MARCH3"),
        ("Sep-7", "SEPTIN7/SEPT7"),
        ("14-Sep", "SEPTIN14/SEPT14"),
        ("15-Sep", "SELENOF/SEP15"),
        ("Dec-01", "DELEC1/DEC1"),
    ],
)
def test_each_date_names_its_symbols(label: str, symbols: str) -> None:
    assert f"{label!r}, probably of {symbols!r};" in check_refusal([label])


@pytest.mark.parametrize("label", ["12-Mar", "13-Sep", "16-Sep", "2-Dec", "5-Jun", "Jan-70"])
def test_a_date_of_no_known_symbol_is_refused_without_a_guess(label: str) -> None:
    assert check_refusal([label]) == (
        "rna.csv: 1 feature name(s) look like dates that Excel makes of gene symbols: "
        f"{label!r}; put the symbols back, from the data as they were before Excel"
    )


def test_names_that_stand_once_pass() -> None:
    assert check_features(["a", "ENSG00000000003.1", "ENSG00000000003_PAR_Y"], "rna.csv") == {}


def test_repeated_names_are_refused_with_the_option_that_merges_them() -> None:
    labels = ["ENSG00000000003.14", "TP53", "ENSG00000000003.15", "TP53"]
    assert check_refusal(labels) == (
        "rna.csv: 2 feature(s) stand more than once, Ensembl versions aside: 'ENSG00000000003', "
        "'TP53' (columns 'ENSG00000000003.14', 'ENSG00000000003.15'); keep one of each, or "
        "give `merge='mean'` or `merge='first'` (merge in a cohort's TOML)"
    )


@pytest.mark.parametrize("merge", ["mean", "first"])
def test_repeated_names_are_given_as_groups_to_merge(merge: Merge) -> None:
    labels = ["ENSG00000000003.14", "TP53", "ENSG00000000003.15", "TP53", "a"]
    assert check_features(labels, "rna.csv", merge=merge) == {
        "ENSG00000000003": [0, 2],
        "TP53": [1, 3],
    }


@given(st.lists(st.text("ab", max_size=2)))
def test_groups_hold_every_repeated_column_once(labels: list[str]) -> None:
    groups = check_features(labels, "rna.csv", merge="first")
    assert {labels[p] for where in groups.values() for p in where} == set(groups)
    columns = sorted(position for where in groups.values() for position in where)
    assert columns == [p for p, label in enumerate(labels) if labels.count(label) > 1]


def features_of(name: str) -> list[str]:
    """Feature names of a real table: along the header, or down the first column."""
    path = RAW / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with path.open(newline="") as file:
        rows = list(csv.reader(file, delimiter="," if name.endswith(".csv") else "\t"))
    return [row[0] for row in rows[1:]] if name.startswith("xena") else rows[0][1:]


@pytest.mark.parametrize("name", ["rppa_level3.tsv", "slide_hif.csv", "xena_rnaseq_log2tpm.tsv"])
def test_real_names_pass_and_are_found_after_r(name: str) -> None:
    wanted = features_of(name)
    assert check_features(wanted, name) == {}
    match = match_features([r_name(feature) for feature in wanted], wanted, name)
    assert match.missing == []
    assert list(match.positions.values()) == list(range(len(wanted)))
