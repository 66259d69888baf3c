"""Memory and time of encoding a large table: read whole, and some patients at a time.

    python benchmarks/cohort.py run
    python benchmarks/cohort.py run 1000 3000

Makes tables of 10,000, 30,000 and 100,000 patients (or of the numbers given) in a temporary folder,
with the features, means and deviations of the example cohort's RNA, and encodes each with the
installed space tcga-rna in a process of its own. Prints a table in Markdown: seconds, and MiB that
the process came to hold at most beyond what it held before it read (Linux). It takes as much disk
as the largest table, a gigabyte. Text is read whole for at most 30,000 patients, for 100,000 would
need ten gigabytes of memory.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from codenoise.core.cohort.tables import read_table
from codenoise.core.cohort.writing import write_chunks
from codenoise.core.spaces.space import Space
from codenoise.core.spaces.streaming import encode_file
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.loading import load_space

EXAMPLE = Path(__file__).parents[1] / "examples" / "tcga" / "cohort" / "rna.csv"
PATIENTS = (10_000, 30_000, 100_000)
LONGEST_TEXT_READ_WHOLE = 30_000
CHUNK = 2_000


def synthetic(patients: int) -> Iterator[pd.DataFrame]:
    """Normal values with the example's means and deviations, some patients at a time."""
    real = pd.read_csv(EXAMPLE, index_col=0)
    mean, deviation = (x.to_numpy(dtype=np.float32) for x in (real.mean(), real.std()))
    rng = np.random.default_rng(0)
    for start in range(0, patients, CHUNK):
        ids = [f"S{number:07d}" for number in range(start, min(start + CHUNK, patients))]
        noise = rng.standard_normal((len(ids), len(mean)), dtype=np.float32)
        values = (mean + deviation * noise).round(3)
        yield pd.DataFrame(values, pd.Index(ids, name="patient"), real.columns)


def space() -> Space:
    """The installed space of the example's RNA."""
    (plugin,) = (p for p in discover().spaces if p.reference == "tcga-rna@0.1.0")
    return load_space(plugin)


def measure(path: Path, how: str) -> None:
    """Encode a table and print seconds, MiB and patients as JSON."""
    encoder = space()
    warm = pd.DataFrame(np.tile(encoder.center, (64, 1)), columns=list(encoder.features))
    encoder.encode(warm, any_scale=True)  # what libraries allocate once is no matter here
    before, started = held(), time.monotonic()
    if how == "streamed":
        latents = encode_file(encoder, path)
    else:
        latents = encoder.encode(read_table(path, features=encoder.features).frame, path.name)
    seconds = time.monotonic() - started
    row = {"seconds": seconds, "mib": peak() - before, "patients": len(latents)}
    print(json.dumps(row | {"sum": float(latents.to_numpy(dtype=np.float64).sum())}))


def held() -> float:
    """MiB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak() -> float:
    """MiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(sizes: list[int]) -> None:
    """Measure every size, format and way, each in a process of its own."""
    print("| format | patients | file, MB | whole: s | whole: MiB | chunks: s | chunks: MiB |")
    print("|---" * 7 + "|")
    for suffix in (".parquet", ".csv"):
        for patients in sizes:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"rna{suffix}"
                write_chunks(synthetic(patients), path)
                whole = None
                if suffix == ".parquet" or patients <= LONGEST_TEXT_READ_WHOLE:
                    whole = child(path, "whole")
                streamed = child(path, "streamed")
                size = path.stat().st_size / 1e6
            assert streamed["patients"] == patients
            assert whole is None or whole["sum"] == streamed["sum"]
            cells = [suffix[1:], f"{patients:,}", f"{size:,.0f}", *shown(whole), *shown(streamed)]
            print("| " + " | ".join(cells) + " |", flush=True)


def child(path: Path, how: str) -> dict[str, float]:
    """What `measure` prints in a new process."""
    words = [sys.executable, __file__, "measure", str(path), how]
    found: dict[str, float] = json.loads(subprocess.check_output(words, text=True))
    return found


def shown(row: dict[str, float] | None) -> list[str]:
    """Seconds and MiB of one measurement, or blanks."""
    return ["", ""] if row is None else [f"{row['seconds']:.1f}", f"{row['mib']:,.0f}"]


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    if command == "measure":
        measure(Path(words[0]), words[1])
    else:
        run([int(word) for word in words] or list(PATIENTS))
