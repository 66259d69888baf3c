"""What a licence asks of whoever uses the work: the few conditions that decide what may be done.

Expressions are SPDX: ``AND`` binds the user to both sides, ``OR`` leaves the choice, and the side
that asks least is taken. Licences that stand in no list here count as unknown, never as free.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

UNKNOWN = "unknown: ask the author"
NON_COMMERCIAL = "non-commercial"
NO_DERIVATIVES = "no derivatives"
COPYLEFT = "copyleft"
SHARE_ALIKE = "share alike"

# What a name in lower case means; the first conditions weigh most. Names with stars at both ends
# are of no SPDX licence: such clauses are added to one, and forbid by their name already.
CONDITIONS: Mapping[str, tuple[str, ...]] = {
    UNKNOWN: (),
    NON_COMMERCIAL: (
        "cc-by-nc-*", "polyform-noncommercial-*",
        "*commons-clause*", "*non-commercial*", "*noncommercial*",
    ),
    NO_DERIVATIVES: ("cc-by-nd-*", "cc-by-nc-nd-*"),
    COPYLEFT: (
        "agpl-*", "cddl-*", "cecill-[12]*", "epl-*", "eupl-*", "gfdl-*", "gpl-*", "lgpl-*",
        "mpl-*", "osl-*",
    ),
    SHARE_ALIKE: ("cc-by-sa-*", "cc-by-nc-sa-*", "cdla-sharing-*", "odbl-*"),
}  # fmt: skip
UNCLEARED = (UNKNOWN, NON_COMMERCIAL)
"""The conditions under which a work may not be used commercially, or not without asking."""

# At most the author has to be named, or the text to be passed on.
FREE = (
    "0bsd", "apache-*", "artistic-2.0", "bsd-[123]-clause", "bsl-1.0", "cc-by-[1-9]*", "cc0-*",
    "cdla-permissive-*", "isc", "mit", "mit-0", "odc-by-*", "pddl-*", "psf-2.0", "python-2.0",
    "unlicense", "zlib",
)  # fmt: skip

Terms = Mapping[str, frozenset[str]]
"""Condition to the licences that make it, the weightiest condition first."""


@lru_cache
def terms_of(expression: str) -> Terms:
    """The conditions of an SPDX expression; of any other text, that they are unknown.

    Examples
    --------
    >>> terms_of("GPL-2.0-only AND (MIT OR CC-BY-NC-SA-4.0)")
    {'copyleft': frozenset({'GPL-2.0-only'})}
    """
    try:
        canonical = canonicalize_license_expression(expression)
    except InvalidLicenseExpression:
        words = expression.strip()
        return _terms_of_one(words, f"text-{re.sub('[^a-z0-9]+', '-', words.lower())}")
    return _any_of(deque(re.findall(r"[()]|[^\s()]+", canonical)))


def _any_of(tokens: deque[str]) -> Terms:
    choices = [_all_of(tokens)]
    while tokens and tokens[0] == "OR":
        tokens.popleft()
        choices.append(_all_of(tokens))
    return min(choices, key=lambda terms: [name in terms for name in CONDITIONS])


def _all_of(tokens: deque[str]) -> Terms:
    parts = [_part(tokens)]
    while tokens and tokens[0] == "AND":
        tokens.popleft()
        parts.append(_part(tokens))
    every = {name: [part[name] for part in parts if name in part] for name in CONDITIONS}
    return {name: frozenset[str]().union(*found) for name, found in every.items() if found}


def _part(tokens: deque[str]) -> Terms:
    name = tokens.popleft()
    if name == "(":
        inner = _any_of(tokens)
        tokens.popleft()
        return inner
    words = [name]
    if tokens and tokens[0] == "WITH":  # an exception loosens the licence, never binds further
        words += [tokens.popleft(), tokens.popleft()]
    return _terms_of_one(" ".join(words), name.lower())


def _terms_of_one(shown: str, name: str) -> Terms:
    asked = [condition for condition, known in CONDITIONS.items() if _matches(name, known)]
    if not asked and not _matches(name, FREE):
        asked = [UNKNOWN]
    return {condition: frozenset({shown}) for condition in asked}


def _matches(name: str, known: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in known)
