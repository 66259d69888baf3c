"""``codenoise spaces encode`` and ``decode``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.loading import load_space

Done = Callable[..., str]
EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga" / "cohort"


@pytest.mark.parametrize("name", ["latents.parquet", "latents.csv.gz", "latents.tsv"])
def test_a_table_is_encoded_and_decoded(
    bank: Path, cohort: Path, tmp_path: Path, done: Done, name: str
) -> None:
    latents, features = tmp_path / name, tmp_path / f"cna_{name}"
    assert done("spaces", "encode", cohort, "--space", "tcga-cna", "-o", latents) == (
        f"45 patients written to {latents}\n"
    )
    said = json.loads(
        done("spaces", "decode", latents, "--space", "tcga-cna@0.1.0", "-o", features, "--json")
    )
    assert said == {"output": str(features), "space": "tcga-cna@0.1.0", "patients": 45}
    (plugin,) = (p for p in discover().spaces if p.manifest.name == "tcga-cna")
    space = load_space(plugin)
    real = pd.read_csv(cohort / "cna.csv", index_col=0)
    expected = space.decode(space.encode(real).to_numpy())
    found = read(features)
    assert list(found.index) == list(real.index)
    assert list(found.columns) == list(space.features)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path, index_col=0, sep="\t" if path.suffix == ".tsv" else ",")


def test_a_file_alone_will_do(bank: Path, cohort: Path, tmp_path: Path, done: Done) -> None:
    for source, name in ((cohort, "one"), (cohort / "rppa.csv", "two")):
        done("spaces", "encode", source, "--space", "tcga-rppa", "-o", tmp_path / f"{name}.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_features_as_rows_are_read_whole_and_it_is_said(
    bank: Path, cohort: Path, tmp_path: Path, run: Callable[..., Any], done: Done
) -> None:
    done("spaces", "encode", cohort, "--space", "tcga-cna", "-o", tmp_path / "one.csv")
    path = tmp_path / "turned.tsv"
    pd.read_csv(cohort / "cna.csv", index_col=0, dtype=str).T.to_csv(path, sep="\t")
    ran = run("spaces", "encode", path, "--space", "tcga-cna", "-o", tmp_path / "two.csv")
    assert ran.code == 0
    assert ran.err == (
        f"note: {path} has features as rows, each of which holds every patient, so it has to be "
        f"read whole\n"
    )
    one, two = (read(tmp_path / f"{name}.csv") for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two, check_names=False)


def test_what_reading_changed_is_noted(
    bank: Path, cohort: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    path = cohort / "cna.csv"
    lines = path.read_text().splitlines()
    normal = lines[1].replace(lines[1].split(",")[0], "TCGA-ZZ-0001-11A")
    path.write_text("\n".join([*lines, normal]) + "\n")
    ran = run("spaces", "encode", cohort, "--space", "tcga-cna", "-o", tmp_path / "latents.csv")
    assert ran.err == "note: dropped 1 normal sample ('TCGA-ZZ-0001-11A')\n"


def test_a_toml_says_how_its_table_is_read(
    bank: Path, cohort: Path, tmp_path: Path, done: Done
) -> None:
    frame = pd.read_csv(cohort / "cna.csv", index_col=0)
    frame.index = [f"{patient}-11A" for patient in frame.index]
    frame.to_csv(cohort / "cna.csv", index_label="id")
    (cohort / "cohort.toml").write_text('[tables]\ncna = { path = "cna.csv", samples = "normal" }')
    latents = tmp_path / "latents.csv"
    done("spaces", "encode", cohort / "cohort.toml", "--space", "tcga-cna", "-o", latents)
    assert len(read(latents)) == 45


def test_nothing_is_replaced_unasked(
    bank: Path, cohort: Path, tmp_path: Path, done: Done, refused: Done
) -> None:
    output = tmp_path / "latents.csv"
    output.write_text("precious")
    words = ["--space", "tcga-cna", "-o", output]
    for ask in (["encode", cohort], ["decode", tmp_path / "other.csv"]):
        assert refused("spaces", *ask, *words) == (
            f"{output} is already there; give another --output, or --overwrite"
        )
    assert output.read_text() == "precious"
    done("spaces", "encode", cohort, *words, "--overwrite")
    assert len(read(output)) == 45


@pytest.mark.parametrize(
    ("source", "space", "output", "message"),
    [
        ("cohort", "tcga-cma", "o.csv", "space 'tcga-cma' is not installed; installed: tcga-cna"),
        ("cohort", "tcga-wsi", "o.csv", "{cohort} has no table for 'wsi'; expected e.g. wsi.csv"),
        ("nowhere", "tcga-cna", "o.csv", "{nowhere} is not there"),
        ("cohort", "tcga-cna", "o.xlsx", "{o.xlsx} tells no format of a table; end its name in "),
        ("cohort/rppa.csv", "tcga-cna", "o.csv", "rppa.csv lacks 283 of the 283 features of space"),
    ],
)
def test_what_cannot_be_encoded_is_refused(
    bank: Path,
    cohort: Path,
    tmp_path: Path,
    refused: Done,
    source: str,
    space: str,
    output: str,
    message: str,
) -> None:
    said = refused("spaces", "encode", tmp_path / source, "--space", space, "-o", tmp_path / output)
    for name in ("cohort", "nowhere", "o.xlsx"):
        message = message.replace(f"{{{name}}}", str(tmp_path / name))
    assert said.startswith(message)
    assert not (tmp_path / output).exists()


def test_features_are_not_taken_for_latents(
    bank: Path, cohort: Path, tmp_path: Path, refused: Done
) -> None:
    path = cohort / "cna.csv"
    said = refused("spaces", "decode", path, "--space", "tcga-cna", "-o", tmp_path / "o.csv")
    assert said == (
        f"{path} holds no latents of space tcga-cna@0.1.0: 32 of 32 columns are missing, "
        f"'tcga-cna@0.1.0:0', 'tcga-cna@0.1.0:1', 'tcga-cna@0.1.0:2' and 29 more; give what "
        f"'codenoise spaces encode' wrote"
    )
    assert not (tmp_path / "o.csv").exists()
    assert refused("spaces", "decode", cohort, "--space", "tcga-cna", "-o", tmp_path / "o.csv") == (
        f"{cohort} is no file that 'codenoise spaces encode' wrote"
    )


def test_two_spaces_of_one_name_and_version_are_not_chosen_between(
    bank_site: Path,
    only_these: Callable[[Path], None],
    cohort: Path,
    tmp_path: Path,
    refused: Done,
) -> None:
    site = tmp_path / "site"
    shutil.copytree(bank_site, site, symlinks=True)
    only_these(site)
    package, twin = "codenoise_space_tcga_cna", "codenoise_space_twin"
    shutil.copytree(site / package, site / twin)
    content = json.loads((site / twin / "space.json").read_text())
    content["unit"] = "another"
    (site / twin / "space.json").write_text(json.dumps(content))
    info = site / f"{twin}-0.1.0.dist-info"
    shutil.copytree(site / f"{package}-0.1.0.dist-info", info)
    for file in info.iterdir():
        text = file.read_text().replace(package, twin).replace("codenoise-space-tcga-cna", "twin")
        file.write_text(text)
    said = refused("spaces", "encode", cohort, "--space", "tcga-cna", "-o", tmp_path / "o.csv")
    assert said.startswith("tcga-cna@0.1.0 is installed with different content by ")
    assert said.endswith("; remove one")
