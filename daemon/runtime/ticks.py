"""The tick plane as other threads see it: orders that it runs in turn, and values to read at any time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from daemon.runtime.tick_runner import News
from daemon.state.commands import Identity
from daemon.transfer.shipment import Shipment
from shoal.api.commands.runs import TickReply
from shoal.engine.engine import Engine
from shoal.graph.shard_graph import ShardGraph
from shoal.lockstep.effects import TickCommitted
from shoal.lockstep.figures import tick_result
from shoal.lockstep.machine import TickMachine
from shoal.lockstep.messages import PieceBuilt
from shoal.lockstep.runner import InProgram, State
from shoal.program.program import Program

SAMPLES_KEPT: Final = 4096
TICKS_KEPT: Final = 16


@dataclass(frozen=True, slots=True)
class Peer:
    """The address of another member's tick plane."""

    identity: Identity
    address: str
    public_key: bytes | None


@dataclass
class RunFigures:
    """The cost of one run's ticks, as far as all shards have reported it."""

    members: tuple[str, ...]
    ticks: deque[TickCommitted] = field(default_factory=lambda: deque(maxlen=TICKS_KEPT))
    cross_bytes: int = 0
    own_bytes: int = 0
    shown: Mapping[str, Any] = field(default_factory=dict)
    """The aggregates that the program shows, as of the last tick."""

    def add(self, committed: TickCommitted, me: int) -> None:
        """Adds one tick."""
        self.ticks.append(committed)
        for _, shards in committed.figures:
            self.own_bytes += shards[me][1]
            self.cross_bytes += sum([sent for _, sent in shards])

    def of_tick(self, tick: int, resumed: int) -> TickReply | None:
        """Returns a tick in the form of `tick_result`, None before it is committed; `resumed` is where the view began
        the run.

        Forgets the costs of ticks of older views, and of those long past.
        """
        for committed in list(self.ticks):
            if committed.tick == tick:
                return tick_result(committed, self.members)
        is_past = tick <= resumed or (self.ticks and self.ticks[-1].tick > tick)
        return {"tick": tick, "phases": {}, "cross_bytes": 0} if is_past else None


class Ticks(Protocol):
    """The tick plane, from another thread: plain values to read at any time, and orders that it runs in turn."""

    figures: dict[int, RunFigures]

    @property
    def epoch(self) -> int: ...
    @property
    def busy(self) -> tuple[InProgram, int] | None: ...
    def machine(self, run: int) -> TickMachine | None: ...
    def is_shipping(self, load: str, to: str) -> bool: ...
    def arriving(self, load: str) -> int | None: ...
    def interrupt(self, busy: tuple[InProgram, int]) -> bool: ...
    def has_room(self, nbytes: int) -> None: ...

    def order(self, order: Callable[[], Sequence[News]]) -> None:
        """Calls one of the methods below on its thread, soon and in turn."""

    def raise_version(self, version: int) -> None:
        """Allows messages in formats that are new in this cluster version. From any thread."""

    def enter_view(self, epoch: int, peers: Sequence[Peer], founding: str = "") -> Sequence[News]: ...
    def begin_run(
        self,
        machine: TickMachine,
        part: ShardGraph,
        program: Program,
        paced: bool,
        *,
        replicas: Mapping[int, Sequence[str]] | None = None,
        primaries: Mapping[int, str] | None = None,
        sizes: Mapping[int, int] | None = None,
        state: State | None = None,
    ) -> Sequence[News]: ...
    def with_run(self, run: int, do: Callable[[TickMachine, int], Any]) -> Sequence[News]: ...
    def end_run(self, run: int, tick: int, failure: str, keep: Callable[[Engine | None], None]) -> Sequence[News]: ...
    def stored(self, token: int) -> Sequence[News]: ...
    def ship(self, shipments: Sequence[Shipment]) -> Sequence[News]: ...
    def ship_once(self, shipment: Shipment) -> Sequence[News]: ...
    def land(self, load: str, tell: Sequence[str] = ()) -> Sequence[News]: ...
    def fetched(self, answer: PieceBuilt) -> Sequence[News]: ...
    def piece_built(self, answer: PieceBuilt) -> Sequence[News]: ...
    def load_decided(self, load: str) -> Sequence[News]: ...
