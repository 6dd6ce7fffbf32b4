"""Ticks of many shards in virtual time: the real tick machines, over a network model with a few parameters.

The lockstep itself is real (`TickMachine`, one message per peer and phase), as are the placement of partitions (the
ring) and the number of values that each shard sends to each other (counted from the graph's edges). The rest is a
model:

- a shard needs a fixed time per in-edge;
- a message costs its sender and its receiver processor time, one message after the other, plus a fixed time per byte on
  either side (encryption, copying);
- a network card sends and receives one byte after the other, at its bandwidth; a switch between them is never full;
- each message takes the latency. Nothing is lost.

So in the model every shard has its own machine.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from daemon.state.placement import ideal
from shoal.engine.engine import Outgoing
from shoal.graph.ring import VIRTUAL_NODES
from shoal.lockstep.effects import HoldTick, RunOver, RunPhase, SendTick, SettlePhase
from shoal.lockstep.machine import TickMachine
from shoal.lockstep.messages import BarrierRaised, PhaseDone
from shoal.lockstep.timing import TickTiming
from shoal.program.phase import Phase

MESSAGE_BYTES = 150
"""A share's header on the wire, envelope and encryption included."""
VALUE_BYTES = 8
FOREVER = TickTiming(resend_interval_ns=1 << 60, phase_timeout_ns=1 << 60)

Sent: TypeAlias = PhaseDone | BarrierRaised


@dataclass(frozen=True, slots=True)
class Network:
    """Nanoseconds, except the bandwidth, which is in bytes per second."""

    latency_ns: int = 50_000
    bandwidth: float = 10e9 / 8
    message_ns: int = 15_000
    byte_ns: float = 0.8
    edge_ns: float = 1.7

    @property
    def words(self) -> str:
        """Returns the text beside the figures."""
        return (
            f"{self.latency_ns / 1000:g} us latency, {self.bandwidth * 8 / 1e9:g} Gbit/s a shard, "
            f"{self.message_ns / 1000:g} us of processor a message and {self.byte_ns:g} ns a byte at either end, "
            f"{self.edge_ns:g} ns an edge"
        )


@dataclass(frozen=True, slots=True)
class Cut:
    """How a graph is cut: in-edges per shard, and the values that row i sends to column j."""

    edges: NDArray[np.int64]
    owed: NDArray[np.int64]

    @property
    def bytes_a_tick(self) -> int:
        """Returns the bytes on the wire, over all shards."""
        shards = len(self.edges)
        return int(self.owed.sum()) * VALUE_BYTES + shards * (shards - 1) * MESSAGE_BYTES


def cut(source: NDArray[Any], target: NDArray[Any], partition: NDArray[Any], partitions: int, shards: int) -> Cut:
    """Computes the cut from the ends of the edges (ordinals) and the partition of each node."""
    names = [f"s{i:04d}" for i in range(shards)]
    place = {name: i for i, name in enumerate(names)}
    placed = ideal(names, VIRTUAL_NODES, partitions, replicas=2)
    holder = np.array([place[primary] for primary, *_ in placed])[partition]
    here = holder[target]
    crossing = holder[source] != here
    ghosts = np.unique(source[crossing].astype(np.int64) * shards + here[crossing])
    owed = np.bincount(holder[ghosts // shards] * shards + ghosts % shards, minlength=shards * shards)
    return Cut(np.bincount(here, minlength=shards), owed.reshape(shards, shards))


@dataclass
class _Shard:
    machine: TickMachine
    outgoing: Outgoing
    compute_ns: int
    free_at: int = 0
    """When its tick thread will have finished the work so far."""
    sent_at: int = 0
    """When its network card will have sent the data so far."""
    received_at: int = 0
    ticks: list[int] = field(default_factory=list)


class Model:
    """Shards in lockstep over the modelled network."""

    def __init__(self, how: Cut, network: Network, ticks: int) -> None:
        self.network = network
        names = [f"s{i:04d}" for i in range(len(how.edges))]
        self._events: list[tuple[int, int, Callable[[int], None]]] = []
        self._number = 0
        self._shards: dict[str, _Shard] = {}
        for i, name in enumerate(names):
            machine = TickMachine(1, name, names, (Phase.ADVANCE,), ticks, FOREVER)
            one = np.zeros(1)
            frames = {peer: _owed(one, int(how.owed[i, j])) for j, peer in enumerate(names) if j != i}
            compute_ns = int(how.edges[i] * network.edge_ns)
            self._shards[name] = _Shard(machine, Outgoing(1, b"", frames), compute_ns)

    def run(self) -> list[int]:
        """Returns the times (ns) at which the first shard committed each tick."""
        for shard in self._shards.values():
            self._perform(shard, shard.machine.begin(0), 0)
        while self._events:
            at, _, event = heapq.heappop(self._events)
            event(at)
        return next(iter(self._shards.values())).ticks

    def _at(self, when: int, event: Callable[[int], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, event))

    def _perform(self, shard: _Shard, effects: Sequence[object], now: int) -> None:
        for effect in effects:
            match effect:
                case RunPhase():
                    shard.free_at = max(now, shard.free_at) + shard.compute_ns
                    self._at(shard.free_at, partial(self._computed, shard))
                case SendTick(to=to, message=PhaseDone() | BarrierRaised() as message):
                    self._send(shard, to, message, now)
                case SendTick():
                    raise AssertionError(f"no message is lost here, so no request is expected: {effect}")
                case SettlePhase(tick=tick):
                    if tick:
                        shard.ticks.append(now)
                    self._perform(shard, shard.machine.settled(False, now), now)
                case HoldTick():
                    self._perform(shard, [*shard.machine.captured(), *shard.machine.held(now)], now)
                case RunOver():
                    pass

    def _computed(self, shard: _Shard, now: int) -> None:
        self._perform(shard, shard.machine.computed(shard.outgoing, shard.compute_ns, now), now)

    def _send(self, shard: _Shard, to: str, message: Sent, now: int) -> None:
        network = self.network
        frames = message.frames if isinstance(message, PhaseDone) else ()
        size = MESSAGE_BYTES + sum(frame.nbytes for frame in frames)
        shard.free_at = max(now, shard.free_at) + network.message_ns + int(size * network.byte_ns)
        wire = int(size / network.bandwidth * 1e9)
        shard.sent_at = max(shard.free_at, shard.sent_at) + wire
        self._at(
            shard.sent_at + network.latency_ns,
            partial(self._arrive, self._shards[to], shard.machine.shard, message, size, wire),
        )

    def _arrive(self, shard: _Shard, sender: str, message: Sent, size: int, wire: int, now: int) -> None:
        shard.received_at = max(now, shard.received_at + wire)
        cost = self.network.message_ns + int(size * self.network.byte_ns)
        shard.free_at = max(shard.received_at, shard.free_at) + cost
        self._at(shard.free_at, partial(self._take, shard, sender, message))

    def _take(self, shard: _Shard, sender: str, message: Sent, now: int) -> None:
        self._perform(shard, shard.machine.step(sender, message, now), now)


def _owed(one: NDArray[Any], count: int) -> tuple[NDArray[Any], ...]:
    """Returns frames of this many values that take no memory."""
    return (np.broadcast_to(one, (count,)),)
