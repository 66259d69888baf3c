from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from codenoise import open_space
from codenoise.core.cohort.cohort import read_cohort
from codenoise.registry.ensembles.recipe import Recipe, read_recipe, write_recipe
from codenoise.registry.ensembles.recipe_calibration import LearnedCalibration

Done = Callable[..., str]
EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga" / "cohort"
MODALITIES = ("cna", "rna", "rppa", "wsi")


@pytest.fixture(scope="module")
def imputed(
    ensemble: Path, once: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The completed example cohort and what the command printed as JSON; not to be changed."""
    output = tmp_path_factory.mktemp("imputed") / "new" / "completed"
    words = ["impute", EXAMPLE, "-e", ensemble, "-o", output, "--draws", 2, "--save-draws"]
    return output, json.loads(once(*words, "--json"))


def _cells(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    with path.open(newline="") as lines:
        header, *rows = list(csv.reader(lines))
    return header, {row[0]: row[1:] for row in rows}


def _values(folder: Path, modality: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{modality}.csv", index_col=0)


def test_every_output_is_written(imputed: tuple[Path, dict[str, Any]]) -> None:
    output, _ = imputed
    files = sorted(str(p.relative_to(output)) for p in output.rglob("*") if p.is_file())
    tables = [f"{part}/{m}.csv" for part in ("completed", "mask", "spread") for m in MODALITIES]
    draws = [f"draws/{m}.parquet" for m in MODALITIES]
    assert files == sorted([*tables, *draws, "coherence.csv", "provenance.json"])
    assert list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize("modality", MODALITIES)
def test_observed_cells_are_kept_to_the_letter(
    imputed: tuple[Path, dict[str, Any]], modality: str
) -> None:
    header, given = _cells(EXAMPLE / f"{modality}.csv")
    after, completed = _cells(imputed[0] / "completed" / f"{modality}.csv")
    assert after == header
    assert list(completed)[: len(given)] == list(given)
    for patient, row in given.items():
        for before, now in zip(row, completed[patient], strict=True):
            assert now == before if before else float(now) == float(now)


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_patient_is_complete_in_every_modality(
    imputed: tuple[Path, dict[str, Any]], modality: str
) -> None:
    patients = {patient for m in MODALITIES for patient in _cells(EXAMPLE / f"{m}.csv")[1]}
    header, completed = _cells(imputed[0] / "completed" / f"{modality}.csv")
    assert set(completed) == patients
    assert len(patients) == 64
    assert all(len(row) == len(header) - 1 and all(row) for row in completed.values())


@pytest.mark.parametrize("modality", MODALITIES)
def test_mask_and_spread_say_where_values_come_from(
    imputed: tuple[Path, dict[str, Any]], modality: str
) -> None:
    given = _values(EXAMPLE, modality)
    mask, spread = (_values(imputed[0] / part, modality) for part in ("mask", "spread"))
    there = mask.loc[given.index]
    assert ((there == 0) == given.notna()).all(axis=None)
    assert there.isin([0, 2]).all(axis=None)
    assert (mask.drop(index=given.index) == 1).all(axis=None)
    assert ((spread == 0) == (mask == 0)).all(axis=None)
    assert (spread >= 0).all(axis=None)


def test_only_the_proteins_have_gaps_to_fill(imputed: tuple[Path, dict[str, Any]]) -> None:
    filled = {row["target"]: row["gaps filled"] for row in imputed[1]["targets"]}
    assert filled == {"cna": 0, "rna": 0, "rppa": 15, "wsi": 0}


def test_coherence_has_a_row_per_generated_patient(imputed: tuple[Path, dict[str, Any]]) -> None:
    report = pd.read_csv(imputed[0] / "coherence.csv")
    assert list(report.columns) == [
        "patient", "target", "status", "experts", "weights learned", "weights", "coherence",
        "incoherent_fraction", "redraws", "incoherent_draws",
    ]  # fmt: skip
    for modality in MODALITIES:
        given = set(_cells(EXAMPLE / f"{modality}.csv")[1])
        rows = report[report.target == modality]
        assert len(rows) == 64 - len(given)
        assert not set(rows.patient) & given
    assert (report.status == "generated").all()
    assert not report["weights learned"].any()  # the recipe holds no calibration
    several = report.experts.str.contains(";")
    assert report.coherence[several].between(-1, 1).all()
    assert report.coherence[~several].isna().all()
    weights = report.weights.map(lambda text: sum(map(float, text.split("; "))))
    assert weights.between(0.998, 1.002).all()


def test_summary_counts_what_was_done(imputed: tuple[Path, dict[str, Any]]) -> None:
    output, content = imputed
    assert content["output"] == str(output)
    assert [row["target"] for row in content["targets"]] == list(MODALITIES)
    for row in content["targets"]:
        assert row["patients"] == 64
        assert row["generated"] == 64 - len(_cells(EXAMPLE / f"{row['target']}.csv")[1])
        assert row["values still missing"] == 0


def test_provenance_is_complete(
    imputed: tuple[Path, dict[str, Any]], bank_site: Path, ensemble: Path
) -> None:
    content = json.loads((imputed[0] / "provenance.json").read_text())
    assert content["cohort_digest"] == read_cohort(EXAMPLE).digest()
    assert (content["draws"], content["seed"]) == (2, 0)
    assert content["targets"] == list(MODALITIES)
    assert len(content["experts"]) == 12
    for expert in content["experts"].values():
        ((name, entry),) = expert["files"].items()
        package = expert["source"]["distribution"].replace("-", "_")
        assert (bank_site / package / name).stat().st_size == entry["bytes"]
    assert all(digest.startswith("sha256:") for digest in content["spaces"].values())
    assert len(content["spaces"]) == 4


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.usefixtures("bank")
def test_completed_values_are_the_mean_of_the_draws_but_for_what_a_space_does_not_carry(
    imputed: tuple[Path, dict[str, Any]], modality: str
) -> None:
    draws = pd.read_parquet(imputed[0] / "draws" / f"{modality}.parquet")
    assert draws.index.names == ["patient", "draw"]
    means = draws.groupby("patient", sort=False).mean()
    completed = _values(imputed[0] / "completed", modality).loc[means.index, means.columns]
    noise = (means - completed) / (open_space(f"tcga-{modality}").residual_sd / 2**0.5)
    assert noise.to_numpy().mean() == pytest.approx(0, abs=0.05)
    assert noise.to_numpy().std() == pytest.approx(1, abs=0.05)


def test_several_completed_tables_are_written_with_enough_draws(
    bank: Path, cohort: Path, tmp_path: Path, done: Callable[..., str]
) -> None:
    output = tmp_path / "out"
    words = ["-e", EXAMPLE.parent / "ensemble.toml", "--target", "rppa", "--draws", 2]
    done("impute", cohort, *words, "-o", output, "--tables", 3)
    assert json.loads((output / "provenance.json").read_text())["draws"] == 6
    assert sorted(path.name for path in (output / "tables").iterdir()) == ["1", "2", "3"]
    given, completed = (
        pd.read_csv(path / "rppa.csv", index_col=0) for path in (cohort, output / "completed")
    )
    versions = [pd.read_csv(output / "tables" / n / "rppa.csv", index_col=0) for n in "123"]
    for version in versions:
        assert list(version.index) == list(completed.index)
        assert version.notna().all(axis=None)
        pd.testing.assert_frame_equal(
            version.loc[given.index].where(given.notna()), given.where(given.notna())
        )
    new = completed.index.difference(given.index)
    assert len(new)
    apart = np.std([version.loc[new] for version in versions], axis=0, ddof=1)
    assert (apart > 0).all()


def _quick(cohort: Path, ensemble: Path, output: Path, *words: object) -> list[object]:
    return [
        "impute", cohort, "-e", ensemble, "-o", output, "--draws", 2, "--target", "rppa", *words,
    ]  # fmt: skip


def test_same_seed_gives_the_same_files_and_another_seed_others(
    bank: Path, ensemble: Path, cohort: Path, tmp_path: Path, done: Done
) -> None:
    texts = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        done(*_quick(cohort, ensemble, tmp_path / name, "--seed", seed))
        texts[name] = (tmp_path / name / "completed" / "rppa.csv").read_bytes()
    assert texts["a"] == texts["b"]
    assert texts["a"] != texts["c"]


def test_only_the_targets_asked_for_are_written(
    bank: Path, ensemble: Path, cohort: Path, tmp_path: Path, done: Done
) -> None:
    text = done(*_quick(cohort, ensemble, tmp_path / "out"))
    assert re.search(r"rppa +57 +32 +15", text)
    assert [p.name for p in (tmp_path / "out" / "completed").iterdir()] == ["rppa.csv"]
    assert not (tmp_path / "out" / "draws").exists()


def test_other_files_can_be_left_out_by_naming_tables(
    bank: Path, ensemble: Path, cohort: Path, done: Done
) -> None:
    (cohort / "lipids.csv").write_text("patient,a\nx,1\n")
    words = _quick(cohort, ensemble, cohort.parent / "out")
    done(*words, "--modality", "cna", "--modality", "rppa")
    assert (cohort.parent / "out" / "completed" / "rppa.csv").exists()


def test_a_modality_nobody_has_is_made_from_the_others(
    bank: Path, ensemble: Path, cohort: Path, done: Done
) -> None:
    (cohort / "rppa.csv").unlink()
    done(*_quick(cohort, ensemble, cohort.parent / "out"))
    header, rows = _cells(cohort.parent / "out" / "completed" / "rppa.csv")
    given = _cells(cohort / "cna.csv")[1]
    assert header == _cells(EXAMPLE / "rppa.csv")[0]
    assert list(rows) == list(given)
    assert all(map(all, rows.values()))


def test_patients_that_no_expert_fits_are_named_and_stay_missing(
    bank: Path, ensemble: Path, cohort: Path, run: Callable[..., Any]
) -> None:
    path = cohort / "rppa.csv"
    header = path.read_text().partition("\n")[0]
    path.write_text(f"{path.read_text()}TCGA-00-0000{',' * header.count(',')}\n")
    output = cohort.parent / "out"
    ran = run(*_quick(cohort, ensemble, output))
    assert ran.code == 0
    assert ran.err.startswith("note: 1 patient(s) stay without rppa")
    assert ran.err.count("\n") == 1
    assert "'TCGA-00-0000'" in ran.err
    report = pd.read_csv(output / "coherence.csv", index_col="patient")
    assert report.loc["TCGA-00-0000", "status"] == "no expert fits"
    for part, content in (("completed", ""), ("spread", ""), ("mask", "3")):
        assert set(_cells(output / part / "rppa.csv")[1]["TCGA-00-0000"]) == {content}


def test_columns_the_space_does_not_know_are_kept_and_named(
    bank: Path, ensemble: Path, cohort: Path, run: Callable[..., Any]
) -> None:
    path = cohort / "rppa.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{header},NEW", *(f"{row},0.50" for row in rows)]) + "\n")
    ran = run(*_quick(cohort, ensemble, cohort.parent / "out"))
    assert ran.code == 0
    assert "note: 1 column(s) of rppa are not in its space" in ran.err
    assert "'NEW'" in ran.err
    after, completed = _cells(cohort.parent / "out" / "completed" / "rppa.csv")
    assert after[-1] == "NEW"
    last = [row[-1] for row in completed.values()]
    assert last == ["0.50"] * len(rows) + [""] * (len(last) - len(rows))


def test_dry_run_says_what_would_be_done_and_writes_nothing(
    bank: Path, ensemble: Path, cohort: Path, done: Done
) -> None:
    words = _quick(cohort, ensemble, cohort.parent / "out", "--dry-run")
    assert "nothing written (dry run)" in done(*words)
    plan = json.loads(done(*words, "--json"))
    assert plan == [{"target": "rppa", "patients to generate": 32, "from": "cna"}]
    assert list(cohort.parent.iterdir()) == [cohort]


def test_dry_run_of_a_complete_cohort_has_nothing_to_do(
    bank: Path,
    ensemble: Path,
    imputed: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    done: Done,
) -> None:
    completed = imputed[0] / "completed"
    words = _quick(completed, ensemble, tmp_path / "out", "--dry-run")
    words += ["--modality", "cna", "--modality", "rppa"]
    assert done(*words) == "nothing to generate: every patient has every target\n"
    assert json.loads(done(*words, "--json")) == []


def test_output_that_holds_files_is_kept_unless_asked(
    bank: Path, ensemble: Path, cohort: Path, done: Done, refused: Callable[..., str]
) -> None:
    output = cohort.parent / "out"
    output.mkdir()
    (output / "precious.txt").write_text("mine")
    assert refused(*_quick(cohort, ensemble, output)) == (
        f"{output} already holds files; give another folder, or --overwrite"
    )
    assert [p.name for p in output.iterdir()] == ["precious.txt"]
    assert "was not written by codenoise" in refused(
        *_quick(cohort, ensemble, output, "--overwrite")
    )
    assert (output / "precious.txt").read_text() == "mine"


def test_output_of_an_earlier_run_is_replaced_when_asked(
    bank: Path, ensemble: Path, cohort: Path, done: Done
) -> None:
    output = cohort.parent / "out"
    done(*_quick(cohort, ensemble, output))
    (output / "note.txt").write_text("of the earlier run")
    done(*_quick(cohort, ensemble, output, "--overwrite"))
    assert (output / "provenance.json").exists()
    assert not (output / "note.txt").exists()


def test_an_empty_output_folder_is_used(
    bank: Path, ensemble: Path, cohort: Path, done: Done
) -> None:
    output = cohort.parent / "out"
    output.mkdir()
    done(*_quick(cohort, ensemble, output))
    assert (output / "provenance.json").exists()


@pytest.mark.parametrize("where", [".", "..", "../.."])
def test_output_that_would_replace_its_own_input_is_refused(
    bank: Path,
    ensemble: Path,
    cohort: Path,
    refused: Callable[..., str],
    where: str,
) -> None:
    inside = cohort / "deep" / "down"
    inside.mkdir(parents=True)
    for path in cohort.glob("*.csv"):
        path.rename(inside / path.name)
    output = (inside / where).resolve()
    refused(*_quick(inside, ensemble, output, "--overwrite"))
    assert (inside / "cna.csv").exists()


def test_refused_run_leaves_nothing_behind(
    bank: Path, ensemble: Path, cohort: Path, refused: Callable[..., str]
) -> None:
    path = cohort / "cna.csv"
    path.write_text(f"{path.read_text().rstrip().rpartition(',')[0]},\n")
    assert "1 of 283 values are missing" in refused(
        *_quick(cohort, ensemble, cohort.parent / "out")
    )
    assert [path.name for path in cohort.parent.iterdir()] == ["cohort"]


def test_the_trace_has_every_step_of_every_draw(
    bank: Path, ensemble: Path, cohort: Path, run: Callable[..., Any]
) -> None:
    output = cohort.parent / "out"
    ran = run(*_quick(cohort, ensemble, output, "--trace", output / "trace.parquet"))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith(f"trace written to {output / 'trace.parquet'}\n")
    assert (output / "provenance.json").exists()
    trace = pd.read_parquet(output / "trace.parquet")
    assert list(trace) == ["target", "patient", "draw", "step", "signal", "share", "distance"]
    report = pd.read_csv(output / "coherence.csv")
    assert len(trace) == len(report) * 2 * 5  # draws and steps
    assert list(trace["patient"].unique()) == list(report.patient)
    assert trace["distance"].isna().all()  # one expert alone
    assert trace["signal"][:5].is_monotonic_increasing


def test_the_trace_agrees_with_the_coherence_reported(
    bank: Path, ensemble: Path, tmp_path: Path, done: Done
) -> None:
    words = ["--trace", tmp_path / "trace.parquet", "--json"]
    printed = done(*_quick(EXAMPLE, ensemble, tmp_path / "out", *words))
    assert json.loads(printed)["output"] == str(tmp_path / "out")
    trace = pd.read_parquet(tmp_path / "trace.parquet").astype({"patient": str})
    report = pd.read_csv(tmp_path / "out" / "coherence.csv", index_col="patient")
    expected = report.coherence.dropna()
    assert len(expected) > 10
    weighed = trace.assign(distance=trace.distance * trace.share)
    draws = weighed.groupby(["patient", "draw"])["distance"].sum(min_count=1)
    found = 1 - draws.groupby("patient").mean()
    assert (found[expected.index] - expected).abs().max() < 1e-4


def test_the_trace_can_be_a_picture(
    bank: Path, ensemble: Path, cohort: Path, done: Done, refused: Callable[..., str]
) -> None:
    picture = cohort.parent / "trace.png"
    done(*_quick(cohort, ensemble, cohort.parent / "out", "--trace", picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    again = _quick(cohort, ensemble, cohort.parent / "new", "--trace", picture)
    assert refused(*again) == f"{picture} is already there; give another --trace, or --overwrite"
    assert not (cohort.parent / "new").exists()
    done(*again, "--overwrite")


def test_a_trace_of_no_format_is_refused_before_anything_is_done(
    bank: Path, ensemble: Path, cohort: Path, refused: Callable[..., str]
) -> None:
    words = _quick(cohort, ensemble, cohort.parent / "out", "--trace", "trace.csv")
    assert refused(*words) == (
        "trace.csv tells no format of a trace; end its name in .parquet for the values, or in .png "
        "or .svg or .pdf for a picture"
    )
    assert list(cohort.parent.iterdir()) == [cohort]


def test_a_trace_that_would_not_fit_is_refused_before_anything_is_done(
    bank: Path, ensemble: Path, cohort: Path, refused: Callable[..., str]
) -> None:
    recipe = read_recipe(ensemble)
    sampler = recipe.sampler.model_copy(update={"steps": 1000})
    many = cohort.parent / "many.toml"
    write_recipe(recipe.model_copy(update={"sampler": sampler}), many)
    words = _quick(cohort, many, cohort.parent / "out", "--trace", "t.png", "--draws", 10_000)
    assert refused(*words).startswith("the trace would hold 320,000,000 distances (32 patients")
    assert not (cohort.parent / "out").exists()


def test_a_trace_that_cannot_be_written_leaves_the_result(
    bank: Path, ensemble: Path, cohort: Path, run: Callable[..., Any]
) -> None:
    output = cohort.parent / "out"
    ran = run(*_quick(cohort, ensemble, output, "--trace", cohort / "cna.csv" / "trace.parquet"))
    assert ran.code == 1
    assert ran.out.startswith(f"written to {output}\n")
    assert "trace.parquet cannot be written: " in ran.err
    assert (output / "provenance.json").exists()


def _calibrated(recipe: Recipe, conditions: list[str], path: Path) -> Path:
    """The recipe with weights that were learned for patients with these conditions."""
    entry = {
        "target": "rppa", "conditions": conditions, "patients": 20,
        "experts": ["cna-to-rppa@0.1.0"], "values": [[1.0], [1.0]],
    }  # fmt: skip
    learned = LearnedCalibration.model_validate(
        {
            "cohort": "made up",
            "cohort_digest": f"sha256:{'0' * 64}",
            "composition": "mean",
            "knots": [-5.0, 5.0],
            "spread": {},
            "evidence": [],
            "coefficients": [entry],
        }
    )
    write_recipe(recipe.model_copy(update={"weighting": "stacked", "calibration": learned}), path)
    return path


@pytest.mark.parametrize(
    ("conditions", "learned", "note"),
    [
        (
            ["cna"],
            True,
            "0 of 32 patient(s) had weights that were not learned, in a target or more",
        ),
        (
            ["cna", "rna"],
            False,
            "32 of 32 patient(s) had weights that were not learned, in a target or more: {}",
        ),
    ],
)
def test_patients_without_learned_weights_are_counted(
    bank: Path,
    ensemble: Path,
    cohort: Path,
    run: Callable[..., Any],
    conditions: list[str],
    learned: bool,
    note: str,
) -> None:
    recipe = _calibrated(read_recipe(ensemble), conditions, cohort.parent / "calibrated.toml")
    ran = run(*_quick(cohort, recipe, cohort.parent / "out"))
    assert ran.code == 0
    report = pd.read_csv(cohort.parent / "out" / "coherence.csv")
    assert (report["weights learned"] == learned).all()
    first = ", ".join(map(repr, report.patient[:3])) + " and 29 more"
    assert ran.err == f"note: {note.format(first)}\n"
