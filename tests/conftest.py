"""Fixtures shared by all tests: the bundled bank, installed by hand and apart from the host's."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import pytest

# Small matrices on shared machines: one thread is as fast and never slower than expected.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "tcga"


def install(site: Path, project: Path, *, copy: bool = False) -> Path:
    """Put a plugin project into a folder as pip would, with a hand-made ``dist-info``.

    Returns the folder of the package's files; linked to the project's unless ``copy`` is set.
    """
    import shutil
    import tomllib

    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    package = about["name"].replace("-", "_")
    target = site / package
    if copy:
        shutil.copytree(project / package, target)
    else:
        target.symlink_to(project / package)
    info = site / f"{package}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    )
    groups = about["entry-points"].items()
    lines = [f"[{g}]\n" + "".join(f"{k} = {v}\n" for k, v in e.items()) for g, e in groups]
    (info / "entry_points.txt").write_text("\n".join(lines))
    files = sorted(path.relative_to(target) for path in target.iterdir() if path.is_file())
    (info / "RECORD").write_text("".join(f"{package}/{file},,\n" for file in files))
    return target


@pytest.fixture
def only_these(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make discovery see the distributions of one folder and nothing of the host's."""

    def apply(site: Path) -> None:
        def there(path: list[str] | None = None) -> object:
            return distributions(path=path if path is not None else [str(site)])

        monkeypatch.setattr("codenoise.registry.discovery.distributions", there)

    return apply


@pytest.fixture(scope="session")
def bank_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every bundled plugin installed."""
    site = tmp_path_factory.mktemp("site")
    for project in sorted((ROOT / "plugins").glob("codenoise-*")):
        install(site, project)
    return site


@pytest.fixture
def bank(bank_site: Path, only_these: Callable[[Path], None]) -> Path:
    """The bundled bank is what is installed; returns the folder."""
    only_these(bank_site)
    return bank_site
