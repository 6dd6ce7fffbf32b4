"""A whole registry as bytes: sent to a shard that lacks too much of the log, and kept on the shard's own disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from daemon.membership.names import is_name
from daemon.state.announcements import (
    Announcement,
    GraphInstalled,
    GraphRemoved,
    HoldingsChanged,
    ResultsExpired,
    RunBegun,
    RunEnded,
    RunStopping,
    RunsWaiting,
    VersionRaised,
    ViewInstalled,
)
from daemon.state.commands import AddGraph, Holding, Identity, ProgramVersion, from_bits, to_bits
from daemon.state.graphs import PARTITIONS_MAX, is_graph_name
from daemon.state.placement import Placed
from daemon.state.programs import DeployedPrograms
from daemon.state.records import QUEUED, RUNNING, STATES, STOPPING, Disk, RunRecord, View, with_its_graph
from daemon.state.registry import REQUESTS_REMEMBERED, DroppedRun, Registry
from daemon.state.views import mistake_in
from daemon.version import FIRST, NEWEST
from daemon.wire import Codec, Reason, Rejected, WireLimits
from shoal.api.ranges import TICKS_MAX, Count

SNAPSHOT_BYTES_MAX = 16 << 20


@dataclass(frozen=True, slots=True)
class _FrozenDisk:
    shard: Identity
    holdings: tuple[Holding, ...]
    number: int


@dataclass(frozen=True, slots=True)
class _Frozen:
    """A snapshot of everything that the log has decided."""

    cluster: str
    view: View | None
    graphs: tuple[AddGraph, ...]
    placements: tuple[Placed, ...]
    disks: tuple[_FrozenDisk, ...]
    draining: tuple[str, ...]
    settled: tuple[str, ...]
    runs: tuple[RunRecord, ...]
    runs_begun: int
    recent: tuple[str, ...]
    programs: tuple[ProgramVersion, ...]
    dropped: tuple[DroppedRun, ...]
    cluster_version: Count


@cache
def _codec(version: int = FIRST, newest: int = NEWEST) -> Codec:
    return Codec("log", {1: _Frozen}, WireLimits(header_bytes_max=SNAPSHOT_BYTES_MAX), version, newest)


def freeze(registry: Registry) -> bytes:
    """The whole registry: the same bytes on every shard that has applied as much of the log."""
    frozen = _Frozen(
        registry.cluster,
        registry.view,
        tuple(registry.graphs.values()),
        tuple(registry.placements[name] for name in registry.graphs),
        tuple(_freeze_disk(name, registry.disks[name]) for name in sorted(registry.disks)),
        tuple(sorted(registry.draining)),
        tuple(sorted(registry.settled)),
        tuple(registry.runs.values()),
        registry.runs_begun,
        tuple(registry.recent),
        tuple(registry.programs.versions.values()),
        tuple(registry.dropped.values()),
        registry.cluster_version,
    )
    (header,) = _codec(registry.cluster_version).encode(0, "log", 0, frozen)
    return bytes(header)


def mistake_in_snapshot(data: bytes, newest: int = NEWEST) -> Rejected | None:
    """Why `restore` would not take it: to be asked before a leader's becomes this shard's own."""
    try:
        _thaw(data, newest)
    except Rejected as rejected:
        return rejected
    return None


def _thaw(data: bytes, newest: int = NEWEST) -> _Frozen:
    frozen: _Frozen = _codec(newest=newest).decode([data]).message
    if frozen.cluster_version > newest:
        why = f"the cluster's is {frozen.cluster_version}, and this Shoal reads up to {newest}"
        raise Rejected(Reason.VERSION, why)
    mistake = _mistake_in_view(frozen) or _mistake_in_graphs(frozen) or _mistake_in_runs(frozen)
    if mistake:
        raise Rejected(Reason.MALFORMED, f"a snapshot that no shard has made: {mistake}")
    return frozen


def _mistake_in_view(frozen: _Frozen) -> str:
    names = [disk.shard.name for disk in frozen.disks]
    if len(set(names)) != len(names) or not all(map(is_name, names)):
        return "disks of shards that are none"
    if frozen.view is None:
        return "graphs or runs without a view" if frozen.graphs or frozen.runs else ""
    return mistake_in(frozen.view) or ("" if frozen.view.epoch >= 1 else "a view before the first")


def _mistake_in_graphs(frozen: _Frozen) -> str:
    if len({graph.name for graph in frozen.graphs}) != len(frozen.graphs) or len(frozen.placements) != len(
        frozen.graphs
    ):
        return "its graphs have not one placement each"
    known = set(frozen.view.names) if frozen.view is not None else set()
    for graph, placed in zip(frozen.graphs, frozen.placements, strict=True):
        if not is_graph_name(graph.name) or not 1 <= graph.partition_count <= PARTITIONS_MAX:
            return "a graph that nobody can have loaded"
        if len(placed) != graph.partition_count or not known.issuperset(name for holders in placed for name in holders):
            return "a graph's partitions are nowhere"
    return ""


def _mistake_in_runs(frozen: _Frozen) -> str:
    graphs, numbers = {graph.name for graph in frozen.graphs}, [run.number for run in frozen.runs]
    if len(set(numbers)) != len(numbers) or len({run.name for run in frozen.runs}) != len(numbers):
        return "two runs of one number"
    if numbers and not 1 <= min(numbers) <= max(numbers) <= frozen.runs_begun:
        return "the numbers of its runs"
    for run in frozen.runs:
        if run.state not in STATES or not 0 <= run.tick <= TICKS_MAX or not 0 <= run.resumed <= TICKS_MAX:
            return "a run in a state that there is none of"
        if run.active and run.graph not in graphs:
            return "a run on no graph"
    return ""


def restore(registry: Registry, data: bytes, newest: int = NEWEST) -> list[Announcement]:
    """Take over a snapshot, a leader's or our own disk's, and announce what is new in it. Raises `Rejected`."""
    frozen = _thaw(data, newest)
    view, graphs, runs = registry.view, registry.graphs, registry.runs
    raised = [VersionRaised(frozen.cluster_version)] if frozen.cluster_version > registry.cluster_version else []
    registry.cluster_version = frozen.cluster_version
    registry.cluster, registry.view, registry.runs_begun = frozen.cluster, frozen.view, frozen.runs_begun
    registry.graphs = {graph.name: graph for graph in frozen.graphs}
    registry.placements = {graph.name: placed for graph, placed in zip(frozen.graphs, frozen.placements, strict=True)}
    registry.disks = {disk.shard.name: _thaw_disk(disk) for disk in frozen.disks}
    registry.draining, registry.settled = set(frozen.draining), set(frozen.settled)
    registry.runs = {run.name: run for run in frozen.runs}
    registry.dropped = {run.name: run for run in frozen.dropped}
    registry.recent = deque(frozen.recent, maxlen=REQUESTS_REMEMBERED)
    registry.programs = DeployedPrograms({(one.name, one.digest): one for one in frozen.programs})
    registry.changed()
    return [*raised, *_news_of_graphs(registry, view, graphs, runs), *_news_of_runs(registry, view, runs)]


def _news_of_graphs(
    registry: Registry, view: View | None, graphs: Mapping[str, AddGraph], runs: Mapping[str, RunRecord]
) -> list[Announcement]:
    news: list[Announcement] = []
    if registry.view is not None and registry.view != view:
        news.append(ViewInstalled(registry.view))
    news += [
        GraphRemoved(graph, tuple(run for run in runs.values() if run.load == graph.load))
        for name, graph in graphs.items()
        if registry.graphs.get(name) != graph
    ]
    news += [GraphInstalled(graph) for name, graph in registry.graphs.items() if graphs.get(name) != graph]
    return [*news, HoldingsChanged()]


def _news_of_runs(registry: Registry, view: View | None, runs: Mapping[str, RunRecord]) -> list[Announcement]:
    news: list[Announcement] = []
    for name, run in registry.runs.items():
        before = runs.get(name)
        if run.active and run.epoch == registry.epoch and (before is None or before.epoch != run.epoch):
            news.append(RunBegun(run))
        if run.state == STOPPING and (before is None or before.state == RUNNING):
            news.append(RunStopping(run))
        if before is not None and before.active and not run.active:
            news.append(RunEnded(run))
    gone = [run for name, run in runs.items() if run.active and name not in registry.runs]
    news += [RunEnded(with_its_graph(run) if run.name in registry.dropped else run) for run in gone]
    before_kept = {run.name for run in runs.values() if run.has_result}
    expired = tuple(run for name, run in registry.runs.items() if name in before_kept and run.has_expired)
    news += [ResultsExpired(expired)] if expired else []
    if registry.view == view and any(_is_news(run, runs.get(run.name)) for run in registry.waiting_runs()):
        news.append(RunsWaiting())
    return news


def _is_news(waiting: RunRecord, before: RunRecord | None) -> bool:
    """Whether a run that waits for a tick to go on from has come, or begun, since."""
    return before is None or before.state == QUEUED


def _freeze_disk(name: str, disk: Disk) -> _FrozenDisk:
    holdings = tuple(Holding(load, to_bits(disk.loads[load])) for load in sorted(disk.loads))
    return _FrozenDisk(Identity(name, disk.generation), holdings, disk.number)


def _thaw_disk(frozen: _FrozenDisk) -> Disk:
    loads = {held.load: from_bits(held.partitions) for held in frozen.holdings}
    return Disk(frozen.shard.generation, loads, frozen.number)
