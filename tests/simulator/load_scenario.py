"""Loads of graphs over links that lose, repeat and reorder: every member keeps exactly its slices, or nothing."""

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
    """Runs two loads at once, each to every member; then one that is abandoned."""
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
    _give_up(cluster, random)
    cluster.recover()
    done = cluster.world.run_until(lambda: not _on_the_way(cluster), LOAD_LIMITS.idle_timeout_ns + 5 * SECOND)
    assert done, f"still on the way: {_on_the_way(cluster)}"
    return cluster


def _drawn(random: Random) -> GraphData:
    """Returns a graph whose columns take no, one or many chunks."""
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
    """Checks that each holder has on its disk what the graph was cut into."""
    registry, cut = cluster.registry(), Cut(data)
    assert registry is not None
    load = registry.graphs[name].load
    for partition, holders in enumerate(registry.placements[name]):
        spec, frames = cut.slices([partition]).to_wire()
        expected = msgpack.packb(spec), [bytes(memoryview(frame).cast("B")) for frame in frames]
        for holder in holders:
            assert cluster.hosts[holder].disk.slice(load, partition) == expected, f"{holder}: {partition} of {name}"


def _give_up(cluster: Cluster, random: Random) -> None:
    """An abandoned load leaves nothing behind: its client hangs up, or the host that loads it goes down."""
    host = cluster.hosts[random.choice(cluster.names)]
    job = _load(host, "third", _drawn(random))
    cluster.world.run(random.randrange(random.choice([300 * MS, 4 * SECOND])))
    if random.random() < 0.5:
        job.cancel()
    else:
        cluster.faults.crash(host.name, random.randrange(4 * SECOND))


def _on_the_way(cluster: Cluster) -> list[tuple[str, str]]:
    """Returns what hosts still send or receive: host, and what."""
    planes = [(host.name, host.runner.plane) for host in cluster.running()]
    sent = [(name, load) for name, plane in planes for load, _ in plane.shipments]
    return sent + [(name, "a piece") for name, plane in planes if plane.intake.deadline is not None]
