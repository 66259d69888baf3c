"""How figures of the report look: one palette for methods, one style of axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codenoise.core.base.optional import needed
from codenoise.evaluation.study import BASELINE, COHERENT, MULTI, PUBLISHED, SINGLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito (2008), which people with any colour vision tell apart.
COLOURS = {
    COHERENT: "#0072B2",
    PUBLISHED: "#56B4E9",
    MULTI: "#E69F00",
    SINGLE: "#009E73",
    BASELINE: "#CC79A7",
    "real": "#000000",
    "ablated": "#999999",
    "label only": "#D55E00",
    "random": "#999999",
}
OTHERS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")


def colour(name: str, position: int = 0) -> str:
    """The colour of a method, or that of a position for anything else."""
    return COLOURS.get(name, OTHERS[position % len(OTHERS)])


def figure(
    rows: int = 1, columns: int = 1, *, width: float = 7.2, height: float = 3.4
) -> tuple[Figure, Sequence[Axes]]:
    """An empty figure, and its axes in reading order.

    Parameters
    ----------
    rows, columns
        Of axes.
    width, height
        Inches, of the whole.

    Raises
    ------
    DataError
        If matplotlib is not installed.
    """
    made = needed("matplotlib.figure", "drawing figures", extra="evaluation").Figure(
        figsize=(width, height), layout="constrained"
    )
    axes = made.subplots(rows, columns, squeeze=False).ravel()
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=8)
        one.grid(axis="y", color="#dddddd", linewidth=0.6)
        one.set_axisbelow(True)
    return made, axes
