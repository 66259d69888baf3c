"""Speed of sampling beside the published loop and the machine's own matrix product.

    python benchmarks/sampling.py
    python benchmarks/sampling.py --timed 1000
    python benchmarks/sampling.py --quality COHORT plugins/tcga_split.csv

Prints tables in Markdown and writes benchmarks/results/sampling.json. Experts have random weights:
the time does not depend on them. By default 20 of the loop's 1,000 steps are timed and scaled
(``--timed`` says how many), and the engine's 1,000 steps for four blocks of trajectories; the
default sampler runs in full. Every figure comes from a process of its own (Linux); run it on a
machine that does nothing else.

``--quality`` compares draws of the bundled experts instead, on test patients that have everything,
and adds the result to the same file; it needs the bundled spaces and experts installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from published_loop import STEPS, loop_draws, published_loop
from torch import Tensor

from codenoise.core.base.errors import CodenoiseError
from codenoise.core.base.files import atomic_file
from codenoise.core.base.metrics import energy_distance, r2_of_expectation, r2_pooled
from codenoise.core.cohort.cohort import read_cohort
from codenoise.core.cohort.splits import read_split, split_part
from codenoise.core.diffusion.architectures import build_denoiser
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.consensus import BLOCK
from codenoise.core.ensemble.engine import generate
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.noise import Trajectory, trajectory_noise
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.registry.ensembles.composing import compose
from codenoise.registry.ensembles.resolving import load_ensemble
from codenoise.registry.installed.discovery import discover

RESULTS = Path(__file__).parent / "results" / "sampling.json"
DIM = 32
NETWORKS = ((256, 4), (512, 4), (1024, 7))  # width, hidden layers; the first is the bundled one
CONDITIONS = ("a", "b", "c")
MODALITIES = ("rna", "rppa", "cna", "wsi")
SEEDS = 3
WHOLE_BLOCKS = 4  # of the engine are timed where it runs in part: two for each of two workers
# Redraws are off on both sides, so that the work is known; weights are the paper's on both.
ANCESTRAL = EngineSettings("inverse-mse", sampler="ddpm", steps=STEPS, max_retries=0)
DEFAULT = EngineSettings("inverse-mse", max_retries=0)
HALF = replace(DEFAULT, precision="bfloat16")
CALLED = {
    "loop": "published loop",
    "ddpm": "engine, ddpm",
    "default": "engine, default",
    "half": "engine, default in bfloat16",
}
Row = dict[str, Any]


def random_experts(width: int, layers: int) -> list[Expert]:
    """Three pair experts with random weights and some normalisation behind them."""
    found = []
    for seed, condition in enumerate(CONDITIONS):
        torch.manual_seed(seed)
        network = build_denoiser("mlp", DIM, [DIM], {"width": width, "layers": layers})
        network(torch.randn(256, DIM), torch.rand(256) * STEPS, torch.randn(256, DIM))
        found.append(Expert(
            name=f"{condition}-to-x@1", conditions=(condition,), target="x",
            condition_spaces=(condition,), target_space="x", condition_dims=(DIM,), dim=DIM,
            denoiser=network.eval(), schedule=linear_schedule(STEPS), prediction="v",
            validation_mse=1.0 + seed,
        ))  # fmt: skip
    return found


def random_conditions(patients: int) -> dict[str, pd.DataFrame]:
    """Standard normal latents of every condition."""
    rng = np.random.default_rng(0)
    ids = [f"p{i}" for i in range(patients)]
    return {
        name: pd.DataFrame(rng.standard_normal((patients, DIM), dtype=np.float32), index=ids)
        for name in CONDITIONS
    }


def check() -> float:
    """Largest difference between the engine's ancestral draws and the loop's from equal noise."""
    experts, conditions = random_experts(64, 3), random_conditions(10)
    ids = list(conditions["a"].index)
    ours = generate(experts, conditions, ids, draws=2, settings=ANCESTRAL)
    names = [Trajectory("x", patient, draw, 0, True) for patient in ids for draw in range(2)]
    noise = torch.from_numpy(trajectory_noise(names, 0, STEPS, DIM))
    repeated = [e.condition_input(conditions, ids).repeat_interleave(2, 0) for e in experts]
    draws, distance = published_loop(experts, repeated, lambda step: noise[:, step])
    apart = np.abs(draws.numpy().reshape(10, 2, DIM) - ours.draws).max()
    apart_in_coherence = np.abs(1 - distance.numpy().reshape(10, 2) - ours.coherence).max()
    worst = float(max(apart, apart_in_coherence))
    if worst > 1e-3:
        sys.exit(f"error: from equal noise the engine and the loop end {worst:.2g} apart")
    return worst


def drawn(
    method: str,
    experts: Sequence[Expert],
    latents: Mapping[str, pd.DataFrame],
    patients: Sequence[str],
    draws: int,
    *,
    seed: int = 0,
    steps: int,
) -> NDArray[np.float32]:
    """Draws by one of the methods, shape ``(patients, draws, dim)``; ``steps`` are run."""
    if method == "loop":
        return loop_draws(experts, latents, patients, draws, seed=seed, steps=steps)
    chosen = {"ddpm": ANCESTRAL, "default": DEFAULT, "half": HALF}[method]
    settings = replace(chosen, steps=steps)
    return generate(experts, latents, patients, draws=draws, seed=seed, settings=settings).draws


def measure(method: str, width: int, layers: int, patients: int, draws: int, steps: int) -> Row:
    """Seconds and memory of one method, in this process."""
    experts, conditions = random_experts(width, layers), random_conditions(patients)
    ids = list(conditions["a"].index)
    drawn(method, experts, conditions, ids[:1], draws, steps=2)  # what is loaded once is no matter
    before, started, used = memory("VmRSS"), time.perf_counter(), time.process_time()
    drawn(method, experts, conditions, ids, draws, steps=steps)
    return {
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - used,
        "mib": memory("VmHWM") - before,
    }


def sgemm() -> Row:
    """Billions of operations per second in products of large and of the networks' matrices."""
    found = {}
    for size in (1024, 2048, 4096):
        a, b, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
        found[f"{size} x {size} x {size}"] = 2 * size**3 / fastest(torch.mm, a, b, out) / 1e9
    for width, _ in NETWORKS:
        for rows in (64, 256, 1024):
            a, b = torch.randn(3, rows, width), torch.randn(3, width, width)
            work = 2 * 3 * rows * width**2
            seconds = fastest(torch.bmm, a, b, torch.empty(3, rows, width))
            found[f"3 x ({rows} x {width} x {width})"] = work / seconds / 1e9
    return found


def fastest(product: Callable[..., Tensor], a: Tensor, b: Tensor, out: Tensor) -> float:
    """Seconds of the fastest of the calls that fit into half a second."""
    product(a, b, out=out)
    best, until = np.inf, time.perf_counter() + 0.5
    while time.perf_counter() < until:
        started = time.perf_counter()
        product(a, b, out=out)
        best = min(best, time.perf_counter() - started)
    return best


def work_per_row(width: int, layers: int) -> int:
    """Operations that one step of one trajectory needs, with three folded networks."""
    return 2 * len(CONDITIONS) * (DIM * width + (layers - 1) * width**2 + width * DIM)


def memory(which: str) -> float:
    """MiB that this process holds now (``VmRSS``) or has held at most (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024


def child(threads: int, *words: object) -> Row:
    """What this script finds in a new process with so many threads."""
    command = [sys.executable, __file__, "--child", str(threads), *map(str, words)]
    found: Row = json.loads(subprocess.check_output(command, text=True))
    return found


def speed(patients: int, draws: int, timed: int) -> Row:
    """Measure everything, printing as it goes."""
    cores = len(os.sched_getaffinity(0))
    found: Row = {"machine": machine(), "apart_from_equal_noise": check(), "rows": []}
    found["sgemm"] = {n: child(n, "sgemm") for n in sorted({1, cores})}
    peak = {n: max(rates.values()) for n, rates in found["sgemm"].items()}
    print("| threads | sgemm peak, GFLOP/s |\n|---|---|")
    for threads, rate in peak.items():
        print(f"| {threads} | {rate:.0f} |")
    print(f"\n{patients:,} patients, {draws} draws, {len(CONDITIONS)} experts\n")
    heads = ("network", "method", "threads", "timed", "s", "processor s", "GFLOP/s",
             "of sgemm peak", "MiB", "times as fast")  # fmt: skip
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|", flush=True)
    # The loop's time grows with its steps, the engine's with its blocks of trajectories.
    some = min(patients, WHOLE_BLOCKS * BLOCK // draws)
    for width, layers in NETWORKS:
        runs = [("loop", n, STEPS, patients, timed) for n in peak]
        runs += [("ddpm", n, STEPS, some, STEPS) for n in peak]
        runs += [("default", n, DEFAULT.steps, patients, DEFAULT.steps) for n in peak]
        runs += [("half", cores, HALF.steps, patients, HALF.steps)]
        loop = np.inf
        for method, threads, steps, of_patients, of_steps in runs:
            row = child(threads, method, width, layers, of_patients, draws, of_steps)
            scale = patients / of_patients * steps / of_steps
            seconds, used = row["seconds"] * scale, row["processor_seconds"] * scale
            loop = min(loop, seconds) if method == "loop" else loop
            rate = work_per_row(width, layers) * patients * draws * steps / seconds / 1e9
            row |= {"width": width, "layers": layers, "method": method, "threads": threads,
                    "steps": steps, "steps_timed": of_steps, "patients_timed": of_patients,
                    "scaled_seconds": seconds, "gflops": rate,
                    "share_of_peak": rate / peak[threads], "speed_up": loop / seconds}  # fmt: skip
            found["rows"].append(row)
            cells = (f"{layers} x {width:,}", CALLED[method], threads, f"{1 / scale:.1%}",
                     f"{seconds:.1f}", f"{used:.1f}", f"{rate:.0f}", f"{rate / peak[threads]:.0%}",
                     f"{row['mib']:.0f}", f"{loop / seconds:.1f}")  # fmt: skip
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    return found | {"patients": patients, "draws": draws}


def machine() -> Row:
    """What it was measured on."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "processor": next(line.split(": ")[1] for line in info if line.startswith("model name")),
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "load_before": os.getloadavg()[0],
    }


def quality(cohort: Path, split: Path, draws: int) -> Row:
    """Draws of the loop and of the engine's default against the same real patients."""
    inventory = discover()
    names = [f"{a}-to-{b}" for a in MODALITIES for b in MODALITIES if a != b]
    ensemble = load_ensemble(compose(inventory, experts=names), inventory)
    latents = ensemble.encode(
        split_part(read_cohort(cohort, list(MODALITIES)), read_split(split), "test")
    )
    patients = sorted(set.intersection(*(set(table.index) for table in latents.values())))
    found = []
    print(
        f"{len(patients)} patients, {draws} draws, {SEEDS} seeds: mean +- standard error\n\n"
        "| target | method | R2 of a draw | R2 of the expectation | energy distance | s |\n"
        + "|---" * 6
        + "|"
    )
    for target in MODALITIES:
        real = latents[target].loc[patients].to_numpy()
        experts = ensemble.experts_for(target)
        seen = {m: table for m, table in latents.items() if m != target}
        for method, steps in (("loop", STEPS), ("default", DEFAULT.steps), ("half", HALF.steps)):
            started = time.perf_counter()
            several = [
                drawn(method, experts, seen, patients, draws, seed=seed, steps=steps)
                for seed in range(SEEDS)
            ]
            seconds = time.perf_counter() - started
            table = pd.DataFrame(measured(real, d, method != "loop") for d in several)
            mean = {str(c): float(table[c].mean()) for c in table}
            error = {f"{c}_error": float(table[c].std(ddof=1)) / SEEDS**0.5 for c in mean}
            cells = [f"{mean[c]:.4f} +- {error[f'{c}_error']:.4f}" for c in mean]
            print(f"| {target} | {CALLED[method]} | {' | '.join(cells)} | {seconds:.1f} |",
                  flush=True)  # fmt: skip
            found.append({"target": target, "method": method, "seconds": seconds, **mean, **error})
    return {"patients": len(patients), "draws": draws, "seeds": SEEDS, "rows": found}


def measured(
    real: NDArray[np.float32], draws: NDArray[np.float32], mirrored: bool
) -> dict[str, float]:
    """What the two are compared by."""
    several = range(draws.shape[1])
    return {
        "r2_draw": float(np.mean([r2_pooled(real, draws[:, i]) for i in several])),
        "r2_expectation": r2_of_expectation(real, draws, mirrored=mirrored),
        "energy_distance": float(np.mean([energy_distance(real, draws[:, i]) for i in several])),
    }


def save(found: Row) -> None:
    """Put these figures into the results, and leave the others there."""
    earlier = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with atomic_file(RESULTS) as path:
        path.write_text(json.dumps(earlier | found, indent=1) + "\n")


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog="example: python benchmarks/sampling.py"
    )
    parser.add_argument("--patients", type=int, default=1350)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--timed", type=int, default=20, help="steps of the loop that are run")
    parser.add_argument("--quality", type=Path, nargs=2, metavar=("COHORT", "SPLIT"))
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        threads, method, *numbers = chosen.child
        torch.set_num_threads(int(threads))
        print(json.dumps(sgemm() if method == "sgemm" else measure(method, *map(int, numbers))))
        return
    if chosen.patients < 1 or chosen.draws < 4 or not 1 <= chosen.timed <= STEPS:
        parser.error(f"give at least 1 patient, 4 draws, and 1 to {STEPS} steps to time")
    try:
        if chosen.quality:
            cohort, split = chosen.quality
            save({"quality": quality(cohort, split, chosen.draws)})
        else:
            save(speed(chosen.patients, chosen.draws, chosen.timed))
    except CodenoiseError as problem:
        sys.exit(f"error: {problem}")


if __name__ == "__main__":
    main()
