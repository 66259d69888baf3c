from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Done = Callable[..., str]
Run = Callable[..., Any]
Refused = Callable[..., str]
REPO = "some-lab/cna-to-wsi"
COMMIT = "c0ffee" + 34 * "0"


@pytest.fixture(autouse=True)
def published(
    hub: Any,
    repository: Callable[..., Any],
    tmp_path: Path,
    only_these: Callable[[Path], None],
) -> Any:
    """One repository on the Hub, and no package installed."""
    only_these(tmp_path / "no-site")
    hub.repositories[REPO] = repository()
    return hub.repositories[REPO]


def test_pull_says_what_came_and_from_which_commit(done: Done) -> None:
    assert done("pull", REPO).splitlines() == [
        f"{REPO} at commit {COMMIT}",
        " kind     name               outcome",
        " ─────────────────────────────────────",
        " space    tcga-cna@0.1.0     installed",
        " space    tcga-wsi@0.1.0     installed",
        " expert   cna-to-wsi@0.1.0   installed",
    ]


def test_pull_as_json(done: Done) -> None:
    (content,) = json.loads(done("pull", REPO, "--json"))
    assert (content["repository"], content["commit"]) == (REPO, COMMIT)
    assert content["files"]["denoiser.safetensors"] == 592640
    assert [one["outcome"] for one in content["installed"]] == ["installed"] * 3
    (again,) = json.loads(done("pull", REPO, "--json"))
    assert again["files"] == {}
    assert [one["outcome"] for one in again["installed"]] == ["already there"] * 3


def test_dry_run_lists_files_and_sizes(done: Done, published: Any) -> None:
    lines = done("pull", f"{REPO}@main", "--dry-run").splitlines()
    total = sum(map(len, published.files.values()))
    assert lines[0] == f"would fetch {total} bytes from {REPO} at commit {COMMIT}"
    assert {line.split()[0]: int(line.split()[1]) for line in lines[3:]} == {
        path: len(content) for path, content in published.files.items()
    }
    assert json.loads(done("experts", "list", "--json"))["experts"] == []


def test_several_repositories_at_once(done: Done, hub: Any, repository: Callable[..., Any]) -> None:
    hub.repositories["some-lab/rna-to-cna"] = repository("rna-to-cna", spaces=False)
    content = json.loads(done("pull", REPO, "some-lab/rna-to-cna", "--json"))
    assert [one["repository"] for one in content] == [REPO, "some-lab/rna-to-cna"]


def test_pull_of_what_is_not_there_is_one_line(refused: Refused) -> None:
    assert refused("pull", "some-lab/nothing").startswith("some-lab/nothing was not found")
    assert refused("pull", "nonsense").startswith("'nonsense' should read like 'org/name'")
    assert "should read like" in refused("pull", "some-lab/x@\x1b[2J")


def test_pull_warns_of_a_name_like_another(
    run: Run, hub: Any, repository: Callable[..., Any], bank: Path
) -> None:
    content = repository()
    manifest = json.loads(content.files["spaces/tcga-cna/space.json"])
    content.files = {
        "space.json": json.dumps(manifest | {"name": "tcga-cma"}).encode(),
        "encoder.safetensors": content.files["spaces/tcga-cna/encoder.safetensors"],
    }
    hub.repositories["other-lab/tcga-cma"] = content
    ran = run("pull", "other-lab/tcga-cma")
    assert ran.code == 0
    assert ran.err.startswith(
        "warning: tcga-cma@0.1.0 from other-lab/tcga-cma@c0ffee000000 has a name much like that of "
        "tcga-cna from codenoise-space-tcga-cna; "
    )


@pytest.mark.parametrize("words", [[], [REPO, "--from", "a.lock"]])
def test_pull_needs_a_repository_or_a_file(run: Run, words: list[str]) -> None:
    ran = run("pull", *words)
    assert ran.code == 2
    assert "give ORG/NAME of one or more repositories, or --from FILE" in ran.err


def test_pull_from_a_file_that_is_none(refused: Refused, tmp_path: Path) -> None:
    assert "is not there; make it with 'codenoise lock'" in refused(
        "pull", "--from", tmp_path / "a.lock"
    )


def test_what_the_hub_has_is_found_by_search(done: Done) -> None:
    lines = done("experts", "search", "cna", "--hub").splitlines()
    assert lines[0] == "on the Hub; install one with 'codenoise pull REPOSITORY'"
    assert lines[-1].split() == [REPO]
    assert json.loads(done("experts", "search", "cna", "--hub", "--json")) == [
        {"repository": REPO, "tags": ""}
    ]
    assert done("experts", "search", "--hub", "--target", "rppa") == "nothing on the Hub matches\n"


def test_a_lock_of_a_hub_expert_comes_back_elsewhere(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done("pull", REPO)
    recipe = tmp_path / "ensemble.toml"
    done("compose", "-o", recipe)
    done("lock", recipe)
    monkeypatch.setenv("CODENOISE_HOME", str(tmp_path / "elsewhere"))
    done("pull", "--from", recipe.with_suffix(".lock"))
    content = json.loads(done("lock", recipe, "--overwrite", "--json"))
    assert [pin["source"]["commit"] for pin in content["experts"]] == [COMMIT]
    assert [pin["source"]["folder"] for pin in content["spaces"]] == [
        "spaces/tcga-cna", "spaces/tcga-wsi",
    ]  # fmt: skip
