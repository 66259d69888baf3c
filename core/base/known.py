"""What can be chosen by a name: the things that are built in, and those that plugins add."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from codenoise.core.base.errors import CodenoiseError

T = TypeVar("T")
BUILT_IN = "codenoise"
"""Where a thing comes from that no plugin added."""


class Known(Generic[T]):
    """Things of one kind by name, and where each comes from.

    A name may be reserved: it is known, and nobody can take it, but what it stands for is not a
    thing of this kind. Membership and iteration are over names that stand for a thing.

    Parameters
    ----------
    kind
        What one of them is called in messages.
    built_in
        Things by name.
    reserved
        Further names.
    clash
        Whether a new name, given first, means the same as a reserved one; equal names by default.
    error
        What is raised for an unknown name.

    Examples
    --------
    >>> greetings = Known("greeting", {"english": "hello"})
    >>> greetings.register("french", "bonjour", "french-greetings 1.0")
    >>> greetings["french"], greetings.source("french"), greetings.names
    ('bonjour', 'french-greetings 1.0', ('english', 'french'))
    """

    def __init__(
        self,
        kind: str,
        built_in: Mapping[str, T],
        *,
        reserved: Sequence[str] = (),
        clash: Callable[[str, str], bool] = operator.eq,
        error: type[CodenoiseError] = CodenoiseError,
    ) -> None:
        self.kind = kind
        self._things = {name: (thing, BUILT_IN) for name, thing in built_in.items()}
        self._reserved = tuple(reserved)
        self._clash = clash
        self._error = error

    def __getitem__(self, name: str) -> T:
        """The thing of a name; `unknown` is raised where there is none."""
        if name not in self._things:
            raise self.unknown(name)
        return self._things[name][0]

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that is known, reserved ones too, sorted."""
        return tuple(sorted({*self._things, *self._reserved}))

    def source(self, name: str) -> str:
        """Where the thing of a name comes from: a distribution and its version, or `BUILT_IN`."""
        return self._things[name][1] if name in self._things else BUILT_IN

    def unknown(self, name: str) -> CodenoiseError:
        """The error that says what is known instead of a name."""
        return self._error(f"{self.kind} {name!r} is unknown; known: {', '.join(self.names)}")

    def register(self, name: str, thing: T, where: str) -> None:
        """Add a thing.

        Parameters
        ----------
        name, thing
            What to add; the same thing from the same place may be added again.
        where
            Its distribution and version.

        Raises
        ------
        CodenoiseError
            As `refuse_taken`.
        """
        self.refuse_taken(name, thing, where)
        self._things[name] = thing, where

    def refuse_taken(self, name: str, thing: T, where: str) -> None:
        """Say what `register` would, and add nothing.

        Raises
        ------
        CodenoiseError
            If the name stands for another thing, or means the same as a reserved one.
        """
        reserved = any(self._clash(name, other) for other in self._reserved)
        if reserved or self._things.get(name, (thing, where)) != (thing, where):
            raise CodenoiseError(
                f"{self.kind} {name!r} of {where} is already there, from {self.source(name)}; "
                f"give it another name"
            )
