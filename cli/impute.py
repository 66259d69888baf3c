"""``codenoise impute``: complete a cohort."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codenoise.cli.options import (
    PATH,
    check_free,
    cohort_argument,
    draws_option,
    dry_run_option,
    json_option,
    modality_option,
    output_option,
    overwrite_option,
    seed_option,
    targets_option,
)
from codenoise.cli.output import print_json, print_table, progress_bars
from codenoise.cli.reading import ensemble_option, reading_options
from codenoise.core.base.errors import CodenoiseError
from codenoise.core.base.files import atomic_folder
from codenoise.registry.contract.compatibility import engine_version
from codenoise.registry.ensembles.recipe import read_recipe
from codenoise.registry.ensembles.resolving import load_ensemble, provenance
from codenoise.registry.installed.discovery import discover

if TYPE_CHECKING:
    from codenoise.core.cohort.cohort import Cohort
    from codenoise.core.cohort.options import ReadOptions
    from codenoise.core.ensemble.ensemble import Ensemble
    from codenoise.core.ensemble.imputation import Imputation


@click.command()
@cohort_argument
@ensemble_option()
@output_option("Folder to write.", required=True)
@modality_option()
@reading_options
@targets_option("Complete only these modalities.")
@draws_option(
    "Generated versions per patient; their mean is the completed value.",
    default=10, least=2, most=10_000,
)  # fmt: skip
@seed_option()
@click.option("--save-draws", is_flag=True, help="Also write every draw, in features (parquet).")
@click.option(
    "--trace",
    type=PATH,
    help="Also write how far experts were apart at each step: values (.parquet), or a picture "
    "(.png, .svg or .pdf).",
)
@overwrite_option("Replace the output folder, and trace, of an earlier run.")
@dry_run_option("Check the input, say what would be done, and stop.")
@json_option
def impute(
    cohort: Path,
    recipe_path: Path,
    output: Path,
    modalities: tuple[str, ...],
    reading: ReadOptions,
    targets: tuple[str, ...],
    draws: int,
    seed: int,
    save_draws: bool,
    trace: Path | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Complete the tables of COHORT: a folder with one per modality (rna.csv, rppa.parquet, ...).

    A TOML that names the files, or a MuData file, will do too.

    \b
    Writes to the output folder:
      completed/       the tables, in their own features, layout and order
      spread/          standard deviation of each value, 0 where observed
      mask/            0 observed, 1 generated, 2 gap filled within the modality, 3 still missing
      coherence.csv    one row per patient and generated modality
      provenance.json  versions, digests, seed: what the result was made with

    \b
    Example:
      codenoise impute my_cohort --ensemble ensemble.toml --output completed
    """
    from codenoise.core.cohort.cohort import read_cohort
    from codenoise.core.ensemble.trace import check_trace_name, write_trace

    target_folder, source = output.resolve(), cohort.resolve()
    if target_folder == source or target_folder in source.parents:
        raise CodenoiseError(f"{output} holds the cohort {cohort}; give another --output")
    if trace is not None:
        check_trace_name(trace)
        check_free(trace, overwrite, "--trace")
    recipe = read_recipe(recipe_path)
    inventory = discover()
    ensemble = load_ensemble(recipe, inventory)
    given = read_cohort(cohort, modalities or None, features=ensemble.features, **reading)
    wanted = ensemble.check(given, targets or None)
    if dry_run:
        ensemble.encode(given)  # the features and gaps of each table are checked by encoding it
        _print_plan(ensemble, given, wanted, as_json)
        return
    with atomic_folder(output, "provenance.json" if overwrite else None) as folder:
        with progress_bars() as progress:
            result = ensemble.impute(
                given,
                draws=draws,
                seed=seed,
                targets=wanted,
                keep_trace=trace is not None,
                progress=progress,
            )
        _write(folder, ensemble, result, save_draws)
        record = {
            "codenoise": engine_version(),
            "cohort_digest": given.digest(),
            "read_options": reading,
            "read": {name: list(table.notes) for name, table in given.tables.items()},
            "draws": draws,
            "seed": seed,
            "targets": wanted,
            **provenance(recipe, inventory),
        }
        (folder / "provenance.json").write_text(json.dumps(record, indent=1) + "\n")
    rows = _summary(result, wanted)
    if as_json:
        print_json({"output": str(output), "targets": rows})
    else:
        print_table(rows, f"written to {output}")
    if trace is not None:  # last, for it may go into the output folder, or nowhere
        write_trace(result.generations, ensemble.settings, trace)
    if as_json:
        return
    if trace is not None:
        click.echo(f"trace written to {trace}")
    for table in given.tables.values():
        for change in table.changes:
            click.echo(f"note: {table.source}: {change}", err=True)
    _warn(result, wanted)
    if recipe.weighting == "stacked":
        _tell_learned(result)


def _print_plan(ensemble: Ensemble, cohort: Cohort, targets: Sequence[str], as_json: bool) -> None:
    from codenoise.core.ensemble.expert import conditions_of

    mask = cohort.mask()
    rows = []
    for target in targets:
        conditions = conditions_of(ensemble.experts_for(target))
        usable = [name for name in conditions if name in mask]
        lacking = mask if target not in mask else mask[~mask[target]]
        for pattern, group in lacking.groupby(usable) if usable else [((), lacking)]:
            present = [name for name, there in zip(usable, pattern, strict=True) if there]
            rows.append(
                {
                    "target": target,
                    "patients to generate": len(group),
                    "from": "+".join(present) or "nothing: stays missing",
                }
            )
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows, "nothing written (dry run)")
    else:
        click.echo("nothing to generate: every patient has every target")


def _write(folder: Path, ensemble: Ensemble, result: Imputation, save_draws: bool) -> None:
    from codenoise.core.cohort.tables import write_table
    from codenoise.core.ensemble.imputation import draws_table

    for name, tables in (
        ("completed", result.completed),
        ("spread", result.spread),
        ("mask", result.mask),
    ):
        for modality, table in tables.items():
            write_table(table, folder / name, modality)
    result.report.to_csv(folder / "coherence.csv", index=False, float_format="%.4f")
    if save_draws:
        (folder / "draws").mkdir()
        for modality, generation in result.generations.items():
            drawn = draws_table(ensemble.spaces[modality], generation)
            drawn.to_parquet(folder / "draws" / f"{modality}.parquet", compression="zstd")


def _summary(result: Imputation, targets: Sequence[str]) -> list[dict[str, Any]]:
    from codenoise.core.ensemble.imputation import Origin

    rows = []
    for target in targets:
        report = result.report[result.report.target == target]
        origin = result.mask[target].frame.to_numpy()
        rows.append(
            {
                "target": target,
                "patients": len(origin),
                "generated": int((report.status == "generated").sum()),
                "gaps filled": int((origin == Origin.RECONSTRUCTED).sum()),
                "values still missing": int((origin == Origin.UNAVAILABLE).sum()),
                "mean coherence": float(report.coherence.mean()) if len(report) else float("nan"),
                "redraws": int(report.redraws.sum()),
                "incoherent draws": int(report.incoherent_draws.sum()),
            }
        )
    return rows


def _warn(result: Imputation, targets: Sequence[str]) -> None:
    """Say on stderr what stayed missing."""
    from codenoise.core.base.errors import first_few
    from codenoise.core.ensemble.imputation import Origin

    for target in targets:
        report = result.report[result.report.target == target]
        left = report.patient[report.status != "generated"]
        if len(left):
            click.echo(
                f"note: {len(left)} patient(s) stay without {target}, for they have no modality "
                f"that an expert could use: {first_few(left)}",
                err=True,
            )
        mask = result.mask[target].frame
        unknown = mask.columns[
            (mask.drop(index=list(left), errors="ignore") == Origin.UNAVAILABLE).any()
        ]
        if len(unknown):
            click.echo(
                f"note: {len(unknown)} column(s) of {target} are not in its space and could not be "
                f"generated: {first_few(unknown)}",
                err=True,
            )


def _tell_learned(result: Imputation) -> None:
    """Say on stderr for how many patients the calibration had no weights."""
    from codenoise.core.base.errors import first_few

    report = result.report[result.report.status == "generated"]
    patients = report.patient.nunique()
    others = report.patient[~report["weights learned"]].unique()
    named = f": {first_few(others)}" if len(others) else ""
    click.echo(
        f"note: {len(others)} of {patients} patient(s) had weights that were not learned, in a "
        f"target or more{named}",
        err=True,
    )
