"""All metrics of a daemon, in one place and under one set of rules.

Names begin with ``shoal_``, use base units (seconds, bytes) and end in ``_total`` if they only rise. A label's values
come from fixed sets, from the cluster's members or from run names; `Labels` bounds whatever could grow without end, and
turns the values beyond its limit into ``other``. So a peer that invents names can't fill the memory of this process or
of Prometheus.

Both planes write here: every method may be called from any thread (prometheus_client locks each value), and none blocks
on anything but that lock. Values that are cheaper to look up than to keep current (queue depths, log indices) are set
by hooks that run just before a scrape, in the scraping thread: see `before_scrape`.
"""

from __future__ import annotations

import logging
import platform
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from daemon.state.records import STATES

log = logging.getLogger("shoal.metrics")

disable_created_metrics()  # type: ignore[no-untyped-call]
# It would add a series for each counter, which nothing here reads.

PEERS_MAX: Final = 256
PEER_KEPT_SECONDS: Final = 3600.0
"""A peer that returns within this time continues the same series."""
RUNS_MAX: Final = 64
REASONS_MAX: Final = 64
PHASE_SECONDS: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    10,
    30,
)
"""From the minimum of an empty exchange (a tenth of a millisecond) to the default phase timeout."""
TURN_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
MEMBER_STATES: Final = ("alive", "suspect", "dead", "left")
OTHER: Final = "other"


class Labels:
    """Passes the first `limit` distinct values of a label, and `other` for the rest.

    >>> peers = Labels(2)
    >>> [peers(name) for name in ("a", "b", "c", "a")]
    ['a', 'b', 'other', 'a']
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, value: str) -> str:
        if value in self._seen:
            return value
        with self._lock:
            if len(self._seen) >= self._limit:
                return OTHER
            self._seen.add(value)
        return value

    def values(self) -> set[str]:
        """The values that have a series of their own."""
        with self._lock:
            return set(self._seen)

    def forget(self, value: str) -> bool:
        """Frees a value's place; returns whether it had a series of its own."""
        with self._lock:
            known = value in self._seen
            self._seen.discard(value)
        return known


class Metrics:
    """The daemon's metrics, registered in `registry` (a new one by default: never the process-wide one)."""

    def __init__(self, registry: CollectorRegistry | None = None, *, version: str = "", shard: str = "") -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self._hooks: list[Callable[[], None]] = []
        self._peers = Labels(PEERS_MAX)
        self._away: dict[str, float] = {}
        """Former members that still have series, and when they left."""
        self._runs = Labels(RUNS_MAX)
        self._reasons = Labels(REASONS_MAX)
        self._traffic: dict[tuple[str, str, str], tuple[Counter, Counter]] = {}
        """Messages and bytes by direction, kind and peer: looking up a series costs ten times as much as counting."""
        self._ticks()
        self._wire()
        self._cluster()
        self._keeping()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        build = Info("shoal_build", "Version of the daemon and the shard that runs it", registry=self.registry)
        build.info({"version": version, "shard": shard, "python": platform.python_version()})

    def _ticks(self) -> None:
        r = self.registry
        self.ticks_total = Counter("shoal_ticks_total", "Ticks committed", registry=r)
        self.phase_seconds = Histogram(
            "shoal_phase_seconds", "Time in a phase, waiting included", ("phase",), buckets=PHASE_SECONDS, registry=r
        )
        self.barrier_wait_seconds = Histogram(
            "shoal_barrier_wait_seconds",
            "Time waiting for others at the end of a phase",
            ("phase",),
            buckets=PHASE_SECONDS,
            registry=r,
        )
        self.tick_seconds = Histogram(
            "shoal_tick_seconds", "Time of a whole tick, pacing excluded", buckets=PHASE_SECONDS, registry=r
        )
        self.phase_late_total = Counter(
            "shoal_phase_late_total",
            "Phases that outlasted their timeout, by the shard that was missing",
            ("peer",),
            registry=r,
        )
        self.ghosts = Gauge("shoal_ghosts", "Copies of remote nodes held here", ("kind",), registry=r)
        self.graph_nodes = Gauge("shoal_graph_nodes", "Nodes owned here, all graphs", registry=r)
        self.graph_edges = Gauge(
            "shoal_graph_edges",
            "Edges owned here, all graphs; an undirected one is half of either end's shard's",
            registry=r,
        )
        self.runs = Gauge("shoal_runs", "Runs by state", ("state",), registry=r)
        for state in STATES:
            self.runs.labels(state)
        self.run_tick = Gauge("shoal_run_tick", "Last committed tick of a run that goes on", ("run",), registry=r)

    def _wire(self) -> None:
        r = self.registry
        peer = ("direction", "kind", "peer")
        self.messages_total = Counter("shoal_messages_total", "Messages to and from peers", peer, registry=r)
        self.bytes_total = Counter(
            "shoal_bytes_total", "Bytes to and from peers, as handed to ZeroMQ", peer, registry=r
        )
        self.dropped_total = Counter("shoal_dropped_total", "Messages dropped, by reason", ("reason",), registry=r)
        self.handshakes_failed_total = Counter(
            "shoal_handshakes_failed_total",
            "Connections that were refused or broke before the first message",
            ("reason",),
            registry=r,
        )
        self.connections = Gauge(
            "shoal_connections",
            "Connections that others have made, by port and how far they are",
            ("port", "state"),
            registry=r,
        )
        self.connections_max = Gauge("shoal_connections_max", "So many may be at a time", ("port",), registry=r)
        self.descriptors = Gauge("shoal_descriptors", "Files open, and how many may be", ("state",), registry=r)
        self.slow_turn_seconds = Histogram(
            "shoal_slow_turn_seconds",
            "Processor time of turns of the control loop that took five milliseconds or more",
            buckets=TURN_SECONDS,
            registry=r,
        )
        self.queue_messages = Gauge("shoal_queue_messages", "Messages waiting in a queue", ("queue",), registry=r)
        self.events_total = Counter("shoal_events_total", "Whatever else is counted, by name", ("event",), registry=r)
        self.admin_requests_total = Counter(
            "shoal_admin_requests_total", "Requests on the admin socket", ("command", "outcome"), registry=r
        )

    def _cluster(self) -> None:
        r = self.registry
        self.members = Gauge("shoal_members", "Shards known here, by state", ("state",), registry=r)
        for state in MEMBER_STATES:
            self.members.labels(state)
        self.health_score = Gauge("shoal_health_score", "Lifeguard's local health: 0 is well", registry=r)
        self.view_epoch = Gauge("shoal_view_epoch", "Epoch of the view; 0 before the first", registry=r)
        self.view_members = Gauge("shoal_view_members", "Shards in the view", registry=r)
        self.cluster_version = Gauge(
            "shoal_cluster_version", "What members may write; 0 before they have agreed on it", registry=r
        )
        self.raft_term = Gauge("shoal_raft_term", "Term", registry=r)
        self.raft_is_leader = Gauge("shoal_raft_is_leader", "1 where this shard leads", registry=r)
        self.raft_elections_won_total = Counter(
            "shoal_raft_elections_won_total", "Elections that this shard has won", registry=r
        )
        self.raft_log_index = Gauge("shoal_raft_log_index", "Where the log stands", ("position",), registry=r)

    def _keeping(self) -> None:
        r = self.registry
        self.checkpoint_seconds = Histogram(
            "shoal_checkpoint_seconds",
            "From handing a checkpoint's states to the disk until they are durable",
            buckets=PHASE_SECONDS,
            registry=r,
        )
        self.disk_bytes = Gauge("shoal_disk_bytes", "Of the data folder's disk, by kind", ("kind",), registry=r)
        self.store_bytes = Gauge("shoal_store_bytes", "What the data folder holds, by kind", ("kind",), registry=r)
        self.partition_lost = Gauge(
            "shoal_partition_lost",
            "1 for each partition that no member of the view holds; the shards that had it",
            ("graph", "partition", "shards"),
            registry=r,
        )
        self.repair_partitions = Gauge(
            "shoal_repair_partitions", "Partitions and states being fetched by this shard", ("state",), registry=r
        )
        self.repair_bytes = Gauge("shoal_repair_bytes", "Bytes that the present repair has fetched", registry=r)

    def before_scrape(self, hook: Callable[[], None]) -> None:
        """Registers a `hook` that sets its gauges whenever the metrics are read."""
        self._hooks.append(hook)

    def refresh(self) -> None:
        """Runs the hooks. A failed one leaves its own figures stale and is counted, but never fails the scrape."""
        for hook in self._hooks:
            try:
                hook()
            except Exception:
                log.warning("metrics may be stale", exc_info=True)
                self.event("metrics_hook_failed")

    def text(self, prefix: str = "") -> str:
        """Returns the exposition format of all metrics, or of those whose name begins with `prefix`."""
        self.refresh()
        return self.render(prefix)

    def render(self, prefix: str = "") -> str:
        """Returns the same without running the hooks. Thread-safe."""
        whole = generate_latest(self.registry).decode()
        if not prefix:
            return whole
        kept = [line for line in whole.splitlines() if _metric_of(line).startswith(prefix)]
        return "".join(f"{line}\n" for line in kept)

    # Methods for the hot paths and for parts that don't know Prometheus.

    def count(self, name: str, labels: tuple[str, ...] = (), amount: float = 1) -> None:
        """The transports' callback: `messages`/`bytes` (direction, kind, peer), `dropped`/`handshakes_failed`
        (reason,), `phase_late` (peer,); any other name counts in ``shoal_events_total``."""
        match name, labels:
            case "messages", (direction, kind, peer):
                self.messages_total.labels(direction, self._reasons(kind), self._peers(peer)).inc(amount)
            case "bytes", (direction, kind, peer):
                self.bytes_total.labels(direction, self._reasons(kind), self._peers(peer)).inc(amount)
            case "dropped", (reason, *_):
                self.dropped(reason, amount)
            case "handshakes_failed", (reason, *_):
                self.handshakes_failed_total.labels(self._reasons(reason)).inc(amount)
            case "phase_late", (peer, *_):
                self.phase_late_total.labels(self._peers(peer)).inc(amount)
            case "elections_won", _:
                self.raft_elections_won_total.inc(amount)
            case _:
                self.event("_".join((name, *labels)), amount)

    def message(self, direction: str, kind: str, peer: str, size: int) -> None:
        """Counts a peer's message of so many bytes."""
        key = direction, kind, peer
        series = self._traffic.get(key)
        if series is None:
            labels = direction, self._reasons(kind), self._peers(peer)
            series = self.messages_total.labels(*labels), self.bytes_total.labels(*labels)
            if labels == key:  # values beyond a limit are not cached
                self._traffic[key] = series
        messages, in_bytes = series
        messages.inc()
        in_bytes.inc(size)

    def event(self, name: str, amount: float = 1) -> None:
        """Counts an event that has no metric of its own."""
        self.events_total.labels(self._reasons(name)).inc(amount)

    def dropped(self, reason: str, amount: float = 1) -> None:
        """Counts a message that was dropped."""
        self.dropped_total.labels(self._reasons(reason)).inc(amount)

    def phase(self, phase: str, seconds: float) -> None:
        """Records that a phase has ended on this shard."""
        self.phase_seconds.labels(phase).observe(seconds)

    def turns(self, slow: deque[float]) -> None:
        """Records slow turns of the loop, and empties their list."""
        while slow:
            self.slow_turn_seconds.observe(slow.popleft())

    def keep_peers(self, present: Collection[str], now: float) -> None:
        """Deletes the series of peers that have been absent for long, to make room for others."""
        away = self._peers.values() - set(present) - {OTHER}
        self._away = {name: self._away.get(name, now) for name in away}
        for name in [name for name, since in self._away.items() if now - since >= PEER_KEPT_SECONDS]:
            del self._away[name]
            self._peers.forget(name)
            self._traffic = {key: series for key, series in self._traffic.items() if key[2] != name}
            for metric in (self.messages_total, self.bytes_total, self.phase_late_total):
                metric.remove_by_labels({"peer": name})

    def run(self, name: str) -> str:
        """Returns the label value for a run."""
        return self._runs(name)

    def forget_run(self, name: str) -> None:
        """Deletes the series of a finished run, to make room for the next."""
        if self._runs.forget(name):
            self.run_tick.labels(name)  # creates it if it was never set, so that it can be removed
            self.run_tick.remove(name)

    def by_state(self, gauge: Gauge, counts: Mapping[str, int], states: tuple[str, ...]) -> None:
        """Sets a gauge labelled by state, with zero for the states that do not occur."""
        for state in states:
            gauge.labels(state).set(counts.get(state, 0))


def _metric_of(line: str) -> str:
    """Returns the metric that a line of the exposition format belongs to."""
    if line.startswith("# "):
        return line.split(" ", 3)[2]
    return line
