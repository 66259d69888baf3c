from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from codenoise.core.base.errors import EnsembleError
from codenoise.registry.ensembles.composing import compose
from codenoise.registry.ensembles.recipe import (
    Coherence,
    ExpertChoice,
    Recipe,
    Sampler,
    read_recipe,
    write_recipe,
)
from codenoise.registry.ensembles.resolving import load_ensemble, resolve
from codenoise.registry.installed.discovery import Inventory, discover

Content = dict[str, Any]
Put = Callable[..., Path]
NAME = "rna-to-rppa"
DISTRIBUTION = "codenoise-expert-rna-to-rppa"


def _found(site: Path) -> Inventory:
    return discover(path=[str(site)])


def _chosen(recipe: Recipe) -> list[str]:
    return [f"{expert.name}{expert.version}" for expert in recipe.experts]


def _other_target_space(content: Content) -> None:
    content["target"]["digest"] = f"sha256:{'0' * 64}"


def _better(content: Content) -> None:
    content["files"]["denoiser.safetensors"]["sha256"] = f"sha256:{'0' * 64}"


def test_compose_takes_every_pair_that_ends_in_a_target(bank: Path) -> None:
    inventory = discover()
    recipe = compose(inventory, ["wsi", "rppa"])
    by_condition = sorted(inventory.experts, key=lambda p: p.manifest.conditions)
    wanted = [
        p.reference
        for end in ("wsi", "rppa")
        for p in by_condition
        if p.manifest.target.modality == end
    ]
    assert recipe.targets == ["wsi", "rppa"]
    assert [name.replace("==", "@") for name in _chosen(recipe)] == wanted
    assert len(wanted) >= 6


def test_compose_takes_every_target_by_default(bank: Path) -> None:
    inventory = discover()
    recipe = compose(inventory)
    assert recipe.targets == sorted({p.manifest.target.modality for p in inventory.experts})
    assert len(recipe.experts) == len(inventory.experts)


def test_target_asked_for_twice_counts_once(site: Path) -> None:
    recipe = compose(_found(site), ["rppa", "rppa"])
    assert recipe.targets == ["rppa"]
    assert len(recipe.experts) == 2


@pytest.mark.parametrize("newer", ["0.2.0", "0.10.0", "0.1.0.post1", "0.2.0rc1"])
def test_compose_takes_the_newest_of_a_pair(site: Path, put: Put, newer: str) -> None:
    put(site, "expert-rna-to-rppa", distribution="their-rppa", version=newer)
    assert _chosen(compose(_found(site))) == ["cna-to-rppa==0.1.0", f"{NAME}=={newer}"]


def test_an_older_version_beside_is_left_alone(site: Path, put: Put) -> None:
    put(site, "expert-rna-to-rppa", distribution="their-rppa", version="0.0.9")
    assert _chosen(compose(_found(site))) == ["cna-to-rppa==0.1.0", f"{NAME}==0.1.0"]


def test_compose_passes_over_what_is_not_usable(site: Path, put: Put) -> None:
    put(
        site,
        "expert-rna-to-rppa",
        distribution="their-rppa",
        version="0.2.0",
        change=lambda content: content.update(engine=">=7"),
    )
    assert f"{NAME}==0.1.0" in _chosen(compose(_found(site)))


def test_compose_explains_a_target_that_nothing_generates(site: Path) -> None:
    with pytest.raises(EnsembleError, match="no installed expert generates 'wsi'") as caught:
        compose(_found(site), ["rppa", "wsi"])
    assert "installed experts generate rppa" in str(caught.value)
    assert "pip install" in str(caught.value)


def test_compose_explains_why_the_expert_of_a_target_does_not_do(site: Path) -> None:
    shutil.rmtree(site / "codenoise_space_tcga_rppa-0.1.0.dist-info")
    with pytest.raises(EnsembleError, match="no usable expert generates 'rppa'") as caught:
        compose(_found(site), ["rppa"])
    assert "rppa space tcga-rppa@0.1.0" in str(caught.value)
    assert "pip install 'codenoise-space-tcga-rppa==0.1.0'" in str(caught.value)


def test_compose_with_nothing_installed_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(EnsembleError, match="generate nothing; pip install one"):
        compose(_found(tmp_path), ["rppa"])


def test_compose_without_target_and_with_nothing_installed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnsembleError, match="install"):
        compose(_found(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "rna-to-rppa",
        "rna-to-rppa>=0.1,<1",
        "rna-to-rppa ~=0.1.0",
        "rna-to-rppa==0.1.0",
        "rna-to-rppa!=0.3",
        "codenoise-expert-rna-to-rppa:rna-to-rppa",
        "codenoise-expert-rna-to-rppa:rna-to-rppa>=0.1",
    ],
)
def test_experts_are_chosen_by_name_range_and_distribution(site: Path, text: str) -> None:
    assert _chosen(compose(_found(site), experts=[text])) == [f"{NAME}==0.1.0"]


def test_a_range_chooses_the_newest_it_admits(site: Path, put: Put) -> None:
    for version in ("0.2.0", "0.3.0"):
        put(site, "expert-rna-to-rppa", distribution=f"d-{version[2]}", version=version)
    assert _chosen(compose(_found(site), experts=[f"{NAME}<0.3"])) == [f"{NAME}==0.2.0"]
    assert _chosen(compose(_found(site), experts=[f"{NAME}<0.2"])) == [f"{NAME}==0.1.0"]


def test_expert_named_twice_counts_once(site: Path) -> None:
    assert len(compose(_found(site), experts=[NAME, f"{NAME}>=0.1"]).experts) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RNA", "'RNA': field 'name'"),
        ("", "'name'"),
        ("rna to rppa", "'name'"),
        ("../rppa", "'name'"),
        ("rna-to-rppa>=new", "'version'"),
        ("rna-to-rppa=0.1", "'version'"),
        (">=0.1", "'name'"),
    ],
)
def test_constraint_that_cannot_be_read_is_refused_with_an_example(
    site: Path, text: str, words: str
) -> None:
    with pytest.raises(EnsembleError, match=r"write e\.g\. 'rna-to-rppa>=0\.1,<1'") as caught:
        compose(_found(site), experts=[text])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mirna-to-rppa", "mirna-to-rppa: not installed; pip install 'codenoise-expert-mirna"),
        ("rna-to-rppa>=0.2", "installed: 'rna-to-rppa@0.1.0'; pip install .*rppa>=0.2'"),
        ("elsewhere:rna-to-rppa", "not installed"),
    ],
)
def test_expert_that_is_not_installed_is_refused_with_the_command(
    site: Path, text: str, words: str
) -> None:
    with pytest.raises(EnsembleError, match=words):
        compose(_found(site), experts=[text])


def test_broken_expert_is_refused_with_its_reason(site: Path) -> None:
    (site / "codenoise_expert_rna_to_rppa" / "expert.json").unlink()
    with pytest.raises(EnsembleError, match=r"rna-to-rppa: .*expert\.json is missing"):
        compose(_found(site), experts=[NAME])


def test_named_expert_for_another_engine_is_refused(site: Path, edit: Callable[..., Path]) -> None:
    path = site / "codenoise_expert_rna_to_rppa" / "expert.json"
    edit(path, lambda content: content.update(engine=">=7"))
    with pytest.raises(EnsembleError, match=r"codenoise.*>=7"):
        compose(_found(site), experts=[NAME])


def test_twins_of_different_content_are_refused_naming_both(site: Path, put: Put) -> None:
    put(site, "expert-rna-to-rppa", distribution="their-rppa", change=_better)
    for experts in ([], [NAME]):
        with pytest.raises(EnsembleError, match="installed twice with different content") as caught:
            compose(_found(site), experts=experts)
        assert DISTRIBUTION in str(caught.value)
        assert "their-rppa" in str(caught.value)
        assert f"--expert {DISTRIBUTION}:{NAME}" in str(caught.value)


def test_twins_that_weigh_differently_are_refused(site: Path, put: Put) -> None:
    put(
        site,
        "expert-rna-to-rppa",
        distribution="their-rppa",
        change=lambda content: content["validation"].update(mse=1e-9),
    )
    with pytest.raises(EnsembleError, match="installed twice with different content"):
        compose(_found(site))


def test_twins_of_equal_content_do_not_stand_in_the_way(site: Path, put: Put) -> None:
    put(site, "expert-rna-to-rppa", distribution="their-rppa")
    recipe = compose(_found(site))
    assert f"{NAME}==0.1.0" in _chosen(recipe)
    resolve(recipe, _found(site))


def test_older_twins_do_not_stand_in_the_way_of_a_newer_version(site: Path, put: Put) -> None:
    put(site, "expert-rna-to-rppa", distribution="their-rppa", change=_better)
    put(site, "expert-rna-to-rppa", distribution="newer-rppa", version="0.2.0")
    assert f"{NAME}==0.2.0" in _chosen(compose(_found(site)))


@pytest.mark.parametrize("distribution", [DISTRIBUTION, "their-rppa"])
def test_distribution_says_which_twin_is_meant(
    site: Path, put: Put, tmp_path: Path, distribution: str
) -> None:
    put(site, "expert-rna-to-rppa", distribution="their-rppa", change=_better)
    recipe = compose(_found(site), experts=[f"{distribution}:{NAME}"])
    write_recipe(recipe, tmp_path / "ensemble.toml")
    experts, _ = resolve(read_recipe(tmp_path / "ensemble.toml"), _found(site))
    assert [plugin.source.label for plugin in experts] == [distribution]


def test_experts_of_different_target_spaces_are_refused_in_one_line(site: Path, put: Put) -> None:
    put(
        site,
        "expert-rna-to-rppa",
        distribution="their-rppa",
        version="0.2.0",
        change=_other_target_space,
    )
    named = ["cna-to-rppa", NAME]
    for ask in (
        lambda: compose(_found(site), experts=named),
        lambda: resolve(
            Recipe(targets=["rppa"], experts=[ExpertChoice(name=name) for name in named]),
            _found(site),
        ),
    ):
        with pytest.raises(EnsembleError, match="use different rppa spaces") as caught:
            ask()
        assert "cna-to-rppa@0.1.0 and rna-to-rppa@0.2.0" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_experts_of_different_condition_spaces_are_refused(site: Path, put: Put) -> None:
    def change(content: Content) -> None:
        content["condition"][0]["digest"] = f"sha256:{'0' * 64}"

    put(site, "expert-rna-to-cna", change=change)
    with pytest.raises(EnsembleError, match="use different rna spaces"):
        compose(_found(site), experts=[NAME, "rna-to-cna"])


def test_recipe_survives_a_round_trip(site: Path, tmp_path: Path) -> None:
    recipe = compose(
        _found(site),
        weighting="uniform",
        coherence=Coherence(threshold=0.7, max_incoherent_fraction=0.1, max_retries=3),
        sampler=Sampler(name="ddpm", steps=1000),
    )
    path = tmp_path / "new" / "ensemble.toml"
    write_recipe(recipe, path)
    assert read_recipe(path) == recipe
    assert list(path.parent.iterdir()) == [path]
    settings = read_recipe(path).settings
    assert (settings.weighting, settings.sampler, settings.steps) == ("uniform", "ddpm", 1000)
    assert (settings.threshold, settings.max_incoherent_fraction, settings.max_retries) == (
        0.7, 0.1, 3,
    )  # fmt: skip


def test_a_short_recipe_has_defaults(tmp_path: Path) -> None:
    path = tmp_path / "ensemble.toml"
    path.write_text('targets = ["rppa"]\n[[experts]]\nname = "rna-to-rppa"\n')
    recipe = read_recipe(path)
    assert (recipe.coherence, recipe.sampler) == (Coherence(), Sampler())
    assert recipe.weighting == "precision-gain"
    assert recipe.experts == [ExpertChoice(name=NAME, version="")]


def test_missing_recipe_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(EnsembleError, match=r"a\.toml is not there; .*'codenoise compose'"):
        read_recipe(tmp_path / "a.toml")


@pytest.mark.parametrize("content", [b"targets = [", b"\xff\xfe", b"\x00", b"= 1"])
def test_recipe_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(EnsembleError, match=r"a\.toml is no TOML file"):
        read_recipe(path)


def test_folder_in_place_of_a_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnsembleError, match="is no TOML file"):
        read_recipe(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target": ["rppa"]}, "'target' is unknown; did you mean 'targets'?"),
        ({"coherence": {"treshold": 1.0}}, "'coherence.treshold' is unknown; did you mean 'thres"),
        ({"sampler": {"step": 5}}, "'sampler.step' is unknown; did you mean 'steps'?"),
        ({"experts": [{"name": "a", "verison": ">1"}]}, "'experts.0.verison' is unknown; did you"),
        ({"weighting": "fixed"}, "'fixed' goes with a table [weights] of expert = number"),
        ({"weights": {"rna-to-rppa": 1.0}}, "'fixed' goes with a table [weights]"),
        ({"weights": {"rna-to-rppa": -1.0}, "weighting": "fixed"}, "'weights.rna-to-rppa'"),
        ({"weighting": "stacked"}, "which 'codenoise calibrate' writes"),
        ({"composition": "sum"}, "'composition'"),
        ({"sampler": {"steps": 0}}, "'sampler.steps'"),
        ({"sampler": {"steps": 1001}}, "'sampler.steps'"),
        ({"coherence": {"threshold": 3.0}}, "'coherence.threshold'"),
        ({"coherence": {"threshold": float("nan")}}, "'coherence.threshold'"),
        ({"coherence": {"max_incoherent_fraction": 1.5}}, "max_incoherent_fraction'"),
        ({"coherence": {"max_retries": -1}}, "'coherence.max_retries'"),
        ({"targets": []}, "'targets'"),
        ({"targets": "rppa"}, "'targets'"),
        ({"experts": []}, "'experts'"),
        ({"experts": [{"version": ">1"}]}, "'experts.0.name' is missing"),
        ({"experts": [{"name": "a", "version": "new"}]}, "'experts.0.version'"),
        ({"schema_version": "2.0"}, "'schema_version'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_recipe_is_refused_by_file_and_field(
    tmp_path: Path, change: Content, words: str
) -> None:
    path = tmp_path / "a.toml"
    good: Content = {"targets": ["rppa"], "experts": [{"name": NAME}]}
    path.write_text(tomli_w.dumps(good | change))
    with pytest.raises(EnsembleError) as caught:
        read_recipe(path)
    assert f"{path}: field" in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_recipe_without_experts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("")
    with pytest.raises(EnsembleError, match=r"'targets' is missing \(and 1 more\)"):
        read_recipe(path)


def test_resolve_finds_experts_and_spaces(site: Path) -> None:
    inventory = _found(site)
    experts, spaces = resolve(compose(inventory), inventory)
    assert [plugin.reference for plugin in experts] == ["cna-to-rppa@0.1.0", "rna-to-rppa@0.1.0"]
    assert {name: plugin.manifest.name for name, plugin in spaces.items()} == {
        "cna": "tcga-cna", "rna": "tcga-rna", "rppa": "tcga-rppa",
    }  # fmt: skip


def test_resolve_keeps_to_the_pinned_version(site: Path, put: Put) -> None:
    recipe = compose(_found(site))
    put(site, "expert-rna-to-rppa", distribution="their-rppa", version="0.2.0")
    experts, _ = resolve(recipe, _found(site))
    assert [plugin.reference for plugin in experts] == ["cna-to-rppa@0.1.0", "rna-to-rppa@0.1.0"]


def test_resolve_names_an_expert_that_is_gone(site: Path) -> None:
    recipe = compose(_found(site))
    shutil.rmtree(site / "codenoise_expert_rna_to_rppa-0.1.0.dist-info")
    with pytest.raises(EnsembleError, match=r"rna-to-rppa==0\.1\.0: not installed; pip"):
        resolve(recipe, _found(site))


def test_resolve_names_a_space_that_is_gone(site: Path) -> None:
    recipe = compose(_found(site))
    shutil.rmtree(site / "codenoise_space_tcga_rna-0.1.0.dist-info")
    with pytest.raises(EnsembleError, match=r"needs its rna space tcga-rna@0\.1\.0") as caught:
        resolve(recipe, _found(site))
    assert "pip install 'codenoise-space-tcga-rna==0.1.0'" in str(caught.value)


def test_resolve_refuses_a_target_that_no_expert_of_the_recipe_generates(site: Path) -> None:
    recipe = Recipe(targets=["rppa", "wsi"], experts=[ExpertChoice(name=NAME)])
    with pytest.raises(EnsembleError, match="wsi"):
        resolve(recipe, _found(site))


def test_recipe_becomes_an_ensemble(site: Path) -> None:
    inventory = _found(site)
    recipe = compose(inventory, sampler=Sampler(steps=5))
    ensemble = load_ensemble(recipe, inventory)
    assert ensemble.targets == ["rppa"]
    assert [expert.conditions for expert in ensemble.experts_for("rppa")] == [("cna",), ("rna",)]
    assert set(ensemble.spaces) == {"cna", "rna", "rppa"}
    assert ensemble.settings == recipe.settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"weighting": "best"},
            "the recipe: field 'weighting': weighting 'best' is unknown; known: adaptive, fixed, "
            "inverse-mse, precision-gain, softmax-inverse-mse, stacked, uniform; install the "
            "plugin that adds it",
        ),
        (
            {"sampler": Sampler(name="euler")},
            "the recipe: field 'sampler.name': sampler 'euler' is unknown; known: ddim, ddpm, "
            "dpm-solver++, heun; install the plugin that adds it",
        ),
    ],
    ids=["weighting", "sampler"],
)
def test_names_that_no_plugin_adds_are_refused_when_the_ensemble_is_loaded(
    site: Path, settings: Content, message: str
) -> None:
    inventory = _found(site)
    with pytest.raises(EnsembleError) as caught:
        load_ensemble(compose(inventory, **settings), inventory)
    assert str(caught.value) == message


def test_provenance_holds_the_digests_of_everything_in_play(site: Path) -> None:
    inventory = _found(site)
    recipe = compose(inventory, experts=[NAME])
    record: Any = load_ensemble(recipe, inventory).made_with
    assert Recipe.model_validate(record["recipe"]) == recipe
    (expert,) = (p for p in inventory.experts if p.manifest.name == NAME)
    assert record["experts"] == {
        "rna-to-rppa@0.1.0": {
            "source": {"kind": "pip", "distribution": DISTRIBUTION, "version": "0.1.0"},
            "files": {
                "denoiser.safetensors": expert.manifest.files["denoiser.safetensors"].model_dump()
            },
            "license": "GPL-3.0-only AND GPL-2.0-only",
            "validation_mse": expert.manifest.validation.mse,
        }
    }
    digests = {p.reference: p.manifest.digest for p in inventory.spaces}
    assert record["spaces"] == {
        name: digests[name] for name in ("tcga-rna@0.1.0", "tcga-rppa@0.1.0")
    }
