"""Leaves gracefully: other shards take over this one's partitions, then it leaves the view, then the cluster.

    drain   the log decides -> others fetch what they lack -> the leader forms a view without this shard
    leave   drained, and no longer a server of consensus: this shard is not coming back
    depart  at a signal: drains as long as that makes sense, and hands over leadership

A drain makes no sense if nobody can take over, and a running one may become pointless: when the whole rack is stopped,
each daemon first waits for the others, and none of them should do so until its time is up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from daemon.control.leader.view_policy import still_needed
from daemon.runtime.context import HostContext
from daemon.state.commands import Drain
from shoal.api.errors import Failed, Refused, ShoalError

log = logging.getLogger("shoal.drain")

Tell = Callable[[int, int], Awaitable[None]]
"""Called from time to time with how many partitions others have taken over, and of how many."""

TELL_SECONDS: Final = 1.0
LEADERLESS_SECONDS: Final = 2.0
"""After so long without a leader, no decision is likely soon: perhaps the others have left already."""
SEAT_SECONDS: Final = 5.0
HAND_OVER_SECONDS: Final = 3.0


@dataclass(frozen=True)
class Handed:
    """What a drain has moved."""

    partitions: int
    bytes: int
    seconds: float


class Departure:
    """Takes this shard out of the view, and back in."""

    def __init__(self, context: HostContext) -> None:
        self._context, self._state, self._me = context, context.state, context.me
        self._until = context.conditions.until

    @property
    def staying(self) -> list[str]:
        """The other members of the view that are alive and not leaving themselves."""
        registry, missing = self._state.registry, self._state.missing_members()
        if registry.view is None:
            return []
        going = {self._me, *missing, *registry.draining}
        return [name for name in registry.view.names if name not in going]

    @property
    def objection(self) -> str:
        """Returns why a drain makes no sense now, or an empty string."""
        if not self._state.in_view:
            return "this shard is not in the view and serves nothing"
        if not self.staying:
            return "no other member of the view remains that could take over this shard's partitions"
        if self._state.leader is None:
            return "there is no tick leader at the moment to decide this: does the cluster have a majority?"
        return ""

    async def drain(self, tell: Tell) -> Handed:
        """Returns once the view has formed without this shard. Raises `Refused` or `Failed`."""
        began, registry = self._context.clock.monotonic_ns(), self._state.registry
        if not self._state.in_view and self._me in registry.draining:
            return Handed(0, 0, 0.0)
        if self.objection:
            raise Refused(self.objection)
        total = self._served()
        sizes = await self._context.disk.do(lambda store: store.sizes())
        await self._decided(is_on=True)
        await self._until_out(total, tell)
        await tell(total, total)
        return Handed(total, sizes["slices"], (self._context.clock.monotonic_ns() - began) / 1e9)

    async def _until_out(self, total: int, tell: Tell) -> None:
        """Waits for a view without this shard. Raises `Failed` if there won't be one."""
        registry = self._state.registry

        def is_settled() -> bool:
            return not self._state.in_view or self._me not in registry.draining or not self.staying

        while not is_settled():
            await tell(max(0, total - still_needed(registry, self._me, self.staying)), total)
            await self._until(is_settled, TELL_SECONDS)
        if not self._state.in_view:
            return
        if self._me not in registry.draining:
            raise Failed("the drain was cancelled by `join`")
        raise Failed("no shard remains that could take over: the others are gone or draining, too")

    async def join(self, tell: Tell) -> None:
        """Rejoins the view. Raises `Refused`."""
        if self._me in self._state.registry.draining:
            await self._decided(is_on=False)
        elif not self._state.in_view:
            raise Refused("this shard is not drained: it joins by itself once the others admit it")
        while not self._state.in_view:
            await tell(0, 1)
            await self._until(lambda: self._state.in_view, TELL_SECONDS)

    async def give_up_seat(self) -> bool:
        """Stops being a server of consensus; returns whether that is confirmed. A removed server may never learn it."""
        self._context.orders.give_up_seat()
        return await self._until(lambda: not self._state.has_seat, SEAT_SECONDS)

    async def hand_over_leadership(self) -> None:
        """Waits until another shard leads; a drained leader resigns by itself."""
        await self._until(lambda: self._state.leader != self._me or not self.staying, HAND_OVER_SECONDS)

    def _served(self) -> int:
        placements = self._state.registry.placements.values()
        return sum(self._me in holders for placed in placements for holders in placed)

    async def _decided(self, *, is_on: bool) -> None:
        answer = await self._context.decide(Drain(self._me, is_on))
        if answer.error:
            raise Refused(answer.error)


async def depart(context: HostContext, patience: float, at_once: asyncio.Event, tell: Tell) -> None:
    """Drains before the end that a signal asks for, but not in vain and not for ever."""
    departure = Departure(context)
    if not context.state.in_view:
        return  # nobody relies on this shard
    if departure.objection:
        log.info("not drained: %s", departure.objection)
        return
    work = asyncio.ensure_future(departure.drain(tell))
    try:
        why = await _until_in_vain(context, departure, work, patience, at_once)
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
    context: HostContext,
    departure: Departure,
    work: asyncio.Future[Handed],
    patience: float,
    at_once: asyncio.Event,
) -> str:
    """Returns why waiting for the drain is pointless; empty once it has ended by itself."""
    vain: dict[str, Coroutine[Any, Any, object]] = {
        "there is no time for a drain": at_once.wait(),
        "no shard remains that could take over": context.conditions.until(lambda: not departure.staying),
        f"there has been no tick leader for {LEADERLESS_SECONDS:g} s": _until_leaderless(context),
    }
    whys = {asyncio.ensure_future(wait): why for why, wait in vain.items()}
    try:
        waits: list[asyncio.Future[Any]] = [work, *whys]
        done, _ = await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in whys:
            wait.cancel()
    if work in done:
        return ""
    too_long = f"it has taken {patience:g} s (cluster.drain_timeout)"
    return next((why for wait, why in whys.items() if wait in done), too_long)


async def _until_leaderless(context: HostContext) -> None:
    until, state = context.conditions.until, context.state
    while await until(lambda: state.leader is not None, LEADERLESS_SECONDS):
        await until(lambda: state.leader is None)
