"""Copy-number segments to bins: by hand, against real bins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.tables import read_table, write_table

TCGA = Path(__file__).parents[3] / "shared" / "data" / "tcga"
BINS = ["chr1:0-10Mb", "chr1:10-20Mb", "chr2:0-10Mb", "chrX:0-10Mb"]
HEADER = "Sample\tChromosome\tStart\tEnd\tNum_Probes\tSegment_Mean\n"
ROWS = (
    "TCGA-AA-0001-01A-01D-A101-01\t1\t1\t4000000\t10\t1.0\n"
    "TCGA-AA-0001-01A-01D-A101-01\t1\t4000001\t12000000\t10\t-0.5\n"
    "TCGA-AA-0001-01A-01D-A101-01\tX\t5000001\t6000000\t10\t0.25\n"
    "TCGA-AA-0001-10A-01D-A101-01\t1\t1\t10000000\t10\t0.0\n"
    "other\tchr2\t1\t900000\t10\t3\n"
    "other\tchr2\t1000001\t2000000\t10\t2\n"
)


def put(folder: Path, text: str, name: str = "cna.seg") -> Path:
    (folder / name).write_text(text)
    return folder / name


def refusal(path: Path, features: list[str] | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, features=features or BINS)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bins_are_length_weighted_means_of_what_covers_them(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, HEADER + ROWS), features=BINS)
    assert list(table.frame.index) == ["TCGA-AA-0001", "other"]
    expected = [
        [(4 * 1.0 + 6 * -0.5) / 10, -0.5, np.nan, 0.25],
        [np.nan, np.nan, (0.9 * 3 + 1 * 2) / 1.9, np.nan],
    ]
    np.testing.assert_allclose(table.frame.to_numpy(), expected, rtol=1e-12)
    assert any(note.startswith("dropped 1 normal sample") for note in table.notes)
    assert any(note.startswith("6 segments of 3 samples averaged over 4") for note in table.notes)


def test_a_bin_covered_by_less_than_a_tenth_is_a_gap(tmp_path: Path) -> None:
    rows = "p\t1\t1\t1000000\t1\t1\np\t1\t10000001\t10900000\t1\t1\n"
    frame = read_table(put(tmp_path, HEADER + rows), features=BINS).frame
    assert frame.loc["p"].notna().tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    "header",
    [
        "ID\tchrom\tloc.start\tloc.end\tnum.mark\tseg.mean\n",
        "GDC_Aliquot\tChromosome\tStart\tEnd\tNum_Probes\tSegment_Mean\n",
        "SAMPLE\tCHROMOSOME\tSTART\tEND\tNUM_PROBES\tSEGMENT_MEAN\n",
        "'Sample'\tChr\tStart\tEnd\tn\tMean\n",
    ],
)
def test_headers_of_other_tools_are_known(tmp_path: Path, header: str) -> None:
    ours = read_table(put(tmp_path, HEADER + ROWS), features=BINS)
    other = read_table(put(tmp_path, header + ROWS, "other.txt"), features=BINS)
    np.testing.assert_array_equal(other.frame.to_numpy(), ours.frame.to_numpy())


def test_the_number_of_probes_may_be_left_out_and_columns_stand_in_any_order(
    tmp_path: Path,
) -> None:
    text = "Chromosome,Start,End,Segment_Mean,Sample\nchr1,1,10000000,0.5,p\n"
    assert read_table(put(tmp_path, text), features=BINS).frame.loc["p", BINS[0]] == 0.5


def test_sex_chromosomes_may_be_numbers(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, HEADER + "p\t23\t1\t9000000\t1\t0.5\n"), features=BINS)
    assert table.frame.loc["p", "chrX:0-10Mb"] == 0.5


def test_bins_are_written_as_csv_with_the_labels_of_the_file(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, HEADER + ROWS), features=BINS)
    written = write_table(table, tmp_path / "out", "cna")
    assert written.name == "cna.csv"
    assert written.read_text().splitlines()[1].startswith("TCGA-AA-0001-01A-01D-A101-01,")
    again = read_table(written, features=BINS)
    pd.testing.assert_frame_equal(again.frame, table.frame, check_exact=True)


def test_a_segment_without_a_mean_covers_nothing(tmp_path: Path) -> None:
    rows = "p\t1\t1\t5000000\t1\t1\np\t1\t5000001\t10000000\t1\tNA\n"
    table = read_table(put(tmp_path, HEADER + rows), features=BINS)
    assert table.frame.loc["p", BINS[0]] == 1.0
    assert "1 segments without a mean left out" in table.notes


def test_segments_without_a_space_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path, HEADER + ROWS)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value) == (
        f"{path} holds copy-number segments, which are read into the bins of a space; name a space "
        f"of the modality, or give a table of patients x bins"
    )


def test_a_space_without_bins_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, HEADER + ROWS)
    assert refusal(path, ["chr1:0-10Mb", "TP53"]) == (
        f"{path} holds copy-number segments, but the space has the feature 'TP53', which is no bin;"
        f" expected names like 'chr1:0-10Mb'"
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("\t1\t1\t2\t1\t0\n", "data row 7: the sample id is missing"),
        (
            "p\t1\tone\t2\t1\t0\n",
            "data row 7, column 'Start': 'one' should be a finite number (1 such cells)",
        ),
        (
            "p\t1\t1\t\t1\t0\n",
            "data row 7, column 'End': nan should be a finite number (1 such cells)",
        ),
        (
            "p\t1\t1\t2\t1\tinf\n",
            "data row 7, column 'Segment_Mean': 'inf' should be a finite number or empty "
            "(1 such cells)",
        ),
        (
            "p\t1\t9\t2\t1\t0\n",
            "data row 7: the segment ends at 2, before it starts at 9 (1 such rows)",
        ),
    ],
)
def test_bad_segments_are_refused_by_row(tmp_path: Path, row: str, message: str) -> None:
    path = put(tmp_path, HEADER + ROWS + row)
    assert refusal(path) == f"{path}, {message}"


def test_no_segment_at_all_is_a_modality_that_nobody_has(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, HEADER), features=BINS)
    assert table.frame.shape == (0, 4)
    assert table.notes[-1] == "no patient in the table; the modality counts as missing"


@pytest.mark.skipif(not TCGA.is_dir(), reason="the shared data are not here")
def test_real_segments_give_the_bins_of_the_real_table() -> None:
    real = pd.read_parquet(TCGA / "cna.parquet")
    table = read_table(TCGA / "raw" / "snp6_hg19.seg", features=list(real.columns))
    assert len(table.frame) == 40
    expected = real.loc[table.frame.index]
    np.testing.assert_allclose(table.frame.to_numpy(), expected.to_numpy(), atol=1e-3)
    assert any(note.startswith("dropped 51 normal samples") for note in table.notes)
