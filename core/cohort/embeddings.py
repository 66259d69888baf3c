"""Slide embeddings: one vector per slide, averaged over the slides of a sample."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from codenoise.core.base.errors import DataError, first_few
from codenoise.core.base.optional import needed
from codenoise.core.cohort.formats import Asked, Grid
from codenoise.core.cohort.identifiers import counted, parse_barcode
from codenoise.core.cohort.probe import Probe, probe
from codenoise.core.cohort.values import numbers

# Modalities whose tables may name a patient once per slide.
SLIDE_MODALITIES = ("wsi", "slide", "slides", "titan", "uni", "conch", "chief", "gigapath", "prism")
ENDINGS = (".h5", ".hdf5", ".npz")
_VECTORS = ("features", "embeddings", "embedding")
_IDS = ("ids", "id", "patients", "patient", "slide_ids", "slide_id", "slides", "slide",
        "filenames", "filename", "barcodes", "names")  # fmt: skip
_IMAGE = re.compile(r"\.(svs|ndpi|tiff?|mrxs|h5|hdf5|npz|pt)$", re.IGNORECASE)
_NUMBERED = re.compile(r"(.*?)([0-9]+)")


def slide_files(folder: Path) -> list[Path]:
    """Files of embeddings in a folder, by name."""
    return [p for p in sorted(folder.iterdir()) if p.suffix.lower() in ENDINGS]


def read_slide_folder(file: Probe, asked: Asked) -> Grid:
    """Read a folder with one file of embeddings per slide.

    Raises
    ------
    DataError
        If there is none, a file is bad, or vectors are of different length.
    """
    folder, files = file.path, slide_files(file.path)
    if not files:
        raise DataError(f"{folder} is a folder without slide embeddings (.h5 or .npz)")
    parts = []
    for path in files:
        with probe(path) as one:
            parts.append(_slides(one))
    for path, (_, vectors) in zip(files, parts, strict=True):
        if vectors.shape[1] != parts[0][1].shape[1]:
            raise DataError(
                f"{path} has vectors of {vectors.shape[1]} numbers, {files[0].name} of "
                f"{parts[0][1].shape[1]}; give the slides of one encoder"
            )
    labels = [label for labels, _ in parts for label in labels]
    return _grid(labels, np.concatenate([vectors for _, vectors in parts]), asked.features, folder)


def read_slides(file: Probe, asked: Asked) -> Grid:
    """Read a file of embeddings, HDF5 or npz: ``features``, and ``ids`` of its rows.

    Raises
    ------
    DataError
        If there is no ``features``, or no name for each of several vectors.
    """
    return _grid(*_slides(file), asked.features, file.path)


def refuse_workbook(file: Probe, _: Asked) -> Grid:
    """Refuse a workbook of Excel, which is a zip archive as npz is."""
    raise DataError(
        f"{file.path} is an Excel workbook; save its sheet as CSV, with ids and names as text"
    )


def averaged_text(grid: Grid, modality: str | None, path: Path) -> Grid:
    """A text table of embeddings with one row per sample; any other table as it is.

    A table is one of embeddings when its modality is in `SLIDE_MODALITIES` and its columns are
    numbered, ``0``, ``1``, ... or ``titan_0``, ``titan_1``, ...
    """
    if not several_slides(grid, modality):
        return grid
    labels = grid.ids.iloc[:, 0].astype(str).tolist()
    values = numbers(grid.cells, labels, grid.columns, path, turned=False)
    averaged = _grid(labels, values.to_numpy(), grid.columns, path)
    averaged.ids.columns = pd.Index([grid.ids.columns[0]])
    averaged.suffix, averaged.separator = grid.suffix, grid.separator
    averaged.notes = [*grid.notes, *averaged.notes]
    return averaged


def several_slides(grid: Grid, modality: str | None) -> bool:
    """Whether a grid is a table of embeddings with several rows for a sample."""
    if modality not in SLIDE_MODALITIES or not _numbered(grid.columns):
        return False
    ids = grid.ids.iloc[:, 0]
    return not ids.isna().any() and len({_sample(label) for label in ids}) < len(ids)


def _numbered(columns: Sequence[str]) -> bool:
    matches = [_NUMBERED.fullmatch(name) for name in columns]
    if len(columns) < 2 or not all(matches):
        return False
    prefixes = {match[1] for match in matches if match}
    places = [int(match[2]) for match in matches if match]
    return len(prefixes) == 1 and places == list(range(places[0], places[0] + len(places)))


def _sample(label: str) -> str:
    """What is averaged: the sample that a slide barcode names, or the label itself."""
    plain = _IMAGE.sub("", label)
    barcode = parse_barcode(plain)
    if barcode is None:
        return plain
    return barcode.patient if barcode.sample is None else f"{barcode.patient}-{barcode.sample}"


def _grid(labels: Sequence[str], vectors: Any, features: Sequence[str] | None, path: Path) -> Grid:
    width = vectors.shape[1]
    if features is not None and len(features) != width:
        raise DataError(
            f"{path} has vectors of {width} numbers, the space has {len(features)} features; "
            f"give embeddings of the encoder that the space was fitted on"
        )
    samples = [_sample(label) for label in labels]
    values = pd.DataFrame(vectors).groupby(pd.Index(samples), sort=False).mean()
    several = [sample for sample, number in Counter(samples).items() if number > 1]
    notes = [f"{counted(len(labels), 'slide')}; written back as a table"]
    if several:
        what = counted(len(several), "sample")
        notes.append(f"averaged the slides of {what} with more than one ({first_few(several)})")
    columns = list(features) if features is not None else [str(place) for place in range(width)]
    ids = pd.DataFrame({"patient": np.asarray(values.index, dtype=object)})
    return Grid(values.reset_index(drop=True), ids, columns, ".csv", by_rows=True, notes=notes)


def _slides(file: Probe) -> tuple[list[str], Any]:
    path = file.path
    arrays = _npz(file) if file.container == "zip" else _hdf5(path)
    vectors = next((arrays[name] for name in _VECTORS if name in arrays), None)
    if vectors is None:
        raise DataError(
            f"{path} has no 'features'; it has {first_few(arrays) or 'nothing'}; expected slide "
            f"embeddings, shape (slides, numbers) or (numbers,)"
        )
    if vectors.ndim == 3 and len(vectors) == 1:
        vectors = vectors[0]
    vectors = np.atleast_2d(vectors)
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise DataError(
            f"{path}: 'features' is {vectors.dtype} of shape {vectors.shape}; expected floating "
            f"point of shape (slides, numbers) or (numbers,)"
        )
    names = next((arrays[name] for name in _IDS if name in arrays), None)
    if names is None and len(vectors) == 1:
        return [path.name], vectors
    if names is None or len(np.atleast_1d(names)) != len(vectors):
        have = "no ids" if names is None else f"{len(np.atleast_1d(names))} ids"
        raise DataError(
            f"{path} has {len(vectors)} vectors and {have}; put the id of each slide or patient "
            f"into 'ids'"
        )
    return [_text(name) for name in np.atleast_1d(names)], vectors


def _text(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _npz(file: Probe) -> Mapping[str, Any]:
    with np.load(file.whole(), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name in (*_VECTORS, *_IDS)}


def _hdf5(path: Path) -> Mapping[str, Any]:
    h5py = needed("h5py", f"reading {path}")
    with h5py.File(path, "r") as file:
        wanted = [name for name in file if name in (*_VECTORS, *_IDS)]
        return {name: file[name][()] for name in wanted}
