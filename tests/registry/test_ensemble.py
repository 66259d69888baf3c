"""The ensemble as Python users get it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from codenoise import Coherence, Ensemble, Sampler, discover
from codenoise.core.base.errors import EnsembleError
from codenoise.registry.contract.lock import lock_beside
from codenoise.registry.ensembles.composing import compose
from codenoise.registry.ensembles.recipe import write_recipe

EXPERTS = ["rna-to-cna@0.1.0", "rppa-to-cna@0.1.0"]
NAMES = [name.partition("@")[0] for name in EXPERTS]


def test_an_ensemble_is_loaded_from_its_recipe(bank: Path, tmp_path: Path) -> None:
    path = tmp_path / "ensemble.toml"
    write_recipe(compose(discover(), experts=NAMES, sampler=Sampler(steps=9)), path)
    for given in (path, str(path)):
        ensemble = Ensemble.from_file(given)
        assert [expert.name for expert in ensemble.experts] == EXPERTS
        assert sorted(ensemble.spaces) == ["cna", "rna", "rppa"]
        assert ensemble.settings.steps == 9
        assert isinstance(ensemble, Ensemble)


def test_what_is_composed_is_what_a_recipe_would_have(bank: Path, tmp_path: Path) -> None:
    choices = {"weighting": "uniform", "coherence": Coherence(max_retries=3)}
    path = tmp_path / "ensemble.toml"
    write_recipe(compose(discover(), ["cna"], experts=NAMES, **choices), path)
    composed, read = Ensemble.compose(["cna"], experts=NAMES, **choices), Ensemble.from_file(path)
    assert composed.settings == read.settings
    assert composed.settings.max_retries == 3
    assert [expert.name for expert in composed.experts] == EXPERTS
    assert {name: space.digest for name, space in composed.spaces.items()} == {
        name: space.digest for name, space in read.spaces.items()
    }


def test_every_installed_expert_is_taken_between_the_modalities_asked_for(bank: Path) -> None:
    ensemble = Ensemble.compose(modalities=["cna", "rppa"])
    assert ensemble.targets == ["cna", "rppa"]
    assert {expert.conditions for expert in ensemble.experts} == {("cna",), ("rppa",)}


def test_a_lock_beside_the_recipe_is_held_to(bank: Path, tmp_path: Path) -> None:
    path = tmp_path / "ensemble.toml"
    write_recipe(compose(discover(), experts=NAMES), path)
    lock_beside(path).write_text("broken")
    with pytest.raises(EnsembleError, match=r"ensemble\.lock"):
        Ensemble.from_file(path)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnsembleError, match=r"no\.toml.*codenoise compose"):
        Ensemble.from_file(tmp_path / "no.toml")


def test_what_is_not_installed_is_named(bank: Path) -> None:
    with pytest.raises(EnsembleError, match=r"codenoise-expert-rna-to-moon"):
        Ensemble.compose(experts=["rna-to-moon"])


def test_broken_experts_are_left_out_with_a_warning(
    bank_site: Path, tmp_path: Path, only_these: Callable[[Path], None]
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for entry in bank_site.iterdir():
        (site / entry.name).symlink_to(entry)
    package = site / "codenoise_expert_wsi_to_cna"
    real = package.resolve()
    package.unlink()
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "expert.json").write_text((real / "expert.json").read_text()[:100])
    only_these(site)
    with pytest.warns(UserWarning, match=r"^skipped: wsi-to-cna of ") as caught:
        ensemble = Ensemble.compose(["cna"], modalities=["cna", "rna", "rppa", "wsi"])
    assert len(caught) == 1
    assert [expert.name for expert in ensemble.experts] == EXPERTS
