"""Libraries that only some tasks need, each of an extra of this package."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from codenoise.core.base.errors import DataError


def needed(module: str, what: str, extra: str = "h5") -> Any:
    """A library that only some files need, of an extra of this package.

    Raises
    ------
    DataError
        If it is not installed, saying how to install it.
    """
    try:
        with quiet():
            return importlib.import_module(module)
    except ImportError:
        raise DataError(
            f"{what} needs the package {module.partition('.')[0]}; install it with: "
            f"pip install 'codenoise[{extra}]'"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' advice to their own developers from the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
