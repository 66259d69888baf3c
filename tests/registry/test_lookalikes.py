from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.lookalikes import lookalikes

Put = Callable[..., Path]


def _warned(site: Path, name: str) -> list[str]:
    return lookalikes(discover(path=[str(site)]), {name})


def _put(site: Path, put: Put, name: str, plugin: str = "expert-rna-to-rppa") -> None:
    put(site, plugin, distribution="theirs", change=lambda content: content.update(name=name))


@pytest.mark.parametrize(
    "name",
    [
        "rna-t0-rppa", "ma-to-rppa", "rna-to-rpppa", "rna-to-rpa", "rna-ot-rppa", "rnato-rppa",
        "rna-to-rppb",
    ],
)  # fmt: skip
def test_a_name_that_can_be_taken_for_another_is_told(site: Path, put: Put, name: str) -> None:
    _put(site, put, name)
    assert _warned(site, name) == [
        f"{name}@0.1.0 from theirs has a name much like that of rna-to-rppa from "
        f"codenoise-expert-rna-to-rppa; make sure that it is the one you mean, or "
        f"'codenoise experts remove {name}'"
    ]


def test_letters_that_look_alike_are_told_whatever_it_generates(site: Path, put: Put) -> None:
    _put(site, put, "rna-t0-rppa", "expert-cna-to-rna")
    assert len(_warned(site, "rna-t0-rppa")) == 1


@pytest.mark.parametrize("name", ["tcga-ma", "tcqa-rna", "tcgarna"])
def test_spaces_are_told_too(site: Path, put: Put, name: str) -> None:
    _put(site, put, name, "space-tcga-rna")
    assert len(_warned(site, name)) == 1


@pytest.mark.parametrize("name", ["blood-rna-to-rppa", "rna-to-rppa-brca", "other"])
def test_an_honest_name_is_not(site: Path, put: Put, name: str) -> None:
    _put(site, put, name)
    assert _warned(site, name) == []


def test_another_version_of_the_same_name_is_not(site: Path, put: Put) -> None:
    put(site, "expert-rna-to-rppa", distribution="theirs", version="0.2.0")
    assert _warned(site, "rna-to-rppa") == []


def test_no_two_names_of_the_bundled_bank_are_alike(bank: Path) -> None:
    inventory = discover()
    for plugin in inventory.plugins:
        assert lookalikes(inventory, {plugin.manifest.name}) == []
