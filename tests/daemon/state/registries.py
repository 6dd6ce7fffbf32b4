"""Registries as the tests of what looks at them want them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from daemon.state import Announcement, Decided, Registry, ReplicatedState, snapshot
from daemon.state.cluster import Cluster
from daemon.state.commands import (
    AddGraph,
    Drain,
    FormView,
    Holding,
    HoldParts,
    Identity,
    Settled,
    StartRun,
    to_bits,
)
from daemon.state.dispatch import apply_to, command_codec
from daemon.state.envelope import LogEntry
from daemon.state.machine import Applied, Command, Request
from daemon.wire import Rejected

PARTITIONS = 6
LOAD = "load-web"
NOW_NS = 99


def at(index: int = 1, time_ns: int = NOW_NS) -> Applied:
    return Applied(index, time_ns, Request("test", 1, index))


def apply(registry: Registry, command: Command, time_ns: int = NOW_NS) -> list[Announcement]:
    """Has the machine `cluster` apply a command."""
    return apply_to(Cluster(registry), command, at(time_ns=time_ns))


def sealed(command: Command, index: int, time_ns: int = NOW_NS) -> bytes:
    """An entry of the log, which another request asks for at each index."""
    codec = command_codec()
    return codec.seal(LogEntry(codec.machine_of(command), "test", 1, index, index, time_ns, codec.encode(command)))


def freeze(registry: Registry) -> bytes:
    """A snapshot of a cluster that has decided nothing else."""
    state = ReplicatedState()
    state.registry.put_back(registry.kept())
    return b"".join(state.freeze())


def restore(registry: Registry, data: bytes) -> list[Announcement]:
    """Takes the registry out of a snapshot."""
    machine = Cluster(registry)
    return list(machine.restore(machine.thaw(snapshot.read([data])[Cluster.name])))


def mistake_in_snapshot(chunks: Iterable[bytes]) -> Rejected | None:
    """Why it is not taken."""
    try:
        ReplicatedState().thaw(chunks)
    except Rejected as rejected:
        return rejected
    return None


class Log:
    """A replicated state, and commands of which each is another request."""

    def __init__(self) -> None:
        self.state = ReplicatedState("test")
        self.registry, self.programs = self.state.registry, self.state.programs
        self._codec = command_codec()
        self._index = 0

    def announced(self, command: Command, time_ns: int = NOW_NS) -> list[Announcement]:
        """What follows from it."""
        self._index += 1
        return self.state.apply(self._index, *self._codec.read(sealed(command, self._index, time_ns)))

    def apply(self, command: Command) -> str:
        """What it was rejected for, if it was."""
        decided = self.announced(command)[-1]
        assert isinstance(decided, Decided)
        return decided.error

    def holds(self, name: str, generation: int = 1, held: Iterable[int] = (), is_whole: bool = True) -> str:
        holding = (Holding(LOAD, to_bits(held)),) if held else ()
        return self.apply(HoldParts(Identity(name, generation), holding, is_whole))

    def view(self, members: Mapping[str, int] | str, replicas: int = 2) -> str:
        """Names of one letter each stand for first lives."""
        generations = members if isinstance(members, Mapping) else dict.fromkeys(members, 1)
        identities = tuple(Identity(name, generations[name]) for name in sorted(generations))
        return self.apply(FormView(self.registry.epoch + 1, identities, 10, replicas))

    def graph(self, name: str = "web", load: str = LOAD, partitions: int = PARTITIONS) -> str:
        epoch = self.registry.epoch
        return self.apply(AddGraph(name, load, epoch, 9, 9, partitions, 0, "int", (), ()))

    def run(self, graph: str = "web") -> str:
        load = self.registry.graphs[graph].load if graph in self.registry.graphs else LOAD
        return self.apply(StartRun("rank", graph, load, (), 9, 0, False, 15, ()))

    def drain(self, name: str, is_on: bool = True) -> str:
        return self.apply(Drain(name, is_on))

    def settle(self, name: str, generation: int = 1) -> str:
        return self.apply(Settled(Identity(name, generation), self.registry.epoch))

    def held_by(self, name: str) -> frozenset[int]:
        return self.registry.disks[name].loads.get(LOAD, frozenset())


def formed(members: str = "abc", replicas: int = 2) -> Log:
    """Shards in a view, with one graph."""
    log = Log()
    for name in members:
        log.holds(name)
    log.view(members, replicas)
    log.graph()
    return log
