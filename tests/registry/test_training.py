"""Spaces fitted and experts tuned, of what a user holds: files, or a cohort and a split at hand."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import pytest
import tomli_w

from codenoise.core.base.errors import CodenoiseError, DataError
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.splits import write_split
from codenoise.registry.authoring.bank_recipe import BankRecipe
from codenoise.registry.authoring.training import train_spaces
from codenoise.registry.authoring.tuning import tune_expert

Split: TypeAlias = "pd.Series[str]"


@pytest.fixture
def recipe(tiny_recipe: Callable[..., BankRecipe], tmp_path: Path) -> Path:
    path = tmp_path / "bank.toml"
    path.write_text(tomli_w.dumps(tiny_recipe().model_dump(mode="json")))
    return path


def test_spaces_are_fitted_once(
    tiny_cohort: Cohort, tiny_split: Split, recipe: Path, tmp_path: Path
) -> None:
    seen: list[tuple[str, int, int]] = []
    outcomes = train_spaces(
        tiny_cohort, recipe, tiny_split, tmp_path / "out",
        report=lambda outcome, done, total: seen.append((outcome.name, done, total)),
    )  # fmt: skip
    assert [(o.kind, o.name, o.status) for o in outcomes] == [
        ("space", "tiny-alpha", "trained"), ("space", "tiny-beta", "trained"),
    ]  # fmt: skip
    assert seen == [("tiny-alpha", 1, 2), ("tiny-beta", 2, 2)]
    write_split(tiny_split, tmp_path / "split.csv")
    (again,) = train_spaces(
        tiny_cohort, str(recipe), str(tmp_path / "split.csv"), str(tmp_path / "out"),
        modalities=["beta"],
    )  # fmt: skip
    assert (again.name, again.status) == ("tiny-beta", "up to date")
    assert again.r2 == outcomes[1].r2
    with pytest.raises(DataError, match="'lipids' is not in the bank recipe, which has alpha"):
        train_spaces(tiny_cohort, recipe, tiny_split, tmp_path, modalities=["alpha", "lipids"])


def test_an_expert_is_tuned_and_the_best_settings_are_written(
    tiny_cohort: Cohort, tiny_split: Split, recipe: Path, tmp_path: Path
) -> None:
    pytest.importorskip("optuna")
    spaces: list[str] = []
    trials: list[tuple[int, int]] = []
    tuned = tune_expert(
        tiny_cohort, recipe, tiny_split, tmp_path / "out", condition="alpha", target="beta",
        journal=tmp_path / "journal", trials=1,
        finish=lambda outcome: spaces.append(outcome.name),
        progress=lambda *at: trials.append(at),
    )  # fmt: skip
    assert spaces == ["tiny-alpha", "tiny-beta"]
    assert trials == [(1, 1)]
    (trial,) = tuned.trials
    # The first trial has the recipe's own settings, so the best leave the recipe as it is.
    stated = tomllib.loads(recipe.read_text())["training"]
    assert trial.settings.items() <= stated.items()
    assert tuned.training == stated
    best = tmp_path / "best.toml"
    tuned.write(best)
    assert tomllib.loads(best.read_text()) == {"training": stated}
    with pytest.raises(CodenoiseError, match="already there"):
        tuned.write(best)
    tuned.write(best, overwrite=True)
