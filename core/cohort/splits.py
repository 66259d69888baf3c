"""Splitting patients into train, validation and test, by patient and never by sample."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from codenoise.core.base.errors import DataError, first_few, one_line
from codenoise.core.base.files import atomic_file
from codenoise.core.cohort.cohort import Cohort

SPLITS = ("train", "validation", "test")
FRACTIONS = {"train": 0.80, "validation": 0.05, "test": 0.15}


def split_patients(
    strata: pd.Series[str], complete: Collection[str], seed: int = 0
) -> pd.Series[str]:
    """Assign each patient to one split, 80/5/15, stratified.

    Only patients in ``complete`` can be test patients, so every test patient has the modalities
    that evaluation asks for. The others are divided between train and validation in the same
    proportion, 80 to 5.

    Parameters
    ----------
    strata
        Stratum (cancer type) of each patient, indexed by patient id; those without one form a
        stratum of their own.
    complete
        Ids that may be test patients.
    seed
        Seeds the shuffling; the order of the input does not matter.

    Returns
    -------
    pandas.Series
        ``train``, ``validation`` or ``test``, indexed by patient id, sorted.
    """
    rng = np.random.default_rng(seed)
    rest = FRACTIONS["train"] + FRACTIONS["validation"]
    allowed = set(complete)
    assigned: dict[str, str] = {}
    for _, stratum in sorted(strata.groupby(strata, dropna=False), key=lambda item: str(item[0])):
        ids = sorted(stratum.index)
        for group in ([i for i in ids if i in allowed], [i for i in ids if i not in allowed]):
            shuffled = [group[i] for i in rng.permutation(len(group))]
            tests = round(FRACTIONS["test"] * len(group)) if group and group[0] in allowed else 0
            held = round(FRACTIONS["validation"] / rest * (len(group) - tests))
            labels = ["test"] * tests + ["validation"] * held
            labels += ["train"] * (len(group) - len(labels))
            assigned.update(zip(shuffled, labels, strict=True))
    return pd.Series(assigned, name="split", dtype=object).sort_index().rename_axis("patient")


def split_cohort(
    cohort: Cohort,
    clinical: pd.DataFrame,
    *,
    stratify: str = "cancer_type",
    seed: int = 0,
    called: str = "the cohort",
) -> pd.Series[str]:
    """Assign the patients of a cohort to train, validation and test, see `split_patients`.

    Parameters
    ----------
    cohort
        Patients who have all of its tables may be test patients.
    clinical
        Clinical columns, indexed by patient, each once.
    stratify
        Which of them to stratify by.
    seed
        Of the shuffle.
    called
        What to call the cohort in messages.

    Raises
    ------
    DataError
        If the clinical table lacks the column, or has a patient twice.

    Examples
    --------
    >>> cohort = read_cohort("tcga", ["rna", "rppa"])  # doctest: +SKIP
    >>> split_cohort(cohort, read_clinical("tcga")).to_csv("split.csv")  # doctest: +SKIP
    """
    if stratify not in clinical:
        raise DataError(
            f"the clinical table of {called} has no column {stratify!r}; "
            f"it has {', '.join(map(str, clinical.columns))}"
        )
    twice = clinical.index[clinical.index.duplicated()].unique()
    if len(twice):
        raise DataError(
            f"the clinical table of {called} has {len(twice)} patient(s) more than once: "
            f"{first_few(twice)}; keep one row of each"
        )
    patients = sorted({*cohort.patients, *clinical.index})
    strata = clinical[stratify].reindex(patients).fillna("unknown").astype(str)
    mask = cohort.mask()
    return split_patients(strata, mask.index[mask.all(axis=1)], seed)


def write_split(split: pd.Series[str], path: Path) -> None:
    """Write a split as CSV: ``patient,split``."""
    with atomic_file(path) as temporary:
        split.to_csv(temporary)


def read_split(path: Path | str) -> pd.Series[str]:
    """Read a split written by `write_split` or ``codenoise train split``.

    Raises
    ------
    DataError
        If the file is missing, lacks a column, names a patient twice or a split that is none.

    Examples
    --------
    >>> split = read_split("split.csv")  # doctest: +SKIP
    >>> cohort.subset(split.index[split == "test"])  # doctest: +SKIP
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise DataError(f"{path} is not there; make it with 'codenoise train split'") from None
    except (OSError, ValueError) as problem:
        raise DataError(f"{path} cannot be read as CSV: {one_line(problem)}") from None
    if list(frame.columns) != ["patient", "split"]:
        raise DataError(f"{path} has columns {list(frame.columns)}; expected patient,split")
    twice = frame.patient[frame.patient.duplicated()].unique()
    if len(twice):
        raise DataError(f"{path} names {len(twice)} patient(s) more than once: {first_few(twice)}")
    wrong = frame[~frame.split.isin(SPLITS)]
    if len(wrong):
        raise DataError(
            f"{path}, patient {wrong.patient.iloc[0]!r}: {wrong.split.iloc[0]!r} is no split; "
            f"expected one of {', '.join(SPLITS)}"
        )
    return frame.set_index("patient").split


def split_of(given: pd.Series[str] | Path | str) -> pd.Series[str]:
    """A split as it is, or read from its CSV."""
    return given if isinstance(given, pd.Series) else read_split(given)


def split_part(
    cohort: Cohort,
    split: pd.Series[str],
    part: str,
    called: str = "the cohort and the split",
) -> Cohort:
    """The patients of one split.

    Parameters
    ----------
    cohort, split
        Patients, and the split of each, see `read_split`.
    part
        ``train``, ``validation`` or ``test``.
    called
        What to call the two in messages.

    Raises
    ------
    DataError
        If there is none.
    """
    chosen = cohort.subset(split.index[split == part])
    if not chosen.patients:
        raise DataError(
            f"{called} have no {part} patient in common: the cohort's ids read "
            f"like {first_few(cohort.patients, 1)}, the split's like {first_few(split.index, 1)}"
        )
    return chosen
