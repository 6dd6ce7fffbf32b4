"""Makes the next version of whatever Shoal is installed: with this folder first on its path, Python starts as that.

It can be at a cluster version more, and has something new on each plane: a field of a command, without which the
command would mean something else, and an advisory one of what shards exchange in each phase. The rest is the very code
that is installed. With `SHOAL_CARELESS` set, its authors have forgotten to say since when: it writes the field of the
command at once, whatever the cluster's version.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Annotated, Any, Final, cast

import msgspec

from shoal.api.struct import Number, Since

IS_CARELESS: Final = "SHOAL_CARELESS" in os.environ


def of_versions(version: ModuleType) -> None:
    """The version that was the newest is the oldest now."""
    version.OLDEST, version.NEWEST = version.NEWEST, version.NEWEST + 1  # type: ignore[attr-defined]


def new() -> int:
    """The version since which there is what is new."""
    from daemon.wire.version import NEWEST

    return NEWEST


def of_commands(commands: ModuleType) -> None:
    """`DropGraph` gets a reason."""
    _add(commands, "DropGraph", "reason", str if IS_CARELESS else Annotated[str, Since(new())], "")


def of_lockstep(messages: ModuleType) -> None:
    """`PhaseDone` says when it was made."""
    made_ns = Annotated[Number, Since(new(), is_advisory=True)]
    _add(messages, "PhaseDone", "made_ns", made_ns, msgspec.field(default_factory=time.monotonic_ns))


def of_handlers(handlers: ModuleType) -> None:
    """Graphs are dropped with a reason."""
    handlers.DropGraph = functools.partial(handlers.DropGraph, reason="not needed any more")  # type: ignore[attr-defined]


def _add(module: ModuleType, name: str, field: str, kind: Any, default: Any) -> None:
    """To a struct, by its name and in the tables of its module."""
    older = getattr(module, name)
    newer = msgspec.defstruct(name, [(field, kind, default)], bases=(older,), module=older.__module__)
    setattr(module, name, newer)
    for table in vars(module).values():
        if isinstance(table, dict):
            table.update({key: newer for key, kind in table.items() if kind is older})


CHANGES: Final[dict[str, Callable[[ModuleType], None]]] = {"daemon.state.commands": of_commands}
if not IS_CARELESS:
    CHANGES["daemon.wire.version"] = of_versions
    CHANGES.update({"shoal.lockstep.messages": of_lockstep, "daemon.services.graphs.commands": of_handlers})


class Changing(Loader):
    """Changes a module as soon as it has been executed, before anybody else imports from it."""

    def __init__(self, loader: Loader, change: Callable[[ModuleType], None]) -> None:
        self._loader, self._change = loader, change

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As ever."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """And change it."""
        self._loader.exec_module(module)
        self._change(module)


class Finder(MetaPathFinder):
    """Finds the modules that are to be changed where they are."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Only of those."""
        found = PathFinder.find_spec(name, path, target) if name in CHANGES else None
        if found is not None and found.loader is not None:
            found.loader = Changing(cast(Any, found.loader), CHANGES[name])
        return found


sys.meta_path.insert(0, Finder())
