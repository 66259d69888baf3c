"""Plugins put together by hand: copies of bundled ones, and tiny ones trained in a second."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.tables import Table
from codenoise.registry.authoring.bank_recipe import BankRecipe
from codenoise.registry.contract.artifacts import (
    ENCODER_FILE,
    IDENTITY_KEY,
    WEIGHTS_FILE,
    expert_identity,
    file_entry,
    load_tensors,
    save_tensors,
)
from codenoise.registry.contract.manifest import (
    EXPERT_FILE,
    SPACE_FILE,
    ExpertManifest,
)
from codenoise.registry.contract.manifest_file import read_manifest

Content = dict[str, Any]
PLUGINS = Path(__file__).parents[2] / "plugins"
SPACES = ("space-tcga-cna", "space-tcga-rna", "space-tcga-rppa", "space-tcga-wsi")


def _edit(path: Path, change: Callable[[Content], object]) -> Path:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=1))
    return path


def _put(
    site: Path,
    project: Path | str,
    *,
    distribution: str = "",
    version: str = "",
    change: Callable[[Content], object] | None = None,
) -> Path:
    folder = PLUGINS / f"codenoise-{project}" if isinstance(project, str) else project
    about = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    name, release = distribution or about["name"], version or about["version"]
    package = name.replace("-", "_")
    ((group, entries),) = about["entry-points"].items()
    ((entry, value),) = entries.items()
    file = value.partition(":")[2]
    target = site / package
    shutil.copytree(folder / about["name"].replace("-", "_"), target)
    if version:
        _edit(target / file, lambda content: content.update(version=version))
    if change is not None:
        _edit(target / file, change)
    info = site / f"{package}-{release}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{entry} = {package}:{file}\n")
    files = sorted(path.name for path in target.iterdir())
    (info / "RECORD").write_text("".join(f"{package}/{file},,\n" for file in files))
    return target


def _seal(folder: Path, tensors: dict[str, Any] | None = None) -> None:
    """Make the files of a changed plugin agree with its manifest again."""
    if (folder / SPACE_FILE).exists():
        path, manifest, metadata = folder / ENCODER_FILE, folder / SPACE_FILE, {}
    else:
        path, manifest = folder / WEIGHTS_FILE, folder / EXPERT_FILE
        metadata = {IDENTITY_KEY: expert_identity(read_manifest(manifest, ExpertManifest))}
    save_tensors(load_tensors(path)[0] if tensors is None else tensors, path, metadata)
    entry = file_entry(path).model_dump()
    _edit(manifest, lambda content: content["files"].update({path.name: entry}))


@pytest.fixture(scope="session")
def put() -> Callable[..., Path]:
    """``put(site, plugin)`` installs a copy of a bundled plugin or project; returns its folder."""
    return _put


@pytest.fixture(scope="session")
def edit() -> Callable[[Path, Callable[[Content], object]], Path]:
    """``edit(file, change)`` changes a JSON file in place."""
    return _edit


@pytest.fixture(scope="session")
def seal() -> Callable[..., None]:
    """``seal(folder)`` rewrites weights and file entry to agree with a changed manifest."""
    return _seal


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the four bundled spaces and ``rna-to-rppa`` and ``cna-to-rppa``, all copies."""
    folder = tmp_path / "site"
    for plugin in (*SPACES, "expert-rna-to-rppa", "expert-cna-to-rppa"):
        _put(folder, plugin)
    return folder


MODALITIES = ("alpha", "beta", "gamma_g")


@pytest.fixture(scope="session")
def tiny_cohort() -> Cohort:
    """150 patients, three modalities of 40 features; beta follows alpha, gamma_g is mere noise."""
    rng = np.random.default_rng(0)
    patients = pd.Index([f"P{i:03d}" for i in range(150)], name="patient")
    factors = rng.normal(size=(150, 4))
    tables = {}
    for modality in MODALITIES:
        source = rng.normal(size=(150, 4)) if modality == "gamma_g" else factors
        values = source @ rng.normal(size=(4, 40)) + 0.1 * rng.normal(size=(150, 40))
        frame = pd.DataFrame(values, patients, [f"{modality}{i}" for i in range(40)])
        tables[modality] = Table(frame.drop(index=patients[rng.integers(150)]), f"{modality}.csv")
    return Cohort(tables)


@pytest.fixture(scope="session")
def tiny_split(tiny_cohort: Cohort) -> pd.Series[str]:
    """Of every five patients three train, one validates, one tests."""
    labels = ("train", "train", "train", "validation", "test")
    patients = pd.Index(sorted(tiny_cohort.patients), name="patient")
    return pd.Series([labels[i % 5] for i in range(150)], patients, name="split")


def _recipe(modalities: Sequence[str] = MODALITIES[:2], **fields: Any) -> BankRecipe:
    training = {
        "width": 16, "layers": 2, "time_dim": 8, "condition_width": 8, "batch": 64,
        "learning_rate": 0.02, "condition_noise": 0.0, "ema_decay": 0.9, "max_steps": 60,
        "validate_every": 20, "validation_draws": 4, "validation_sampler_steps": 5,
    }  # fmt: skip
    described = {
        modality: {
            "space": f"tiny-{modality}".replace("_", "-"),
            "unit": "arbitrary units",
            "license": "CC0-1.0" if modality == "alpha" else "MIT",
            "sources": [f"{modality}: made up"],
            "source_licenses": [{"name": f"Table of {modality}", "license": "CC0-1.0"}]
            * (modality == "alpha"),
            "dim": 4,
        }
        for modality in modalities
    }
    content = {
        "cohort": "tiny",
        "version": "0.1.0",
        "authors": ["A. Author"],
        "citation": "Nothing to cite.",
        "minimum_patients": 20,
        "training": training,
        "modalities": described,
    }
    return BankRecipe.model_validate(content | fields)


@pytest.fixture(scope="session")
def tiny_recipe() -> Callable[..., BankRecipe]:
    """``tiny_recipe(modalities, **fields)``: 60 steps of a network 16 wide."""
    return _recipe
