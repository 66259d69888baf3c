"""The coherence trace: how far the experts were apart at each step of each trajectory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codenoise.core.base.errors import DataError, EnsembleError
from codenoise.core.base.files import atomic_file
from codenoise.core.base.optional import needed, quiet
from codenoise.core.cohort.picture import FORMATS
from codenoise.core.diffusion.grid import step_grid, step_shares
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.engine import Generation
from codenoise.core.ensemble.settings import EngineSettings

# Distances held in memory at most, 4 bytes each.
MOST = 100_000_000
# Rows of a parquet row group at most, beside which a table of them is small.
ROWS = 1_000_000
# Incoherent trajectories drawn for a target; more would be a blot.
DRAWN = 50
SCHEMA = pa.schema(
    {
        "target": pa.dictionary(pa.int32(), pa.string()),
        "patient": pa.dictionary(pa.int32(), pa.string()),
        "draw": pa.int32(),
        "step": pa.int32(),
        "signal": pa.float64(),
        "share": pa.float64(),
        "distance": pa.float32(),
    }
)


def check_trace_size(patients: int, draws: int, steps: int) -> None:
    """Refuse a trace that would not fit in memory.

    Parameters
    ----------
    patients
        To be generated, of all targets together.
    draws, steps
        Of each.

    Raises
    ------
    EnsembleError
        If that makes more than `MOST` distances.
    """
    size = patients * draws * steps
    if size > MOST:
        raise EnsembleError(
            f"the trace would hold {size:,} distances ({patients:,} patients to generate x {draws} "
            f"draws x {steps} steps), and {MOST:,} are the most; take fewer draws, targets or "
            f"patients"
        )


def check_trace_name(path: Path) -> None:
    """Refuse a file that a trace cannot be written to, before it is made.

    Raises
    ------
    DataError
        If the name ends neither in ``.parquet`` nor as a picture's does, or a picture is asked for
        and the library that draws it is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in (".parquet", *FORMATS):
        raise DataError(
            f"{path} tells no format of a trace; end its name in .parquet for the values, or in "
            f"{' or '.join(FORMATS)} for a picture"
        )
    if suffix != ".parquet":
        needed("matplotlib.figure", "drawing the trace", extra="plots")


def write_trace(
    generations: Mapping[str, Generation], settings: EngineSettings, path: Path
) -> None:
    """Write the trace of every generated target, as values or as a picture.

    Parquet gets one row per target, patient, draw and step (from noise to data, the first is 0),
    with the step's signal variance (alpha bar), its share of the schedule's steps, by which
    coherence weighs it, and the experts' distance, null where one expert was alone. Of a redrawn
    trajectory it holds the attempt that was kept.

    Parameters
    ----------
    generations
        Target to draws with a trace; see `Ensemble.impute` with ``keep_trace``.
    settings
        They were generated with.
    path
        Where to, whole or not at all; the ending is ``.parquet`` or one of a picture.

    Raises
    ------
    DataError
        As `check_trace_name`.
    """
    check_trace_name(path)
    alpha_bar = linear_schedule().alpha_bar
    signal = step_grid(alpha_bar, settings.steps, settings.sampler)
    with atomic_file(path) as temporary:
        if path.suffix.lower() != ".parquet":
            _draw(generations, settings, temporary, path.suffix[1:].lower())
            return
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
            for target, generation in generations.items():
                for rows in _rows(target, generation, signal, step_shares(alpha_bar, signal)):
                    writer.write_table(rows)


def _rows(
    target: str, generation: Generation, signal: NDArray[np.float64], shares: NDArray[np.float64]
) -> Iterator[pa.Table]:
    """Rows of the patients that could be generated, some patients at a time."""
    trace = _trace(generation)
    _, draws, steps = trace.shape
    usable = np.flatnonzero(generation.attempts[:, 0] > 0)
    together = max(1, ROWS // (draws * steps))
    for start in range(0, len(usable), together):
        block = usable[start : start + together]
        count = len(block) * draws * steps
        patient = np.repeat(np.arange(len(block), dtype=np.int32), draws * steps)
        names = [generation.patients[row] for row in block]
        yield pa.table(
            [
                pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [target]),
                pa.DictionaryArray.from_arrays(patient, names),
                np.tile(np.repeat(np.arange(draws, dtype=np.int32), steps), len(block)),
                np.tile(np.arange(steps, dtype=np.int32), len(block) * draws),
                np.tile(signal, len(block) * draws),
                np.tile(shares, len(block) * draws),
                pa.array(trace[block].ravel(), from_pandas=True),
            ],
            schema=SCHEMA,
        )


def _draw(
    generations: Mapping[str, Generation], settings: EngineSettings, path: Path, kind: str
) -> None:
    """One panel per target, on a canvas that needs no window system."""
    agg = needed("matplotlib.backends.backend_agg", "drawing the trace", extra="plots")
    figures = needed("matplotlib.figure", "drawing the trace", extra="plots")
    with quiet():
        figure = figures.Figure(figsize=(7, 1 + 2.5 * len(generations)), layout="constrained")
        agg.FigureCanvasAgg(figure)
        panels = figure.subplots(len(generations), sharex=True, sharey=True, squeeze=False)[:, 0]
        for panel, (target, generation) in zip(panels, generations.items(), strict=True):
            _draw_target(panel, target, generation)
            panel.axhline(settings.threshold, color="black", linestyle="--", label="threshold")
            panel.set_ylabel("distance")
        panels[-1].set_xlabel("step, from noise to data")
        named = [panel.get_legend_handles_labels() for panel in panels]
        legend = {label: line for both in named for line, label in zip(*both, strict=True)}
        figure.legend(legend.values(), legend.keys(), loc="outside upper right", ncols=len(legend))
        figure.savefig(path, format=kind, dpi=200)


def _draw_target(panel: Any, target: str, generation: Generation) -> None:
    """Median and band over all trajectories of several experts; the incoherent ones as lines."""
    trace = _trace(generation)
    compared = ~np.isnan(generation.coherence)
    incoherent = trace[compared & generation.flagged]
    count, steps = int(compared.sum()), np.arange(trace.shape[2])
    shown = "" if len(incoherent) <= DRAWN else f", the first {DRAWN} shown"
    name = target.replace("$", r"\$")  # a dollar sign would start a formula
    panel.set_title(f"{name}: {count:,} draws, {len(incoherent):,} incoherent{shown}", loc="left")
    if not count:
        return
    low, middle, high = np.percentile(trace[compared], [5, 50, 95], axis=0)
    panel.fill_between(steps, low, high, color="tab:blue", alpha=0.3, linewidth=0, label="5-95%")
    for line in incoherent[:DRAWN]:
        (drawn,) = panel.plot(steps, line, color="tab:red", alpha=0.5, linewidth=0.6)
    if len(incoherent):
        drawn.set_label("incoherent draw")
    panel.plot(steps, middle, color="tab:blue", label="median")


def _trace(generation: Generation) -> NDArray[np.float32]:
    if generation.trace is None:
        raise EnsembleError("no trace was kept; generate with keep_trace")
    return generation.trace
