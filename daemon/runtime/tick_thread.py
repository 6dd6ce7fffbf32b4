"""The tick plane's thread: exchanges, waits at barriers and runs the programs' kernels, all in one place.

It shares with the control loop only a queue of orders (one hand-over per run, load, checkpoint or paced tick, never per
message) and plain values that the loop may read at any time: where each run stands, and the counters. So the loop
answers heartbeats and operators while a kernel works for minutes, and a tick never waits for the loop, except for a
checkpoint's disk.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.runtime.allowance import Allowance
from daemon.runtime.tick_runner import HandedOver, News, TickRunner
from daemon.runtime.ticks import SAMPLES_KEPT, Peer, RunFigures
from daemon.state.commands import Identity
from daemon.transfer.shipment import Shipment
from daemon.transport.ticks import TickTransport
from daemon.wire import Codec, Envelope, Reason, Rejected
from shoal.engine.engine import Engine
from shoal.graph.shard_graph import ShardGraph
from shoal.lockstep.effects import SendTick, StoreStates, TickCommitted
from shoal.lockstep.frames import size_of
from shoal.lockstep.machine import TickMachine
from shoal.lockstep.messages import PieceBuilt, PieceDropped
from shoal.lockstep.runner import InProgram, State
from shoal.program.phase import Phase
from shoal.program.program import Program

log = logging.getLogger("shoal.ticks")

IDLE_NS = 1_000_000_000
LOOK_NS = 20_000_000
WORDS = tuple(phase.word for phase in Phase)
RUNS_REMEMBERED = 64
CLOSE_SECONDS, INTERRUPT_AGAIN_SECONDS = 2.0, 0.02
NEXT_EPOCH_MESSAGES_MAX, NEXT_EPOCH_PEER_MAX = 256, 64
OUTSIDERS_SHARE, OUTSIDERS_BURST_NS = 0.02, 20_000_000
"""This thread's time for messages of one sender outside of the view."""
NEXT_EPOCH_BYTES_MAX = 64 << 20


@dataclass(slots=True)
class Traffic:
    """The traffic with one peer."""

    messages_in: int = 0
    bytes_in: int = 0
    messages_out: int = 0
    bytes_out: int = 0


class TickThread(threading.Thread):
    """Runs until `close`. All but `order`, plain reads and `close` happens on the thread itself."""

    def __init__(
        self,
        me: Identity,
        transport: TickTransport,
        codec: Codec,
        runner: TickRunner,
        hand_over: Callable[[HandedOver], None],
        store: Callable[[StoreStates], None],
        died: Callable[[BaseException], None],
    ) -> None:
        """Passes news to `hand_over`, and states to be made durable to `store`, which orders `stored` when they are.
        Calls both on this thread, and also `died` if it ends by an error.
        """
        super().__init__(name="shoal-ticks", daemon=True)
        self.me, self.runner = me, runner
        self.figures: dict[int, RunFigures] = {}
        self.samples: deque[tuple[str, float, float]] = deque(maxlen=SAMPLES_KEPT)
        self.tick_samples: deque[float] = deque(maxlen=SAMPLES_KEPT)
        self.traffic: dict[str, Traffic] = {}
        self._dropped: dict[str, int] = defaultdict(int)
        self.ticks_committed = 0
        self._paced: set[int] = set()
        self._transport, self._codec = transport, codec
        self._hand_over, self._store, self._died = hand_over, store, died
        self._orders: deque[Callable[[], Sequence[News]]] = deque()
        self._epoch = 0
        self._founding = ""
        self._roster: dict[str, int] = {}
        self._early: list[tuple[Envelope, int]] = []
        """Messages of the next epoch, and their sizes: a peer may enter a view a moment before this shard."""
        self._early_bytes = 0
        self._outsiders = Allowance(OUTSIDERS_SHARE, OUTSIDERS_BURST_NS)
        self._closing = False
        self._patience_ns, self._look_at, self._connect_at = IDLE_NS, 0, 0
        runner.tell = self._take_news
        self._encoded: tuple[object, list[Any]] = (None, [])

    # -- from any thread -------------------------------------------------------------------------------------------

    def order(self, order: Callable[[], Sequence[News]]) -> None:
        """Runs an order on the thread, soon and in turn."""
        self._orders.append(order)
        self._transport.wake()

    def raise_version(self, version: int) -> None:
        """Allows messages in formats that are new in this cluster version."""
        self._codec.version = version

    @property
    def epoch(self) -> int:
        """The epoch in which this plane sends; 0 before the first view."""
        return self._epoch

    def machine(self, run: int) -> TickMachine | None:
        """Returns a run's machine, to read where it stands; it may be a phase ahead by the time it is read."""
        return self.runner.plane.runs.get(run)

    def is_shipping(self, load: str, to: str) -> bool:
        """Whether something is in transfer to a peer; it may have arrived by the time this is read."""
        return (load, to) in self.runner.plane.shipments

    def arriving(self, load: str) -> int | None:
        """Returns how many chunks of a requested piece have arrived; None before its offer, and once it is complete."""
        return self.runner.plane.intake.progress(load)

    @property
    def busy(self) -> tuple[InProgram, int] | None:
        """Where a program's own code runs, and since when (monotonic nanoseconds)."""
        return self.runner.section.busy

    def interrupt(self, busy: tuple[InProgram, int]) -> bool:
        """Interrupts the program there; returns False if it has returned, or can't be interrupted now."""
        return self.runner.section.interrupt(busy)

    def has_room(self, nbytes: int) -> None:
        """Sets how many bytes of bulk data may be received."""
        self.runner.plane.intake.room_bytes = nbytes

    @property
    def counts(self) -> dict[tuple[str, tuple[str, ...]], int]:
        """Returns all counters, by metric and labels."""
        counts: dict[tuple[str, tuple[str, ...]], int] = {}
        for peer, traffic in list(self.traffic.items()):
            counts["messages", ("in", "tick", peer)] = traffic.messages_in
            counts["bytes", ("in", "tick", peer)] = traffic.bytes_in
            counts["messages", ("out", "tick", peer)] = traffic.messages_out
            counts["bytes", ("out", "tick", peer)] = traffic.bytes_out
        for reason, count in list(self._dropped.items()):
            counts["dropped", (reason,)] = count
        counts["dropped", ("exchange",)] = self.runner.bad_exchanges
        counts["dropped", ("checkpoint",)] = self.runner.plane.replication.refused
        return counts

    @property
    def orders_waiting(self) -> int:
        """The number of orders not begun yet."""
        return len(self._orders)

    @property
    def came(self) -> tuple[int, int]:
        """How many incoming connections there were, and how many of them were refused."""
        return self._transport.came

    def check_keys(self) -> None:
        """Checks the connections after the allowed keys have changed: drops those whose key is no longer allowed."""
        self._transport.check()

    def close(self) -> None:
        """Ends the thread and drops its work. A program that does not return is left to the process's end."""
        self._closing = True
        self._transport.wake()
        self.join(CLOSE_SECONDS)
        until = time.monotonic() + CLOSE_SECONDS
        while self.is_alive() and time.monotonic() < until:
            busy = self.runner.section.busy
            if busy is not None:
                self.runner.section.interrupt(busy)
            self.join(INTERRUPT_AGAIN_SECONDS)
        if self.is_alive():
            log.warning("a program does not return, and can't be interrupted: leaving the tick thread running")

    # -- orders: run on the thread ---------------------------------------------------------------------------------

    def enter_view(self, epoch: int, peers: Sequence[Peer], founding: str = "") -> Sequence[News]:
        """Sends to these peers from now on, and to nobody else; drops frames of another epoch, and those of a cluster
        with another founding.

        A new epoch drops the runs of the old one, but keeps their figures. The same epoch again only changes the peers.
        """
        early: list[tuple[Envelope, int]] = []
        if epoch != self._epoch:
            self.runner.leave_epoch()
            self._paced.clear()
            early, self._early, self._early_bytes = self._early, [], 0
        self._epoch, self._founding = epoch, founding
        self._roster = {peer.identity.name: peer.identity.generation for peer in peers}
        self.runner.plane.keep_company(self._roster)
        for known in self._transport.peers:
            if known not in self._roster:
                self._transport.disconnect(known)
        for peer in peers:
            self._transport.connect(peer.identity.name, peer.address, peer.public_key)
            self.traffic.setdefault(peer.identity.name, Traffic())
        for envelope, size in early:
            if envelope.founding not in ("", founding):
                self._dropped[Reason.FOREIGN.value] += 1
            elif envelope.epoch == epoch:
                self._take(envelope, size)
            else:
                self._dropped["epoch"] += 1
        return []

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
    ) -> Sequence[News]:
        """Begins a run, or resumes it in a new epoch; a paced one hands over every tick. See `TickRunner.begin`."""
        before = self.figures.pop(machine.run, None)
        figures = self.figures[machine.run] = RunFigures(machine.barrier.members)
        if before is not None:
            figures.cross_bytes, figures.own_bytes = before.cross_bytes, before.own_bytes
        for oldest in list(self.figures)[:-RUNS_REMEMBERED]:
            if self.machine(oldest) is None:  # a long run outlives many short ones
                del self.figures[oldest]
        if paced:
            self._paced.add(machine.run)
        return self.runner.begin(
            machine, part, program, replicas=replicas, primaries=primaries, sizes=sizes, state=state
        )

    def stored(self, token: int) -> Sequence[News]:
        """Takes note that the states passed to `store` are durable."""
        return self.runner.stored(token)

    def end_run(self, run: int, tick: int, failure: str, keep: Callable[[Engine | None], None]) -> Sequence[News]:
        """Ends a run that the log has ended after `tick`: drops the machine, and hands over the engine if it has the
        result. A shard that was cut off may have an engine of an earlier view, at any tick.
        """
        machine = self.machine(run)
        has_result = machine is not None and machine.result_tick == tick
        if machine is not None:
            machine.abort(failure)
        engine = self.runner.forget(run)
        keep(engine if has_result else None)
        self._paced.discard(run)
        return []

    def with_run(self, run: int, do: Callable[[TickMachine, int], Any]) -> Sequence[News]:
        """Passes an order of the control plane to a run's machine; does nothing if the run is over."""
        machine = self.machine(run)
        effects = do(machine, time.monotonic_ns()) if machine is not None else None
        return self.runner.perform(effects) if effects else []

    def ship(self, shipments: Sequence[Shipment]) -> Sequence[News]:
        """Sends the pieces of a load."""
        return self.runner.perform(self.runner.plane.ship(shipments, time.monotonic_ns()))

    def ship_once(self, shipment: Shipment) -> Sequence[News]:
        """Ships what a peer has requested."""
        return self.runner.perform(self.runner.plane.ship_once(shipment, time.monotonic_ns()))

    def fetched(self, answer: PieceBuilt) -> Sequence[News]:
        """Answers the sender of a fetched piece, which is here or no longer wanted, so that it can end the transfer."""
        news = self.runner.perform(self.runner.plane.intake.built(answer))
        self.runner.plane.intake.forget(answer.load)
        return news

    def land(self, load: str, tell: Sequence[str] = ()) -> Sequence[News]:
        """Ends a load; `tell` are the shards that should forget their piece."""
        self.runner.plane.land(load)
        return [SendTick(peer, PieceDropped(load)) for peer in tell]

    def load_decided(self, load: str) -> Sequence[News]:
        """Notes that the log has decided a load: the answer about its piece need not be repeated."""
        self.runner.plane.intake.forget(load)
        return []

    def piece_built(self, answer: PieceBuilt) -> Sequence[News]:
        """Answers that a received piece has been built, or could not be."""
        return self.runner.perform(self.runner.plane.intake.built(answer))

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            while not self._closing:
                self._turn()
        except BaseException as error:  # a broken invariant ends the process, with its state in the log
            self._died(error)
        finally:
            self.runner.close()
            self._transport.close()

    def _turn(self) -> None:
        for frames in self._transport.poll(self._patience_ns):
            self._receive(frames)
        while self._orders:
            self._carry_out(self._orders.popleft()())
            self._look_at = 0
        now = time.monotonic_ns()
        if now >= self._look_at:
            self._look(now)

    def _look(self, now: int) -> None:
        """Wakes the machines that are due; checks every `LOOK_NS`, because checking at each message is costly."""
        deadline = self.runner.plane.deadline
        if deadline is not None and now >= deadline:
            self._carry_out(self.runner.wake())
        if now >= self._connect_at:
            self._transport.connect_again()
            self._connect_at = now + IDLE_NS
        self._patience_ns = IDLE_NS if deadline is None else LOOK_NS
        self._look_at = now + self._patience_ns

    def _receive(self, frames: Sequence[Any]) -> None:
        owner = self._transport.owner
        if owner is not None and owner not in self._roster:  # early, or nothing to do with this view
            now = time.monotonic_ns()
            if self._outsiders.exhausted(owner, now):
                self._dropped["stranger"] += 1
                return
            began = time.thread_time_ns()
            self._hear(frames)
            self._outsiders.spent(owner, time.thread_time_ns() - began, now)
        else:
            self._hear(frames)

    def _hear(self, frames: Sequence[Any]) -> None:
        try:
            envelope = self._codec.decode(frames, self._founding)
        except Rejected as rejected:
            self._dropped[rejected.reason.value] += 1
            return
        epoch, sender, *_ = envelope
        if self._transport.owner != sender and self._transport.owner is not None:
            self._dropped["impostor"] += 1
            return
        size = len(frames[0]) if len(frames) == 1 else size_of(frames)
        if epoch == self._epoch:
            self._take(envelope, size)
        elif epoch == self._epoch + 1:
            self._keep_early(envelope, size)
        else:
            self._dropped["epoch"] += 1

    def _keep_early(self, envelope: Envelope, size: int) -> None:
        if len(self._early) >= NEXT_EPOCH_MESSAGES_MAX or self._early_bytes + size > NEXT_EPOCH_BYTES_MAX:
            self._dropped["epoch"] += 1
            return
        if sum(known.sender == envelope.sender for known, _ in self._early) >= NEXT_EPOCH_PEER_MAX:
            self._dropped["epoch"] += 1  # otherwise one peer could take everyone's room
            return
        self._early.append((envelope, size))
        self._early_bytes += size

    def _take(self, envelope: Envelope, size: int) -> None:
        """Takes a message of this epoch."""
        _, sender, generation, message, _ = envelope
        if self._roster.get(sender) != generation:
            self._dropped["stranger"] += 1
            return
        traffic = self.traffic[sender]
        traffic.messages_in += 1
        traffic.bytes_in += size
        self.runner.take(sender, message)

    def _carry_out(self, news: Sequence[News]) -> None:
        for item in news:
            self._take_news(item)

    def _take_news(self, item: News) -> None:
        """Takes one of the runner's outputs."""
        if isinstance(item, SendTick):
            to, message = item.to, item.message
            if self._encoded[0] is not message:
                self._encoded = (message, self._encode(message))
            frames = self._encoded[1]
            if frames and self._transport.send(to, frames):
                traffic = self.traffic[to]
                traffic.messages_out += 1
                traffic.bytes_out += len(frames[0]) if len(frames) == 1 else size_of(frames)
        elif isinstance(item, TickCommitted):
            self._committed(item)
        elif isinstance(item, StoreStates):
            self._store(item)
        else:
            self._hand_over(item)

    def _encode(self, message: object) -> list[Any]:
        try:
            return self._codec.encode(self._epoch, self.me.name, self.me.generation, message, self._founding)
        except Rejected as rejected:
            self._dropped["oversize"] += 1
            log.error("cannot send %s: %s", type(message).__name__, rejected)
            return []

    def _committed(self, committed: TickCommitted) -> None:
        self.ticks_committed += 1
        figures = self.figures[committed.run]
        me = figures.members.index(self.me.name)
        figures.add(committed, me)
        figures.shown = self.runner.engines[committed.run].shown()
        took = 0.0
        for (phase, shards), (_, waited_ns) in zip(committed.figures, committed.waited_ns, strict=True):
            seconds, waited = shards[me][0] / 1e9, waited_ns / 1e9
            took += seconds + waited
            self.samples.append((WORDS[phase], seconds, waited))
        self.tick_samples.append(took)
        if committed.run in self._paced:
            self._hand_over(committed)
