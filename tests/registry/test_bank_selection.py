"""A bank recipe that says which features of its training patients make a space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.tables import Table
from codenoise.registry.authoring.bank_recipe import BankRecipe, read_bank_recipe
from codenoise.registry.authoring.bank_spaces import Outcome, fit_spaces, training_parts
from codenoise.registry.authoring.project import manifest_path
from codenoise.registry.contract.manifest import (
    SpaceManifest,
)
from codenoise.registry.contract.manifest_file import read_manifest

RECIPE = """
cohort = "tiny"
version = "0.1.0"
authors = ["A. Author"]
citation = "none"

[modalities.counts]
space = "tiny-counts"
encoder = "pca"
unit = "reads"
license = "MIT"
sources = ["made up"]
dim = 4
preprocessing = [
    { kind = "expressed-features", options = { threshold = 1.0, share = 0.2 } },
    { kind = "cpm" },
    { kind = "log" },
    { kind = "outlier-samples" },
    { kind = "standardise" },
]

[modalities.other]
space = "tiny-other"
unit = "none"
license = "MIT"
sources = ["made up"]
"""
PATIENTS = [f"P{i:03d}" for i in range(150)]


@pytest.fixture
def recipe(tmp_path: Path) -> BankRecipe:
    (tmp_path / "bank.toml").write_text(RECIPE)
    return read_bank_recipe(tmp_path / "bank.toml")


@pytest.fixture
def split() -> pd.Series[str]:
    labels = ["train", "train", "train", "validation", "test"] * 30
    return pd.Series(labels, pd.Index(PATIENTS, name="patient"), name="split")


def reads() -> pd.DataFrame:
    """Twelve genes with reads in everyone, and three with a single read in every other patient."""
    rng = np.random.default_rng(0)
    share = np.exp(0.3 * rng.normal(size=(150, 12)))
    depth = rng.uniform(2e6, 3e6, size=(150, 1))
    table = np.hstack([rng.poisson(depth * share / share.sum(axis=1, keepdims=True)),
                       np.tile([[1, 0, 1], [0, 1, 0]], (75, 1))])  # fmt: skip
    return pd.DataFrame(table.astype(float), PATIENTS, [f"g{i}" for i in range(15)])


def fitted(
    recipe: BankRecipe, split: pd.Series[str], table: pd.DataFrame, root: Path
) -> tuple[SpaceManifest, list[Outcome]]:
    parts = training_parts(Cohort({"counts": Table(table, "counts.csv")}), split)
    outcomes: list[Outcome] = []
    fit_spaces(recipe, parts, root, ["counts"], outcomes.append)
    return read_manifest(manifest_path(root, "space", "tiny-counts"), SpaceManifest), outcomes


def test_the_manifest_holds_the_chosen_features_and_how_they_were_chosen(
    recipe: BankRecipe, split: pd.Series[str], tmp_path: Path
) -> None:
    manifest, outcomes = fitted(recipe, split, reads(), tmp_path / "plugins")
    assert outcomes[0].status == "trained"
    assert manifest.features == [f"g{i}" for i in range(12)]
    assert [(step.kind, step.options) for step in manifest.preprocessing][:2] == [
        ("expressed-features", {"threshold": 1.0, "share": 0.2}),
        ("cpm", {"library_size": pytest.approx(2.5e6, rel=0.1)}),
    ]
    assert manifest.preprocessing[3].options == {"cutoff": 3.0}


def test_test_patients_have_no_say_in_the_features(
    recipe: BankRecipe, split: pd.Series[str], tmp_path: Path
) -> None:
    table = reads()
    first, _ = fitted(recipe, split, table, tmp_path / "one")
    table.loc[split.index[split == "test"]] = 1e6
    second, _ = fitted(recipe, split, table, tmp_path / "two")
    assert second.digest == first.digest


def test_an_unknown_step_is_refused_with_those_there_are(
    recipe: BankRecipe, split: pd.Series[str], tmp_path: Path
) -> None:
    path = tmp_path / "bank.toml"
    path.write_text(RECIPE.replace("expressed-features", "expressed"))
    with pytest.raises(DataError) as caught:
        fitted(read_bank_recipe(path), split, reads(), tmp_path / "plugins")
    assert str(caught.value) == (
        "preprocessing step 'expressed' is unknown; known: counts-from-log2, cpm, log, copy-ratio, "
        "median-centre, fill-median, fill-knn, standardise, clip, expressed-features, "
        "covered-features, varying-features, outlier-samples"
    )
