"""Feature names: Ensembl versions, R's and Excel's changes, meeting the names of a space."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from codenoise.core.base.errors import DataError, first_few
from codenoise.core.cohort.identifiers import counted, r_name
from codenoise.core.cohort.options import Merge, said_with

# Ten digits follow in ENSGR..., as GENCODE once named genes of the pseudoautosomal region of Y.
_ENSEMBL = re.compile(r"(ENS[A-Z]+[0-9]{10,11})\.[0-9]+((?:_PAR_Y)?)", re.ASCII)

# As English Excel writes them; 'mar-1' is a gene of the worm and 'Oct-4' an antibody.
_MONTH = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_DATE = re.compile(
    rf"(?P<day>0?[1-9]|[12][0-9]|3[01])-(?P<month>{_MONTH})"
    rf"|(?P<month_2>{_MONTH})-(?P<year>[0-9]{{2}})"
    r"|(?P<month_1>Mar|Sep|Dec)-(?P<day_1>[1-9])",
    re.ASCII,
)


@dataclass(frozen=True)
class FeatureMatch:
    """Where the features of a space stand in a table.

    Attributes
    ----------
    positions
        Wanted name to column position, in the order wanted.
    missing
        Wanted names that the table lacks, in the order wanted.
    notes
        How names that are not equal were matched, one sentence each.
    """

    positions: Mapping[str, int]
    missing: list[str]
    notes: list[str]


def canonical(name: str) -> str:
    """The name without its Ensembl version; ``_PAR_Y`` stays, for it is another gene.

    Examples
    --------
    >>> canonical("ENSG00000141510.18"), canonical("ENSG00000182378.15_PAR_Y"), canonical("TP53")
    ('ENSG00000141510', 'ENSG00000182378_PAR_Y', 'TP53')
    """
    match = _ENSEMBL.fullmatch(name)
    return name if match is None else match[1] + match[2]


def match_features(labels: Sequence[str], wanted: Sequence[str], source: str) -> FeatureMatch:
    """Find the wanted features among the columns of a table.

    A column is taken by its exact name; else by its name without Ensembl version, if one wanted
    feature has it; else, for features not found so, if R's ``make.names`` turns the one name into
    the other. A column that could be several wanted features is none of them and is noted.

    Parameters
    ----------
    labels
        Column names of the table.
    wanted
        Feature names of a space, each once.
    source
        What the table is called, for messages.

    Raises
    ------
    DataError
        If two columns are the same wanted feature.
    """
    exact = {name: [name] for name in wanted}
    by_canonical = _grouped((canonical(name), name) for name in wanted)
    by_r_name = _grouped((r_name(name), name) for name in wanted)
    by_name: dict[str, list[int]] = defaultdict(list)
    by_r: dict[str, list[int]] = defaultdict(list)
    unclear: list[str] = []
    for position, label in enumerate(labels):
        found, names = by_name, exact.get(label) or by_canonical.get(canonical(label), [])
        if not names:
            # Either the table or the space may have been through R.
            found, names = by_r, by_r_name.get(label) or exact.get(r_name(label), [])
        if len(names) == 1:
            found[names[0]].append(position)
        elif names:
            unclear.append(label)
    columns = by_r | by_name
    _refuse_twice(columns, labels, source)
    positions = {name: columns[name][0] for name in wanted if name in columns}
    unequal = {name: labels[where] for name, where in positions.items() if labels[where] != name}
    notes = _match_notes(
        [label for name, label in unequal.items() if name in by_name],
        [label for name, label in unequal.items() if name not in by_name],
        unclear,
    )
    return FeatureMatch(positions, [name for name in wanted if name not in columns], list(notes))


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, name in pairs:
        groups[key].append(name)
    return dict(groups)


def _refuse_twice(found: Mapping[str, list[int]], labels: Sequence[str], source: str) -> None:
    twice = {name: where for name, where in found.items() if len(where) > 1}
    if twice:
        name, where = next(iter(twice.items()))
        raise DataError(
            f"{source}: {len(twice)} wanted feature(s) stand more than once: {first_few(twice)}; "
            f"{name!r} is columns {first_few(labels[position] for position in where)}; keep one of "
            f"each"
        )


def _match_notes(
    unversioned: Sequence[str], mangled: Sequence[str], unclear: Sequence[str]
) -> Iterable[str]:
    for labels, how in (
        (unversioned, "matched without Ensembl version"),
        (mangled, "matched by the name that R makes of it"),
        (unclear, "left out, could be several wanted features"),
    ):
        if labels:
            yield f"{counted(len(labels), 'column')} {how} ({first_few(labels)})"


def excel_dates(labels: Sequence[str]) -> list[str]:
    """The labels that Excel made into dates: ``1-Mar``, ``Sep-02``, ``Dec-1``; each once."""
    return [label for label in dict.fromkeys(labels) if _DATE.fullmatch(label)]


def check_features(
    labels: Sequence[str], source: str, *, merge: Merge = "refuse"
) -> dict[str, list[int]]:
    """Refuse feature names that have lost their meaning or stand more than once.

    Parameters
    ----------
    labels
        Column names of the table.
    source
        What the table is called, for messages.
    merge
        What the caller will do with columns that are the same feature but for the Ensembl version:
        ``refuse`` them, take their ``mean``, or take the ``first``.

    Returns
    -------
    dict
        Canonical name to the positions of its columns, for each feature with more than one; empty
        if ``merge`` is ``refuse``.

    Raises
    ------
    DataError
        If a name is a date that Excel made of a gene symbol, or a feature stands more than once
        and ``merge`` is ``refuse``.
    """
    dates = excel_dates(labels)
    if dates:
        symbols = [symbol for date in dates if (symbol := _symbols(date))]
        were = f", probably of {first_few(symbols)}" if symbols else ""
        raise DataError(
            f"{source}: {len(dates)} feature name(s) look like dates that Excel makes of "
            f"gene symbols: {first_few(dates)}{were}; put the symbols back, from the data as they "
            f"were before Excel"
        )
    groups: dict[str, list[int]] = defaultdict(list)
    for position, label in enumerate(labels):
        groups[canonical(label)].append(position)
    twice = {name: where for name, where in groups.items() if len(where) > 1}
    if twice and merge == "refuse":
        first = next(iter(twice.values()))
        raise DataError(
            f"{source}: {len(twice)} feature(s) stand more than once, Ensembl versions "
            f"aside: {first_few(twice)} (columns {first_few(labels[p] for p in first)}); keep one "
            f"of each, or give {said_with('merge', ('mean', 'first'))}"
        )
    return twice


def _symbols(date: str) -> str:
    """The gene symbols that Excel may have made this date of, new and old; empty if none."""
    match = _DATE.fullmatch(date)
    assert match is not None
    month = match["month"] or match["month_2"] or match["month_1"]
    number = int(match["day"] or match["year"] or match["day_1"])
    symbols = []
    if month == "Mar" and 1 <= number <= 11:
        symbols.append(f"MARCHF{number}/MARCH{number}")
    if month == "Mar" and 1 <= number <= 2:
        symbols.append(f"MTARC{number}/MARC{number}")
    if month == "Sep" and 1 <= number <= 14 and number != 13:
        symbols.append(f"SEPTIN{number}/SEPT{number}")
    if month == "Sep" and number == 15:
        symbols.append("SELENOF/SEP15")
    if month == "Dec" and number == 1:
        symbols.append("DELEC1/DEC1")
    return " or ".join(symbols)
