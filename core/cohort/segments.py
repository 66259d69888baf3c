"""Copy-number segments (``.seg``) to the bins of a space."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.formats import Asked, Grid
from codenoise.core.cohort.probe import Probe
from codenoise.core.cohort.text import read_text

# What each column is called, letter case and punctuation aside.
HEADERS = {
    "sample": ("sample", "id", "sampleid", "gdcaliquot", "barcode"),
    "chromosome": ("chromosome", "chrom", "chr"),
    "start": ("start", "locstart"),
    "end": ("end", "locend", "stop"),
    "mean": ("segmentmean", "segmean", "mean"),
}
# A bin that segments cover by less than this share is a gap.
COVERED = 0.1
_BIN = re.compile(r"(chr[0-9A-Z]+):([0-9.]+)-([0-9.]+)Mb", re.IGNORECASE)
_SEX = {"chr23": "chrx", "chr24": "chry"}


def is_segments(file: Probe) -> bool:
    """Whether the header of a text table is one of segments."""
    return len(_columns(file.header)) == len(HEADERS)


def read_segments(file: Probe, asked: Asked) -> Grid:
    """Read segments into the bins of a space, see `binned`."""
    grid = read_text(file, asked)
    return binned(grid, _columns(file.header), asked.features, file.path)


def _columns(header: Sequence[str]) -> dict[str, str]:
    """Which column is which part of a segment; not all parts where it is no table of segments."""
    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in reversed(header)}
    found = {part: next((plain[n] for n in names if n in plain), None)
             for part, names in HEADERS.items()}  # fmt: skip
    return {part: name for part, name in found.items() if name is not None}


def binned(grid: Grid, parts: dict[str, str], bins: Sequence[str] | None, path: Path) -> Grid:
    """The length-weighted mean of the segments in each bin, for each sample.

    Parameters
    ----------
    grid
        Rows of a ``.seg`` file.
    parts
        Which column is which part, by the keys of `HEADERS`.
    bins
        Features of the space, named like ``chr1:0-10Mb``.
    path
        For messages.

    Raises
    ------
    DataError
        If there are no bins, one is no range of a chromosome, or a segment has no sample or no
        numbers.
    """
    if bins is None:
        raise DataError(
            f"{path} holds copy-number segments, which are read into the bins of a space; name "
            f"a space of the modality, or give a table of patients x bins"
        )
    ranges = [_range(name, path) for name in bins]
    frame = pd.concat([grid.ids, grid.cells.set_axis(grid.columns, axis=1)], axis=1)
    samples = frame[parts["sample"]]
    if samples.isna().any():
        row = int(np.argmax(samples.isna())) + 1
        raise DataError(f"{path}, data row {row}: the sample id is missing")
    start, end = (_number(frame[parts[part]], path, gaps=False) for part in ("start", "end"))
    mean = _number(frame[parts["mean"]], path, gaps=True)
    backwards = np.flatnonzero(end < start)
    if len(backwards):
        raise DataError(
            f"{path}, data row {backwards[0] + 1}: the segment ends at {end[backwards[0]]:.0f}, "
            f"before it starts at {start[backwards[0]]:.0f} ({len(backwards)} such rows)"
        )
    codes, labels = pd.factorize(samples)
    chromosomes = _chromosomes(frame[parts["chromosome"]])
    means = np.full((len(labels), len(ranges)), np.nan)
    valued = ~np.isnan(mean)
    by_chromosome: dict[str, list[int]] = defaultdict(list)
    for place, (chromosome, _, _) in enumerate(ranges):
        by_chromosome[chromosome].append(place)
    for chromosome, places in by_chromosome.items():
        rows = np.flatnonzero((chromosomes == chromosome) & valued)
        for place in places:
            _, first, last = ranges[place]
            # Positions of segments count from 1 and include both ends.
            length = np.minimum(end[rows], last) - np.maximum(start[rows] - 1, first)
            length = length.clip(min=0)
            covered = np.bincount(codes[rows], length, len(labels))
            total = np.bincount(codes[rows], length * mean[rows], len(labels))
            enough = covered >= COVERED * (last - first)
            means[enough, place] = total[enough] / covered[enough]
    notes = [
        *grid.notes,
        f"{len(frame)} segments of {len(labels)} samples averaged over {len(bins)} bins, in the "
        f"genome build of the space; written back as a table of bins",
    ]
    if not valued.all():
        notes.append(f"{int((~valued).sum())} segments without a mean left out")
    ids = pd.DataFrame({parts["sample"]: np.asarray(labels, dtype=object)})
    return Grid(pd.DataFrame(means), ids, list(bins), ".csv", by_rows=True, notes=notes)


def _range(name: str, path: Path) -> tuple[str, float, float]:
    match = _BIN.fullmatch(name)
    if match is None:
        raise DataError(
            f"{path} holds copy-number segments, but the space has the feature {name!r}, which is "
            f"no bin; expected names like 'chr1:0-10Mb'"
        )
    return match[1].lower(), float(match[2]) * 1e6, float(match[3]) * 1e6


def _chromosomes(cells: pd.Series[str]) -> NDArray[np.object_]:
    names = "chr" + cells.fillna("").str.lower().str.removeprefix("chr").str.removesuffix(".0")
    return names.replace(_SEX).to_numpy(dtype=object)


def _number(cells: pd.Series[str], path: Path, *, gaps: bool) -> NDArray[np.float64]:
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    unread = np.isnan(values)
    if gaps:
        unread &= cells.notna().to_numpy()
    rows = np.flatnonzero(unread | np.isinf(values))
    if len(rows):
        wanted = "a finite number or empty" if gaps else "a finite number"
        raise DataError(
            f"{path}, data row {rows[0] + 1}, column {cells.name!r}: "
            f"{cells.iloc[rows[0]]!r} should be {wanted} ({len(rows)} such cells)"
        )
    return values
