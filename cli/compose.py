"""``codenoise compose``: choose experts and write an ensemble recipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import click

from codenoise.cli.options import (
    dry_run_option,
    json_option,
    modality_option,
    output_option,
    overwrite_option,
    targets_option,
)
from codenoise.cli.output import print_conditions, print_json, print_table, told, warn_of_broken
from codenoise.core.base.errors import CodenoiseError
from codenoise.core.diffusion.samplers import DEFAULT_SAMPLER, SAMPLERS
from codenoise.core.ensemble.settings import (
    DEFAULT_STEPS,
    DEFAULT_WEIGHTING,
    Composition,
    Precision,
)
from codenoise.core.ensemble.weights import STACKED, WEIGHTINGS
from codenoise.registry.ensembles.composing import compose as compose_recipe
from codenoise.registry.ensembles.composing import left_out
from codenoise.registry.ensembles.conditions import carried
from codenoise.registry.ensembles.explanation import Explained, explain_choice
from codenoise.registry.ensembles.recipe import Coherence, Sampler, write_recipe
from codenoise.registry.ensembles.resolving import resolve
from codenoise.registry.installed.code_plugins import Kind, need
from codenoise.registry.installed.discovery import discover


@click.command()
@targets_option()
@modality_option("Use only experts between these modalities; repeat for each.")
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
    + ", ".join(name for name in WEIGHTINGS.names if name != STACKED)
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
    default=DEFAULT_SAMPLER,
    show_default=True,
    help=f"{', '.join(SAMPLERS)}, or one that a plugin adds; ddpm with 1000 steps is the paper's.",
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
@output_option("Recipe to write.", "ensemble.toml")
@overwrite_option("Replace the recipe if it is there.")
@dry_run_option("Show the choice and write nothing.")
@click.option(
    "--commercial",
    is_flag=True,
    help="Leave out what is not cleared for commercial use: experts and spaces under licences that "
    "forbid it, or that are not known.",
)
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
    commercial: bool,
    explain: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Choose the newest usable expert of each ordered pair and write an ensemble recipe.

    \b
    Example:
      codenoise compose --target rppa --target wsi --output ensemble.toml
      codenoise compose --commercial --output product.toml
    """
    if output.exists() and not overwrite and not dry_run:
        raise CodenoiseError(f"{output} is already there; give another --output, or --overwrite")
    if any(math.isnan(value) for value in (threshold, max_incoherent)):
        raise CodenoiseError("--threshold and --max-incoherent must be numbers, not nan")
    _known("--weighting", "weightings", weighting)
    _known("--sampler", "samplers", sampler)
    inventory = discover()
    asked = {"targets": targets, "modalities": modalities, "experts": experts}
    try:
        recipe = compose_recipe(
            inventory,
            **asked,
            commercial=commercial,
            weighting=weighting,
            weights=dict(map(_weight, weights)),
            composition=composition,
            coherence=Coherence(
                threshold=threshold, max_incoherent_fraction=max_incoherent, max_retries=max_retries
            ),
            sampler=Sampler(
                name=sampler,
                steps=steps or (1000 if SAMPLERS[sampler].even else DEFAULT_STEPS),
                mirrored=mirrored,
                precision=None if precision == "float32" else precision,
            ),
        )
        chosen, spaces = resolve(recipe, inventory)
    except CodenoiseError:
        if explain and not as_json:
            _print_explanation(list(explain_choice(inventory, [], **asked, commercial=commercial)))
        raise
    explanation = (
        list(explain_choice(inventory, chosen, **asked, commercial=commercial)) if explain else []
    )
    conditions = carried(chosen, spaces.values())
    barred = [
        {"kind": plugin.kind, "left out": plugin.reference, "why": why}
        for plugin, why in (left_out(inventory, **asked) if commercial else ())
    ]
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
        content = {
            "recipe": recipe.model_dump(mode="json"), "experts": rows, "conditions": conditions,
        }  # fmt: skip
        if commercial:
            content["left_out"] = barred
        if explain:
            content["explanation"] = [asdict(one) for one in explanation]
        print_json(content)
        return
    print_table(rows, f"would be written to {output}" if dry_run else f"written to {output}")
    print_conditions(conditions)
    if barred:
        print_table(barred, "left out, as not cleared for commercial use")
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


def _known(option: str, kind: Kind, name: str) -> None:
    """Refuse a name that is neither built in nor of a plugin as wrong use."""
    if name == STACKED:
        raise click.BadParameter(
            "stacked weights are learned: compose with others, then 'codenoise calibrate'",
            param_hint=option,
        )
    try:
        need(kind, name)
    except CodenoiseError as problem:
        raise click.BadParameter(told(problem), param_hint=option) from None
