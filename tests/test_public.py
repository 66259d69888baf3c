"""What `import codenoise` gives, and that README and docs say it truly."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import codenoise

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TOPS = ("analysis", "core", "evaluation", "registry", "cli")
NO_FUNCTIONS = {"analysis", "__version__", "hookimpl"}


def test_importing_loads_no_library_that_takes_long() -> None:
    code = (
        "import sys, codenoise; codenoise.discover; "
        "print([m for m in ('torch', 'pandas', 'sklearn') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_every_public_name_is_there_and_no_other() -> None:
    assert codenoise.__version__.count(".") == 2
    for name in set(codenoise.__all__) - NO_FUNCTIONS:
        assert getattr(codenoise, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        codenoise.nothing  # noqa: B018


@pytest.mark.parametrize("name", sorted(set(codenoise.__all__) - NO_FUNCTIONS))
def test_every_function_shows_how_it_is_called(name: str) -> None:
    public = getattr(codenoise, name)
    doc = inspect.getdoc(public) or ""
    assert len(doc) > 50
    if inspect.isfunction(public):
        assert re.search(rf"^>>> .*{name}\(", doc, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_import_nothing_from_within(page: Path) -> None:
    code = "".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
    assert not re.findall(r"codenoise\.(?:core|registry|evaluation|cli)\b", code)


def run_page(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the Python of a page in a folder, with a few draws; returns its names."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert blocks
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "my_cohort").symlink_to(ROOT / "examples" / "tcga" / "cohort")
    (folder / "ensemble.toml").symlink_to(ROOT / "examples" / "tcga" / "ensemble.toml")
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    for block in blocks:
        few = re.sub(r"tables\(\d+\)", "tables(2)", re.sub(r"draws=\d+", "draws=4", block))
        exec(few, names)
    return names


def test_the_python_of_the_readme_runs(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = run_page(ROOT / "README.md", tmp_path, monkeypatch)
    result = names["result"]
    assert result.completed["rppa"].frame.shape == (64, 144)
    assert result.completed["rppa"].frame.notna().all(axis=None)
    assert (tmp_path / "completed" / "provenance.json").is_file()


@pytest.mark.slow
def test_the_python_of_the_docs_runs(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = run_page(ROOT / "docs" / "python.md", tmp_path, monkeypatch)
    assert (tmp_path / "composed.toml").is_file()
    assert (tmp_path / "trace.svg").is_file()
    frame = names["result"].completed["rppa"].frame
    assert names["again"].completed["rppa"].frame.equals(frame)


@pytest.mark.slow
def test_the_wheel_holds_the_whole_package(tmp_path: Path) -> None:
    """From a copy, for building leaves its marks beside the source."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", "codenoise", *TOPS],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    wanted, source = set(), tmp_path / "source"
    for name in [*listed.stdout.split(), "pyproject.toml", "README.md", "LICENSE", "NOTICE"]:
        path = ROOT / name
        if not path.is_file() or path.is_symlink():
            continue
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(path.read_bytes())
        if name.startswith(TOPS):
            wanted.add(f"codenoise/{name}")
        elif name.startswith("codenoise/"):
            wanted.add(name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "--no-index", "--wheel-dir", str(tmp_path / "dist"), str(source)], check=True
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("codenoise/")}
        archive.extractall(tmp_path / "site")
    assert held == wanted
    assert {"codenoise/__init__.pyi", "codenoise/py.typed"} <= held
    code = "import codenoise; print(codenoise.__file__, codenoise.Ensemble.__name__)"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert ran.stdout == f"{tmp_path / 'site' / 'codenoise' / '__init__.py'} Ensemble\n"
