from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codenoise.registry.contract.lock import read_lock
from codenoise.registry.ensembles.recipe import read_recipe

Done = Callable[..., str]
Refused = Callable[..., str]
ROOT = Path(__file__).parents[2]
COHORT = ROOT / "examples" / "tcga" / "cohort"
PACKAGE = "codenoise_expert_cna_to_wsi"


@pytest.fixture
def recipe(own_bank: Callable[[str], Path], tmp_path: Path, done: Done) -> Path:
    """A recipe of ``cna-to-wsi``, whose package may be spoilt."""
    own_bank(PACKAGE)
    path = tmp_path / "ensemble.toml"
    done("compose", "--expert", "cna-to-wsi", "-o", path)
    return path


def test_lock_is_written_beside_the_recipe_and_shown(recipe: Path, done: Done) -> None:
    lines = done("lock", recipe).splitlines()
    path = recipe.with_suffix(".lock")
    assert lines[0] == f"written to {path}"
    assert [line.split()[:2] for line in lines[3:-1]] == [
        ["expert", "cna-to-wsi@0.1.0"], ["space", "tcga-cna@0.1.0"], ["space", "tcga-wsi@0.1.0"],
    ]  # fmt: skip
    assert lines[-1] == (
        "conditions of use: non-commercial (CC-BY-NC-SA-4.0: wsi), copyleft (GPL-2.0-only: cna), "
        "share alike (CC-BY-NC-SA-4.0: wsi)"
    )
    assert [pin.name for pin in read_lock(path).spaces] == ["tcga-cna", "tcga-wsi"]


def test_lock_as_json(recipe: Path, done: Done) -> None:
    content = json.loads(done("lock", recipe, "--json"))
    assert content.pop("conditions") == {
        "non-commercial": {"CC-BY-NC-SA-4.0": ["wsi"]},
        "copyleft": {"GPL-2.0-only": ["cna"]},
        "share alike": {"CC-BY-NC-SA-4.0": ["wsi"]},
    }
    assert content == read_lock(recipe.with_suffix(".lock")).model_dump(mode="json")


def test_a_lock_that_is_there_is_kept_unless_asked(
    recipe: Path, done: Done, refused: Refused
) -> None:
    done("lock", recipe)
    path = recipe.with_suffix(".lock")
    assert refused("lock", recipe) == (
        f"{path} is already there; --overwrite pins what is installed now"
    )
    path.write_text("nonsense")
    done("lock", recipe, "--overwrite")
    read_recipe(recipe)


def test_locking_a_lock_is_refused(recipe: Path, done: Done, refused: Refused) -> None:
    done("lock", recipe)
    path = recipe.with_suffix(".lock")
    assert refused("lock", path, "--overwrite") == (
        f"{path} is a lock itself; give the recipe, e.g. ensemble.toml"
    )


def test_locking_a_missing_recipe_is_refused(refused: Refused, tmp_path: Path) -> None:
    assert "a.toml is not there; make it with 'codenoise compose'" in refused(
        "lock", tmp_path / "a.toml"
    )


def test_a_damaged_expert_is_not_locked(
    own_bank: Callable[[str], Path], recipe: Path, refused: Refused
) -> None:
    weights = own_bank(PACKAGE) / "denoiser.safetensors"
    weights.write_bytes(b"\0" * weights.stat().st_size)
    assert "differs from the checksum" in refused("lock", recipe)
    assert not recipe.with_suffix(".lock").exists()


@pytest.mark.parametrize("command", ["impute", "evaluate"])
def test_commands_refuse_what_differs_from_the_lock(
    own_bank: Callable[[str], Path],
    recipe: Path,
    done: Done,
    refused: Refused,
    tmp_path: Path,
    command: str,
) -> None:
    done("lock", recipe)
    words: dict[str, tuple[Any, ...]] = {
        "impute": ("impute", COHORT, "-e", recipe, "-o", tmp_path / "out"),
        "evaluate": (
            "evaluate", "reconstruction", COHORT, "-e", recipe,
            "--split", ROOT / "plugins" / "tcga_split.csv",
        ),
    }  # fmt: skip
    manifest = own_bank(PACKAGE) / "expert.json"
    content = json.loads(manifest.read_text())
    content["validation"]["mse"] = 1e-9
    manifest.write_text(json.dumps(content))
    message = refused(*words[command])
    assert message.startswith(f"{recipe.with_suffix('.lock')} pins expert cna-to-wsi@0.1.0 sha256:")
    assert "pip install --force-reinstall codenoise-expert-cna-to-wsi==0.1.0" in message
    assert f"'codenoise lock {recipe} --overwrite'" in message
    assert not (tmp_path / "out").exists()


def test_package_folder_and_hub_stand_side_by_side_in_one_recipe(
    hub: Any,
    repository: Callable[..., Any],
    bank_site: Path,
    tmp_path: Path,
    only_these: Callable[[Path], None],
    done: Done,
) -> None:
    site = tmp_path / "site"
    shutil.copytree(bank_site, site, symlinks=True)
    for name in ("cna_to_wsi", "rna_to_wsi"):
        shutil.rmtree(site / f"codenoise_expert_{name}-0.1.0.dist-info")
    only_these(site)
    hub.repositories["some-lab/cna-to-wsi"] = repository()
    done("pull", "some-lab/cna-to-wsi")
    done("experts", "add", ROOT / "plugins" / "codenoise-expert-rna-to-wsi")
    recipe = tmp_path / "ensemble.toml"
    done("compose", "--target", "wsi", "--expert", "some-lab/cna-to-wsi:cna-to-wsi",
         "--expert", "rna-to-wsi", "--expert", "codenoise-expert-rppa-to-wsi:rppa-to-wsi",
         "-o", recipe)  # fmt: skip
    content = json.loads(done("lock", recipe, "--json"))
    assert [pin["source"]["kind"] for pin in content["experts"]] == ["hub", "folder", "pip"]
    plan = done("impute", COHORT, "-e", recipe, "-o", tmp_path / "out", "--dry-run", "--json")
    assert {row["target"] for row in json.loads(plan)} == {"wsi"}


def test_a_recipe_that_names_a_source_says_how_to_get_it(
    bank: Path, tmp_path: Path, refused: Refused
) -> None:
    recipe = tmp_path / "ensemble.toml"
    for source, mend in (
        ("some-lab/x", "codenoise pull some-lab/x"),
        ("/data/x", "codenoise experts add /data/x"),
    ):
        recipe.write_text(f'targets = ["wsi"]\n[[experts]]\nname = "x"\nsource = "{source}"\n')
        assert refused("lock", recipe) == f"expert x: not installed; {mend}"
