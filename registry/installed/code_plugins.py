"""Code plugins: found by their entry points, and imported only when something needs them."""

from __future__ import annotations

import importlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

import pluggy
from packaging.utils import canonicalize_name

from codenoise.core.base.errors import CodenoiseError, one_line
from codenoise.core.ensemble.settings import BUILT_IN_SAMPLERS, BUILT_IN_WEIGHTINGS
from codenoise.registry.contract import hooks
from codenoise.registry.contract.plugin import BrokenPlugin

# Kind of thing to the table of core that holds the built-in ones, and takes those of plugins.
TABLES = {
    "architectures": "codenoise.core.diffusion.architectures:ARCHITECTURES",
    "weightings": "codenoise.core.ensemble.weights:WEIGHTINGS",
    "samplers": "codenoise.core.diffusion.samplers:STEPS",
    "readers": "codenoise.core.cohort.formats:READERS",
}
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_NAME = re.compile(r"[a-z0-9]+([+-]+[a-z0-9]+)*")
_ENDING = re.compile(r"(\.[a-z0-9]+)+")


@dataclass(frozen=True)
class CodePlugin:
    """A code plugin that could be loaded.

    Attributes
    ----------
    entry
        Name of its entry point.
    where
        Its distribution and version.
    adds
        Kind of thing (``architectures``, ``readers``, ...) to name to thing.
    """

    entry: str
    where: str
    adds: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class CodePlugins:
    """All code plugins that are installed."""

    plugins: tuple[CodePlugin, ...]
    broken: tuple[BrokenPlugin, ...]

    def of(self, kind: str) -> dict[str, Any]:
        """Everything of one kind that plugins add, by name."""
        return {name: v for plugin in self.plugins for name, v in plugin.adds.get(kind, {}).items()}


def need(kind: str, name: str) -> None:
    """Make sure that core knows something by its name, loading code plugins if it has to be.

    Parameters
    ----------
    kind
        Key of `TABLES`.
    name
        What a manifest, a recipe or a setting names.

    Raises
    ------
    CodenoiseError
        If it is neither built in nor added by a plugin; the message names the broken plugins.
    """
    if name in _known(kind):
        return
    broken = load_code_plugins().broken
    if name not in _known(kind):
        skipped = "; ".join(f"{b.entry} of {b.where} was skipped: {b.reason}" for b in broken)
        raise CodenoiseError(
            f"{kind.removesuffix('s')} {name!r} is unknown; known: "
            f"{', '.join(sorted(_known(kind)))}; {skipped or 'install the plugin that adds it'}"
        )


@cache
def load_code_plugins() -> CodePlugins:
    """Import every code plugin, once in a process, and put what they add into the tables of core.

    A plugin that is broken in any way adds nothing and is reported; all others work.

    Raises
    ------
    CodenoiseError
        Only where ``CODENOISE_STRICT=1`` is set: for the first broken plugin.
    """
    manager = pluggy.PluginManager(hooks.GROUP)
    manager.add_hookspecs(hooks)
    plugins: list[CodePlugin] = []
    broken: list[BrokenPlugin] = []
    for distribution, entry in _entries():
        where = f"{distribution.name} {distribution.version}"
        try:
            adds = _load(manager, entry, where)
            _register(adds, plugins)
        except (Exception, SystemExit) as problem:  # noqa: BLE001 (as it says above)
            remedy = f"pip uninstall {shlex.quote(distribution.name)}"
            broken.append(BrokenPlugin(entry.name, where, _reason(problem), remedy))
        else:
            plugins.append(CodePlugin(entry.name, where, adds))
    if broken and os.environ.get("CODENOISE_STRICT") == "1":
        raise CodenoiseError(
            f"code plugin {broken[0].entry!r} of {broken[0].where}: {broken[0].reason} "
            f"(CODENOISE_STRICT=1 makes this fatal)"
        )
    return CodePlugins(tuple(plugins), tuple(broken))


def _entries() -> Iterator[tuple[Distribution, EntryPoint]]:
    seen: set[str] = set()
    for distribution in distributions():
        try:
            entries = tuple(distribution.entry_points.select(group=hooks.GROUP))
            name = canonicalize_name(distribution.name) if entries else ""
        except Exception:  # noqa: BLE001, S112 (unreadable metadata, told of by `discover`)
            continue
        if entries and name not in seen:
            seen.add(name)  # the same distribution twice on the path counts once
            yield from ((distribution, entry) for entry in entries)


def _load(
    manager: pluggy.PluginManager, entry: EntryPoint, where: str
) -> dict[str, dict[str, Any]]:
    """Import a plugin and ask each of its hooks what it adds."""
    if not _MODULE.fullmatch(entry.value):
        raise CodenoiseError(f"its entry point {entry.value!r} should name a module")
    module = importlib.import_module(entry.value)
    try:
        manager.register(module, f"{where}: {entry.name}")
        manager.check_pending()
        callers = manager.get_hookcallers(module) or []
        if not callers:
            raise CodenoiseError(f"{entry.value} has no function marked with codenoise's hookimpl")
        return {
            caller.name.removeprefix("codenoise_"): _checked(caller.name, implementation.function())
            for caller in callers
            for implementation in caller.get_hookimpls()
            if implementation.plugin is module
        }
    except BaseException:
        if manager.is_registered(module):
            manager.unregister(module)
        raise


def _checked(hook: str, added: object) -> dict[str, Any]:
    """What a hook returned, if it is what its specification says."""
    if not isinstance(added, Mapping):
        raise CodenoiseError(f"{hook} returns {type(added).__name__}; expected names and values")
    pattern, form = (_ENDING, ".gct") if hook == "codenoise_readers" else (_NAME, "my-name")
    for name, value in added.items():
        if not isinstance(name, str) or not pattern.fullmatch(name):
            raise CodenoiseError(f"{hook} gives the name {name!r}; expected one like {form!r}")
        if hook == "codenoise_sources":
            listed = isinstance(value, Sequence) and not isinstance(value, str)
            if not listed or not all(isinstance(item, str) for item in value):
                raise CodenoiseError(
                    f"{hook}, {name!r}: expected a list of folders and repositories"
                )
        elif not callable(value):
            raise CodenoiseError(f"{hook}, {name!r}: {value!r} cannot be called")
    return dict(added)


def _register(adds: Mapping[str, Mapping[str, Any]], others: Sequence[CodePlugin]) -> None:
    """Put what a plugin adds into the tables of core: all of it, or nothing if a name is taken."""
    for kind, added in adds.items():
        for name, value in added.items():
            for other in others:
                if name in other.adds.get(kind, {}):
                    raise CodenoiseError(f"{kind}: {name!r} is also added by {other.where}")
            if _built_in(kind, name, value):
                raise CodenoiseError(f"{kind}: {name!r} is built in; a plugin cannot replace it")
    for kind, added in adds.items():
        if kind in TABLES:
            _table(kind).update(added)


def _built_in(kind: str, name: str, value: object) -> bool:
    if kind == "readers":
        from codenoise.core.cohort.formats import READ_ONLY, SUFFIXES

        return name.endswith((*SUFFIXES, *READ_ONLY))
    own = _table(kind).get(name, value) if kind in TABLES else value
    return own is not value or name in _reserved(kind)


def _known(kind: str) -> set[str]:
    return {*_table(kind), *_reserved(kind)}


def _reserved(kind: str) -> tuple[str, ...]:
    """Built-in names that stand in no table."""
    if kind == "samplers":
        return BUILT_IN_SAMPLERS
    if kind == "weightings":
        return BUILT_IN_WEIGHTINGS
    return ()


def _table(kind: str) -> dict[str, Any]:
    module, _, name = TABLES[kind].partition(":")
    table: dict[str, Any] = getattr(importlib.import_module(module), name)
    return table


def _reason(problem: BaseException) -> str:
    told = (
        str(problem)
        if isinstance(problem, CodenoiseError)
        else (f"{type(problem).__name__}: {one_line(problem)}")
    )
    return f"{told}; upgrade it, or tell its author"
