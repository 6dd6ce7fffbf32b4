"""The tick plane of one shard: its runs, their checkpoints and the loads in progress, behind one interface.

Routes each message to the machine that handles it. A peer may learn of a run from the log a little earlier than this
shard, and push its first share, or the checkpoint from which the run resumes. Such early messages are kept, within a
bound, until the run begins here. New ones evict the oldest, which does no harm, because they are requested or sent
again.

Runs belong to an epoch: a new view drops all of them (`leave_epoch`), and those that continue begin anew, under the
same number. Loads don't depend on views.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from msgspec.structs import replace

from daemon.transfer.checkpoints import Replication
from daemon.transfer.chunks import LoadEffect, LoadLimits
from daemon.transfer.intake import Intake
from daemon.transfer.shipment import Shipment
from shoal.lockstep.effects import PhaseLate, TickEffect
from shoal.lockstep.frames import size_of
from shoal.lockstep.machine import TickMachine
from shoal.lockstep.messages import (
    BarrierRaised,
    Checkpoint,
    CheckpointHeld,
    CheckpointMissing,
    CheckpointRequest,
    Chunk,
    ChunksAcknowledged,
    PhaseDone,
    PhaseRequest,
    PhaseSent,
    PieceBuilt,
    PieceDropped,
    PieceOffered,
)
from shoal.lockstep.states import State

TickMessage: TypeAlias = (
    PhaseDone
    | PhaseRequest
    | PieceOffered
    | Chunk
    | ChunksAcknowledged
    | PieceBuilt
    | PieceDropped
    | Checkpoint
    | CheckpointHeld
    | PhaseSent
    | CheckpointRequest
    | CheckpointMissing
    | BarrierRaised
)
TICK_MESSAGES: tuple[type, ...] = (
    PhaseDone,
    PhaseRequest,
    PieceOffered,
    Chunk,
    ChunksAcknowledged,
    PieceBuilt,
    PieceDropped,
    Checkpoint,
    CheckpointHeld,
    PhaseSent,
    CheckpointRequest,
    CheckpointMissing,
    BarrierRaised,
)
"""In the order of their tags: append new ones."""
Effect: TypeAlias = TickEffect | LoadEffect

EARLY_MESSAGES_MAX = 64
EARLY_BYTES_MAX = 64 << 20
RUNS_FORGOTTEN_MAX = 256


@dataclass
class TickPlane:
    """All machines of one shard's tick plane."""

    shard: str
    limits: LoadLimits
    runs: dict[int, TickMachine] = field(default_factory=dict)
    shipments: dict[tuple[str, str], Shipment] = field(default_factory=dict)
    _early: list[tuple[str, PhaseDone | Checkpoint]] = field(default_factory=list)
    _early_bytes: int = 0
    _forgotten: dict[int, None] = field(default_factory=dict)
    """The last runs that ended in this epoch: late messages for them are not early ones."""

    _fetched: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.intake = Intake(self.limits)
        self.replication = Replication(self.shard)

    @property
    def deadline(self) -> int | None:
        """The earliest deadline of all machines."""
        machines: list[TickMachine | Shipment | Intake | Replication]
        machines = [*self.runs.values(), *self.shipments.values(), self.intake, self.replication]
        deadlines = [machine.deadline for machine in machines]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def step(self, sender: str, message: TickMessage, now: int) -> Sequence[Effect]:
        """Takes a peer's message."""
        if type(message) is PhaseDone:  # the vast majority; matching all cases costs as much as the rest
            run = self.runs.get(message.run)
            if run is not None:
                return run.step(sender, message, now)
        match message:
            case PhaseDone() | PhaseRequest() | PhaseSent() | BarrierRaised():
                run = self.runs.get(message.run)
                if run is not None:
                    return run.step(sender, message, now)
                if isinstance(message, PhaseDone):
                    self._keep_early(sender, message)
                return []
            case Checkpoint() | CheckpointHeld() | CheckpointRequest() | CheckpointMissing():
                if message.run in self.runs:
                    return self.replication.step(sender, message, now)
                if isinstance(message, Checkpoint):
                    self._keep_early(sender, message)
                return []
            case ChunksAcknowledged() | PieceBuilt():
                return self._step_shipment(sender, message, now)
            case PieceOffered() | Chunk() | PieceDropped():
                return self.intake.step(sender, message, now)
            case _:
                assert_never(message)

    def wake(self, now: int) -> Sequence[Effect]:
        """Lets every machine check the time."""
        effects: list[Effect] = []
        for run in list(self.runs.values()):
            news = run.wake(now)
            effects += [self._named(effect) for effect in news] if run.state is State.HOLDING else news
        effects += self.replication.wake(now)
        for shipment in list(self.shipments.values()):
            effects += shipment.wake(now)
        effects += self.intake.wake(now)
        return effects

    def begin(
        self,
        machine: TickMachine,
        now: int,
        primaries: Mapping[int, str] | None = None,
        sizes: Mapping[int, int] | None = None,
    ) -> Sequence[Effect]:
        """Begins a run here; the host then takes its `early` messages. See `Replication.begin` for the `primaries` that
        may store states here, and the `sizes` of these.
        """
        assert machine.run not in self.runs, machine.run
        self.runs[machine.run] = machine
        self.replication.begin(machine.run, primaries or {}, sizes)
        self._forgotten.pop(machine.run, None)
        return machine.begin(now)

    def early(self, run: int) -> list[tuple[str, PhaseDone | Checkpoint]]:
        """Returns, once, what peers sent before a run began here."""
        mine = [kept for kept in self._early if kept[1].run == run]
        self._drop_early(run)
        return mine

    def leave_epoch(self) -> None:
        """Drops all runs of the old view, and early messages about them."""
        self.runs.clear()
        self.replication.clear()
        self._forgotten.clear()
        self._early, self._early_bytes = [], 0

    def keep_company(self, members: Collection[str]) -> None:
        """Drops shipments to all but these members."""
        self.shipments = {key: shipment for key, shipment in self.shipments.items() if key[1] in members}
        self._fetched &= self.shipments.keys()

    def ship(self, shipments: Sequence[Shipment], now: int) -> Sequence[Effect]:
        """Sends pieces to their shards."""
        effects: list[Effect] = []
        for shipment in shipments:
            self.shipments[shipment.load, shipment.to] = shipment
            effects += shipment.begin(now)
        return effects

    def ship_once(self, shipment: Shipment, now: int) -> Sequence[Effect]:
        """Sends what a peer has fetched, and forgets it once that is answered.

        A peer that asks again while this thread is busy makes the host read the states twice. The first shipment
        continues: the second may hold other states, because runs have gone on meanwhile.
        """
        key = shipment.load, shipment.to
        if key in self.shipments:
            return []
        self._fetched.add(key)
        return self.ship([shipment], now)

    def land(self, load: str) -> None:
        """Forgets the shipments of a load that has ended, successfully or not."""
        self.shipments = {key: shipment for key, shipment in self.shipments.items() if key[0] != load}

    def forget(self, run: int) -> None:
        """Drops a run that the cluster is done with."""
        self.runs.pop(run, None)
        self.replication.forget(run)
        self._drop_early(run)
        self._forgotten[run] = None
        if len(self._forgotten) > RUNS_FORGOTTEN_MAX:
            del self._forgotten[next(iter(self._forgotten))]

    def _step_shipment(self, sender: str, message: ChunksAcknowledged | PieceBuilt, now: int) -> Sequence[Effect]:
        key = (message.load, sender)
        shipment = self.shipments.get(key)
        if shipment is None:
            return []
        effects = shipment.step(message, now)
        if shipment.answer is not None and key in self._fetched:
            self._fetched.discard(key)
            del self.shipments[key]
        return effects

    def validate(self) -> None:
        """Asserts every machine's invariants."""
        for run in self.runs.values():
            run.validate()
        self.replication.validate()
        assert len(self._early) <= EARLY_MESSAGES_MAX
        assert self._early_bytes == sum(size_of(message.frames) for _, message in self._early) <= EARLY_BYTES_MAX
        assert not any(message.run in self.runs or message.run in self._forgotten for _, message in self._early)

    def _named(self, effect: TickEffect) -> TickEffect:
        """Adds the late replicas to the event of a run that waits for storage, which does not know them."""
        if not isinstance(effect, PhaseLate):
            return effect
        return replace(effect, missing=self.replication.lacking(effect.run))

    def _keep_early(self, sender: str, message: PhaseDone | Checkpoint) -> None:
        size = size_of(message.frames)
        if message.run in self._forgotten or size > EARLY_BYTES_MAX:
            return
        self._early.append((sender, message))
        self._early_bytes += size
        while len(self._early) > EARLY_MESSAGES_MAX or self._early_bytes > EARLY_BYTES_MAX:
            self._early_bytes -= size_of(self._early.pop(0)[1].frames)

    def _drop_early(self, run: int) -> None:
        self._early = [kept for kept in self._early if kept[1].run != run]
        self._early_bytes = sum(size_of(message.frames) for _, message in self._early)
