"""Atomic writing: a file or folder appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codenoise.core.base.errors import CodenoiseError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and move it there when the block ends well.

    Raises
    ------
    CodenoiseError
        If ``path`` is a folder or cannot be written.
    """
    if path.is_dir():
        raise CodenoiseError(f"{path} is a folder; give a file")
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with _told(path):
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, replaces: str | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` and move it there when the block ends well.

    Parameters
    ----------
    path
        The folder to write.
    replaces
        Name of a file by which a folder made by an earlier run is known; such a folder is replaced.
        By default nothing is.

    Raises
    ------
    CodenoiseError
        If ``path`` holds anything and may not be replaced, is a file, or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise CodenoiseError(f"{path} is a file; give a folder")
    if path.exists() and any(path.iterdir()):
        if replaces is None:
            raise CodenoiseError(
                f"{path} already holds files; give another folder, or `overwrite=True`"
            )
        if not (path / replaces).is_file():
            raise CodenoiseError(
                f"{path} was not written by codenoise (it has no {replaces}), so it is not "
                f"replaced; give another folder"
            )
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        with _told(path):
            temporary.chmod(0o777 & ~_umask())
            if path.exists():
                # Moved aside first: at every moment the old or the new folder is whole.
                path.rename(temporary.with_name(f"{temporary.name}.old"))
            temporary.replace(path)
        shutil.rmtree(temporary.with_name(f"{temporary.name}.old"), ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the system refuses into an error that names the path."""
    try:
        yield
    except OSError as problem:
        reason = problem.strerror or problem
        raise CodenoiseError(f"{path} cannot be written: {reason}; give another path") from None


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
