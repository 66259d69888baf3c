"""Names of features from what a file calls them: gene and antibody, symbol and Entrez id."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.features import canonical


def feature_names(
    ids: pd.DataFrame, wanted: Sequence[str] | None, path: object
) -> tuple[list[str], list[str]]:
    """One name per feature.

    The first id column names the feature; where it is empty, the Entrez id beside it does, as in
    tables of cBioPortal. Names of two parts, ``GENE|antibody`` or ``SYMBOL|entrez``, are taken by
    the part that the space knows; without a space by the antibody, or by the symbol where the
    second part is a number.

    Parameters
    ----------
    ids
        Id columns of the features, the header of the file as column names.
    wanted
        Features of the modality's space, if known.
    path
        For messages.

    Returns
    -------
    tuple
        The names, and notes of what was done.

    Raises
    ------
    DataError
        If a feature has no name at all.
    """
    notes: list[str] = []
    names = ids.iloc[:, 0].astype(object).where(ids.iloc[:, 0].notna(), None)
    entrez = [name for name in ids.columns[1:] if str(name).lower() == "entrez_gene_id"]
    if entrez:
        empty = names.isna()
        names = names.where(~empty, ids[entrez[0]])
        taken = int((empty & names.notna()).sum())
        if taken:
            notes.append(f"{taken} feature(s) without a symbol named by their Entrez id")
    if names.isna().any():
        row = int(names.isna().to_numpy().argmax()) + 1
        raise DataError(f"{path}, data row {row}: the feature's name is missing")
    given = [str(name) for name in names]
    if given and all(name.count("|") == 1 for name in given):
        return _of_two_parts(given, wanted, notes)
    return given, notes


def _of_two_parts(
    given: list[str], wanted: Sequence[str] | None, notes: list[str]
) -> tuple[list[str], list[str]]:
    first, second = (list(part) for part in zip(*(n.split("|") for n in given), strict=True))
    numbered = all(part.isdigit() for part in second)
    # The annotation files of TCGA write '?' for a gene without a symbol.
    symbols = [b if a in ("?", "") else a for a, b in zip(first, second, strict=True)]
    ways = {
        "the whole name": given,
        "the part before '|'": symbols,
        "the part after '|'": second,
    }
    best = "the part before '|'" if numbered else "the part after '|'"
    if wanted is not None:
        known = {canonical(name) for name in wanted}
        found = {way: sum(canonical(n) in known for n in names) for way, names in ways.items()}
        if max(found.values()) > found[best]:
            best = max(found, key=lambda way: found[way])
    return ways[best], [*notes, f"features named by {best}: {given[0]!r} is {ways[best][0]!r}"]
