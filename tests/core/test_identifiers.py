"""Ids: barcodes in their parts, R's changes undone, one row per patient and every other told."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.identifiers import (
    TAKEN,
    Barcode,
    Resolution,
    SampleChoice,
    counted,
    parse_barcode,
    r_name,
    resolve_samples,
    unmangle,
)

RAW = Path(__file__).parents[3] / "shared" / "data" / "tcga" / "raw"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def text_of(alphabet: str, size: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=size, max_size=size)


digits = text_of("0123456789", 2)
letter = st.sampled_from(UPPER)
patients = st.builds(
    "TCGA-{}-{}".format, text_of(UPPER + "0123456789", 2), text_of(UPPER + "0123456789", 4)
)
# Slides have codes like these where aliquots have the plate.
plates = text_of(UPPER + "0123456789", 4).filter(lambda p: p[:2] not in {"TS", "MS", "BS", "DX"})


@st.composite
def barcodes(draw: st.DrawFn) -> Barcode:
    """A barcode of any length, as the standard builds it."""
    length = draw(st.integers(1, 5))
    sample = draw(digits) if length > 1 else None
    vial = draw(st.none() | letter) if length > 1 else None
    portion = draw(digits) if length > 2 else None
    analyte = draw(st.none() | letter) if length > 2 else None
    plate = draw(plates) if length > 3 else None
    center = draw(digits) if length > 4 else None
    patient = draw(patients)
    groups = [(sample, vial), (portion, analyte), (plate, None), (center, None)]
    parts = [patient, *(f"{head}{tail or ''}" for head, tail in groups if head)]
    return Barcode(patient, sample, vial, portion, analyte, plate, center, "-".join(parts))


def resolved(*labels: str, samples: SampleChoice = "tumour") -> Resolution:
    return resolve_samples(labels, "rna.csv", samples=samples)


def taken(*labels: str, samples: SampleChoice = "tumour") -> list[str]:
    return [labels[row] for row in resolved(*labels, samples=samples).rows]


def refusal(*labels: str, samples: SampleChoice = "tumour") -> str:
    with pytest.raises(DataError) as caught:
        resolved(*labels, samples=samples)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_aliquot_barcode_is_taken_apart() -> None:
    text = "TCGA-AB-1234-01A-11R-A081-07"
    assert parse_barcode(text) == Barcode(
        "TCGA-AB-1234", "01", "A", "11", "R", "A081", "07", text=text
    )


@given(barcodes())
def test_a_built_barcode_gives_its_parts(barcode: Barcode) -> None:
    assert parse_barcode(barcode.text) == barcode


@given(barcodes(), st.booleans(), st.booleans())
def test_case_and_dots_change_only_the_text(barcode: Barcode, lower: bool, dots: bool) -> None:
    text = barcode.text.lower() if lower else barcode.text
    text = text.replace("-", ".") if dots else text
    parsed = parse_barcode(text)
    assert parsed is not None
    assert parsed.text == text
    assert {**vars(parsed), "text": barcode.text} == vars(barcode)


def test_a_portion_without_analyte_is_read() -> None:
    # RPPA is measured on portions, before an analyte is extracted.
    parsed = parse_barcode("TCGA-B7-5816-01A-11-A287-20")
    assert parsed is not None
    assert (parsed.portion, parsed.analyte, parsed.plate, parsed.center) == (
        "11", None, "A287", "20",
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "TCGA-02-0001-01C-01-TS1",
        "TCGA-02-0001-01Z-00-DX1",
        "TCGA-02-0001-01Z-00-DX1.83fce43e-42ac-4dcd-b156-2908e75f2e47",
        "TCGA-02-0001-01Z-00-DX1.83fce43e-42ac-4dcd-b156-2908e75f2e47.svs",
        "TCGA.02.0001.01Z.00.DX1.83fce43e.42ac.4dcd.b156.2908e75f2e47",
    ],
)
def test_a_slide_belongs_to_its_patient(text: str) -> None:
    parsed = parse_barcode(text)
    assert parsed is not None
    assert (parsed.patient, parsed.sample, parsed.plate) == ("TCGA-02-0001", "01", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "patient 7",
        "0012",
        "X12",
        "83fce43e-42ac-4dcd-b156-2908e75f2e47",
        "TCGA",
        "TCGA-AB",
        "TCGA-AB-123",
        "TCGA-AB-12345",
        "TCGA_AB_1234",
        "TCGA-AB.1234",
        "TCGA-AB-1234-1A",
        "TCGA-AB-1234-01AB",
        "TCGA-AB-1234-01A.1",
        "TCGA-AB-1234-01A-11R-A081-07-1",
        " TCGA-AB-1234",
        "TCGA-AB-1234\n",
        "TARGET-20-PABHET-03A",
        "TCGA-AB-123\u0664",
    ],
)
def test_anything_else_is_foreign(text: str) -> None:
    assert parse_barcode(text) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TP53", "TP53"),
        ("4E-BP1_pS65", "X4E.BP1_pS65"),
        ("HLA-A", "HLA.A"),
        ("p 53 (a)", "p.53..a."),
        ("_a", "X_a"),
        (".a", ".a"),
        (".2way", "X.2way"),
        ("-a", "X.a"),
        ("", "X"),
    ],
)
def test_names_become_what_r_makes_of_them(name: str, expected: str) -> None:
    assert r_name(name) == expected


@given(st.text(max_size=8))
def test_r_leaves_its_own_names_alone(name: str) -> None:
    assert r_name(r_name(name)) == r_name(name)


def test_an_x_before_a_known_id_is_taken_away_and_no_other() -> None:
    labels, notes = unmangle(["X12", "X13", "Xist", "14"], {"12", "14", "ist"})
    assert labels == ["12", "X13", "Xist", "14"]
    assert notes == ["undid R's changes to 1 label ('X12'): 'X12' is '12'"]


def test_dots_become_dashes_where_that_gives_a_known_id() -> None:
    known = {"p-1-a", "7-b", "x"}
    labels, notes = unmangle(["p.1.a", "p.2.a", "X7.b"], known)
    assert labels == ["p-1-a", "p.2.a", "7-b"]
    assert notes == ["undid R's changes to 2 labels ('p.1.a', 'X7.b'): 'p.1.a' is 'p-1-a'"]


def test_dots_become_dashes_without_an_x_and_an_x_goes_without_dots() -> None:
    assert unmangle(["7.b", "X8-b"], {"7-b", "8-b"})[0] == ["7-b", "8-b"]


def test_a_label_that_is_known_is_never_changed() -> None:
    assert unmangle(["X12", "a.b"], {"X12", "12", "a.b", "a-b"}) == (["X12", "a.b"], [])


def test_no_label_is_made_equal_to_another() -> None:
    assert unmangle(["12", "X12"], {"12"}) == (["12", "X12"], [])
    labels, notes = unmangle(["7.b", "X7.b"], {"7-b"})
    assert labels == ["7.b", "X7.b"]
    assert notes == [
        "left 2 labels as given, for want of a one-to-one match ('7.b', 'X7.b'): "
        "'7.b' could be '7-b'"
    ]


def test_a_label_that_could_be_two_known_ids_is_left_and_told() -> None:
    labels, notes = unmangle(["X1.2"], {"1-2", "1 2"})
    assert labels == ["X1.2"]
    assert notes == [
        "left 1 label as given, for want of a one-to-one match ('X1.2'): "
        "'X1.2' could be '1 2', '1-2'"
    ]


@given(st.sets(st.text("aX1.- ", min_size=1, max_size=4)), st.sets(st.text("aX1.-", max_size=4)))
def test_unmangling_only_ever_gives_known_labels_and_keeps_them_apart(
    given_labels: set[str], known: set[str]
) -> None:
    labels = sorted(given_labels)
    after, notes = unmangle(labels, known)
    changed = [new for old, new in zip(labels, after, strict=True) if new != old]
    assert set(changed) <= known
    assert len(set(after)) == len(labels)
    assert bool(changed) == any(note.startswith("undid") for note in notes)


@given(st.text(max_size=6))
def test_what_r_makes_of_the_only_known_id_is_undone(name: str) -> None:
    assert unmangle([r_name(name)], {name})[0] == [name]


def test_foreign_ids_are_kept_as_they_are() -> None:
    ids = ["0012", "patient 7", "X12", "83fce43e-42ac-4dcd-b156-2908e75f2e47"]
    assert resolved(*ids) == Resolution(ids, [0, 1, 2, 3], [], [])


def test_a_foreign_id_that_stands_twice_is_refused_by_name() -> None:
    assert refusal("p1", "p2", "p1", "p3") == (
        "rna.csv: 1 id(s) stand more than once: 'p1'; keep one row of each"
    )


def test_the_same_barcode_twice_is_refused_however_it_is_written() -> None:
    assert refusal("TCGA-AB-1234-01A", "tcga.ab.1234.01a", "TCGA-AB-9999", "TCGA-AB-9999") == (
        "rna.csv: 2 id(s) stand more than once: 'TCGA-AB-1234-01A', 'TCGA-AB-9999'; "
        "keep one row of each"
    )


def test_a_repeated_barcode_that_is_not_taken_does_no_harm() -> None:
    assert taken("TCGA-AB-1234-11A", "TCGA-AB-1234-11A", "TCGA-AB-1234-01A") == ["TCGA-AB-1234-01A"]


def test_barcodes_become_patients_in_order_of_first_appearance() -> None:
    labels = ["TCGA-AB-0002-11A", "p1", "tcga.ab.0001.01a", "TCGA-AB-0002-01A"]
    assert resolved(*labels) == Resolution(
        ["TCGA-AB-0002", "p1", "TCGA-AB-0001"],
        [3, 1, 2],
        [("TCGA-AB-0002-11A", "normal sample")],
        ["dropped 1 normal sample ('TCGA-AB-0002-11A')"],
    )


def test_normal_and_control_samples_are_dropped_and_counted() -> None:
    normal = [f"TCGA-AB-000{i}-10A" for i in range(5)]
    tumour = [f"TCGA-AB-000{i}-01A" for i in range(5)]
    result = resolved(*normal, "TCGA-AB-0001-20A", "TCGA-AB-0001-50A", *tumour)
    assert result.rows == [7, 8, 9, 10, 11]
    assert result.dropped == [
        *((label, "normal sample") for label in normal),
        ("TCGA-AB-0001-20A", "control sample"),
        ("TCGA-AB-0001-50A", "other sample"),
    ]
    assert result.notes == [
        "dropped 5 normal samples ('TCGA-AB-0000-10A', 'TCGA-AB-0001-10A', 'TCGA-AB-0002-10A' "
        "and 2 more)",
        "dropped 1 control sample ('TCGA-AB-0001-20A')",
        "dropped 1 other sample ('TCGA-AB-0001-50A')",
    ]


def test_tumour_samples_come_in_the_documented_order() -> None:
    codes = ["01", "03", "05", "09", "02", "04", "06", "07", "08"]
    for start in range(len(codes)):
        labels = [f"TCGA-AB-1234-{code}A" for code in reversed(codes[start:])]
        assert taken(*labels) == [f"TCGA-AB-1234-{codes[start]}A"]


def test_within_a_type_the_first_by_barcode_text_is_taken() -> None:
    labels = ["TCGA-AB-1234-01B", "tcga.ab.1234.01a.12r", "TCGA-AB-1234-01A-11R"]
    result = resolved(*labels)
    assert result.rows == [2]
    assert result.dropped == [
        ("TCGA-AB-1234-01B", "'TCGA-AB-1234-01A-11R' was taken"),
        ("tcga.ab.1234.01a.12r", "'TCGA-AB-1234-01A-11R' was taken"),
    ]
    assert result.notes == [
        "dropped 2 further samples of patients who have one that comes first "
        "('TCGA-AB-1234-01B', 'tcga.ab.1234.01a.12r')"
    ]


def test_a_patient_without_a_primary_sample_is_kept_and_told() -> None:
    result = resolved("TCGA-AB-0001-01A", "TCGA-AB-0002-06A", "TCGA-AB-0003-02A", "TCGA-AB-0004-07")
    assert result.rows == [0, 1, 2, 3]
    assert result.dropped == []
    assert result.notes == [
        "kept 1 recurrent sample of patients without a primary sample ('TCGA-AB-0003-02A')",
        "kept 2 metastatic samples of patients without a primary sample "
        "('TCGA-AB-0002-06A', 'TCGA-AB-0004-07')",
    ]


def test_a_patient_barcode_is_kept_and_gives_way_to_a_sample() -> None:
    assert resolved("TCGA-AB-0001", "tcga.ab.0002").patients == ["TCGA-AB-0001", "TCGA-AB-0002"]
    result = resolved("TCGA-AB-0001", "TCGA-AB-0001-06A")
    assert result.rows == [1]
    assert result.dropped == [("TCGA-AB-0001", "'TCGA-AB-0001-06A' was taken")]
    assert taken("TCGA-AB-0001", "TCGA-AB-0001-11A") == ["TCGA-AB-0001"]


def test_a_broken_barcode_is_kept_as_foreign_and_told() -> None:
    result = resolved("TCGA-AB-0001-01A", "TCGA-AB-0001-01A.1", "TCGA_AB_0002")
    assert result.patients == ["TCGA-AB-0001", "TCGA-AB-0001-01A.1", "TCGA_AB_0002"]
    assert result.notes == [
        "kept 2 ids like a TCGA barcode that cannot be read as one "
        "('TCGA-AB-0001-01A.1', 'TCGA_AB_0002')"
    ]


@pytest.mark.parametrize(
    ("samples", "row"), [("tumour", 0), ("primary", 0), ("metastatic", 2), ("normal", 3)]
)
def test_each_choice_takes_its_own_samples(samples: SampleChoice, row: int) -> None:
    labels = [f"TCGA-AB-1234-{code}A" for code in ("01", "02", "06", "11", "20")]
    assert resolved(*labels, samples=samples).rows == [row]


def test_only_primary_leaves_out_patients_without_one_and_tells() -> None:
    result = resolved("TCGA-AB-0001-01A", "TCGA-AB-0002-06A", samples="primary")
    assert result.patients == ["TCGA-AB-0001"]
    assert result.dropped == [("TCGA-AB-0002-06A", "metastatic sample")]
    assert result.notes == ["dropped 1 metastatic sample ('TCGA-AB-0002-06A')"]


def test_ids_without_a_sample_type_are_kept_by_every_choice_and_told() -> None:
    result = resolved("p1", "TCGA-AB-0001", "TCGA-AB-0002-06A", samples="metastatic")
    assert result.rows == [0, 1, 2]
    assert result.notes == [
        "kept 2 ids without a sample type, whichever were asked for ('p1', 'TCGA-AB-0001')"
    ]


def test_normals_of_several_types_are_told() -> None:
    result = resolved("TCGA-AB-0001-11A", "TCGA-AB-0002-10A", "TCGA-AB-0001-10A", samples="normal")
    assert result.rows == [2, 1]
    assert not any("several" in note for note in result.notes)
    result = resolved("TCGA-AB-0001-11A", "TCGA-AB-0002-10A", samples="normal")
    assert result.notes == ["kept normal samples of several types: 1 of type 10, 1 of type 11"]


def test_a_table_of_normals_is_refused_with_the_choice_that_takes_them() -> None:
    labels = [f"TCGA-AB-000{i}-10A" for i in range(5)]
    assert refusal(*labels, "TCGA-AB-0001-20A") == (
        "rna.csv: `samples='tumour'` takes none of its 6 samples ('TCGA-AB-0000-10A', "
        "'TCGA-AB-0001-10A', 'TCGA-AB-0002-10A' and 3 more); found 5 normal, 1 control; "
        "take them with `samples='normal'` (samples in a cohort's TOML)"
    )


def test_a_table_of_primaries_is_refused_as_metastatic_with_both_ways_out() -> None:
    assert refusal("TCGA-AB-0001-01A", samples="metastatic") == (
        "rna.csv: `samples='metastatic'` takes none of its 1 sample ('TCGA-AB-0001-01A'); "
        "found 1 primary; take them with `samples='tumour'` or `samples='primary'` (samples in a "
        "cohort's TOML)"
    )


def test_a_table_of_controls_is_refused_without_a_way_out() -> None:
    assert refusal("TCGA-AB-0001-20A").endswith(
        "found 1 control; no choice takes these, give other samples"
    )


def test_a_table_without_rows_is_refused() -> None:
    assert refusal() == "rna.csv holds no sample; expected one row per patient"


samples_of_few = st.builds(
    "TCGA-AB-{}-{}{}".format,
    st.sampled_from(["0001", "0002", "0003"]),
    st.sampled_from(["01", "02", "03", "05", "06", "07", "08", "10", "11", "20", "50"]),
    st.sampled_from(["", "A", "B-11R"]),
)
tables = st.lists(
    samples_of_few | st.sampled_from(["p1", "p2", "TCGA-AB-0001"]), unique=True, min_size=1
)


def patient_of(label: str) -> str:
    barcode = parse_barcode(label)
    return label if barcode is None else barcode.patient


@given(tables, st.sampled_from(list(TAKEN)))
def test_each_patient_is_kept_once_and_every_row_is_kept_or_told(
    labels: list[str], samples: SampleChoice
) -> None:
    try:
        result = resolved(*labels, samples=samples)
    except DataError:
        return
    assert len(set(result.patients)) == len(result.patients) == len(result.rows)
    assert [patient_of(labels[row]) for row in result.rows] == result.patients
    order = list(dict.fromkeys(patient_of(label) for label in labels))
    assert result.patients == [patient for patient in order if patient in result.patients]
    kept = [labels[row] for row in result.rows]
    assert sorted(kept + [label for label, _ in result.dropped]) == sorted(labels)
    assert all("\n" not in note for note in result.notes)


@given(tables, st.sampled_from(list(TAKEN)), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_change_what_is_taken(
    labels: list[str], samples: SampleChoice, shuffler: random.Random
) -> None:
    shuffled = list(labels)
    shuffler.shuffle(shuffled)
    try:
        expected = sorted(taken(*labels, samples=samples))
    except DataError:
        refusal(*shuffled, samples=samples)
        return
    assert sorted(taken(*shuffled, samples=samples)) == expected


def test_counts_agree_with_their_noun() -> None:
    assert [counted(1, "id"), counted(2, "id")] == ["1 id", "2 ids"]


def labels_of(name: str) -> list[str]:
    """Sample labels of a real table, each once: down the first column, or along the header."""
    path = RAW / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with path.open(newline="") as file:
        rows = list(csv.reader(file, delimiter="," if name.endswith(".csv") else "\t"))
    across = name.startswith("xena")
    return list(dict.fromkeys(rows[0][1:] if across else [row[0] for row in rows[1:]]))


@pytest.mark.parametrize(
    ("name", "patients_kept", "notes"),
    [
        ("clinical.tsv", 60, []),
        ("rppa_level3.tsv", 60, []),
        ("slide_hif.csv", 30, []),
        ("xena_rnaseq_log2tpm.tsv", 60, []),
        (
            "snp6_hg19.seg",
            40,
            [
                "dropped 51 normal samples ('TCGA-B7-5816-10A-01D-1599-01', "
                "'TCGA-BR-6452-10A-01D-1799-01', 'TCGA-BR-6452-11A-01D-1799-01' and 48 more)"
            ],
        ),
    ],
)
def test_real_tables_give_one_row_per_patient(
    name: str, patients_kept: int, notes: list[str]
) -> None:
    labels = labels_of(name)
    result = resolved(*labels)
    assert len(result.patients) == patients_kept
    assert all(patient.startswith("TCGA-") and len(patient) == 12 for patient in result.patients)
    assert result.notes == notes
