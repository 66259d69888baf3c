"""Tables of any length to latents and back, some patients at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
import pandas as pd

from codenoise.core.base.errors import CodenoiseError, DataError, first_few
from codenoise.core.cohort.chunks import Chunks, WholeOnlyError, read_chunks
from codenoise.core.cohort.cohort import Cohort, find_table
from codenoise.core.cohort.options import ReadOptions
from codenoise.core.cohort.tables import read_table
from codenoise.core.cohort.writing import check_table_name, write_chunks
from codenoise.core.spaces.scale import Moments, check_moments
from codenoise.core.spaces.space import Float32, Space

Progress = Callable[[str, int, int], None]


def encode_file(
    space: Space,
    path: Path,
    *,
    progress: Progress | None = None,
    **options: Unpack[ReadOptions],
) -> pd.DataFrame:
    """Turn a table of features into latents without ever holding it whole.

    Latents and refusals are those of `read_table` and `Space.encode`; only the transform that would
    mend a wrong scale is looked for among the first patients alone.

    Parameters
    ----------
    space
        What to encode with.
    path
        A table of text or parquet with patients as rows, see `read_chunks`.
    progress
        Called with what is counted, how many are done and how many there are.
    options
        As in `read_table`.

    Returns
    -------
    pandas.DataFrame
        Latents, shape ``(patients, dim)``, float32; of the patients who have any value.

    Raises
    ------
    WholeOnlyError
        If the table cannot be read in chunks.
    DataError, SpaceError
        As in `read_table` and `Space.encode`.
    """
    chunks = read_chunks(path, features=space.features, modality=space.modality, **options)
    return encode_chunks(space, chunks, path.name, progress)


@dataclass(frozen=True)
class Encoded:
    """Latents of a table, what was changed in reading it, and why it was read whole, if it was."""

    latents: pd.DataFrame
    changes: tuple[str, ...]
    whole: str = ""


def encode_table(
    space: Space,
    path: Path | str,
    *,
    progress: Progress | None = None,
    **options: Unpack[ReadOptions],
) -> Encoded:
    """Turn a table into latents: some patients at a time where its format allows it, else whole.

    Parameters
    ----------
    space
        What to encode with.
    path
        A table in any format, or a cohort that has one of the space's modality.
    progress, options
        As in `encode_file`.

    Raises
    ------
    DataError, SpaceError
        As in `read_table` and `Space.encode`.

    Examples
    --------
    >>> encode_table(open_space("tcga-rna"), "rna.parquet").latents  # doctest: +SKIP
    """
    found, said = find_table(Path(path), space.modality)
    chosen: ReadOptions = {**options, **said}
    try:
        chunks = read_chunks(found, features=space.features, modality=space.modality, **chosen)
    except WholeOnlyError as problem:
        table = read_table(found, features=space.features, modality=space.modality, **chosen)
        measured = Cohort({space.modality: table}).measured(space.modality)
        return Encoded(space.encode(measured, table.source), table.changes, str(problem))
    latents = encode_chunks(space, chunks, found.name, progress)
    return Encoded(latents, tuple(chunks.changes))


def encode_chunks(
    space: Space, chunks: Chunks, source: str, progress: Progress | None = None
) -> pd.DataFrame:
    """Latents of a table that comes in chunks; see `encode_file`."""
    # Of no patient: a table that lacks the space's features is refused before it is read.
    space.encode(pd.DataFrame(columns=chunks.features), source)
    patients = pd.Index(chunks.patients, dtype=str)
    latents = np.empty((len(patients), space.dim), dtype=np.float32)
    known = np.zeros(len(patients), dtype=np.bool_)
    moments = Moments.of(np.empty((0, len(space.features)), dtype=np.float32))
    some: Float32 | None = None
    done = 0

    def check() -> None:
        if some is not None:
            check_moments(
                moments, some, space.center, space.scale, source, space.reference, space.unit
            )

    for frame in chunks.frames:
        measured = frame[frame.notna().any(axis=1)]
        values = measured.reindex(columns=list(space.features)).to_numpy(dtype=np.float32)
        moments = moments.joined(Moments.of(values))
        some = values if some is None else some
        places = patients.get_indexer(measured.index)
        patients.name = frame.index.name
        try:
            latents[places] = space.encode(measured, source, any_scale=True).to_numpy()
        except DataError:
            check()  # values of another scale are the first thing to say, as in `Space.encode`
            raise
        known[places] = True
        done += len(frame)
        if progress is not None:
            progress("patients", done, len(chunks.patients))
    check()
    found = pd.DataFrame(latents, index=patients)
    return found if known.all() else found[known]


def latent_names(space: Space) -> list[str]:
    """What the columns of latents are called in files: latents of another space are told by it."""
    return [f"{space.reference}:{number}" for number in range(space.dim)]


def decode_chunks(space: Space, chunks: Chunks, source: str) -> Iterator[pd.DataFrame]:
    """Features of latents that come in chunks, in the units of the space.

    Parameters
    ----------
    space
        What to decode with.
    chunks
        Latents, their columns named by `latent_names`.
    source
        What to call them in messages.

    Raises
    ------
    DataError
        If a dimension or a value is missing.
    """
    names = latent_names(space)
    absent = [name for name in names if name not in chunks.features]
    if absent:
        raise DataError(
            f"{source} holds no latents of space {space.reference}: {len(absent)} of {space.dim} "
            f"columns are missing, {first_few(absent)}; give what 'codenoise spaces encode' wrote"
        )
    if not chunks.patients:
        nobody = pd.Index([], name="patient", dtype=str)
        yield pd.DataFrame(columns=list(space.features), index=nobody, dtype=np.float32)
    for frame in chunks.frames:
        latents = frame[names]
        gaps = latents.isna().any(axis=1)
        if gaps.any():
            raise DataError(
                f"{source}, patient {gaps.idxmax()!r}: a latent is missing; leave the patient out"
            )
        decoded = space.decode(latents.to_numpy(dtype=np.float32))
        yield pd.DataFrame(decoded, index=frame.index, columns=list(space.features))


@dataclass(frozen=True)
class Decoded:
    """How many patients were decoded into which file, and what was changed in reading them."""

    path: Path
    patients: int
    changes: tuple[str, ...]


def decode_table(
    space: Space, latents: Path | str, output: Path | str, *, overwrite: bool = False
) -> Decoded:
    """Turn a file of latents into one of features, some patients at a time.

    Parameters
    ----------
    space
        What to decode with.
    latents
        What ``codenoise spaces encode`` wrote.
    output
        Ends in ``.parquet``, or as a text table does; its values are in the units of the space.
    overwrite
        Whether a file that is there is replaced.

    Raises
    ------
    DataError
        If the file holds no latents of this space, one is missing, or the output has another
        ending.
    CodenoiseError
        If the output is there already or cannot be written.

    Examples
    --------
    >>> decode_table(space, "rna_latents.parquet", "rna.parquet").patients  # doctest: +SKIP
    64
    """
    source, path = Path(latents), Path(output)
    check_table_name(path)
    if path.exists() and not overwrite:
        raise CodenoiseError(f"{path} is already there; give another file, or `overwrite=True`")
    try:
        chunks = read_chunks(source, orientation="patients-as-rows", width=len(space.features))
    except WholeOnlyError:
        raise DataError(f"{source} is no file that 'codenoise spaces encode' wrote") from None
    write_chunks(decode_chunks(space, chunks, str(source)), path)
    return Decoded(path, len(chunks.patients), chunks.changes)
