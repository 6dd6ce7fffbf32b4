"""Fetching what a shard should have from those who have it, and giving it to those who ask.

    asker  PartitionWanted --(control plane)--> holder: reads its disk, ships it on the tick plane --> asker: PieceBuilt
                                                or PartitionMissing, if it is not there

A question is asked again until its shipment is offered, and the next source is asked when one stays silent. What comes
is believed no more than anything else on the wire: it is checked where it is built.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgpack

from daemon.host.disk import Disk
from daemon.host.tick_thread import TickThread
from daemon.protocol.cluster_messages import PartitionMissing, PartitionWanted
from daemon.protocol.decisions import from_bits, to_bits
from daemon.protocol.load import LoadLimits, PieceArrived, Shipment
from daemon.protocol.tick_messages import PieceBuilt
from daemon.store import NotHeld, Store

log = logging.getLogger("shoal.fetching")

ASK_AGAIN_SECONDS = 1.0
SILENCE_SECONDS = 10.0
STATES_MAX = 1024
"""Of the states that are asked for at once."""
TABLE = -1
"""Asked for in a partition's stead: the partition table of a load."""


class NotFetched(Exception):
    """Nobody who was asked has sent it."""


@dataclass(frozen=True)
class Fetched:
    """What came: a short header and frames."""

    header: dict[str, Any]
    frames: Sequence[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of all frames."""
        return sum(memoryview(frame).nbytes for frame in self.frames)


class Fetching:
    """Both sides. `send` hands a message to a member's control plane."""

    def __init__(
        self, me: str, disk: Disk, ticks: TickThread, limits: LoadLimits, send: Callable[[str, object], None]
    ) -> None:
        self._me, self._disk, self._ticks, self._limits, self._send = me, disk, ticks, limits, send
        self._waiting: dict[str, asyncio.Future[PieceArrived | None]] = {}
        self._giving: set[tuple[str, str]] = set()

    # -- asking ----------------------------------------------------------------------------------------------------

    async def fetch(self, sources: Sequence[str], load: str, partition: int, run: int = 0, tick: int = 0) -> Fetched:
        """Fetch a partition from the first source that sends it. Raises `NotFetched`."""
        for source in sources:
            arrived = await self._ask(source, load, partition, run, tick)
            if arrived is not None:
                try:
                    return _read(arrived)
                except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
                    log.warning(
                        "%s has sent partition %d of %s, and it makes no sense: %s", source, partition, load, error
                    )
        raise NotFetched(f"partition {partition} of load {load}: none of {', '.join(sources)} has sent it")

    async def fetch_states(
        self, source: str, load: str, run: int, tick: int, partitions: Collection[int]
    ) -> dict[int, Any]:
        """Those of the states of a run's tick that a source has, all read at one moment: a run moves on quickly."""
        arrived = await self._ask(source, load, min(partitions), run, tick, to_bits(partitions))
        if arrived is None:
            return {}
        try:
            came = _read(arrived)
            sent = came.header["partitions"]
            if type(sent) is not list or len(sent) != len(came.frames) or not set(sent) <= set(partitions):
                raise ValueError("it does not say of which partitions it is")
        except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
            log.warning("%s has sent states of run %d, and they make no sense: %s", source, run, error)
            return {}
        return dict(zip(sent, came.frames, strict=True))

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

    async def _ask(
        self, source: str, load: str, partition: int, run: int, tick: int, partitions: bytes = b""
    ) -> PieceArrived | None:
        fetch = f"fetch/{self._me}/{uuid.uuid4().hex}"
        waiting: asyncio.Future[PieceArrived | None] = asyncio.get_running_loop().create_future()
        self._waiting[fetch] = waiting
        try:
            for _ in range(int(SILENCE_SECONDS / ASK_AGAIN_SECONDS)):
                self._send(source, PartitionWanted(fetch, load, partition, run, tick, partitions))
                done, _ = await asyncio.wait([waiting], timeout=ASK_AGAIN_SECONDS)
                if done:
                    return waiting.result()
            log.warning("%s has not sent partition %d of load %s", source, partition, load)
            return None
        finally:
            del self._waiting[fetch]
            answer = PieceBuilt(fetch, "", 0, 0, 0, 0, 0)
            self._ticks.order(partial(self._ticks.fetched, answer))

    # -- giving ----------------------------------------------------------------------------------------------------

    async def give(self, to: str, wanted: PartitionWanted) -> None:
        """Ship what a member has asked for; again only once the former shipment has come to its end."""
        key = (to, wanted.fetch)
        if key in self._giving or self._ticks.is_shipping(wanted.fetch, to):
            return
        self._giving.add(key)
        try:
            header, frames = await self._disk.do(partial(_look_up, wanted))
        except NotHeld as missing:
            log.debug("%s asks for what is not here: %s", to, missing)
            self._send(to, PartitionMissing(wanted.fetch))
            return
        finally:
            self._giving.discard(key)
        shipment = Shipment(wanted.fetch, to, msgpack.packb(header), frames, self._limits)
        self._ticks.order(partial(self._ticks.ship_once, shipment))


def _look_up(wanted: PartitionWanted, store: Store) -> tuple[dict[str, Any], list[Any]]:
    """On the store's thread: what was asked for, as header and frames."""
    if wanted.run and wanted.partitions:
        asked = sorted(from_bits(wanted.partitions))[:STATES_MAX]
        found = [(p, state) for p in asked if (state := store.state(wanted.run, wanted.tick, p)) is not None]
        if not found:
            raise NotHeld(f"any state of run {wanted.run}, tick {wanted.tick}")
        ticks = [[wanted.run, wanted.tick]] * len(found)
        return {"spec": b"", "states": ticks, "partitions": [p for p, _ in found]}, [state for _, state in found]
    if wanted.run:
        state = store.state(wanted.run, wanted.tick, wanted.partition)
        if state is None:
            raise NotHeld(f"the state of run {wanted.run}, tick {wanted.tick}, partition {wanted.partition}")
        return {"spec": b"", "states": [[wanted.run, wanted.tick]]}, [state]
    if wanted.partition == TABLE:
        graph, table, header = store.graph(wanted.load)
        return {"spec": msgpack.packb([graph, header]), "states": []}, [table]
    spec, frames = store.slice(wanted.load, wanted.partition)
    states = [
        (run, tick) for run, ticks in store.states_held().items() for tick in ticks if wanted.partition in ticks[tick]
    ]
    kept = [(run, tick, store.state(run, tick, wanted.partition)) for run, tick in states]
    kept = [each for each in kept if each[2] is not None]
    return {"spec": spec, "states": [[run, tick] for run, tick, _ in kept]}, [*frames, *(state for _, _, state in kept)]


def _read(piece: PieceArrived) -> Fetched:
    header = msgpack.unpackb(piece.spec)
    if not isinstance(header, dict) or type(header["spec"]) is not bytes or type(header["states"]) is not list:
        raise ValueError("it has no header")
    for state in header["states"]:
        if type(state) is not list or [type(number) for number in state] != [int, int] or min(state) < 0:
            raise ValueError("it does not say which states there are")
    if len(header["states"]) > len(piece.frames):
        raise ValueError("there are more states than frames")
    return Fetched(header, piece.frames)
