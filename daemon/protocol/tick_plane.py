"""The tick plane of one shard: its runs and the loads under way, behind one pair of doors.

Routes each message to the machine that it is for. A peer may hear of a run from the log a little earlier than we do and
push its first share already: such early messages are kept, within a bound, until the run begins here; what does not fit
is lost without harm, for it is asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from daemon.protocol.load import Intake, LoadEffect, LoadLimits, Shipment
from daemon.protocol.tick import TickMachine
from daemon.protocol.tick_effects import TickEffect
from daemon.protocol.tick_messages import (
    Chunk,
    ChunksTaken,
    PhaseDone,
    PhaseWanted,
    PieceBuilt,
    PieceDropped,
    PieceOffered,
)

TickMessage: TypeAlias = PhaseDone | PhaseWanted | PieceOffered | Chunk | ChunksTaken | PieceBuilt | PieceDropped
TICK_MESSAGES: tuple[type, ...] = (PhaseDone, PhaseWanted, PieceOffered, Chunk, ChunksTaken, PieceBuilt, PieceDropped)
Effect: TypeAlias = TickEffect | LoadEffect

EARLY_MESSAGES_MAX = 64


@dataclass
class TickPlane:
    """All machines of one shard's tick plane."""

    limits: LoadLimits
    runs: dict[int, TickMachine] = field(default_factory=dict)
    shipments: dict[tuple[str, str], Shipment] = field(default_factory=dict)
    last_run: int = 0
    _early: list[tuple[str, PhaseDone]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.intake = Intake(self.limits)

    @property
    def deadline(self) -> int | None:
        """The earliest of all machines."""
        machines: list[TickMachine | Shipment | Intake] = [*self.runs.values(), *self.shipments.values(), self.intake]
        deadlines = [machine.deadline for machine in machines]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def step(self, sender: str, message: TickMessage, now: int) -> Sequence[Effect]:
        """Take a peer's message."""
        if type(message) is PhaseDone:  # nearly all, and looking through the cases costs as much as the rest
            run = self.runs.get(message.run)
            if run is not None:
                return run.step(sender, message, now)
        match message:
            case PhaseDone() | PhaseWanted():
                run = self.runs.get(message.run)
                if run is not None:
                    return run.step(sender, message, now)
                if message.run > self.last_run and isinstance(message, PhaseDone):
                    self._keep_early(sender, message)
                return []
            case ChunksTaken() | PieceBuilt():
                shipment = self.shipments.get((message.load, sender))
                return shipment.step(message, now) if shipment is not None else []
            case PieceOffered() | Chunk() | PieceDropped():
                return self.intake.step(sender, message, now)

    def wake(self, now: int) -> Sequence[Effect]:
        """Let every machine look at the time."""
        effects: list[Effect] = []
        for run in list(self.runs.values()):
            effects += run.wake(now)
        for shipment in list(self.shipments.values()):
            effects += shipment.wake(now)
        effects += self.intake.wake(now)
        return effects

    def begin(self, machine: TickMachine, now: int) -> Sequence[Effect]:
        """A run begins here; the host then takes in what came `early`."""
        assert machine.run not in self.runs, machine.run
        self.runs[machine.run] = machine
        self.last_run = max(self.last_run, machine.run)
        return machine.begin(now)

    def early(self, run: int) -> list[tuple[str, PhaseDone]]:
        """What peers pushed before a run began here; it is handed out once, and what came for older runs is dropped."""
        mine = [kept for kept in self._early if kept[1].run == run]
        self._early = [kept for kept in self._early if kept[1].run > self.last_run]
        return mine

    def ship(self, shipments: Sequence[Shipment], now: int) -> Sequence[Effect]:
        """Send pieces to their shards."""
        effects: list[Effect] = []
        for shipment in shipments:
            self.shipments[shipment.load, shipment.to] = shipment
            effects += shipment.begin(now)
        return effects

    def land(self, load: str) -> None:
        """A load has come to its end, good or bad: forget its shipments."""
        self.shipments = {key: shipment for key, shipment in self.shipments.items() if key[0] != load}

    def forget(self, run: int) -> None:
        """The cluster is done with a run."""
        self.runs.pop(run, None)

    def validate(self) -> None:
        """Assert every machine's invariants."""
        for run in self.runs.values():
            run.validate()
        assert len(self._early) <= EARLY_MESSAGES_MAX
        assert all(message.run > self.last_run for _, message in self._early)

    def _keep_early(self, sender: str, message: PhaseDone) -> None:
        if len(self._early) < EARLY_MESSAGES_MAX:
            self._early.append((sender, message))
