"""The runner of a daemon's tick plane: advances the plane's runs, and does its work for peers and disks.

It checks peers' messages against the graph and the program, replicates the states of checkpoints, and records the
program's place in the guard's page. The daemon's tick thread and the simulator share it. It takes a checkpoint's states
from the engine; the host makes them durable (`StoreStates`, answered with `stored`), because this thread has no time to
wait for a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from daemon.runtime.guard import FIRST_PHASE, HALTED, KEEPING, Slot
from daemon.transfer.chunks import AnyPiece, LoadLimits, PieceAnswered, PieceGone
from daemon.transfer.tick_plane import TickMessage, TickPlane
from shoal.engine.engine import BadExchange, Engine
from shoal.graph.shard_graph import ShardGraph
from shoal.lockstep.barrier import phase_of
from shoal.lockstep.effects import (
    HoldTick,
    PhaseLate,
    RunOver,
    RunPhase,
    SendTick,
    SettlePhase,
    StoreStates,
    TickCommitted,
)
from shoal.lockstep.interruptible import Section
from shoal.lockstep.machine import TickMachine
from shoal.lockstep.messages import PhaseDone
from shoal.lockstep.runner import InProgram, Runner, State
from shoal.program.program import Program

HandedOver: TypeAlias = TickCommitted | PhaseLate | RunOver | AnyPiece | PieceGone | PieceAnswered
"""The effects that the loop handles."""
News: TypeAlias = SendTick | StoreStates | HandedOver
MISFITS_MAX = 5
"""How often to ask again for a share that does not fit."""


class TickRunner(Runner[News]):
    """The runs of one shard with their engines."""

    def __init__(
        self,
        shard: str,
        limits: LoadLimits,
        clock: Callable[[], int],
        *,
        kernel_threads: int = 1,
        hold: bool = False,
        tell: Callable[[News], None] | None = None,
        slot: Slot | None = None,
    ) -> None:
        self.plane = TickPlane(shard, limits)
        section: Section[InProgram] = Section(slot, _in_the_page)
        super().__init__(self.plane.runs, section, clock, kernel_threads=kernel_threads, hold=hold, tell=tell)
        self.bad_exchanges = 0
        self.misfits: dict[tuple[int, str, int], int] = {}
        """How often an awaited share arrived and did not fit, by run, sender and barrier entry."""
        self._replicas: dict[int, Mapping[int, Sequence[str]]] = {}

    def begin(
        self,
        machine: TickMachine,
        part: ShardGraph,
        program: Program,
        *,
        replicas: Mapping[int, Sequence[str]] | None = None,
        primaries: Mapping[int, str] | None = None,
        sizes: Mapping[int, int] | None = None,
        state: State | None = None,
    ) -> list[News]:
        """Begins a run on a part, from a restored `state` if given.

        The states of own partitions go to their `replicas`; states of others are accepted from their `primaries`, with
        these `sizes` if known.
        """
        self._replicas[machine.run] = replicas or {}
        begun = self.plane.begin(machine, self._clock(), primaries, sizes)
        news = self.set_up(machine, part, program, state, begun)
        for sender, message in self.plane.early(machine.run):
            news += self.take(sender, message)
        return news

    def take(self, sender: str, message: TickMessage) -> list[News]:
        """Takes a peer's message; drops and counts a share that does not fit the graph or program.

        It is requested again; but if one never fits, its run fails, because it would wait for it forever.
        """
        if type(message) is PhaseDone:
            misfit = self._misfit(sender, message)
            if misfit:
                return self._refuse(sender, message, misfit)
        effects = self.plane.step(sender, message, self._clock())
        return self.perform(effects) if effects else []

    def wake(self) -> list[News]:
        """Advances whatever is due."""
        return self.perform(self.plane.wake(self._clock()))

    def stored(self, token: int) -> list[News]:
        """Takes note that the states of a `StoreStates` are durable."""
        return self.perform(self.plane.replication.stored(token, self._clock()))

    def leave_epoch(self) -> None:
        """Drops the runs of the old view, with all that they have computed."""
        self.plane.leave_epoch()
        self.engines.clear()
        self._replicas.clear()
        self.held.clear()
        self.misfits.clear()

    def forget(self, run: int) -> Engine | None:
        """Drops a run that the cluster is done with; returns its engine, which holds the results."""
        self.plane.forget(run)
        self._replicas.pop(run, None)
        self.held = [held for held in self.held if held.run != run]
        self.misfits = {share: times for share, times in self.misfits.items() if share[0] != run}
        return self.engines.pop(run, None)

    def keep(self, effect: HoldTick, states: Mapping[int, Any]) -> Sequence[object]:
        """Stores the states here and on the replicas."""
        replicas, now = self._replicas[effect.run], self._clock()
        return self.plane.replication.hold(effect.run, effect.tick, effect.floor, states, replicas, now)

    def _misfit(self, sender: str, message: PhaseDone) -> str:
        """Returns what is wrong with a share; empty if nothing is."""
        engine = self.engines.get(message.run)
        if engine is None or message.failure:
            return ""
        if sender not in engine.part.ghosts or message.entry < 1:
            return "it is not a share of this run"
        try:
            engine.check(sender, phase_of(message.entry)[1], message)
        except BadExchange as error:
            return str(error)
        return ""

    def _refuse(self, sender: str, message: PhaseDone, misfit: str) -> list[News]:
        self.bad_exchanges += 1
        machine = self.plane.runs.get(message.run)
        if machine is None or message.entry != machine.entry or machine.has_share_of(sender):
            return []
        share = (message.run, sender, message.entry)
        self.misfits[share] = self.misfits.get(share, 0) + 1
        if self.misfits[share] < MISFITS_MAX:
            return []
        tick, phase = phase_of(message.entry)
        told = f"{phase.word} of tick {tick}: the share of shard {sender} did not fit {MISFITS_MAX} times: {misfit}"
        return self.perform(machine.abort(f"{machine.shard}: {told}"))


def _in_the_page(at: InProgram) -> tuple[int, int, int]:
    """Returns a program's place in a run, in the guard's format."""
    if type(at) is RunPhase:
        return FIRST_PHASE + at.phase, at.run, at.tick
    return HALTED if type(at) is SettlePhase else KEEPING, at.run, at.tick
