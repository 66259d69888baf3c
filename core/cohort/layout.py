"""How a file lays a table out: which way round, and what it calls patients and features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.features import canonical
from codenoise.core.cohort.formats import FEATURE_HEADERS, Grid
from codenoise.core.cohort.identifiers import parse_barcode, r_name
from codenoise.core.cohort.options import Orientation, said_with

# Share of the shorter of axis and space that must be known features before an axis is theirs: a
# table of all genes holds few of a small space's, and the other way round.
ENOUGH = 0.1


@dataclass(frozen=True)
class Layout:
    """What is needed to write a table back as it came, its format aside.

    Attributes
    ----------
    features_as_rows
        Whether rows are features in the file.
    separator
        Between cells of text formats; ``None`` for the usual one of the format.
    labels
        Patient to the label of the row in the file, where it is another.
    features
        Id columns of the features as they came, one row per column of the table, the header of the
        file as column names; ``None`` where the names of the table's columns are to be written.
    feature_header
        Header of the feature ids where rows are features.
    ids_are_column
        Whether parquet keeps the ids in a plain column.
    annotations
        What else an AnnData file holds.
    """

    features_as_rows: bool = False
    separator: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    features: pd.DataFrame | None = None
    feature_header: str = "feature"
    ids_are_column: bool = False
    annotations: Any = None

    def of_other_values(self) -> Layout:
        """The same layout for a table of other patients and features."""
        return replace(self, labels={}, features=None, annotations=None)

    def labelled(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A table with the labels of the file, patients as rows."""
        named = frame.rename(index=dict(self.labels))
        if self.features is not None and not self.features_as_rows:
            return named.set_axis(self.features.iloc[:, 0].tolist(), axis=1)
        return named

    def laid_out(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A table as the file has it: ids in the index, which may have several levels."""
        named = self.labelled(frame)
        if not self.features_as_rows:
            return named
        # Through one array: pandas builds a transposed frame of text column by column.
        turned = pd.DataFrame(named.to_numpy().T, columns=list(named.index))
        ids = self.features
        if ids is None:
            ids = pd.DataFrame({self.feature_header: list(named.columns)})
        names = list(ids.columns)
        if len(names) == 1:
            turned.index = pd.Index(ids.iloc[:, 0].tolist(), name=names[0])
        else:
            turned.index = pd.MultiIndex.from_arrays(
                [ids.iloc[:, place].fillna("").tolist() for place in range(len(names))],
                names=names,
            )
        return turned


def features_are_rows(
    grid: Grid, wanted: Sequence[str] | None, orientation: Orientation, path: object
) -> tuple[bool, str]:
    """Decide which way round a table stands.

    Parameters
    ----------
    grid
        Cells of the file.
    wanted
        Features of the modality's space, if known.
    orientation
        What the user says.
    path
        For messages.

    Returns
    -------
    tuple
        Whether rows are features, and why, for a note.

    Raises
    ------
    DataError
        If the features are enough on both axes or on neither, and the ids do not tell either.
    """
    if grid.by_rows:
        if orientation == "features-as-rows":
            raise DataError(
                f"{path}: this format has patients as rows; leave `orientation` out, or say it in "
                f"a cohort's TOML of the tables that have features as rows"
            )
        return False, "patients as rows, as the format has them"
    if orientation != "auto":
        return orientation == "features-as-rows", f"{orientation.replace('-', ' ')}, as told"
    if str(grid.ids.columns[0]).lower() in FEATURE_HEADERS:
        return True, f"features as rows, for the first column is {grid.ids.columns[0]!r}"
    rows = grid.ids.iloc[:, 0].dropna().astype(str).tolist()
    counts = ""
    if wanted is not None:
        known = {r_name(canonical(name)) for name in wanted}
        in_columns, in_rows = _known(grid.columns, known), _known(rows, known)
        counts = (
            f"{in_columns} of {len(grid.columns)} columns and {in_rows} of {len(rows)} rows are "
            f"among the {len(known)} features of the space"
        )
        columns_do = _enough(in_columns, len(grid.columns), len(known))
        rows_do = _enough(in_rows, len(rows), len(known))
        if columns_do != rows_do:
            way = "patients" if columns_do else "features"
            return rows_do, f"{way} as rows: {counts}"
    row_ids, column_ids = _barcodes(rows), _barcodes(grid.columns)
    if row_ids != column_ids:
        axis, way = ("rows", "patients") if row_ids else ("columns", "features")
        return column_ids, f"{way} as rows, for the {axis} are TCGA barcodes"
    if wanted is None or not rows:
        return False, "patients as rows, for nothing says otherwise"
    raise DataError(
        f"{path}: cannot tell patients from features: {counts}, and the ids do not tell either; "
        f"give {said_with('orientation', ('patients-as-rows', 'features-as-rows'))}"
    )


def _known(labels: Sequence[str], known: set[str]) -> int:
    """How many labels are features, or have a part that is, as in ``GENE|antibody``."""
    parts = ([label, *label.split("|")] if "|" in label else [label] for label in labels)
    return sum(any(r_name(canonical(name)) in known for name in names) for names in parts)


def _enough(found: int, axis: int, features: int) -> bool:
    return found > ENOUGH * min(axis, features)


def _barcodes(labels: Sequence[str]) -> bool:
    return 2 * sum(parse_barcode(label) is not None for label in labels) > len(labels)
