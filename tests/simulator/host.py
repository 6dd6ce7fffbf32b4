"""One machine of a simulated cluster: the real `ControlPlane` and `TickRunner`, and what the runtime does for them.

The control plane and the tick plane hand over to each other through queues, as in the daemon, so an order or a piece of
news arrives a moment later, in turn. What the control plane says behind a write waits for it to be synced, in the queue
that the daemon has for it; if the disk stalls, so does the control plane. A host can
be paused (its deadlines pass, its inbox fills), it can crash or lose its power, and its disk can fail it: then it says
goodbye and goes. What is left is its disk; from that it starts again, as a later generation.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from consensus import EffectQueue, Persist
from daemon.control.effects import (
    Answered,
    BeginRun,
    DeleteParts,
    DiskWentBack,
    Effect,
    GrantTicks,
    HealBarrier,
    KeepPromise,
    LogUnreadable,
    MendHoldings,
    Send,
    SendToAddress,
    StopRunHere,
    TellStates,
)
from daemon.control.plane import ControlPlane
from daemon.control.settings import OnDisk, ShardSettings
from daemon.control.voters import server_of
from daemon.membership.effects import Counted, MemberFailed, Superseded
from daemon.membership.messages import Member
from daemon.runtime.tick_runner import News, TickRunner
from daemon.services.graphs.messages import PartitionMissing, PartitionRequest, StatesRequest
from daemon.state import GraphRemoved, ResultsExpired, RunEnded, ViewInstalled
from daemon.state.commands import Identity
from daemon.transfer.chunks import LoadLimits, PieceArrived
from daemon.vocabulary import CONTROL_TYPES, TICK_TYPES
from daemon.wire import Codec, Foreign
from shoal.lockstep.effects import PhaseLate
from shoal.lockstep.timing import TickTiming
from tests.simulator.desk import Desk
from tests.simulator.disk import Contents, Disk
from tests.simulator.invariants import Invariants
from tests.simulator.network import CONTROL, TICKS, Network
from tests.simulator.programs import SmallGraph
from tests.simulator.tick_host import TickHost
from tests.simulator.world import MS, SECOND, US, World

WAKES_AT_ONCE_MAX = 20
"""A machine whose deadline does not move although it was woken would keep the daemon's loop busy for ever."""
LEAVE_LINGER_NS = 2 * SECOND
GO_BACK_NS = SECOND
CODECS = {CONTROL: Codec("sim", CONTROL_TYPES), TICKS: Codec("sim", TICK_TYPES)}
"""They keep nothing between two messages, and take a while to make."""


@dataclass(frozen=True)
class Surroundings:
    """What all hosts of a cluster share."""

    world: World
    network: Network
    invariants: Invariants
    graph: SmallGraph
    settings: ShardSettings
    timing: TickTiming
    checkpoint_interval_ns: int
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
    """A name, its disk, and what runs under it at the moment."""

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name, self.generation = name, 0
        self.around, self.world = around, around.world
        self.disk = Disk(1, around.world.random(f"disk {name}"))
        self.diary = Diary()
        self.phase_ns = (100 * US, 5 * MS)
        self.random = around.world.random(f"host {name}")
        self._shard: ControlPlane | None = None
        self._paused_until = 0
        around.network.attach(name, self._receive)

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._shard is not None

    @property
    def paused(self) -> bool:
        return self.world.now < self._paused_until

    @property
    def serves(self) -> bool:
        """Up, and not on its way out."""
        return self.running and not self.is_broken and not self.is_leaving

    @property
    def well(self) -> bool:
        """Up, awake, and not on its way out."""
        return self.serves and not self.paused

    @property
    def shard(self) -> ControlPlane:
        assert self._shard is not None, f"{self.name} is down"
        return self._shard

    @property
    def runner(self) -> TickRunner:
        assert self._shard is not None, f"{self.name} is down"
        return self.ticks.runner

    @property
    def identity(self) -> Identity:
        return Identity(self.name, self.generation)

    def start(self) -> None:
        """Begin a new life, with the disk as it is."""
        assert not self.running
        self.generation += 1
        self.world.tell(f"{self.name} starts as generation {self.generation}")
        self._inbox: list[tuple[str, list[bytes]]] = []
        self._missed: list[Callable[[], None]] = []
        self._queue: deque[Callable[[], None]] = deque()
        self._effects: EffectQueue[Effect] = EffectQueue((Persist, KeepPromise))
        self._paused_until = self._handed_over_at = self._wake_at = 0
        self._is_going_on = self.is_broken = self.is_leaving = False
        before, forgot = self.disk.open(self.generation, self.after, self._disk_failed)
        self._start_shard(before, forgot)
        self.ticks, self.desk = TickHost(self), Desk(self)
        self.control(lambda: self.perform(self.shard.wake(self.world.now)))
        self.desk.tell_progress()

    def _start_shard(self, before: int, forgot: bool) -> None:
        around, random = self.around, self.world.random(f"shard {self.name}/{self.generation}")
        member = Member(self.name, self.generation, address(self.name), f"sim://{self.name}/ticks", b"")
        disk, contents = self.disk, self.disk.contents
        found = OnDisk(disk.number, contents.stored, dict(contents.held), contents.promise, before, forgot)
        self._shard = ControlPlane(member, around.seeds, around.settings, random, self.world.now, found)

    def crash(self) -> None:
        """Forget everything that is not on the disk."""
        self.world.tell(f"{self.name} goes down")
        self._shard = None
        self.disk.cut()

    def wipe(self) -> None:
        """Another disk, with nothing on it."""
        assert not self.running
        self.disk = Disk(self.disk.number + 1, self.world.random(f"disk {self.name} {self.generation}"))

    def go_back(self, contents: Contents, *, with_folder: bool) -> None:
        """The same disk, as it was some time ago."""
        assert not self.running
        self.around.invariants.safety.went_back(server_of(self.name, self.disk.number))
        self.disk.go_back(contents, with_folder=with_folder)
        self.around.invariants.safety.went_back(server_of(self.name, self.disk.number))

    def leave(self) -> None:
        """As at a SIGTERM: say goodbye to the members, and go."""
        self.is_leaving = True
        self.control(lambda: self.perform(self.shard.leave(self.world.now)))
        self.after(LEAVE_LINGER_NS, self.crash)

    def _disk_failed(self) -> None:
        """Nothing more is said but a goodbye: what is in memory may be ahead of the disk."""
        if self.is_broken:
            return
        self.world.tell(f"{self.name}: its disk fails")
        self.is_broken = True
        self._effects.clear()
        for effect in self.shard.leave(self.world.now):
            if isinstance(effect, Send | SendToAddress):
                self._carry_out(effect)
        self.after(LEAVE_LINGER_NS, self.crash)

    def _begin_as_new_disk(self, why: str) -> None:
        """As the daemon does it: keep what is there of graphs and states, and nothing of what its server knew."""
        self.world.tell(f"{self.name}: its disk went back: {why}")
        self.is_broken = True
        self._effects.clear()
        for effect in self.shard.leave(self.world.now):
            if isinstance(effect, Send | SendToAddress):
                self._carry_out(effect)
        self.after(GO_BACK_NS, self._start_again)

    def _start_again(self) -> None:
        self.crash()
        self.disk.renounce()
        self.start()

    def pause(self, duration: int) -> None:
        """Do nothing for a while; what arrives, waits."""
        self.world.tell(f"{self.name} pauses for {duration / SECOND:.3f} s")
        self._paused_until = max(self._paused_until, self.world.now + duration)
        life = self.generation
        self.world.at(self._paused_until, lambda: self._resume(life))

    def _resume(self, life: int) -> None:
        """Read what has arrived before looking at the time: silence that was our own convicts nobody."""
        if not self.running or self.generation != life or self.paused:
            return
        inbox, self._inbox, missed, self._missed = self._inbox, [], self._missed, []
        for plane, frames in inbox:
            self._take(plane, frames)
        for action in missed:
            action()
        if self.running:
            self.plan_wake()

    def after(self, delay: int, action: Callable[[], None]) -> None:
        """Do something in a while, in this life; later if the host is paused then."""
        life = self.generation

        def act() -> None:
            if not self.running or self.generation != life:
                return
            if self.paused:
                self._missed.append(act)
            else:
                action()

        self.world.after(delay, act)

    # -- messages --------------------------------------------------------------------------------------------------

    def _receive(self, plane: str, frames: list[bytes]) -> None:
        if not self.running:
            return
        if self.paused:
            self._inbox.append((plane, frames))
        else:
            self._take(plane, frames)

    def _take(self, plane: str, frames: list[bytes]) -> None:
        try:
            envelope = CODECS[plane].decode(frames, self.shard.founding)
        except Foreign:
            self.diary.counted["foreign"] += 1
            return
        if self.world.verbose or self.world.traces:
            kind = type(envelope.message).__name__
            self.world.tell(f"{self.name} <- {envelope.sender}/{envelope.generation} {kind}", b"".join(frames))
        if plane == TICKS:
            self.ticks.receive(envelope)
        else:
            self.control(lambda: self._heard(Identity(envelope.sender, envelope.generation), envelope.message))

    def _heard(self, sender: Identity, message: Any) -> None:
        match message:
            case PartitionRequest() | StatesRequest():
                if self.shard.registry.has_member(sender):
                    self.desk.give(sender.name, message)
            case PartitionMissing(request=fetch):
                self.desk.missing(fetch)
            case _:
                self.perform(self.shard.step(sender, message, self.world.now))

    def send(self, plane: str, epoch: int, to: str, message: object) -> None:
        """Hand a message to the network."""
        frames = CODECS[plane].encode(epoch, self.name, self.generation, message, self.shard.founding)
        self.around.network.send(plane, self.name, to, frames)

    def say(self, to: str, message: object) -> None:
        """To a member's control plane."""
        self.send(CONTROL, self.shard.registry.epoch, to, message)

    # -- the control plane -----------------------------------------------------------------------------------------

    def control(self, action: Callable[[], None]) -> None:
        """Have the control plane do something; at once, unless the disk has stalled."""
        if self._has_stalled:
            self._queue.append(action)
        else:
            action()

    @property
    def _has_stalled(self) -> bool:
        return self._effects.has_stalled(self.world.now)

    def hand_over(self, action: Callable[[], None]) -> None:
        """From one plane to the other: soon, and in turn."""
        self._handed_over_at = max(self._handed_over_at, self.world.now + self.random.randrange(MS))
        self.after(self._handed_over_at - self.world.now, action)

    def perform(self, effects: Sequence[Effect]) -> None:
        """Carry out what the shard asks for, in order; what stands behind a `Persist` waits for the disk."""
        self.around.invariants.seen(self.shard)
        if self.is_broken:
            return
        self.around.invariants.given(self.shard, effects)
        self._effects.put(effects)
        if not self._is_going_on:
            self._go_on()
        self.plan_wake()

    def _go_on(self) -> None:
        self._is_going_on = True
        while not self.is_broken and (effect := self._effects.next(self.world.now)) is not None:
            if isinstance(effect, Persist | KeepPromise):
                self.disk.persist(effect, partial(self._persisted, effect))
            else:
                self._carry_out(effect)
        self._is_going_on = False
        if self._effects.is_idle and not self.is_broken:
            self.around.invariants.persisted(self, self.shard)

    def _persisted(self, effect: Persist | KeepPromise) -> None:
        self._effects.written()
        self._go_on()
        if isinstance(effect, Persist) and not self.is_broken:
            self.perform(self.shard.persisted(effect, self.world.now))
        while self._queue and not self._has_stalled:
            self._queue.popleft()()
        self.plan_wake()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                self.say(effect.to, effect.message)
            case SendToAddress():
                self.say(effect.address.split("/")[2], effect.message)
            case ViewInstalled(view=view):
                self.desk.enter_view(view)
            case BeginRun():
                self.desk.begin(effect.run, effect.view)
            case TellStates():
                self.desk.tell_states(effect)
            case MendHoldings(wants=wants):
                self.desk.aim(wants)
            case DeleteParts(load=load, partitions=partitions):
                self.disk.write(lambda contents: contents.drop(load, partitions))
            case GrantTicks(run=run, tick=tick):
                self.ticks.with_run(run, lambda machine: machine.grant(tick, self.world.now))
            case StopRunHere(run=run):
                self.ticks.with_run(run, lambda machine: machine.stop(self.world.now))
            case HealBarrier(run=run, entries=entries):
                self.ticks.with_run(run, lambda machine: machine.relayed(entries, self.world.now))
            case RunEnded(run=record):
                self.desk.ended(record)
            case GraphRemoved() | ResultsExpired():
                self.desk.forget_states()
            case Answered(request=request, error=error):
                self.diary.answers[request] = effect
                self.around.invariants.answered(request, error, self.shard)
            case Counted(name=name, amount=amount):
                self.diary.counted[name] += amount
            case MemberFailed(member=member):
                self.diary.failed.append((member.name, self.world.now))
                self.world.tell(f"{self.name}: {member.name}/{member.generation} failed")
            case DiskWentBack(why=why):
                self._begin_as_new_disk(why)
            case LogUnreadable(why=why):
                raise AssertionError(f"{self.name}, of one version with all others, can't go on: {why}")
            case Superseded():
                raise AssertionError(f"{self.name} is superseded, and runs but once")
            case _:
                self.world.tell(f"{self.name}: {type(effect).__name__}")

    # -- the tick plane --------------------------------------------------------------------------------------------

    def order(self, order: Callable[[TickRunner], Sequence[News]]) -> None:
        """Have something done on the tick plane, soon and in turn."""
        self.hand_over(lambda: self.ticks.news(order(self.ticks.runner)))

    # -- time ------------------------------------------------------------------------------------------------------

    def plan_wake(self) -> None:
        """Wake when the earliest machine wants it; a wake that is planned earlier already looks again then."""
        times = (None if self._has_stalled or self.is_broken else self.shard.deadline, self.runner.plane.deadline)
        due = min((time for time in times if time is not None), default=None)
        if due is None or (self.world.now < self._wake_at <= due):
            return
        self._wake_at = max(due, self.world.now)
        at = self._wake_at
        self.after(at - self.world.now, partial(self._wake, at))

    def _wake(self, at: int) -> None:
        if at != self._wake_at:
            return  # an earlier one was planned since
        self._wake_at = 0
        for _ in range(WAKES_AT_ONCE_MAX):
            waits = self._has_stalled or self.is_broken
            ticks_due = _is_due(self.runner.plane.deadline, self.world.now)
            shard_due = not waits and _is_due(self.shard.deadline, self.world.now)
            if ticks_due:
                self.ticks.news(self.runner.wake())
            if shard_due:
                self.perform(self.shard.wake(self.world.now))
            if not ticks_due and not shard_due:
                break
        else:
            raise AssertionError(f"{self.name} never rests")
        self.plan_wake()


def _is_due(deadline: int | None, now: int) -> bool:
    return deadline is not None and deadline <= now
