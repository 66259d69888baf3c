"""Patient and sample ids: TCGA barcodes, R's changes to names, one row per patient."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from codenoise.core.base.errors import DataError, first_few
from codenoise.core.cohort.options import SampleChoice, said_with

# Which samples come first: by kind in this order, within a kind by code in this order.
TUMOUR_CODES = {
    "primary": ("01", "03", "05", "09"),
    "recurrent": ("02", "04"),
    "metastatic": ("06", "07"),
    "other tumour": ("08",),
}
TAKEN: Mapping[SampleChoice, tuple[str, ...]] = {
    "tumour": tuple(TUMOUR_CODES),
    "primary": ("primary",),
    "metastatic": ("metastatic",),
    "normal": ("normal",),
}
# Foreign ids and patient barcodes say nothing of the sample, so no choice can apply to them.
UNTYPED = "untyped"

_BARCODE = re.compile(
    r"""TCGA(?P<dash>[-.])(?P<site>[A-Z0-9]{2})(?P=dash)(?P<participant>[A-Z0-9]{4})
    (?:(?P=dash)(?P<sample>[0-9]{2})(?P<vial>[A-Z])?
      (?:(?P=dash)(?P<portion>[0-9]{2})(?P<analyte>[A-Z])?
        (?:(?P=dash)
          (?:(?:TS|MS|BS|DX)[A-Z0-9]{1,2}(?:\.[0-9A-F]{8}(?:[-.][0-9A-F]{4}){3}[-.][0-9A-F]{12})?
             (?:\.SVS)?
            |(?P<plate>[A-Z0-9]{4})(?:(?P=dash)(?P<center>[0-9]{2}))?)
        )?
      )?
    )?""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True)
class Barcode:
    """A TCGA barcode in its parts, upper case; what the barcode is too short for is ``None``.

    Attributes
    ----------
    patient
        ``TCGA-AB-1234``.
    sample
        Two-digit type: 01-09 tumour, 10-19 normal, 20-29 control.
    vial, portion, analyte, plate, center
        ``A``, ``11``, ``R``, ``A081``, ``07`` of ``TCGA-AB-1234-01A-11R-A081-07``.
    text
        The barcode as it was given.
    """

    patient: str
    sample: str | None
    vial: str | None
    portion: str | None
    analyte: str | None
    plate: str | None
    center: str | None
    text: str


@dataclass(frozen=True)
class Resolution:
    """Which rows of a table stand for which patients.

    Attributes
    ----------
    patients
        Each patient once, in order of first appearance in the table.
    rows
        Position of the row that was taken for each patient, in the same order.
    dropped
        Label and reason of every other row, in the order of the table.
    notes
        What was decided, one sentence each, for a person to read.
    """

    patients: list[str]
    rows: list[int]
    dropped: list[tuple[str, str]]
    notes: list[str]


@dataclass(frozen=True)
class _Row:
    position: int
    label: str
    patient: str
    kind: str
    # Kind before code before text: the smallest of a patient's rows is taken.
    rank: tuple[int, int, str]
    code: str | None = None


def counted(number: int, noun: str) -> str:
    """``1 sample``, ``2 samples``: for use inside a note."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def parse_barcode(text: str) -> Barcode | None:
    """Take a TCGA barcode of any length apart: patient, sample, portion, slide or aliquot.

    Letter case does not matter, and dots may stand for all dashes, as R writes them. Anything else
    is a foreign id and gives ``None``.

    Examples
    --------
    >>> parse_barcode("tcga.ab.1234.01a").patient
    'TCGA-AB-1234'
    """
    match = _BARCODE.fullmatch(text)
    if match is None:
        return None
    parts = {name: part and part.upper() for name, part in match.groupdict().items()}
    patient = f"TCGA-{parts.pop('site')}-{parts.pop('participant')}"
    del parts["dash"]
    return Barcode(patient, **parts, text=text)


def r_name(name: str) -> str:
    """The column name that R's ``make.names`` makes of ``name``: ``X4E.BP1`` of ``4E-BP1``.

    Letters, digits, dots and underscores stay; R's reserved words are not looked at.
    """
    bad_start = not name or not (name[0].isalpha() or re.match(r"\.(?![0-9])", name))
    return ("X" if bad_start else "") + re.sub(r"[^\w.]", ".", name)


def unmangle(labels: Sequence[str], known: Collection[str]) -> tuple[list[str], list[str]]:
    """Undo R's ``X`` prefix and dots-for-dashes, only where that gives a known name.

    A label is left alone if it is known, if it could be several known names, or if the name it
    would get already stands among the labels: R would have changed that one too.

    Parameters
    ----------
    labels
        Row or column labels of one table.
    known
        Ids of other tables, or features of a space.

    Returns
    -------
    tuple
        The labels in the same order, and notes of what was done, one sentence each.
    """
    exact, present = set(known), set(labels)
    sources: dict[str, set[str]] = defaultdict(set)
    for name in exact - present:
        prefixed = "X" + name if name[:1].isdigit() else name
        for form in {r_name(name), prefixed, name.replace("-", ".")} - {name}:
            sources[form].add(name)
    options = {label: sources[label] for label in labels if label in sources and label not in exact}
    claims = Counter(name for names in options.values() for name in names)
    undone = {
        label: next(iter(names))
        for label, names in options.items()
        if len(names) == 1 and claims[next(iter(names))] == 1
    }
    notes = []
    if undone:
        label, name = next(iter(undone.items()))
        what = counted(len(undone), "label")
        notes.append(f"undid R's changes to {what} ({first_few(undone)}): {label!r} is {name!r}")
    unclear = [label for label in options if label not in undone]
    if unclear:
        could = first_few(sorted(options[unclear[0]]))
        what = counted(len(unclear), "label")
        notes.append(
            f"left {what} as given, for want of a one-to-one match ({first_few(unclear)}): "
            f"{unclear[0]!r} could be {could}"
        )
    return [undone.get(label, label) for label in labels], notes


def resolve_samples(
    labels: Sequence[str], source: str, *, samples: SampleChoice = "tumour"
) -> Resolution:
    """Choose one row per patient.

    Ids that are not TCGA barcodes, and barcodes without a sample type, are kept as they are
    whatever the choice; a patient barcode gives way to a sample of the same patient. Among a
    patient's tumour samples primary ones (01, 03, 05, 09) come before recurrent (02, 04),
    metastatic (06, 07) and others (08); within a type the first by barcode text is taken. Normal
    and control samples are dropped. The order of the rows does not matter to the choice.

    Parameters
    ----------
    labels
        Row labels of one table.
    source
        What the table is called, for messages.
    samples
        ``tumour`` is the rule above; ``primary``, ``metastatic`` and ``normal`` take only those.

    Raises
    ------
    DataError
        If the row to take stands more than once, or no row is left.
    """
    foreign = samples == "tumour" and not any(map(parse_barcode, labels))
    if labels and foreign and len({*labels}) == len(labels):
        # Nothing to choose: a million ids need no rows of half a kilobyte each.
        return Resolution([*labels], [*range(len(labels))], [], [*_note_of_broken(labels)])
    rows = [_row(position, label) for position, label in enumerate(labels)]
    wanted = (*TAKEN[samples], UNTYPED)
    groups: dict[str, list[_Row]] = {row.patient: [] for row in rows}
    for row in rows:
        if row.kind in wanted:
            groups[row.patient].append(row)
    best, twice = {}, []
    for patient, group in groups.items():
        if group:
            first, *others = sorted(group, key=lambda row: row.rank)
            best[patient] = first
            twice += [first.label] if others and others[0].rank == first.rank else []
    if not best:
        raise DataError(_nothing_left(rows, source, samples))
    if twice:
        raise DataError(
            f"{source}: {len(twice)} id(s) stand more than once: {first_few(twice)}; "
            f"keep one row of each"
        )
    taken = {row.position for row in best.values()}
    rest = [row for row in rows if row.position not in taken]
    further = [row for row in rest if row.kind in wanted]
    unwanted = [row for row in rest if row.kind not in wanted]
    reasons = {row.position: f"{best[row.patient].label!r} was taken" for row in further}
    reasons |= {row.position: f"{row.kind} sample" for row in unwanted}
    return Resolution(
        list(best),
        [row.position for row in best.values()],
        [(labels[position], reasons[position]) for position in sorted(reasons)],
        [*_notes_of_dropped(unwanted, further), *_notes_of_kept([*best.values()], samples)],
    )


def _row(position: int, label: str) -> _Row:
    barcode = parse_barcode(label)
    if barcode is None:
        return _Row(position, label, label, UNTYPED, (len(TUMOUR_CODES), 0, label))
    text = label.upper().replace(".", "-")
    code = barcode.sample
    if code is None:
        return _Row(position, label, barcode.patient, UNTYPED, (len(TUMOUR_CODES), 0, text))
    for place, (kind, codes) in enumerate(TUMOUR_CODES.items()):
        if code in codes:
            rank = (place, codes.index(code), text)
            return _Row(position, label, barcode.patient, kind, rank, code)
    kind = {"1": "normal", "2": "control"}.get(code[0], "other")
    return _Row(position, label, barcode.patient, kind, (0, int(code), text), code)


def _nothing_left(rows: Sequence[_Row], source: str, samples: SampleChoice) -> str:
    if not rows:
        return f"{source} holds no sample; expected one row per patient"
    found = Counter(row.kind for row in rows)
    counts = ", ".join(f"{number} {kind}" for kind, number in found.items())
    choices = [c for c in get_args(SampleChoice) if any(kind in TAKEN[c] for kind in found)]
    remedy = "no choice takes these, give other samples"
    if choices:
        remedy = f"take them with {said_with('samples', choices)}"
    return (
        f"{source}: `samples={samples!r}` takes none of its {counted(len(rows), 'sample')} "
        f"({first_few(row.label for row in rows)}); found {counts}; {remedy}"
    )


def _notes_of_dropped(unwanted: Sequence[_Row], further: Sequence[_Row]) -> Iterable[str]:
    for kind in dict.fromkeys(row.kind for row in unwanted):
        labels = [row.label for row in unwanted if row.kind == kind]
        yield f"dropped {counted(len(labels), f'{kind} sample')} ({first_few(labels)})"
    if further:
        what = counted(len(further), "further sample")
        which = first_few(row.label for row in further)
        yield f"dropped {what} of patients who have one that comes first ({which})"


def _notes_of_kept(kept: Sequence[_Row], samples: SampleChoice) -> Iterable[str]:
    for kind in tuple(TUMOUR_CODES)[1:] if samples == "tumour" else ():
        labels = [row.label for row in kept if row.kind == kind]
        if labels:
            what = counted(len(labels), f"{kind} sample")
            yield f"kept {what} of patients without a primary sample ({first_few(labels)})"
    codes = Counter(row.code for row in kept if row.code)
    if samples == "normal" and len(codes) > 1:
        counts = ", ".join(f"{number} of type {code}" for code, number in sorted(codes.items()))
        yield f"kept normal samples of several types: {counts}"
    untyped = [row.label for row in kept if row.kind == UNTYPED]
    if untyped and samples != "tumour":
        what = counted(len(untyped), "id")
        yield f"kept {what} without a sample type, whichever were asked for ({first_few(untyped)})"
    yield from _note_of_broken(untyped)


def _note_of_broken(labels: Sequence[str]) -> Iterable[str]:
    broken = [i for i in labels if i.strip().upper().startswith("TCGA") and not parse_barcode(i)]
    if broken:
        what = counted(len(broken), "id")
        yield f"kept {what} like a TCGA barcode that cannot be read as one ({first_few(broken)})"
