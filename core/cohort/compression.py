"""Compression, told by a file's first bytes and never by its name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

# First bytes and the ending of the name that is usual for them.
MAGIC = {
    b"\x1f\x8b": ".gz",
    b"\xfd7zXZ\x00": ".xz",
    b"BZh": ".bz2",
    b"\x28\xb5\x2f\xfd": ".zst",
}
LONGEST = max(map(len, MAGIC))
ENDINGS = tuple(MAGIC.values())
WORDS = {"": "plain", ".gz": "gzip", ".xz": "xz", ".bz2": "bzip2", ".zst": "zstd"}
# What the codecs raise for bytes that are damaged or cut short.
COMPRESSION_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)


def compression_of(head: bytes) -> str:
    """The usual ending of files that begin like ``head``: ``.gz``, ...; empty if not compressed."""
    return next((ending for magic, ending in MAGIC.items() if head.startswith(magic)), "")


@contextmanager
def opened(path: Path | int) -> Iterator[BinaryIO]:
    """The content of a file as a stream, decompressed if need be.

    Parameters
    ----------
    path
        The file, or the descriptor of one that is open, which is read on and stays open.
    """
    with open(path, "rb", closefd=not isinstance(path, int)) as raw:
        ending = compression_of(raw.read(LONGEST))
        raw.seek(0)
        with _decompressed(raw, ending) as stream:
            yield stream


def _decompressed(raw: BinaryIO, ending: str) -> BinaryIO:
    if ending == ".gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if ending == ".xz":
        return cast(BinaryIO, lzma.LZMAFile(raw))
    if ending == ".bz2":
        return cast(BinaryIO, bz2.BZ2File(raw))
    if ending == ".zst":
        return io.BufferedReader(pa.CompressedInputStream(raw, "zstd"))
    return raw


def compressed(content: bytes, ending: str) -> bytes:
    """``content`` as a file with this ending holds it; equal content gives equal bytes."""
    if ending == ".gz":
        return gzip.compress(content, mtime=0)
    if ending == ".xz":
        return lzma.compress(content)
    if ending == ".bz2":
        return bz2.compress(content)
    if ending == ".zst":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(content)
        return bytes(sink.getvalue().to_pybytes())
    return content
