"""What a user may say of how the tables of a cohort are read, and how to say it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypedDict

Orientation = Literal["auto", "patients-as-rows", "features-as-rows"]
SampleChoice = Literal["tumour", "primary", "metastatic", "normal"]
Merge = Literal["refuse", "mean", "first"]


class ReadOptions(TypedDict, total=False):
    """Options of `read_table` and `read_cohort`; the keys are those of a cohort TOML too."""

    orientation: Orientation
    samples: SampleChoice
    merge: Merge


def said_with(key: str, values: Iterable[str]) -> str:
    """How one of some values is asked for, for the end of a message.

    Examples
    --------
    >>> said_with("merge", ["mean", "first"])
    "`merge='mean'` or `merge='first'` (merge in a cohort's TOML)"
    """
    ways = " or ".join(f"`{key}={value!r}`" for value in values)
    return f"{ways} ({key} in a cohort's TOML)"
