"""Measure what the defaults were chosen by, on validation patients of the full cohort.

    python benchmarks/choices.py prediction COHORT plugins/tcga_split.csv
    python benchmarks/choices.py sampler COHORT plugins/tcga_split.csv
    python benchmarks/choices.py storage COHORT plugins/tcga_split.csv
    python benchmarks/choices.py network COHORT plugins/tcga_split.csv

Needs the bundled spaces and experts installed.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from codenoise.core.base.metrics import energy_score, r2_of_expectation, r2_pooled
from codenoise.core.cohort.cohort import read_cohort
from codenoise.core.cohort.splits import read_split
from codenoise.core.diffusion import training
from codenoise.core.diffusion.config import TrainingConfig
from codenoise.core.diffusion.data import ExpertData
from codenoise.core.diffusion.training import train_expert
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.registry.ensembles.composing import compose
from codenoise.registry.ensembles.recipe import Sampler
from codenoise.registry.ensembles.resolving import load_ensemble
from codenoise.registry.installed.discovery import discover

DRAWS = 6
MODALITIES = ("rna", "rppa", "cna", "wsi")


def load(cohort: Path, split_path: Path) -> tuple[LoadedEnsemble, dict[str, dict]]:
    """The twelve-pair ensemble, and latents of training and validation patients."""
    inventory = discover()
    names = [f"{a}-to-{b}" for a in MODALITIES for b in MODALITIES if a != b]
    ensemble = load_ensemble(compose(inventory, experts=names), inventory)
    given, split = read_cohort(cohort, list(MODALITIES)), read_split(split_path)
    parts = ("train", "validation")
    return ensemble, {p: ensemble.encode(given.subset(split.index[split == p])) for p in parts}


def prediction(_: LoadedEnsemble, latents: dict[str, dict]) -> None:
    """The paper's epsilon against v: same network, data, and stopping rule."""
    variants = {kind: TrainingConfig(prediction=kind) for kind in ("epsilon", "v", "x0")}
    _compare("predicts", variants, [("rna", "rppa"), ("rna", "cna"), ("wsi", "cna")], latents)


def network(_: LoadedEnsemble, latents: dict[str, dict]) -> None:
    """Networks, and options of training, against the defaults."""
    variants = {
        "mlp (default)": TrainingConfig(),
        "unet, 2 halvings": TrainingConfig(architecture="unet", layers=2),
        "residual": TrainingConfig(architecture="residual"),
        "mlp, cosine rate": TrainingConfig(rate="cosine"),
        "mlp, min-SNR 5": TrainingConfig(min_snr_gamma=5.0),
        "mlp, no noise on the condition": TrainingConfig(condition_noise=0.0),
        "mlp, Adam (no decay)": TrainingConfig(weight_decay=0.0),
        "mlp 4 x 512": TrainingConfig(width=512),
    }
    _compare("network", variants, [("rna", "rppa")], latents)


def _compare(
    label: str,
    variants: dict[str, TrainingConfig],
    pairs: list[tuple[str, str]],
    latents: dict[str, dict],
) -> None:
    heads = ["expert", label, "steps", "seconds", "R2 of expectation", "energy score"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for condition, target in pairs:
        data = [
            ExpertData.pair(latents[p][condition], latents[p][target])
            for p in ("train", "validation")
        ]
        for kind, config in variants.items():
            trained = train_expert(*data, config)
            v = trained.validation
            name, seconds = f"{condition}-to-{target}", f"{trained.seconds:.0f}"
            print(f"| {name} | {kind} | {trained.best_step} | {seconds} "
                  f"| {v.r2_expectation:.3f} | {v.energy_score:.3f} |", flush=True)  # fmt: skip


def sampler(ensemble: LoadedEnsemble, latents: dict[str, dict]) -> None:
    """Quality and time against sampler and steps, twelve experts, 6 draws."""
    runs = [("ddpm", 1000), ("ddim", 30), ("ddim", 100), ("heun", 15)]
    runs += [("dpm-solver++", steps) for steps in (5, 10, 15, 20, 30, 50, 100)]
    held = latents["validation"]
    print(
        "| sampler | steps | seconds | R2 of expectation | R2 of a draw | energy score |\n"
        + "|---" * 6
        + "|"
    )
    for name, steps in runs:
        setting = Sampler(name=name, steps=steps)
        chosen = replace(
            ensemble, settings=replace(ensemble.settings, sampler=setting.name, steps=setting.steps)
        )
        started, measures = time.perf_counter(), []
        for target in chosen.targets:
            patients = sorted(held[target].index)
            drawn = chosen.generate(target, held, patients, draws=DRAWS)
            kept = drawn.attempts[:, 0] > 0
            real, draws = held[target].loc[patients].to_numpy()[kept], drawn.draws[kept]
            single = np.mean([r2_pooled(real, draws[:, i]) for i in range(DRAWS)])
            measures.append(
                (
                    r2_of_expectation(real, draws, mirrored=True),
                    single,
                    energy_score(real, draws, mirrored=True).mean(),
                )
            )
        r2, single, energy = np.mean(measures, axis=0)
        print(f"| {name} | {steps} | {time.perf_counter() - started:.1f} | {r2:.4f} | {single:.4f} "
              f"| {energy:.4f} |", flush=True)  # fmt: skip


def storage(_: LoadedEnsemble, latents: dict[str, dict]) -> None:
    """What rounding weights to half precision costs one expert."""
    data = [ExpertData.pair(latents[p]["rna"], latents[p]["wsi"]) for p in ("train", "validation")]
    config = TrainingConfig()
    rounded = train_expert(*data, config).validation
    training.round_to_half = lambda _: None
    full = train_expert(*data, config).validation
    print("| storage | R2 of expectation | energy score | MSE of draws |\n" + "|---" * 4 + "|")
    for name, v in (("float32", full), ("float16", rounded)):
        print(f"| {name} | {v.r2_expectation:.5f} | {v.energy_score:.5f} | {v.mse:.5f} |")


if __name__ == "__main__":
    torch.set_num_threads(2 if sys.argv[1] == "sampler" else 1)
    commands = {
        "network": network,
        "prediction": prediction,
        "sampler": sampler,
        "storage": storage,
    }
    commands[sys.argv[1]](*load(Path(sys.argv[2]), Path(sys.argv[3])))
