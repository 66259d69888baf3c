from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("optuna")

from codenoise.core.base.errors import CodenoiseError
from codenoise.core.diffusion import tuning
from codenoise.core.diffusion.config import TrainingConfig
from codenoise.core.diffusion.data import ExpertData
from codenoise.core.diffusion.tuning import tune

BASE = TrainingConfig(
    width=16, layers=2, time_dim=8, condition_width=8, batch=64, max_steps=60, validate_every=20,
    validation_draws=4, validation_sampler_steps=5, condition_noise=0.0, weight_decay=0.0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "GRID", {"learning_rate": (1e-6, 1e-2), "layers": (1, 2)})


def pairs(rows: int, seed: int) -> ExpertData:
    rng = np.random.default_rng(seed)
    condition = rng.normal(size=(rows, 3)).astype(np.float32)
    noise = rng.normal(size=(rows, 3)).astype(np.float32)
    return ExpertData(condition, condition + 0.2 * noise, (3,))


def test_search_starts_with_the_recipe_goes_on_where_it_stopped_and_ranks(tmp_path: Path) -> None:
    data, journal = (pairs(200, 0), pairs(40, 1)), tmp_path / "journal"
    base = replace(BASE, learning_rate=1e-6)
    first = tune(*data, base, journal, trials=1)
    assert [(t.number, t.settings) for t in first] == [(0, {"learning_rate": 1e-6, "layers": 2})]
    seen: list[tuple[int, int]] = []
    found = tune(*data, base, journal, trials=5, progress=lambda *at: seen.append(at))
    assert seen == [(2, 5), (3, 5), (4, 5), (5, 5)]
    assert sorted(t.number for t in found) == [0, 1, 2, 3, 4]
    scores = [t.energy_score for t in found if not math.isnan(t.energy_score)]
    assert scores == sorted(scores)
    assert found[0].settings["learning_rate"] == 1e-2  # the other rate cannot learn in 60 steps
    assert first[0] in found
    assert tune(*data, base, journal, trials=5) == found


def test_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.write_text("patient,split\n")
    with pytest.raises(CodenoiseError, match="cannot be read as a journal of trials"):
        tune(pairs(50, 0), pairs(20, 1), BASE, journal, trials=1)
