"""Signals reach whoever has to bound the end, also while the event loop is stuck in something."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

from daemon.runtime.signals import Signals

PATIENCE = 10.0


def test_a_signal_is_heard_at_once_while_the_loop_does_not_turn_and_by_the_loop_once_it_does() -> None:
    at_once, heard = threading.Event(), list[int]()

    async def run() -> None:
        taken = asyncio.Event()

        def take() -> None:
            heard.append(signal.SIGUSR1)
            taken.set()

        def first(number: int) -> None:
            assert number == signal.SIGUSR1
            at_once.set()

        with Signals(asyncio.get_running_loop(), {signal.SIGUSR1: take}, first):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert at_once.wait(PATIENCE), "the loop stands still here, as it does while a disk does not answer"
            assert not heard
            async with asyncio.timeout(PATIENCE):
                await taken.wait()

    before = signal.getsignal(signal.SIGUSR1)
    asyncio.run(run())
    assert heard == [signal.SIGUSR1]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_handler_can_be_exchanged() -> None:
    heard: list[str] = []

    async def run() -> None:
        taken = asyncio.Event()

        def take() -> None:
            heard.append("second")
            taken.set()

        with Signals(asyncio.get_running_loop(), {signal.SIGUSR1: lambda: heard.append("first")}, lambda _: None) as s:
            s.handle(signal.SIGUSR1, take)
            os.kill(os.getpid(), signal.SIGUSR1)
            async with asyncio.timeout(PATIENCE):
                await taken.wait()

    asyncio.run(run())
    assert heard == ["second"]
