"""How long ``codenoise experts list`` takes with many experts, and what it imports.

    python benchmarks/startup.py plugins/codenoise-expert-rna-to-rppa

Puts copies of one expert under other names into a temporary folder: as packages with a hand-made
``dist-info``, and in a local store. Prints a Markdown table: the fastest and the median of some
runs, each a process of its own, the processor time of a run, and the heavy modules it imported.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from codenoise.core.base.errors import CodenoiseError
from codenoise.registry.contract.folders import Artifact, read_artifacts
from codenoise.registry.contract.sources import Folder
from codenoise.registry.installed.store import install

HEAVY = ("torch", "numpy", "pandas", "sklearn", "huggingface_hub", "httpx2")
PROBE = f"""
import json, sys
from codenoise.cli.main import main
try:
    main()
finally:
    print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)
"""


def packages(site: Path, artifact: Artifact, number: int) -> None:
    """Copies of an expert, installed as packages."""
    for i in range(number):
        name = f"copy-{i}-of-{artifact.manifest.name}"
        package = f"codenoise_expert_{name.replace('-', '_')}"
        folder, info = site / package, site / f"{package}-0.1.0.dist-info"
        folder.mkdir(parents=True)
        info.mkdir()
        content = json.loads(artifact.file.read_text()) | {"name": name}
        (folder / "expert.json").write_text(json.dumps(content, indent=1))
        for file in artifact.manifest.files:
            (folder / file).symlink_to(artifact.file.parent / file)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(
            f"[codenoise.experts]\n{name} = {package}:expert.json\n"
        )
        files = ["expert.json", *artifact.manifest.files]
        (info / "RECORD").write_text("".join(f"{package}/{file},,\n" for file in files))


def stored(scratch: Path, artifact: Artifact, number: int) -> None:
    """Copies of an expert in the store that ``CODENOISE_HOME`` names."""
    for i in range(number):
        manifest = artifact.manifest.model_copy(
            update={"name": f"copy-{i}-of-{artifact.manifest.name}"}
        )
        folder = scratch / str(i)
        folder.mkdir(parents=True)
        (folder / "expert.json").write_text(manifest.model_dump_json(indent=1))
        for file in manifest.files:
            (folder / file).symlink_to(artifact.file.parent / file)
        install(Artifact(folder / "expert.json", manifest), Folder(path=str(folder)))


def measure(site: Path, home: Path, runs: int) -> tuple[list[float], float, int, list[str]]:
    """Seconds of each run, of processor per run, experts listed, and heavy modules imported."""
    environment = {**os.environ, "PYTHONPATH": str(site), "CODENOISE_HOME": str(home)}
    seconds, before = [], os.times()
    for _ in range(runs):
        started = time.perf_counter()
        ran = subprocess.run(
            [sys.executable, "-c", PROBE, "experts", "list"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        seconds.append(time.perf_counter() - started)
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return seconds, used / runs, ran.stdout.count(" copy-"), json.loads(ran.stderr.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("expert", type=Path, help="folder or project of an expert")
    parser.add_argument("--number", type=int, default=200, help="copies of it")
    parser.add_argument("--runs", type=int, default=10)
    chosen = parser.parse_args()
    try:
        artifact = read_artifacts(chosen.expert.resolve())[-1]
    except CodenoiseError as problem:
        sys.exit(f"error: {problem}")
    print("| experts | listed | fastest, s | median, s | processor, s | heavy modules imported |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        os.environ["CODENOISE_HOME"] = str(root / "home")
        packages(root / "site", artifact, chosen.number)
        stored(root / "folders", artifact, chosen.number)
        nothing = root / "nothing"
        for label, site, home in (
            ("installed by pip", root / "site", nothing),
            ("in the store", nothing, root / "home"),
        ):
            seconds, used, listed, heavy = measure(site, home, chosen.runs)
            print(
                f"| {label} | {listed} | {min(seconds):.2f} | {statistics.median(seconds):.2f} "
                f"| {used:.2f} | {', '.join(heavy) or 'none'} |"
            )


if __name__ == "__main__":
    main()
