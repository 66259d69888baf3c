from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXPERT = ROOT / "plugins" / "codenoise-expert-cna-to-wsi"
REPO = "some-lab/cna-to-wsi"
TOKEN = "hf_" + "a" * 34
Done = Callable[..., str]
NEW = ("experts", "new", "mine", "--condition", "cna", "--target", "wsi")
# The Hub's library calls its HTTP library in a way that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_new_says_what_was_written_and_what_is_next(bank: Path, tmp_path: Path, done: Done) -> None:
    out = done(*NEW, "--output", tmp_path)
    folder = tmp_path / "codenoise-expert-mine"
    assert out.startswith(f"written to {folder}\n")
    assert out.endswith(f"next: pip install {folder}, then see {folder / 'README.md'}\n")
    for file in folder.rglob("*"):
        if file.is_file():
            assert file.relative_to(folder).as_posix() in out


def test_new_goes_into_the_current_folder(
    bank: Path, tmp_path: Path, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = json.loads(done(*NEW, "--json"))
    assert told["folder"] == "codenoise-expert-mine"
    assert sorted(told["files"]) == told["files"]
    assert all((tmp_path / told["folder"] / file).is_file() for file in told["files"])


def test_new_expert_is_listed_once_it_is_added(
    bank: Path, hub: Any, tmp_path: Path, done: Done
) -> None:
    done(*NEW, "--output", tmp_path)
    done("experts", "add", tmp_path / "codenoise-expert-mine")
    rows = {row["expert"]: row for row in json.loads(done("experts", "list", "--json"))["experts"]}
    mine = rows["mine@0.1.0.dev0"]
    assert (mine["patients"], mine["validation R2"]) == (0, 0.0)
    recipe = json.loads(done("compose", "--expert", "mine", "--dry-run", "--json"))
    assert [row["expert"] for row in recipe["experts"]] == ["mine@0.1.0.dev0"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("Mine", "--condition", "cna", "--target", "wsi"), "name 'Mine' should be words"),
        (("m", "--condition", "cna", "--target", "wsl"), "no space of 'wsl' is installed"),
        (("m", "--condition", "cna", "--target", "cna"), "are both 'cna'"),
        (
            ("m", "--condition", "cna", "--target", "wsi", "--target-space", "x"),
            "space 'x' is not among those of 'wsi'",
        ),
        (("cna-to-wsi", "--condition", "cna", "--target", "wsi"), "is installed already"),
    ],
)
def test_new_refuses(
    bank: Path, tmp_path: Path, refused: Callable[..., str], words: tuple[str, ...], message: str
) -> None:
    assert message in refused("experts", "new", *words, "--output", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_new_refuses_a_folder_that_cannot_be_written(
    bank: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "file").touch()
    assert "cannot be written" in refused(*NEW, "--output", tmp_path / "file")


def test_package_says_what_it_made(bank: Path, tmp_path: Path, done: Done) -> None:
    out = done("experts", "package", EXPERT, "--output", tmp_path)
    wheel = tmp_path / "codenoise_expert_cna_to_wsi-0.1.0-py3-none-any.whl"
    assert out.startswith(f"written to {tmp_path}\n")
    assert "codenoise-space-tcga-cna==0.1.0, codenoise-space-tcga-wsi==0.1.0" in out
    assert out.endswith(f"next: pip install {wheel}\n")
    told = json.loads(
        done("experts", "package", EXPERT, "--output", tmp_path, "--overwrite", "--json")
    )
    assert told["path"] == str(wheel)
    assert told["bytes"] == wheel.stat().st_size


@pytest.mark.parametrize("name", ["nowhere", "pyproject.toml", "."])
def test_package_refuses_what_is_no_artifact(
    tmp_path: Path, refused: Callable[..., str], name: str
) -> None:
    (tmp_path / "pyproject.toml").touch()
    message = refused("experts", "package", tmp_path / name, "--output", tmp_path / "dist")
    assert "no folder" in message or "it holds neither" in message


def test_dry_run_shows_files_and_card_and_asks_nobody(bank: Path, hub: Any, done: Done) -> None:
    out = done("experts", "publish", EXPERT, REPO, "--dry-run")
    assert out.startswith(f"cna-to-wsi@0.1.0 would be uploaded to {REPO}:\n")
    assert "spaces/tcga-wsi/encoder.safetensors" in out
    assert "README.md:\n\n---\nlibrary_name: codenoise\n" in out
    told = json.loads(done("experts", "publish", EXPERT, REPO, "--dry-run", "--json"))
    assert [row["file"] for row in told["files"]][:2] == ["expert.json", "denoiser.safetensors"]
    assert told["card"] in out
    assert hub.log == []


def test_publish_then_pull(
    bank: Path, hub: Any, done: Done, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    ran = run("experts", "publish", EXPERT, REPO, "--private", "--message", "hello")
    assert (ran.code, ran.err) == (0, "")
    commit = hub.repositories[REPO].commit
    assert ran.out.startswith(f"cna-to-wsi@0.1.0: created at {hub.url}/{REPO}\n")
    assert ran.out.endswith(f"others get it with: codenoise pull {REPO}@{commit}\n")
    assert hub.messages == ["hello"]
    assert "cna-to-wsi@0.1.0" in done("pull", f"{REPO}@{commit}")
    hub.repositories[REPO].files["README.md"] = b"older"
    told = json.loads(done("experts", "publish", EXPERT, REPO, "--json"))
    assert (told["repo"], told["outcome"]) == (REPO, "updated")
    assert told["commit"] == hub.repositories[REPO].commit


def test_publish_says_how_to_log_in(bank: Path, hub: Any, refused: Callable[..., str]) -> None:
    assert refused("experts", "publish", EXPERT, REPO).startswith("nobody is logged in")


def test_publish_looks_at_the_name_first(refused: Callable[..., str]) -> None:
    message = refused("experts", "publish", "nowhere", "mine")
    assert message.startswith("'mine' should read like 'org/name'")


def test_publish_refuses_a_template(
    bank: Path, tmp_path: Path, done: Done, refused: Callable[..., str]
) -> None:
    done(*NEW, "--output", tmp_path)
    message = refused("experts", "publish", tmp_path / "codenoise-expert-mine", REPO, "--dry-run")
    assert message.startswith("mine@0.1.0.dev0 is a template still")


def test_publish_refuses_a_damaged_folder(
    bank: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(next(EXPERT.glob("*/expert.json")).parent, folder)
    (folder / "denoiser.safetensors").write_bytes(b"short")
    message = refused("experts", "publish", folder, REPO, "--dry-run")
    assert message.startswith(f"{folder / 'denoiser.safetensors'} has 5 bytes")
