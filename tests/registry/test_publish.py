from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from codenoise.core.base.errors import ArtifactError, CodenoiseError
from codenoise.registry.authoring.publish import Published, Release, prepare, publish
from codenoise.registry.authoring.scaffold import new_expert
from codenoise.registry.contract.plugin import Inventory
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.pull import pull

PLUGINS = Path(__file__).parents[2] / "plugins"
EXPERT = PLUGINS / "codenoise-expert-cna-to-wsi"
REPO = "some-lab/cna-to-wsi"
TOKEN = "hf_" + "a" * 34
NOTHING = Inventory((), (), ())
# The Hub's library calls its HTTP library in a way that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plain folder with a bundled expert's own files."""
    inner = next(EXPERT.glob("*/expert.json")).parent
    target = tmp_path / "mine"
    shutil.copytree(inner, target, ignore=shutil.ignore_patterns("__init__.py"))
    return target


@pytest.fixture
def login(hub: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stub of the Hub, and a user who is logged in there."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub


@pytest.fixture
def release(bank: Path, folder: Path) -> Release:
    return prepare(folder, discover())


def _front(card: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return content


def _refused(release: Release, repo: str = REPO, **options: Any) -> str:
    with pytest.raises(CodenoiseError) as caught:
        publish(release, repo, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_expert_goes_with_its_spaces_in_the_layout_that_is_pulled(
    release: Release, folder: Path
) -> None:
    assert sorted(release.sizes) == [
        "README.md", "denoiser.safetensors", "expert.json",
        "spaces/tcga-cna/README.md", "spaces/tcga-cna/encoder.safetensors",
        "spaces/tcga-cna/space.json",
        "spaces/tcga-wsi/README.md", "spaces/tcga-wsi/encoder.safetensors",
        "spaces/tcga-wsi/space.json",
    ]  # fmt: skip
    assert release.sizes["expert.json"] == (folder / "expert.json").stat().st_size
    assert release.sizes["README.md"] == len(release.card.encode())


def test_a_project_and_its_plain_folder_give_the_same_release(bank: Path, release: Release) -> None:
    of_project = prepare(EXPERT, discover())
    assert (of_project.sizes, of_project.card) == (release.sizes, release.card)


def test_a_space_is_released_alone(bank: Path) -> None:
    release = prepare(PLUGINS / "codenoise-space-tcga-cna", NOTHING)
    assert sorted(release.sizes) == ["README.md", "encoder.safetensors", "space.json"]
    (index,) = _front(release.card)["model-index"]
    (metric,) = index["results"][0]["metrics"]
    validation = release.manifest.validation
    assert (metric["type"], metric["value"]) == ("r2", round(validation.r2, 4))


def test_spaces_in_the_folder_need_not_be_installed(
    folder: Path, bank: Path, release: Release
) -> None:
    for name in ("tcga-cna", "tcga-wsi"):
        inner = next((PLUGINS / f"codenoise-space-{name}").glob("*/space.json")).parent
        shutil.copytree(inner, folder / "spaces" / name)
    alone = prepare(folder, NOTHING)
    assert alone.sizes == release.sizes
    assert alone.files["spaces/tcga-cna/space.json"] == folder / "spaces/tcga-cna/space.json"


def test_a_space_that_is_nowhere_is_named(folder: Path) -> None:
    digest = json.loads((folder / "expert.json").read_text())["condition"][0]["digest"][:19]
    with pytest.raises(ArtifactError) as caught:
        prepare(folder, NOTHING)
    assert str(caught.value) == (
        f"the cna space tcga-cna@0.1.0 ({digest}), which the expert needs, is neither installed "
        f"nor in the folder; install it, or put it beside the expert as spaces/tcga-cna/space.json"
    )


def test_damaged_files_are_not_released(folder: Path, bank: Path) -> None:
    weights = folder / "denoiser.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(ArtifactError, match="differs from the checksum in its manifest"):
        prepare(folder, discover())


def test_a_template_is_not_released(bank: Path, tmp_path: Path) -> None:
    project = new_expert("mine", "cna", "wsi", discover(), tmp_path)
    with pytest.raises(ArtifactError) as caught:
        prepare(project, discover())
    assert str(caught.value) == (
        "mine@0.1.0.dev0 is a template still; say in train.py who you are and what your cohort "
        "is, and train it with 'python train.py COHORT SPLIT.csv'"
    )


def test_card_holds_what_the_manifest_says(release: Release) -> None:
    front, manifest = _front(release.card), release.manifest
    assert front["library_name"] == "codenoise"
    assert front["license"] == "other"
    assert front["license_name"] == "gpl-2.0-only-and-cc-by-nc-sa-4.0"
    assert front["tags"] == ["codenoise", "diffusion", "imputation", "cna", "wsi"]
    (index,) = front["model-index"]
    (result,) = index["results"]
    assert index["name"] == "cna-to-wsi"
    assert result["task"] == {"type": "tabular-regression", "name": "generate wsi from cna"}
    assert result["dataset"]["name"] == manifest.training.cohort
    v = manifest.validation
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [
        ("r2", round(v.r2_expectation, 4)),
        ("r2", round(v.r2, 4)),
        ("mse", round(v.mse, 4)),
        ("energy_score", round(v.energy_score, 4)),
    ]
    assert manifest.citation in release.card


def test_card_of_the_author_keeps_its_text_and_fields(folder: Path, bank: Path) -> None:
    (folder / "README.md").write_text(
        "---\nlicense: mit\ndatasets:\n- some/data\ntags:\n- lung\n---\n# Mine\nMy words.\n"
    )
    card = prepare(folder, discover()).card
    assert card.endswith("---\n# Mine\nMy words.\n")
    front = _front(card)
    assert front["datasets"] == ["some/data"]
    assert front["tags"] == ["lung", "codenoise", "diffusion", "imputation", "cna", "wsi"]
    assert front["license"] == "other"


@pytest.mark.parametrize("text", ["# Mine\n", "", "Mine\n---\nother\n---\n"])
def test_card_without_front_matter_gets_it(folder: Path, bank: Path, text: str) -> None:
    (folder / "README.md").write_text(text)
    card = prepare(folder, discover()).card
    assert card.endswith(f"---\n{text}")
    assert _front(card)["library_name"] == "codenoise"


def test_card_that_is_missing_is_made(folder: Path, bank: Path, release: Release) -> None:
    (folder / "README.md").unlink()
    card = prepare(folder, discover()).card
    assert card.startswith("---\nlibrary_name: codenoise\n")
    assert "# cna-to-wsi 0.1.0" in card


def test_card_that_is_complete_stays_as_it_is(folder: Path, bank: Path) -> None:
    (folder / "README.md").unlink()
    made = prepare(folder, discover()).card.replace("library_name:", "# mine\nlibrary_name:")
    (folder / "README.md").write_text(made)
    assert prepare(folder, discover()).card == made


@pytest.mark.parametrize("front", ["- a list", "a: [", "model-index: 3"])
def test_card_with_broken_front_matter_is_named(folder: Path, bank: Path, front: str) -> None:
    (folder / "README.md").write_text(f"---\n{front}\n---\nx\n")
    with pytest.raises(ArtifactError) as caught:
        prepare(folder, discover())
    message = str(caught.value)
    assert message.startswith(f"{folder / 'README.md'} has front matter that cannot be read (")
    assert message.endswith("; mend it, or remove the file to have one made")


def test_what_was_published_can_be_pulled(login: Any, release: Release, tmp_path: Path) -> None:
    published = publish(release, REPO)
    repository = login.repositories[REPO]
    assert published == Published(REPO, repository.commit, f"{login.url}/{REPO}", "created")
    assert login.messages == ["cna-to-wsi@0.1.0"]
    for path, file in release.files.items():
        assert repository.files[path] == file.read_bytes()
    assert repository.files["README.md"].decode() == release.card
    assert set(repository.files) == {".gitattributes", *release.sizes}
    pulled = pull(REPO)
    assert pulled.source.commit == published.commit
    assert [(one.kind, one.reference) for one in pulled.installed] == [
        ("space", "tcga-cna@0.1.0"), ("space", "tcga-wsi@0.1.0"), ("expert", "cna-to-wsi@0.1.0"),
    ]  # fmt: skip


def test_weights_go_through_lfs_and_text_within_the_commit(login: Any, release: Release) -> None:
    publish(release, REPO)
    digests = set()
    for plugin in (release.manifest, *(s.manifest for s in discover().spaces)):
        digests |= {f"/lfs/{e.sha256.removeprefix('sha256:')}" for e in plugin.files.values()}
    uploads = [line.removeprefix("PUT ") for line in login.log if line.startswith("PUT")]
    assert len(uploads) == 3
    assert set(uploads) <= digests


@pytest.mark.parametrize(("private", "access"), [(True, "private"), (False, "open")])
def test_repository_is_made_private_if_asked(
    login: Any, release: Release, private: bool, access: str
) -> None:
    publish(release, REPO, private=private)
    assert login.repositories[REPO].access == access


def test_own_message(login: Any, release: Release) -> None:
    publish(release, REPO, message="first words")
    assert login.messages == ["first words"]


def test_update_replaces_files_and_clears_spaces_that_are_left(
    login: Any, release: Release
) -> None:
    first = publish(release, REPO)
    login.repositories[REPO].files["spaces/old/space.json"] = b"{}"
    login.repositories[REPO].files["notes.txt"] = b"mine"
    login.repositories[REPO].files["README.md"] = b"changed on the Hub"
    second = publish(release, REPO)
    assert second.outcome == "updated"
    assert second.commit != first.commit
    files = login.repositories[REPO].files
    assert set(files) == {".gitattributes", "notes.txt", *release.sizes}
    assert files["README.md"].decode() == release.card


def test_public_repository_does_not_become_private_in_silence(login: Any, release: Release) -> None:
    publish(release, REPO)
    assert _refused(release, private=True) == (
        f"{REPO} is there and public; make it private on its page on the Hub, or leave --private "
        f"out"
    )
    login.repositories[REPO].access = "private"
    publish(release, REPO, private=True)


def _holding(hub: Any, change: Callable[[dict[str, Any]], object], file: str) -> None:
    files = hub.repositories[REPO].files
    content = json.loads(files["expert.json"])
    change(content)
    del files["expert.json"]
    files[file] = json.dumps(content).encode()


def test_another_expert_is_not_overwritten(login: Any, release: Release) -> None:
    publish(release, REPO)
    _holding(login, lambda content: content.update(name="rna-to-wsi"), "expert.json")
    assert _refused(release) == (
        f"{REPO} holds rna-to-wsi@0.1.0, this is cna-to-wsi@0.1.0; give another repository"
    )


def test_a_space_is_not_overwritten_by_an_expert(login: Any, release: Release) -> None:
    publish(release, REPO)
    _holding(login, lambda content: None, "space.json")
    assert _refused(release) == (
        f"{REPO} holds another artifact, space.json; give another repository"
    )


def test_a_published_version_stays_as_it_is(login: Any, release: Release) -> None:
    publish(release, REPO)
    _holding(login, lambda content: content.update(citation="another"), "expert.json")
    assert _refused(release) == (
        f"{REPO} holds cna-to-wsi@0.1.0 with other content; a version that is published stays as "
        f"it is: train yours under a higher one"
    )


def test_a_newer_version_replaces_an_older_one(login: Any, release: Release) -> None:
    publish(release, REPO)
    _holding(login, lambda content: content.update(version="0.0.9"), "expert.json")
    assert publish(release, REPO).outcome == "updated"


def test_a_damaged_manifest_is_replaced(login: Any, release: Release) -> None:
    publish(release, REPO)
    login.repositories[REPO].files["expert.json"] = b"{"
    assert publish(release, REPO).outcome == "updated"


def test_nobody_logged_in(hub: Any, release: Release) -> None:
    assert _refused(release) == (
        "nobody is logged in to the Hugging Face Hub; log in with 'hf auth login', or set "
        "HF_TOKEN to a token that may write"
    )
    assert hub.log == []


def test_token_that_is_not_valid(
    login: Any, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert _refused(release) == (
        f"{REPO} was refused by the Hub with status 401: your login is not valid (any more); log "
        f"in with 'hf auth login', or set HF_TOKEN to a token that may write "
        f"(it says: so the stub was told)"
    )
    assert not login.repositories


@pytest.mark.parametrize("where", ["create", "preupload", "commit", "batch"])
@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (403, "you may not write there; ask its owner, or log in"),
        (404, "there is no such user or organisation"),
        (418, "try again later"),
    ],
)
def test_refusals_say_what_to_do(
    login: Any, release: Release, where: str, status: int, meaning: str
) -> None:
    login.refusals[where] = status
    message = _refused(release)
    assert message.startswith(f"{REPO} was refused by the Hub with status {status}: {meaning}")
    assert REPO not in login.repositories or set(login.repositories[REPO].files) == {
        ".gitattributes"
    }


def test_front_matter_that_the_hub_refuses(login: Any, release: Release) -> None:
    login.refusals["validate-yaml"] = 400
    assert _refused(release) == (
        f"{REPO} was not published to: Invalid metadata in README.md. Bad request: so the stub was "
        f"told"
    )


def test_a_change_meanwhile_is_not_overwritten(
    login: Any, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    publish(release, REPO)
    login.repositories[REPO].files["README.md"] = b"older"
    preupload = HfApi.preupload_lfs_files

    def meanwhile(self: HfApi, *words: Any, **options: Any) -> None:
        login.repositories[REPO].commit = "1" * 40
        preupload(self, *words, **options)

    monkeypatch.setattr(HfApi, "preupload_lfs_files", meanwhile)
    assert _refused(release) == (
        f"{REPO} was refused by the Hub with status 412: somebody else changed it meanwhile; "
        f"publish again"
    )


def test_no_answer(login: Any, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    message = _refused(release)
    assert message.startswith(f"{REPO} did not answer: ")
    assert message.endswith("; check the network, then publish again")


def test_offline_is_said(login: Any, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert _refused(release) == (
        f"{REPO} cannot be published to, for HF_HUB_OFFLINE is set; unset it"
    )


@pytest.mark.parametrize("repo", ["", "mine", "a/b/c", "../mine", "a/b ", "-/x"])
def test_names_of_repositories(login: Any, release: Release, repo: str) -> None:
    assert _refused(release, repo).startswith(f"{repo!r} should read like 'org/name'")


def test_a_revision_cannot_be_given(login: Any, release: Release) -> None:
    assert _refused(release, f"{REPO}@main") == (
        f"'{REPO}@main' names a revision; give '{REPO}', what is published is new"
    )
