"""From the cells of a file to a table: which way round, who is who, which feature is which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from codenoise.core.cohort.features import Merge, check_features, match_features
from codenoise.core.cohort.formats import SEPARATORS, Grid
from codenoise.core.cohort.identifiers import SampleChoice, counted, resolve_samples
from codenoise.core.cohort.layout import Layout, Orientation, features_are_rows
from codenoise.core.cohort.naming import feature_names
from codenoise.core.cohort.values import exact_text, numbers
from codenoise.core.errors import DataError, first_few


@dataclass(frozen=True)
class Assembled:
    """Parts of a table: values, cells of text formats, layout, and what was done and changed."""

    frame: pd.DataFrame
    text: pd.DataFrame | None
    layout: Layout
    notes: list[str]
    changes: list[str]


def assembled(
    grid: Grid,
    path: Path,
    features: Sequence[str] | None,
    orientation: Orientation,
    samples: SampleChoice,
    merge: Merge,
) -> Assembled:
    """The parts of a table from the cells of a file; see `read_table`."""
    turned, why = features_are_rows(grid, features, orientation, path)
    labels = _labels(grid, turned, path)
    ids = grid.ids if turned else pd.DataFrame({"": grid.columns}, dtype=object)
    names, naming_notes = feature_names(ids, features, path)
    _check_axes(grid, labels, names, turned, merge, path)
    notes, changes = [*grid.notes, why], [*naming_notes]
    patients, rows = labels, list(range(len(labels)))
    if labels:
        resolution = resolve_samples(labels, str(path), samples=samples)
        patients, rows = resolution.patients, resolution.rows
        changes += resolution.notes
    values, text = _oriented(grid, labels, names, rows, turned, path)
    kept, values, text = _merged(values, text, check_features(names, str(path), merge=merge), merge)
    if len(kept) < len(names):
        changes.append(f"{counted(len(names) - len(kept), 'column')} merged into others ({merge})")
    names = [names[place] for place in kept]
    if features is not None:
        names, match_changes, found, all_there = _matched(names, features, path)
        changes += match_changes
        (notes if all_there else changes).append(found)
    index = pd.Index(patients, name="patient" if turned else grid.ids.columns[0] or None, dtype=str)
    frame = values.set_axis(index, axis=0).set_axis(pd.Index(names, dtype=str), axis=1)
    changes += _notes_of_gaps(frame)
    if grid.suffix.startswith(tuple(SEPARATORS)):
        text = exact_text(frame) if text is None else text.set_axis(index, axis=0)
        text = text.set_axis(frame.columns, axis=1)
    layout = _layout(grid, turned, labels, patients, rows, ids.iloc[kept], names)
    return Assembled(frame, text, layout, [*notes, *changes], changes)


def _labels(grid: Grid, turned: bool, path: Path) -> list[str]:
    """Labels of the patients' axis as they stand."""
    if turned:
        if "" in grid.columns:
            place = grid.columns.index("") + 1
            raise DataError(f"{path}, sample column {place}: the patient id is missing")
        return grid.columns
    ids = grid.ids.iloc[:, 0]
    if ids.isna().any():
        row = int(np.flatnonzero(ids.isna())[0]) + 1
        raise DataError(f"{path}, data row {row}: the patient id is missing")
    return [str(label) for label in ids]


def _check_axes(
    grid: Grid, labels: list[str], names: list[str], turned: bool, merge: Merge, path: Path
) -> None:
    if not names:
        raise DataError(f"{path} holds {len(labels)} patients and 0 features")
    columns = names
    if grid.text and not turned:
        # The header of the ids is no feature, but one of its name would be taken for it.
        columns = [*dict.fromkeys(grid.ids.columns), *names]
    features = columns if merge == "refuse" else []
    mend = ", or say merge='mean' or merge='first'"
    for what, axis, or_merge in (("patient", labels, ""), ("feature", features, mend)):
        index = pd.Index(axis, dtype=object)
        twice = index[index.duplicated()].unique()
        if len(twice):
            raise DataError(
                f"{path}: {len(twice)} {what}(s) stand more than once: {first_few(twice)}; "
                f"keep one of each{or_merge}"
            )


def _oriented(
    grid: Grid, labels: list[str], names: list[str], rows: list[int], turned: bool, path: Path
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Numbers and, for text, cells of the chosen rows, patients x features, without labels."""
    cells = grid.cells
    if len(rows) < len(labels) or rows != list(range(len(rows))):
        cells = cells.iloc[:, rows] if turned else cells.iloc[rows]
    chosen = [labels[row] for row in rows]
    axes = (names, chosen) if turned else (chosen, names)
    values = numbers(cells, *axes, path, turned=turned)
    if turned:
        # Through one array: pandas builds a transposed frame of text column by column.
        text = pd.DataFrame(cells.to_numpy(dtype=object).T, dtype=object) if grid.text else None
        return pd.DataFrame(values.to_numpy().T), text
    plain = range(len(names))
    return values.set_axis(plain, axis=1), cells.set_axis(plain, axis=1) if grid.text else None


def _merged(
    values: pd.DataFrame, text: pd.DataFrame | None, groups: dict[str, list[int]], merge: Merge
) -> tuple[list[int], pd.DataFrame, pd.DataFrame | None]:
    """Positions of the columns that stay, and the tables with those alone."""
    if not groups:
        return list(range(values.shape[1])), values, text
    gone = {place for places in groups.values() for place in places[1:]}
    kept = [place for place in range(values.shape[1]) if place not in gone]
    if merge == "mean":
        values, text = values.copy(), None if text is None else text.copy()
        for places in groups.values():
            values[places[0]] = values[places].mean(axis=1)
            if text is not None:
                text[places[0]] = exact_text(values[[places[0]]])[places[0]]
    return kept, values[kept], None if text is None else text[kept]


def _matched(
    names: list[str], features: Sequence[str], path: Path
) -> tuple[list[str], list[str], str, bool]:
    """Names as the space has them, what was renamed, what was found, and whether all was."""
    match = match_features(names, features, str(path))
    named = list(names)
    for feature, place in match.positions.items():
        named[place] = feature
    found = f"{len(match.positions)}/{len(features)} features matched"
    if match.missing:
        found += f"; missing: {first_few(match.missing)}"
    return named, list(match.notes), found, not match.missing


def _notes_of_gaps(frame: pd.DataFrame) -> list[str]:
    if not len(frame):
        return ["no patient in the table; the modality counts as missing"]
    if any(frame.iloc[:, place].notna().any() for place in range(frame.shape[1])):
        return []
    return ["no value in the table; the modality counts as missing"]


def _layout(
    grid: Grid,
    turned: bool,
    labels: list[str],
    patients: list[str],
    rows: list[int],
    ids: pd.DataFrame,
    names: list[str],
) -> Layout:
    given = {p: labels[row] for p, row in zip(patients, rows, strict=True) if labels[row] != p}
    renamed = turned or ids.iloc[:, 0].tolist() != names
    annotations = grid.annotations
    if annotations is not None:
        annotations = annotations.chosen(rows, patients, list(ids.index))
    return Layout(
        features_as_rows=turned,
        separator=grid.separator if grid.text else None,
        labels=given,
        features=ids.reset_index(drop=True) if renamed else None,
        feature_header=str(grid.ids.columns[0]) if turned else "feature",
        ids_are_column=grid.ids_are_column,
        annotations=annotations,
    )
