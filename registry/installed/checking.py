"""What a cohort holds, and what of it the installed spaces can use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import pandas as pd
from packaging.version import Version

from codenoise.core.base.errors import CodenoiseError, SpaceError
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.cohort.given import Given, MuDataLike, cohort_of
from codenoise.core.cohort.options import ReadOptions
from codenoise.core.spaces.space import Space
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.loading import load_space
from codenoise.registry.installed.searching import named_spaces

FINE = ("ok", "no space installed")


@dataclass(frozen=True)
class CheckedCohort:
    """A cohort as it was understood.

    Attributes
    ----------
    cohort
        As read; `Table.notes` of its tables say what was done.
    tables
        A row per modality: patients, features, gaps, how many features its newest installed space
        matches, and a verdict: ``ok``, ``no space installed``, or what is wrong.
    patterns
        A row per set of modalities: how many patients have just these.
    """

    cohort: Cohort
    tables: pd.DataFrame
    patterns: pd.DataFrame

    @property
    def usable(self) -> bool:
        """Whether every table that has a space could be encoded."""
        return bool(self.tables["verdict"].isin(FINE).all())


def check_cohort(
    given: Given | MuDataLike,
    modalities: Sequence[str] | None = None,
    **options: Unpack[ReadOptions],
) -> CheckedCohort:
    """Read every table of a cohort, say what was understood, and change nothing.

    Parameters
    ----------
    given, modalities, options
        As `Ensemble.read` takes them.

    Raises
    ------
    DataError
        If a table cannot be read at all.

    Examples
    --------
    >>> check_cohort("my_cohort").tables  # doctest: +SKIP
    """
    plugins = sorted(discover().spaces, key=lambda plugin: Version(plugin.manifest.version))
    newest = {plugin.manifest.modality: plugin for plugin in plugins}
    spaces = {modality: load_space(plugin) for modality, plugin in newest.items()}
    features = {name: space.features for name, space in spaces.items()}
    cohort = cohort_of(given, modalities, features=features, **options)
    rows = [_verdict(cohort, name, spaces.get(name)) for name in cohort.tables]
    return CheckedCohort(cohort, pd.DataFrame(rows), _patterns(cohort))


def open_space(name: str) -> Space:
    """Load the newest installed space of a name.

    Parameters
    ----------
    name
        ``tcga-rna``, or with its version: ``tcga-rna@0.1.0``.

    Raises
    ------
    SpaceError
        If it is not installed, or twice with different content.

    Examples
    --------
    >>> space = open_space("tcga-rna")  # doctest: +SKIP
    >>> latents = space.encode(frame)  # doctest: +SKIP
    """
    matching = named_spaces(name)
    newest = max(matching, key=lambda plugin: Version(plugin.manifest.version))
    twins = [p for p in matching if p.reference == newest.reference]
    if len(twins) > 1:
        sources = " and ".join(plugin.source.label for plugin in twins)
        raise SpaceError(
            f"{newest.reference} is installed with different content by {sources}; remove one"
        )
    return load_space(newest)


def _verdict(cohort: Cohort, modality: str, space: Space | None) -> dict[str, Any]:
    table, measured = cohort.tables[modality], cohort.measured(modality)
    row: dict[str, Any] = {
        "modality": modality,
        "file": table.source,
        "patients": len(measured),
        "features": len(table.frame.columns),
        "gaps %": 100 * float(measured.isna().to_numpy().mean()) if measured.size else 0.0,
        "space": "",
        "matched": "",
        "verdict": "no space installed",
    }
    if space is None:
        return row
    there = len(space.features) - len(space.absent(table.frame))
    row |= {"space": space.reference, "matched": f"{there}/{len(space.features)}", "verdict": "ok"}
    try:
        space.encode(measured, table.source)
    except CodenoiseError as problem:
        row["verdict"] = str(problem)
    return row


def _patterns(cohort: Cohort) -> pd.DataFrame:
    mask = cohort.mask()
    rows = [
        {
            "measured": "+".join(n for n, there in zip(mask.columns, pattern, strict=True) if there)
            or "nothing",
            "patients": int(count),
        }
        for pattern, count in mask.value_counts().items()
        if isinstance(pattern, tuple)
    ]
    return pd.DataFrame(rows, columns=["measured", "patients"])
