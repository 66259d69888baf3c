from __future__ import annotations

import csv
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("analysis", "cli", "codenoise", "core", "evaluation", "examples", "plugins", "registry",
          "LICENSE", "NOTICE", "constraints.txt", "Makefile", "pyproject.toml",
          "README.md")  # fmt: skip


def cells(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.slow
def test_the_demo_installs_with_pip_and_completes_the_example_cohort(tmp_path: Path) -> None:
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
            shutil.copytree(source, tmp_path / name, ignore=ignore)
        else:
            shutil.copy(source, tmp_path / name)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV_")}
    run = subprocess.run(
        ["make", "demo"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "WARNING" not in run.stdout + run.stderr
    assert not [*tmp_path.glob("plugins/*/build"), *tmp_path.glob("plugins/*/*.egg-info")]
    assert "rna-to-rppa@0.1.0" in run.stdout
    assert "R2 latent" in run.stdout
    given = tmp_path / "examples" / "tcga" / "cohort"
    for modality in ("rna", "rppa", "cna", "wsi"):
        before = cells(given / f"{modality}.csv")
        completed = tmp_path / "demo-output" / "imputed" / "completed"
        after = cells(completed / f"{modality}.csv")
        assert after[0] == before[0]
        assert len(after) == 1 + 64
        for old, new in zip(before, after, strict=False):
            for was, now in zip(old, new, strict=True):
                assert now == was if was else now
