from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

START = [sys.executable, "-c", "from codenoise.cli.main import main; main()"]


def _command(root: Path, output: Path) -> list[str]:
    return [
        *START, "train", "bank", str(root / "cohort"), "--recipe", str(root / "bank.toml"),
        "--split", str(root / "split.csv"), "-o", str(output), "--workers", "2",
    ]  # fmt: skip


def _weights(root: Path) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in sorted(root.rglob("*.safetensors"))}


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_bank_is_finished_by_the_same_command_with_the_same_weights(
    tiny: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(tiny, tmp_path / "tiny"))
    recipe = (root / "bank.toml").read_text()
    # Long enough to be killed in the middle of the second pair of jobs.
    (root / "bank.toml").write_text(recipe.replace("max_steps = 60", "max_steps = 400"))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(_command(root, whole), check=True, capture_output=True)
    running = subprocess.Popen(
        _command(root, broken), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stderr is not None
    with running.stderr:
        for line in running.stderr:
            if "space tiny-beta" in line:  # all spaces are there, and the experts have begun
                break
        time.sleep(2)
        running.kill()
        assert running.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while _alive(running.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _alive(running.pid), "workers outlive their parent"
    assert len(_weights(broken)) < len(_weights(whole)) == 4
    subprocess.run(_command(root, broken), check=True, capture_output=True)
    assert _weights(broken) == _weights(whole)
