"""Fetches what this shard should hold from its holders, and ships what other shards ask for.

    asker  PartitionRequest, StatesRequest --(control plane)--> holder: reads its disk, ships it --> asker: PieceBuilt
                                              or PartitionMissing, if it does not hold it

A question is repeated, at growing intervals, until its shipment is offered. A silent source is given up for the next
one: when nothing of the shipment has arrived for a while, however long all of it takes. A shipment is trusted no more
than any other message: it is checked where it is built.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import msgpack
from msgspec.structs import replace

from daemon.runtime.context import HostContext
from daemon.runtime.rpc import NoReply, Patience
from daemon.runtime.service import Service, types_of
from daemon.services.graphs.messages import PartitionMissing, PartitionRequest, StatesRequest
from daemon.state.commands import Identity, from_bits, to_bits
from daemon.store import NotHeld, StateRecord, Store
from daemon.transfer.chunks import FetchedPiece
from daemon.transfer.shipment import Shipment
from shoal.graph.partitions import PartitionSet
from shoal.lockstep.messages import PieceBuilt, PieceKind

log = logging.getLogger("shoal.fetching")

PATIENCE: Final = Patience(first=1.0, most=4.0, silence=10.0)
STATES_MAX = 1024
"""The most states in one request."""
NONSENSE = (ValueError, TypeError, KeyError, msgpack.UnpackException)
"""What may be raised by decoding a peer's bytes as something that they are not."""
TABLE = -1
"""Requested instead of a partition: the partition table of a load."""

Wanted: TypeAlias = PartitionRequest | StatesRequest


class NotFetched(Exception):
    """None of the sources has sent it."""


@dataclass(frozen=True)
class Fetched:
    """A shipment: a short header, then the frames of a slice or a table, then one frame for each state."""

    spec: bytes
    states: Sequence[Sequence[int]]
    """For each state: run, tick, partition and the epoch that made it."""
    all_frames: Sequence[Any]

    @property
    def nbytes(self) -> int:
        """The size of all frames."""
        return sum(memoryview(frame).nbytes for frame in self.all_frames)

    @property
    def frames(self) -> Sequence[Any]:
        """The frames of the slice or the table."""
        return self.all_frames[: len(self.all_frames) - len(self.states)]

    def table(self) -> tuple[bytes, Any]:
        """Returns a load's header and the frame of its partition table. Raises one of `NONSENSE`."""
        _, header = msgpack.unpackb(self.spec)
        if type(header) is not bytes or len(self.frames) != 1:
            raise ValueError("received something other than a partition table")
        return header, self.frames[0]

    def slice(self, partition: int, table: Any) -> PartitionSet:
        """Returns the requested partition, checked. Raises one of `NONSENSE`, or `BadGraph`."""
        slices = PartitionSet.from_wire(msgpack.unpackb(self.spec), self.frames, table)
        if slices.partitions != (partition,):
            raise ValueError(f"received partitions {slices.partitions} instead of {partition}")
        return slices

    def records(self) -> list[StateRecord]:
        """Returns the states as records, to be stored beside existing ones."""
        frames = self.all_frames[len(self.frames) :]
        return [
            StateRecord(run, tick, 0, {partition: frame}, epoch=epoch)
            for (run, tick, partition, epoch), frame in zip(self.states, frames, strict=True)
        ]


class Fetching(Service[Wanted, FetchedPiece]):
    """Requests partitions and states, and ships those that others request."""

    messages = types_of(Wanted)
    replies = (PartitionMissing,)
    events = (FetchedPiece,)

    def __init__(self, context: HostContext) -> None:
        self._context, self._disk, self._ticks = context, context.disk, context.ticks

    def on_event(self, event: FetchedPiece) -> None:
        """Handles a complete shipment; drops one that no request waits for."""
        if not self._context.rpc.deliver(event.sender, event):
            self._let_go(event.load)

    # -- requesting ------------------------------------------------------------------------------------------------

    async def fetch(self, sources: Sequence[str], load: str, partition: int) -> Fetched:
        """Fetches a partition (or the `TABLE`) from the first source that sends it. Raises `NotFetched`."""
        for source in sources:
            fetched = await self._ask(source, PartitionRequest("", load, partition))
            if fetched is not None:
                return fetched
        raise NotFetched(f"partition {partition} of load {load}: none of {', '.join(sources)} has sent it")

    async def states_from(
        self, sources: Iterable[str], run: int, tick: int, partitions: Iterable[int], made_in: int | None = None
    ) -> dict[int, Any]:
        """Returns the states of a run's tick that the sources hold; asks each for what the previous ones lack.

        With `made_in`, returns only those that this epoch made.
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
        fetched = await self._ask(source, StatesRequest("", run, tick, to_bits(partitions)))
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

    async def _ask(self, source: str, wanted: Wanted) -> Fetched | None:
        """Asks one source; returns None if it does not hold it or stays silent."""
        wanted = replace(wanted, request=f"fetch/{self._context.me}/{self._context.new_id()}")
        try:
            piece = await self._context.rpc.exchange(
                source,
                wanted.request,
                (FetchedPiece, PartitionMissing),
                lambda: self._context.send(source, wanted),
                PATIENCE,
                lambda: self._ticks.arriving(wanted.request),
            )
        except NoReply:
            log.warning("%s has not sent %s", source, wanted)
            return None
        finally:
            self._let_go(wanted.request)
        return _read(source, piece) if isinstance(piece, FetchedPiece) else None

    def _let_go(self, request: str) -> None:
        """Ends a shipment that has arrived or is no longer wanted, so that its sender need not wait."""
        answer = PieceBuilt(request, "", 0, 0, 0, 0, 0)
        self._ticks.order(partial(self._ticks.fetched, answer))

    # -- shipping --------------------------------------------------------------------------------------------------

    async def on_message(self, sender: Identity, message: Wanted) -> PartitionMissing | None:
        """Ships what a member has requested; again only once the previous shipment has ended."""
        to, request, registry = sender.name, message.request, self._context.state.registry
        if not registry.has_member(sender) or self._ticks.is_shipping(request, to):
            return None
        if isinstance(message, StatesRequest):
            look = partial(_look_up_states, message)
        else:
            kept = {run.number for run in registry.runs_on(message.load) if run.active or run.has_result}
            look = partial(_look_up, message, sorted(kept))
        try:
            header, frames = await self._disk.do(look)
        except NotHeld as missing:
            log.debug("%s requests data that is not here: %s", to, missing)
            return PartitionMissing(request)
        limits = self._context.load_limits
        shipment = Shipment(request, to, msgpack.packb(header), frames, limits, PieceKind.FETCHED)
        self._ticks.order(partial(self._ticks.ship_once, shipment))
        return None


# On the store's thread: what was requested, as header and frames.


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
    """Returns run, tick, partition and epoch of those states that are here, and their bytes."""
    found = [(each, stamped) for each in wanted if (stamped := store.stamped_state(*each)) is not None]
    return [(*each, epoch) for each, (epoch, _) in found], [state for _, (_, state) in found]


def _read(source: str, piece: FetchedPiece) -> Fetched | None:
    """Decodes a shipment, or returns None; its content is checked later."""
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
        log.warning("%s has sent invalid data: %s", source, error)
        return None
    return Fetched(header["spec"], header["states"], piece.frames)
