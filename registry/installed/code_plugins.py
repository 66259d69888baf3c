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
from typing import Any, Literal, cast

import pluggy
from packaging.utils import canonicalize_name

from codenoise.core.base.errors import CodenoiseError, one_line
from codenoise.core.base.known import Known
from codenoise.core.diffusion.samplers import SAMPLERS, SamplingMethod
from codenoise.registry.contract import hooks
from codenoise.registry.contract.plugin import BrokenPlugin

Kind = Literal["architectures", "readers", "samplers", "sources", "weightings"]
SOURCES: Known[Sequence[str]] = Known("catalogue", {})
"""Catalogues of institutions, by name."""
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
    adds: Mapping[Kind, Mapping[str, Any]]


@dataclass(frozen=True)
class CodePlugins:
    """All code plugins that are installed."""

    plugins: tuple[CodePlugin, ...]
    broken: tuple[BrokenPlugin, ...]

    def of(self, kind: Kind) -> dict[str, Any]:
        """Everything of one kind that plugins add, by name."""
        return {name: v for plugin in self.plugins for name, v in plugin.adds.get(kind, {}).items()}


def known(kind: Kind) -> Known[Any]:
    """The register that holds things of a kind, imported when it is asked for."""
    match kind:
        case "architectures":
            from codenoise.core.diffusion.architectures import ARCHITECTURES

            return ARCHITECTURES
        case "readers":
            from codenoise.core.cohort.formats import READERS

            return READERS
        case "samplers":
            return SAMPLERS
        case "sources":
            return SOURCES
        case "weightings":
            from codenoise.core.ensemble.weights import WEIGHTINGS

            return WEIGHTINGS


def need(kind: Kind, name: str) -> None:
    """Make sure that core knows something by its name, loading code plugins if it has to be.

    Parameters
    ----------
    kind
        Of the thing.
    name
        What a manifest, a recipe or a setting names.

    Raises
    ------
    CodenoiseError
        If it is neither built in nor added by a plugin; the message names the broken plugins.
    """
    if name in known(kind).names:
        return
    broken = load_code_plugins().broken
    if name not in known(kind).names:
        skipped = "; ".join(f"{b.entry} of {b.where} was skipped: {b.reason}" for b in broken)
        raise CodenoiseError(
            f"{known(kind).unknown(name)}; {skipped or 'install the plugin that adds it'}"
        )


@cache
def load_code_plugins() -> CodePlugins:
    """Import every code plugin, once in a process, and register what they add.

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
            _register(adds, where)
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
) -> dict[Kind, dict[str, Any]]:
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
            cast("Kind", caller.name.removeprefix("codenoise_")): _checked(
                caller.name, implementation.function()
            )
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
        elif hook == "codenoise_samplers":
            if not isinstance(value, SamplingMethod):
                raise CodenoiseError(f"{hook}, {name!r}: expected SamplingMethod, not {value!r}")
        elif not callable(value):
            raise CodenoiseError(f"{hook}, {name!r}: {value!r} cannot be called")
    return dict(added)


def _register(adds: Mapping[Kind, Mapping[str, Any]], where: str) -> None:
    """Register what a plugin adds: all of it, or nothing if a name is taken."""
    things = [(known(kind), *thing) for kind, added in adds.items() for thing in added.items()]
    for register, name, thing in things:
        register.refuse_taken(name, thing, where)
    for register, name, thing in things:
        register.register(name, thing, where)


def _reason(problem: BaseException) -> str:
    told = (
        str(problem)
        if isinstance(problem, CodenoiseError)
        else (f"{type(problem).__name__}: {one_line(problem)}")
    )
    return f"{told}; upgrade it, or tell its author"
