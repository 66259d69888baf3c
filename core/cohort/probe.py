"""What a file is, told by its name and its beginning before anything of it is parsed."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from codenoise.core.base.optional import needed
from codenoise.core.cohort.compression import LONGEST, compression_of, opened
from codenoise.core.cohort.formats import SEPARATORS, reading, table_suffix

SEPARATOR_WORDS = {",": "commas", "\t": "tabs", ";": "semicolons"}
# Bytes that are looked at; of text, two whole lines at the least, for a header may be long.
HEAD = 1 << 16
_MAGIC = {
    b"PAR1": "parquet",
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"MuData": "hdf5",
    b"PK\x03\x04": "zip",
}


@contextmanager
def probe(path: Path) -> Iterator[Probe]:
    """Look at a file, which stays open for its reader; it is opened once, or not at all.

    Raises
    ------
    DataError
        If it is not there or is damaged: whatever the libraries behind a reader raise inside the
        block names the file.
    """
    with reading(path), ExitStack() as held:
        yield Probe(path, held)


class Probe:
    """What is known of a file; each thing is found out when it is first asked for.

    Attributes
    ----------
    path
        The file, or a folder.
    suffix
        The format by its name, see `table_suffix`.
    is_folder
        Whether it is a folder, and not named like a file.
    """

    def __init__(self, path: Path, held: ExitStack) -> None:
        self.path = path
        self.suffix = table_suffix(path)
        self.is_folder = self.suffix is None and path.is_dir()
        self._held = held

    @contextmanager
    def content(self) -> Iterator[BinaryIO]:
        """The content from its start, decompressed; one stream at a time."""
        # All streams are of one open file, so its beginning is looked at before any is given away.
        _ = self.compression, self.head
        with opened(self._rewound()) as stream:
            yield stream

    def whole(self) -> BinaryIO:
        """The content as a stream that can be sought in."""
        with self.content() as stream:
            return io.BytesIO(stream.read())

    def _rewound(self) -> int:
        """The descriptor of the file, at its start."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return self._descriptor

    @cached_property
    def _descriptor(self) -> int:
        return self._held.enter_context(self.path.open("rb")).fileno()

    @cached_property
    def compression(self) -> str:
        """The usual ending of the compression; empty if there is none."""
        return compression_of(os.read(self._rewound(), LONGEST))

    @cached_property
    def container(self) -> str:
        """``parquet``, ``hdf5``, ``zip`` or ``text``, by the first bytes."""
        return next((name for magic, name in _MAGIC.items() if self.head.startswith(magic)), "text")

    @cached_property
    def head(self) -> bytes:
        """The beginning of the content; of text at least two lines, each of them whole."""
        with opened(self._rewound()) as stream:
            head = stream.read(HEAD)
            if not head.startswith(tuple(_MAGIC)):
                while not head.endswith(b"\n") or head.count(b"\n") < 2:
                    line = stream.readline()
                    if not line:
                        break
                    head += line
        return head

    @cached_property
    def separator(self) -> str:
        """What parts the cells of a text file, by its header and first row."""
        named = next((s for name, s in SEPARATORS.items() if name in (self.suffix or "")), "\t")
        stream = io.BytesIO(self.head)
        lines = [stream.readline().decode("utf-8-sig", errors="replace") for _ in range(2)]
        return delimiter(lines, named)

    @cached_property
    def header(self) -> list[str]:
        """The header of a text file, read apart because pandas renames duplicates silently."""
        lines = pd.read_csv(
            io.BytesIO(self.head),
            sep=self.separator,
            header=None,
            nrows=1,
            dtype=str,
            keep_default_na=False,
        )
        return [str(cell) for cell in lines.iloc[0]]

    @cached_property
    def members(self) -> list[str]:
        """Names in a zip archive; none in any other file."""
        if self.container != "zip":
            return []
        with zipfile.ZipFile(self.whole()) as archive:
            return archive.namelist()

    @cached_property
    def hdf5_kind(self) -> str:
        """Whether HDF5 is ``anndata``, ``mudata`` or something else, ``hdf5``; else empty."""
        if self.container != "hdf5":
            return ""
        h5py = needed("h5py", f"reading {self.path}")
        with h5py.File(self.path, "r") as file:
            if "mod" in file or file.attrs.get("encoding-type") == "MuData":
                return "mudata"
            return "anndata" if "var" in file and "obs" in file else "hdf5"


def delimiter(lines: list[str], usual: str = ",") -> str:
    """The separator by the header and the first row; the usual one if it fits as well."""
    widths = {s: _widths(lines, s) for s in (usual, *SEPARATOR_WORDS)}
    fitting = [s for s, w in widths.items() if w and w[0] > 1 and w[-1] == w[0]]
    if fitting:
        return usual if usual in fitting else max(fitting, key=lambda s: widths[s][0])
    return usual if widths[usual][:1] > [1] else max(widths, key=lambda s: widths[s][:1])


def _widths(lines: list[str], separator: str) -> list[int]:
    try:
        return [len(row) for row in csv.reader(lines, delimiter=separator) if row]
    except csv.Error:
        return []
