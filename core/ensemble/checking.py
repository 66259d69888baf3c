"""What is refused of a cohort before anything is made of it."""

from __future__ import annotations

from collections.abc import Collection

from codenoise.core.base.errors import EnsembleError, first_few
from codenoise.core.cohort.cohort import Cohort


def check_tables(cohort: Cohort, known: Collection[str]) -> None:
    """Refuse tables of other modalities than the ``known``, and ids that no two tables share.

    Raises
    ------
    EnsembleError
        If there is no table, one is of another modality, or one has no patient of another.
    """
    for modality, table in cohort.tables.items():
        if modality not in known:
            raise EnsembleError(
                f"{table.source}: {modality!r} is no modality of this ensemble, which knows "
                f"{', '.join(sorted(known))}; rename it, or name those to read with "
                f"`modalities`"
            )
    if not cohort.tables:
        raise EnsembleError("the cohort has no table; give at least one modality")
    mask = cohort.mask()
    measured = mask.columns[mask.any()]
    shared = mask[mask.sum(axis=1) > 1].any()
    for modality in measured if len(measured) > 1 else ():
        if not shared[modality]:
            ids = "; ".join(
                f"{other.source}: {first_few(other.frame.index, 1)}"
                for other in cohort.tables.values()
            )
            raise EnsembleError(
                f"no patient of {cohort.tables[modality].source} is in another table; "
                f"ids must be written alike in all ({ids})"
            )
