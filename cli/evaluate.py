"""``codenoise evaluate``: measure generated against real values."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from codenoise.cli.output import json_option, plain_json, print_json, print_table, progress_bars
from codenoise.cli.reading import reading_options
from codenoise.core.cohort.options import ReadOptions
from codenoise.core.errors import DataError
from codenoise.core.files import atomic_file
from codenoise.registry.compatibility import engine_version
from codenoise.registry.discovery import discover
from codenoise.registry.recipe import Recipe, read_recipe
from codenoise.registry.resolving import load_ensemble, provenance, resolve


@click.group()
def evaluate() -> None:
    """Measure generated against real values."""


@evaluate.command()
@click.argument("cohort", type=click.Path(path_type=Path))
@click.option(
    "--ensemble",
    "-e",
    "recipe_path",
    type=click.Path(path_type=Path),
    required=True,
    help="Recipe written by 'codenoise compose'.",
)
@click.option(
    "--split",
    "split_path",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV of patient,split; its test patients are generated.",
)
@click.option(
    "--draws", type=click.IntRange(4), default=10, show_default=True, help="Draws per patient."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draws.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="JSON file of the results.")
@reading_options
@json_option
def reconstruction(
    cohort: Path,
    recipe_path: Path,
    split_path: Path,
    draws: int,
    seed: int,
    output: Path | None,
    reading: ReadOptions,
    as_json: bool,
) -> None:  # fmt: skip
    """R2 of the ensemble, of each expert alone and of ridge, on the test patients of COHORT.

    Every R2 is of latents, pooled over patients and dimensions. "draws" is the R2 of single draws
    (the paper's figure), "mean" that of the mean of the draws, "limit" that of the mean of
    infinitely many, which compares with ridge. Scope "shared" compares all methods
    on the patients that have every condition; "own" takes every patient a method can serve.

    \b
    Example:
      codenoise evaluate reconstruction tcga -e ensemble.toml --split tcga_split.csv
    """
    from codenoise.core.cohort.cohort import read_cohort
    from codenoise.core.cohort.splits import read_split, split_part
    from codenoise.core.evaluation.reconstruction import reconstruction as measure
    from codenoise.core.evaluation.reconstruction import results_table

    recipe, inventory = read_recipe(recipe_path), discover()
    ensemble = load_ensemble(recipe, inventory)
    given = read_cohort(cohort, list(ensemble.spaces), features=ensemble.features, **reading)
    split = read_split(split_path)
    called = f"{cohort} and {split_path}"
    latents = {
        part: ensemble.encode(split_part(given, split, part, called)) for part in ("train", "test")
    }
    with progress_bars() as progress:
        results = measure(
            ensemble, latents["train"], latents["test"], draws=draws, seed=seed, progress=progress
        )
    if not results:
        raise DataError(
            f"{cohort}: no test patient has a target and a condition of the ensemble; "
            f"nothing can be measured"
        )
    record = {
        "experiment": "reconstruction",
        "codenoise": engine_version(),
        "cohort_digest": given.digest(),
        "draws": draws,
        "seed": seed,
        "results": [asdict(result) for result in results],
        **provenance(recipe, inventory),
    }
    if output is not None:
        with atomic_file(output) as temporary:
            temporary.write_text(json.dumps(plain_json(record), indent=1) + "\n")
    if as_json:
        print_json(record)
        return
    table = results_table(results)
    for scope, rows in table.groupby("scope", sort=False):
        shown = rows.drop(columns=["scope", "r2_feature"]).rename(
            columns={
                "r2_draw": "R2 draws",
                "r2_draw_sd": "+-",
                "r2_mean": "R2 mean",
                "r2_expectation": "R2 limit",
                "energy_score": "energy",
                "variance_ratio": "variance",
            }
        )
        print_table(shown.to_dict("records"), f"scope: {scope}")  # type: ignore[arg-type]


@evaluate.command()
@click.argument("imputed", type=click.Path(path_type=Path))
@click.option(
    "--truth",
    "truth_folder",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder with the real tables of patients that were generated.",
)
@reading_options
@json_option
def truth(imputed: Path, truth_folder: Path, reading: ReadOptions, as_json: bool) -> None:
    """Compare IMPUTED, an output folder of 'codenoise impute', with values held back.

    \b
    Example:
      codenoise evaluate truth completed --truth held_back
    """
    from codenoise.core.cohort.cohort import read_cohort
    from codenoise.core.evaluation.truth import against_truth
    from codenoise.registry.loading import load_space

    path = imputed / "provenance.json"
    try:
        recipe = Recipe.model_validate(json.loads(path.read_text())["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{path} is missing or damaged; give an output folder of 'codenoise impute'"
        ) from None
    _, plugins = resolve(recipe, discover())
    real = read_cohort(truth_folder, **reading)
    parts = {n: read_cohort(imputed / n, **reading).tables for n in ("completed", "spread", "mask")}
    results = []
    for modality, table in real.tables.items():
        if modality not in parts["completed"]:
            raise DataError(f"{table.source}: {modality!r} was not completed in {imputed}")
        space = load_space(plugins[modality])
        completed, spread, mask = (parts[n][modality].frame for n in parts)
        results.append(asdict(against_truth(space, completed, spread, mask, table.frame)))
    if as_json:
        print_json(results)
        return
    columns = {
        "r2_latent": "R2 latent",
        "r2_feature_pooled": "R2 features, pooled",
        "r2_feature_mean": "R2 features, mean",
        "within_90": "within 90% interval",
    }
    print_table([{columns.get(k, k): v for k, v in row.items()} for row in results])
