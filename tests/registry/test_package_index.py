"""Plugins as wheels on a package index: into a fresh environment, used, upgraded and gone."""

from __future__ import annotations

import json
import os
import shutil
import site
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PACKAGE, DISTRIBUTION = "codenoise_expert_probe_to_wsi", "codenoise-expert-probe-to-wsi"
# The environment's own settings of pip would let in what the test's index does not have.
BARE = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")} | {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "CODENOISE_STRICT": "1",
}


def _wheel(project: Path, index: Path) -> None:
    subprocess.check_call(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", index, project],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture
def index(tmp_path: Path, edit: Callable[..., Path], seal: Callable[..., None]) -> Path:
    """Wheels of an expert of a name of its own, 0.1.0 and 0.2.0, and of its spaces."""
    folder = tmp_path / "index"
    for name in ("tcga-cna", "tcga-wsi"):
        copied = tmp_path / name
        shutil.copytree(ROOT / "plugins" / f"codenoise-space-{name}", copied)
        _wheel(copied, folder)
    for version in ("0.1.0", "0.2.0"):
        project = tmp_path / f"probe-{version}"
        shutil.copytree(ROOT / "plugins" / "codenoise-expert-cna-to-wsi", project)
        (project / "codenoise_expert_cna_to_wsi").rename(project / PACKAGE)
        about = (project / "pyproject.toml").read_text()
        about = about.replace("cna-to-wsi", "probe-to-wsi").replace("cna_to_wsi", "probe_to_wsi")
        about = about.replace('\nversion = "0.1.0"', f'\nversion = "{version}"')
        (project / "pyproject.toml").write_text(about)
        change = {"name": "probe-to-wsi", "version": version}
        edit(project / PACKAGE / "expert.json", lambda content, c=change: content.update(c))
        seal(project / PACKAGE)
        _wheel(project, folder)
    return folder


@pytest.fixture
def served(index: Path) -> Iterator[str]:
    """Address of the index."""
    pytest.importorskip("pypiserver")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["run", "-i", "127.0.0.1", "-p", str(port), "--disable-fallback", str(index)]
    server = subprocess.Popen(
        [sys.executable, "-m", "pypiserver", *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(300):
            time.sleep(0.1)
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield f"http://127.0.0.1:{port}/simple/"
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Python of a fresh environment, which borrows codenoise and its dependencies from this one."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True)
    (own,) = (folder / "lib").glob("python*/site-packages")
    borrowed = "; ".join(f"site.addsitedir({path!r})" for path in site.getsitepackages())
    (own / "borrowed.pth").write_text(f"import site; {borrowed}\n")
    return folder / "bin" / "python"


def test_life_of_a_plugin(served: str, python: Path, tmp_path: Path) -> None:
    def run(*words: object) -> str:
        ran = subprocess.run(
            [python, *map(str, words)], env=BARE, cwd=tmp_path,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def codenoise(*words: object) -> str:
        return run("-c", "from codenoise.cli.main import main; main()", *words)

    def installed() -> dict[str, Any]:
        rows = json.loads(codenoise("experts", "list", "--json"))["experts"]
        return {row["expert"]: row["source"] for row in rows if "probe" in row["expert"]}

    pip = ("-m", "pip", "--quiet", "install", "--index-url", served)
    assert installed() == {}
    run(*pip, f"{DISTRIBUTION}<0.2")
    assert installed() == {"probe-to-wsi@0.1.0": DISTRIBUTION}
    codenoise("experts", "verify", "probe-to-wsi", "tcga-cna", "tcga-wsi")
    codenoise("compose", "--expert", "probe-to-wsi", "-o", "probe.toml")
    codenoise("lock", "probe.toml")
    cohort = ROOT / "examples" / "tcga" / "cohort"
    words = ("--modality", "cna", "--modality", "wsi", "--draws", 2)
    text = codenoise("impute", cohort, "-e", "probe.toml", "-o", "out", *words, "--json")
    (target,) = json.loads(text)["targets"]
    assert target["target"] == "wsi"
    assert target["generated"] > 0

    run(*pip, "--upgrade", DISTRIBUTION)
    assert installed() == {"probe-to-wsi@0.2.0": DISTRIBUTION}
    codenoise("compose", "--expert", "probe-to-wsi>=0.2", "-o", "newer.toml", "--dry-run")

    run("-m", "pip", "--quiet", "uninstall", "--yes", DISTRIBUTION)
    assert installed() == {}
