from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codenoise.core.base.errors import ArtifactError
from codenoise.registry.contract.artifacts import file_entry
from codenoise.registry.contract.folders import read_artifacts

Edit = Callable[..., Path]
Put = Callable[..., Path]
PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture
def folder(tmp_path: Path, put: Put) -> Path:
    """``cna-to-wsi`` with the two spaces it names, as in a repository of the Hub."""
    expert = put(tmp_path / "own", "expert-cna-to-wsi")
    for name in ("tcga-cna", "tcga-wsi"):
        package = f"codenoise_space_{name.replace('-', '_')}"
        shutil.copytree(PLUGINS / f"codenoise-space-{name}" / package, expert / "spaces" / name)
    return expert


def _refused(folder: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        read_artifacts(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_spaces_come_before_the_expert_that_needs_them(folder: Path) -> None:
    assert [(one.kind, one.manifest.reference) for one in read_artifacts(folder)] == [
        ("space", "tcga-cna@0.1.0"), ("space", "tcga-wsi@0.1.0"), ("expert", "cna-to-wsi@0.1.0"),
    ]  # fmt: skip


@pytest.mark.parametrize("project", ["codenoise-expert-cna-to-wsi", "codenoise-space-tcga-wsi"])
def test_a_project_and_its_package_are_read_alike(project: str) -> None:
    package = PLUGINS / project / project.replace("-", "_")
    assert read_artifacts(PLUGINS / project) == read_artifacts(package)


def test_spaces_that_the_expert_does_not_name_are_left(folder: Path) -> None:
    (folder / "spaces" / "other").mkdir()
    (folder / "spaces" / "other" / "space.json").write_text("nonsense")
    assert len(read_artifacts(folder)) == 3


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert _refused(tmp_path / "no") == (
        f"{tmp_path / 'no'} is no folder; give one with an expert.json"
    )


def test_a_file_is_refused(folder: Path) -> None:
    assert "is no folder" in _refused(folder / "expert.json")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert _refused(tmp_path) == (
        f"{tmp_path} should hold one expert.json or space.json, or be the project of a plugin; "
        f"it holds neither"
    )


def test_two_manifests_are_refused(folder: Path) -> None:
    shutil.copy(folder / "spaces" / "tcga-cna" / "space.json", folder)
    assert "it holds expert.json, space.json" in _refused(folder)


def test_a_manifest_of_the_other_kind_is_refused(folder: Path) -> None:
    shutil.copy(folder / "spaces" / "tcga-cna" / "space.json", folder / "expert.json")
    assert f"{folder / 'expert.json'}: field " in _refused(folder)


def test_an_endless_manifest_is_refused_unread(folder: Path) -> None:
    with (folder / "expert.json").open("wb") as opened:
        opened.truncate(10**12)
    assert _refused(folder) == (
        f"{folder / 'expert.json'} has over 16000000 bytes; give a folder that is whole, or tell "
        f"its author"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("dim", 31), ("version", "0.2.0"), ("name", "tcga-other"), ("modality", "cnb")],
)
def test_a_space_that_is_not_the_one_the_expert_names_is_refused_by_field(
    folder: Path, edit: Edit, field: str, value: Any
) -> None:
    file = edit(
        folder / "spaces" / "tcga-cna" / "space.json",
        lambda content: content.update({field: value}),
    )
    has = {"name": "tcga-cna", "modality": "cna", "version": "0.1.0", "dim": 32}[field]
    assert _refused(folder) == (
        f"{file}: field {field!r} is {value!r}, its expert needs {has!r}; "
        f"give a folder that is whole, or tell its author"
    )


def test_a_space_of_other_content_is_refused(folder: Path, edit: Edit) -> None:
    edit(
        folder / "spaces" / "tcga-cna" / "space.json",
        lambda content: content.update(digest=f"sha256:{'0' * 64}"),
    )
    assert "was not made for tcga-cna@0.1.0" in _refused(folder)


def test_weights_of_another_expert_are_refused(
    folder: Path, edit: Edit, put: Put, tmp_path: Path
) -> None:
    other = put(tmp_path / "other", "expert-rna-to-rppa")
    weights = folder / "denoiser.safetensors"
    shutil.copy(other / "denoiser.safetensors", weights)
    entry = file_entry(weights).model_dump()
    edit(folder / "expert.json", lambda content: content["files"].update({weights.name: entry}))
    assert _refused(folder) == (
        f"{weights} was not made for cna-to-wsi@0.1.0: the identity in its metadata is another "
        f"than by the manifest's fields name, version, kind, condition, target, architecture, "
        f"prediction, schedule; give a folder that is whole, or tell its author"
    )


def test_a_clone_without_its_large_files_is_named(folder: Path) -> None:
    (folder / "denoiser.safetensors").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 592640\n"
    )
    assert "it is a Git LFS pointer in place of the file" in _refused(folder)
