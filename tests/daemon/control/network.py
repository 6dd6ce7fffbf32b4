"""Shards over an in-memory network, each with a disk that outlives it: the control planes alone, with no tick plane.

The host here is the least that carries out a shard's effects: what is to be persisted is, at once; what is to be
fetched arrives in a moment, if one of its sources is up and holds it; and runs do nothing, but what state they have on
each disk can be set by a test.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from consensus import Persist, Stored
from daemon.control.bootstrap import Promise
from daemon.control.effects import (
    Answered,
    BeginRun,
    DeleteParts,
    Effect,
    KeepPromise,
    LogUnreadable,
    MendHoldings,
    ReadSnapshot,
    Send,
    SendToAddress,
    TakeSnapshot,
    TellStates,
)
from daemon.control.leader.resume import Made, StatesHeld
from daemon.control.plane import ControlPlane
from daemon.control.settings import OnDisk, ShardSettings
from daemon.control.versions import OWN
from daemon.membership.config import MembershipConfig
from daemon.membership.messages import Member
from daemon.state import GraphInstalled, Registry, Thawed, ViewInstalled
from daemon.state.commands import AddGraph, StartRun
from daemon.state.machine import Command
from daemon.state.records import View
from daemon.wire import Rejected
from tests.simulator.world import MS, SECOND, World

NAMES = ("ant", "bee", "cat", "dog", "eel")
PARTITIONS = 16
E = TypeVar("E")
SETTINGS = ShardSettings(
    expect=3,
    virtual_nodes=20,
    snapshot_entries=8,
    absent_patience_ns=5 * SECOND,
    surplus_grace_ns=10 * SECOND,
    membership=MembershipConfig(push_pull_interval_ns=5 * SECOND, reconnect_interval_ns=3 * SECOND),
)


@dataclass
class Drive:
    """What is left when the power goes: the server's state, the pieces of graphs, the states of runs."""

    number: int
    stored: Stored | None = None
    life: int = 0
    """The generation of the last life that began on it."""
    forgot: bool = False
    """It is known to lack its last writes."""
    held: dict[str, frozenset[int]] = field(default_factory=dict)
    states: dict[int, dict[Made, frozenset[int]]] = field(default_factory=dict)
    promise: Promise | None = None


class Machine:
    """One machine: a drive, and a shard while it is up."""

    def __init__(self, name: str, cluster: ShardCluster) -> None:
        self.name, self._cluster, self._world = name, cluster, cluster.world
        self.drive = Drive(1)
        self.keeps_snapshots = self.refuses_snapshots = False
        self.generation = 0
        self.reading_ns = 5 * MS
        """How long it takes to read a snapshot."""
        self.shard: ControlPlane | None = None
        self.mends, self.tells = True, True
        self.tags: tuple[tuple[str, str], ...] = ()
        self.version = OWN
        """Of the Shoal that is installed: the next life is of it."""
        self.diary: list[Effect] = []
        self._wake_number = 0

    @property
    def up(self) -> ControlPlane:
        assert self.shard is not None, f"{self.name} is down"
        return self.shard

    @property
    def registry(self) -> Registry:
        return self.up.registry

    def start(self) -> None:
        """A new life of the shard, with the drive as it is."""
        self.generation += 1
        self.diary = []
        member = Member(self.name, self.generation, address(self.name), "", b"", self.tags)
        seeds = [address(name) for name in self._cluster.machines]
        random = self._world.random(f"{self.name} {self.generation}")
        drive = self.drive
        found = OnDisk(drive.number, drive.stored, dict(drive.held), drive.promise, drive.life, drive.forgot)
        drive.life = self.generation
        settings = replace(self._cluster.settings, version=self.version)
        self.shard = ControlPlane(member, seeds, settings, random, self._world.now, found)
        self.perform(self.shard.wake(self._world.now))

    def kill(self) -> None:
        """No more; the drive stays as it is."""
        self.shard = None

    def wipe(self) -> None:
        """Another drive, with nothing on it."""
        self.drive = Drive(self.drive.number + 1)

    def saw(self, kind: type[E]) -> list[E]:
        """What effects of a kind there were in this life."""
        return [effect for effect in self.diary if isinstance(effect, kind)]

    def answer(self, request: str) -> Answered | None:
        return next((effect for effect in self.saw(Answered) if effect.request == request), None)

    def perform(self, effects: Iterable[Effect]) -> None:
        shard, todo = self.up, deque(effects)
        while todo:
            effect = todo.popleft()
            match effect:
                case Persist():
                    self.drive.stored = effect.onto(self.drive.stored or Stored())
                    todo.extend(shard.persisted(effect, self._world.now))
                case TakeSnapshot() if self.keeps_snapshots:
                    self.diary.append(effect)
                case TakeSnapshot(index=index) if self.refuses_snapshots:
                    todo.extend(shard.snapshot_taken(index, None, self._world.now))
                case TakeSnapshot(index=index, chunks=chunks):
                    todo.extend(shard.snapshot_taken(index, tuple(chunks), self._world.now))
                case ReadSnapshot():
                    self.diary.append(effect)
                    self._read(effect)
                case KeepPromise(promise=promise):
                    self.drive.promise = promise
                case Send(to=to, message=message):
                    self._cluster.carry(self, to, message)
                case SendToAddress(address=where, message=message):
                    self._cluster.carry(self, name_at(where), message)
                case LogUnreadable():
                    self.diary.append(effect)
                    self.kill()
                    return
                case _:
                    self.diary.append(effect)
                    self._do(effect)
        shard.validate()
        self._cluster.check(self)
        self._set_timer(shard)

    def _do(self, effect: Effect) -> None:
        match effect:
            case GraphInstalled(graph=graph):
                if graph.load in self.up.holdings.held:
                    self.drive.held[graph.load] = self.up.holdings.held[graph.load]
            case ViewInstalled(view=view) if view == self.up.registry.view:
                self._later(5 * MS, lambda shard: shard.results_looked_for(view.epoch, self._world.now))
            case DeleteParts(load=load, partitions=partitions):
                left = self.drive.held.pop(load, frozenset()) - (partitions or frozenset())
                if partitions is not None and left:
                    self.drive.held[load] = left
            case TellStates(epoch=epoch, runs=runs):
                held = {run: self.drive.states.get(run, {}) for run in runs}
                if self.tells:
                    self._later(5 * MS, lambda shard: shard.states_held(epoch, held, self._world.now))
            case MendHoldings():
                self._later(50 * MS, self._fetch)

    def _fetch(self, shard: ControlPlane) -> list[Effect]:
        """All that is wanted by now and can be had."""
        out: list[Effect] = []
        orders = self.saw(MendHoldings)[-1:] if self.mends else []
        for want in (want for order in orders for want in order.wants):
            had = self.drive.held.get(want.load, frozenset())
            if want.partition not in had and self._cluster.has(want.sources, want.load, want.partition):
                self.drive.held[want.load] = had | {want.partition}
                out += shard.parts_gained(want.load, frozenset((want.partition,)), self._world.now)
        return out

    def _read(self, asked: ReadSnapshot) -> None:
        read: Thawed | Rejected
        try:
            read = asked.read()
        except Rejected as mistake:
            read = mistake
        self._later(self.reading_ns, lambda shard: shard.snapshot_read(asked.snapshot, read, self._world.now))

    def fetch(self) -> None:
        """Catch up with what was wanted while `mends` was off."""
        self.mends = True
        self.perform(self._fetch(self.up))

    def _later(self, delay: int, action: Callable[[ControlPlane], list[Effect]]) -> None:
        shard = self.up

        def act() -> None:
            if self.shard is shard:
                self.perform(action(shard))

        self._world.after(delay, act)

    def _set_timer(self, shard: ControlPlane) -> None:
        self._wake_number += 1
        number, deadline = self._wake_number, shard.deadline
        if deadline is None:
            return

        def ring() -> None:
            if self.shard is shard and self._wake_number == number:
                self.perform(shard.wake(self._world.now))

        self._world.at(max(deadline, self._world.now + 1000), ring)


class ShardCluster:
    """Machines in one world, with what tests ask of them."""

    def __init__(self, size: int = 3, seed: int = 1, settings: ShardSettings = SETTINGS) -> None:
        self.world = World(seed)
        self.settings = replace(settings, expect=min(size, 3))
        self.machines = {name: Machine(name, self) for name in NAMES[:size]}
        self.cut: frozenset[str] = frozenset()
        self.lost: tuple[type, ...] = ()
        """Messages of these kinds do not arrive."""
        self.views: dict[int, View] = {}
        self._delays = self.world.random("delays")
        self._requests = 0

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    # -- network ---------------------------------------------------------------------------------------------------

    def carry(self, sender: Machine, to: str, message: object) -> None:
        identity = sender.up.identity
        if isinstance(message, self.lost):
            return

        def arrive() -> None:
            machine = self.machines.get(to)
            if machine is None or machine.shard is None or (sender.name in self.cut) != (to in self.cut):
                return
            machine.perform(machine.shard.step(identity, message, self.world.now))

        self.world.after(MS // 2 + self._delays.randrange(MS), arrive)

    def has(self, names: Iterable[str], load: str, partition: int) -> bool:
        """Whether one of them is up and has a partition on its drive."""
        found = (self.machines[name] for name in names)
        return any(m.shard is not None and partition in m.drive.held.get(load, ()) for m in found)

    def check(self, machine: Machine) -> None:
        """One epoch, one view; and nobody is said to hold what is not on its drive."""
        registry = machine.registry
        if registry.view is not None:
            assert self.views.setdefault(registry.epoch, registry.view) == registry.view
        disk = registry.disks.get(machine.name)
        if disk is not None and disk.generation == machine.generation:
            for load, partitions in disk.loads.items():
                assert partitions <= machine.drive.held.get(load, frozenset()), (machine.name, load)

    # -- read ------------------------------------------------------------------------------------------------------

    def running(self) -> list[Machine]:
        return [machine for machine in self.machines.values() if machine.shard is not None]

    def leader(self) -> Machine | None:
        leading = [m for m in self.running() if m.up.raft is not None and m.up.raft.is_leader]
        return max(leading, key=lambda m: m.up.raft.term if m.up.raft else 0, default=None)

    def led(self) -> Machine:
        leader = self.leader()
        assert leader is not None
        return leader

    def others(self) -> list[Machine]:
        """All that run and do not lead."""
        return [machine for machine in self.running() if machine is not self.leader()]

    def have_view(self, *names: str) -> bool:
        """Whether all these are in one view, in their present lives, and nobody else is."""
        views = {self[name].registry.view for name in names if self[name].shard is not None}
        if len(views) != 1 or None in views:
            return False
        return all(self[name].shard is not None and self[name].up.in_view for name in names) and next(
            view.names == tuple(sorted(names)) for view in views if view is not None
        )

    # -- orders ----------------------------------------------------------------------------------------------------

    def run(self, duration: int) -> None:
        self.world.run(duration)

    def until(self, done: Callable[[], bool], limit: int = 60 * SECOND, every: int = 20 * MS) -> int:
        """Let time pass until something holds; how long it took."""
        began = self.world.now
        assert self.world.run_until(done, limit, every), self.story()
        return self.world.now - began

    def story(self) -> str:
        lines = []
        for machine in self.running():
            raft = machine.up.raft
            lines.append(
                f"{machine.name}/{machine.generation}: leader {machine.up.leader}, view {machine.registry.view}, "
                f"{raft.configuration if raft else None}"
            )
        return "\n".join(lines)

    def propose(self, command: Command, by: Machine | None = None) -> Answered:
        """Have something decided; what the answer was."""
        self._requests += 1
        request, machine = f"request-{self._requests}", by or self.led()
        effects = machine.up.propose(request, command, self.world.now + 30 * SECOND, self.world.now)
        machine.perform(effects)
        self.until(lambda: machine.answer(request) is not None)
        answer = machine.answer(request)
        assert answer is not None
        return answer

    def form(self) -> None:
        """Start all; wait for the first view."""
        for machine in self.machines.values():
            self.world.after(self._delays.randrange(300 * MS), machine.start)
        self.run(300 * MS)
        self.until(lambda: self.have_view(*self.machines))

    def add_graph(self, name: str = "web") -> None:
        epoch = self.led().registry.epoch
        answer = self.propose(AddGraph(name, f"load-{name}", epoch, 9, 9, PARTITIONS, 0, "int", (), ()))
        assert not answer.error, answer
        self.until(lambda: all(name in machine.registry.graphs for machine in self.running()))

    def start_run(self, graph: str = "web", paced: bool = False) -> int:
        """The run's number."""
        answer = self.propose(StartRun("rank", graph, f"load-{graph}", (), 9, 0, paced, 15, ()))
        assert not answer.error, answer
        self.run(100 * MS)
        return self.led().registry.runs[answer.name].number

    def formed(self) -> ShardCluster:
        self.form()
        self.add_graph()
        return self


def states(tick: int, partitions: Iterable[int]) -> StatesHeld:
    """Of one run."""
    return {(tick, 1): frozenset(partitions)}


def views_of(machine: Machine) -> list[View]:
    return [effect.view for effect in machine.saw(ViewInstalled)]


def begun(machine: Machine) -> list[tuple[str, int, int]]:
    """Run, epoch and tick of each `BeginRun`."""
    return [(effect.run.name, effect.run.epoch, effect.run.resumed) for effect in machine.saw(BeginRun)]


def address(name: str) -> str:
    return f"sim://{name}/control"


def name_at(where: str) -> str:
    return where.removeprefix("sim://").removesuffix("/control")
