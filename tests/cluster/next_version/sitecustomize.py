"""Turns the installed Shoal into the next version: put this folder first on Python's path.

It supports the next cluster version, and has something new on each plane: a field of a command that changes the
command's meaning, and an advisory field of what shards exchange in each phase. The rest is the installed code. With
`SHOAL_CARELESS` set, its authors have forgotten to declare the version: it writes the command's field at once, whatever
the cluster's version.
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
    """Makes the newest version the oldest."""
    version.OLDEST, version.NEWEST = version.NEWEST, version.NEWEST + 1  # type: ignore[attr-defined]


def new() -> int:
    """Returns the version that introduces the new fields."""
    from daemon.wire.version import NEWEST

    return NEWEST


def of_commands(commands: ModuleType) -> None:
    """Adds a reason to `DropGraph`."""
    _add(commands, "DropGraph", "reason", str if IS_CARELESS else Annotated[str, Since(new())], "")


def of_lockstep(messages: ModuleType) -> None:
    """Adds the time of creation to `PhaseDone`."""
    made_ns = Annotated[Number, Since(new(), is_advisory=True)]
    _add(messages, "PhaseDone", "made_ns", made_ns, msgspec.field(default_factory=time.monotonic_ns))


def of_handlers(handlers: ModuleType) -> None:
    """Makes `graph drop` give a reason."""
    handlers.DropGraph = functools.partial(handlers.DropGraph, reason="not needed any more")  # type: ignore[attr-defined]


def _add(module: ModuleType, name: str, field: str, kind: Any, default: Any) -> None:
    """Adds a field to a struct, by its name and in the tables of its module."""
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
    """Changes a module right after it is executed, before anything else imports from it."""

    def __init__(self, loader: Loader, change: Callable[[ModuleType], None]) -> None:
        self._loader, self._change = loader, change

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Creates the module as usual."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Executes the module and changes it."""
        self._loader.exec_module(module)
        self._change(module)


class Finder(MetaPathFinder):
    """Finds the modules to be changed in their usual places."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Finds only those modules."""
        found = PathFinder.find_spec(name, path, target) if name in CHANGES else None
        if found is not None and found.loader is not None:
            found.loader = Changing(cast(Any, found.loader), CHANGES[name])
        return found


sys.meta_path.insert(0, Finder())
