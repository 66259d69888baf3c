"""``codenoise calibrate``: learn how experts combine and how wide draws are, from known values."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from codenoise.cli.options import (
    PATH,
    cohort_argument,
    draws_option,
    dry_run_option,
    json_option,
    output_option,
    overwrite_option,
    seed_option,
    split_option,
)
from codenoise.cli.output import print_json, print_table, progress_bars
from codenoise.cli.reading import reading_options
from codenoise.core.base.errors import CodenoiseError
from codenoise.core.ensemble.settings import Composition
from codenoise.registry.ensembles.recipe import read_recipe, recipe_of, write_recipe
from codenoise.registry.ensembles.resolving import load_ensemble
from codenoise.registry.installed.discovery import discover

if TYPE_CHECKING:
    from codenoise.core.cohort.options import ReadOptions


@click.command()
@click.argument("ensemble_path", metavar="ENSEMBLE", type=PATH)
@cohort_argument
@split_option("CSV of patient,split; only the patients of --part are used.", required=False)
@click.option(
    "--part",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="Patients of the split to learn from.",
)
@click.option(
    "--composition",
    type=click.Choice(get_args(Composition)),
    default="product",
    show_default=True,
    help="product: scores add up, the prior takes the surplus; mean: the paper's weighted mean.",
)
@draws_option("Draws per patient behind the spread.", default=39, least=19)
@seed_option("Seed of noise and draws.")
@output_option("Recipe to write; ENSEMBLE itself by default, with --overwrite.")
@overwrite_option("Replace the recipe if it is there.")
@dry_run_option("Show the evidence and write nothing.")
@reading_options
@json_option
def calibrate(
    ensemble_path: Path,
    cohort: Path,
    split_path: Path | None,
    part: str,
    composition: Composition,
    draws: int,
    seed: int,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    reading: ReadOptions,
    as_json: bool,
) -> None:
    """Learn weights and spread of ENSEMBLE from COHORT and store them in the recipe.

    COHORT holds patients whose targets are measured and that no expert was trained on. For each
    target and each set of conditions with at least 20 such patients, what every expert counts at
    each noise level is learned by least squares; then, per latent dimension, how far draws have to
    spread for 90% intervals to hold 90% of the true values. Other sets of conditions, and targets
    whose learned weights do not lower the energy score, keep the default weights.

    \b
    Example:
      codenoise calibrate ensemble.toml tcga --split split.csv -o calibrated.toml
    """
    from codenoise.core.cohort.splits import read_split, split_part
    from codenoise.registry.ensembles.calibrate import calibrate as learn

    target_path = output or ensemble_path
    if target_path.exists() and not (overwrite or dry_run):
        raise CodenoiseError(
            f"{target_path} is already there; give another --output, or --overwrite"
        )
    ensemble = load_ensemble(read_recipe(ensemble_path), discover())
    given = ensemble.read(cohort, list(ensemble.spaces), **reading)
    if split_path is not None:
        given = split_part(given, read_split(split_path), part, f"{cohort} and {split_path}")
    with progress_bars() as progress:
        learned, evidence = learn(
            ensemble,
            given,
            composition=composition,
            draws=draws,
            seed=seed,
            called=cohort.name,
            progress=progress,
        )
    assert learned.calibration is not None
    changed = recipe_of(learned.made_with)
    if not dry_run:
        write_recipe(changed, target_path)
    rows = [asdict(entry) for entry in evidence]
    if as_json:
        print_json({"recipe": changed.model_dump(mode="json"), "evidence": rows})
        return
    written = "would be written to" if dry_run else "written to"
    print_table(
        [_shown(row) for row in rows],
        f"{written} {target_path}; before and after, on the calibration patients "
        f"(coverage after: each half by the other)",
    )
    kept = {(entry.target, entry.conditions) for entry in learned.calibration.coefficients}
    click.echo(f"{len(kept)} sets of conditions learned", err=True)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "target": row["target"],
        "patients": row["patients"],
        "R2 before": row["r2_before"],
        "R2 after": row["r2_after"],
        "energy before": row["energy_before"],
        "energy after": row["energy_after"],
        "90% before": row["coverage_before"],
        "90% after": row["coverage_after"],
        "weights": "learned" if row["learned"] else "default",
    }
