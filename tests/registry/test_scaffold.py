from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from codenoise.core.base.errors import ArtifactError, CodenoiseError, DataError, SpaceError
from codenoise.core.cohort.cohort import read_cohort
from codenoise.core.cohort.splits import write_split
from codenoise.core.diffusion.config import TrainingConfig
from codenoise.core.diffusion.data import ExpertData
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.diffusion.validation import validate
from codenoise.registry.authoring.own_expert import About, train_project
from codenoise.registry.authoring.scaffold import new_expert
from codenoise.registry.contract.compatibility import findings
from codenoise.registry.contract.folders import read_artifacts
from codenoise.registry.contract.manifest import ExpertManifest
from codenoise.registry.contract.plugin import Plugin
from codenoise.registry.contract.sources import Folder, HubRepository
from codenoise.registry.ensembles.composing import compose
from codenoise.registry.ensembles.resolving import load_ensemble
from codenoise.registry.installed.discovery import Inventory, discover
from codenoise.registry.installed.loading import load_expert

ROOT = Path(__file__).parents[2]
COHORT = ROOT / "examples" / "tcga" / "cohort"
FILES = [
    "LICENSE", "README.md", "codenoise_expert_mine/README.md",
    "codenoise_expert_mine/__init__.py", "codenoise_expert_mine/denoiser.safetensors",
    "codenoise_expert_mine/expert.json", "pyproject.toml", "tests/test_expert.py", "train.py",
]  # fmt: skip
ABOUT = About("64 patients", ["A. Author"], "Cite this.", ["cna: made up", "rppa: made up"])
CONFIG = TrainingConfig(
    width=16, layers=2, time_dim=8, condition_width=8, batch=8, ema_decay=0.9, max_steps=20,
    validate_every=10, validation_draws=4, validation_sampler_steps=5,
)  # fmt: skip
Put = Callable[..., Path]


@pytest.fixture
def project(bank: Path, tmp_path: Path) -> Path:
    return new_expert("mine", "cna", "rppa", discover(), tmp_path / "projects")


def _manifest(project: Path) -> ExpertManifest:
    (artifact,) = read_artifacts(project)
    assert isinstance(artifact.manifest, ExpertManifest)
    return artifact.manifest


def _refused(error: type[CodenoiseError], *words: Any, **options: Any) -> str:
    with pytest.raises(error) as caught:
        new_expert(*words, **options)
    return str(caught.value)


def test_project_is_complete(project: Path, tmp_path: Path) -> None:
    assert project == tmp_path / "projects" / "codenoise-expert-mine"
    found = sorted(str(p.relative_to(project)) for p in project.rglob("*") if p.is_file())
    assert found == FILES


def test_manifest_says_that_it_knows_nothing(project: Path) -> None:
    manifest = _manifest(project)
    validation = manifest.validation
    assert manifest.reference == "mine@0.1.0.dev0"
    assert (manifest.training.n, manifest.training.steps, validation.n) == (0, 0, 0)
    assert (validation.r2, validation.r2_expectation, validation.mse) == (-1.0, 0.0, 2.0)
    card = (project / "codenoise_expert_mine" / "README.md").read_text()
    assert "**This is a template that nobody trained yet.**" in card
    assert "model-index" not in card


def test_figures_are_those_of_standard_normal_latents(project: Path) -> None:
    expert = load_expert(_plugin(project))
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(2, 4000, 32)).astype(np.float32)
    data = ExpertData(latents[0], latents[1], (32,))
    config = TrainingConfig(prediction="v", validation_draws=8, validation_sampler_steps=20)
    assert hasattr(expert.denoiser, "state_dict")
    measured = validate(expert.denoiser, data, config, linear_schedule())  # type: ignore[arg-type]
    said = _manifest(project).validation
    assert said.protocol == (
        "worked out for standard normal latents in mirrored pairs; no patient was used"
    )
    assert measured.mse == pytest.approx(said.mse, abs=0.02)
    assert measured.r2 == pytest.approx(said.r2, abs=0.02)
    assert measured.mse_mean == pytest.approx(said.mse_mean_of_draws, abs=0.01)
    assert measured.r2_mean == pytest.approx(said.r2_mean_of_draws, abs=0.01)
    assert measured.r2_expectation == pytest.approx(said.r2_expectation, abs=0.01)
    assert measured.energy_score == pytest.approx(said.energy_score, abs=0.02)
    assert measured.noise_mse == pytest.approx(said.noise_mse_by_level, abs=0.01)


def _plugin(project: Path) -> Any:
    (artifact,) = read_artifacts(project)
    return Plugin(Folder(path=str(project)), artifact.file, artifact.manifest)


def test_installed_it_is_listed_and_composed(site: Path, put: Put, tmp_path: Path) -> None:
    project = new_expert("mine", "cna", "wsi", discover(path=[str(site)]), tmp_path)
    put(site, project)
    inventory = discover(path=[str(site)], checksums=True)
    assert not inventory.broken
    assert all(finding.ok for finding in findings(inventory))
    assert "mine@0.1.0.dev0" in [plugin.reference for plugin in inventory.experts]
    ensemble = load_ensemble(compose(inventory, ["wsi"]), inventory)
    condition = {"cna": pd.DataFrame(np.ones((1, 32), np.float32), ["a"])}
    drawn = ensemble.generate("wsi", condition, ["a"], draws=500).draws
    assert drawn.mean() == pytest.approx(0, abs=0.03)
    assert drawn.std() == pytest.approx(1, abs=0.03)


def test_it_needs_the_packages_of_its_spaces(project: Path) -> None:
    text = (project / "pyproject.toml").read_text()
    assert '"codenoise-space-tcga-cna==0.1.0",\n    "codenoise-space-tcga-rppa==0.1.0"' in text
    assert "codenoise pull" not in (project / "README.md").read_text()


def test_a_space_from_elsewhere_is_no_requirement_of_pip(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = discover()
    pulled = tuple(
        Plugin(HubRepository(repo="lab/cna", commit="a" * 40), space.file, space.manifest)
        if space.manifest.modality == "cna" else space
        for space in there.spaces
    )  # fmt: skip
    inventory = Inventory(there.experts, pulled, ())
    project = new_expert("mine", "cna", "rppa", inventory, tmp_path)
    text = (project / "pyproject.toml").read_text()
    assert 'dependencies = [\n    "codenoise-space-tcga-rppa==0.1.0",\n]' in text
    readme = (project / "README.md").read_text()
    assert f"codenoise pull lab/cna@{'a' * 40}\npip install .\n" in readme


@pytest.mark.parametrize("name", ["Mine", "my_expert", "", "../mine", "a" * 81, "mine-", "é"])
def test_names(bank: Path, tmp_path: Path, name: str) -> None:
    assert _refused(CodenoiseError, name, "cna", "rppa", discover(), tmp_path) == (
        f"name {name!r} should be words in lower case joined by hyphens, e.g. rna-to-rppa, of at "
        f"most 80 letters"
    )


def test_a_name_that_is_taken(bank: Path, tmp_path: Path) -> None:
    assert _refused(CodenoiseError, "cna-to-rppa", "cna", "rppa", discover(), tmp_path) == (
        "an expert cna-to-rppa@0.1.0 is installed already (codenoise-expert-cna-to-rppa); give "
        "yours another name"
    )


def test_two_ends(bank: Path, tmp_path: Path) -> None:
    assert _refused(CodenoiseError, "mine", "cna", "cna", discover(), tmp_path) == (
        "condition and target are both 'cna'; give two modalities"
    )


def test_a_folder_that_is_there(project: Path, bank: Path) -> None:
    assert _refused(CodenoiseError, "mine", "cna", "rppa", discover(), project.parent) == (
        f"{project} is already there; give another name or --output"
    )


def test_no_space_of_a_modality(bank: Path, tmp_path: Path) -> None:
    assert _refused(SpaceError, "mine", "cna", "protein", discover(), tmp_path) == (
        "no space of 'protein' is installed; installed spaces are of cna, mirna, rna, rppa, wsi; "
        "install one, or make one with 'codenoise spaces fit'"
    )
    assert not list(tmp_path.glob("codenoise*"))


def test_several_spaces_of_a_modality(site: Path, put: Put, tmp_path: Path) -> None:
    put(site, "space-tcga-cna", distribution="other-cna", version="0.2.0")
    inventory = discover(path=[str(site)])
    assert _refused(SpaceError, "mine", "cna", "rppa", inventory, tmp_path) == (
        "2 spaces are among those of 'cna': codenoise-space-tcga-cna:tcga-cna@0.1.0, "
        "other-cna:tcga-cna@0.2.0; say which with --condition-space"
    )
    assert _refused(SpaceError, "mine", "rppa", "cna", inventory, tmp_path, target_space="x@1") == (
        "space 'x@1' is not among those of 'cna': codenoise-space-tcga-cna:tcga-cna@0.1.0, "
        "other-cna:tcga-cna@0.2.0; say which with --target-space"
    )
    for number, wanted in enumerate(("tcga-cna@0.2.0", "other-cna:tcga-cna", "other-cna:")):
        project = new_expert(
            f"mine-{number}", "cna", "rppa", inventory, tmp_path, condition_space=wanted
        )
        assert _manifest(project).condition[0].version == "0.2.0"
        assert "other-cna==0.2.0" in (project / "pyproject.toml").read_text()


@pytest.fixture
def split(tmp_path: Path) -> Path:
    patients = read_cohort(COHORT, ["cna", "rppa"]).patients
    labels = ["train", "train", "validation", "test"] * len(patients)
    path = tmp_path / "split.csv"
    write_split(
        pd.Series(labels[: len(patients)], pd.Index(patients, name="patient"), name="split"), path
    )
    return path


def test_training_replaces_the_template(project: Path, split: Path) -> None:
    toml = project / "pyproject.toml"
    text = toml.read_text().replace('"0.1.0.dev0"', '"0.2.0"').replace("CC0-1.0", "GPL-2.0-only")
    toml.write_text(text)
    (project / "codenoise_expert_mine" / "notes.md").write_text("mine")
    before = _manifest(project)
    trained = train_project(project, COHORT, split, ABOUT, CONFIG)
    assert _manifest(project) == trained
    assert trained.reference == "mine@0.2.0"
    assert trained.license == "GPL-2.0-only"
    assert (trained.condition, trained.target) == (before.condition, before.target)
    assert trained.training.cohort == "64 patients"
    assert trained.authors == ["A. Author"]
    assert 2 <= trained.training.n < 32
    assert trained.training.config["max_steps"] == 20
    found = sorted(str(p.relative_to(project)) for p in project.rglob("*") if p.is_file())
    assert found == sorted([*FILES, "codenoise_expert_mine/notes.md"])
    assert toml.read_text() == text
    assert "A. Author" not in (project / "train.py").read_text()
    assert "## Validation" in (project / "codenoise_expert_mine" / "README.md").read_text()


def test_training_twice_gives_the_same_weights(project: Path, split: Path) -> None:
    first = train_project(project, COHORT, split, ABOUT, CONFIG)
    again = train_project(project, COHORT, split, ABOUT, CONFIG)
    assert again.files == first.files
    assert again.training.fingerprint == first.training.fingerprint


def test_test_patients_are_not_trained_on(project: Path, split: Path, tmp_path: Path) -> None:
    labels = pd.read_csv(split, index_col=0)["split"]
    poisoned = tmp_path / "poisoned"
    poisoned.mkdir()
    for name in ("cna", "rppa"):
        table = pd.read_csv(COHORT / f"{name}.csv", index_col=0)
        table[table.index.isin(labels.index[labels == "test"])] *= 0.5
        table.to_csv(poisoned / f"{name}.csv")
    clean = train_project(project, COHORT, split, ABOUT, CONFIG)
    assert train_project(project, poisoned, split, ABOUT, CONFIG).files == clean.files


def test_training_that_fails_leaves_the_project_as_it_was(project: Path, tmp_path: Path) -> None:
    files = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        train_project(project, COHORT, tmp_path / "nowhere.csv", ABOUT, CONFIG)
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == files


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('version = "0.1.0.dev0"', 'version = "new"'),
        ('version = "0.1.0.dev0"', 'dynamic = ["version"]'),
        ('license = "CC0-1.0"', 'license = { text = "mine" }'),
        ("[project]", "[projekt]"),
    ],
)
def test_project_has_to_give_version_and_license(
    project: Path, split: Path, old: str, new: str
) -> None:
    toml = project / "pyproject.toml"
    toml.write_text(toml.read_text().replace(old, new))
    with pytest.raises(ArtifactError) as caught:
        train_project(project, COHORT, split, ABOUT, CONFIG)
    assert str(caught.value).startswith(
        f"{toml} should give version and license, both as text, under [project]: "
    )


def test_training_needs_the_spaces(
    project: Path, split: Path, tmp_path: Path, only_these: Callable[[Path], None]
) -> None:
    only_these(tmp_path / "nothing")
    with pytest.raises(SpaceError, match=r"mine@0\.1\.0\.dev0 needs its cna space tcga-cna@0\.1"):
        train_project(project, COHORT, split, ABOUT, CONFIG)


def test_a_project_of_a_space_is_refused(split: Path) -> None:
    project = ROOT / "plugins" / "codenoise-space-tcga-cna"
    with pytest.raises(ArtifactError, match="is the project of a space; give that of an expert"):
        train_project(project, COHORT, split, ABOUT, CONFIG)


def test_train_py_trains(project: Path, split: Path, bank_site: Path) -> None:
    script = project / "train.py"
    quick = ", ".join(f"{k}={v!r}" for k, v in vars(CONFIG).items())
    text = script.read_text()
    assert "CONFIG = TrainingConfig()" in text
    script.write_text(text.replace("TrainingConfig()", f"TrainingConfig({quick})"))
    ended = subprocess.run(
        [sys.executable, script, COHORT, split],
        env={**os.environ, "PYTHONPATH": str(bank_site)}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    r2 = json.loads((project / "codenoise_expert_mine" / "expert.json").read_text())
    assert ended.stdout == (
        f"mine@0.1.0.dev0: validation R2 {r2['validation']['r2_expectation']:.3f}\n"
    )


@pytest.fixture
def ends(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What ``train.py`` exits with: here, for each process of its own would import torch."""

    def apply(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(project / "train.py"), run_name="__main__")
        assert isinstance(caught.value.code, str)  # goes to stderr, and the code is 1
        return caught.value.code

    return apply


def test_train_py_says_how_it_is_used(ends: Callable[..., str]) -> None:
    assert "python train.py COHORT SPLIT.csv" in ends(COHORT)


def test_train_py_shows_no_traceback(project: Path, ends: Callable[..., str]) -> None:
    message = ends(project / "nowhere", project / "split.csv")
    assert message.startswith("error: ")
    assert "\n" not in message
