"""One machine of a simulated cluster: the real `Shard` and the real `TickRunner`, and what the daemon's runtime does.

The control plane and the tick plane hand over to each other through queues, as in the daemon, so an order or a piece of
news arrives a moment later, in turn. A host can be paused (its deadlines pass, its inbox fills) and it can crash: then
it forgets everything, and starts again as a later generation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from daemon.effects import (
    Answered,
    BeginRun,
    Effect,
    GrantTicks,
    HealBarrier,
    Send,
    SendToAddress,
    StopRunHere,
)
from daemon.host.tick_runner import News, TickRunner
from daemon.protocol.cluster_messages import RunReport
from daemon.protocol.decisions import Identity
from daemon.protocol.load import LoadLimits, PieceArrived
from daemon.protocol.membership_effects import Counted, MemberFailed, Superseded
from daemon.protocol.membership_messages import Member
from daemon.protocol.registry import RunEnded
from daemon.protocol.tick import TickMachine, TickTiming
from daemon.protocol.tick_effects import PhaseLate, RunOver, RunPhase, SendTick, StoreStates, TickCommitted
from daemon.shard import Shard, ShardSettings
from daemon.vocabulary import CONTROL_TYPES, TICK_TYPES
from daemon.wire import Codec
from tests.simulator.invariants import Invariants
from tests.simulator.network import CONTROL, TICKS, Network
from tests.simulator.programs import PARTITIONS, SmallGraph, make, result
from tests.simulator.world import MS, SECOND, US, World

PROGRESS_INTERVAL_NS = 100 * MS
WAKES_AT_ONCE_MAX = 20
"""A machine whose deadline does not move although it was woken would keep the daemon's loop busy for ever."""


@dataclass(frozen=True)
class Surroundings:
    """What all hosts of a cluster share."""

    world: World
    network: Network
    invariants: Invariants
    graph: SmallGraph
    settings: ShardSettings
    timing: TickTiming
    load_limits: LoadLimits
    seeds: tuple[str, ...]


@dataclass
class Diary:
    """What a host has seen, in all its lives; the scenarios read it."""

    answers: dict[str, Answered] = field(default_factory=dict)
    late: list[tuple[int, PhaseLate]] = field(default_factory=list)
    failed: list[tuple[str, int]] = field(default_factory=list)
    ended: dict[int, int] = field(default_factory=dict)
    arrived: list[PieceArrived] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)


def address(name: str) -> str:
    return f"sim://{name}/control"


class Host:
    """A name, and what runs under it at the moment."""

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name, self.generation = name, 0
        self.diary = Diary()
        self.phase_ns = (100 * US, 5 * MS)
        self._around, self._world = around, around.world
        self._codecs = {CONTROL: Codec("sim", CONTROL_TYPES), TICKS: Codec("sim", TICK_TYPES)}
        self._random = around.world.random(f"host {name}")
        self._shard: Shard | None = None
        self._runner: TickRunner | None = None
        self._paused_until = 0
        self._inbox: list[tuple[str, list[bytes]]] = []
        self._missed: list[Callable[[], None]] = []
        around.network.attach(name, self._receive)

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._shard is not None

    @property
    def paused(self) -> bool:
        return self._world.now < self._paused_until

    @property
    def shard(self) -> Shard:
        assert self._shard is not None, f"{self.name} is down"
        return self._shard

    @property
    def runner(self) -> TickRunner:
        assert self._runner is not None, f"{self.name} is down"
        return self._runner

    @property
    def identity(self) -> Identity:
        return Identity(self.name, self.generation)

    def start(self) -> None:
        """Begin a new life."""
        assert not self.running
        self.generation += 1
        self._world.tell(f"{self.name} starts as generation {self.generation}")
        member = Member(self.name, self.generation, address(self.name), f"sim://{self.name}/ticks", b"")
        around, random = self._around, self._world.random(f"shard {self.name}/{self.generation}")
        self._shard = Shard(member, around.seeds, around.settings, random, self._world.now)
        self._runner = TickRunner(self.name, around.load_limits, lambda: self._world.now, hold=True)
        self._inbox, self._missed, self._paused_until = [], [], 0
        self._held: list[RunPhase] = []
        self._handed_over_at = self._wake_at = 0
        self._after(PROGRESS_INTERVAL_NS, self._note_progress)
        self._plan_wake()

    def crash(self) -> None:
        """Forget everything."""
        self._world.tell(f"{self.name} crashes")
        self._shard = self._runner = None

    def pause(self, duration: int) -> None:
        """Do nothing for a while; what arrives, waits."""
        self._world.tell(f"{self.name} pauses for {duration / SECOND:.3f} s")
        self._paused_until = max(self._paused_until, self._world.now + duration)
        life = self.generation
        self._world.at(self._paused_until, lambda: self._resume(life))

    def _resume(self, life: int) -> None:
        """Read what has arrived before looking at the time: silence that was our own convicts nobody."""
        if not self.running or self.generation != life or self.paused:
            return
        inbox, self._inbox, missed, self._missed = self._inbox, [], self._missed, []
        for plane, frames in inbox:
            self._take(plane, frames)
        for action in missed:
            action()
        self._plan_wake()

    def _after(self, delay: int, action: Callable[[], None]) -> None:
        """Do something in a while, in this life; later if the host is paused then."""
        life = self.generation

        def act() -> None:
            if not self.running or self.generation != life:
                return
            if self.paused:
                self._missed.append(act)
            else:
                action()

        self._world.after(delay, act)

    # -- messages --------------------------------------------------------------------------------------------------

    def _receive(self, plane: str, frames: list[bytes]) -> None:
        if not self.running:
            return
        if self.paused:
            self._inbox.append((plane, frames))
        else:
            self._take(plane, frames)

    def _take(self, plane: str, frames: list[bytes]) -> None:
        envelope = self._codecs[plane].decode(frames)
        kind = type(envelope.message).__name__
        self._world.tell(f"{self.name} <- {envelope.sender}/{envelope.generation} {kind}", b"".join(frames))
        if plane == CONTROL:
            sender = Identity(envelope.sender, envelope.generation)
            self.perform(self.shard.step(sender, envelope.message, self._world.now))
        elif self._is_of_view(envelope.epoch, envelope.sender, envelope.generation):
            self._tick_news(self.runner.take(envelope.sender, envelope.message))

    def _is_of_view(self, epoch: int, sender: str, generation: int) -> bool:
        view = self.shard.registry.view
        return view is not None and view.epoch == epoch and view.has(Identity(sender, generation))

    def _send(self, plane: str, to: str, message: object) -> None:
        frames = self._codecs[plane].encode(self.shard.registry.epoch, self.name, self.generation, message)
        self._around.network.send(plane, self.name, to, frames)

    # -- the control plane -----------------------------------------------------------------------------------------

    def perform(self, effects: Sequence[Effect]) -> None:
        """Carry out what the shard asks for, in order."""
        self._around.invariants.persisted(self.shard, effects)
        for effect in effects:
            match effect:
                case Send():
                    self._send(CONTROL, effect.to, effect.message)
                case SendToAddress():
                    self._send(CONTROL, effect.address.split("/")[2], effect.message)
                case BeginRun():
                    self._begin(effect)
                case GrantTicks() | StopRunHere() | HealBarrier():
                    self._order(partial(self._with_run, effect))
                case RunEnded(run=record):
                    self._order(partial(self._end, record.number, record.failure))
                    self._world.tell(f"{self.name}: {record.name} {record.state} at {record.tick} {record.failure}")
                case Answered(request=request):
                    self.diary.answers[request] = effect
                case Counted(name=name, amount=amount):
                    self.diary.counted[name] += amount
                case MemberFailed(member=member):
                    self.diary.failed.append((member.name, self._world.now))
                    self._world.tell(f"{self.name}: {member.name}/{member.generation} failed")
                case Superseded():
                    raise AssertionError(f"{self.name} is superseded, and runs but once")
                case _:
                    self._world.tell(f"{self.name}: {type(effect).__name__}")
        self._plan_wake()

    def _begin(self, effect: BeginRun) -> None:
        run, view = effect.run, effect.view
        self._around.invariants.begun(run, view)
        machine = TickMachine(
            run.number, self.name, view.names, run.phases, run.ticks, self._around.timing, effect.granted
        )
        part = self._around.graph.part(self.name, view.names, view.placement(PARTITIONS))
        program = make(run.program, run.params)
        self._order(lambda: self._tick_news(self.runner.begin(machine, part, program)))

    def _end(self, run: int, failure: str) -> None:
        machine = self.runner.plane.runs.get(run)
        if machine is not None:
            for effect in machine.abort(failure):
                self.diary.ended[run] = effect.tick
        self.runner.forget(run)
        self._held = [held for held in self._held if held.run != run]

    def _note_progress(self) -> None:
        now = self._world.now
        for number, machine in self.runner.plane.runs.items():
            seconds = (now - machine.since) / SECOND
            entry = machine.barrier.entry(self.name)
            self.shard.progress.own(number, entry, machine.tick, machine.doing(), seconds, now)
        self._after(PROGRESS_INTERVAL_NS, self._note_progress)
        self._plan_wake()

    # -- the tick plane --------------------------------------------------------------------------------------------

    def order(self, order: Callable[[TickRunner], Sequence[News]]) -> None:
        """Have something done on the tick plane, soon and in turn."""
        self._order(lambda: self._tick_news(order(self.runner)))

    def _order(self, action: Callable[[], None]) -> None:
        """Queues between the planes keep their order."""
        due = self._world.now + self._random.randrange(MS)
        self._handed_over_at = max(self._handed_over_at, due)
        self._after(self._handed_over_at - self._world.now, action)

    def _with_run(self, effect: GrantTicks | StopRunHere | HealBarrier) -> None:
        machine = self.runner.plane.runs.get(effect.run)
        if machine is None:
            return
        match effect:
            case GrantTicks(tick=tick):
                self._tick_news(self.runner.perform(machine.grant(tick, self._world.now)))
            case StopRunHere():
                self._tick_news(self.runner.perform(machine.stop(self._world.now)))
            case HealBarrier(entries=entries):
                machine.relayed(entries)

    def _tick_news(self, news: Sequence[News]) -> None:
        self.runner.plane.validate()
        for item in news:
            match item:
                case SendTick():
                    self._send(TICKS, item.to, item.message)
                case TickCommitted(run=run, tick=tick):
                    self._committed(run, tick)
                case PhaseLate():
                    self._world.tell(f"{self.name}: late {item.missing} in {item.phase.word} of tick {item.tick}")
                    self.diary.late.append((self._world.now, item))
                case StoreStates(token=token):
                    self._order(partial(self._stored, token))
                case RunOver():
                    self._over(item)
                case PieceArrived():
                    self.diary.arrived.append(item)
        self._run_held()
        self._plan_wake()

    def _stored(self, token: int) -> None:
        self._tick_news(self.runner.stored(token))

    def _run_held(self) -> None:
        """Give each phase that begins a duration."""
        for held in [held for held in self.runner.held if held not in self._held]:
            self._held.append(held)
            self._around.invariants.started(self.name, held)
            self._world.tell(f"{self.name} starts {held.phase.word} of tick {held.tick} of run {held.run}")
            self._after(self._random.randint(*self.phase_ns), partial(self._finish, held))

    def _finish(self, held: RunPhase) -> None:
        if held not in self._held:
            return  # the log has ended the run
        self._held.remove(held)
        self._around.invariants.finished(self.name, held)
        self._tick_news(self.runner.run_held(held))

    def _committed(self, run: int, tick: int) -> None:
        machine = self.runner.plane.runs[run]
        if machine.granted is not None:
            self._order(lambda: self.perform(self.shard.tick_committed(run, tick, self._world.now)))

    def _over(self, over: RunOver) -> None:
        engine = self.runner.engines[over.run]
        self._world.tell(f"{self.name}: run {over.run} is over, {over.outcome} after tick {over.tick}")
        self.diary.ended[over.run] = over.tick
        self._around.invariants.over(self.name, over, result(engine))
        report = RunReport(over.run, over.tick, over.outcome, over.failure, 0, self._world.now)
        self._order(lambda: self.perform(self.shard.run_over(report, self._world.now)))

    # -- time ------------------------------------------------------------------------------------------------------

    def _plan_wake(self) -> None:
        """Wake when the earliest machine wants it; a wake that is planned earlier already looks again then."""
        times = (self.shard.deadline, self.runner.plane.deadline)
        due = min((time for time in times if time is not None), default=None)
        if due is None or (self._world.now < self._wake_at <= due):
            return
        self._wake_at = max(due, self._world.now)
        at = self._wake_at
        self._after(at - self._world.now, lambda: self._wake(at))

    def _wake(self, at: int) -> None:
        if at != self._wake_at:
            return  # an earlier one was planned since
        self._wake_at = 0
        for _ in range(WAKES_AT_ONCE_MAX):
            if _is_due(self.runner.plane.deadline, self._world.now):
                self._tick_news(self.runner.wake())
            if _is_due(self.shard.deadline, self._world.now):
                self.perform(self.shard.wake(self._world.now))
        for door in (self.shard, self.runner.plane):
            assert not _is_due(door.deadline, self._world.now), f"{self.name}: {type(door).__name__} never rests"
        self._plan_wake()


def _is_due(deadline: int | None, now: int) -> bool:
    return deadline is not None and deadline <= now
