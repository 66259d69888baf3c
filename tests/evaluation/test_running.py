from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from codenoise.core.base.errors import CodenoiseError, DataError
from codenoise.evaluation.experiment import Experiment, Part, Section
from codenoise.evaluation.running import (
    leave_out,
    left_out,
    left_to_do,
    open_results,
    read_about,
    read_table,
    run_experiment,
    seconds_of,
)
from codenoise.evaluation.study import Study

STUDY = cast(Study, None)  # the experiments here look at none


def about(**others: Any) -> dict[str, Any]:
    return {
        "codenoise": "1", "cohort_digest": "a", "clinical_digest": "b", "split_digest": "c",
        "recipe_digest": "d", "modalities": ["x"], "seed": 0, "quick": False, "runs": 2,
        "cohort": "here",
    } | others  # fmt: skip


def counting(calls: list[str], *, stops_at: str = "", keys: str = "xyz") -> Experiment:
    """An experiment that notes which of its parts were measured."""

    def part(key: str) -> Part:
        def measure() -> list[dict[str, Any]]:
            if key == stops_at:
                raise KeyboardInterrupt
            calls.append(key)
            known = {"run": np.int64(len(key)), "name": key, "value": np.float32(0.5)}
            return [known, known | {"run": 2, "value": math.nan, "reason": "nothing to compare"}]

        return Part(key, measure)

    return Experiment(
        "counting", "Counting", "How many?", "nowhere",
        lambda _: [part(key) for key in keys], lambda _: Section("counted"),
    )  # fmt: skip


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    open_results(folder, about())
    calls: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_experiment(counting(calls, stops_at="y"), STUDY, folder)
    assert read_table(folder, "counting") is None
    seen: list[tuple[str, int, int]] = []
    frame = run_experiment(counting(calls), STUDY, folder, lambda *now: seen.append(now))
    assert calls == ["x", "y", "z"]
    assert seen == [("counting", 1, 3), ("counting", 2, 3), ("counting", 3, 3)]
    assert list(frame["name"]) == ["x", "x", "y", "y", "z", "z"]
    again = run_experiment(counting(calls), STUDY, folder)
    assert calls == ["x", "y", "z"]
    pd.testing.assert_frame_equal(again, frame)


def test_rows_are_tidy_and_carry_version_and_digests(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    open_results(folder, about())
    run_experiment(counting([], keys="x"), STUDY, folder)
    stored = pd.read_parquet(folder / "results" / "counting.parquet")
    assert list(stored.run) == [1, 2]
    assert stored["value"].iloc[0] == 0.5
    assert stored["value"].isna().iloc[1]
    assert stored.reason.iloc[1] == "nothing to compare"
    for column, value in (
        ("experiment", "counting"), ("codenoise_version", "1"), ("cohort_digest", "a"),
        ("recipe_digest", "d"),
    ):  # fmt: skip
        assert set(stored[column]) == {value}
    (line,) = (folder / "results" / "counting.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["key"] == "x"
    assert record["rows"][1]["value"] is None
    assert seconds_of(stored) == record["seconds"] >= 0
    assert set(stored.part) == {"x"}


def test_half_a_line_of_a_killed_run_is_measured_again(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    open_results(folder, about())
    run_experiment(counting([], keys="xy"), STUDY, folder)
    path = folder / "results" / "counting.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-9])
    calls: list[str] = []
    frame = run_experiment(counting(calls, keys="xy"), STUDY, folder)
    assert calls == ["y"]
    assert list(frame["name"]) == ["x", "x", "y", "y"]
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["x", "y"]


def test_damaged_results_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    open_results(folder, about())
    run_experiment(counting([]), STUDY, folder)
    path = folder / "results" / "counting.jsonl"
    path.write_text("{\n" + path.read_text())
    with pytest.raises(DataError, match=r"counting.jsonl is damaged; delete it"):
        run_experiment(counting([]), STUDY, folder)
    (folder / "results" / "counting.parquet").write_text("nothing of the kind")
    with pytest.raises(DataError, match=r"counting.parquet cannot be read"):
        read_table(folder, "counting")


def test_more_runs_may_be_added_but_no_other_study(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    open_results(folder, about())
    open_results(folder, about(runs=5, cohort="elsewhere"))
    assert read_about(folder)["runs"] == 5
    open_results(folder, about(runs=1))
    assert read_about(folder)["runs"] == 5
    with pytest.raises(CodenoiseError, match="recipe_digest, seed differ"):
        open_results(folder, about(seed=1, recipe_digest="e"))
    (folder / "old.txt").touch()
    open_results(folder, about(seed=1, recipe_digest="e"), overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["study.json"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(CodenoiseError, match="holds no study"):
        open_results(tmp_path, about())
    with pytest.raises(DataError, match="missing or damaged"):
        open_results(tmp_path, about(), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(DataError, match="missing or damaged"):
        read_about(tmp_path)


def test_what_was_left_out_is_remembered_until_it_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    open_results(folder, about())
    leave_out(folder, "counting", "no column stage")
    leave_out(folder, "other", "no patients")
    assert left_out(folder) == {"counting": "no column stage", "other": "no patients"}
    assert len(left_to_do(counting([]), STUDY, folder)[0]) == 3
    run_experiment(counting([]), STUDY, folder)
    assert left_out(folder) == {"other": "no patients"}
    assert left_to_do(counting([]), STUDY, folder) == ([], 3)
