"""Host contexts for tests of single services: what a test does not give, the service must not touch."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

from daemon.runtime.clock import SystemClock
from daemon.runtime.conditions import Conditions
from daemon.runtime.context import HostContext
from daemon.runtime.outside import Outside
from daemon.runtime.rpc import Rpc
from daemon.state import ReplicatedState
from daemon.state.commands import Identity
from daemon.transfer.chunks import LoadLimits


class Untouched:
    """Stands for a part of the host that a test has not given."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        raise AssertionError(f"{self._name}.{attribute} is used")

    def __call__(self, *args: object, **kwargs: object) -> Any:
        raise AssertionError(f"{self._name} is called")


def context_of(state: ReplicatedState | None = None, **given: Any) -> HostContext:
    """The context of shard a; `state` is what it knows of the log."""
    state = state or ReplicatedState()
    numbers = itertools.count(1)

    def new_id() -> str:
        return f"id-{next(numbers)}"

    def soon(do: Callable[..., None], *args: Any) -> None:
        loop.call_soon_threadsafe(do, *args)

    loop = asyncio.get_running_loop()
    send = given.get("send", Untouched("send"))
    parts = {
        **{field.name: Untouched(field.name) for field in fields(HostContext)},
        "load_limits": LoadLimits(),
        "clock": SystemClock(),
        "new_id": new_id,
        "rpc": Rpc(send, new_id),
        "state": SimpleNamespace(identity=Identity("a", 1), registry=state.registry, programs=state.programs),
        "conditions": Conditions(),
        "soon": soon,
        "aside": Outside().aside,
        **given,
    }
    return HostContext(**parts)
