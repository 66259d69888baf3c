from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from codenoise.core.base.errors import EnsembleError
from codenoise.registry.contract.artifacts import file_entry
from codenoise.registry.contract.lock import lock_beside, lock_of, read_lock, short, write_lock
from codenoise.registry.ensembles.composing import compose
from codenoise.registry.ensembles.recipe import read_recipe, write_recipe
from codenoise.registry.ensembles.resolving import load_ensemble, resolve
from codenoise.registry.installed.discovery import Inventory, discover

Put = Callable[..., Path]
Edit = Callable[..., Path]
NAME = "rna-to-rppa"


def _found(site: Path) -> Inventory:
    return discover(path=[str(site)])


@pytest.fixture
def recipe(site: Path, tmp_path: Path) -> Path:
    """A recipe of ``rna-to-rppa>=0.1``, locked to what ``site`` holds."""
    path = tmp_path / "ensemble.toml"
    made = compose(_found(site), experts=[NAME])
    choice = made.experts[0].model_copy(update={"version": ">=0.1"})
    write_recipe(made.model_copy(update={"experts": [choice]}), path)
    experts, spaces = resolve(read_recipe(path), _found(site))
    write_lock(lock_of([*experts, *spaces.values()]), lock_beside(path))
    return path


def _resolved(recipe: Path, site: Path) -> list[str]:
    experts, spaces = resolve(read_recipe(recipe), _found(site))
    return [plugin.reference for plugin in (*experts, *spaces.values())]


def _refused(recipe: Path, site: Path) -> str:
    with pytest.raises(EnsembleError) as caught:
        resolve(read_recipe(recipe), _found(site))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_lock_stands_beside_its_recipe() -> None:
    assert lock_beside(Path("a/ensemble.toml")) == Path("a/ensemble.lock")


def test_a_lock_pins_name_version_source_and_digest(recipe: Path, site: Path) -> None:
    content = tomllib.loads(lock_beside(recipe).read_text())
    manifest = site / "codenoise_expert_rna_to_rppa" / "expert.json"
    assert content["schema_version"] == "1.0"
    assert content["experts"] == [
        {
            "name": NAME,
            "version": "0.1.0",
            "sha256": file_entry(manifest).sha256,
            "source": {
                "kind": "pip", "distribution": "codenoise-expert-rna-to-rppa", "version": "0.1.0",
            },
        }
    ]  # fmt: skip
    assert [pin["name"] for pin in content["spaces"]] == ["tcga-rna", "tcga-rppa"]


def test_a_lock_survives_a_round_trip(bank: Path, tmp_path: Path) -> None:
    lock = lock_of(discover().plugins)
    write_lock(lock, tmp_path / "a.lock")
    assert read_lock(tmp_path / "a.lock").model_dump() == lock.model_dump()


def test_what_is_pinned_is_loaded(recipe: Path, site: Path) -> None:
    assert _resolved(recipe, site) == ["rna-to-rppa@0.1.0", "tcga-rna@0.1.0", "tcga-rppa@0.1.0"]
    assert load_ensemble(read_recipe(recipe), _found(site)).targets == ["rppa"]


def test_the_pinned_version_is_taken_although_a_newer_one_is_there(
    recipe: Path, site: Path, put: Put
) -> None:
    put(site, "expert-rna-to-rppa", distribution="newer-rppa", version="0.2.0")
    assert _resolved(recipe, site)[0] == "rna-to-rppa@0.1.0"
    unlocked = read_recipe(recipe, locked=False)
    assert resolve(unlocked, _found(site))[0][0].reference == "rna-to-rppa@0.2.0"
    lock_beside(recipe).unlink()
    assert _resolved(recipe, site)[0] == "rna-to-rppa@0.2.0"


def test_an_expert_that_differs_is_refused_with_the_mend(
    recipe: Path, site: Path, edit: Edit
) -> None:
    was = read_lock(lock_beside(recipe)).experts[0].sha256
    file = edit(
        site / "codenoise_expert_rna_to_rppa" / "expert.json",
        lambda content: content["validation"].update(mse=1e-9),
    )
    assert _refused(recipe, site) == (
        f"{lock_beside(recipe)} pins expert rna-to-rppa@0.1.0 {short(was)}, and installed is "
        f"rna-to-rppa@0.1.0 {short(file_entry(file).sha256)}; "
        f"pip install --force-reinstall codenoise-expert-rna-to-rppa==0.1.0, or lock again with "
        f"'codenoise lock {recipe} --overwrite'"
    )


def test_a_space_that_differs_is_refused(recipe: Path, site: Path, edit: Edit) -> None:
    edit(
        site / "codenoise_space_tcga_rna" / "space.json",
        lambda content: content.update(citation="Another."),
    )
    assert f"{lock_beside(recipe)} pins space tcga-rna@0.1.0 sha256:" in _refused(recipe, site)


def test_of_two_twins_the_pinned_one_is_taken(recipe: Path, site: Path, put: Put) -> None:
    put(
        site, "expert-rna-to-rppa", distribution="their-rppa",
        change=lambda content: content["validation"].update(mse=1e-9),
    )  # fmt: skip
    assert _resolved(recipe, site)[0] == "rna-to-rppa@0.1.0"


def test_a_pinned_version_that_is_gone_is_refused_with_its_command(
    recipe: Path, site: Path, put: Put
) -> None:
    import shutil

    shutil.rmtree(site / "codenoise_expert_rna_to_rppa-0.1.0.dist-info")
    put(site, "expert-rna-to-rppa", distribution="newer-rppa", version="0.2.0")
    message = _refused(recipe, site)
    assert "and installed is rna-to-rppa@0.2.0 sha256:" in message
    assert "codenoise-expert-rna-to-rppa==0.1.0" in message


def test_nothing_installed_is_refused(recipe: Path, tmp_path: Path) -> None:
    assert "and installed is none; pip install" in _refused(recipe, tmp_path / "nowhere")


def test_a_recipe_that_grew_since_is_refused(recipe: Path, site: Path) -> None:
    content = tomllib.loads(recipe.read_text())
    content["experts"].append({"name": "cna-to-rppa"})
    recipe.write_text(tomli_w.dumps(content))
    assert _refused(recipe, site) == (
        f"{lock_beside(recipe)} does not pin expert 'cna-to-rppa'; lock again with "
        f"'codenoise lock {recipe} --overwrite'"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"experts": [{"name": "../up"}]}, "field 'experts.0.name'"),
        ({"expert": []}, "field 'expert' is unknown; did you mean 'experts'?"),
        ({"schema_version": "2.0"}, "field 'schema_version'"),
        ({"spaces": None}, "field 'spaces' is missing"),
        (
            {"experts": [{"name": "a", "version": "1", "sha256": "x", "source": {"kind": "ftp"}}]},
            "field 'experts.0.sha256'",
        ),
    ],
    ids=["name", "unknown", "schema", "missing", "digest"],
)
def test_a_lock_that_is_none_is_refused_by_file_and_field(
    tmp_path: Path, recipe: Path, change: dict[str, Any], words: str
) -> None:
    path = lock_beside(recipe)
    content = tomllib.loads(path.read_text()) | change
    path.write_text(tomli_w.dumps({k: v for k, v in content.items() if v is not None}))
    with pytest.raises(EnsembleError) as caught:
        read_recipe(recipe)
    assert str(caught.value).startswith(f"{path}: {words}")


def test_a_missing_lock_names_the_commands_that_make_one(tmp_path: Path) -> None:
    with pytest.raises(EnsembleError) as caught:
        read_lock(tmp_path / "a.lock")
    assert str(caught.value) == (
        f"{tmp_path / 'a.lock'} is not there; make it with 'codenoise lock' or "
        f"'codenoise experts export'"
    )
