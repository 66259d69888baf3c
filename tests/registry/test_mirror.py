"""Pulling from a server that we did not write: olah, a mirror of the Hub, with a local repository.

It needs versions of its own, so it is run from its own environment: ``python -m venv V``,
``V/bin/pip install olah``, then ``PATH=$PATH:V/bin pytest -m slow`` this file.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPO = "some-lab/cna-to-wsi"
SERVER = shutil.which("olah-cli")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(SERVER is None, reason="olah-cli is not on the PATH; see this file's head"),
]


def _git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=A. Author", "-c", "user.email=author@example.org"]
    return subprocess.check_output(["git", *who, *words], cwd=folder, text=True).strip()


@pytest.fixture
def mirror(tmp_path: Path, repository: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """Address of the server and the commit of the repository's tag ``v1.0``."""
    folder = tmp_path / "mirrors" / "models" / REPO
    for path, content in repository().files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _git(folder, "add", ".")
    _git(folder, "commit", "--quiet", "--message=first")
    _git(folder, "tag", "v1.0")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "olah.toml"
    config.write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{tmp_path / "repos"}"\n'
        f'mirrors-path = ["{tmp_path / "mirrors"}"]\n[accessibility]\noffline = true\n'
    )
    with (tmp_path / "olah.txt").open("w") as log:
        server = subprocess.Popen(
            [str(SERVER), "--config", config, "--log-path", tmp_path / "logs"],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            for _ in range(300):
                time.sleep(0.1)
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
            yield f"http://127.0.0.1:{port}", _git(folder, "rev-parse", "v1.0")
        finally:
            server.terminate()
            server.wait(timeout=30)


def test_an_expert_comes_from_another_server(mirror: tuple[str, str], tmp_path: Path) -> None:
    address, commit = mirror
    home = tmp_path / "home"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from codenoise.cli.main import main; main()", *words],
            env={**os.environ, "HF_ENDPOINT": address, "CODENOISE_HOME": str(home)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert run("pull", REPO, "--dry-run").stdout.splitlines()[0].endswith(commit)
    assert not (home / "experts").exists()
    for reference in (REPO, f"{REPO}@v1.0", f"{REPO}@{commit}"):
        ran = run("pull", reference)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.splitlines()[0] == f"{REPO} at commit {commit}"
    assert run("experts", "verify", "cna-to-wsi").returncode == 0
    lost = run("pull", "some-lab/nothing")
    assert lost.returncode == 1
    assert lost.stderr.startswith("error: some-lab/nothing was not found on the Hub")
