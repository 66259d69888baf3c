"""``codenoise compose``: choose experts and write an ensemble recipe."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import click

from codenoise.cli.experts import warn_of_broken
from codenoise.cli.output import json_option, print_json, print_table
from codenoise.core.ensemble.settings import SamplerName
from codenoise.core.errors import CodenoiseError
from codenoise.registry.discovery import discover
from codenoise.registry.recipe import Coherence, Sampler, resolve, write_recipe
from codenoise.registry.recipe import compose as compose_recipe


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
    help="Use only these, e.g. 'rna-to-rppa>=0.1,<1' or DISTRIBUTION:NAME.",
)
@click.option(
    "--weighting",
    type=click.Choice(["inverse-mse", "softmax-inverse-mse", "uniform"]),
    default="inverse-mse",
    show_default=True,
    help="Reliability weights.",
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
    type=click.Choice(get_args(SamplerName)),
    default="dpm-solver++",
    show_default=True,
    help="ddpm with 1000 steps is the paper's.",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 1000),
    help="Steps of the sampler. [default: 50, and 1000 for ddpm]",
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
@json_option
def compose(
    targets: tuple[str, ...],
    modalities: tuple[str, ...],
    experts: tuple[str, ...],
    weighting: str,
    threshold: float,
    max_incoherent: float,
    max_retries: int,
    sampler: str,
    steps: int | None,
    output: Path,
    overwrite: bool,
    dry_run: bool,
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
    inventory = discover()
    recipe = compose_recipe(
        inventory,
        targets,
        modalities=modalities,
        experts=experts,
        weighting=weighting,
        coherence=Coherence(
            threshold=threshold, max_incoherent_fraction=max_incoherent, max_retries=max_retries
        ),
        sampler=Sampler(
            name=sampler,
            steps=steps or (1000 if sampler == "ddpm" else 50),
        ),
    )
    chosen, _ = resolve(recipe, inventory)
    if not dry_run:
        write_recipe(recipe, output)
    rows = [
        {
            "target": plugin.manifest.target.modality,
            "condition": plugin.manifest.condition[0].modality,
            "expert": plugin.reference,
            "validation MSE": plugin.manifest.validation.mse,
            "license": plugin.manifest.license,
        }
        for plugin in chosen
    ]
    if as_json:
        print_json({"recipe": recipe.model_dump(mode="json"), "experts": rows})
        return
    print_table(rows, f"would be written to {output}" if dry_run else f"written to {output}")
    warn_of_broken(inventory.broken)
