"""Graphs on their way over links that lose, repeat and reorder: every member keeps the very slices, or nothing."""

from __future__ import annotations

from random import Random

import msgpack
import numpy as np

from daemon.services.graphs.load import Loading
from shoal.graph.assembly import assemble
from shoal.graph.graph_data import GraphData, Table
from shoal.graph.partitions import Cut
from tests.simulator.cluster import LOAD_LIMITS, Cluster
from tests.simulator.host import Host, SimDaemon
from tests.simulator.jobs import Job, tell_nobody
from tests.simulator.network import TICKS, Weather
from tests.simulator.programs import PARTITIONS
from tests.simulator.world import MS, SECOND


def lossy_load(seed: int, verbose: bool = False) -> Cluster:
    """Two loads at once, each to every member; then one whose client hangs up."""
    random = Random(f"{seed} load")
    cluster = Cluster(seed, random.randint(2, 4), verbose=verbose)
    cluster.form()
    cluster.network.weather[TICKS] = Weather(random.choice([0.1, 0.2, 0.4]), 0.2, MS // 10, 50 * MS)
    if random.random() < 0.5:
        side = random.sample(cluster.names, 1)
        cluster.faults.partition(side, random.randint(100 * MS, 2 * SECOND), planes=(TICKS,))
    graphs = {name: _drawn(random) for name in ("first", "second")}
    jobs = {name: _load(cluster.hosts[random.choice(cluster.names)], name, data) for name, data in graphs.items()}
    done = cluster.world.run_until(lambda: all(job.is_over for job in jobs.values()), 120 * SECOND)
    assert done, "a load does not come to its end"
    assert not any(job.error for job in jobs.values()), {name: job.error for name, job in jobs.items()}
    for name, data in graphs.items():
        _compare(cluster, name, data)
    _hang_up(cluster, random)
    cluster.recover()
    return cluster


def _drawn(random: Random) -> GraphData:
    """Of columns that take none, one or many chunks."""
    nodes, edges = random.choice([1, 40, 700]), random.choice([0, 1, 90, 4000])
    draw = np.random.default_rng(random.getrandbits(64))
    ids = Table("nodes", {"id": np.arange(nodes), "wealth": draw.random(nodes)})
    ends = {end: draw.integers(0, nodes, edges) for end in ("source", "target")}
    return assemble(ids, Table("edges", {**ends, "weight": draw.random(edges)}), PARTITIONS)


def _load(host: Host, name: str, data: GraphData) -> Job:
    async def load(daemon: SimDaemon) -> None:
        spec, frames = data.to_wire()
        await Loading(daemon.context, daemon.services.staging, name, tell_nobody).run(spec, frames)

    return Job(host, load)


def _compare(cluster: Cluster, name: str, data: GraphData) -> None:
    """Each holder has on its disk what the graph was cut into."""
    registry, cut = cluster.registry(), Cut(data)
    assert registry is not None
    load = registry.graphs[name].load
    for partition, holders in enumerate(registry.placements[name]):
        spec, frames = cut.slices([partition]).to_wire()
        expected = msgpack.packb(spec), [bytes(memoryview(frame).cast("B")) for frame in frames]
        for holder in holders:
            assert cluster.hosts[holder].disk.slice(load, partition) == expected, f"{holder}: {partition} of {name}"


def _hang_up(cluster: Cluster, random: Random) -> None:
    """A load that is given up leaves nothing behind, once the receivers hear of it or have waited long enough."""
    host = cluster.hosts[random.choice(cluster.names)]
    job = _load(host, "third", _drawn(random))
    cluster.world.run(random.randrange(300 * MS))
    job.cancel()
    cluster.world.run(LOAD_LIMITS.idle_timeout_ns + 5 * SECOND)
    for host in cluster.running():
        assert host.runner.plane.intake.deadline is None, f"{host.name} still keeps a piece"
        assert not host.runner.plane.shipments, f"{host.name} still ships {sorted(host.runner.plane.shipments)}"
