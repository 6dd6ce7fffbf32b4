"""A simulated host's tick plane: the daemon's tick thread without a thread, whose phases take virtual time.

It turns when a message or an order arrives, and at a machine's deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import msgpack

from daemon.runtime.tick_runner import HandedOver, News, TickRunner
from daemon.runtime.tick_thread import TickThread
from daemon.state.commands import Identity
from daemon.transfer.chunks import PieceArrived
from daemon.transport.ticks import TickTransport
from daemon.wire import Codec
from shoal.engine.engine import Engine
from shoal.lockstep.effects import PhaseLate, RunOver, RunPhase, StoreStates, TickCommitted
from shoal.lockstep.machine import TickMachine
from tests.simulator.network import TICKS
from tests.simulator.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from tests.simulator.host import Host


class SimTickTransport:
    """The tick plane's sockets: only a peer's name is known, because nobody forges messages here."""

    owner = None
    came = (0, 0)

    def __init__(self, host: Host) -> None:
        self._host = host
        self._inbox: list[Sequence[Any]] = []
        self._peers: set[str] = set()
        self.wake: Callable[[], None] = lambda: None

    @property
    def peers(self) -> tuple[str, ...]:
        return tuple(sorted(self._peers))

    def connect(self, peer: str, address: str, public_key: bytes | None = None) -> bool:
        self._peers.add(peer)
        return True

    def disconnect(self, peer: str) -> None:
        self._peers.discard(peer)

    def connect_again(self) -> None:
        """Does nothing: no key is ever refused."""

    def send(self, peer: str, frames: Sequence[Any]) -> bool:
        if peer in self._peers:
            self._host.around.network.send(TICKS, self._host.name, peer, frames)
        return peer in self._peers

    def arrive(self, frames: Sequence[Any]) -> None:
        """Queues frames, which `poll` returns next."""
        self._inbox.append(frames)

    def poll(self, _: int) -> list[Sequence[Any]]:
        inbox, self._inbox = self._inbox, []
        return inbox

    def close(self, linger_ns: int = 0) -> None:
        """Does nothing: nothing is open."""


class SimTickThread(TickThread):
    """The tick thread of one life."""

    def __init__(
        self,
        host: Host,
        loop: VirtualLoop,
        me: Identity,
        transport: SimTickTransport,
        codec: Codec,
        runner: TickRunner,
        hand_over: Callable[[HandedOver], None],
        store: Callable[[StoreStates], None],
        died: Callable[[BaseException], None],
    ) -> None:
        super().__init__(me, cast(TickTransport, transport), codec, runner, hand_over, store, died)
        runner.hold = True
        runner.plane.replication._resend_interval_ns = host.around.timing.resend_interval_ns
        self._sim, self._host, self._loop, self._life = transport, host, loop, loop.life
        self._world, self._invariants = host.world, host.around.invariants
        self._running: list[RunPhase] = []
        self._handed_over_at = 0
        self._next_at: int | None = None

    def start(self) -> None:
        """Does nothing: it turns when there is something to do."""

    # -- turns -----------------------------------------------------------------------------------------------------

    def order(self, order: Callable[[], Sequence[News]]) -> None:
        """Executes an order from the loop: soon, and in turn."""
        due = self._world.now + self._life.hand_over_ns()
        self._handed_over_at = max(self._handed_over_at, due)
        self._life.after(self._handed_over_at - self._world.now, partial(self._ordered, order))

    def _ordered(self, order: Callable[[], Sequence[News]]) -> None:
        self._orders.append(order)
        self.turn()

    def arrive(self, frames: Sequence[Any]) -> None:
        """Receives a message."""
        self._sim.arrive(frames)
        self.turn()

    def turn(self) -> None:
        """Handles everything that is there, and begins phases."""
        self._turn()
        self.runner.plane.validate()
        known = {id(held) for held in self._running}
        held = self.runner.held
        self._running = [phase for phase in self._running if any(phase is other for other in held)]
        for phase in [phase for phase in held if id(phase) not in known]:
            self._begin_phase(phase)
        self._plan()

    def _begin_phase(self, phase: RunPhase) -> None:
        self._running.append(phase)
        self._invariants.started(self.me.name, self.epoch, phase)
        self._world.tell(f"{self.me.name} starts {phase.phase.word} of tick {phase.tick} of run {phase.run}")
        self._life.after(self._life.random.randint(*self._host.phase_ns), partial(self._end_phase, phase))

    def _end_phase(self, phase: RunPhase) -> None:
        if not any(phase is held for held in self.runner.held):
            return  # the log has ended the run, or there is a new view
        self._invariants.finished(self.me.name, self.epoch, phase)
        self._carry_out(self.runner.run_held(phase))
        self.turn()

    def _plan(self) -> None:
        """Schedules a turn at the earliest machine's deadline; an earlier scheduled turn reschedules then."""
        deadline = self.runner.plane.deadline
        if deadline is None:
            return
        due = max(deadline, self._look_at, self._world.now)
        if self._next_at is None or due < self._next_at:
            self._next_at = due
            self._life.after(due - self._world.now, partial(self._look_again, due))

    def _look_again(self, due: int) -> None:
        if due == self._next_at:
            self._next_at = None
            self.turn()

    # -- what the invariants see -----------------------------------------------------------------------------------

    def begin_run(self, machine: TickMachine, *args: Any, **more: Any) -> Sequence[News]:
        self._invariants.begins(self.me.name, self.epoch, machine)
        return super().begin_run(machine, *args, **more)

    def end_run(self, run: int, tick: int, failure: str, keep: Callable[[Engine | None], None]) -> Sequence[News]:
        machine = self.machine(run)
        for over in machine.abort(failure) if machine is not None else ():
            self._host.diary.ended[run] = over.tick
        return super().end_run(run, tick, failure, keep)

    def _take_news(self, item: News) -> None:
        me, epoch = self.me.name, self.epoch
        match item:
            case TickCommitted(run=run, tick=tick):
                self._invariants.committed(me, epoch, run, tick, self.runner.engines[run])
            case StoreStates():
                self._invariants.stores(me, epoch, item.run, item.tick, item.states)
            case RunOver():
                self._world.tell(f"{me}: run {item.run} is over, {item.outcome} after tick {item.tick}")
                self._host.diary.ended[item.run] = item.tick
                self._invariants.over(me, epoch, item)
            case PhaseLate():
                self._world.tell(f"{me}: late {item.missing} in {item.phase.word} of {item.tick}")
                self._host.diary.late.append((self._world.now, item))
            case PieceArrived(load=load) if load.startswith("fetch/"):
                self._fetched(item)
        super()._take_news(item)

    def _fetched(self, piece: PieceArrived) -> None:
        """States from another shard's disk are queued after everything else that arrived."""
        states = msgpack.unpackb(piece.spec)["states"]
        for (run, tick, partition, _), frame in zip(
            states, piece.frames[len(piece.frames) - len(states) :], strict=True
        ):
            self._invariants.fetched(self.me.name, run, tick, {partition: bytes(frame)})
