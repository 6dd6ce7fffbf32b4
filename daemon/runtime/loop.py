"""The control plane's loop: receives messages, wakes the control plane in time, and carries out its effects in order.

What consensus persists is durable before the next effect is carried out (`effect_runner`). If the disk fails, the loop
sends nothing more but a goodbye: memory may be ahead of the disk. Everything else that a host does is up to services.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from consensus import Persist
from daemon.control import effects as fx
from daemon.control.plane import ControlPlane
from daemon.control.routing import is_of_membership
from daemon.membership import effects as swim
from daemon.observe.metrics import Metrics
from daemon.runtime.clock import Clock
from daemon.runtime.conditions import Conditions
from daemon.runtime.durable import Durable
from daemon.runtime.effect_runner import EffectRunner
from daemon.runtime.messenger import Messenger
from daemon.runtime.orders import OURSELVES
from daemon.runtime.questions import Questions
from daemon.runtime.rpc import Rpc
from daemon.runtime.service import Beat, Event, ServiceTables
from daemon.runtime.store_thread import StoreThread
from daemon.runtime.tasks import Tasks
from daemon.state.commands import Identity
from daemon.store import StoreFailed

BEAT_SECONDS: Final = 0.1


class NewLife(Exception):
    """This life has to end and another one to begin, for which the data folder is prepared; the text says why."""


class DiskReverted(NewLife):
    """The disk has lost durable data."""


class UnreadableLog(Exception):
    """The log contains an entry that this version can't read; the text says which, and what to do."""


class ControlLoop:
    """One daemon's loop. It calls `fatal` with an error that must end the process."""

    def __init__(
        self,
        plane: ControlPlane,
        durable: Durable,
        messenger: Messenger,
        questions: Questions,
        rpc: Rpc,
        conditions: Conditions,
        clock: Clock,
        metrics: Metrics,
        log_thread: StoreThread,
        tasks: Tasks,
        fatal: Callable[[BaseException], None],
        *,
        writes_on_loop: bool = True,
    ) -> None:
        """`writes_on_loop`: the loop may wait for the disk itself, where that is faster."""
        self._effects = EffectRunner(
            log_thread,
            self._carry_out,
            self._persisted,
            tasks.soon,
            self.broken,
            durable if writes_on_loop else None,
        )
        self._loop = asyncio.get_running_loop()
        self._plane, self._durable, self._messenger = plane, durable, messenger
        self._questions, self._rpc = questions, rpc
        self._conditions, self._clock, self._metrics, self._fatal = conditions, clock, metrics, fatal
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Handle | None = None
        """The handle of the turn that will check the deadline, once for all that happened in the turn before."""
        self._beat: asyncio.TimerHandle | None = None
        self._beats = 0
        self._closed = self._is_broken = False
        self._tables: ServiceTables

    # -- life ------------------------------------------------------------------------------------------------------

    def host(self, tables: ServiceTables) -> None:
        """Adopts these services, before the first message arrives."""
        self._tables = tables

    def start(self) -> None:
        """Starts the services and the timers."""
        for service in self._tables.services:
            service.start()
        self._wake()
        self._give_beat()

    @property
    def is_idle(self) -> bool:
        """Whether all of the control plane's effects have been carried out and written."""
        return self._effects.is_idle

    async def leave(self, patience: float) -> None:
        """Says goodbye, and gives the news a moment to spread."""
        effects = self._plane.leave(self._clock.monotonic_ns())
        for effect in filter(is_of_membership, effects):  # the goodbye goes out even if the disk has failed
            self._carry_out(effect)
        self.perform(effect for effect in effects if not is_of_membership(effect))
        self._look_at_time()
        await self._conditions.until(lambda: self._plane.membership.left, patience)

    def close(self) -> None:
        """Ends the services and the timers."""
        self._closed = True
        for timer in (self._timer, self._look, self._beat):
            if timer is not None:
                timer.cancel()
        for service in reversed(self._tables.services):
            service.stop()
        self._effects.stop()

    # -- turns -----------------------------------------------------------------------------------------------------

    def hear(self, sender: Identity, message: Any) -> None:
        """Takes a message that the codec has accepted."""
        service = self._tables.answering(message)
        if service is not None:
            self._questions.take(sender, message, service)
        elif type(message) in self._tables.replies:
            self._rpc.deliver(sender.name, message)
        else:
            self.perform(self._plane.step(sender, message, self._clock.monotonic_ns()))

    def tell(self, event: Event) -> None:
        """Tells the services about an event outside of the control plane."""
        if not self._closed:
            self._tables.tell(event)
            self._conditions.look()

    def perform(self, effects: Iterable[fx.Effect]) -> None:
        """Carries out the effects of a door of the control plane, in order; those behind a write once that is durable.

        An exception ends the daemon: otherwise an operator's command that caused it would report it as its own error.
        """
        if not self._is_broken:
            try:
                self._effects.run(effects)
            except Exception as error:
                self._fatal(error)
                raise
            self._look_at_time()
        self._conditions.look()

    def _persisted(self, persist: Persist) -> None:
        self.perform(self._plane.persisted(persist, self._clock.monotonic_ns()))

    def broken(self, error: BaseException) -> None:
        """Stops the effects, because the disk has failed or the log can't be followed, and ends the daemon."""
        self._is_broken = True
        self._effects.stop()
        self._fatal(error)

    def _wake(self) -> None:
        """Wakes the control plane if it is due; sets another timer if the deadline has moved."""
        self._timer = None
        deadline, now = self._plane.deadline, self._clock.monotonic_ns()
        if deadline is not None and deadline <= now:
            self.perform(self._plane.wake(now))
        else:
            self._look_at_time()

    def _look_at_time(self) -> None:
        if self._look is None and not self._closed:
            self._look = self._loop.call_soon(self._set_timer)

    def _set_timer(self) -> None:
        self._look = None
        deadline = self._plane.deadline
        if deadline is None or self._closed:
            return
        at = self._loop.time() + max(0.0, (deadline - self._clock.monotonic_ns()) / 1e9)
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._wake)

    def _give_beat(self) -> None:
        self._beats += 1
        self._plane.set_clock(self._clock.unix_ns() - self._clock.monotonic_ns())
        self.tell(Beat(self._beats))
        self._look_at_time()
        self._beat = self._loop.call_later(BEAT_SECONDS, self._give_beat)

    # -- carrying out ----------------------------------------------------------------------------------------------

    def _carry_out(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Send(to=to, message=message):
                self._messenger.send(to, message)
            case fx.SendToAddress(address=address, message=message, name=name):
                self._messenger.send_to_address(address, message, name)
            case Persist() | fx.KeepPromise() | fx.KeepVersion():
                raise AssertionError(f"{type(effect).__name__} is for the disk")
            case fx.Answered():
                self._rpc.deliver(OURSELVES, effect)
            case swim.Counted(name=name, amount=amount):
                self._metrics.count(name, (), amount)
                self._messenger.note(name, amount)
            case fx.LogUnreadable(why=why):
                self.broken(UnreadableLog(why))
            case fx.DiskWentBack(why=why):
                self._write(self._durable.renounce)
                why = (
                    f"this shard's disk has reverted to an earlier state: {why}. It has lost its vote, and rejoins as a"
                )
                self._begin_anew(DiskReverted(f"{why} new disk, with its graphs"))
            case swim.Superseded(by=by):
                self._write(lambda: self._durable.raise_generation(by.generation))
                why = f"a former life of this shard is remembered as generation {by.generation}, which is above this"
                self._begin_anew(NewLife(f"{why} life's; is this machine's clock correct?"))
            case _:
                self._tables.tell(effect)

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except StoreFailed as error:
            self.broken(error)

    def _begin_anew(self, reason: NewLife) -> None:
        """Begins another life, for which the data folder is prepared, unless preparing it has failed."""
        if not self._is_broken:
            self.broken(reason)
