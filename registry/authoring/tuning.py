"""Tuning one expert from what a user holds: a cohort, a recipe and a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import pandas as pd

from codenoise.core.base.errors import CodenoiseError
from codenoise.core.base.files import atomic_file
from codenoise.core.base.threads import one_torch_thread
from codenoise.core.cohort.given import Given, MuDataLike, cohort_of
from codenoise.core.cohort.options import ReadOptions
from codenoise.core.cohort.splits import split_of
from codenoise.registry.authoring.bank import expert_data
from codenoise.registry.authoring.bank_recipe import read_bank_recipe
from codenoise.registry.authoring.bank_spaces import Finish

if TYPE_CHECKING:
    from codenoise.core.diffusion.tuning import Trial


@dataclass(frozen=True)
class Tuned:
    """What a search came to.

    Attributes
    ----------
    trials
        All that were finished, best first.
    training
        The recipe's settings of training, with those of the best trial.
    """

    trials: list[Trial]
    training: dict[str, Any]

    def write(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write the best trial as ``[training]`` of a recipe, in TOML.

        Raises
        ------
        CodenoiseError
            If the file is there already, unless it may be replaced, or cannot be written.
        """
        import tomli_w

        if Path(path).exists() and not overwrite:
            raise CodenoiseError(f"{path} is already there; give another path, or `overwrite=True`")
        with atomic_file(Path(path)) as temporary:
            temporary.write_text(tomli_w.dumps({"training": self.training}))


def tune_expert(
    cohort: Given | MuDataLike,
    recipe: Path | str,
    split: pd.Series[str] | Path | str,
    output: Path | str,
    *,
    condition: str,
    target: str,
    journal: Path | str,
    trials: int = 20,
    seconds: float | None = None,
    finish: Finish | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Unpack[ReadOptions],
) -> Tuned:
    """Try network sizes, batches and rates for one expert, and rank them by energy score.

    The recipe's own settings are tried first. No package of an expert is written; spaces that are
    not in the folder are fitted and written there. Needs ``pip install 'codenoise[tune]'``.

    Parameters
    ----------
    cohort, recipe, split, output, options
        As in `train`.
    condition, target
        The expert's two modalities.
    journal
        File that keeps all trials; with the same file a search goes on where it stopped.
    trials
        Settings to try in all, earlier ones included.
    seconds
        Time after which no trial is begun.
    finish
        Called with what became of each of the two spaces.
    progress
        Called with trials done and in all.

    Raises
    ------
    CodenoiseError
        If optuna is not installed, or the journal cannot be read.
    DataError
        If a modality is unknown, a table cannot be used, or there are too few patients.

    Examples
    --------
    >>> tuned = tune_expert(
    ...     "tcga", "tcga.toml", "split.csv", "plugins", condition="rna", target="rppa",
    ...     journal="rna-to-rppa.journal", seconds=1800,
    ... )  # doctest: +SKIP
    >>> tuned.write("best.toml")  # doctest: +SKIP
    """
    from codenoise.core.diffusion.tuning import tune

    plan = read_bank_recipe(Path(recipe))
    given = cohort_of(cohort, [condition, target], **options)
    ends = ((condition,), target)
    data = expert_data(plan, given, split_of(split), Path(output), ends, finish or (lambda _: None))
    with one_torch_thread():
        found = tune(
            data["train"],
            data["validation"],
            plan.config(),
            Path(journal),
            trials=trials,
            seconds=seconds,
            progress=progress,
        )
    return Tuned(found, plan.training | found[0].settings)
