"""Tables of text: cells as they stand, whole or some rows at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.compression import ENDINGS, WORDS, opened
from codenoise.core.cohort.formats import (
    FEATURE_HEADERS,
    SEPARATORS,
    SUFFIXES,
    Asked,
    Grid,
    Outline,
    reading,
)
from codenoise.core.cohort.probe import SEPARATOR_WORDS, Probe


def read_text(file: Probe, _: Asked) -> Grid:
    """The cells of a text file as they stand, and the ids before them."""
    head = _head(file)
    _refuse_short_rows(file)
    with _strict(), file.content() as stream:
        frame = pd.read_csv(stream, **_options(head))
    return _grid(head, frame)


def outline_text(file: Probe) -> Outline:
    """The ids of a text file, and its cells some rows at a time."""
    head = _head(file)
    _refuse_short_rows(file)
    with _strict(), file.content() as stream:
        ids = pd.read_csv(stream, **_options(head), usecols=range(head.ids.shape[1]))
    labels = replace(head, ids=ids.set_axis(head.ids.columns, axis=1))
    return Outline(labels, partial(_blocks, file.path, head))


def _blocks(path: Path, head: Grid, rows: int) -> Iterator[pd.DataFrame]:
    with reading(path), opened(path) as stream:
        with _strict():
            blocks = pd.read_csv(stream, **_options(head), chunksize=rows)
        with blocks:
            while True:
                with _strict():
                    block = next(blocks, None)
                if block is None:
                    return
                yield _grid(head, block).cells


def _head(file: Probe) -> Grid:
    """What the header of a text file says, with no row."""
    header, separator = file.header, file.separator
    before = 1
    while before < len(header) and header[before].lower() in FEATURE_HEADERS:
        before += 1
    suffix = _suffix(file)
    notes = [f"{WORDS[file.compression]} text, cells parted by {SEPARATOR_WORDS[separator]}"]
    if file.suffix in SUFFIXES and file.suffix != suffix:
        notes.append(f"the name ends in {file.suffix}, the content is that of {suffix}")
    ids = pd.DataFrame(columns=header[:before], dtype=str)
    nothing = pd.DataFrame(columns=range(len(header) - before), dtype=str)
    return Grid(nothing, ids, header[before:], suffix, separator, text=True, notes=notes)


def _refuse_short_rows(file: Probe) -> None:
    """Refuse rows with fewer cells than the header, which pandas would fill up without a word.

    Raises
    ------
    DataError
        Naming the first such row.
    """
    between, wanted = file.separator.encode(), len(file.header)
    with file.content() as stream:
        stream.readline()
        lines = (line for line in stream if line.strip(b"\r\n"))  # pandas passes empty lines over
        for row, line in enumerate(lines, start=1):
            cells = line.count(between) + 1
            # Within quotes a cell may hold line breaks, so that a line is no row.
            if cells < wanted and b'"' not in line:
                raise DataError(
                    f"{file.path}, data row {row}: {cells} cell(s), where the header has {wanted}; "
                    f"the file may have been cut off: get it again, or mend the row"
                )


def _suffix(file: Probe) -> str:
    """The ending to write the table with: the file's own as far as it tells the truth."""
    named = file.suffix or ""
    for ending in ENDINGS:
        named = named.removesuffix(ending)
    plain = named if named in SEPARATORS else ".tsv" if file.separator == "\t" else ".csv"
    return plain + file.compression


def _grid(head: Grid, frame: pd.DataFrame) -> Grid:
    """A grid of the head and some rows below it, ids and cells still together."""
    before = head.ids.shape[1]
    ids = frame.iloc[:, :before].set_axis(head.ids.columns, axis=1)
    cells = frame.iloc[:, before:].set_axis(range(len(head.columns)), axis=1)
    return replace(head, ids=ids, cells=cells)


def _options(head: Grid) -> dict[str, Any]:
    """How pandas reads the rows below a head."""
    return {
        "sep": head.separator,
        "header": None,
        "skiprows": 1,
        "names": range(head.ids.shape[1] + len(head.columns)),
        "dtype": str,
        "index_col": False,
    }


@contextmanager
def _strict() -> Iterator[None]:
    """A first row longer than the header would lose its last cells with a mere warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        yield
