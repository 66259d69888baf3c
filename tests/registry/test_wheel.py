from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codenoise.core.base.errors import ArtifactError, CodenoiseError
from codenoise.registry.authoring.scaffold import new_expert
from codenoise.registry.authoring.wheel import package
from codenoise.registry.contract.artifacts import file_entry
from codenoise.registry.contract.plugin import Inventory
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.loading import load_expert

PLUGINS = Path(__file__).parents[2] / "plugins"
EXPERT = PLUGINS / "codenoise-expert-cna-to-wsi"
WHEEL = "codenoise_expert_cna_to_wsi-0.1.0-py3-none-any.whl"
INNER = "codenoise_expert_cna_to_wsi"
NOTHING = Inventory((), (), ())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A bundled expert's project, to be spoilt."""
    folder = tmp_path / "project"
    shutil.copytree(EXPERT, folder, ignore=shutil.ignore_patterns("*.egg-info", "build"))
    return folder


def _names(wheel: Path) -> list[str]:
    return sorted(zipfile.ZipFile(wheel).namelist())


def _refused(folder: Path, output: Path, error: type[CodenoiseError] = ArtifactError) -> str:
    with pytest.raises(error) as caught:
        package(folder, output, NOTHING)
    assert not output.exists()
    return str(caught.value)


def test_project_and_plain_folder_give_the_same_wheel(
    bank: Path, project: Path, tmp_path: Path
) -> None:
    wheels = [
        package(folder, tmp_path / str(i), discover())
        for i, folder in enumerate((project, project / INNER))
    ]
    assert wheels[0].path.read_bytes() == wheels[1].path.read_bytes()
    (wheel, _) = wheels
    assert wheel.path == tmp_path / "0" / WHEEL
    assert wheel.reference == "cna-to-wsi@0.1.0"
    assert wheel.distribution == "codenoise-expert-cna-to-wsi"
    assert wheel.requires == ("codenoise-space-tcga-cna==0.1.0", "codenoise-space-tcga-wsi==0.1.0")
    assert (wheel.sha256, wheel.bytes) == tuple(file_entry(wheel.path).model_dump().values())
    info = f"{INNER}-0.1.0.dist-info"
    assert _names(wheel.path) == sorted(
        [f"{INNER}/{name}" for name in ("README.md", "__init__.py", "denoiser.safetensors",
                                        "expert.json")]
        + [f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt",
                                         "licenses/LICENSE", "top_level.txt")]
    )  # fmt: skip
    with zipfile.ZipFile(wheel.path) as archive:
        assert archive.read(f"{INNER}/expert.json") == (EXPERT / INNER / "expert.json").read_bytes()
    assert sorted(path.name for path in project.iterdir()) == ["LICENSE", INNER, "pyproject.toml"]


def test_a_space_is_packaged_too(tmp_path: Path) -> None:
    wheel = package(PLUGINS / "codenoise-space-tcga-cna", tmp_path, NOTHING)
    assert wheel.path.name == "codenoise_space_tcga_cna-0.1.0-py3-none-any.whl"
    assert (wheel.reference, wheel.requires) == ("tcga-cna@0.1.0", ())


def test_a_folder_without_a_card_gets_one(project: Path, tmp_path: Path) -> None:
    (project / INNER / "README.md").unlink()
    wheel = package(project / INNER, tmp_path / "dist", NOTHING)
    with zipfile.ZipFile(wheel.path) as archive:
        assert "# cna-to-wsi 0.1.0" in archive.read(f"{INNER}/README.md").decode()


@pytest.mark.slow
def test_a_new_expert_installs_and_passes_its_own_test(bank: Path, tmp_path: Path) -> None:
    project = new_expert("mine", "cna", "wsi", discover(), tmp_path)
    wheels = [
        package(folder, tmp_path / "dist", discover()).path
        for folder in (project, *(PLUGINS / f"codenoise-space-tcga-{m}" for m in ("cna", "wsi")))
    ]
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--target", site]
    subprocess.run([*pip, *wheels], check=True)
    inventory = discover(path=[str(site)], checksums=True)
    assert [plugin.reference for plugin in inventory.experts] == ["mine@0.1.0.dev0"]
    assert load_expert(inventory.experts[0]).target == "wsi"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    ended = subprocess.run(
        command, cwd=project, env={"PYTHONPATH": str(site)}, capture_output=True, text=True
    )
    assert "2 passed" in ended.stdout, ended.stdout


def test_a_wheel_that_is_there_is_kept(project: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    first = package(project, dist, NOTHING)
    with pytest.raises(CodenoiseError) as caught:
        package(project, dist, NOTHING)
    assert str(caught.value) == (
        f"{first.path} is already there; raise the version, give another --output, or --overwrite"
    )
    first.path.write_bytes(b"old")
    assert package(project, dist, NOTHING, overwrite=True) == first
    assert [path.name for path in dist.iterdir()] == [WHEEL]


def _flip(project: Path) -> None:
    weights = project / INNER / "denoiser.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")


def _rewrite(old: str, new: str) -> Callable[[Path], None]:
    def apply(project: Path) -> None:
        path = project / "pyproject.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return apply


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_flip, "differs from the checksum in its manifest"),
        (lambda p: (p / INNER / "expert.json").unlink(), "it holds neither"),
        (
            _rewrite('version = "0.1.0"', 'version = "0.3.0"'),
            "codenoise_expert_cna_to_wsi-0.3.0-py3-none-any.whl is version 0.3.0, its manifest "
            "says 0.1.0; give pyproject.toml the manifest's",
        ),
        (
            _rewrite('[project.entry-points."codenoise.experts"]', "[project.entry-points.other]"),
            f"{WHEEL} does not hold cna-to-wsi@0.1.0 where discovery looks: pyproject.toml needs "
            f"its entry point, and *.json and *.safetensors in package-data",
        ),
        (_rewrite(':expert.json"', ':other.json"'), "is not in the distribution's file list"),
        (_rewrite('"*.safetensors", ', ""), "denoiser.safetensors is missing"),
        (
            lambda p: (p / INNER / "__init__.py").write_text("import os\n"),
            f"{WHEEL} holds code, {INNER}/__init__.py; an expert or a space is data alone, beside "
            f"an empty __init__.py: leave it out of packages in pyproject.toml, and publish code "
            f"as a plugin of its own",
        ),
    ],
    ids=["weights", "no-manifest", "version", "no-entry", "entry", "no-weights", "code"],
)
def test_what_discovery_could_not_use_is_refused(
    project: Path, tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    spoil(project)
    assert message in _refused(project, tmp_path / "dist")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_rewrite("[build-system]", "[build-system"), "cannot be built: Failed to parse"),
        (_rewrite('name = "codenoise-', 'nam = "codenoise-'), "cannot be built: "),
        (
            _rewrite('"setuptools>=77"', '"setuptools>=77", "no-such-backend>=2"'),
            "needs no-such-backend>=2; install with: pip install 'no-such-backend>=2'",
        ),
        (
            _rewrite("setuptools.build_meta", "no_such_backend"),
            "'no_such_backend' is not available",
        ),
    ],
    ids=["toml", "name", "requirement", "backend"],
)
def test_a_project_that_cannot_be_built_is_named(
    project: Path, tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    spoil(project)
    refused = _refused(project, tmp_path / "dist", CodenoiseError)
    assert message in refused
    assert str(project) in refused
    assert "\n" not in refused


def test_build_is_asked_for(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "build", None)
    assert _refused(project, tmp_path / "dist", CodenoiseError) == (
        "packaging needs the packages build and setuptools; install them with: "
        "pip install 'codenoise[publish]'"
    )
