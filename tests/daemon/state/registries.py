"""Registries as the tests of what looks at them want them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from daemon.state import Decided, Registry, apply
from daemon.state.commands import (
    AddGraph,
    Decision,
    Drain,
    FormView,
    Holding,
    HoldParts,
    Identity,
    Settled,
    StartRun,
    to_bits,
)

PARTITIONS = 6
LOAD = "load-web"


class Log:
    """A registry, and requests of which each is another."""

    def __init__(self) -> None:
        self.registry = Registry(cluster="test")
        self._requests = 0

    def request(self) -> str:
        self._requests += 1
        return f"request-{self._requests}"

    def apply(self, decision: Decision) -> str:
        """What it was declined for, if it was."""
        decided = apply(self.registry, decision)[-1]
        assert isinstance(decided, Decided)
        return decided.error

    def holds(self, name: str, generation: int = 1, held: Iterable[int] = (), is_whole: bool = True) -> str:
        holding = (Holding(LOAD, to_bits(held)),) if held else ()
        return self.apply(HoldParts(self.request(), Identity(name, generation), holding, is_whole))

    def view(self, members: Mapping[str, int] | str, replicas: int = 2) -> str:
        """Names of one letter each stand for first lives."""
        generations = members if isinstance(members, Mapping) else dict.fromkeys(members, 1)
        identities = tuple(Identity(name, generations[name]) for name in sorted(generations))
        return self.apply(FormView(self.request(), self.registry.epoch + 1, identities, 10, replicas))

    def graph(self, name: str = "web", load: str = LOAD, partitions: int = PARTITIONS) -> str:
        epoch = self.registry.epoch
        return self.apply(AddGraph(self.request(), name, load, epoch, 9, 9, partitions, 0, "int", (), ()))

    def run(self, graph: str = "web") -> str:
        load = self.registry.graphs[graph].load if graph in self.registry.graphs else LOAD
        return self.apply(StartRun(self.request(), "rank", graph, load, (), 9, 0, False, 15, (), 0))

    def drain(self, name: str, is_on: bool = True) -> str:
        return self.apply(Drain(self.request(), name, is_on))

    def settle(self, name: str, generation: int = 1) -> str:
        return self.apply(Settled(self.request(), Identity(name, generation), self.registry.epoch))

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
