"""Bringing the metrics up to date when somebody reads them: what would cost the hot paths is looked up here instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from daemon.host import Host
from daemon.membership.messages import STATUS_NAMES
from daemon.observe.metrics import Metrics
from daemon.runtime import descriptors
from daemon.state.records import STATES

LOST_SHOWN_MAX = 1000


Came = Callable[[], tuple[int, int]]
"""How many connections a port has, and how many of them have not been let in yet."""


def refresh_ports(metrics: Metrics, ports: Mapping[str, tuple[int, Came]]) -> None:
    """Of each port how many connections it may have, and how many it has."""
    metrics.descriptors.labels("limit").set(descriptors.limit_now())
    if (now := descriptors.open_now()) is not None:
        metrics.descriptors.labels("open").set(now)
    for port, (most, came) in ports.items():
        total, strangers = came()
        metrics.connections_max.labels(port).set(most)
        metrics.connections.labels(port, "pending").set(strangers)
        metrics.connections.labels(port, "established").set(max(0, total - strangers))


class Gauges:
    """Those of one host."""

    def __init__(self, host: Host) -> None:
        self._host, self._services, self._metrics, self._ticks = host, host.services, host.metrics, host.ticks
        self._state, self._clock = host.plane, host.services.context.clock
        self._seen_counts: dict[tuple[str, tuple[str, ...]], int] = {}
        self._ticks_counted = 0

    def refresh(self) -> None:
        """Reads everything that is a state, and drains what the tick thread has counted."""
        self._membership()
        self._consensus()
        self._graphs_and_runs()
        self._ticks_passed()
        self._keeping()

    def _membership(self) -> None:
        metrics, shard = self._metrics, self._state
        states = Counter(STATUS_NAMES[record.status] for record in shard.membership.members())
        metrics.by_state(metrics.members, states, STATUS_NAMES)
        members = [record.name for record in shard.membership.live()]
        view = shard.registry.view
        metrics.keep_peers([*members, *(view.names if view else ())], self._clock.monotonic_ns() / 1e9)
        metrics.health_score.set(shard.membership.local_health)
        metrics.view_epoch.set(shard.registry.epoch)
        metrics.cluster_version.set(shard.registry.cluster_version)
        metrics.view_members.set(len(shard.registry.view.members) if shard.registry.view else 0)

    def _consensus(self) -> None:
        metrics, raft = self._metrics, self._state.raft
        if raft is None:
            return
        metrics.raft_term.set(raft.term)
        metrics.raft_is_leader.set(int(raft.is_leader))
        metrics.raft_log_index.labels("last").set(raft.last_index)
        metrics.raft_log_index.labels("committed").set(raft.commit_index)
        metrics.raft_log_index.labels("applied").set(self._state.applied_index)

    def _graphs_and_runs(self) -> None:
        metrics, registry = self._metrics, self._state.registry
        parts = self._services.parts.by_load.values()
        metrics.ghosts.labels("pinned").set(sum(part.ghost_count for part in parts))
        metrics.graph_nodes.set(sum(part.size for part in parts))
        metrics.graph_edges.set(sum(part.own_edges for part in parts))
        metrics.by_state(metrics.runs, Counter(run.state for run in registry.runs.values()), STATES)
        for run in registry.active_runs():
            machine = self._ticks.machine(run.number)
            name = metrics.run(run.name)
            if machine is not None and name == run.name:
                metrics.run_tick.labels(name).set(machine.tick)

    def _ticks_passed(self) -> None:
        metrics, thread = self._metrics, self._ticks
        for (name, labels), total in list(thread.counts.items()):
            seen = self._seen_counts.get((name, labels), 0)
            if total > seen:
                self._seen_counts[name, labels] = total
                metrics.count(name, labels, total - seen)
        committed = thread.ticks_committed
        metrics.ticks_total.inc(committed - self._ticks_counted)
        self._ticks_counted = committed
        while thread.samples:
            phase, seconds, waited = thread.samples.popleft()
            metrics.phase(phase, seconds)
            metrics.barrier_wait_seconds.labels(phase).observe(waited)
        while thread.tick_samples:
            metrics.tick_seconds.observe(thread.tick_samples.popleft())
        metrics.queue_messages.labels("tick_orders").set(thread.orders_waiting)

    def _keeping(self) -> None:
        metrics, registry, repair = self._metrics, self._state.registry, self._services.repair.progress
        while self._services.runs.checkpoints.samples:
            metrics.checkpoint_seconds.observe(self._services.runs.checkpoints.samples.popleft())
        for kind, size in self._host.durable.sizes().items():
            metrics.store_bytes.labels(kind).set(size)
        if (level := self._services.disk_room.level) is not None:
            for kind, size in (("total", level.total), ("free", level.free), ("bulk", level.bulk)):
                metrics.disk_bytes.labels(kind).set(size)
        metrics.queue_messages.labels("store").set(self._host.store_thread.waiting)
        metrics.repair_partitions.labels("fetched").set(repair.done)
        metrics.repair_partitions.labels("wanted").set(repair.total - repair.done)
        metrics.repair_bytes.set(repair.bytes)
        metrics.partition_lost.clear()
        lost = [(graph, partition) for graph in sorted(registry.graphs) for partition in registry.lost(graph)]
        for graph, partition in lost[:LOST_SHOWN_MAX]:
            shards = ",".join(registry.last_holders(graph))
            metrics.partition_lost.labels(graph, str(partition), shards).set(1)
