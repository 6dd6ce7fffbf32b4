"""The machine `cluster`: views, disks, graphs and runs, which depend on each other.

A graph is placed on a view's members by their holdings, a run belongs to a graph and a view, and dropping a graph drops
its runs: one command changes them together, so they form one machine. The modules `views`, `holdings`, `graphs`,
`runs`, `backup` and `cluster_version` apply its commands, each with a table of its own. Its state is the `Registry`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from daemon.membership.names import is_name
from daemon.state import backup, cluster_version, graphs, holdings, runs, views
from daemon.state.announcements import Announcement, VersionRaised
from daemon.state.commands import AddGraph, Holding, Identity, from_bits, to_bits
from daemon.state.graphs import PARTITIONS_MAX, is_graph_name
from daemon.state.machine import Applied, Command, Outcome, table
from daemon.state.news import news_of_graphs, news_of_runs
from daemon.state.placement import Placed
from daemon.state.records import STATES, Disk, RunRecord, View
from daemon.state.registry import DroppedRun, Registry
from daemon.state.views import mistake_in
from daemon.wire import Codec, Reason, Rejected, WireLimits
from daemon.wire.version import FIRST, NEWEST
from shoal.api.ranges import TICKS_MAX
from shoal.api.struct import Count, Number, Struct

_HANDLERS: Final = (
    *views.COMMANDS,
    *graphs.COMMANDS,
    *runs.COMMANDS,
    *holdings.COMMANDS,
    *backup.COMMANDS,
    *cluster_version.COMMANDS,
)
_BY_KIND: Final = {handler.kind: handler.apply for handler in _HANDLERS}
CLUSTER_COMMANDS: Final[Mapping[int, type[Command]]] = table(_HANDLERS)

LOADS_A_PIECE: Final = 64
PARTITIONS_A_PIECE: Final = 4096


class Cluster:
    """The machine; anyone may read its registry."""

    name: Final = "cluster"

    def __init__(self, registry: Registry, newest: int = NEWEST) -> None:
        """`newest` is the highest cluster version that this Shoal supports."""
        self.registry, self._newest = registry, newest

    @property
    def commands(self) -> Mapping[int, type[Command]]:
        """See `Machine`."""
        return CLUSTER_COMMANDS

    def apply(self, command: Command, at: Applied) -> Outcome:
        """See `Machine`."""
        outcome = _BY_KIND[type(command)](self.registry, command, at)
        self.registry.changed()
        return outcome

    def save(self) -> dict[str, Any]:
        """See `Machine`."""
        return self.registry.kept()

    def put_back(self, saved: dict[str, Any]) -> None:
        """See `Machine`."""
        self.registry.put_back(saved)

    def freeze(self) -> Iterator[bytes]:
        """See `Machine`: a piece for each record."""
        registry, codec = self.registry, _codec(self.registry.cluster_version)
        head = _Head(
            registry.cluster,
            registry.view,
            tuple(sorted(registry.draining)),
            tuple(sorted(registry.settled)),
            registry.runs_begun,
            registry.cluster_version,
        )
        kept = Registry(**registry.kept())
        return (bytes(codec.encode(0, self.name, 0, record)[0]) for record in _records(head, kept))

    def thaw(self, pieces: Iterable[bytes]) -> dict[str, Any]:
        """See `Machine`."""
        return _thawed(pieces, self._newest).kept()

    def restore(self, thawed: dict[str, Any]) -> Sequence[Announcement]:
        """See `Machine`."""
        before, registry = replace(self.registry), self.registry
        registry.put_back(thawed)
        version = registry.cluster_version
        raised = [VersionRaised(version)] if version > before.cluster_version else []
        return [*raised, *news_of_graphs(registry, before), *news_of_runs(registry, before)]


# -- pieces of a snapshot ------------------------------------------------------------------------------------------


class _Head(Struct):
    """The values that exist once."""

    cluster: str
    view: View | None
    draining: tuple[str, ...]
    settled: tuple[str, ...]
    runs_begun: Number
    cluster_version: Count


class _Placement(Struct):
    """The holders of a graph's next partitions; a graph with many partitions takes several of these."""

    graph: str
    placed: Placed


class _FrozenDisk(Struct):
    """A shard's holdings; many holdings take several of these."""

    shard: Identity
    holdings: tuple[Holding, ...]
    number: Number


@dataclass(slots=True)
class _Thawing:
    """The content of the pieces read so far."""

    head: _Head | None = None
    graphs: list[AddGraph] = field(default_factory=list)
    placements: dict[str, Placed] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    runs: list[RunRecord] = field(default_factory=list)
    dropped: dict[str, DroppedRun] = field(default_factory=dict)


@cache
def _codec(version: int = FIRST, newest: int = NEWEST) -> Codec:
    kinds = (_Head, AddGraph, _Placement, _FrozenDisk, RunRecord, DroppedRun)
    limits = WireLimits(header_bytes_max=16 << 20)  # a piece merges entries of a megabyte each
    return Codec(Cluster.name, dict(enumerate(kinds, start=1)), limits, version, newest)


def _records(head: _Head, kept: Registry) -> Iterator[object]:
    yield head
    for name, graph in kept.graphs.items():
        yield graph
        placed = kept.placements[name]
        for first in range(0, len(placed), PARTITIONS_A_PIECE):
            yield _Placement(name, placed[first : first + PARTITIONS_A_PIECE])
    for name in sorted(kept.disks):
        disk = kept.disks[name]
        held = tuple(Holding(load, to_bits(disk.loads[load])) for load in sorted(disk.loads))
        for first in range(0, max(1, len(held)), LOADS_A_PIECE):
            yield _FrozenDisk(Identity(name, disk.generation), held[first : first + LOADS_A_PIECE], disk.number)
    yield from kept.runs.values()
    yield from kept.dropped.values()


def _thawed(pieces: Iterable[bytes], newest: int) -> Registry:
    """Builds a registry from its pieces. Raises `Rejected`."""
    thawing, codec = _Thawing(), _codec(newest=newest)
    for piece in pieces:
        mistake = _take(thawing, codec.decode([piece]).message)
        if mistake:
            raise _no_shard_has_made(mistake)
    head = thawing.head
    if head is None:
        raise _no_shard_has_made("it does not say of which cluster")
    if head.cluster_version > newest:
        why = f"the cluster's is {head.cluster_version}, and this Shoal reads up to {newest}"
        raise Rejected(Reason.VERSION, why)
    mistake = (
        _mistake_in_view(head, thawing)
        or _mistake_in_graphs(head.view, thawing)
        or _mistake_in_runs(head.runs_begun, thawing)
    )
    if mistake:
        raise _no_shard_has_made(mistake)
    return Registry(
        cluster=head.cluster,
        view=head.view,
        graphs={graph.name: graph for graph in thawing.graphs},
        placements={graph.name: thawing.placements[graph.name] for graph in thawing.graphs},
        disks=thawing.disks,
        draining=set(head.draining),
        settled=set(head.settled),
        runs={run.name: run for run in thawing.runs},
        runs_begun=head.runs_begun,
        dropped=thawing.dropped,
        cluster_version=head.cluster_version,
    )


def _no_shard_has_made(mistake: str) -> Rejected:
    return Rejected(Reason.MALFORMED, f"a snapshot that no shard has made: {mistake}")


def _take(thawing: _Thawing, record: object) -> str:
    """Adds a piece's record; returns what is wrong with it, or an empty string."""
    match record:
        case _Head():
            if thawing.head is not None:
                return "it speaks of two clusters"
            thawing.head = record
        case AddGraph():
            thawing.graphs.append(record)
            thawing.placements.setdefault(record.name, ())
        case _Placement(graph=graph, placed=placed):
            if not thawing.graphs or thawing.graphs[-1].name != graph:
                return "a placement of no graph"
            thawing.placements[graph] += placed
        case _FrozenDisk(shard=shard, number=number):
            disk = thawing.disks.setdefault(shard.name, Disk(shard.generation, {}, number))
            if (disk.generation, disk.number) != (shard.generation, number):
                return "a shard with two disks"
            loads = {held.load: from_bits(held.partitions) for held in record.holdings}
            thawing.disks[shard.name] = replace(disk, loads={**disk.loads, **loads})
        case RunRecord():
            thawing.runs.append(record)
        case DroppedRun():
            thawing.dropped[record.name] = record
    return ""


def _mistake_in_view(head: _Head, thawing: _Thawing) -> str:
    if not all(map(is_name, thawing.disks)):
        return "disks of shards that are none"
    if head.view is None:
        return "graphs or runs without a view" if thawing.graphs or thawing.runs else ""
    return mistake_in(head.view) or ("" if head.view.epoch >= 1 else "a view before the first")


def _mistake_in_graphs(view: View | None, thawing: _Thawing) -> str:
    if len({graph.name for graph in thawing.graphs}) != len(thawing.graphs):
        return "two graphs of one name"
    known = set(view.names) if view is not None else set()
    for graph in thawing.graphs:
        placed = thawing.placements[graph.name]
        if not is_graph_name(graph.name) or not 1 <= graph.partition_count <= PARTITIONS_MAX:
            return "a graph that can't have been loaded"
        if len(placed) != graph.partition_count or not known.issuperset(name for holders in placed for name in holders):
            return "a graph's partitions are nowhere"
    return ""


def _mistake_in_runs(runs_begun: int, thawing: _Thawing) -> str:
    names, numbers = {graph.name for graph in thawing.graphs}, [run.number for run in thawing.runs]
    if len(set(numbers)) != len(numbers) or len({run.name for run in thawing.runs}) != len(numbers):
        return "two runs of one number"
    if numbers and not 1 <= min(numbers) <= max(numbers) <= runs_begun:
        return "the numbers of its runs"
    for run in thawing.runs:
        if run.state not in STATES or not 0 <= run.tick <= TICKS_MAX or not 0 <= run.resumed <= TICKS_MAX:
            return "a run in a state that there is none of"
        if run.active and run.graph not in names:
            return "a run on no graph"
    return ""
