from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Done = Callable[..., str]
Run = Callable[..., Any]
Refused = Callable[..., str]
PLUGINS = Path(__file__).parents[2] / "plugins"
PROJECT = PLUGINS / "codenoise-expert-rna-to-rppa"
PACKAGE = PROJECT / "codenoise_expert_rna_to_rppa"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of this test's own."""
    monkeypatch.setenv("CODENOISE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def nothing(tmp_path: Path, only_these: Callable[[Path], None]) -> None:
    """No package is installed."""
    only_these(tmp_path / "no-site")


def _sources(done: Done) -> list[str]:
    return [row["source"] for row in json.loads(done("experts", "list", "--json"))["experts"]]


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize("folder", [PROJECT, PACKAGE])
def test_add_takes_a_project_or_its_package(done: Done, folder: Path) -> None:
    text = done("experts", "add", folder)
    assert text.splitlines()[-1].split() == ["expert", "rna-to-rppa@0.1.0", "installed"]
    assert _sources(done) == [str(PACKAGE)]


@pytest.mark.usefixtures("nothing")
def test_add_as_json(done: Done) -> None:
    assert json.loads(done("experts", "add", PROJECT, "--json")) == [
        {"kind": "expert", "reference": "rna-to-rppa@0.1.0", "outcome": "installed"}
    ]


@pytest.mark.usefixtures("nothing")
def test_add_takes_spaces_and_says_what_an_expert_still_lacks(run: Run) -> None:
    ran = run("experts", "add", PROJECT)
    assert ran.code == 0
    assert ran.err.startswith("note: rna-to-rppa@0.1.0 needs its rna space tcga-rna@0.1.0 (sha256:")
    assert ran.err.endswith(
        "), which is not installed; pip install 'codenoise-space-tcga-rna==0.1.0'\n"
    )
    assert run("experts", "add", PLUGINS / "codenoise-space-tcga-rppa").err == ""
    run("experts", "add", PLUGINS / "codenoise-space-tcga-rna")
    assert run("experts", "check").code == 0


def test_add_warns_of_a_name_like_another(bank: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "theirs"
    shutil.copytree(PLUGINS / "codenoise-space-tcga-rppa" / "codenoise_space_tcga_rppa", folder)
    content = json.loads((folder / "space.json").read_text())
    (folder / "space.json").write_text(json.dumps(content | {"name": "tcga-rpqa"}))
    ran = run("experts", "add", folder)
    assert ran.err == (
        f"warning: tcga-rpqa@0.1.0 from {folder} has a name much like that of tcga-rppa from "
        f"codenoise-space-tcga-rppa; make sure that it is the one you mean, or "
        f"'codenoise experts remove tcga-rpqa'\n"
    )


def test_add_of_what_is_no_expert_is_refused(tmp_path: Path, refused: Refused, store: Path) -> None:
    assert "it holds neither" in refused("experts", "add", tmp_path)
    assert refused("experts", "add", tmp_path / "none").endswith("give one with an expert.json")
    assert not store.exists()


@pytest.mark.usefixtures("nothing")
def test_remove_asks_first(run: Run, done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    done("experts", "add", PROJECT)
    for answer, code in (("n", 1), ("", 1)):
        monkeypatch.setattr("click.termui.visible_prompt_func", lambda _, a=answer: a)
        ran = run("experts", "remove", "rna-to-rppa")
        assert ran.code == code
        assert ran.out == ""
        assert len(_sources(done)) == 1
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "y")
    assert done("experts", "remove", "rna-to-rppa") == "removed rna-to-rppa@0.1.0\n"
    assert _sources(done) == []


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize("name", ["rna-to-rppa", "rna-to-rppa@0.1.0", f"{PACKAGE}:rna-to-rppa"])
def test_remove_by_name_version_or_source(done: Done, name: str, store: Path) -> None:
    done("experts", "add", PROJECT)
    content = json.loads(done("experts", "remove", name, "--yes", "--json"))
    assert content["removed"] == "rna-to-rppa@0.1.0"
    assert not Path(content["folder"]).exists()


@pytest.mark.usefixtures("nothing")
def test_remove_of_a_space_names_the_experts_that_need_it(run: Run, done: Done) -> None:
    done("experts", "add", PROJECT)
    done("experts", "add", PLUGINS / "codenoise-space-tcga-rna")
    ran = run("experts", "remove", "tcga-rna", "--yes")
    assert ran.code == 0
    assert ran.err == "note: 'rna-to-rppa@0.1.0' cannot be used without tcga-rna@0.1.0\n"


@pytest.mark.usefixtures("nothing")
def test_remove_of_one_of_two_asks_which(done: Done, refused: Refused, tmp_path: Path) -> None:
    done("experts", "add", PROJECT)
    other = tmp_path / "other"
    shutil.copytree(PACKAGE, other)
    content = json.loads((other / "expert.json").read_text())
    (other / "expert.json").write_text(json.dumps(content | {"citation": "Another."}))
    done("experts", "add", other)
    message = refused("experts", "remove", "rna-to-rppa", "--yes")
    assert message.startswith("'rna-to-rppa' may be any of 'rna-to-rppa@0.1.0-")
    assert message.endswith("; say which")
    done("experts", "remove", f"{other}:rna-to-rppa", "--yes")
    assert _sources(done) == [str(PACKAGE)]


def test_remove_leaves_packages_to_pip(bank: Path, refused: Refused) -> None:
    assert refused("experts", "remove", "rna-to-rppa", "--yes") == (
        "rna-to-rppa was installed by pip; run: pip uninstall codenoise-expert-rna-to-rppa"
    )


@pytest.mark.parametrize("name", ["nothing", "../../etc", "", "a:b", "rna-to-rppa@9"])
def test_remove_of_what_is_not_there(bank: Path, refused: Refused, name: str) -> None:
    assert refused("experts", "remove", name, "--yes") == (
        f"{name!r} is not in the local store; see 'codenoise experts list'"
    )


@pytest.mark.usefixtures("nothing")
def test_remove_takes_a_damaged_item(done: Done, run: Run, store: Path) -> None:
    done("experts", "add", PROJECT)
    (folder,) = (store / "experts" / "rna-to-rppa").iterdir()
    (folder / "origin.json").write_text("{")
    (broken,) = json.loads(run("experts", "list", "--json").out)["broken"]
    assert broken["remedy"] == f"codenoise experts remove rna-to-rppa@{folder.name}"
    done(*broken["remedy"].split()[1:], "--yes")
    assert json.loads(run("experts", "list", "--json").out)["broken"] == []


def test_an_export_brings_everything_back(
    bank: Path, tmp_path: Path, done: Done, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "own"
    shutil.copytree(PACKAGE, other)
    content = json.loads((other / "expert.json").read_text())
    (other / "expert.json").write_text(json.dumps(content | {"citation": "Own."}))
    done("experts", "add", other)
    path = tmp_path / "installed.lock"
    number = len(json.loads(done("experts", "list", "--json"))["experts"])
    assert done("experts", "export", "-o", path).startswith(f"{number} experts and ")
    assert done("pull", "--from", path) == f"everything that {path} pins is installed\n"
    monkeypatch.setenv("CODENOISE_HOME", str(tmp_path / "elsewhere"))
    shown = done("pull", "--from", path, "--dry-run").splitlines()
    assert shown[0] == f"would be brought as {path} says"
    assert shown[-1].split() == ["rna-to-rppa@0.1.0", str(other)]
    done("pull", "--from", path)
    assert str(other) in _sources(done)


def test_an_export_names_what_pip_has_to_install(
    bank: Path, tmp_path: Path, done: Done, run: Run, only_these: Callable[[Path], None]
) -> None:
    path = tmp_path / "installed.lock"
    done("experts", "export", "-o", path)
    only_these(tmp_path)
    ran = run("pull", "--from", path)
    assert ran.code == 1
    assert ran.err.startswith("left to pip; run: pip install codenoise-space-tcga-cna==0.1.0 ")
    assert "codenoise-expert-wsi-to-rppa==0.1.0" in ran.err
    ran = run("pull", "--from", path, "--json")
    assert ran.code == 1
    content = json.loads(ran.out)
    assert content["installed"] == []
    assert content["left to pip"][0]["distribution"] == "codenoise-space-tcga-cna"


def test_an_export_that_is_there_is_kept(
    bank: Path, tmp_path: Path, done: Done, refused: Refused
) -> None:
    path = tmp_path / "installed.lock"
    path.write_text("precious")
    assert refused("experts", "export", "-o", path) == (
        f"{path} is already there; give another --output, or --overwrite"
    )
    content = json.loads(done("experts", "export", "-o", path, "--overwrite", "--json"))
    assert {pin["name"] for pin in content["experts"]} >= {"rna-to-rppa", "cna-to-rna"}
