"""``codenoise compose``: choose experts and write an ensemble recipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import click

from codenoise.cli.output import json_option, print_json, print_table, told, warn_of_broken
from codenoise.core.base.errors import CodenoiseError
from codenoise.core.ensemble.settings import (
    BUILT_IN_SAMPLERS,
    BUILT_IN_WEIGHTINGS,
    DEFAULT_STEPS,
    DEFAULT_WEIGHTING,
    Composition,
    Precision,
)
from codenoise.registry.ensembles.composing import compose as compose_recipe
from codenoise.registry.ensembles.explanation import Explained, explain_choice
from codenoise.registry.ensembles.recipe import Coherence, Sampler, write_recipe
from codenoise.registry.ensembles.resolving import resolve
from codenoise.registry.installed.code_plugins import need
from codenoise.registry.installed.discovery import discover


@click.command()
@click.option("--target", "targets", multiple=True, help="Modality to generate; all by default.")
@click.option(
    "--modality",
    "modalities",
    multiple=True,
    help="Use only experts between these modalities; repeat for each.",
)
@click.option(
    "--expert",
    "experts",
    multiple=True,
    metavar="NAME[RANGE]",
    help="Use only these, e.g. 'rna-to-rppa>=0.1,<1' or SOURCE:NAME.",
)
@click.option(
    "--weighting",
    default=DEFAULT_WEIGHTING,
    show_default=True,
    help="Reliability weights: "
    + ", ".join(name for name in BUILT_IN_WEIGHTINGS if name != "stacked")
    + ", or one that a plugin adds. inverse-mse is the paper's.",
)
@click.option(
    "--weight",
    "weights",
    multiple=True,
    metavar="NAME=NUMBER",
    help="Weight of an expert, for --weighting fixed; repeat for each.",
)
@click.option(
    "--composition",
    type=click.Choice(get_args(Composition)),
    default="mean",
    show_default=True,
    help="mean is the paper's; product is exact for conditions independent given the target.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 2),
    default=1.0,
    show_default=True,
    help="Cosine distance over which a step is incoherent.",
)
@click.option(
    "--max-incoherent",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Share of incoherent steps over which a draw is rejected.",
)
@click.option(
    "--max-retries",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Redraws of a rejected draw.",
)
@click.option(
    "--sampler",
    default="dpm-solver++",
    show_default=True,
    help=f"{', '.join(BUILT_IN_SAMPLERS)}, or one that a plugin adds; ddpm with 1000 steps is the "
    "paper's.",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 1000),
    help=f"Steps of the sampler. [default: {DEFAULT_STEPS}, and 1000 for ddpm]",
)
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    default="float32",
    show_default=True,
    help="Of matrix products; bfloat16 is up to twice as fast on processors that have it.",
)
@click.option(
    "--mirrored/--independent",
    default=True,
    show_default=True,
    help="Whether draws come in pairs from opposite noise, so that few have a steady mean.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("ensemble.toml"),
    show_default=True,
    help="Recipe to write.",
)
@click.option("--overwrite", is_flag=True, help="Replace the recipe if it is there.")
@click.option("--dry-run", is_flag=True, help="Show the choice and write nothing.")
@click.option("--explain", is_flag=True, help="Say why each expert was taken or left.")
@json_option
def compose(
    targets: tuple[str, ...],
    modalities: tuple[str, ...],
    experts: tuple[str, ...],
    weighting: str,
    weights: tuple[str, ...],
    composition: Composition,
    threshold: float,
    max_incoherent: float,
    max_retries: int,
    sampler: str,
    steps: int | None,
    precision: Precision,
    mirrored: bool,
    output: Path,
    overwrite: bool,
    dry_run: bool,
    explain: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Choose the newest usable expert of each ordered pair and write an ensemble recipe.

    \b
    Example:
      codenoise compose --target rppa --target wsi --output ensemble.toml
    """
    if output.exists() and not overwrite and not dry_run:
        raise CodenoiseError(f"{output} is already there; give another --output, or --overwrite")
    if any(math.isnan(value) for value in (threshold, max_incoherent)):
        raise CodenoiseError("--threshold and --max-incoherent must be numbers, not nan")
    _known("--weighting", "weightings", weighting, BUILT_IN_WEIGHTINGS)
    _known("--sampler", "samplers", sampler, BUILT_IN_SAMPLERS)
    inventory = discover()
    asked = {"targets": targets, "modalities": modalities, "experts": experts}
    try:
        recipe = compose_recipe(
            inventory,
            **asked,
            weighting=weighting,
            weights=dict(map(_weight, weights)),
            composition=composition,
            coherence=Coherence(
                threshold=threshold, max_incoherent_fraction=max_incoherent, max_retries=max_retries
            ),
            sampler=Sampler(
                name=sampler,
                steps=steps or (1000 if sampler == "ddpm" else DEFAULT_STEPS),
                mirrored=mirrored,
                precision=None if precision == "float32" else precision,
            ),
        )
        chosen, _ = resolve(recipe, inventory)
    except CodenoiseError:
        if explain and not as_json:
            _print_explanation(list(explain_choice(inventory, [], **asked)))
        raise
    explanation = list(explain_choice(inventory, chosen, **asked)) if explain else []
    if not dry_run:
        write_recipe(recipe, output)
    rows = [
        {
            "target": plugin.manifest.target.modality,
            "condition": plugin.manifest.conditions,
            "expert": plugin.reference,
            "validation MSE": plugin.manifest.validation.mse,
            "license": plugin.manifest.license,
        }
        for plugin in chosen
    ]
    if as_json:
        content = {"recipe": recipe.model_dump(mode="json"), "experts": rows}
        if explain:
            content["explanation"] = [asdict(one) for one in explanation]
        print_json(content)
        return
    print_table(rows, f"would be written to {output}" if dry_run else f"written to {output}")
    if explain:
        _print_explanation(explanation)
    warn_of_broken(inventory.broken)


def _print_explanation(explanation: Sequence[Explained]) -> None:
    rows = [
        {
            "pair": one.pair,
            "expert": one.expert or "-",
            "verdict": "taken" if one.chosen else "left",
            "why": one.reason,
            "what would change it": one.remedy,
        }
        for one in explanation
    ]
    print_table(rows, "why")


def _weight(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} should read like rna-to-rppa=0.7", param_hint="--weight"
        ) from None


def _known(option: str, kind: str, name: str, built_in: Sequence[str]) -> None:
    """Refuse a name that is neither built in nor of a plugin as wrong use."""
    if name == "stacked":
        raise click.BadParameter(
            "stacked weights are learned: compose with others, then 'codenoise calibrate'",
            param_hint=option,
        )
    if name not in built_in:
        try:
            need(kind, name)
        except CodenoiseError as problem:
            raise click.BadParameter(told(problem), param_hint=option) from None
