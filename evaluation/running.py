"""Running experiments: every finished part is on disk, so that an interrupted run goes on."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from codenoise.core.base.errors import CodenoiseError, DataError
from codenoise.core.base.files import atomic_file
from codenoise.evaluation.experiment import Experiment, Part
from codenoise.evaluation.study import Study

ABOUT = "study.json"
# What makes two runs one study: more runs may be added, and paths may be written otherwise.
IDENTITY = (
    "codenoise", "cohort_digest", "clinical_digest", "split_digest", "recipe_digest", "modalities",
    "seed", "quick",
)  # fmt: skip
LEFT_OUT = "left_out.json"
Progress = Callable[[str, int, int], None]


def open_results(folder: Path, about: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Make a folder for results, or go on in one of the same study.

    Parameters
    ----------
    folder
        Where results are, or will be.
    about
        What identifies the study (`IDENTITY`), its number of ``runs``, and what it was made with;
        plain JSON.
    overwrite
        Delete the results that are there, and start anew.

    Raises
    ------
    CodenoiseError
        If the folder holds another study, something else, or cannot be written.
    """
    path = folder / ABOUT
    if overwrite and folder.exists():
        read_about(folder)  # nothing but results is deleted
        shutil.rmtree(folder)
    if path.exists():
        earlier = read_about(folder)
        different = [key for key in IDENTITY if about[key] != earlier.get(key)]
        if different:
            raise CodenoiseError(
                f"{folder} holds results of another study: {', '.join(different)} differ; give "
                f"another `folder`, or `overwrite=True` to start anew"
            )
        about = {**about, "runs": max(about["runs"], earlier["runs"])}
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CodenoiseError(
            f"{folder} is there and holds no study ({ABOUT} is missing); give another `folder`"
        )
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n")


def read_about(folder: Path) -> dict[str, Any]:
    """What `open_results` stored.

    Raises
    ------
    DataError
        If there is nothing, or it is damaged.
    """
    path = folder / ABOUT
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise DataError(
            f"{path} is missing or damaged; give a folder written by 'codenoise evaluate'"
        )
    return found


def left_to_do(experiment: Experiment, study: Study, folder: Path) -> tuple[list[Part], int]:
    """Parts that are not stored yet, and how many there are in all.

    Raises
    ------
    DataError
        If the study lacks what the experiment needs.
    """
    parts = experiment.parts(study)
    done = {record["key"] for record in _stored(folder, experiment.name)}
    return [part for part in parts if part.key not in done], len(parts)


def run_experiment(
    experiment: Experiment,
    study: Study,
    folder: Path,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure what is not stored yet, and write the tidy table.

    Parameters
    ----------
    experiment, study
        What to measure, on whom.
    folder
        Opened by `open_results`.
    progress
        Called with the experiment's name, parts done and in all.

    Returns
    -------
    DataFrame
        All rows, as stored in ``results/NAME.parquet``: those of the experiment, with ``part``,
        ``part_seconds``, ``experiment``, ``codenoise_version``, ``cohort_digest`` and
        ``recipe_digest`` beside them.

    Raises
    ------
    DataError
        If the study lacks what the experiment needs.
    CodenoiseError
        If a result cannot be written.
    """
    left, total = left_to_do(experiment, study, folder)
    path = _lines(folder, experiment.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    _mend(path)
    if progress is not None:
        progress(experiment.name, total - len(left), total)
    for count, part in enumerate(left):
        started = time.monotonic()
        rows = [{name: _plain(value) for name, value in row.items()} for row in part.measure()]
        record = {
            "key": part.key,
            "seconds": round(time.monotonic() - started, 2),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "rows": rows,
        }
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")
        if progress is not None:
            progress(experiment.name, total - len(left) + count + 1, total)
    _leave_out(folder, experiment.name, None)
    return _write_table(folder, experiment.name)


def leave_out(folder: Path, name: str, reason: str) -> None:
    """Note why an experiment could not be made, for the report."""
    _leave_out(folder, name, reason)


def left_out(folder: Path) -> dict[str, str]:
    """Experiments that could not be made, and why."""
    path = folder / LEFT_OUT
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return found


def read_table(folder: Path, name: str) -> pd.DataFrame | None:
    """The tidy table of an experiment; ``None`` where it has none.

    Raises
    ------
    DataError
        If it is damaged.
    """
    path = folder / "results" / f"{name}.parquet"
    if not path.exists():
        return None
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as problem:
        raise DataError(
            f"{path} cannot be read: {problem}; run 'codenoise evaluate {name}' again"
        ) from None


def seconds_of(table: pd.DataFrame) -> float:
    """Seconds that the parts of a tidy table took."""
    return float(table.drop_duplicates("part")["part_seconds"].sum())


def _leave_out(folder: Path, name: str, reason: str | None) -> None:
    known = left_out(folder)
    changed = {key: value for key, value in known.items() if key != name}
    if reason is not None:
        changed[name] = reason
    if changed != known:
        with atomic_file(folder / LEFT_OUT) as temporary:
            temporary.write_text(json.dumps(changed, indent=1) + "\n")


def _lines(folder: Path, name: str) -> Path:
    return folder / "results" / f"{name}.jsonl"


def _stored(folder: Path, name: str) -> list[dict[str, Any]]:
    """Whole records; the last line of a run that was killed may be half a one."""
    path = _lines(folder, name)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    try:
        return [json.loads(line) for line in lines]
    except ValueError:
        raise DataError(f"{path} is damaged; delete it, and its parts are measured again") from None


def _mend(path: Path) -> None:
    """Take off half a last line, so that the next record begins on a line of its own."""
    if path.exists():
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            with atomic_file(path) as temporary:
                temporary.write_text(whole, encoding="utf-8")


def _plain(value: Any) -> str | int | float | bool | None:
    """A value as JSON has it; numbers of numpy become Python's, and those that are none null."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float) and not math.isfinite(plain):
        return None
    found: str | int | float | bool | None = plain
    return found


def _write_table(folder: Path, name: str) -> pd.DataFrame:
    about = read_about(folder)
    rows = [
        row | {"part": record["key"], "part_seconds": record["seconds"]}
        for record in _stored(folder, name)
        for row in record["rows"]
    ]
    frame = pd.DataFrame(rows).assign(
        experiment=name,
        codenoise_version=about["codenoise"],
        cohort_digest=about["cohort_digest"],
        recipe_digest=about["recipe_digest"],
    )
    with atomic_file(folder / "results" / f"{name}.parquet") as temporary:
        frame.to_parquet(temporary)
    return frame
