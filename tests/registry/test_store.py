from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from codenoise.core.base.errors import ArtifactError, CodenoiseError
from codenoise.registry.contract.sources import Folder, HubRepository, Package
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.pull import add
from codenoise.registry.installed.store import home, install, items, remove

Put = Callable[..., Path]
PLUGINS = Path(__file__).parents[2] / "plugins"
EXPERT = "codenoise_expert_rna_to_rppa"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_these: Callable[..., None]) -> Path:
    """An empty store, and no package installed."""
    only_these(tmp_path / "no-site")
    monkeypatch.setenv("CODENOISE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path, put: Put) -> Path:
    """A folder with the files of ``rna-to-rppa``."""
    return put(tmp_path / "own", "expert-rna-to-rppa")


def _item() -> Path:
    (item,) = items()
    return item.folder


def test_the_store_is_where_the_environment_says(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home() == store
    monkeypatch.delenv("CODENOISE_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert home().name == "codenoise"


def test_an_empty_store_has_no_items(store: Path) -> None:
    assert items() == []
    assert not store.exists()


def test_what_is_added_is_found_with_its_source(folder: Path) -> None:
    (added,) = add(folder)
    assert (added.kind, added.reference, added.outcome) == (
        "expert", "rna-to-rppa@0.1.0", "installed",
    )  # fmt: skip
    (plugin,) = discover(checksums=True).experts
    assert plugin.source == Folder(path=str(folder))
    assert plugin.folder == _item()
    assert {path.name for path in plugin.folder.iterdir()} == {
        "expert.json", "denoiser.safetensors", "README.md", "origin.json",
    }  # fmt: skip


def test_the_store_lives_without_the_folder(folder: Path) -> None:
    add(folder)
    shutil.rmtree(folder)
    assert len(discover(checksums=True).experts) == 1


def test_adding_again_changes_nothing(folder: Path) -> None:
    add(folder)
    before = _item().stat().st_mtime_ns
    (again,) = add(folder)
    assert again.outcome == "already there"
    assert _item().stat().st_mtime_ns == before


def test_a_damaged_copy_is_replaced_by_adding_again(folder: Path) -> None:
    add(folder)
    (_item() / "denoiser.safetensors").write_bytes(b"")
    (_item() / "origin.json").unlink()
    (again,) = add(folder)
    assert again.outcome == "installed"
    assert not discover(checksums=True).broken


def test_another_content_of_the_same_folder_takes_the_place_of_the_older(
    folder: Path, edit: Callable[..., Path]
) -> None:
    add(folder)
    edit(folder / "expert.json", lambda content: content.update(citation="Newer."))
    (again,) = add(folder)
    assert again.outcome == "replaced"
    (plugin,) = discover(checksums=True).experts
    assert plugin.manifest.citation == "Newer."


def test_the_same_content_from_two_folders_counts_once_under_the_later(
    folder: Path, tmp_path: Path
) -> None:
    add(folder)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    assert [one.outcome for one in add(other)] == ["already there"]
    (plugin,) = discover(checksums=True).experts
    assert plugin.source == Folder(path=str(other))


def test_other_content_of_another_folder_stands_beside(
    folder: Path, tmp_path: Path, edit: Callable[..., Path]
) -> None:
    add(folder)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    edit(other / "expert.json", lambda content: content.update(citation="Another."))
    assert [one.outcome for one in add(other)] == ["installed"]
    assert {p.source.label for p in discover().experts} == {str(folder), str(other)}


def test_several_versions_stand_side_by_side(
    tmp_path: Path, put: Put, seal: Callable[..., None]
) -> None:
    for version in ("0.1.0", "0.2.0", "1.0"):
        folder = put(tmp_path / version, "expert-rna-to-rppa", version=version)
        seal(folder)
        add(folder)
    assert [plugin.reference for plugin in discover(checksums=True).experts] == [
        "rna-to-rppa@0.1.0", "rna-to-rppa@0.2.0", "rna-to-rppa@1.0",
    ]  # fmt: skip


def test_the_same_content_installed_by_pip_counts_once(
    folder: Path, site: Path, only_these: Callable[..., None]
) -> None:
    add(folder)
    only_these(site)
    (plugin,) = (p for p in discover().experts if p.manifest.name == "rna-to-rppa")
    assert plugin.source == Package(distribution="codenoise-expert-rna-to-rppa", version="0.1.0")
    assert plugin.also == (Folder(path=str(folder)),)


def test_a_path_of_distributions_leaves_the_store_aside(folder: Path, site: Path) -> None:
    add(folder)
    assert discover(path=[]).experts == ()


BREAKINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no-origin": (lambda f: (f / "origin.json").unlink(), "origin.json is missing; codenoise exp"),
    "origin-no-json": (lambda f: (f / "origin.json").write_text("{"), "origin.json: field 'manife"),
    "origin-unknown": (
        lambda f: (f / "origin.json").write_text('{"sha256": "x", "source": {"kind": "ftp"}}'),
        "origin.json: field 'sha256'",
    ),
    "no-manifest": (lambda f: (f / "expert.json").unlink(), "expert.json is missing"),
    "bad-manifest": (lambda f: (f / "expert.json").write_text("{"), "expert.json is no JSON file"),
    "edited-manifest": (
        lambda f: (f / "expert.json").write_text((f / "expert.json").read_text() + " "),
        "expert.json was changed in the store; codenoise experts add ",
    ),
    "no-weights": (lambda f: (f / "denoiser.safetensors").unlink(), "denoiser.safetensors is miss"),
    "short-weights": (
        lambda f: (f / "denoiser.safetensors").write_bytes(b"12345"),
        "has 5 bytes, its manifest says 592640: it is truncated; codenoise experts add ",
    ),
    "other-weights": (
        lambda f: (f / "denoiser.safetensors").write_bytes(b"\0" * 592640),
        "differs from the checksum in its manifest; codenoise experts add ",
    ),
    "folder-for-file": (
        lambda f: ((f / "origin.json").unlink(), (f / "origin.json").mkdir()),
        "origin.json is missing",
    ),
}


@pytest.mark.parametrize("how", BREAKINGS)
def test_a_broken_item_is_reported_and_breaks_no_other(folder: Path, how: str) -> None:
    add(PLUGINS / "codenoise-expert-cna-to-rna")
    add(PLUGINS / "codenoise-space-tcga-cna")
    add(folder)
    (broken_one,) = (item for item in items() if item.name == "rna-to-rppa")
    breaking, reason = BREAKINGS[how]
    breaking(broken_one.folder)
    inventory = discover(checksums=True)
    assert [plugin.reference for plugin in inventory.plugins] == [
        "cna-to-rna@0.1.0", "tcga-cna@0.1.0",
    ]  # fmt: skip
    (broken,) = inventory.broken
    assert (broken.entry, broken.where) == ("rna-to-rppa", str(broken_one.folder))
    assert reason in broken.reason
    known = "origin" not in how and how != "folder-for-file"
    assert broken.remedy == (
        f"codenoise experts add {folder}" if known
        else f"codenoise experts remove rna-to-rppa@{broken_one.folder.name}"
    )  # fmt: skip
    remove(broken_one)
    assert not discover().broken


def test_stray_files_of_the_store_are_no_items(store: Path, folder: Path) -> None:
    add(folder)
    (store / "experts" / "notes.txt").write_text("mine")
    (store / "experts" / "rna-to-rppa" / ".half").mkdir()
    (store / "experts" / "rna-to-rppa" / "notes.txt").write_text("mine")
    assert len(items()) == 1
    assert not discover().broken


def test_removed_items_leave_nothing(store: Path, folder: Path) -> None:
    add(folder)
    remove(items()[0])
    assert items() == []
    assert list((store / "experts").iterdir()) == []


def test_what_an_interrupted_removal_left_is_no_hindrance(store: Path, folder: Path) -> None:
    add(folder)
    (store / "experts" / "rna-to-rppa" / ".removed-x" / "old").mkdir(parents=True)
    assert len(items()) == 1
    remove(items()[0])
    assert items() == []
    add(folder)
    assert len(discover(checksums=True).experts) == 1


def test_items_are_meant_by_name_version_digest_and_source(folder: Path) -> None:
    add(folder)
    (item,) = items()
    for text in (
        "rna-to-rppa", "rna-to-rppa@0.1.0", f"rna-to-rppa@{item.folder.name}",
        f"{folder}:rna-to-rppa", f"{folder}:rna-to-rppa@0.1.0",
    ):  # fmt: skip
        assert item.matches(text)
    for text in ("rna", "rna-to-rppa@0.2", "elsewhere:rna-to-rppa", "", "rna-to-rppa@"):
        assert not item.matches(text)


def test_installing_at_the_same_time_installs_once(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = [one.outcome for (one,) in pool.map(add, [folder] * 8)]
    assert sorted(outcomes) == ["already there"] * 7 + ["installed"]
    assert not discover(checksums=True).broken


def test_a_file_that_changes_while_it_is_copied_is_refused(folder: Path, store: Path) -> None:
    from codenoise.registry.contract.folders import read_artifacts

    (artifact,) = read_artifacts(folder)
    (folder / "denoiser.safetensors").write_bytes(b"changed")
    with pytest.raises(ArtifactError, match="has 7 bytes"):
        install(artifact, Folder(path=str(folder)))
    assert items() == []
    assert not [path for path in (store / "experts").rglob("*") if path.is_file()]


def test_a_store_that_is_a_file_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CODENOISE_HOME", str(tmp_path / "file"))
    assert items() == []
    with pytest.raises(CodenoiseError) as caught:
        add(folder)
    assert str(caught.value) == (
        f"{tmp_path / 'file'} cannot be written: Not a directory; set CODENOISE_HOME to another "
        f"folder"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_may_not_be_written_is_refused(folder: Path, store: Path) -> None:
    store.mkdir()
    store.chmod(0o500)
    with pytest.raises(CodenoiseError, match="cannot be written: Permission denied"):
        add(folder)


def test_origin_says_commit_and_digest(folder: Path) -> None:
    from codenoise.registry.contract.folders import read_artifacts

    source = HubRepository(repo="lab/x", commit="a" * 40)
    install(read_artifacts(folder)[0], source)
    content = json.loads((_item() / "origin.json").read_text())
    assert content["source"] == {
        "kind": "hub", "repo": "lab/x", "commit": "a" * 40, "folder": "",
    }  # fmt: skip
    assert content["sha256"] == discover().experts[0].sha256
