from __future__ import annotations

import json
import shutil
import tomllib
from itertools import permutations
from pathlib import Path

import pandas as pd
import pytest

from codenoise.core.cohort.cohort import read_cohort
from codenoise.core.cohort.splits import read_split
from codenoise.registry.authoring.bank import multis_of, pairs_of, train_bank
from codenoise.registry.authoring.bank_recipe import read_bank_recipe
from codenoise.registry.authoring.bank_spaces import origin_of
from codenoise.registry.authoring.project import project_folder, write_pyproject
from codenoise.registry.contract.folders import spaces_of
from codenoise.registry.contract.compatibility import findings
from codenoise.registry.installed.discovery import discover

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"
SPLIT = PLUGINS / "tcga_split.csv"
FULL = ROOT.parent / "shared" / "data" / "tcga"
FIRST = ("rna", "rppa", "cna", "wsi")


@pytest.mark.usefixtures("bank")
def test_every_bundled_plugin_is_sound() -> None:
    results = list(findings(discover(checksums=True)))
    assert [finding for finding in results if not finding.ok] == []


@pytest.mark.usefixtures("bank")
def test_every_ordered_pair_of_the_four_modalities_is_there() -> None:
    pairs = {
        (plugin.manifest.conditions, plugin.manifest.target.modality)
        for plugin in discover().experts
    }
    assert set(permutations(FIRST, 2)) <= pairs


@pytest.mark.usefixtures("bank")
def test_every_modality_has_a_multi_condition_expert_of_all_others() -> None:
    modalities = list(read_bank_recipe(PLUGINS / "tcga.toml").modalities)
    experts = [p.manifest for p in discover().experts if p.manifest.kind == "multi"]
    got = {(m.conditions, m.target.modality) for m in experts}
    assert got == {("+".join(used), target) for used, target in multis_of(modalities)}


@pytest.mark.usefixtures("bank")
def test_licences_are_those_of_the_sources() -> None:
    recipe = read_bank_recipe(PLUGINS / "tcga.toml")
    for plugin in discover().experts:
        refs = (*plugin.manifest.condition, plugin.manifest.target)
        ends = [ref.modality for ref in refs]
        for modality in ends:
            assert recipe.modalities[modality].license in plugin.manifest.license
        assert ("CC-BY-NC-SA-4.0" in plugin.manifest.license) == ("wsi" in ends)


@pytest.mark.usefixtures("bank")
def test_each_plugin_names_its_sources_and_their_licences(tmp_path: Path) -> None:
    recipe = read_bank_recipe(PLUGINS / "tcga.toml")
    for plugin in discover().plugins:
        manifest = plugin.manifest
        ends = [ref.modality for ref in spaces_of(manifest)] or [manifest.modality]
        origin = origin_of(recipe, ends, "", "")
        assert (origin.license, list(origin.sources)) == (manifest.license, manifest.sources)
        assert list(origin.source_licenses) == manifest.source_licenses
        assert [one.covers for one in origin.source_licenses] == ends
        assert " AND ".join(dict.fromkeys(s.license for s in origin.source_licenses)) == (
            manifest.license
        )
        project = project_folder(PLUGINS, plugin.kind, manifest.name)
        about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
        folder = tmp_path / project.name
        folder.mkdir()
        write_pyproject(folder, manifest, about["dependencies"])
        for file in ("LICENSE", "pyproject.toml"):
            assert (folder / file).read_text() == (project / file).read_text()


@pytest.mark.usefixtures("bank")
def test_cards_say_it_where_an_expert_knows_no_more_than_the_mean() -> None:
    for plugin in discover().experts:
        card = (plugin.folder / "README.md").read_text()
        useless = plugin.manifest.validation.r2_expectation <= 0
        assert ("no better than predicting the average patient" in card) == useless


def test_split_is_80_5_15_of_the_complete_and_example_patients_are_test_patients() -> None:
    split = read_split(SPLIT)
    assert (split == "test").sum() == 475
    for folder in ("cohort", "truth"):
        for path in (ROOT / "examples" / "tcga" / folder).glob("*.csv"):
            patients = pd.read_csv(path, usecols=["patient"]).patient
            assert (split[patients] == "test").all(), path


def test_example_truth_is_of_patients_whose_modality_the_cohort_lacks() -> None:
    cohort = read_cohort(ROOT / "examples" / "tcga" / "cohort")
    truth = read_cohort(ROOT / "examples" / "tcga" / "truth")
    for modality, table in truth.tables.items():
        assert not set(table.frame.index) & set(cohort.tables[modality].frame.index)
        assert set(table.frame.index) <= set(cohort.patients)
        assert list(table.frame.columns) == list(cohort.tables[modality].frame.columns)


@pytest.mark.slow
@pytest.mark.skipif(not FULL.is_dir(), reason="the full cohort is not here")
def test_bank_was_made_from_train_and_validation_patients_alone(tmp_path: Path) -> None:
    """Fingerprints hold digests of the data: recomputed without test patients they agree."""
    root = tmp_path / "plugins"
    shutil.copytree(PLUGINS, root)
    recipe, split = read_bank_recipe(PLUGINS / "tcga.toml"), read_split(SPLIT)
    cohort = read_cohort(FULL, list(recipe.modalities))
    cohort = cohort.subset(split.index[split != "test"])
    modalities = list(recipe.modalities)
    experts = [*pairs_of(modalities), *multis_of(modalities)]
    outcomes = train_bank(recipe, cohort, split, root, experts=experts)
    assert {outcome.status for outcome in outcomes} <= {"up to date", "too few patients"}


@pytest.mark.skipif(not FULL.is_dir(), reason="the full cohort is not here")
def test_test_patients_have_rna_rppa_and_cna() -> None:
    split = read_split(SPLIT)
    tests = set(split.index[split == "test"])
    for modality in ("rna", "rppa", "cna"):
        assert tests <= set(pd.read_parquet(FULL / f"{modality}.parquet", columns=[]).index)
    types = pd.read_parquet(FULL / "clinical.parquet").cancer_type
    share = types[list(tests)].value_counts() / len(tests)
    complete = set(split.index)
    for modality in ("rna", "rppa", "cna"):
        complete &= set(pd.read_parquet(FULL / f"{modality}.parquet", columns=[]).index)
    expected = types[list(complete)].value_counts() / len(complete)
    assert len(tests) / len(complete) == pytest.approx(0.15, abs=0.002)
    assert (share - expected).abs().max() < 0.003


def test_manifests_hold_no_path_of_the_machine_they_were_made_on() -> None:
    for path in PLUGINS.glob("*/*/*.json"):
        assert str(ROOT.parent) not in json.dumps(json.loads(path.read_text()))
