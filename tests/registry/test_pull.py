from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codenoise.core.base.errors import ArtifactError
from codenoise.registry.contract.artifacts import file_entry
from codenoise.registry.contract.lock import lock_of, write_lock
from codenoise.registry.contract.sources import Folder, HubRepository
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.loading import load_expert, load_space
from codenoise.registry.installed.pull import Pulled, add, missing, pull, restore
from codenoise.registry.installed.store import items, remove

REPO = "some-lab/cna-to-wsi"
COMMIT = "c0ffee" + 34 * "0"
WEIGHTS = "denoiser.safetensors"
PLUGINS = Path(__file__).parents[2] / "plugins"
Make = Callable[..., Any]


@pytest.fixture
def published(hub: Any, repository: Make, tmp_path: Path, only_these: Callable[..., None]) -> Any:
    """The repository of an expert and its two spaces; nothing else is installed anywhere."""
    only_these(tmp_path / "no-site")
    hub.repositories[REPO] = repository()
    return hub.repositories[REPO]


def _kept() -> list[str]:
    """Every file below the store's folder but the locks."""
    home = Path(os.environ["CODENOISE_HOME"])
    found = (path.relative_to(home) for path in home.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if path.parts[0] != ".locks")


def _refused(reference: str = REPO) -> str:
    with pytest.raises(ArtifactError) as caught:
        pull(reference)
    assert _kept() == []
    message = str(caught.value)
    assert "\n" not in message
    assert "/.pull-" not in message
    return message


def test_an_expert_comes_with_its_spaces_and_works(published: Any) -> None:
    pulled = pull(REPO)
    assert pulled.source == HubRepository(repo=REPO, commit=COMMIT)
    assert [(one.kind, one.reference, one.outcome) for one in pulled.installed] == [
        ("space", "tcga-cna@0.1.0", "installed"),
        ("space", "tcga-wsi@0.1.0", "installed"),
        ("expert", "cna-to-wsi@0.1.0", "installed"),
    ]
    inventory = discover(checksums=True)
    assert not inventory.broken
    assert {space.source.folder for space in inventory.spaces} == {
        "spaces/tcga-cna", "spaces/tcga-wsi",
    }  # fmt: skip
    (expert,) = inventory.experts
    assert expert.source == pulled.source
    assert load_expert(expert).target_space == expert.manifest.target.digest
    for space in inventory.spaces:
        assert load_space(space).digest == space.manifest.digest


def test_the_same_files_as_in_the_repository_are_kept_and_no_others(
    published: Any, hub: Any
) -> None:
    published.files |= {
        "setup.py": b"raise SystemExit", "pytorch_model.bin": b"\x80\x04", "notes.json": b"{}",
        "spaces/other/space.json": b"{}", "more.safetensors": b"", ".gitattributes": b"",
    }  # fmt: skip
    pulled = pull(REPO)
    names = {"README.md", "origin.json"}
    assert {Path(path).name for path in _kept()} == names | {
        "expert.json", "space.json", WEIGHTS, "encoder.safetensors",
    }  # fmt: skip
    home = Path(os.environ["CODENOISE_HOME"])
    (item,) = (item for item in items() if item.kind == "expert")
    for name in ("expert.json", WEIGHTS, "README.md"):
        assert (item.folder / name).read_bytes() == published.files[name]
    digest = file_entry(item.folder / "expert.json").sha256.removeprefix("sha256:")
    assert item.folder == home / "experts" / "cna-to-wsi" / f"0.1.0-{digest[:12]}"
    assert json.loads((item.folder / "origin.json").read_text())["source"] == {
        "kind": "hub", "repo": REPO, "commit": COMMIT, "folder": "",
    }  # fmt: skip
    asked = {line.partition("/resolve/")[2].partition("/")[2] for line in hub.log}
    assert asked - {""} == set(pulled.files)


def test_a_mirror_that_lists_no_sizes_is_asked_for_the_tree(published: Any, hub: Any) -> None:
    published.sizes = False
    assert len(pull(REPO).installed) == 3
    (asked,) = (line.partition("?") for line in hub.log if "/tree/" in line)
    assert asked[0] == f"GET /api/models/{REPO}/tree/{COMMIT}"


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT, "release/2"])
def test_a_revision_is_pinned_to_its_commit(published: Any, revision: str) -> None:
    published.refs = ("main", "v1.0", "release/2")
    assert pull(f"{REPO}@{revision}").source.commit == COMMIT


def test_a_commit_that_the_store_holds_is_not_fetched_again(published: Any, hub: Any) -> None:
    pull(REPO)
    hub.log.clear()
    again = pull(REPO)
    assert [line.partition("?")[0] for line in hub.log] == [f"GET /api/models/{REPO}/revision/main"]
    assert again.files == {}
    assert {one.outcome for one in again.installed} == {"already there"}
    hub.log.clear()
    assert pull(f"{REPO}@{COMMIT}") == again
    assert hub.log == []


def test_a_commit_whose_copy_is_damaged_is_fetched_again(published: Any) -> None:
    pull(REPO)
    (item,) = (item for item in items() if item.kind == "expert")
    (item.folder / WEIGHTS).write_bytes(b"")
    assert [broken.remedy for broken in discover().broken] == [f"codenoise pull {REPO}@{COMMIT}"]
    pull(f"{REPO}@{COMMIT}")
    assert not discover(checksums=True).broken


def test_a_commit_whose_expert_was_removed_is_fetched_again(published: Any) -> None:
    pull(REPO)
    remove(next(item for item in items() if item.kind == "expert"))
    assert [one.outcome for one in pull(f"{REPO}@{COMMIT}").installed] == [
        "already there", "already there", "installed",
    ]  # fmt: skip


def test_a_commit_whose_spaces_were_removed_is_fetched_again(published: Any) -> None:
    pull(REPO)
    remove(next(item for item in items() if item.kind == "space"))
    assert [one.outcome for one in pull(REPO).installed] == [
        "installed", "already there", "already there",
    ]  # fmt: skip


def test_dry_run_says_what_would_be_fetched_and_keeps_nothing(published: Any, hub: Any) -> None:
    pulled = pull(REPO, dry_run=True)
    assert pulled == Pulled(
        HubRepository(repo=REPO, commit=COMMIT),
        {path: len(content) for path, content in published.files.items()},
        (),
    )
    assert _kept() == []
    assert not [line for line in hub.log if "safetensors" in line]


def test_a_repository_of_a_space_alone(
    hub: Any, repository: Make, tmp_path: Path, only_these: Callable[..., None]
) -> None:
    only_these(tmp_path / "no-site")
    folder = PLUGINS / "codenoise-space-tcga-cna" / "codenoise_space_tcga_cna"
    alone = repository()
    alone.files = {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".py"}
    hub.repositories["lab/tcga-cna"] = alone
    assert [one.reference for one in pull("lab/tcga-cna").installed] == ["tcga-cna@0.1.0"]


def test_an_expert_without_its_spaces_comes_and_is_not_usable_yet(
    published: Any, hub: Any, repository: Make
) -> None:
    from codenoise.registry.contract.compatibility import usable

    hub.repositories[REPO] = repository(spaces=False)
    assert [one.kind for one in pull(REPO).installed] == ["expert"]
    assert usable(discover()) == ()


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "some-lab/nothing",
            "some-lab/nothing was not found on the Hub, or is private: check its name, or log in "
            "with 'hf auth login'",
        ),
        (
            f"{REPO}@v9",
            f"{REPO}@v9 was not found: the repository has no such revision; give another after "
            f"the @",
        ),
    ],
)
def test_what_is_not_there_is_named(published: Any, reference: str, message: str) -> None:
    assert _refused(reference) == message


@pytest.mark.parametrize(
    "reference",
    [
        "", "name", "a/b/c", "../b", "a/..b", "a/b@", "a/b@x y", "a/b\n", "a/b@\x1b[2J", "ä/b",
        "https://huggingface.co/a/b", "a b/c", "/etc/passwd", "a/b@v1@v2",
    ],
)  # fmt: skip
def test_a_reference_that_is_none_is_refused_unasked(
    published: Any, hub: Any, reference: str
) -> None:
    message = _refused(reference)
    assert message.startswith(f"{reference!r} should read like 'org/name'")
    assert hub.log == []


def test_gated_repository_says_how_to_get_in(published: Any) -> None:
    published.access = "gated"
    assert _refused() == (
        f"{REPO} is gated: ask for access on its page on the Hub, then log in with "
        f"'hf auth login' and pull again"
    )


def test_gated_files_of_a_listed_repository_say_how_to_get_in(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.access = "gated"
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 34)
    assert _refused() == (
        f"expert.json of {REPO}@c0ffee000000 is gated: ask for access on its page on the Hub, then "
        f"log in with 'hf auth login' and pull again"
    )


def test_private_repository_is_read_with_the_users_own_login(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.access = "private"
    assert "or is private" in _refused()
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 34)
    assert pull(REPO).source.commit == COMMIT


def test_a_login_page_in_place_of_the_hub_is_named(published: Any, hub: Any) -> None:
    hub.page = b"<!DOCTYPE html><title>Welcome to our hotel</title>"
    message = _refused()
    assert message.startswith(f"{REPO} got an answer that is not the Hub's (")
    assert message.endswith("check HF_ENDPOINT and the network, which may want a login of its own")


@pytest.mark.parametrize("page", [b"[]", b"{}", b"3", b'{"id": "a/b", "sha": "main"}', b"\xff"])
def test_an_answer_that_is_not_the_hubs_is_named(published: Any, hub: Any, page: bytes) -> None:
    hub.page = page
    assert "got an answer that is not the Hub's (" in _refused()


@pytest.mark.parametrize("endpoint", ["nonsense", "http://127.0.0.1:bad", "ftp://a", "", "http://"])
def test_an_endpoint_that_is_no_address_is_named(
    published: Any, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert _refused() == (
        f"HF_ENDPOINT is {endpoint!r}, which is no address; unset it, or give one such as "
        f"https://huggingface.co"
    )


def test_a_hub_that_does_not_answer_in_time(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codenoise.registry.installed.hub._LOOK_UP_TIMEOUT", 0.1)
    published.delay = 1.0
    assert _refused() == f"{REPO} did not come: timed out; try again when it answers"


def test_a_slow_hub_is_waited_for(published: Any) -> None:
    published.delay = 0.05
    assert len(pull(REPO).installed) == 3


def test_a_hub_that_is_not_there(published: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    message = _refused()
    assert message.startswith(f"{REPO} did not come: ")
    assert message.endswith("; try again when it answers")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 592640\n"
PAGE = b"<html><body>Sign in</body></html>"


def _flip(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda c: LFS,
            f"has {len(LFS)} bytes, its manifest says 592640: it is a Git LFS pointer in place of "
            f"the file; give a folder that is whole, or tell its author",
        ),
        (lambda c: PAGE, "it is an HTML page in place of the file;"),
        (lambda c: c[:1000], "has 1000 bytes, its manifest says 592640: it is truncated;"),
        (_flip, "differs from the checksum in its manifest;"),
        (lambda c: b"", "has 0 bytes, its manifest says 592640: it is truncated;"),
    ],
    ids=["lfs-pointer", "html", "truncated", "checksum", "empty"],
)
def test_damaged_weights_are_named_for_what_they_are(
    published: Any, spoil: Callable[[bytes], bytes], words: str
) -> None:
    published.files[WEIGHTS] = spoil(published.files[WEIGHTS])
    message = _refused()
    assert message.startswith(f"{REPO}@c0ffee000000/{WEIGHTS} ")
    assert words in message


def test_too_large_weights_are_refused_before_they_are_fetched(published: Any, hub: Any) -> None:
    published.stated[WEIGHTS] = 10**15
    assert _refused() == (
        f"{WEIGHTS} of {REPO}@c0ffee000000 has {10**15} bytes, over the 592640 that it may have; "
        f"nothing was fetched"
    )
    assert not [line for line in hub.log if line.startswith("GET") and WEIGHTS in line]


@pytest.mark.parametrize(("path", "limit"), [("expert.json", 16_000_000), ("README.md", 1_000_000)])
def test_other_files_have_a_limit_too(published: Any, path: str, limit: int) -> None:
    published.stated[path] = limit + 1
    assert f"{path} of {REPO}@c0ffee000000 has {limit + 1} bytes, over the {limit}" in _refused()


def test_a_size_other_than_the_hub_states_is_refused(published: Any) -> None:
    published.stated["README.md"] = 5
    message = _refused()
    assert "README.md" in message
    assert "where the Hub states 5: it was cut off or replaced on its way; pull it again" in message


def test_a_page_served_in_place_of_a_file_is_refused(published: Any) -> None:
    published.served[WEIGHTS] = PAGE
    assert f"{WEIGHTS} of {REPO}@c0ffee000000 did not come whole: " in _refused()


def test_a_connection_that_breaks_off_is_taken_up_again(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    published.cuts[WEIGHTS] = 2
    assert len(pull(REPO).installed) == 3
    assert not discover(checksums=True).broken


def test_a_connection_that_always_breaks_off_is_given_up(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    published.cuts[WEIGHTS] = 1000
    monkeypatch.setattr(
        "huggingface_hub.file_download.http_get.__kwdefaults__",
        {"_nb_retries": 0},
        raising=False,
    )
    assert f"{WEIGHTS} of {REPO}@c0ffee000000 " in _refused()


def test_repositories_of_something_else_are_refused(published: Any) -> None:
    published.files = {"config.json": b"{}", "model.safetensors": b""}
    assert _refused() == (
        f"{REPO}@c0ffee000000 should hold one expert.json or space.json at its root; it holds "
        f"neither, so it is no codenoise repository"
    )


def test_weights_that_are_not_there_are_named(published: Any) -> None:
    del published.files[WEIGHTS]
    assert _refused() == (
        f"{REPO}@c0ffee000000 has no {WEIGHTS}; pull another revision, or tell its author"
    )


def _lie(published: Any, path: str, change: Callable[[Any], object]) -> None:
    content = json.loads(published.files[path])
    change(content)
    published.files[path] = json.dumps(content).encode()


@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        ("expert.json", lambda c: c.update(name="../../evil"), "field 'name'"),
        ("expert.json", lambda c: c.update(name="evil\x1b[2J"), "field 'name'"),
        ("expert.json", lambda c: c.update(name="cn\u0430-to-wsi"), "field 'name'"),  # Cyrillic a
        ("expert.json", lambda c: c.update(version="../1"), "field 'version'"),
        ("expert.json", lambda c: c.update(extra=1), "field 'extra' is unknown"),
        ("expert.json", lambda c: c.update(schema_version="2.0"), "follows schema 2.0"),
        ("expert.json", lambda c: c.update(files={}), "field 'files' does not name"),
        (
            "expert.json",
            lambda c: c["files"].update({"../up.json": c["files"][WEIGHTS]}),
            "field 'files.../up.json",
        ),
        ("expert.json", lambda c: c["target"].update(dim=31), "condition, target,"),
        ("expert.json", lambda c: c.update(prediction="x0"), "prediction, schedule;"),
        ("spaces/tcga-cna/space.json", lambda c: c.update(dim=31), "field 'dim' is 31"),
        (
            "spaces/tcga-cna/space.json",
            lambda c: c.update(digest=f"sha256:{'0' * 64}"),
            "'digest'",
        ),
        ("spaces/tcga-cna/space.json", lambda c: c.update(version="9"), "field 'version' is '9'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_manifest_that_lies_is_refused_by_field(
    published: Any, path: str, change: Callable[[Any], object], words: str
) -> None:
    _lie(published, path, change)
    message = _refused()
    assert (
        f"{REPO}@c0ffee000000/{path.removesuffix('expert.json').removesuffix('space.json')}"
        in message
    )
    assert words in message


def test_a_manifest_that_is_a_pointer_is_named(published: Any) -> None:
    published.files["expert.json"] = LFS
    assert "expert.json is a Git LFS pointer in place of the file" in _refused()


def test_an_endless_header_is_refused_before_it_is_read(
    published: Any, seal: Callable[..., None], tmp_path: Path
) -> None:
    content = (2**40).to_bytes(8, "little") + published.files[WEIGHTS][8:]
    (tmp_path / WEIGHTS).write_bytes(content)
    published.files[WEIGHTS] = content
    entry = file_entry(tmp_path / WEIGHTS).model_dump()
    _lie(published, "expert.json", lambda c: c["files"].update({WEIGHTS: entry}))
    assert f"its header should take {2**40} bytes, over 1000000" in _refused()


def test_offline_keeps_to_what_the_store_holds(
    published: Any, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert _refused() == (
        f"{REPO} cannot be looked up, for HF_HUB_OFFLINE is set, and the store does not hold it; "
        f"unset HF_HUB_OFFLINE, or give a commit that the store holds"
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    pull(REPO)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.log.clear()
    for reference in (REPO, f"{REPO}@{COMMIT}", f"{REPO}@{COMMIT[:9]}"):
        assert {one.outcome for one in pull(reference).installed} == {"already there"}
    with pytest.raises(ArtifactError, match=f"{REPO}@v2 cannot be looked up, for HF_HUB_OFFLINE"):
        pull(f"{REPO}@v2")
    assert hub.log == []


def test_two_commits_of_one_version_stand_side_by_side(published: Any) -> None:
    pull(REPO)
    _lie(published, "expert.json", lambda c: c.update(citation="Another."))
    published.commit = "beef" + 36 * "0"
    pull(REPO)
    labels = [plugin.source.label for plugin in discover().experts]
    assert sorted(labels) == [f"{REPO}@beef00000000", f"{REPO}@c0ffee000000"]


def test_concurrent_pulls_of_one_expert_fetch_it_once(published: Any, hub: Any) -> None:
    script = (
        "from codenoise.registry.installed.pull import pull\n"
        f"print(*(one.outcome for one in pull({REPO!r}).installed), sep=', ')"
    )
    command = [sys.executable, "-c", script]  # it finds the stub by HF_ENDPOINT
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outcomes = [process.communicate(timeout=60)[0].strip() for process in processes]
    once, again = ", ".join(["installed"] * 3), ", ".join(["already there"] * 3)
    assert sorted(outcomes) == [again, again, once]
    assert len([line for line in hub.log if line.startswith("GET") and WEIGHTS in line]) == 1
    assert not discover(checksums=True).broken


def test_the_command_is_quiet_and_imports_no_torch(published: Any) -> None:
    probe = (
        "import sys; from codenoise.cli.main import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'pandas', 'sklearn'} & set(sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", probe, "pull", REPO], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{REPO} at commit {COMMIT}\n")


def test_a_lock_brings_back_what_it_pins(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(REPO)
    own = PLUGINS / "codenoise-expert-rna-to-cna"
    add(own)
    lock = lock_of(discover().plugins)
    assert missing(lock) == []
    monkeypatch.setenv("CODENOISE_HOME", str(tmp_path / "elsewhere"))
    assert [pin.name for pin in missing(lock)] == [
        "tcga-cna", "tcga-wsi", "cna-to-wsi", "rna-to-cna",
    ]  # fmt: skip
    installed, packages = restore(lock)
    assert packages == []
    assert {one.reference for one in installed} == {
        "tcga-cna@0.1.0", "tcga-wsi@0.1.0", "cna-to-wsi@0.1.0", "rna-to-cna@0.1.0",
    }  # fmt: skip
    assert lock_of(discover().plugins) == lock
    write_lock(lock, tmp_path / "installed.lock")
    assert missing(tmp_path / "installed.lock") == []
    assert restore(str(tmp_path / "installed.lock")) == restore(lock) == ([], [])


def test_a_lock_leaves_packages_to_pip(
    bank: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, only_these: Callable[..., None]
) -> None:
    lock = lock_of(discover().plugins)
    only_these(tmp_path)
    installed, packages = restore(lock)
    assert installed == []
    assert len(packages) == len(lock.experts) + len(lock.spaces)
    assert packages[0].command == "pip install codenoise-space-tcga-cna==0.1.0"


def test_a_folder_that_changed_since_it_was_pinned_is_refused(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: Make, edit: Make
) -> None:
    folder = put(tmp_path / "own", "expert-rna-to-cna")
    add(folder)
    lock = lock_of(discover().plugins)
    edit(folder / "expert.json", lambda content: content.update(citation="Changed."))
    monkeypatch.setenv("CODENOISE_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(ArtifactError) as caught:
        restore(lock)
    assert str(caught.value) == (
        f"rna-to-cna@0.1.0 of {folder} is not the pinned one any more "
        f"({lock.experts[0].sha256[:19]}); take it out of the file, or restore it there"
    )
    assert lock.experts[0].source == Folder(path=str(folder))
