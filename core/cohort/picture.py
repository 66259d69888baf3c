"""A picture of who has what: an UpSet plot (Lex et al. 2014) of a cohort's modalities."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from codenoise.core.base.errors import DataError
from codenoise.core.base.files import atomic_file
from codenoise.core.base.optional import needed, quiet

FORMATS = (".png", ".svg", ".pdf")
# Five modalities have 31 combinations at most; of more, a page holds the commonest.
SHOWN = 40
# Inches of one row or column of dots.
STEP = 0.45


def check_picture_name(path: Path) -> None:
    """Refuse a file name that tells no format.

    Raises
    ------
    DataError
        If it does not end in one of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise DataError(
            f"{path} tells no format of a picture; end its name in {' or '.join(FORMATS)}"
        )


def draw_pattern(mask: pd.DataFrame, path: Path) -> None:
    """Draw how many patients have which modalities, commonest combination first.

    Parameters
    ----------
    mask
        Patients x modalities, whether measured; see `Cohort.mask`.
    path
        Where to, whole or not at all; the ending is one of `FORMATS`.

    Raises
    ------
    DataError
        If the ending is another, there are fewer than two modalities or no patients, or the
        libraries are not installed.
    """
    check_picture_name(path)
    if mask.shape[1] < 2 or not len(mask):
        raise DataError(
            f"a picture of who has what needs patients and two modalities or more; these are "
            f"{len(mask)} patients, of {' and '.join(mask.columns)} alone"
        )
    upset = needed("marsilea.upset", "drawing an UpSet plot", extra="plots")
    agg = needed("matplotlib.backends.backend_agg", "drawing an UpSet plot", extra="plots")
    figure = needed("matplotlib.figure", "drawing an UpSet plot", extra="plots").Figure()
    agg.FigureCanvasAgg(figure)  # whatever window system there is, or none
    # A dollar sign would start a formula.
    named = mask.rename(columns={name: name.replace("$", r"\$") for name in mask.columns})
    combinations = named.value_counts()
    shown = named[pd.MultiIndex.from_frame(named).isin(combinations.index[:SHOWN])]
    totals = named.sum().sort_values(ascending=False, kind="stable")
    with quiet(), atomic_file(path) as temporary:
        plot = upset.Upset(
            upset.UpsetData(shown.astype(int)),
            sort_subsets="-cardinality",
            sets_order=list(totals.index),
            add_sets_size=False,
            width=STEP * min(len(combinations), SHOWN),
            height=STEP * len(totals),
        )
        plot.sets_size = totals  # of all patients, shown or not
        plot.add_sets_size("left", label="patients")
        plot.add_title(top=_title(len(mask), len(shown), len(combinations)), pad=0.2)
        plot.render(figure=figure)
        figure.savefig(temporary, format=path.suffix[1:].lower(), bbox_inches="tight", dpi=200)


def _title(patients: int, shown: int, combinations: int) -> str:
    if shown == patients:
        return f"{patients:,} patients by what they have"
    return (
        f"{shown:,} of {patients:,} patients by what they have: the {SHOWN} commonest of "
        f"{combinations} combinations"
    )
