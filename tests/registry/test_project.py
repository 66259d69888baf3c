from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from codenoise.registry.authoring.project import (
    hub_license,
    model_card,
    space_requirements,
    write_project,
)
from codenoise.registry.contract.manifest import (
    ExpertManifest,
    SourceLicense,
    SpaceManifest,
)
from codenoise.registry.contract.manifest_file import read_manifest
from codenoise.registry.contract.plugin import Inventory, Plugin
from codenoise.registry.contract.sources import Folder, Package
from codenoise.registry.installed.discovery import discover

PLUGINS = Path(__file__).parents[2] / "plugins"
NOTHING = Inventory((), (), ())


@pytest.fixture
def expert() -> ExpertManifest:
    inner = PLUGINS / "codenoise-expert-cna-to-wsi" / "codenoise_expert_cna_to_wsi"
    return read_manifest(inner / "expert.json", ExpertManifest)


@pytest.fixture
def space() -> SpaceManifest:
    inner = PLUGINS / "codenoise-space-tcga-cna" / "codenoise_space_tcga_cna"
    return read_manifest(inner / "space.json", SpaceManifest)


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("MIT", "mit"),
        ("Apache-2.0", "apache-2.0"),
        ("CC0-1.0", "cc0-1.0"),
        ("CC-BY-NC-SA-4.0", "cc-by-nc-sa-4.0"),
        ("GPL-3.0-only", "gpl-3.0"),
        ("AGPL-3.0-or-later", "agpl-3.0"),
        ("GPL-3.0-only AND MIT", "other"),
        ("LicenseRef-Hospital", "other"),
    ],
)
def test_names_of_licences_on_the_hub(expression: str, name: str) -> None:
    assert hub_license(expression) == name


@pytest.mark.parametrize("words", ["Study: 'A' & \"B\"\n#2", "---\nx", "plain"])
def test_front_matter_is_yaml_whatever_the_cohort_is_called(
    expert: ExpertManifest, space: SpaceManifest, words: str
) -> None:
    for manifest in (expert, space):
        training = manifest.training.model_copy(update={"cohort": words})
        card = model_card(manifest.model_copy(update={"training": training}))
        front: dict[str, Any] = yaml.safe_load(card[4 : card.index("\n---\n", 4)])
        dataset = front["model-index"][0]["results"][0]["dataset"]
        assert dataset["name"] == words
        assert set(dataset["type"]) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")


def test_spaces_are_required_as_they_were_installed(
    expert: ExpertManifest, space: SpaceManifest
) -> None:
    package = Package(distribution="our-cna", version="3")
    folder = Folder(path="/srv/cna")
    by_convention = ["codenoise-space-tcga-cna==0.1.0", "codenoise-space-tcga-wsi==0.1.0"]
    assert space_requirements(expert, NOTHING) == by_convention

    def installed(*sources: Package | Folder) -> Inventory:
        plugin = Plugin(sources[0], Path("space.json"), space, sources[1:])
        return Inventory((), (plugin,), ())

    assert space_requirements(expert, installed(package)) == ["our-cna==3", by_convention[1]]
    assert space_requirements(expert, installed(folder, package)) == [
        "our-cna==3", by_convention[1],
    ]  # fmt: skip
    assert space_requirements(expert, installed(folder)) == [by_convention[1]]


def test_project_says_what_the_manifest_says(
    expert: ExpertManifest, space: SpaceManifest, tmp_path: Path
) -> None:
    for manifest, kind in ((expert, "expert"), (space, "space")):
        folder = tmp_path / kind
        folder.mkdir()
        write_project(folder, manifest, ["other==1"], "By hand.")
        text = (folder / "pyproject.toml").read_text()
        assert text.startswith("# By hand.\n")
        about = tomllib.loads(text)["project"]
        package = about["name"].replace("-", "_")
        assert about["name"] == f"codenoise-{kind}-{manifest.name}"
        assert (about["version"], about["license"]) == (manifest.version, manifest.license)
        assert about["license-files"] == ["LICENSE"]
        licence = (folder / "LICENSE").read_text()
        assert licence.splitlines()[:2] == [
            f"{about['name']} {manifest.version}", f"SPDX-License-Identifier: {manifest.license}",
        ]  # fmt: skip
        for source in manifest.source_licenses:
            assert f"({source.covers})\n  {source.license}, {source.url}\n" in licence
        assert about["dependencies"] == ["other==1"]
        assert about["entry-points"] == {
            f"codenoise.{kind}s": {manifest.name: f"{package}:{kind}.json"}
        }
        written = json.loads((folder / package / f"{kind}.json").read_text())
        assert written == manifest.model_dump(mode="json")
        assert (folder / package / "README.md").read_text() == model_card(manifest)
        assert (folder / package / "__init__.py").read_text() == ""


def test_licences_of_sources_are_said_in_the_licence_and_on_the_card(
    expert: ExpertManifest, space: SpaceManifest, tmp_path: Path
) -> None:
    sources = [
        SourceLicense(name="A table", license="MIT", url="https://a.org", covers="cna"),
        SourceLicense(name="Another", license="GPL-2.0-only"),
    ]
    for manifest in (expert, space):
        told = manifest.model_copy(update={"source_licenses": sources})
        plain = manifest.model_copy(update={"source_licenses": []})
        folder = tmp_path / manifest.name
        folder.mkdir()
        write_project(folder, told, [])
        licence = (folder / "LICENSE").read_text()
        assert "\n- A table (cna)\n  MIT, https://a.org\n- Another\n  GPL-2.0-only\n" in licence
        card = model_card(told)
        rows = "| A table, https://a.org | cna | MIT |\n| Another |  | GPL-2.0-only |\n"
        assert f"\n\n| source | covers | licence |\n|---|---|---|\n{rows}\n" in card
        assert card.replace("| source | covers | licence |\n|---|---|---|\n" + rows + "\n", "") == (
            model_card(plain)
        )
        write_project(folder, plain, [])
        licence = (folder / "LICENSE").read_text()
        assert all(f"\n- {source}\n" in licence for source in manifest.sources)


def test_cards_of_the_bundled_plugins_name_their_spaces(bank: Path) -> None:
    for plugin in discover().experts:
        card = model_card(plugin.manifest)
        for ref in (*plugin.manifest.condition, plugin.manifest.target):
            assert f"`{ref.name}@{ref.version}` ({ref.dim} dimensions)" in card
