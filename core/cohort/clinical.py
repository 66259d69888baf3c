"""Clinical tables: mixed columns, and the names that TCGA gives to the usual ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.identifiers import resolve_samples
from codenoise.core.cohort.probe import Probe, delimiter, probe

DAYS_A_MONTH = 365.25 / 12
# Columns of barcodes that need not come first, as in clinical tables of the GDC.
_IDS = ("bcr_patient_barcode", "case_submitter_id", "cases.submitter_id")
_STAGE = re.compile(r"(?:stage)?[\s_]*(IV|III|II|I|[1-4])(?:[ABC][0-9]?)?", re.IGNORECASE)
_ROMAN = {"I": 1.0, "II": 2.0, "III": 3.0, "IV": 4.0}
_NO_VALUE = re.compile(r"\[.*\]|not reported|unknown|na|n/a|--|'--|", re.IGNORECASE)


def tidy_clinical(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the columns of TCGA the names and units that codenoise uses; others stay as they are.

    ``cancer_type``, ``stage`` (1-4 of 'Stage IIIA'), ``os_days``, ``os_event`` (1 is death),
    ``age`` and ``sex`` (F or M) are made where their TCGA columns are found. A table is taken for
    one of TCGA when at least two are.
    """
    lower = {str(name).lower(): name for name in reversed(frame.columns)}
    found: dict[str, tuple[str, Callable[[pd.Series], pd.Series]]] = {}
    for target, sources in _TCGA.items():
        for source, convert in sources:
            if source in lower and target not in frame:
                found.setdefault(target, (lower[source], convert))
    if len(found) < 2:
        return frame
    made = {target: convert(frame[name]) for target, (name, convert) in found.items()}
    rest = frame.drop(columns=[name for name, _ in found.values()])
    return pd.concat([pd.DataFrame(made, index=frame.index), rest], axis=1)


def stage_number(text: object) -> float:
    """1 to 4 of ``Stage IIIA``, ``iv`` or ``2``; NaN of anything else.

    Examples
    --------
    >>> stage_number("Stage IIIA"), stage_number("Stage X")
    (3.0, nan)
    """
    match = _STAGE.fullmatch(str(text).strip().removesuffix(".0"))
    if match is None:
        return float("nan")
    return _ROMAN.get(match[1].upper()) or float(match[1])


def _words(cells: pd.Series) -> pd.Series:
    """Text without blanks around it; ``None`` for the ways in which TCGA says nothing."""
    text = cells.astype(object).map(lambda v: "" if pd.isna(v) else str(v).strip())
    return text.map(lambda v: None if _NO_VALUE.fullmatch(v) else v).astype(object)


def _cancer_type(cells: pd.Series) -> pd.Series:
    return _words(cells).map(lambda v: v and v.removeprefix("TCGA-"))


def _stage(cells: pd.Series) -> pd.Series:
    return cells.map(stage_number).astype(np.float64)


def _number(cells: pd.Series) -> pd.Series:
    return pd.to_numeric(_words(cells), errors="coerce").astype(np.float64)


def _months(cells: pd.Series) -> pd.Series:
    return _number(cells) * DAYS_A_MONTH


def _event(cells: pd.Series) -> pd.Series:
    """1 for death: of 0 and 1, ``1:DECEASED`` or ``Dead``."""
    words = _words(cells).map(lambda v: v and v.lower().split(":")[-1])
    known = {"deceased": 1.0, "dead": 1.0, "living": 0.0, "alive": 0.0}
    known |= {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0}
    return words.map(lambda v: known.get(v, np.nan)).astype(np.float64)


def _sex(cells: pd.Series) -> pd.Series:
    letters = {"female": "F", "f": "F", "male": "M", "m": "M"}
    return _words(cells).map(lambda v: v and letters.get(v.lower()))


# The first that is there is taken.
_TCGA: dict[str, tuple[tuple[str, Callable[[pd.Series], pd.Series]], ...]] = {
    "cancer_type": (
        ("type", _cancer_type),
        ("cancer type abbreviation", _cancer_type),
        ("cancer_type_acronym", _cancer_type),
        ("project_id", _cancer_type),
    ),
    "stage": (
        ("ajcc_pathologic_tumor_stage", _stage),
        ("ajcc_pathologic_stage", _stage),
        ("pathologic_stage", _stage),
        ("clinical_stage", _stage),
    ),
    "os_days": (("os.time", _number), ("os_months", _months)),
    "os_event": (("os", _event), ("os_status", _event)),
    "age": (
        ("age_at_initial_pathologic_diagnosis", _number),
        ("age_at_diagnosis_years", _number),
        ("age_at_index", _number),
    ),
    "sex": (("gender", _sex),),
}


def read_clinical_file(path: Path) -> pd.DataFrame:
    """Read one clinical table: mixed columns, index of patient ids as text.

    The index is the column of patient barcodes where TCGA has one, else the first.

    Raises
    ------
    DataError
        If it cannot be read, or a patient has no id or stands twice.
    """
    with probe(path) as file:
        if file.container == "parquet":
            frame = pd.read_parquet(file.whole())
            if isinstance(frame.index, pd.RangeIndex):
                frame = _indexed(frame)
        else:
            frame = _text(file)
    if frame.index.hasnans:
        row = int(np.flatnonzero(frame.index.isna())[0]) + 1
        raise DataError(f"{path}, data row {row}: the patient id is missing")
    frame.index = frame.index.astype(str)
    if len(frame):
        chosen = resolve_samples(list(frame.index), str(path))
        index = pd.Index(chosen.patients, name=frame.index.name, dtype=str)
        frame = frame.iloc[chosen.rows].set_axis(index, axis=0)
    return tidy_clinical(frame)


def _text(file: Probe) -> pd.DataFrame:
    content = file.whole()
    # cBioPortal explains its columns in lines before the header.
    start, line = 0, content.readline()
    while line.startswith(b"#"):
        start, line = content.tell(), content.readline()
    separator = delimiter([part.decode(errors="replace") for part in (line, content.readline())])
    content.seek(start)
    header = pd.read_csv(content, sep=separator, nrows=0)
    content.seek(start)
    # Ids are text: read as numbers, 0012 would lose its zeros.
    place = _id_place(header)
    return _indexed(pd.read_csv(content, sep=separator, dtype={place: str}))


def _id_place(frame: pd.DataFrame) -> int:
    names = [str(name).lower() for name in frame.columns]
    return next((names.index(name) for name in _IDS if name in names), 0)


def _indexed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_index(frame.columns[_id_place(frame)])
