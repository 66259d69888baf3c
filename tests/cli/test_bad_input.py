"""What users get wrong: one line on stderr that names the place and the mend, and exit 1."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga" / "cohort"
Refused = Callable[..., str]
Rows = list[list[str]]


@pytest.fixture
def impute(bank: Path, ensemble: Path, cohort: Path, refused: Refused) -> Callable[..., str]:
    """Why the spoilt cohort is refused; the output must not be there afterwards."""

    def apply(*words: object) -> str:
        output = cohort.parent / "out"
        message = refused("impute", cohort, "-e", ensemble, "-o", output, "--draws", 2, *words)
        assert not output.exists()
        return message

    return apply


def _change(path: Path, change: Callable[[Rows], object]) -> Rows:
    with path.open(newline="") as lines:
        rows = list(csv.reader(lines))
    change(rows)
    with path.open("w", newline="") as lines:
        csv.writer(lines, lineterminator="\n").writerows(rows)
    return rows


def _cell(row: int, column: int, value: str) -> Callable[[Rows], object]:
    return lambda rows: rows[row].__setitem__(column, value)


def test_unknown_modality(impute: Callable[..., str], cohort: Path) -> None:
    shutil.copy(cohort / "rppa.csv", cohort / "lipids.csv")
    message = impute()
    assert message.startswith("lipids.csv: 'lipids' is no modality of this ensemble")
    assert "cna, rna, rppa, wsi" in message
    assert "--modality" in message


def test_no_patient_in_common(impute: Callable[..., str], cohort: Path) -> None:
    def shorten(rows: Rows) -> None:
        for row in rows[1:]:
            row[0] = row[0].removeprefix("TCGA-")

    rows = _change(cohort / "rppa.csv", shorten)
    message = impute()
    assert "is in another table; ids must be written alike in all" in message
    assert f"rppa.csv: '{rows[1][0]}'" in message
    assert "cna.csv: 'TCGA-" in message


@pytest.mark.parametrize("words", [[], ["--dry-run"]], ids=["run", "dry-run"])
def test_features_of_another_space(
    impute: Callable[..., str], cohort: Path, words: list[str]
) -> None:
    def rename(rows: Rows) -> None:
        rows[0][1:] = [f"bin{i}" for i in range(len(rows[0]) - 1)]

    _change(cohort / "cna.csv", rename)
    message = impute(*words)
    assert "cna.csv lacks 283 of the 283 features of space tcga-cna@0.1.0" in message
    assert "'chr1:0-10Mb', 'chr1:10-20Mb', 'chr1:20-30Mb' and 280 more" in message


@pytest.mark.parametrize("words", [[], ["--dry-run"]], ids=["run", "dry-run"])
@pytest.mark.parametrize("gap", ["", "NA"])
def test_gap_in_a_modality_that_takes_none(
    impute: Callable[..., str], cohort: Path, gap: str, words: list[str]
) -> None:
    lines = (EXAMPLE / "rna.csv").read_text().splitlines(keepends=True)
    (cohort / "rna.csv").write_text("".join(lines[:6]))
    rows = _change(cohort / "rna.csv", _cell(3, 5, gap))
    message = impute(*words)
    assert f"rna.csv, patient '{rows[3][0]}': 1 of 1526 values are missing" in message
    assert f"('{rows[0][5]}')" in message
    assert "fill them, or leave the patient's row out" in message


def test_more_gaps_than_a_modality_takes(impute: Callable[..., str], cohort: Path) -> None:
    def blank(rows: Rows) -> None:
        rows[2][1:100] = [""] * 99

    rows = _change(cohort / "rppa.csv", blank)
    message = impute()
    assert f"rppa.csv, patient '{rows[2][0]}': 99 of 144 values are missing" in message
    assert "50%" in message


@pytest.mark.parametrize("value", ["high", "1,5", "<0.1", "--", "0x1F", "1 000"])
def test_text_in_a_table(impute: Callable[..., str], cohort: Path, value: str) -> None:
    rows = _change(cohort / "rppa.csv", _cell(4, 7, value))
    message = impute()
    assert message.startswith(f"{cohort / 'rppa.csv'}, patient '{rows[4][0]}', column ")
    assert f"'{rows[0][7]}'" in message
    assert f"'{value}' should be a number or empty" in message


@pytest.mark.parametrize("value", ["inf", "-inf", "Infinity", "1e999"])
def test_infinity_in_a_table(impute: Callable[..., str], cohort: Path, value: str) -> None:
    rows = _change(cohort / "cna.csv", _cell(1, 1, value))
    message = impute()
    assert f"cna.csv, patient '{rows[1][0]}', column 'chr1:0-10Mb'" in message
    assert f"'{value}' should be a finite number" in message


def test_duplicate_patient(impute: Callable[..., str], cohort: Path) -> None:
    rows = _change(cohort / "rppa.csv", lambda rows: rows.append(rows[1]))
    message = impute()
    assert f"{cohort / 'rppa.csv'}: 1 patient(s) stand more than once: '{rows[1][0]}'" in message
    assert "keep one of each" in message


def test_duplicate_feature(impute: Callable[..., str], cohort: Path) -> None:
    rows = _change(cohort / "cna.csv", lambda rows: rows[0].__setitem__(2, rows[0][1]))
    message = impute()
    assert f"cna.csv: 1 feature(s) stand more than once: '{rows[0][1]}'" in message
    assert "give --merge mean or --merge first (merge in a cohort's TOML)" in message


def test_missing_patient_id(impute: Callable[..., str], cohort: Path) -> None:
    _change(cohort / "cna.csv", _cell(3, 0, ""))
    assert "cna.csv, data row 3: the patient id is missing" in impute()


@pytest.mark.parametrize("row", [1, 3])
def test_row_with_too_many_cells(impute: Callable[..., str], cohort: Path, row: int) -> None:
    _change(cohort / "rppa.csv", lambda rows: rows[row].append("0.5"))
    assert str(cohort / "rppa.csv") in impute()


FILES = {
    "empty": (b"", "cannot be read as .csv"),
    "blank": (b"\n\n", "cannot be read as .csv"),
    "ids": (b"patient\nTCGA-1\n", "cannot tell patients from features"),
    "binary": (b"\x80\x81\xff\xfe\x00\x01\n\x93,\x00", "cannot be read as .csv"),
    "zip": (b"PK\x03\x04\x14\x00\x08\x08\xce\xfa\n,,\x00\x00\x97", "cannot be read as .csv"),
    "quote": (b'patient,a\n"TCGA-1,1\n', "cannot be read as .csv"),
}


@pytest.mark.parametrize("how", FILES)
def test_file_that_is_no_table(impute: Callable[..., str], cohort: Path, how: str) -> None:
    content, words = FILES[how]
    (cohort / "rna.csv").write_bytes(content)
    message = impute()
    assert message.startswith(str(cohort / "rna.csv"))
    assert words in message


@pytest.mark.parametrize("suffix", [".parquet", ".csv.gz"])
def test_garbage_in_other_formats(impute: Callable[..., str], cohort: Path, suffix: str) -> None:
    (cohort / f"rna{suffix}").write_bytes(b"\x80garbage")
    message = impute()
    assert message.startswith(f"{cohort / 'rna'}{suffix} cannot be read as {suffix}")


def test_two_tables_of_one_modality(impute: Callable[..., str], cohort: Path) -> None:
    shutil.copy(cohort / "cna.csv", cohort / "cna.tsv")
    assert "cna.csv and cna.tsv are both cna; keep one" in impute()


def test_folder_without_tables(impute: Callable[..., str], cohort: Path) -> None:
    for path in cohort.glob("*.csv"):
        path.unlink()
    assert impute() == f"{cohort} holds no table; expected e.g. rna.csv or rna.parquet"


def test_missing_cohort(impute: Callable[..., str], cohort: Path) -> None:
    shutil.rmtree(cohort)
    message = impute()
    assert message.startswith(f"cohort {cohort} is not a folder")
    assert "give a folder with one table" in message


def test_file_in_place_of_a_cohort(impute: Callable[..., str], cohort: Path) -> None:
    shutil.rmtree(cohort)
    cohort.write_text("patient,a\n")
    assert impute().startswith(f"cohort {cohort} is not a folder")


def test_table_that_is_not_there(impute: Callable[..., str], cohort: Path) -> None:
    message = impute("--modality", "mirna")
    assert message == f"{cohort} has no table for 'mirna'; expected e.g. mirna.csv"


def test_target_that_no_expert_generates(impute: Callable[..., str]) -> None:
    message = impute("--target", "lipids")
    assert "no expert that generates 'lipids'; it generates cna, rna, rppa, wsi" in message


def test_file_in_place_of_the_output(
    bank: Path, ensemble: Path, cohort: Path, refused: Refused
) -> None:
    output = cohort.parent / "out"
    output.write_text("precious")
    for words in ([], ["--overwrite"]):
        message = refused("impute", cohort, "-e", ensemble, "-o", output, *words)
        assert message == f"{output} is a file; give a folder"
    assert output.read_text() == "precious"


def test_output_below_a_file(bank: Path, ensemble: Path, cohort: Path, refused: Refused) -> None:
    below = cohort.parent / "file"
    below.write_text("x")
    assert str(below) in refused("impute", cohort, "-e", ensemble, "-o", below / "out")


@pytest.fixture
def with_own_bank(
    own_bank: Callable[[str], Path], ensemble: Path, cohort: Path, refused: Refused
) -> Callable[[], str]:
    """Why the example cohort is refused with the spoilt bank."""

    def apply() -> str:
        output = cohort.parent / "out"
        message = refused("impute", cohort, "-e", ensemble, "-o", output)
        assert not output.exists()
        return message

    return apply


def test_missing_weights(with_own_bank: Callable[[], str], own_bank: Callable[[str], Path]) -> None:
    path = own_bank("codenoise_expert_rna_to_rppa") / "denoiser.safetensors"
    path.unlink()
    message = with_own_bank()
    assert message.startswith(f"expert rna-to-rppa==0.1.0: {path} is missing")
    assert "pip install 'codenoise-expert-rna-to-rppa==0.1.0'" in message


@pytest.mark.parametrize("package", ["expert_rna_to_rppa", "space_tcga_rna"])
def test_corrupted_weights(
    with_own_bank: Callable[[], str], own_bank: Callable[[str], Path], package: str
) -> None:
    (path,) = own_bank(f"codenoise_{package}").glob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    message = with_own_bank()
    assert message == f"{path} differs from the checksum in its manifest; reinstall the package"


def test_truncated_weights(
    with_own_bank: Callable[[], str], own_bank: Callable[[str], Path]
) -> None:
    path = own_bank("codenoise_expert_rna_to_rppa") / "denoiser.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    message = with_own_bank()
    assert f"{path} has 1000 bytes, its manifest says " in message


def test_broken_space(with_own_bank: Callable[[], str], own_bank: Callable[[str], Path]) -> None:
    path = own_bank("codenoise_space_tcga_rna") / "space.json"
    path.write_text("{")
    message = with_own_bank()
    assert "needs its rna space tcga-rna@0.1.0" in message
    assert "space-tcga-rna" in message


def test_expert_that_is_not_installed(
    with_own_bank: Callable[[], str], own_bank: Callable[[str], Path]
) -> None:
    site = own_bank("codenoise_expert_rna_to_rppa").parent
    shutil.rmtree(site / "codenoise_expert_rna_to_rppa-0.1.0.dist-info")
    assert with_own_bank() == (
        "expert rna-to-rppa==0.1.0: not installed; "
        "pip install 'codenoise-expert-rna-to-rppa==0.1.0'"
    )


def test_experts_of_two_target_spaces(
    own_bank: Callable[[str], Path], tmp_path: Path, cohort: Path, refused: Refused
) -> None:
    path = own_bank("codenoise_expert_rna_to_rppa") / "expert.json"
    content = json.loads(path.read_text())
    content["target"] |= {"digest": f"sha256:{'0' * 64}", "version": "0.2.0"}
    path.write_text(json.dumps(content))
    names = ("cna-to-rppa", "rna-to-rppa")
    recipe = tmp_path / "ensemble.toml"
    recipe.write_text(
        'targets = ["rppa"]\n' + "".join(f'[[experts]]\nname = "{name}"\n' for name in names)
    )
    composing = ["compose", *(w for name in names for w in ("--expert", name))]
    for words in (
        [*composing, "-o", tmp_path / "other.toml"],
        ["impute", cohort, "-e", recipe, "-o", tmp_path / "out"],
    ):
        message = refused(*words)
        assert message.startswith(
            "cna-to-rppa@0.1.0 and rna-to-rppa@0.1.0 use different rppa spaces (sha256:"
        )
        assert "choose experts of one space" in message
    assert not (tmp_path / "other.toml").exists()
    assert not (tmp_path / "out").exists()


def test_missing_recipe(bank: Path, cohort: Path, tmp_path: Path, refused: Refused) -> None:
    message = refused("impute", cohort, "-e", tmp_path / "a.toml", "-o", tmp_path / "out")
    assert message == f"{tmp_path / 'a.toml'} is not there; make it with 'codenoise compose'"


RECIPES = {
    "no-toml": ("targets = [", "is no TOML file"),
    "empty": ("", "'targets' is missing"),
    "typo": (
        'targets = ["rppa"]\nweigthing = "uniform"\n[[experts]]\nname = "rna-to-rppa"\n',
        "'weigthing' is unknown; did you mean 'weighting'?",
    ),
    "weighting": (
        'targets = ["rppa"]\nweighting = "best"\n[[experts]]\nname = "rna-to-rppa"\n',
        "the recipe: field 'weighting': weighting 'best' is unknown; known: adaptive, fixed, "
        "inverse-mse, precision-gain, softmax-inverse-mse, stacked, uniform; install the plugin",
    ),
    "sampler": (
        'targets = ["rppa"]\n[sampler]\nname = "euler"\n[[experts]]\nname = "rna-to-rppa"\n',
        "the recipe: field 'sampler.name': sampler 'euler' is unknown; known: ddim, ddpm, "
        "dpm-solver++, heun; install the plugin that adds it",
    ),
    "unknown-expert": (
        'targets = ["rppa"]\n[[experts]]\nname = "lipids-to-rppa"\nversion = ">=1"\n',
        "expert lipids-to-rppa>=1: not installed; pip install 'codenoise-expert-lipids-to-rppa>=1'",
    ),
    "other-version": (
        'targets = ["rppa"]\n[[experts]]\nname = "rna-to-rppa"\nversion = ">=7"\n',
        "expert rna-to-rppa>=7: installed: 'rna-to-rppa@0.1.0'; pip install",
    ),
}


@pytest.mark.parametrize("how", RECIPES)
def test_recipe_that_cannot_be_used(
    bank: Path, cohort: Path, tmp_path: Path, refused: Refused, how: str
) -> None:
    content, words = RECIPES[how]
    (tmp_path / "a.toml").write_text(content)
    message = refused("impute", cohort, "-e", tmp_path / "a.toml", "-o", tmp_path / "out")
    assert words in message
    if how in {"no-toml", "empty", "typo"}:
        assert message.startswith(str(tmp_path / "a.toml"))


def test_split_with_unknown_labels(
    bank: Path, cohort: Path, tmp_path: Path, refused: Refused
) -> None:
    recipe, split = tmp_path / "ensemble.toml", tmp_path / "split.csv"
    recipe.write_text('targets = ["rppa"]\n[[experts]]\nname = "cna-to-rppa"\n')
    split.write_text("patient,split\nTCGA-05-4396,train\nTCGA-05-4397,holdout\n")
    message = refused(
        "evaluate", "weights", cohort, "-e", recipe, "--split", split, "-o", tmp_path / "out"
    )
    assert message == (
        f"{split}, patient 'TCGA-05-4397': 'holdout' is no split; "
        f"expected one of train, validation, test"
    )


def test_error_text_of_several_lines_is_shown_as_one(
    bank: Path, cohort: Path, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "a\nb.toml").write_text("[")
    message = refused("impute", cohort, "-e", tmp_path / "a\nb.toml", "-o", tmp_path / "out")
    assert "is no TOML file" in message
