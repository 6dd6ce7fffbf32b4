"""An asyncio loop in the world's virtual time: the tasks, timers and threads of one life of a simulated host.

Each life has its own loop. All loops take turns from the queue of one `World`, so a whole cluster runs on one thread,
nothing ever blocks, and the seed determines the order of everything. Work for other threads (`run_in_executor`,
`asyncio.to_thread`) runs on the same thread, after a delay drawn from the seed.

    block   the loop waits for a disk that has stalled: nothing else of it happens before that has answered
    pause   the whole process stands still; what arrives meanwhile is read first when it goes on, as a real loop does
    kill    the process is gone: nothing of it happens any more, and what its tasks do in their `finally` reaches nobody

As in asyncio, callbacks scheduled with `call_soon` run in order, and a callback that fails goes to the exception
handler, which here ends the scenario.
"""

from __future__ import annotations

import asyncio
import inspect
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import Context
from functools import partial
from random import Random
from typing import Any, TypeVar

from tests.simulator.world import US, World

T = TypeVar("T")

THREAD_NS = (20 * US, 1_000 * US)
"""How long a hand-over to another thread, or back, may take."""


class Life:
    """One life of a process: its actions are dropped once it is over, and wait while it is paused."""

    def __init__(self, world: World, random: Random) -> None:
        self.world, self.random = world, random
        self.is_over = False
        self.paused_until = 0
        self._inbox: list[Callable[[], None]] = []
        self._missed: list[Callable[[], None]] = []

    @property
    def is_paused(self) -> bool:
        return self.world.now < self.paused_until

    def after(self, delay: int, action: Callable[[], None]) -> None:
        """Runs an action after a delay; later if the process is paused then."""
        self.world.after(delay, partial(self._act, action))

    def _act(self, action: Callable[[], None]) -> None:
        if self.is_over:
            return
        if self.is_paused:
            self._missed.append(action)
        else:
            action()

    def receive(self, action: Callable[[], None]) -> None:
        """Handles something that arrived from outside."""
        if self.is_over:
            return
        if self.is_paused:
            self._inbox.append(action)
        else:
            action()

    def pause(self, duration: int) -> None:
        """Pauses for a while; incoming messages wait."""
        self.paused_until = max(self.paused_until, self.world.now + duration)
        self.world.at(self.paused_until, self._resume)

    def _resume(self) -> None:
        """Handles what has arrived before it looks at the time: silence during its own pause must convict nobody."""
        if self.is_over or self.is_paused:
            return
        inbox, self._inbox, missed, self._missed = self._inbox, [], self._missed, []
        for action in (*inbox, *missed):
            if not self.is_over:
                action()

    def hand_over_ns(self) -> int:
        """Returns how long this hand-over between threads takes."""
        return self.random.randint(*THREAD_NS)


class VirtualLoop(asyncio.AbstractEventLoop):
    """The loop of one life."""

    def __init__(self, life: Life) -> None:
        self.life, self._world = life, life.world
        self._ready: deque[asyncio.Handle] = deque()
        self._is_turning = self._turn_is_due = False
        self._is_blocked = False
        self._handed_over_at = 0

    # -- the simulator's side --------------------------------------------------------------------------------------

    def block(self) -> None:
        """Blocks the loop, which waits for something outside."""
        self._is_blocked = True

    def unblock(self) -> None:
        """Ends the block."""
        if self._is_blocked:
            self._is_blocked = False
            self._turn_soon()

    def call(self, callback: Callable[..., object], *args: Any) -> None:
        """Calls it from outside the loop, as if a descriptor had become readable."""
        self._ready.append(asyncio.Handle(callback, args, self))
        self._turn()

    def kill(self) -> None:
        """Ends everything. Closes tasks here, in order, and not when the garbage collector runs."""
        self.life.is_over = True
        self._ready.clear()
        mine = sorted(asyncio.all_tasks(self), key=lambda task: int(task.get_name().rpartition("-")[2]))
        events._set_running_loop(self)
        try:
            for task in mine:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _close(task.get_coro())
        finally:
            events._set_running_loop(None)

    def _turn(self) -> None:
        """Calls what is ready."""
        if self._is_turning or self._turn_is_due or self._is_blocked:
            return
        self._is_turning = True
        events._set_running_loop(self)
        try:
            for _ in range(len(self._ready)):
                if not self._ready or self._is_blocked:
                    break
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            events._set_running_loop(None)
            self._is_turning = False
        self._turn_soon()

    def _turn_soon(self) -> None:
        if self._ready and not (self._is_turning or self._turn_is_due or self._is_blocked):
            self._turn_is_due = True
            self.life.after(0, self._due)

    def _due(self) -> None:
        self._turn_is_due = False
        self._turn()

    # -- asyncio's side --------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._world.now / 1e9

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._is_turning

    def is_closed(self) -> bool:
        return self.life.is_over

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self.life.is_over:
            self._ready.append(handle)
            self._turn_soon()
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedules a call from a simulated thread: it takes a moment, and calls stay in order."""
        handle = asyncio.Handle(callback, args, self, context)
        if not self.life.is_over:
            self._handed_over_at = max(self._handed_over_at, self._world.now + self.life.hand_over_ns())
            self.life.after(self._handed_over_at - self._world.now, partial(self._ripe, handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self.life.after(max(0, round(when * 1e9) - self._world.now), partial(self._ripe, handle))
        return handle

    def _ripe(self, handle: asyncio.Handle) -> None:
        if not handle.cancelled():
            self._ready.append(handle)
            self._turn()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Does nothing: a cancelled timer is skipped when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        return asyncio.Task(coro, loop=self, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Completes after a while, atomically for all others, as if on another thread."""
        answer: asyncio.Future[T] = self.create_future()

        def work() -> None:
            try:
                result = func(*args)
            except Exception as error:
                self.call_soon_threadsafe(_settle, answer, None, error)
            else:
                self.call_soon_threadsafe(_settle, answer, result, None)

        self.life.after(self.life.hand_over_ns(), work)
        return answer

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A callback has failed, which ends the scenario. Tasks' unretrieved exceptions are only logged."""
        error = context.get("exception")
        if "handle" in context and error is not None:
            raise error


def _close(coroutine: Any) -> None:
    """Closes it with the arguments that it has not begun to await."""
    if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        for value in coroutine.cr_frame.f_locals.values():
            if inspect.iscoroutine(value):
                value.close()
    with suppress(RuntimeError):  # it awaits something in its `finally`, which never comes
        coroutine.close()


def _settle(answer: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)
