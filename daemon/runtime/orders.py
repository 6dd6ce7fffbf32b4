"""The services' orders to the control plane. Each is performed at once, with all its effects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from consensus import Snapshot
from daemon.control.effects import Answered, Effect
from daemon.control.leader.messages import RunReport
from daemon.control.leader.resume import StatesHeld
from daemon.control.plane import ControlPlane
from daemon.runtime.clock import Clock
from daemon.runtime.rpc import NoReply, Patience, Rpc, once
from daemon.state import Thawed
from daemon.state.machine import Command
from daemon.wire import Rejected

GIVE_UP_SECONDS: Final = 15.0
CATCH_UP_SECONDS: Final = 3.0
"""Longer than it takes to elect a new leader after one has died. Without a majority, only the first caller waits."""
STEP_PATIENCE: Final = Patience(first=1.0, most=1.0, silence=8.0)
"""The request or its answer may be lost; a leader grants one tick per request."""
OURSELVES: Final = ""


class ControlOrders:
    """One shard's orders. `perform` carries out effects; `rpc` delivers the `Answered`."""

    def __init__(
        self,
        plane: ControlPlane,
        clock: Clock,
        perform: Callable[[Iterable[Effect]], None],
        rpc: Rpc,
        new_id: Callable[[], str],
    ) -> None:
        self._plane, self._clock, self._perform, self._rpc, self._new_id = plane, clock, perform, rpc, new_id

    # -- orders with an answer -------------------------------------------------------------------------------------

    async def decide(self, command: Command) -> Answered:
        """Gets a command through consensus. The answer's `error` says why that failed."""
        request, give_up_ns = self._new_id(), self._now() + int(GIVE_UP_SECONDS * 1e9)
        return await self._answer(
            request,
            lambda: self._plane.propose(request, command, give_up_ns, self._now()),
            once(GIVE_UP_SECONDS + 1),
        )

    async def read_index(self) -> bool:
        """Brings the registry up to date with all that is decided anywhere by now; returns False without a majority."""
        request, give_up_ns = self._new_id(), self._now() + int(CATCH_UP_SECONDS * 1e9)
        answer = await self._answer(
            request, lambda: self._plane.read(request, give_up_ns, self._now()), once(CATCH_UP_SECONDS + 1)
        )
        return not answer.error

    async def step_run(self, run: int) -> Answered:
        """Asks the tick leader to grant one more tick of a paced run."""
        request = self._new_id()
        return await self._answer(request, lambda: self._plane.step_run(request, run, self._now()), STEP_PATIENCE)

    async def _answer(self, request: str, ask: Callable[[], list[Effect]], patience: Patience) -> Answered:
        try:
            return await self._rpc.exchange(OURSELVES, request, Answered, lambda: self._perform(ask()), patience)
        except NoReply:
            return Answered(request, "the tick leader has not answered: try again")

    # -- others ----------------------------------------------------------------------------------------------------

    def snapshot_taken(self, index: int, chunks: tuple[bytes, ...] | None) -> None:
        """Reports that a snapshot of the log's state is written; None if there was no room."""
        self._perform(self._plane.snapshot_taken(index, chunks, self._now()))

    def snapshot_read(self, snapshot: Snapshot, read: Thawed | Rejected) -> None:
        """Reports that a leader's snapshot was read, or can't be."""
        self._perform(self._plane.snapshot_read(snapshot, read, self._now()))

    def run_over(self, report: RunReport) -> None:
        """Reports that a run has ended on this shard's tick plane."""
        self._perform(self._plane.run_over(report, self._now()))

    def tick_committed(self, run: int, tick: int) -> None:
        """Reports that this shard committed a tick of a paced run."""
        self._perform(self._plane.tick_committed(run, tick, self._now()))

    def states_held(self, epoch: int, held: Mapping[int, StatesHeld], reached: Mapping[int, int]) -> None:
        """Reports the states on disk of the runs that wait in this epoch's view."""
        self._perform(self._plane.states_held(epoch, held, self._now(), reached))

    def parts_gained(self, load: str, partitions: frozenset[int]) -> None:
        """Reports partitions of a load that are durable on this shard's disk."""
        self._perform(self._plane.parts_gained(load, partitions, self._now()))

    def results_looked_for(self, epoch: int) -> None:
        """Reports that all results that this shard should have in this epoch's view were looked for."""
        self._perform(self._plane.results_looked_for(epoch, self._now()))

    def found(self) -> str:
        """Founds a cluster without waiting for others; returns why not, or an empty string."""
        effects, reason = self._plane.found(self._now())
        self._perform(effects)
        return reason

    def give_up_seat(self) -> None:
        """Asks to be removed from the servers of consensus."""
        self._perform(self._plane.give_up_seat(self._now()))

    def _now(self) -> int:
        return self._clock.monotonic_ns()
