from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from codenoise.core.base.errors import ArtifactError
from codenoise.registry.installed.hub import search_hub, split_reference


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("lab/a-to-b", "lab/a-to-b", None),
        ("lab/a_b.c", "lab/a_b.c", None),
        ("lab/a@main", "lab/a", "main"),
        ("lab/a@refs/pr/3", "lab/a", "refs/pr/3"),
        (f"lab/a@{'0' * 40}", "lab/a", "0" * 40),
    ],
)
def test_references_are_split(text: str, repo: str, revision: str | None) -> None:
    assert split_reference(text) == (repo, revision)


@pytest.fixture
def catalogue(hub: Any, repository: Callable[..., Any]) -> Any:
    """Two experts of ours and a repository of something else."""
    hub.repositories["lab/rna-to-rppa"] = repository(tags=("codenoise", "rna", "rppa"))
    hub.repositories["lab/cna-to-rna"] = repository(tags=("codenoise", "cna", "rna"))
    hub.repositories["lab/rna-language-model"] = repository(tags=("rna",))
    return hub


@pytest.mark.parametrize(
    ("text", "tags", "found"),
    [
        ("", (), ["lab/rna-to-rppa", "lab/cna-to-rna"]),
        ("cna", (), ["lab/cna-to-rna"]),
        ("", ("rppa",), ["lab/rna-to-rppa"]),
        ("", ("rna", "cna"), ["lab/cna-to-rna"]),
        ("nothing", (), []),
    ],
)
def test_the_hub_is_searched_by_name_and_modality(
    catalogue: Any, text: str, tags: tuple[str, ...], found: list[str]
) -> None:
    assert [row["repository"] for row in search_hub(text, tags)] == found


def test_a_search_names_the_other_tags(catalogue: Any) -> None:
    assert search_hub("rppa", ["rna"]) == [{"repository": "lab/rna-to-rppa", "tags": "rppa"}]


def test_offline_there_is_no_search(catalogue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ArtifactError) as caught:
        search_hub("rna")
    assert str(caught.value) == "the Hub cannot be searched, for HF_HUB_OFFLINE is set"


def test_a_login_page_in_place_of_the_hub_is_named(catalogue: Any) -> None:
    catalogue.page = b"<html>Sign in</html>"
    with pytest.raises(ArtifactError, match="the Hub got an answer that is not the Hub's"):
        search_hub("rna")
