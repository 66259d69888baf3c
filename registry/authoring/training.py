"""Training from what a user holds: a cohort, a recipe and a split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import pandas as pd

from codenoise.core.cohort.given import Given, MuDataLike, cohort_of
from codenoise.core.cohort.options import ReadOptions
from codenoise.core.cohort.splits import split_of
from codenoise.registry.authoring.bank import Ends, Report, train_bank
from codenoise.registry.authoring.bank_recipe import BankRecipe, read_bank_recipe
from codenoise.registry.authoring.bank_spaces import Outcome, fit_spaces, training_parts


def train(
    cohort: Given | MuDataLike,
    recipe: Path | str,
    split: pd.Series[str] | Path | str,
    output: Path | str,
    *,
    experts: Sequence[Ends] | None = None,
    workers: int = 1,
    report: Report | None = None,
    **options: Unpack[ReadOptions],
) -> list[Outcome]:
    """Fit spaces and train experts, each as a package project that pip can install.

    What is there already and was made from the same inputs is left as it is. Test patients are
    dropped before anything is computed.

    Parameters
    ----------
    cohort
        In any form that `Ensemble.read` takes.
    recipe
        TOML with modalities, licences and settings.
    split
        Patient to ``train``, ``validation`` or ``test``, or a CSV of it.
    output
        Folder of the projects.
    experts
        What to train, e.g. ``[(("rna",), "rppa")]``; one of several conditions takes any subset of
        them. By default every ordered pair of the recipe's modalities.
    workers
        Processes; results do not depend on their number.
    report
        Called after each package with its outcome, the number done and the number in all.
    options
        How tables are read, see `read_table`.

    Raises
    ------
    DataError
        If a modality is unknown, a table cannot be used, or cohort and split share no patient.

    Examples
    --------
    >>> train("tcga", "tcga.toml", "split.csv", "plugins", workers=2)  # doctest: +SKIP
    """
    plan = read_bank_recipe(Path(recipe))
    wanted = list(plan.modalities)
    if experts:
        wanted = list(dict.fromkeys(m for used, target in experts for m in (*used, target)))
    given = cohort_of(cohort, _known(wanted, plan), **options)
    return train_bank(
        plan, given, split_of(split), Path(output), experts=experts, workers=workers, report=report
    )


def train_spaces(
    cohort: Given | MuDataLike,
    recipe: Path | str,
    split: pd.Series[str] | Path | str,
    output: Path | str,
    *,
    modalities: Sequence[str] | None = None,
    report: Report | None = None,
    **options: Unpack[ReadOptions],
) -> list[Outcome]:
    """Fit spaces and train no expert, each space as a package project that pip can install.

    A space that is there already and was fitted to the same inputs is left as it is.

    Parameters
    ----------
    cohort, recipe, split, output, report, options
        As in `train`.
    modalities
        Whose spaces; by default those of the recipe.

    Raises
    ------
    DataError
        If a modality is unknown, a table cannot be used, or cohort and split share no patient.

    Examples
    --------
    >>> train_spaces("tcga", "tcga.toml", "split.csv", "plugins")  # doctest: +SKIP
    """
    plan = read_bank_recipe(Path(recipe))
    wanted = list(modalities or plan.modalities)
    given = cohort_of(cohort, _known(wanted, plan), **options)
    outcomes: list[Outcome] = []

    def finish(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if report is not None:
            report(outcome, len(outcomes), len(wanted))

    parts = training_parts(given, split_of(split))
    fit_spaces(plan, parts, Path(output), wanted, finish)
    return outcomes


def _known(wanted: list[str], plan: BankRecipe) -> list[str]:
    """Tables to read: those of the recipe, so that it is what refuses any other modality."""
    return [name for name in wanted if name in plan.modalities] or wanted
