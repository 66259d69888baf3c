"""``codenoise evaluate``: the paper's experiments, and generated against real values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codenoise.cli.options import (
    PATH,
    clinical_option,
    cohort_argument,
    dry_run_option,
    json_option,
    modality_option,
    output_option,
    overwrite_option,
    seed_option,
    split_option,
)
from codenoise.cli.output import print_json, print_table, progress_bars, told
from codenoise.cli.reading import ensemble_option, reading_options
from codenoise.core.base.errors import DataError
from codenoise.core.cohort.options import ReadOptions
from codenoise.evaluation.experiments import EXPERIMENTS, experiment
from codenoise.registry.ensembles.recipe import Recipe, read_recipe
from codenoise.registry.ensembles.resolving import load_ensemble, resolve
from codenoise.registry.installed.discovery import discover

if TYPE_CHECKING:
    from codenoise.evaluation.study import Study


@click.group()
def evaluate() -> None:
    """Run the paper's experiments on held-out patients, or compare with values held back.

    \b
    Example:
      codenoise evaluate all tcga -e ensemble.toml --split tcga_split.csv -o evaluation --quick
    """


def _experiment_command(names: Sequence[str], called: str, summary: str) -> click.Command:
    """A command that runs some experiments and writes the report."""

    @cohort_argument
    @ensemble_option()
    @split_option(
        "CSV of patient,split: simple methods and classifiers learn from its training "
        "patients, its test patients are measured."
    )
    @clinical_option("Table of cancer_type, stage, os_days, os_event. [default: the cohort's own]")
    @modality_option("Study only these. [default: the targets; of one target, its conditions too]")
    @output_option(
        "Folder of results, figures and report; a run that was interrupted goes on there.",
        "evaluation",
    )
    @click.option(
        "--runs",
        type=click.IntRange(1, 1000),
        help="Repetitions, each with a seed of its own. [default: 10, quick 2]",
    )
    @seed_option("Seed of the first run.")
    @click.option("--quick", is_flag=True, help="Measure a part of everything, in some minutes.")
    @overwrite_option("Delete the folder's results and start anew.")
    @dry_run_option("Show what is left to measure; write nothing.")
    @reading_options
    @json_option
    def command(
        cohort: Path,
        recipe_path: Path,
        split_path: Path,
        clinical_path: Path | None,
        modalities: tuple[str, ...],
        output: Path,
        runs: int | None,
        seed: int,
        quick: bool,
        overwrite: bool,
        dry_run: bool,
        reading: ReadOptions,
        as_json: bool,
    ) -> None:
        from codenoise.evaluation.evaluating import QUICK_RUNS, RUNS, open_study

        about, study = open_study(
            load_ensemble(read_recipe(recipe_path), discover()),
            cohort,
            split_path,
            clinical=clinical_path,
            modalities=modalities,
            runs=runs or (QUICK_RUNS if quick else RUNS),
            seed=seed,
            quick=quick,
            recipe=recipe_path,
            **reading,
        )
        if dry_run:
            _show_plan(names, study, output, as_json)
        else:
            _run(names, study, about, output, overwrite, as_json)

    command.__doc__ = f"""{summary}

    Results go to the folder --output: every row in results/NAME.parquet, figures as PNG and SVG,
    and report.html, which needs no network. Several experiments share a folder and a report.

    \b
    Example:
      codenoise evaluate {called} tcga -e ensemble.toml --split tcga_split.csv -o evaluation
    """
    return click.command(called)(command)


def _show_plan(names: Sequence[str], study: Study, output: Path, as_json: bool) -> None:
    """What would be measured."""
    from codenoise.evaluation.running import left_to_do

    rows = []
    for name in names:
        try:
            left, total = left_to_do(experiment(name), study, output)
            rows.append({"experiment": name, "parts": total, "left": len(left), "why not": ""})
        except DataError as problem:
            rows.append({"experiment": name, "parts": 0, "left": 0, "why not": told(problem)})
    if as_json:
        print_json(rows)
    else:
        print_table(rows, f"would be measured into {output}")


def _run(
    names: Sequence[str],
    study: Study,
    about: dict[str, Any],
    output: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Measure, write the report, and show the answers."""
    from codenoise.evaluation.evaluating import run_study

    def missed(name: str, problem: DataError) -> None:
        click.echo(f"{name} is left out: {told(problem)}", err=True)

    with progress_bars() as progress:
        found = run_study(about, study, names, output, overwrite, progress, missed)
    answers = [(c.experiment.name, c.section, c.rows) for c in found.chapters if c.section]
    if as_json:
        print_json([_as_json(name, section, rows) for name, section, rows in answers])
        return
    for name, section, _ in answers:
        click.echo(f"{name}: {section.verdict}\n")
        if len(answers) == 1:
            for table in section.tables:
                print_table(table.frame.to_dict("records"), table.title)  # type: ignore[arg-type]
    click.echo(f"report: {found.report}")


def _as_json(name: str, section: Any, rows: int) -> dict[str, object]:
    return {
        "experiment": name,
        "verdict": section.verdict,
        "claims": [asdict(claim) for claim in section.claims],
        "tables": {table.title: table.frame.to_dict("records") for table in section.tables},
        "rows": rows,
    }


evaluate.add_command(
    _experiment_command(tuple(EXPERIMENTS), "all", "Run every experiment and write one report.")
)
for _name, (_, _summary) in EXPERIMENTS.items():
    evaluate.add_command(_experiment_command((_name,), _name, _summary))


@evaluate.command()
@click.argument("imputed", type=PATH)
@click.option(
    "--truth",
    "truth_folder",
    type=PATH,
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
    from codenoise.evaluation.truth import compare_parts
    from codenoise.registry.installed.loading import load_space

    path = imputed / "provenance.json"
    try:
        recipe = Recipe.model_validate(json.loads(path.read_text())["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{path} is missing or damaged; give an output folder of 'codenoise impute'"
        ) from None
    _, plugins = resolve(recipe, discover())
    parts = {n: read_cohort(imputed / n, **reading).tables for n in ("completed", "spread", "mask")}
    found = compare_parts(
        parts,
        read_cohort(truth_folder, **reading),
        lambda modality: load_space(plugins[modality]),
        str(imputed),
    )
    results = [asdict(one) for one in found]
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
