"""The one family of errors a user sees: what is wrong, where, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Iterable


class CodenoiseError(Exception):
    """Base of every error that codenoise raises on purpose.

    A parameter that mends it stands in backticks, as it is given in Python: `` `merge='mean'` ``.
    The command line shows its flag instead, the message on one line, and exits with status 1.
    """


class DataError(CodenoiseError):
    """A table, a cohort or a split cannot be used as it stands."""


class AbsentError(DataError):
    """A part of a cohort that may be absent is."""


class SpaceError(CodenoiseError):
    """Data, experts or artifacts do not meet in the same space."""


class ArtifactError(CodenoiseError):
    """A manifest or a weights file is missing, corrupted, or contradicts itself."""


class EnsembleError(CodenoiseError):
    """A recipe asks for something its experts cannot give."""


def one_line(problem: BaseException) -> str:
    """The first line of another library's message, or the kind of error where it has none."""
    text = str(problem).strip()
    return text.splitlines()[0] if text else type(problem).__name__


def first_few(values: Iterable[object], limit: int = 3) -> str:
    """Name the first ``limit`` values and count the others, for use inside a message.

    Examples
    --------
    >>> first_few(["a", "b", "c", "d", "e"])
    "'a', 'b', 'c' and 2 more"
    """
    items = [repr(str(value)) for value in values]
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"
