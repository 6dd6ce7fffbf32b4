"""The control loop, where it is not what carries out effects: what breaks over them, and who hears of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from daemon.control.effects import KeptOut
from daemon.runtime.clock import SystemClock
from daemon.runtime.conditions import Conditions
from daemon.runtime.loop import ControlLoop
from tests.daemon.services.contexts import Untouched


def test_an_effect_that_breaks_ends_the_daemon_whoever_has_asked() -> None:
    async def work() -> None:
        broken, ends = ValueError("a service that breaks"), list[BaseException]()

        def tell(_: object) -> None:
            raise broken

        parts: dict[str, Any] = {name: Untouched(name) for name in ("durable", "messenger", "questions", "rpc")}
        parts |= {name: Untouched(name) for name in ("plane", "metrics", "log_thread")}
        loop = ControlLoop(
            **parts,
            conditions=Conditions(),
            clock=SystemClock(),
            tasks=SimpleNamespace(soon=Untouched("soon")),  # type: ignore[arg-type]
            fatal=ends.append,
        )
        loop.host(SimpleNamespace(tell=tell))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="breaks"):
            loop.perform([KeptOut("a", "why")])
        assert ends == [broken]

    asyncio.run(work())
