"""One small input for each way a cohort goes wrong, and the exact words it is met with."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from codenoise.core.base.errors import CodenoiseError, DataError
from codenoise.core.cohort.cohort import read_cohort
from codenoise.core.spaces.fit import fit_space
from codenoise.core.spaces.space import Space

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "tcga" / "cohort"


def put(folder: Path, text: str, name: str = "rna.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_cohort(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rna(folder: Path, **options: Any) -> tuple[dict[str, list[float]], list[str]]:
    """Values by patient, and what was noted."""
    table = read_cohort(folder, **options).tables["rna"]
    return {
        i: list(row) for i, row in zip(table.frame.index, table.frame.to_numpy(), strict=True)
    }, [*table.notes]


# Which way round


def test_ambiguous_orientation(tmp_path: Path) -> None:
    path = put(tmp_path, "id,a,b\nc,1,2\nd,3,4\n")
    spaces = {"rna": ["x", "y", "z"]}
    assert refusal(tmp_path, features=spaces) == (
        f"{path}: cannot tell patients from features: 0 of 2 columns and 0 of 2 rows are among the "
        f"3 features of the space, and the ids do not tell either; give "
        f"`orientation='patients-as-rows'` or `orientation='features-as-rows'` (orientation in a "
        f"cohort's TOML)"
    )
    values, notes = rna(tmp_path, features=spaces, orientation="features-as-rows")
    assert values == {"a": [1, 3], "b": [2, 4]}
    assert "features as rows, as told" in notes


def test_an_orientation_that_the_format_does_not_have(tmp_path: Path) -> None:
    np.savez(tmp_path / "wsi.npz", features=np.ones((2, 3)), ids=["p", "q"])
    assert refusal(tmp_path, orientation="features-as-rows") == (
        f"{tmp_path / 'wsi.npz'}: this format has patients as rows; leave `orientation` out, or "
        f"say it in a cohort's TOML of the tables that have features as rows"
    )


# Which samples

MIXED = (
    "id,a\nTCGA-AA-0001-01A,1\nTCGA-AA-0001-06A,2\nTCGA-AA-0001-11A,3\n"
    "TCGA-AA-0002-06A,4\nTCGA-AA-0003-11A,5\n"
)


def test_primary_metastatic_and_normal_samples_mixed(tmp_path: Path) -> None:
    put(tmp_path, MIXED)
    values, notes = rna(tmp_path)
    assert values == {"TCGA-AA-0001": [1], "TCGA-AA-0002": [4]}
    assert notes[-3:] == [
        "dropped 2 normal samples ('TCGA-AA-0001-11A', 'TCGA-AA-0003-11A')",
        "dropped 1 further sample of patients who have one that comes first ('TCGA-AA-0001-06A')",
        "kept 1 metastatic sample of patients without a primary sample ('TCGA-AA-0002-06A')",
    ]


@pytest.mark.parametrize(
    ("samples", "expected", "note"),
    [
        (
            "primary",
            {"TCGA-AA-0001": [1]},
            "dropped 2 metastatic samples ('TCGA-AA-0001-06A', 'TCGA-AA-0002-06A')",
        ),
        (
            "metastatic",
            {"TCGA-AA-0001": [2], "TCGA-AA-0002": [4]},
            "dropped 1 primary sample ('TCGA-AA-0001-01A')",
        ),
        (
            "normal",
            {"TCGA-AA-0001": [3], "TCGA-AA-0003": [5]},
            "dropped 1 primary sample ('TCGA-AA-0001-01A')",
        ),
    ],
)
def test_one_kind_of_sample_alone(
    tmp_path: Path, samples: str, expected: dict[str, list[float]], note: str
) -> None:
    put(tmp_path, MIXED)
    values, notes = rna(tmp_path, samples=samples)
    assert values == expected
    assert note in notes


def test_no_sample_of_the_kind_that_is_asked_for(tmp_path: Path) -> None:
    path = put(tmp_path, "id,a\nTCGA-AA-0001-11A,1\nTCGA-AA-0002-06A,2\n")
    assert refusal(tmp_path, samples="primary") == (
        f"{path}: `samples='primary'` takes none of its 2 samples ('TCGA-AA-0001-11A', "
        f"'TCGA-AA-0002-06A'); found 1 normal, 1 metastatic; take them with `samples='tumour'` or "
        f"`samples='metastatic'` or `samples='normal'` (samples in a cohort's TOML)"
    )


def test_several_aliquots_of_a_sample(tmp_path: Path) -> None:
    first, second = "TCGA-AA-0001-01A-11R-A081-07", "TCGA-AA-0001-01A-11R-A082-07"
    path = put(tmp_path, f"id,a\n{second},2\n{first},1\n")
    values, notes = rna(tmp_path)
    assert values == {"TCGA-AA-0001": [1]}
    assert notes[-1] == (
        f"dropped 1 further sample of patients who have one that comes first ('{second}')"
    )
    put(tmp_path, f"id,a\n{first},2\n{first},1\n")
    assert refusal(tmp_path) == (
        f"{path}: 1 patient(s) stand more than once: '{first}'; keep one of each"
    )
    put(tmp_path, f"id,a\n{first},2\n{first.replace('-', '.')},1\n")
    assert refusal(tmp_path) == (
        f"{path}: 1 id(s) stand more than once: '{first}'; keep one row of each"
    )


# Which features


def test_duplicate_features(tmp_path: Path) -> None:
    path = put(tmp_path, "id,TP53,KRAS,TP53\np,1,2,3\n")
    mend = "keep one of each, or give `merge='mean'` or `merge='first'` (merge in a cohort's TOML)"
    assert refusal(tmp_path) == f"{path}: 1 feature(s) stand more than once: 'TP53'; {mend}"
    put(tmp_path, "id,ENSG00000000003.1,ENSG00000000003.2\np,1,3\n")
    assert refusal(tmp_path) == (
        f"{path}: 1 feature(s) stand more than once, Ensembl versions aside: 'ENSG00000000003' "
        f"(columns 'ENSG00000000003.1', 'ENSG00000000003.2'); {mend}"
    )
    assert rna(tmp_path, merge="mean")[0] == {"p": [2]}
    values, notes = rna(tmp_path, merge="first")
    assert values == {"p": [1]}
    assert notes[-1] == "1 column merged into others (first)"


def test_dates_that_excel_made_of_genes(tmp_path: Path) -> None:
    path = put(tmp_path, "id,1-Mar,Sep-02,TP53\np,1,2,3\n")
    assert refusal(tmp_path) == (
        f"{path}: 2 feature name(s) look like dates that Excel makes of gene symbols: '1-Mar', "
        f"'Sep-02', probably of 'MARCHF1/MARCH1 or MTARC1/MARC1', 'SEPTIN2/SEPT2'; put the symbols "
        f"back, from the data as they were before Excel"
    )


def test_genes_of_the_y_chromosome_are_not_their_twins_on_x(tmp_path: Path) -> None:
    put(tmp_path, "id,ENSG00000182378.15,ENSG00000182378.15_PAR_Y\np,1,2\n")
    values, notes = rna(tmp_path, features={"rna": ["ENSG00000182378", "ENSG00000182378_PAR_Y"]})
    assert values == {"p": [1, 2]}
    assert "2/2 features matched" in notes
    assert notes[-1] == (
        "2 columns matched without Ensembl version ('ENSG00000182378.15', "
        "'ENSG00000182378.15_PAR_Y')"
    )
    put(tmp_path, "id,ENSG00000182378.15_PAR_Y\np,2\n")
    _, notes = rna(tmp_path, features={"rna": ["ENSG00000182378"]}, orientation="patients-as-rows")
    assert notes[-1] == "0/1 features matched; missing: 'ENSG00000182378'"


def test_too_many_features_absent(tmp_path: Path) -> None:
    space = packaged("cna")
    frame = pd.read_csv(EXAMPLE / "cna.csv", index_col=0)
    frame.iloc[:, 40:].to_csv(tmp_path / "cna.csv")
    cohort = read_cohort(tmp_path, features={"cna": space.features})
    assert cohort.tables["cna"].changes[-1] == (
        "243/283 features matched; missing: 'chr1:0-10Mb', 'chr1:10-20Mb', 'chr1:20-30Mb' and 37 "
        "more"
    )
    with pytest.raises(CodenoiseError) as caught:
        space.encode(cohort.measured("cna"), "cna.csv")
    assert str(caught.value) == (
        "cna.csv lacks 40 of the 283 features of space tcga-cna@0.1.0, which takes 10%: "
        "'chr1:0-10Mb', 'chr1:10-20Mb', 'chr1:20-30Mb' and 37 more; use a table with the space's "
        "features"
    )


# Ids that R has changed


def test_barcodes_that_r_has_changed(tmp_path: Path) -> None:
    put(tmp_path, "id,a\nTCGA.AA.0001.01A.11R.A081.07,1\n")
    assert rna(tmp_path)[0] == {"TCGA-AA-0001": [1]}
    put(tmp_path, "id,a\nX7.b,1\nX12,2\n")
    put(tmp_path, "id,a\n7-b,1\n12,2\n", "cna.csv")
    values, notes = rna(tmp_path)
    assert values == {"7-b": [1], "12": [2]}
    assert notes[-1] == "undid R's changes to 2 labels ('X7.b', 'X12'): 'X7.b' is '7-b'"
    put(tmp_path, "id,a\nTCGA-AA-0001-01A.1,1\n")
    assert rna(tmp_path)[1][-1] == (
        "kept 1 id like a TCGA barcode that cannot be read as one ('TCGA-AA-0001-01A.1')"
    )


# Cells


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e400"])
def test_infinities(tmp_path: Path, cell: str) -> None:
    path = put(tmp_path, f"id,a,b\np,1,2\nq,3,{cell}\n")
    assert refusal(tmp_path) == (
        f"{path}, patient 'q', column 'b': {cell!r} should be a finite number (1 such cells)"
    )
    put(tmp_path, f"gene\tTCGA-AA-0001-01\ng1\t1\ng2\t{cell}\n", "cna.tsv")
    assert refusal(tmp_path, modalities=["cna"]) == (
        f"{tmp_path / 'cna.tsv'}, feature 'g2', column 'TCGA-AA-0001-01': {cell!r} should be a "
        f"finite number (1 such cells)"
    )


def test_a_modality_without_patients_or_values_counts_as_missing(tmp_path: Path) -> None:
    put(tmp_path, "id,a\n")
    put(tmp_path, "id,a\np,1\nq,2\n", "cna.csv")
    put(tmp_path, "id,a\np,NA\nq,\n", "rppa.csv")
    cohort = read_cohort(tmp_path)
    assert cohort.tables["rna"].changes == (
        "no patient in the table; the modality counts as missing",
    )
    assert cohort.tables["rppa"].changes == (
        "no value in the table; the modality counts as missing",
    )
    assert cohort.mask().to_dict("index") == {
        i: {"cna": True, "rna": False, "rppa": False} for i in ("p", "q")
    }


# Files

TEXT = b"id,a\np,1.5\n"


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("rna.csv", gzip.compress(TEXT, mtime=0), "gzip text, cells parted by commas"),
        ("rna.csv.gz", TEXT, "plain text, cells parted by commas"),
        ("rna.csv.gz", lzma.compress(TEXT), "xz text, cells parted by commas"),
        ("rna.tsv.xz", bz2.compress(TEXT), "bzip2 text, cells parted by commas"),
    ],
)
def test_compression_is_told_by_the_first_bytes(
    tmp_path: Path, name: str, content: bytes, note: str
) -> None:
    (tmp_path / name).write_bytes(content)
    values, notes = rna(tmp_path)
    assert values == {"p": [1.5]}
    assert notes[0] == note


def test_a_name_that_says_otherwise_is_noted_and_told_where_reading_fails(tmp_path: Path) -> None:
    (tmp_path / "rna.csv.gz").write_bytes(bz2.compress(TEXT))
    assert rna(tmp_path)[1][1] == "the name ends in .csv.gz, the content is that of .csv.bz2"
    (tmp_path / "rna.csv.gz").write_bytes(b"id,a\np\xe9,1\n")
    assert refusal(tmp_path) == (
        f"{tmp_path / 'rna.csv.gz'} cannot be read as .csv.gz: it is no gzip but plain, and then "
        f"'utf-8' codec can't decode byte 0xe9 in position 1: unexpected end of data"
    )


# Scales


def packaged(modality: str) -> Space:
    (path,) = (ROOT / "plugins").glob(f"codenoise-space-tcga-{modality}/*/space.json")
    about = json.loads(path.read_text())
    named = ("modality", "name", "version", "features", "preprocessing", "encoder", "unit",
             "max_missing_fraction", "max_absent_fraction")  # fmt: skip
    tensors = load_file(path.with_name("encoder.safetensors"))
    return Space.from_tensors(**{key: about[key] for key in named}, tensors=tensors)


def amounts(patients: int, seed: int) -> pd.DataFrame:
    """Counts of ten genes from some ten to some ten thousand."""
    rng = np.random.default_rng(seed)
    levels = np.linspace(4, 12, 10) + rng.normal(0, 1.2, (patients, 10))
    return pd.DataFrame(np.exp2(levels).round(), [f"p{i}" for i in range(patients)]).rename(
        columns="g{}".format
    )


def z_scores(table: pd.DataFrame) -> pd.DataFrame:
    return (table - table.mean()) / table.std()


def logs(table: pd.DataFrame) -> pd.DataFrame:
    return np.log2(table + 1)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("wanted", "given", "problem"),
    [
        pytest.param(
            logs,
            lambda t: t,
            "its median feature lies 375.0 standard deviations from the training mean; log2(x + 1) "
            "would fit",
            id="counts for logs",
        ),
        pytest.param(
            lambda t: t,
            logs,
            "its median feature spreads 0.0038 times as wide as in training; 2**x - 1 would fit",
            id="logs for counts",
        ),
        pytest.param(
            logs,
            lambda t: logs(logs(t)),
            "its median feature lies 4.5 standard deviations from the training mean; "
            "2**x - 1 would fit",
            id="already logged",
        ),
        pytest.param(
            z_scores,
            logs,
            "its median feature lies 8.3 standard deviations from the training mean; "
            "a z-score of each feature within the cohort would fit",
            id="logs for z-scores",
        ),
        pytest.param(
            logs,
            lambda t: z_scores(logs(t)),
            "its median feature lies 7.4 standard deviations from the training mean; "
            "no usual transform would fit",
            id="z-scores for logs",
        ),
        pytest.param(
            lambda t: z_scores(logs(t)),
            lambda t: t,
            "its median feature lies 407.3 standard deviations from the training mean; "
            "log2(x + 1) and then a z-score of each feature within the cohort would fit",
            id="counts for z-scores",
        ),
    ],
)
def test_another_scale_is_refused_with_the_transform_to_apply(
    wanted: Any, given: Any, problem: str
) -> None:
    space = fit_space(
        wanted(amounts(100, seed=0)), wanted(amounts(40, seed=1)), modality="rna", name="toy",
        version="1.0", dim=4, unit="told here", leave_out_outliers=False,
    ).space  # fmt: skip
    space.encode(wanted(amounts(40, seed=2)))
    with pytest.raises(DataError) as caught:
        space.encode(given(amounts(40, seed=2)), "rna.csv")
    assert str(caught.value) == (
        f"rna.csv is not on the scale of space toy@1.0 (told here): {problem}"
    )


def test_raw_values_for_a_bundled_space_are_refused_with_the_transform_to_apply() -> None:
    real = read_cohort(EXAMPLE, ["wsi"]).measured("wsi")
    with pytest.raises(DataError) as caught:
        packaged("wsi").encode(np.sign(real) * np.expm1(np.abs(real)), "wsi.csv")
    assert str(caught.value) == (
        "wsi.csv is not on the scale of space tcga-wsi@0.1.0 (human-interpretable H&E slide "
        "features, sign(x) * log1p(abs(x))): its median feature lies 27.8 standard deviations from "
        "the training mean; sign(x) * log(1 + abs(x)) would fit"
    )
