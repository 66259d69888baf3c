"""From the cells of a file to a table: which way round, who is who, which feature is which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from codenoise.core.base.errors import DataError, first_few
from codenoise.core.cohort.features import check_features, match_features
from codenoise.core.cohort.formats import SEPARATORS, Grid
from codenoise.core.cohort.identifiers import counted, resolve_samples
from codenoise.core.cohort.layout import Layout, features_are_rows
from codenoise.core.cohort.naming import feature_names
from codenoise.core.cohort.options import Merge, Orientation, SampleChoice, said_with
from codenoise.core.cohort.values import exact_text, numbers


@dataclass(frozen=True)
class Assembled:
    """Parts of a table: values, cells of text formats, layout, and what was done and changed."""

    frame: pd.DataFrame
    text: pd.DataFrame | None
    layout: Layout
    notes: list[str]
    changes: list[str]


@dataclass(frozen=True)
class Plan:
    """What the labels of a file say of its table, before a cell is looked at.

    Attributes
    ----------
    turned
        Whether rows are features.
    labels
        Of the patients' axis, as they stand.
    patients, rows
        Each patient, and the position of the label taken for them.
    names
        Of the features' axis, one per position.
    kept, groups
        Positions of the features that stay, and of those merged into the first of each group.
    features
        Names of those that stay, as the space has them.
    ids
        Id columns of those that stay.
    notes, changes
        What was decided, and what of it drops or changes something.
    """

    turned: bool
    labels: list[str]
    patients: list[str]
    rows: list[int]
    names: list[str]
    kept: list[int]
    groups: dict[str, list[int]]
    features: list[str]
    ids: pd.DataFrame
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
    plan = planned(grid, path, features, orientation, samples, merge)
    cells, rows = grid.cells, plan.rows
    if rows != list(range(len(plan.labels))):
        cells = cells.iloc[:, rows] if plan.turned else cells.iloc[rows]
    frame, text = values_of(plan, grid, cells, range(len(rows)), path, merge)
    changes = [*plan.changes, *_notes_of_gaps(frame)]
    if grid.suffix.startswith(tuple(SEPARATORS)) and text is None:
        text = exact_text(frame)
    return Assembled(frame, text, _layout(grid, plan), [*plan.notes, *changes], changes)


def planned(
    grid: Grid,
    path: Path,
    features: Sequence[str] | None,
    orientation: Orientation,
    samples: SampleChoice,
    merge: Merge,
) -> Plan:
    """What the labels of a file say; parameters and errors as in `read_table`."""
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
    groups = check_features(names, str(path), merge=merge)
    gone = {place for places in groups.values() for place in places[1:]}
    kept = [place for place in range(len(names)) if place not in gone]
    if gone:
        changes.append(f"{counted(len(gone), 'column')} merged into others ({merge})")
    final = [names[place] for place in kept]
    if features is not None:
        final, match_changes, found, all_there = _matched(final, features, path)
        changes += match_changes
        (notes if all_there else changes).append(found)
    return Plan(
        turned, labels, patients, rows, names, kept, groups, final, ids.iloc[kept], notes, changes
    )


def values_of(
    plan: Plan, grid: Grid, cells: pd.DataFrame, places: Sequence[int], path: Path, merge: Merge
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Numbers and, for text, cells as they stand of some patients, patients x features.

    Parameters
    ----------
    plan, grid
        Of the whole file.
    cells
        Those of the patients, in the file's orientation.
    places
        Which patients, as positions in ``plan.patients``.
    path, merge
        As in `read_table`.

    Raises
    ------
    DataError
        If a cell is neither a finite number nor a gap.
    """
    chosen = [plan.labels[plan.rows[place]] for place in places]
    axes = (plan.names, chosen) if plan.turned else (chosen, plan.names)
    values, text = numbers(cells, *axes, path, turned=plan.turned), cells if grid.text else None
    if plan.turned:
        # Through one array: pandas builds a transposed frame of text column by column.
        values = pd.DataFrame(values.to_numpy().T)
        text = None if text is None else pd.DataFrame(text.to_numpy(dtype=object).T, dtype=object)
    values, text = _merged(values, text, plan, merge)
    header = "patient" if plan.turned else grid.ids.columns[0] or None
    index = pd.Index([plan.patients[place] for place in places], name=header, dtype=str)
    columns = pd.Index(plan.features, dtype=str)
    frame = values.set_axis(index, axis=0).set_axis(columns, axis=1)
    return frame, None if text is None else text.set_axis(index, axis=0).set_axis(columns, axis=1)


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
    mend = f", or give {said_with('merge', ('mean', 'first'))}"
    for what, axis, or_merge in (("patient", labels, ""), ("feature", features, mend)):
        index = pd.Index(axis, dtype=object)
        twice = index[index.duplicated()].unique()
        if len(twice):
            raise DataError(
                f"{path}: {len(twice)} {what}(s) stand more than once: {first_few(twice)}; "
                f"keep one of each{or_merge}"
            )


def _merged(
    values: pd.DataFrame, text: pd.DataFrame | None, plan: Plan, merge: Merge
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The features that stay, with what the merged ones come to."""
    if not plan.groups:
        return values, text
    if merge == "mean":
        values, text = values.copy(), None if text is None else text.copy()
        for places in plan.groups.values():
            values[places[0]] = values[places].mean(axis=1)
            if text is not None:
                text[places[0]] = exact_text(values[[places[0]]])[places[0]]
    return values[plan.kept], None if text is None else text[plan.kept]


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


def _layout(grid: Grid, plan: Plan) -> Layout:
    labels = {p: plan.labels[row] for p, row in zip(plan.patients, plan.rows, strict=True)}
    renamed = plan.turned or plan.ids.iloc[:, 0].tolist() != plan.features
    annotations = grid.annotations
    if annotations is not None:
        annotations = annotations.chosen(plan.rows, plan.patients, list(plan.ids.index))
    return Layout(
        features_as_rows=plan.turned,
        separator=grid.separator if grid.text else None,
        labels={patient: label for patient, label in labels.items() if label != patient},
        features=plan.ids.reset_index(drop=True) if renamed else None,
        feature_header=str(grid.ids.columns[0]) if plan.turned else "feature",
        ids_are_column=grid.ids_are_column,
        annotations=annotations,
    )
