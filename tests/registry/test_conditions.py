from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codenoise.core.base.errors import EnsembleError
from codenoise.registry.contract.licences import COPYLEFT, NON_COMMERCIAL, SHARE_ALIKE, UNKNOWN
from codenoise.registry.ensembles.composing import compose, left_out
from codenoise.registry.ensembles.conditions import carried, in_words, uncleared
from codenoise.registry.ensembles.explanation import explain_choice
from codenoise.registry.ensembles.recipe import Recipe
from codenoise.registry.ensembles.resolving import resolve
from codenoise.registry.installed.discovery import Inventory, discover

Put = Callable[..., Path]
SPACES = ("space-tcga-cna", "space-tcga-rna", "space-tcga-rppa", "space-tcga-wsi")
WSI = {"CC-BY-NC-SA-4.0": ["wsi"]}


@pytest.fixture
def installed(tmp_path: Path, put: Put) -> Callable[..., Inventory]:
    """``installed(spaces={...}, **experts)``: bundled plugins with changed manifests."""

    def apply(*experts: str, changed: dict[str, dict[str, Any]] | None = None) -> Inventory:
        for name in (*SPACES, *(f"expert-{expert}" for expert in experts)):
            fields = (changed or {}).get(name.split("-", 1)[1], {})
            put(tmp_path / "site", name, change=lambda m, fields=fields: m.update(fields))
        found = discover(path=[str(tmp_path / "site")])
        assert not found.broken
        return found

    return apply


def _names(recipe: Recipe) -> list[str]:
    return [choice.name for choice in recipe.experts]


def test_conditions_of_an_ensemble_are_named_by_the_modality_that_brings_them(
    installed: Callable[..., Inventory],
) -> None:
    inventory = installed("rna-to-rppa", "wsi-to-rppa", "cna-to-rna")
    experts, spaces = resolve(compose(inventory, ["rppa"]), inventory)
    got = carried(experts, spaces.values())
    assert got == {
        NON_COMMERCIAL: WSI,
        COPYLEFT: {"GPL-2.0-only": ["rppa"], "GPL-3.0-only": ["rna"]},
        SHARE_ALIKE: WSI,
    }
    assert list(got) == [NON_COMMERCIAL, COPYLEFT, SHARE_ALIKE]
    assert in_words(got) == (
        "non-commercial (CC-BY-NC-SA-4.0: wsi), copyleft (GPL-2.0-only: rppa; GPL-3.0-only: rna), "
        "share alike (CC-BY-NC-SA-4.0: wsi)"
    )
    assert carried(experts, inventory.spaces) == got  # spaces that no expert lives in do not count


def test_conditions_of_an_expert_of_its_own_are_named_by_its_sources_or_by_itself(
    installed: Callable[..., Inventory],
) -> None:
    sources = [
        {"name": "A table", "license": "CC-BY-NC-4.0", "url": "https://a.org", "covers": "labels"},
        {"name": "Another", "license": "MIT OR GPL-3.0-only"},
        {"name": "A third", "license": "LicenseRef-Lab"},
    ]
    licence = "CC-BY-NC-4.0 AND MIT AND LicenseRef-Lab AND AGPL-3.0-only"
    free = {"license": "CC0-1.0", "source_licenses": []}
    inventory = installed(
        "cna-to-rppa",
        changed={
            "tcga-cna": free, "tcga-rppa": free,
            "cna-to-rppa": {"license": licence, "source_licenses": sources},
        },
    )  # fmt: skip
    assert carried(inventory.experts, inventory.spaces) == {
        UNKNOWN: {"LicenseRef-Lab": ["A third"]},
        NON_COMMERCIAL: {"CC-BY-NC-4.0": ["labels"]},
        COPYLEFT: {"AGPL-3.0-only": ["cna-to-rppa"]},
    }


def test_a_source_binds_where_the_licence_of_the_whole_does_not_say_so(
    installed: Callable[..., Inventory],
) -> None:
    source = {"name": "A table", "license": "CC-BY-NC-4.0"}
    changed = {"license": "MIT", "source_licenses": [source]}
    inventory = installed("cna-to-rppa", changed={"cna-to-rppa": changed})
    (expert,) = inventory.experts
    assert uncleared(expert, inventory.spaces) == "non-commercial (CC-BY-NC-4.0: A table)"


def test_without_conditions_it_says_so(installed: Callable[..., Inventory]) -> None:
    free = {"license": "MIT", "source_licenses": []}
    changed = {"tcga-cna": free, "tcga-rppa": free, "cna-to-rppa": free}
    inventory = installed("cna-to-rppa", changed=changed)
    got = carried(inventory.experts, inventory.spaces)
    assert (got, in_words(got)) == ({}, "none, or to name the authors")


def test_commercial_leaves_out_experts_spaces_and_what_lives_in_them(
    installed: Callable[..., Inventory],
) -> None:
    # The first is free by its own licence but lives in a space that is not; of the second, nobody
    # knows; the third may be taken under another licence.
    changed = {
        "wsi-to-rppa": {"license": "MIT", "source_licenses": []},
        "rna-to-rppa": {"license": "LicenseRef-Lab"},
        "cna-to-rppa": {"license": "CC-BY-NC-4.0 OR MIT"},
    }
    inventory = installed("wsi-to-rppa", "rna-to-rppa", "cna-to-rppa", changed=changed)
    assert len(_names(compose(inventory))) == 3
    recipe = compose(inventory, commercial=True)
    assert _names(recipe) == ["cna-to-rppa"]
    non_commercial, unknown = (
        "non-commercial (CC-BY-NC-SA-4.0: wsi)",
        "unknown: ask the author (LicenseRef-Lab: rna-to-rppa)",
    )
    assert [(plugin.reference, why) for plugin, why in left_out(inventory)] == [
        ("tcga-wsi@0.1.0", non_commercial),
        ("rna-to-rppa@0.1.0", unknown),
        ("wsi-to-rppa@0.1.0", non_commercial),
    ]
    assert [p.reference for p, _ in left_out(inventory, modalities=["rna", "rppa"])] == [
        "rna-to-rppa@0.1.0"
    ]
    assert [*left_out(inventory, ["cna"])] == []
    chosen, _ = resolve(recipe, inventory)
    whys = {e.expert: e.reason for e in explain_choice(inventory, chosen, commercial=True)}
    assert whys["wsi-to-rppa@0.1.0"] == f"not cleared for commercial use: {non_commercial}"
    assert whys["rna-to-rppa@0.1.0"] == f"not cleared for commercial use: {unknown}"


def test_commercial_takes_an_older_version_that_is_cleared(
    installed: Callable[..., Inventory], tmp_path: Path, put: Put, seal: Callable[[Path], None]
) -> None:
    inventory = installed("cna-to-rppa")
    newer = put(
        tmp_path / "site", "expert-cna-to-rppa", distribution="newer", version="0.2.0",
        change=lambda m: m.update(license="CC-BY-NC-4.0"),
    )  # fmt: skip
    seal(newer)
    inventory = discover(path=[str(tmp_path / "site")])
    assert compose(inventory).experts[0].version == "==0.2.0"
    assert compose(inventory, commercial=True).experts[0].version == "==0.1.0"


@pytest.mark.parametrize("targets", [["wsi"], None])
def test_where_nothing_is_cleared_it_is_said_why(
    installed: Callable[..., Inventory], targets: list[str] | None
) -> None:
    inventory = installed("cna-to-wsi")
    which = "expert that generates 'wsi'" if targets else "expert"
    with pytest.raises(EnsembleError) as caught:
        compose(inventory, targets, commercial=True)
    assert str(caught.value).startswith(
        f"no {which} is cleared for commercial use: cna-to-wsi@0.1.0 is non-commercial "
        f"(CC-BY-NC-SA-4.0: wsi); ask "
    )
