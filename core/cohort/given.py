"""Cohorts as Python users hold them: frames and AnnData by modality, MuData, or a path."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeGuard, Unpack

import pandas as pd
import pyarrow as pa

from codenoise.core.base.errors import DataError, first_few, one_line
from codenoise.core.cohort.annotated import annotated_grid
from codenoise.core.cohort.cohort import Cohort, alike, read_cohort
from codenoise.core.cohort.formats import Grid
from codenoise.core.cohort.options import ReadOptions
from codenoise.core.cohort.parquet import framed_grid
from codenoise.core.cohort.tables import table_of

KINDS = "a pandas or polars DataFrame or an AnnData"


class MuDataLike(Protocol):
    """What a MuData object is told by where the library itself is not to be loaded."""

    mod: Mapping[str, Any]
    obs: Any
    uns: Any


Given = Cohort | Mapping[str, object] | Path | str
"""What stands for a cohort; MuData does too."""


def cohort_of(
    given: Given | MuDataLike,
    modalities: Sequence[str] | None = None,
    *,
    features: Mapping[str, Sequence[str]] | None = None,
    **options: Unpack[ReadOptions],
) -> Cohort:
    """A cohort of whatever a user holds; what is given is never changed.

    Orientation, names of features, samples of a patient and every check are those of files.

    Parameters
    ----------
    given
        A `Cohort`, which is taken as it is; a path, see `read_cohort`; a MuData; or modality to
        table. A table is an AnnData, a pandas DataFrame with ids in its index, or any frame of
        Arrow's interface (polars, pyarrow) with ids in a column ``patient``, else in its first
        column of text. So may pandas have it where the index only counts rows.
    modalities
        Take these and ignore every other; by default all.
    features, options
        As in `read_cohort`.

    Raises
    ------
    DataError
        If it is none of these, or a table cannot be used; the message names the modality.
    """
    if isinstance(given, Cohort):
        if options:
            raise DataError(
                f"the cohort was read already; give {', '.join(options)} where it is read"
            )
        if modalities is None:
            return given
        return replace(given, tables=_chosen(given.tables, modalities))
    if isinstance(given, str | Path):
        return read_cohort(Path(given), modalities, features=features, **options)
    if not is_mudata(given) and not isinstance(given, Mapping):
        raise DataError(
            f"{type(given).__name__} is no cohort; give a Cohort, a path, a MuData, or a dict of "
            f"modality to table, e.g. {{'rna': frame}}"
        )
    parts: Mapping[str, object] = given.mod if is_mudata(given) else given  # type: ignore[assignment]
    tables = {}
    for name, part in (parts if modalities is None else _chosen(parts, modalities)).items():
        source = Path(f"{name} ({type(part).__name__})")
        known = (features or {}).get(name)
        tables[name] = table_of(_grid(part, source), source, features=known, **options)
    return Cohort(alike(tables), options)


def is_mudata(given: object) -> TypeGuard[MuDataLike]:
    """Whether it is a MuData object."""
    return _is(given, "mudata", "MuData")


def frame_of(given: Any, source: object) -> pd.DataFrame:
    """A frame of any library as one of pandas, ids in its index.

    Raises
    ------
    DataError
        If it does not say who the patients are, or is no frame.
    """
    if isinstance(given, pd.DataFrame):
        counted = isinstance(given.index, pd.RangeIndex)
        if not counted and not pd.api.types.is_integer_dtype(given.index.dtype):
            return given
        place = _id_column(given)
        if place is None and not counted:
            return given  # ids that are numbers
        return _indexed(given, place, f"{source} has an index that only counts rows")
    if not hasattr(given, "__arrow_c_stream__"):
        raise DataError(f"{source} is no table; give {KINDS}, which name patients and features")
    try:
        frame = pa.table(given).to_pandas()
    except (pa.ArrowException, TypeError) as problem:
        raise DataError(f"{source} cannot be read as a table: {one_line(problem)}") from None
    return _indexed(frame, _id_column(frame), f"{source} has no column of text")


def _grid(given: object, source: Path) -> Grid:
    if _is(given, "anndata", "AnnData"):
        return annotated_grid(given, source)
    return framed_grid(frame_of(given, source), source)


def _id_column(frame: pd.DataFrame) -> int | None:
    """Position of the column that names the rows."""
    names = [str(name) for name in frame.columns]
    if "patient" in names:
        return names.index("patient")
    kinds = (pd.api.types.infer_dtype(frame.iloc[:, place]) for place in range(len(names)))
    texts = (place for place, kind in enumerate(kinds) if kind in ("string", "categorical"))
    return next(texts, None)


def _indexed(frame: pd.DataFrame, place: int | None, why_not: str) -> pd.DataFrame:
    if place is None:
        raise DataError(
            f"{why_not}, so nothing says who the patients are; put their ids into a column "
            f"'patient' (in pandas, or into the index)"
        )
    ids = pd.Index(frame.iloc[:, place].astype("str"), name=str(frame.columns[place]))
    return frame.iloc[:, [p for p in range(frame.shape[1]) if p != place]].set_axis(ids, axis=0)


def _chosen(tables: Mapping[str, Any], modalities: Sequence[str]) -> dict[str, Any]:
    absent = [name for name in modalities if name not in tables]
    if absent:
        raise DataError(
            f"the cohort has no table for {first_few(absent)}; it has {', '.join(tables) or 'none'}"
        )
    return {name: tables[name] for name in modalities}


def _is(given: object, module: str, name: str) -> bool:
    """Whether it is of a class of a library, which is loaded if so."""
    library = sys.modules.get(module)
    return library is not None and isinstance(given, getattr(library, name))
