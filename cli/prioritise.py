"""``codenoise prioritise``: whom to test next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codenoise.cli.options import (
    check_free,
    clinical_option,
    cohort_argument,
    draws_option,
    json_option,
    modality_option,
    output_option,
    overwrite_option,
    seed_option,
)
from codenoise.cli.output import print_json, print_table, progress_bars
from codenoise.cli.reading import ensemble_option, reading_options
from codenoise.core.base.files import atomic_file
from codenoise.registry.ensembles.recipe import read_recipe
from codenoise.registry.ensembles.resolving import load_ensemble
from codenoise.registry.installed.discovery import discover

if TYPE_CHECKING:
    from codenoise.core.cohort.cohort import Cohort
    from codenoise.core.cohort.options import ReadOptions
    from codenoise.core.prioritisation.ranking import Priorities, Score


@click.command()
@cohort_argument
@ensemble_option()
@click.option(
    "--missing",
    multiple=True,
    required=True,
    help="Modality that could be measured; give it again for several.",
)
@click.option(
    "--task",
    type=click.Choice(["stage", "survival", "cancer_type"]),
    default="stage",
    show_default=True,
    help="What is to be predicted.",
)
@click.option("--label", help="Predict this clinical column of a few kinds instead.")
@clinical_option("Clinical table; that of the cohort by default.")
@modality_option()
@draws_option("Generated versions per patient.", default=10, least=2, most=1000)
@seed_option()
@click.option(
    "--score",
    type=click.Choice(["variance", "label-changes"]),
    default="variance",
    show_default=True,
    help="Variance of what is predicted over the versions, or share of versions with another label "
    "than the commonest.",
)
@click.option(
    "--trees",
    type=click.IntRange(1, 100_000),
    default=500,
    show_default=True,
    help="Of the forest.",
)
@click.option("--top", type=click.IntRange(1), help="Print only so many; the CSV has all.")
@output_option("CSV of the ranked patients.")
@overwrite_option("Replace the CSV if it is there.")
@reading_options
@json_option
def prioritise(
    cohort: Path,
    recipe_path: Path,
    missing: tuple[str, ...],
    task: str,
    label: str | None,
    clinical_path: Path | None,
    modalities: tuple[str, ...],
    draws: int,
    seed: int,
    score: Score,
    trees: int,
    top: int | None,
    output: Path | None,
    overwrite: bool,
    reading: ReadOptions,
    as_json: bool,
) -> None:  # fmt: skip
    """Rank the patients of COHORT that lack a modality: whom to test next.

    For each of them the modality is generated several times from what the patient has. A forest,
    trained on the patients that have the modality and a known outcome, predicts the outcome from
    each version: where its predictions are far apart, measuring could change them most. Those
    patients come first. Patients that nothing can be generated for come last, with the reason.

    \b
    Example:
      codenoise prioritise my_cohort -e ensemble.toml --missing rna --task stage --top 20
    """
    from codenoise.core.cohort.cohort import read_clinical
    from codenoise.core.prioritisation.ranking import prioritise as rank

    check_free(output, overwrite)
    ensemble = load_ensemble(read_recipe(recipe_path), discover())
    given = ensemble.read(cohort, modalities or None, **reading)
    clinical = read_clinical(clinical_path or cohort)
    with progress_bars() as progress:
        found = rank(
            ensemble, given, clinical, missing, task=task, label=label, draws=draws, seed=seed,
            score=score, trees=trees, progress=progress,
        )  # fmt: skip
    if output is not None:
        with atomic_file(output) as temporary:
            found.table.to_csv(temporary, index=False, float_format="%.6g")
    rows = found.table.astype(object).where(found.table.notna(), None).to_dict("records")
    shown = rows[:top]
    if as_json:
        about = {
            "task": label or task,
            "missing": list(missing),
            "score": score,
            "draws": draws,
            "seed": seed,
            "trained": found.trained,
            "classes": dict(found.classes),
        }
        print_json({**about, "ranked": len(rows), "patients": shown})
        return
    what = f"{len(rows)} patients that lack {' or '.join(missing)}, by {score} of {label or task}"
    print_table([_shown(row) for row in shown], what + (f"; first {top}" if top else ""))
    if output is not None:
        click.echo(f"written to {output}")
    _tell(found, given)


def _shown(row: dict[Any, Any]) -> dict[str, Any]:
    """Scores are often far below a thousandth, which a table would show as nothing."""
    cells = {str(name): "-" if value is None else value for name, value in row.items()}
    if row["score"] is not None:
        cells["score"] = f"{row['score']:.3g}"
    return cells


def _tell(found: Priorities, cohort: Cohort) -> None:
    """Say on stderr whom the forest was trained on, and what was left out or changed."""
    counts = ", ".join(f"{name}: {count}" for name, count in found.classes.items())
    named = f" ({counts})" if counts else ""
    click.echo(f"note: the forest was trained on {found.trained} patients{named}", err=True)
    if found.aside:
        click.echo(
            f"note: {found.aside} of the ranked patients have a known outcome, which the forest "
            f"has not seen",
            err=True,
        )
    unscored = int(found.table["score"].isna().sum())
    if unscored:
        click.echo(f"note: {unscored} patient(s) have no score, see their reason", err=True)
    for table in cohort.tables.values():
        for change in table.changes:
            click.echo(f"note: {table.source}: {change}", err=True)
