from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codenoise.registry.ensembles.composing import compose
from codenoise.registry.ensembles.explanation import Explained, explain_choice
from codenoise.registry.ensembles.resolving import resolve
from codenoise.registry.installed.discovery import discover

Put = Callable[..., Path]
DISTRIBUTION = "codenoise-expert-rna-to-rppa"


def _explained(site: Path, **asked: Any) -> dict[str, Explained]:
    inventory = discover(path=[str(site)])
    chosen, _ = resolve(compose(inventory, **asked), inventory)
    return {one.expert or one.pair: one for one in explain_choice(inventory, chosen, **asked)}


def _mse(site: Path) -> str:
    content = json.loads((site / "codenoise_expert_rna_to_rppa" / "expert.json").read_text())
    return f"validation MSE {content['validation']['mse']:.3f}"


def test_what_was_taken_says_why(site: Path) -> None:
    one = _explained(site)["rna-to-rppa@0.1.0"]
    assert one.chosen
    assert (one.pair, one.source, one.remedy) == ("rna -> rppa", DISTRIBUTION, "")
    assert one.reason == f"the only expert of this pair; {_mse(site)}"


def test_a_pair_without_an_expert_says_where_to_look(site: Path) -> None:
    asked = {"targets": ["rppa"], "modalities": ["rna", "rppa", "cna"]}
    assert "wsi -> rppa" not in _explained(site, **asked)
    inventory = discover(path=[str(site)])
    found = list(explain_choice(inventory, [], targets=["rppa"], modalities=["wsi", "rppa"]))
    assert Explained(
        "wsi -> rppa", "", "", False, "no expert of this pair is installed",
        "codenoise experts search --hub --condition wsi --target rppa",
    ) in found  # fmt: skip


def test_an_older_version_says_what_took_its_place(site: Path, put: Put) -> None:
    put(site, "expert-rna-to-rppa", distribution="newer", version="0.2.0")
    found = _explained(site)
    assert found["rna-to-rppa@0.2.0"].reason.startswith(
        "the newest usable of 2 experts of this pair"
    )
    left = found["rna-to-rppa@0.1.0"]
    assert not left.chosen
    assert left.reason == "rna-to-rppa@0.2.0 was taken for this pair"
    assert left.remedy == f"--expert '{DISTRIBUTION}:rna-to-rppa==0.1.0'"


def test_the_remedy_for_an_older_version_works(site: Path, put: Put) -> None:
    put(site, "expert-rna-to-rppa", distribution="newer", version="0.2.0")
    found = _explained(site, experts=[f"{DISTRIBUTION}:rna-to-rppa==0.1.0"])
    assert found["rna-to-rppa@0.1.0"].reason == f"named with --expert; {_mse(site)}"


def test_an_unusable_expert_says_what_is_in_its_way(site: Path, put: Put) -> None:
    put(
        site, "expert-rna-to-rppa", distribution="newer", version="0.2.0",
        change=lambda content: content.update(engine=">=7"),
    )  # fmt: skip
    left = _explained(site)["rna-to-rppa@0.2.0"]
    assert left.reason.startswith("needs codenoise >=7, this is ")
    assert left.remedy == "pip install 'codenoise>=7'"


def test_targets_and_modalities_that_were_not_asked_for_say_so(site: Path, put: Put) -> None:
    put(site, "expert-cna-to-rna")
    found = _explained(site, targets=["rppa"], modalities=["rna", "rppa"])
    assert (found["cna-to-rna@0.1.0"].reason, found["cna-to-rna@0.1.0"].remedy) == (
        "rna is not among the targets", "--target rna",
    )  # fmt: skip
    assert (found["cna-to-rppa@0.1.0"].reason, found["cna-to-rppa@0.1.0"].remedy) == (
        "cna is not among the modalities", "--modality cna",
    )  # fmt: skip


def test_experts_that_were_not_named_say_so(site: Path) -> None:
    left = _explained(site, experts=["rna-to-rppa"])["cna-to-rppa@0.1.0"]
    assert left.reason == "not named with --expert"


def test_where_nothing_could_be_composed_what_is_usable_says_so(site: Path) -> None:
    inventory = discover(path=[str(site)])
    found = {one.expert: one for one in explain_choice(inventory, [], targets=["rppa", "lipids"])}
    assert found["rna-to-rppa@0.1.0"].reason == "usable; nothing was composed"


def test_broken_experts_are_named_with_their_mend(site: Path) -> None:
    (site / "codenoise_expert_rna_to_rppa" / "expert.json").unlink()
    left = _explained(site)["rna-to-rppa"]
    assert not left.chosen
    assert "expert.json is missing" in left.reason
    assert left.remedy == f"pip install --force-reinstall {DISTRIBUTION}==0.1.0"


def test_every_expert_is_explained_once(bank: Path) -> None:
    inventory = discover()
    chosen, _ = resolve(compose(inventory, ["rppa"]), inventory)
    found = [one for one in explain_choice(inventory, chosen, targets=["rppa"]) if one.expert]
    assert sorted(one.expert for one in found) == [p.reference for p in inventory.experts]
    assert [one.expert for one in found if one.chosen] == [p.reference for p in chosen]
    assert all(one.remedy for one in found if not one.chosen)
