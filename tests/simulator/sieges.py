"""Faults faster than a cluster can recover from one, and faults that follow the leader wherever it goes."""

from __future__ import annotations

from random import Random

from tests.simulator.cluster import Cluster
from tests.simulator.host import Host
from tests.simulator.network import CONTROL, FAIR, LOSSY, PLANES
from tests.simulator.workload import recovered, start_runs
from tests.simulator.world import MS, SECOND

SIEGE = (
    "one-way cut", "one-way cut", "brief pause", "brief pause", "crash", "crash", "wipe", "wipe", "join", "drain",
    "leave", "storm", "bounce", "disk full",
)  # fmt: skip


def siege(seed: int, verbose: bool = False) -> Cluster:
    """One-way cuts, pauses, crashes, wiped and full disks, joins and departures, several a second."""
    random = Random(f"{seed} siege")
    cluster = Cluster(
        seed, random.randint(3, 5), spare=random.randint(0, 2), replicas=random.choice([2, 2, 3]), verbose=verbose
    )
    cluster.network.weather = dict.fromkeys(PLANES, random.choice([FAIR, LOSSY]))
    cluster.form()
    for host in cluster.hosts.values():
        host.phase_ns = (MS, random.choice([5, 50, 300]) * MS)
        host.disk.sync_ns = (MS // 10, random.choice([1, 20, 200]) * MS)
    duration = random.choice([6, 12]) * SECOND
    cluster.faults.schedule(duration, 2, SIEGE, gap_ns=(10 * MS, 600 * MS))
    cluster.chatter(duration)
    start_runs(cluster, duration - SECOND)
    return recovered(cluster)


def leader_ping_pong(seed: int, verbose: bool = False) -> Cluster:
    """The current leader is cut off one way, killed, paused, drained, or cut off as it hands over; reads go on."""
    random = Random(f"{seed} pingpong")
    cluster = Cluster(seed, random.randint(2, 5), verbose=verbose)
    cluster.form()
    for host in cluster.hosts.values():
        host.disk.sync_ns = (MS // 10, random.choice([1, 30, 150]) * MS)
    cadence = random.choice([1, 2, -1])
    cluster.start_run("pagerank", 60, interval_ns=random.choice([0, 50 * MS]), checkpoint_ticks=cadence)
    cluster.chatter(9 * SECOND)
    for _ in range(random.randint(6, 16)):
        leader = cluster.leader()
        if leader is not None:
            _strike(cluster, leader, random)
        for host in cluster.members():
            if host.well:
                cluster.read(host)
        cluster.world.run(random.randint(20 * MS, 900 * MS))
    return recovered(cluster)


def _strike(cluster: Cluster, leader: Host, random: Random) -> None:
    """Injects one fault at the current leader."""
    faults, others = cluster.faults, [name for name in cluster.names if name != leader.name]
    kind = random.choice(["unheard", "deaf", "crash", "pause", "drain", "hand over"])
    if kind == "unheard":
        faults.partition([leader.name], random.randint(200 * MS, 2_200 * MS), one_way=True)
    elif kind == "deaf":
        faults.partition(others, random.randint(200 * MS, 2_200 * MS), one_way=True)
    elif kind == "crash":
        faults.crash(leader.name, random.randint(1, 300 * MS))
    elif kind == "pause":
        faults.pause(leader.name, random.randint(300 * MS, 1_500 * MS))
    elif kind == "drain" and len(cluster.running()) > 2:
        faults.drain(leader.name)
    else:
        if kind == "hand over" and len(cluster.running()) > 2:
            faults.drain(leader.name)
            cluster.world.run(random.randrange(300 * MS))
        is_one_way = random.random() < 0.5
        faults.partition([leader.name], random.randint(50 * MS, 600 * MS), one_way=is_one_way, planes=(CONTROL,))
