"""The distance of experts at every step: as values, and as a picture."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from codenoise.core.base.errors import DataError, EnsembleError
from codenoise.core.diffusion.grid import step_grid, step_shares
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble import trace as module
from codenoise.core.ensemble.engine import Generation, generate
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.core.ensemble.trace import check_trace_size, write_trace

STEPS, DRAWS = 7, 4
SETTINGS = EngineSettings("uniform", steps=STEPS, threshold=0.5, max_retries=2)
HEADS = {".png": b"\x89PNG\r\n", ".pdf": b"%PDF-", ".svg": b"<?xml"}


@pytest.fixture
def generation(gaussian_expert: Callable[..., Expert]) -> Generation:
    """Of patients with both conditions, that the experts read in opposite ways, one, and none."""
    gain, covariance = np.eye(2), 0.05 * np.eye(2)
    experts = [gaussian_expert(gain, covariance, "a"), gaussian_expert(-gain, covariance, "b")]
    rng = np.random.default_rng(0)
    both = pd.DataFrame(rng.standard_normal((3, 2)), ["p", "q", "r"], dtype=np.float32)
    conditions = {"a": both, "b": both.drop("r")}
    return generate(
        experts, conditions, ["p", "none", "q", "r"],
        draws=DRAWS, settings=SETTINGS, keep_trace=True,
    )  # fmt: skip


def words(path: Path) -> list[str]:
    """Every piece of text in an SVG, from the comments that stand before its outlines."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def test_values_are_tidy_and_whole(generation: Generation, tmp_path: Path) -> None:
    write_trace({"x": generation}, SETTINGS, tmp_path / "trace.parquet")
    frame = pd.read_parquet(tmp_path / "trace.parquet")
    assert list(frame) == ["target", "patient", "draw", "step", "signal", "share", "distance"]
    assert generation.trace is not None
    usable = [0, 2, 3]
    index = pd.MultiIndex.from_product(
        [["x"], ["p", "q", "r"], range(DRAWS), range(STEPS)],
        names=["target", "patient", "draw", "step"],
    )
    found = frame.astype({"target": str, "patient": str}).set_index(index.names)
    assert list(found.index) == list(index)
    np.testing.assert_array_equal(found["distance"], generation.trace[usable].ravel())
    levels = step_grid(linear_schedule().alpha_bar, STEPS, SETTINGS.sampler)
    np.testing.assert_array_equal(found["signal"], np.tile(levels, 3 * DRAWS))
    shares = step_shares(linear_schedule().alpha_bar, levels)
    np.testing.assert_array_equal(found["share"], np.tile(shares, 3 * DRAWS))
    assert found["distance"].isna().groupby("patient").mean().to_dict() == {"p": 0, "q": 0, "r": 1}


def test_the_trace_is_that_of_the_draw_that_was_kept(generation: Generation) -> None:
    assert generation.trace is not None
    assert generation.flagged[[0, 2]].any()
    alpha_bar = linear_schedule().alpha_bar
    shares = step_shares(alpha_bar, step_grid(alpha_bar, STEPS, SETTINGS.sampler))
    np.testing.assert_allclose(1 - generation.trace @ shares, generation.coherence, rtol=1e-5)
    fraction = (generation.trace[[0, 2]] > SETTINGS.threshold) @ shares
    np.testing.assert_allclose(fraction, generation.incoherent_fraction[[0, 2]], rtol=1e-5)


@pytest.mark.parametrize("rows", [1, DRAWS * STEPS, 2 * DRAWS * STEPS])
def test_patients_are_written_some_at_a_time(
    generation: Generation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    both = {"x": generation, "y": generation}
    write_trace(both, SETTINGS, tmp_path / "whole.parquet")
    monkeypatch.setattr(module, "ROWS", rows)
    write_trace(both, SETTINGS, tmp_path / "parts.parquet")
    whole, parts = (pd.read_parquet(tmp_path / f"{n}.parquet") for n in ("whole", "parts"))
    assert parts.astype({"patient": str}).equals(whole.astype({"patient": str}))
    assert list(whole["target"].unique()) == ["x", "y"]


@pytest.mark.parametrize("suffix", [*HEADS, ".PNG"])
def test_the_ending_tells_the_format(generation: Generation, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"trace{suffix}"
    write_trace({"x": generation}, SETTINGS, path)
    assert path.read_bytes().startswith(HEADS[suffix.lower()])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_picture_counts_draws_and_says_what_it_shows(
    generation: Generation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = int(generation.flagged.sum())
    assert wrong > 1
    path = tmp_path / "trace.svg"
    write_trace({"x": generation, "r$na_1$": generation}, SETTINGS, path)
    found = [word.replace("\\", "") for word in words(path)]
    for target in ("x", "r$na_1$"):
        assert f"{target}: 8 draws, {wrong} incoherent" in found
    labels = {"median", "5-95%", "incoherent draw", "threshold", "step, from noise to data"}
    assert labels <= {*found}
    monkeypatch.setattr(module, "DRAWN", 1)
    write_trace({"x": generation}, SETTINGS, path)
    assert f"x: 8 draws, {wrong} incoherent, the first 1 shown" in words(path)


def test_a_target_without_anything_to_compare_has_an_empty_panel(
    generation: Generation, tmp_path: Path
) -> None:
    alone = replace(
        generation,
        coherence=np.full_like(generation.coherence, np.nan),
        flagged=np.zeros_like(generation.flagged),
    )
    write_trace({"x": alone}, SETTINGS, tmp_path / "trace.svg")
    found = words(tmp_path / "trace.svg")
    assert "x: 0 draws, 0 incoherent" in found
    assert "median" not in found


@pytest.mark.parametrize("name", ["trace", "trace.csv", "trace.parquet.gz", ".png"])
def test_another_ending_is_refused(generation: Generation, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        write_trace({"x": generation}, SETTINGS, tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name} tells no format of a trace; end its name in .parquet for the values, "
        f"or in .png or .svg or .pdf for a picture"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_named_with_the_command_that_installs_it(
    generation: Generation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str, *_: Any) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("codenoise.core.base.optional.importlib.import_module", absent)
    with pytest.raises(DataError) as caught:
        write_trace({"x": generation}, SETTINGS, tmp_path / "trace.png")
    assert str(caught.value) == (
        "drawing the trace needs the package matplotlib; install it with: "
        "pip install 'codenoise[plots]'"
    )
    write_trace({"x": generation}, SETTINGS, tmp_path / "trace.parquet")


def test_draws_without_a_trace_are_refused(generation: Generation, tmp_path: Path) -> None:
    with pytest.raises(EnsembleError, match="no trace was kept"):
        write_trace({"x": replace(generation, trace=None)}, SETTINGS, tmp_path / "trace.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_trace_that_would_not_fit_is_refused() -> None:
    check_trace_size(100_000, 10, 100)
    with pytest.raises(EnsembleError) as caught:
        check_trace_size(100_001, 10, 100)
    assert str(caught.value) == (
        "the trace would hold 100,001,000 distances (100,001 patients to generate x 10 draws x 100 "
        "steps), and 100,000,000 are the most; take fewer draws, targets or patients"
    )
