"""Fetching what a shard should have from those who have it, and giving it to those who ask.

    asker  PartitionRequest, StatesRequest --(control plane)--> holder: reads its disk, ships it --> asker: PieceBuilt
                                              or PartitionMissing, if it is not there

A question is asked again, ever more rarely, until its shipment is offered, and the next source is asked when one stays
silent: when nothing of it comes for a while, however long all of it takes. What comes is believed no more than anything
else on the wire: it is checked where it is built.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import msgpack

from daemon.runtime.disk import Disk
from daemon.runtime.tick_thread import TickThread
from daemon.services.graphs.messages import PartitionMissing, PartitionRequest, StatesRequest
from daemon.state.commands import from_bits, to_bits
from daemon.store import NotHeld, StateRecord, Store
from daemon.transfer.chunks import LoadLimits, PieceArrived, Shipment
from shoal.graph.partitions import PartitionSet
from shoal.lockstep.messages import PieceBuilt

log = logging.getLogger("shoal.fetching")

ASK_AGAIN_SECONDS, ASK_AGAIN_SECONDS_MAX = 1.0, 4.0
LOOK_SECONDS = 0.5
SILENCE_SECONDS = 10.0
STATES_MAX = 1024
"""Of the states that are asked for at once."""
NONSENSE = (ValueError, TypeError, KeyError, msgpack.UnpackException)
"""What reading a peer's bytes as something that they are not can raise."""
TABLE = -1
"""Asked for in a partition's stead: the partition table of a load."""

Wanted: TypeAlias = PartitionRequest | StatesRequest


class NotFetched(Exception):
    """Nobody who was asked has sent it."""


@dataclass(frozen=True)
class Fetched:
    """What came: a short header, then frames: of a slice or a table, and after these of states, one each."""

    spec: bytes
    states: Sequence[Sequence[int]]
    """Of each state: run, tick, partition and the epoch in which it was made."""
    all_frames: Sequence[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of all frames."""
        return sum(memoryview(frame).nbytes for frame in self.all_frames)

    @property
    def frames(self) -> Sequence[Any]:
        """Those of the slice or the table."""
        return self.all_frames[: len(self.all_frames) - len(self.states)]

    def table(self) -> tuple[bytes, Any]:
        """A load's header and the frame of its partition table. Raises one of `NONSENSE`."""
        _, header = msgpack.unpackb(self.spec)
        if type(header) is not bytes or len(self.frames) != 1:
            raise ValueError("a partition table was asked for, something else came")
        return header, self.frames[0]

    def slice(self, partition: int, table: Any) -> PartitionSet:
        """The partition that was asked for, checked. Raises one of `NONSENSE`, or `BadGraph`."""
        slices = PartitionSet.from_wire(msgpack.unpackb(self.spec), self.frames, table)
        if slices.partitions != (partition,):
            raise ValueError(f"partition {partition} was asked for, {slices.partitions} came")
        return slices

    def records(self) -> list[StateRecord]:
        """The states, as they are to be kept: beside any that are there."""
        frames = self.all_frames[len(self.frames) :]
        return [
            StateRecord(run, tick, 0, {partition: frame}, epoch=epoch)
            for (run, tick, partition, epoch), frame in zip(self.states, frames, strict=True)
        ]


class Fetching:
    """Both sides. `send` hands a message to a member's control plane; `runs_on` names the runs whose states belong to
    a load."""

    def __init__(
        self,
        me: str,
        disk: Disk,
        ticks: TickThread,
        limits: LoadLimits,
        send: Callable[[str, object], None],
        runs_on: Callable[[str], Collection[int]],
    ) -> None:
        self._me, self._disk, self._ticks, self._limits = me, disk, ticks, limits
        self._send, self._runs_on = send, runs_on
        self._waiting: dict[str, asyncio.Future[PieceArrived | None]] = {}
        self._giving: set[tuple[str, str]] = set()

    # -- asking ----------------------------------------------------------------------------------------------------

    async def fetch(self, sources: Sequence[str], load: str, partition: int) -> Fetched:
        """Fetch a partition (or the `TABLE`) from the first source that sends it. Raises `NotFetched`."""
        for source in sources:
            fetched = await self._ask(source, PartitionRequest(self._name(), load, partition))
            if fetched is not None:
                return fetched
        raise NotFetched(f"partition {partition} of load {load}: none of {', '.join(sources)} has sent it")

    async def states_from(
        self, sources: Iterable[str], run: int, tick: int, partitions: Iterable[int], made_in: int | None = None
    ) -> dict[int, Any]:
        """Those of the states of a run's tick that the sources have; each is asked for what those before it lack.

        With `made_in`, only those that were made in that epoch.
        """
        found: dict[int, Any] = {}
        wanted = sorted(partitions)
        for source in sources:
            for first in range(0, len(wanted), STATES_MAX):
                found |= await self._states_of(source, run, tick, wanted[first : first + STATES_MAX], made_in)
            wanted = [partition for partition in wanted if partition not in found]
            if not wanted:
                break
        return found

    async def _states_of(
        self, source: str, run: int, tick: int, partitions: Sequence[int], made_in: int | None
    ) -> dict[int, Any]:
        fetched = await self._ask(source, StatesRequest(self._name(), run, tick, to_bits(partitions)))
        if fetched is None:
            return {}
        came = {partition: (number, at) for number, at, partition, _ in fetched.states}
        if fetched.frames or set(came.values()) != {(run, tick)} or not came.keys() <= set(partitions):
            log.warning("%s has sent other states than those of run %d, tick %d", source, run, tick)
            return {}
        return {
            partition: frame
            for (_, _, partition, epoch), frame in zip(fetched.states, fetched.all_frames, strict=True)
            if made_in in (None, epoch)
        }

    def arrived(self, piece: PieceArrived) -> bool:
        """A shipment is whole; whether it is one that was asked for here."""
        waiting = self._waiting.get(piece.load)
        if waiting is None:
            return False
        if not waiting.done():
            waiting.set_result(piece)
        return True

    def missing(self, fetch: str) -> None:
        """Who was asked does not have it."""
        waiting = self._waiting.get(fetch)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _name(self) -> str:
        return f"fetch/{self._me}/{uuid.uuid4().hex}"

    async def _ask(self, source: str, wanted: Wanted) -> Fetched | None:
        """Ask one source; None if it has not what is wanted, or is silent."""
        waiting: asyncio.Future[PieceArrived | None] = asyncio.get_running_loop().create_future()
        self._waiting[wanted.request] = waiting
        try:
            if await self._until_told(source, wanted, waiting):
                return _read(source, waiting.result())
            log.warning("%s has not sent %s", source, wanted)
            return None
        finally:
            del self._waiting[wanted.request]
            answer = PieceBuilt(wanted.request, "", 0, 0, 0, 0, 0)
            self._ticks.order(partial(self._ticks.fetched, answer))

    async def _until_told(self, source: str, wanted: Wanted, waiting: asyncio.Future[PieceArrived | None]) -> bool:
        """Ask, again until something comes, and then wait as long as more does; whether the answer is there."""
        moved, ask_at, patience, here = time.monotonic(), 0.0, ASK_AGAIN_SECONDS, None
        while (now := time.monotonic()) < moved + SILENCE_SECONDS:
            before, here = here, self._ticks.arriving(wanted.request)
            if here != before:
                moved = now
            if here is None and now >= ask_at:
                self._send(source, wanted)
                ask_at, patience = now + patience, min(2 * patience, ASK_AGAIN_SECONDS_MAX)
            done, _ = await asyncio.wait([waiting], timeout=LOOK_SECONDS)
            if done:
                return True
        return False

    # -- giving ----------------------------------------------------------------------------------------------------

    async def give(self, to: str, wanted: Wanted) -> None:
        """Ship what a member has asked for; again only once the former shipment has come to its end."""
        key = (to, wanted.request)
        if key in self._giving or self._ticks.is_shipping(wanted.request, to):
            return
        self._giving.add(key)
        if isinstance(wanted, StatesRequest):
            look = partial(_look_up_states, wanted)
        else:
            look = partial(_look_up, wanted, sorted(self._runs_on(wanted.load)))
        try:
            header, frames = await self._disk.do(look)
        except NotHeld as missing:
            log.debug("%s asks for what is not here: %s", to, missing)
            self._send(to, PartitionMissing(wanted.request))
            return
        finally:
            self._giving.discard(key)
        shipment = Shipment(wanted.request, to, msgpack.packb(header), frames, self._limits)
        self._ticks.order(partial(self._ticks.ship_once, shipment))


# On the store's thread: what was asked for, as header and frames.


def _look_up(wanted: PartitionRequest, runs: Sequence[int], store: Store) -> tuple[dict[str, Any], list[Any]]:
    if wanted.partition == TABLE:
        graph, table, header = store.graph(wanted.load)
        return {"spec": msgpack.packb([graph, header]), "states": []}, [table]
    spec, frames = store.slice(wanted.load, wanted.partition)
    held = [(run, tick, wanted.partition) for run in runs for tick in store.state_ticks(run, wanted.partition)]
    states, more = _stamped(store, held)
    return {"spec": spec, "states": states}, [*frames, *more]


def _look_up_states(wanted: StatesRequest, store: Store) -> tuple[dict[str, Any], list[Any]]:
    run, tick = wanted.run, wanted.tick
    asked = sorted(from_bits(wanted.partitions))[:STATES_MAX]
    states, frames = _stamped(store, [(run, tick, partition) for partition in asked])
    if not states:
        raise NotHeld(f"any state of run {run}, tick {tick}")
    return {"spec": b"", "states": states}, frames


def _stamped(store: Store, wanted: Iterable[tuple[int, int, int]]) -> tuple[list[tuple[int, ...]], list[bytes]]:
    """Of those states that are here: run, tick, partition and epoch; and their bytes."""
    found = [(each, stamped) for each in wanted if (stamped := store.stamped_state(*each)) is not None]
    return [(*each, epoch) for each, (epoch, _) in found], [state for _, (_, state) in found]


def _read(source: str, piece: PieceArrived | None) -> Fetched | None:
    """What has come, if it can be told apart; it is believed no further."""
    if piece is None:
        return None
    try:
        header = msgpack.unpackb(piece.spec)
        if not isinstance(header, dict) or type(header["spec"]) is not bytes or type(header["states"]) is not list:
            raise ValueError("it has no header")
        for state in header["states"]:
            if type(state) is not list or [type(number) for number in state] != [int] * 4 or min(state) < 0:
                raise ValueError("it does not say which states there are")
        if len(header["states"]) > len(piece.frames):
            raise ValueError("there are more states than frames")
    except NONSENSE as error:
        log.warning("%s has sent what makes no sense: %s", source, error)
        return None
    return Fetched(header["spec"], header["states"], piece.frames)
