"""Going on purpose: the others first take over what this shard serves, then it leaves the view, then the cluster.

    drain   the log says so -> others fetch what they lack -> the leader forms a view without this shard
    leave   drained, and no server of consensus any more: this shard is not coming back
    depart  what a signal asks for: drain, for as long as that makes sense, and hand over leadership

A drain that nobody can take over makes no sense, and one that was asked for may lose its sense: when the whole rack is
told to stop, each daemon waits for the others at first, and none of them must do so until its time is up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.control.leader.view_policy import still_needed
from daemon.state.commands import Drain
from shoal.api.errors import Failed, Refused, ShoalError

if TYPE_CHECKING:
    from daemon.runtime.loop import Runtime

log = logging.getLogger("shoal.departure")

Tell = Callable[[int, int], Awaitable[None]]
"""Is told now and then how many partitions others have taken over, and of how many."""

LOOK_SECONDS = 0.05
TELL_SECONDS = 1.0
LEADERLESS_SECONDS = 2.0
"""After so long without a leader nothing will be decided soon: perhaps the others have gone already."""
SEAT_SECONDS = 5.0
HAND_OVER_SECONDS = 3.0


@dataclass(frozen=True)
class Handed:
    """What a drain has moved."""

    partitions: int
    bytes: int
    seconds: float


class Departure:
    """This shard's way out of the view, and back in."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self._shard, self._me = runtime, runtime.shard, runtime.me.name

    @property
    def staying(self) -> list[str]:
        """The other members of the view that are well and not about to go themselves."""
        registry, missing = self._shard.registry, self._shard.missing_members()
        if registry.view is None:
            return []
        going = {self._me, *missing, *registry.draining}
        return [name for name in registry.view.names if name not in going]

    @property
    def objection(self) -> str:
        """Why a drain makes no sense now; empty if it does."""
        if not self._shard.in_view:
            return "this shard is in no view: it serves nothing"
        if not self.staying:
            return "no other member of the view stays that could take over what this shard holds"
        if self._shard.leader is None:
            return "there is no tick leader at the moment, who would have to decide it: has the cluster a majority?"
        return ""

    async def drain(self, tell: Tell) -> Handed:
        """Return once the view does without this shard. Raises `Refused` or `Failed`."""
        began, registry = time.monotonic(), self._shard.registry
        if not self._shard.in_view and self._me in registry.draining:
            return Handed(0, 0, 0.0)
        if self.objection:
            raise Refused(self.objection)
        total = self._served()
        sizes = await self._runtime.disk.do(lambda store: store.sizes())
        await self._decided(is_on=True)
        told = 0.0
        while self._shard.in_view:
            if self._me not in registry.draining:
                raise Failed("this shard was told to join again meanwhile")
            staying = self.staying
            if not staying:
                raise Failed("nobody stays that could take over: the others have gone, or are being drained, too")
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                await tell(max(0, total - still_needed(registry, self._me, staying)), total)
            await asyncio.sleep(LOOK_SECONDS)
        await tell(total, total)
        return Handed(total, sizes["slices"], time.monotonic() - began)

    async def join(self, tell: Tell) -> None:
        """Take part again. Raises `Refused`."""
        if self._me in self._shard.registry.draining:
            await self._decided(is_on=False)
        elif not self._shard.in_view:
            raise Refused("this shard was not drained: it joins by itself once the others let it in")
        told = 0.0
        while not self._shard.in_view:
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                await tell(0, 1)
            await asyncio.sleep(LOOK_SECONDS)

    async def give_up_seat(self) -> bool:
        """Be no server of consensus any more; whether that is known. Who was removed may not hear of it."""
        self._runtime.give_up_seat()
        until = time.monotonic() + SEAT_SECONDS
        while self._shard.has_seat and time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
        return not self._shard.has_seat

    async def hand_over_leadership(self) -> None:
        """Wait until another one leads; the shard sees to it when it is drained."""
        until = time.monotonic() + HAND_OVER_SECONDS
        while self._shard.leader == self._me and self.staying and time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)

    def _served(self) -> int:
        placements = self._shard.registry.placements.values()
        return sum(self._me in holders for placed in placements for holders in placed)

    async def _decided(self, *, is_on: bool) -> None:
        answer = await self._runtime.decide(Drain(uuid.uuid4().hex, self._me, is_on))
        if answer.error:
            raise Refused(answer.error)


async def depart(runtime: Runtime, patience: float, at_once: asyncio.Event, tell: Tell) -> None:
    """Before the end that a signal asks for: drain, but not in vain and not for ever."""
    departure = Departure(runtime)
    if not runtime.shard.in_view:
        return  # nobody counts on it
    if departure.objection:
        log.info("not drained: %s", departure.objection)
        return
    work = asyncio.ensure_future(departure.drain(tell))
    try:
        why = await _until_in_vain(departure, runtime, work, patience, at_once)
        if why:
            log.warning("not drained: %s", why)
            return
        handed = work.result()
        log.info("drained of %d partitions in %.1f s", handed.partitions, handed.seconds)
    except ShoalError as error:
        log.warning("not drained: %s", error)
        return
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError, ShoalError):
            await work
    await departure.hand_over_leadership()


async def _until_in_vain(
    departure: Departure, runtime: Runtime, work: asyncio.Future[Handed], patience: float, at_once: asyncio.Event
) -> str:
    """Why the drain is not waited for any more; empty if it has come to its own end."""
    began = led = time.monotonic()
    while not work.done():
        await asyncio.wait([work], timeout=LOOK_SECONDS)
        now = time.monotonic()
        led = now if runtime.shard.leader is not None else led
        if at_once.is_set():
            return "there is no time for it"
        if now - began >= patience:
            return f"it has taken {patience:g} s (cluster.drain_timeout)"
        if not departure.staying:
            return "nobody stays that could take over"
        if now - led >= LEADERLESS_SECONDS:
            return f"there has been no tick leader for {LEADERLESS_SECONDS:g} s"
    return ""
