from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pytest
import tomli_w
from safetensors import safe_open

from codenoise.core.base.errors import CodenoiseError, DataError
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.tables import Table
from codenoise.registry.authoring.bank import Ends, multis_of, train_bank
from codenoise.registry.authoring.bank_recipe import BankRecipe, read_bank_recipe
from codenoise.registry.authoring.bank_spaces import Outcome
from codenoise.registry.contract.manifest import (
    ExpertManifest,
    SpaceManifest,
)
from codenoise.registry.contract.manifest_file import read_manifest
from codenoise.registry.ensembles.composing import compose
from codenoise.registry.ensembles.resolving import load_ensemble
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.loading import load_space

Split: TypeAlias = "pd.Series[str]"
Make = Callable[..., BankRecipe]
ROOT = Path(__file__).parents[2]
PROJECTS = [
    "codenoise-expert-alpha-to-beta",
    "codenoise-expert-beta-to-alpha",
    "codenoise-space-tiny-alpha",
    "codenoise-space-tiny-beta",
]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
) -> tuple[Path, list[Outcome]]:
    """Projects of two modalities and what was said of them; not to be changed."""
    root = tmp_path_factory.mktemp("bank") / "plugins"
    return root, train_bank(tiny_recipe(), tiny_cohort, tiny_split, root)


@pytest.fixture
def root(trained: tuple[Path, list[Outcome]], tmp_path: Path) -> Path:
    """The same projects, to be changed."""
    return shutil.copytree(trained[0], tmp_path / "plugins")


def _files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _weights(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in _files(root).items() if name.endswith(".safetensors")}


def test_bank_writes_a_project_for_every_space_and_ordered_pair(
    trained: tuple[Path, list[Outcome]],
) -> None:
    root, outcomes = trained
    assert sorted(path.name for path in root.iterdir()) == PROJECTS
    assert [(o.kind, o.name, o.status) for o in outcomes] == [
        ("space", "tiny-alpha", "trained"),
        ("space", "tiny-beta", "trained"),
        ("expert", "alpha-to-beta", "trained"),
        ("expert", "beta-to-alpha", "trained"),
    ]
    # 90 and 30 patients of the split, less the one that each modality lacks.
    assert all(88 <= o.n_train <= 90 and 28 <= o.n_validation <= 30 for o in outcomes)
    assert all(np.isfinite(o.r2) for o in outcomes)


def test_trained_projects_hold_what_a_package_needs(trained: tuple[Path, list[Outcome]]) -> None:
    root, _ = trained
    assert sorted(_files(root / "codenoise-expert-alpha-to-beta")) == [
        "LICENSE",
        "codenoise_expert_alpha_to_beta/README.md",
        "codenoise_expert_alpha_to_beta/__init__.py",
        "codenoise_expert_alpha_to_beta/denoiser.safetensors",
        "codenoise_expert_alpha_to_beta/expert.json",
        "pyproject.toml",
    ]
    assert sorted(_files(root / "codenoise-space-tiny-alpha")) == [
        "LICENSE",
        "codenoise_space_tiny_alpha/README.md",
        "codenoise_space_tiny_alpha/__init__.py",
        "codenoise_space_tiny_alpha/encoder.safetensors",
        "codenoise_space_tiny_alpha/space.json",
        "pyproject.toml",
    ]


def test_trained_plugins_are_found_compose_and_generate(
    trained: tuple[Path, list[Outcome]],
    tmp_path: Path,
    put: Callable[..., Path],
    tiny_cohort: Cohort,
) -> None:
    for project in sorted(trained[0].iterdir()):
        put(tmp_path, project)
    inventory = discover(path=[str(tmp_path)], checksums=True)
    assert not inventory.broken
    ensemble = load_ensemble(compose(inventory), inventory)
    cohort = Cohort({"alpha": tiny_cohort.tables["alpha"]})
    completed = ensemble.impute(cohort, draws=2, targets=["beta"]).completed["beta"].frame
    assert completed.shape == (149, 40)
    assert completed.notna().all(axis=None)


def test_manifests_record_data_settings_and_people(
    trained: tuple[Path, list[Outcome]], tiny_recipe: Make
) -> None:
    root, outcomes = trained
    path = root / PROJECTS[0] / "codenoise_expert_alpha_to_beta" / "expert.json"
    manifest = read_manifest(path, ExpertManifest)
    recipe, outcome = tiny_recipe(), outcomes[2]
    assert manifest.license == "CC0-1.0 AND MIT"
    assert manifest.authors == ["A. Author"]
    assert manifest.sources == ["alpha: made up", "beta: made up"]
    assert [one.model_dump() for one in manifest.source_licenses] == [
        {"name": "Table of alpha", "license": "CC0-1.0", "url": "", "covers": "alpha"}
    ]
    assert (manifest.training.cohort, manifest.training.n) == ("tiny", outcome.n_train)
    assert manifest.training.config.items() >= recipe.training.items()
    assert manifest.validation.n == outcome.n_validation
    assert manifest.validation.r2_expectation == outcome.r2
    assert len(manifest.condition_stats[0].mean) == 4
    factor = [len(row) for row in manifest.condition_stats[0].covariance_factor]
    assert factor == [1, 2, 3, 4]
    refs = [
        read_manifest(
            root / f"codenoise-space-tiny-{m}" / f"codenoise_space_tiny_{m}" / "space.json",
            SpaceManifest,
        ).ref
        for m in ("alpha", "beta")
    ]
    assert [*manifest.condition, manifest.target] == refs


def test_condition_statistics_are_those_of_training_latents(
    trained: tuple[Path, list[Outcome]],
    tmp_path: Path,
    put: Callable[..., Path],
    tiny_cohort: Cohort,
    tiny_split: Split,
) -> None:
    for project in sorted(trained[0].iterdir()):
        put(tmp_path, project)
    inventory = discover(path=[str(tmp_path)])
    space = load_space(next(p for p in inventory.spaces if p.manifest.modality == "alpha"))
    expert = next(p for p in inventory.experts if p.manifest.name == "alpha-to-beta")
    both = tiny_cohort.mask()[["alpha", "beta"]].all(axis=1)
    train = tiny_split.index[(tiny_split == "train") & both.reindex(tiny_split.index)]
    latents = space.encode(tiny_cohort.tables["alpha"].frame.loc[train]).to_numpy()
    stats = expert.manifest.condition_stats[0]
    np.testing.assert_allclose(stats.mean, latents.mean(axis=0), atol=1e-5)
    factor = np.zeros((4, 4))
    for i, row in enumerate(stats.covariance_factor):
        factor[i, : i + 1] = row
    np.testing.assert_allclose(factor @ factor.T, np.cov(latents.T), atol=1e-4)


def test_weights_are_stored_in_half_precision(trained: tuple[Path, list[Outcome]]) -> None:
    for path in trained[0].glob("*/*/denoiser.safetensors"):
        with safe_open(path, framework="np") as opened:
            kinds = {opened.get_tensor(name).dtype.name for name in opened.keys()}  # noqa: SIM118
        # The counters of batch normalisation are whole numbers.
        assert kinds == {"float16", "int64"}


def test_project_files_parse_and_pin_their_spaces(trained: tuple[Path, list[Outcome]]) -> None:
    for project in trained[0].iterdir():
        content = tomllib.loads((project / "pyproject.toml").read_text())
        about = content["project"]
        package = project.name.replace("-", "_")
        assert about["name"] == project.name
        assert about["version"] == "0.1.0"
        assert content["tool"]["setuptools"]["packages"] == [package]
        assert (project / about["readme"]).is_file()
        assert about["license-files"] == ["LICENSE"]
        kind = project.name.split("-")[1]
        name = project.name.removeprefix(f"codenoise-{kind}-")
        assert about["entry-points"] == {f"codenoise.{kind}s": {name: f"{package}:{kind}.json"}}
        wanted = ["codenoise-space-tiny-alpha==0.1.0", "codenoise-space-tiny-beta==0.1.0"]
        assert sorted(about["dependencies"]) == (wanted if kind == "expert" else [])


def _card(project: Path) -> str:
    (path,) = project.glob("*/README.md")
    return path.read_text()


def test_model_cards_have_front_matter(trained: tuple[Path, list[Outcome]]) -> None:
    for project in trained[0].iterdir():
        _, front, body = _card(project).split("---\n", 2)
        keys = [line.partition(":")[0] for line in front.splitlines() if line[0] not in "- "]
        expert = project.name.startswith("codenoise-expert")
        named = ["license_name"] if expert else []
        assert keys == ["library_name", "license", *named, "tags", "model-index"]
        assert "library_name: codenoise\n" in front
        assert "- codenoise\n" in front
        assert "\n## Data\n" in body
        assert "{{" not in body
        # Two licences together have no name on the Hub.
        licences = {"alpha": "cc0-1.0", "beta": "mit"}
        wanted = licences.get(project.name.rpartition("-")[2], "")
        assert f"license: {'other' if expert else wanted}\n" in front


def test_model_card_says_so_where_the_expert_knows_nothing(
    trained: tuple[Path, list[Outcome]],
    tmp_path: Path,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
) -> None:
    warning = "no better than predicting the average patient"
    name = "codenoise-expert-alpha-to-beta"
    assert trained[1][2].r2 > 0.2
    assert warning not in _card(trained[0] / name)
    # What holds for training patients is turned round for validation patients.
    frame = tiny_cohort.tables["beta"].frame.copy()
    frame[(tiny_split.reindex(frame.index) == "validation").to_numpy()] *= -1
    turned = Cohort({**tiny_cohort.tables, "beta": Table(frame, "beta.csv")})
    experts = [(("alpha",), "beta")]
    outcomes = train_bank(tiny_recipe(), turned, tiny_split, tmp_path, experts=experts)
    assert outcomes[2].r2 <= 0
    assert warning in _card(tmp_path / name)


def test_licences_of_sources_are_no_reason_to_train_again(
    trained: tuple[Path, list[Outcome]], tiny_cohort: Cohort, tiny_split: Split, tiny_recipe: Make
) -> None:
    recipe = tiny_recipe()
    described = {
        name: entry.model_copy(update={"source_licenses": []})
        for name, entry in recipe.modalities.items()
    }
    plain = recipe.model_copy(update={"modalities": described})
    outcomes = train_bank(plain, tiny_cohort, tiny_split, trained[0])
    assert {outcome.status for outcome in outcomes} == {"up to date"}


def test_second_run_finds_everything_up_to_date_and_changes_nothing(
    trained: tuple[Path, list[Outcome]],
    root: Path,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
) -> None:
    before = {path: path.stat() for path in root.rglob("*")}
    held = _files(root)
    second = train_bank(tiny_recipe(), tiny_cohort, tiny_split, root)
    assert {outcome.status for outcome in second} == {"up to date"}
    assert [(o.name, o.n_train, o.n_validation, o.r2) for o in second] == [
        (o.name, o.n_train, o.n_validation, o.r2) for o in trained[1]
    ]
    assert _files(root) == held
    after = {path: path.stat() for path in root.rglob("*")}
    assert {p: (s.st_ino, s.st_mtime_ns) for p, s in after.items()} == {
        p: (s.st_ino, s.st_mtime_ns) for p, s in before.items()
    }


def test_two_runs_give_the_same_weights(
    trained: tuple[Path, list[Outcome]],
    tmp_path: Path,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
) -> None:
    train_bank(tiny_recipe(), tiny_cohort, tiny_split, tmp_path)
    assert _weights(tmp_path) == _weights(trained[0])


@pytest.mark.parametrize("done", [1, 2, 3])
def test_interrupted_run_is_finished_to_the_same_bytes(
    trained: tuple[Path, list[Outcome]],
    tmp_path: Path,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
    done: int,
) -> None:
    def interrupt(outcome: Outcome, number: int, total: int) -> None:
        assert total == 4
        if number == done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_bank(tiny_recipe(), tiny_cohort, tiny_split, tmp_path, report=interrupt)
    assert len(list(tmp_path.iterdir())) == done
    outcomes = train_bank(tiny_recipe(), tiny_cohort, tiny_split, tmp_path)
    assert sorted(o.status for o in outcomes) == ["trained"] * (4 - done) + ["up to date"] * done
    assert _weights(tmp_path) == _weights(trained[0])


def test_run_that_dies_while_writing_leaves_no_half_of_a_project(
    trained: tuple[Path, list[Outcome]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("codenoise.registry.authoring.project.write_manifest", full)
        with pytest.raises(OSError, match="no space left"):
            train_bank(tiny_recipe(), tiny_cohort, tiny_split, tmp_path)
    assert not list(tmp_path.iterdir())
    train_bank(tiny_recipe(), tiny_cohort, tiny_split, tmp_path)
    assert _weights(tmp_path) == _weights(trained[0])


def test_one_pair_alone_is_the_same_as_in_the_bank(
    trained: tuple[Path, list[Outcome]],
    tmp_path: Path,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
) -> None:
    experts = [(("beta",), "alpha")]
    outcomes = train_bank(tiny_recipe(), tiny_cohort, tiny_split, tmp_path, experts=experts)
    assert [outcome.name for outcome in outcomes] == ["tiny-alpha", "tiny-beta", "beta-to-alpha"]
    assert _weights(tmp_path).items() < _weights(trained[0]).items()
    train_bank(tiny_recipe(), tiny_cohort, tiny_split, tmp_path)
    assert _weights(tmp_path) == _weights(trained[0])


def test_multi_condition_expert_is_trained_packaged_and_used(
    tmp_path: Path,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
    put: Callable[..., Path],
) -> None:
    recipe = tiny_recipe(["alpha", "beta", "gamma_g"])
    experts = [ends for ends in multis_of(list(recipe.modalities)) if ends[1] == "beta"]
    outcomes = train_bank(recipe, tiny_cohort, tiny_split, tmp_path / "plugins", experts=experts)
    trained = outcomes[-1]
    label = tiny_split.reindex(tiny_cohort.measured("beta").index)
    assert (trained.name, trained.n_train) == ("multi-to-beta", (label == "train").sum())
    site = tmp_path / "site"
    for project in (tmp_path / "plugins").iterdir():
        put(site, project)
    inventory = discover(path=[str(site)])
    (expert,) = inventory.experts
    assert (expert.manifest.kind, expert.manifest.conditions) == ("multi", "alpha+gamma_g")
    means = [stats.mean for stats in expert.manifest.condition_stats]
    assert [len(mean) for mean in means] == [4, 4]
    card = (expert.folder / "README.md").read_text()
    assert "from **alpha+gamma_g**, any subset of these" in card
    ensemble = load_ensemble(compose(inventory), inventory)
    test = tiny_cohort.subset(tiny_split.index[tiny_split == "test"])
    given = Cohort({name: test.tables[name] for name in ("alpha", "gamma_g")})
    partly = ensemble.encode(given) | {"gamma_g": ensemble.encode(given)["gamma_g"].iloc[:5]}
    patients = sorted(partly["alpha"].index)
    generated = ensemble.generate("beta", partly, patients, draws=2)
    assert np.isfinite(generated.draws).all()
    assert generated.weights.tolist() == [[1.0]] * len(patients)


def test_number_of_workers_does_not_change_the_weights(
    trained: tuple[Path, list[Outcome]],
    tmp_path: Path,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
) -> None:
    outcomes = train_bank(tiny_recipe(), tiny_cohort, tiny_split, tmp_path, workers=2)
    assert len(outcomes) == 4
    assert _weights(tmp_path) == _weights(trained[0])


def test_a_broken_manifest_is_trained_again(
    trained: tuple[Path, list[Outcome]],
    root: Path,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
) -> None:
    (manifest,) = root.glob("codenoise-expert-alpha-to-beta/*/expert.json")
    manifest.write_text("{")
    outcomes = train_bank(tiny_recipe(), tiny_cohort, tiny_split, root)
    assert [o.name for o in outcomes if o.status == "trained"] == ["alpha-to-beta"]
    assert _weights(root) == _weights(trained[0])


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_damaged_weights_are_trained_again(
    trained: tuple[Path, list[Outcome]],
    root: Path,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
    damage: str,
) -> None:
    (weights,) = root.glob("codenoise-expert-alpha-to-beta/*/denoiser.safetensors")
    if damage == "missing":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:100])
    train_bank(tiny_recipe(), tiny_cohort, tiny_split, root)
    assert _weights(root) == _weights(trained[0])


@pytest.mark.parametrize("value", [np.nan, 1e30, -1e30, np.inf, 0.0])
def test_values_of_test_patients_leave_every_weight_as_it_is(
    trained: tuple[Path, list[Outcome]],
    tmp_path: Path,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
    value: float,
) -> None:
    tests = set(tiny_split.index[tiny_split == "test"])
    tables = {}
    for modality, table in tiny_cohort.tables.items():
        frame = table.frame.copy()
        frame.loc[frame.index.isin(tests)] = value
        tables[modality] = Table(frame, table.source)
    outcomes = train_bank(tiny_recipe(), Cohort(tables), tiny_split, tmp_path)
    assert len(outcomes) == 4
    assert _weights(tmp_path) == _weights(trained[0])


def test_bank_of_poisoned_test_patients_is_up_to_date(
    root: Path, tiny_cohort: Cohort, tiny_split: Split, tiny_recipe: Make
) -> None:
    kept = tiny_cohort.subset(tiny_split.index[tiny_split != "test"])
    outcomes = train_bank(tiny_recipe(), kept, tiny_split, root)
    assert {outcome.status for outcome in outcomes} == {"up to date"}


def test_a_changed_training_value_is_trained_again(
    root: Path, tiny_cohort: Cohort, tiny_split: Split, tiny_recipe: Make
) -> None:
    table = tiny_cohort.tables["beta"]
    frame = table.frame.copy()
    patient = next(p for p in frame.index if tiny_split[p] == "train")
    frame.loc[patient, "beta0"] += 1.0
    changed = Cohort({**tiny_cohort.tables, "beta": Table(frame, table.source)})
    outcomes = train_bank(tiny_recipe(), changed, tiny_split, root)
    assert {o.name: o.status for o in outcomes} == {
        "tiny-alpha": "up to date",
        "tiny-beta": "trained",
        "alpha-to-beta": "trained",
        "beta-to-alpha": "trained",
    }


def test_a_changed_setting_trains_the_experts_again_and_no_space(
    root: Path, tiny_cohort: Cohort, tiny_split: Split, tiny_recipe: Make
) -> None:
    recipe = tiny_recipe()
    again = tiny_recipe(training=recipe.training | {"seed": 1})
    outcomes = train_bank(again, tiny_cohort, tiny_split, root)
    assert {(o.kind, o.status) for o in outcomes} == {
        ("space", "up to date"), ("expert", "trained"),
    }  # fmt: skip


def test_adding_a_modality_leaves_the_packages_of_the_others_alone(
    root: Path, tiny_cohort: Cohort, tiny_split: Split, tiny_recipe: Make
) -> None:
    before = _files(root)
    outcomes = train_bank(tiny_recipe(("alpha", "beta", "gamma_g")), tiny_cohort, tiny_split, root)
    assert {o.name: o.status for o in outcomes} == {
        "tiny-alpha": "up to date",
        "tiny-beta": "up to date",
        "tiny-gamma-g": "trained",
        "alpha-to-beta": "up to date",
        "beta-to-alpha": "up to date",
        "alpha-to-gamma-g": "trained",
        "beta-to-gamma-g": "trained",
        "gamma-g-to-alpha": "trained",
        "gamma-g-to-beta": "trained",
    }
    after = _files(root)
    assert {name: after[name] for name in before} == before
    assert all("gamma" in name for name in set(after) - set(before))


def test_too_few_patients_are_reported_and_nothing_is_written_for_them(
    tmp_path: Path, tiny_cohort: Cohort, tiny_split: Split, tiny_recipe: Make
) -> None:
    recipe = tiny_recipe(minimum_patients=1000)
    seen: list[tuple[str, int, int]] = []
    outcomes = train_bank(
        recipe, tiny_cohort, tiny_split, tmp_path,
        report=lambda outcome, done, total: seen.append((outcome.status, done, total)),
    )  # fmt: skip
    assert [outcome.status for outcome in outcomes[2:]] == ["too few patients"] * 2
    assert outcomes[2].n_train < 1000
    assert [done for _, done, _ in seen] == [1, 2, 3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == PROJECTS[2:]


@pytest.mark.parametrize(
    ("experts", "words"),
    [
        ([(("alpha",), "delta")], "'delta' is not in the bank recipe, which has alpha, beta"),
        ([(("delta",), "alpha")], "'delta' is not in the bank recipe"),
        ([(("alpha",), "alpha")], "condition and target are both 'alpha'"),
    ],
)
def test_pair_that_cannot_be_trained_is_refused_before_anything_is_written(
    tmp_path: Path,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
    experts: list[Ends],
    words: str,
) -> None:
    with pytest.raises(DataError, match=words):
        train_bank(tiny_recipe(), tiny_cohort, tiny_split, tmp_path, experts=experts)
    assert not list(tmp_path.iterdir())


def test_cohort_without_a_modality_of_the_recipe_is_refused(
    tmp_path: Path, tiny_cohort: Cohort, tiny_split: Split, tiny_recipe: Make
) -> None:
    only = Cohort({"alpha": tiny_cohort.tables["alpha"]})
    with pytest.raises(DataError, match="beta"):
        train_bank(tiny_recipe(), only, tiny_split, tmp_path)


def test_split_of_other_patients_is_refused_showing_both_ids(
    tmp_path: Path, tiny_cohort: Cohort, tiny_split: Split, tiny_recipe: Make
) -> None:
    other = tiny_split.rename(lambda patient: patient.replace("P", "TCGA-"))
    with pytest.raises(DataError, match="no train patient in common") as caught:
        train_bank(tiny_recipe(), tiny_cohort, other, tmp_path)
    assert "'P000'" in str(caught.value) or "'P001'" in str(caught.value)
    assert "'TCGA-000'" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_split_without_validation_patients_is_refused(
    tmp_path: Path, tiny_cohort: Cohort, tiny_split: Split, tiny_recipe: Make
) -> None:
    with pytest.raises(DataError, match="no validation patient in common"):
        train_bank(tiny_recipe(), tiny_cohort, tiny_split.replace("validation", "test"), tmp_path)


def test_more_dimensions_than_patients_are_refused(
    tmp_path: Path, tiny_cohort: Cohort, tiny_split: Split, tiny_recipe: Make
) -> None:
    few = pd.concat([part.iloc[:4] for _, part in tiny_split.groupby(tiny_split)])
    with pytest.raises(DataError, match="space of alpha needs more than 4 training patients"):
        train_bank(tiny_recipe(), tiny_cohort, few, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"widht": 16},
        {"width": "wide"},
        {"width": -4},
        {"prediction": "noise"},
        {"batch": 0},
        {"max_steps": 0},
        {"max_steps": "many"},
        {"validate_every": 0},
        {"learning_rate": "fast"},
    ],
    ids=str,
)
def test_training_setting_that_makes_no_sense_is_refused(
    tmp_path: Path,
    tiny_cohort: Cohort,
    tiny_split: Split,
    tiny_recipe: Make,
    change: dict[str, Any],
) -> None:
    recipe = tiny_recipe()
    (setting,) = change
    with pytest.raises(CodenoiseError, match=setting):
        train_bank(
            tiny_recipe(training=recipe.training | change), tiny_cohort, tiny_split, tmp_path
        )


def test_bundled_bank_recipe_reads() -> None:
    recipe = read_bank_recipe(ROOT / "plugins" / "tcga.toml")
    assert {"rna", "rppa", "cna", "wsi"} <= set(recipe.modalities)
    assert recipe.config().seed == 0


def _same_space(content: dict[str, Any]) -> None:
    content["modalities"]["beta"]["space"] = content["modalities"]["alpha"]["space"]


RECIPE_FAULTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown": (lambda r: r.update(licence="x"), "'licence' is unknown"),
    "unknown-near": (lambda r: r.update(modality={}), "did you mean 'modalities'?"),
    "unknown-nested": (lambda r: r["modalities"]["beta"].update(dims=4), "mean 'dim'?"),
    "missing": (lambda r: r.pop("authors"), "'authors' is missing"),
    "missing-nested": (lambda r: r["modalities"]["beta"].pop("unit"), "'modalities.beta.unit'"),
    "version": (lambda r: r.update(version="newest"), "'version'"),
    "one-modality": (lambda r: r["modalities"].pop("beta"), "'modalities'"),
    "space": (lambda r: r["modalities"]["beta"].update(space="Tiny Beta"), "'modalities.beta.sp"),
    "dim": (lambda r: r["modalities"]["beta"].update(dim=0), "'modalities.beta.dim'"),
    "name": (lambda r: r["modalities"].update({"My RNA": r["modalities"]["beta"]}), "My RNA"),
    "escape": (lambda r: r["modalities"].update({"../x": r["modalities"]["beta"]}), "../x"),
    "same-space": (_same_space, "tiny-alpha"),
}


@pytest.mark.parametrize("fault", RECIPE_FAULTS)
def test_bad_bank_recipe_is_refused_by_file_and_field(
    tmp_path: Path, tiny_recipe: Make, fault: str
) -> None:
    change, words = RECIPE_FAULTS[fault]
    content = tiny_recipe().model_dump(mode="json")
    change(content)
    path = tmp_path / "bank.toml"
    path.write_text(tomli_w.dumps(content))
    with pytest.raises(DataError) as caught:
        read_bank_recipe(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_bank_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"bank\.toml is not there; give a bank recipe"):
        read_bank_recipe(tmp_path / "bank.toml")


@pytest.mark.parametrize("content", [b"cohort = ", b"\xff"])
def test_bank_recipe_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bank.toml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bank\.toml is no TOML file"):
        read_bank_recipe(path)
