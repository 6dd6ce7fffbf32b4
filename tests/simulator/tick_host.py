"""A simulated host's tick plane: what the daemon's tick thread does, with phases that take virtual time.

It enters views as the thread does: frames of another epoch are dropped, those of the next one kept until it is entered,
and only who is in the view in that very life is heard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from daemon.control.messages import RunReport
from daemon.runtime.tick_runner import News, TickRunner
from daemon.state.records import View
from daemon.transfer.chunks import PieceArrived
from daemon.wire import Envelope
from shoal.lockstep.effects import PhaseLate, RunOver, RunPhase, SendTick, StoreStates, TickCommitted
from shoal.lockstep.machine import TickMachine
from tests.simulator.disk import Row
from tests.simulator.network import TICKS

if TYPE_CHECKING:
    from tests.simulator.host import Host

NEXT_EPOCH_MESSAGES_MAX = 256


class TickHost:
    """One life of a host's tick plane."""

    def __init__(self, host: Host) -> None:
        self._host, self._world, self._invariants = host, host.world, host.around.invariants
        self.runner = TickRunner(host.name, host.around.load_limits, lambda: host.world.now, hold=True)
        self.runner.plane.replication._resend_interval_ns = host.around.timing.resend_interval_ns
        self.epoch = 0
        self.paced: set[int] = set()
        self.reached: dict[int, int] = {}
        """By run, the last tick that was seen committed in this life."""
        self._roster: dict[str, int] = {}
        self._early: list[Envelope] = []
        self._held: list[RunPhase] = []

    # -- orders ----------------------------------------------------------------------------------------------------

    def enter_view(self, view: View) -> None:
        """Speak with its members from now on, if this host is one, and drop the runs of the older view."""
        is_member = view.has(self._host.identity)
        peers = {member.name: member.generation for member in view.members if member.name != self._host.name}
        self._host.hand_over(lambda: self._enter(view.epoch, peers if is_member else {}))

    def _enter(self, epoch: int, roster: dict[str, int]) -> None:
        if epoch != self.epoch:
            self.runner.leave_epoch()
            self._held.clear()
            self.paced.clear()
        early, self._early = self._early, []
        self.epoch, self._roster = epoch, roster
        self.runner.plane.keep_company(roster)
        for envelope in early:
            self.receive(envelope)
        self.news([])

    def begin(self, machine: TickMachine, part: Any, program: Any, is_paced: bool, **more: Any) -> None:
        """Begin a run, soon."""

        def act() -> None:
            if is_paced:
                self.paced.add(machine.run)
            self._invariants.begins(self._host.name, self.epoch, machine)
            self.news(self.runner.begin(machine, part, program, **more))

        self._host.hand_over(act)

    def with_run(self, run: int, do: Callable[[TickMachine], Any]) -> None:
        """Let a run's machine take an order; nothing if it is over."""

        def act() -> None:
            machine = self.runner.plane.runs.get(run)
            effects = do(machine) if machine is not None else None
            if effects:
                self.news(self.runner.perform(effects))

        self._host.hand_over(act)

    def end(self, run: int, failure: str) -> None:
        """The log says that a run is over."""

        def act() -> None:
            machine = self.runner.plane.runs.get(run)
            if machine is not None:
                for effect in machine.abort(failure):
                    self._host.diary.ended[run] = effect.tick
            self.runner.forget(run)
            self._held = [held for held in self._held if held.run != run]
            self.paced.discard(run)

        self._host.hand_over(act)

    # -- messages and news -----------------------------------------------------------------------------------------

    def receive(self, envelope: Envelope) -> None:
        """A frame of this plane."""
        epoch, sender, generation, message, _ = envelope
        if epoch == self.epoch:
            if self._roster.get(sender) == generation:
                self.news(self.runner.take(sender, message))
        elif epoch == self.epoch + 1 and len(self._early) < NEXT_EPOCH_MESSAGES_MAX:
            self._early.append(envelope)

    def news(self, news: Sequence[News]) -> None:
        """Carry out what the runner has told."""
        self.runner.plane.validate()
        for item in news:
            match item:
                case SendTick():
                    if item.to in self._roster:
                        self._host.send(TICKS, self.epoch, item.to, item.message)
                case TickCommitted(run=run, tick=tick):
                    self._committed(run, tick)
                case PhaseLate():
                    self._world.tell(f"{self._host.name}: late {item.missing} in {item.phase.word} of {item.tick}")
                    self._host.diary.late.append((self._world.now, item))
                case StoreStates():
                    self._store(item)
                case RunOver():
                    self._over(item)
                case PieceArrived(load=load):
                    if load.startswith("fetch/"):
                        self._host.hand_over(partial(self._host.control, partial(self._host.desk.arrived, item)))
                    else:
                        self._host.diary.arrived.append(item)
        self._run_held()
        self._host.plan_wake()

    def _store(self, item: StoreStates) -> None:
        made_in = self._host.desk.begun[item.run, self.epoch].made_in(item.tick)
        rows = [
            Row(item.run, item.tick, item.floor, partition, _bytes_of(state), made_in)
            for partition, state in item.states.items()
        ]
        self._invariants.stores(self._host.name, self.epoch, rows)
        self._host.disk.keep(rows, lambda: self._host.hand_over(lambda: self.news(self.runner.stored(item.token))))

    def _run_held(self) -> None:
        """Give each phase that begins a duration."""
        known = {id(held) for held in self._held}
        for held in [held for held in self.runner.held if id(held) not in known]:
            self._held.append(held)
            self._invariants.started(self._host.name, self.epoch, held)
            self._world.tell(f"{self._host.name} starts {held.phase.word} of tick {held.tick} of run {held.run}")
            self._host.after(self._host.random.randint(*self._host.phase_ns), partial(self._finish, held))

    def _finish(self, held: RunPhase) -> None:
        if not any(held is other for other in self._held):
            return  # the log has ended the run, or there is a new view
        self._held = [other for other in self._held if other is not held]
        self._invariants.finished(self._host.name, self.epoch, held)
        self.news(self.runner.run_held(held))

    def _committed(self, run: int, tick: int) -> None:
        self.reached[run] = max(tick, self.reached.get(run, 0))
        self._invariants.committed(self._host.name, self.epoch, run, tick, self.runner.engines[run])
        if run in self.paced:
            shard = self._host.shard
            self.tell(lambda: self._host.perform(shard.tick_committed(run, tick, self._world.now)))

    def _over(self, over: RunOver) -> None:
        self._world.tell(f"{self._host.name}: run {over.run} is over, {over.outcome} after tick {over.tick}")
        self._host.diary.ended[over.run] = over.tick
        self._invariants.over(self._host.name, self.epoch, over)
        shard = self._host.shard

        def report() -> None:
            epoch = self._host.desk.epochs.get(over.run, 0)
            told = RunReport(over.run, epoch, over.tick, over.outcome, over.failure, 0, self._world.now)
            self._host.perform(shard.run_over(told, self._world.now))

        self.tell(report)

    def tell(self, action: Callable[[], None]) -> None:
        """Have the control plane hear of something."""
        self._host.hand_over(lambda: self._host.control(action))


def _bytes_of(state: Any) -> bytes:
    return bytes(memoryview(state).cast("B"))
