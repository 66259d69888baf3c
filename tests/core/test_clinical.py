"""Clinical tables: what TCGA calls things, and what codenoise does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.clinical import DAYS_A_MONTH, stage_number, tidy_clinical
from codenoise.core.cohort.cohort import read_clinical
from codenoise.core.cohort.compression import compressed

TCGA = Path(__file__).parents[3] / "shared" / "data" / "tcga"
LIU = (
    "bcr_patient_barcode\ttype\tajcc_pathologic_tumor_stage\tgender\t"
    "age_at_initial_pathologic_diagnosis\tvital_status\tOS.time\tOS\n"
    "TCGA-AA-0001\tSTAD\tStage IIIA\tFEMALE\t51.0\tAlive\t812.0\t0.0\n"
    "TCGA-AA-0002\tBLCA\t[Not Available]\tMALE\t\tDead\t#N/A\t1.0\n"
)


def put(folder: Path, text: str, name: str = "clinical.tsv") -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("Stage I", 1),
        ("Stage IA", 1),
        ("Stage IIB", 2),
        ("STAGE IIIC1", 3),
        ("Stage IV", 4),
        ("iv", 4),
        (2, 2),
        (3.0, 3),
        ("Stage 0", None),
        ("Stage X", None),
        ("I/II NOS", None),
        ("Stage Tis", None),
        ("[Discrepancy]", None),
        (np.nan, None),
        ("Stage VI", None),
    ],
)
def test_stages(text: object, stage: int | None) -> None:
    got = stage_number(text)
    assert np.isnan(got) if stage is None else got == stage


def test_names_of_tcga_become_ours(tmp_path: Path) -> None:
    frame = read_clinical(put(tmp_path, LIU))
    assert list(frame.columns) == [
        "cancer_type",
        "stage",
        "os_days",
        "os_event",
        "age",
        "sex",
        "vital_status",
    ]
    first, second = frame.loc["TCGA-AA-0001"], frame.loc["TCGA-AA-0002"]
    assert first.tolist() == ["STAD", 3.0, 812.0, 0.0, 51.0, "F", "Alive"]
    assert second[["cancer_type", "os_event", "sex"]].tolist() == ["BLCA", 1.0, "M"]
    assert second[["stage", "os_days", "age"]].isna().all()


def test_the_tables_of_cbioportal_are_known(tmp_path: Path) -> None:
    text = (
        "#Patient Identifier\tOverall Survival\n#STRING\tNUMBER\n"
        "PATIENT_ID\tCANCER_TYPE_ACRONYM\tOS_MONTHS\tOS_STATUS\tSEX\tAGE\n"
        "TCGA-AA-0001\tLUAD\t12\t1:DECEASED\tFemale\t60\n"
        "TCGA-AA-0002\tLUAD\t\t0:LIVING\tMale\t\n"
    )
    frame = read_clinical(put(tmp_path, text, "clinical.txt"))
    assert frame["os_days"].tolist()[0] == 12 * DAYS_A_MONTH
    assert frame["os_event"].tolist() == [1.0, 0.0]
    assert frame["cancer_type"].tolist() == ["LUAD", "LUAD"]


def test_the_column_of_barcodes_need_not_come_first(tmp_path: Path) -> None:
    text = "case_id,case_submitter_id,age_at_index\nuuid,TCGA-AA-0001,60\n"
    assert list(read_clinical(put(tmp_path, text, "clinical.csv")).index) == ["TCGA-AA-0001"]


def test_our_own_names_and_foreign_tables_stay_as_they_are() -> None:
    ours = pd.DataFrame({"cancer_type": ["X"], "stage": [2.0], "os_days": [1.0], "OS": [1]})
    assert tidy_clinical(ours) is ours
    foreign = pd.DataFrame({"type": ["control"], "dose": [1]})
    assert tidy_clinical(foreign) is foreign


@pytest.mark.parametrize("ending", [".gz", ".xz", ".bz2", ".zst"])
def test_compression_and_separator_are_told_by_content(tmp_path: Path, ending: str) -> None:
    (tmp_path / "clinical.csv").write_bytes(compressed(LIU.replace("\t", ";").encode(), ending))
    assert read_clinical(tmp_path).loc["TCGA-AA-0001", "stage"] == 3


def test_samples_become_patients(tmp_path: Path) -> None:
    frame = read_clinical(put(tmp_path, "sampleID\tx\nTCGA-AA-0001-01\t1\nTCGA-AA-0001-11\t2\n"))
    assert frame["x"].to_dict() == {"TCGA-AA-0001": 1}


def test_a_patient_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "patient\tx\np\t1\np\t2\n")
    with pytest.raises(DataError) as caught:
        read_clinical(path)
    assert str(caught.value) == (f"{path}: 1 id(s) stand more than once: 'p'; keep one row of each")


def test_a_patient_without_an_id_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "patient\tx\np\t1\n\t2\n")
    with pytest.raises(DataError) as caught:
        read_clinical(path)
    assert str(caught.value) == f"{path}, data row 2: the patient id is missing"


def test_a_table_without_patients_is_empty(tmp_path: Path) -> None:
    assert read_clinical(put(tmp_path, LIU.splitlines()[0] + "\n")).empty


@pytest.mark.skipif(not TCGA.is_dir(), reason="the shared data are not here")
def test_the_real_raw_table_gives_the_real_clean_one() -> None:
    got = read_clinical(TCGA / "raw")
    real = pd.read_parquet(TCGA / "clinical.parquet").loc[got.index]
    assert len(got) == 60
    pd.testing.assert_frame_equal(
        got[real.columns], real, check_dtype=False, check_names=False, check_index_type=False
    )
