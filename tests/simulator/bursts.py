"""Many concurrent proposals on slow disks while machines fail: batches, and crashes in the middle of one."""

from __future__ import annotations

from random import Random

from daemon.state.commands import StopRun
from tests.simulator.cluster import Cluster
from tests.simulator.network import FAIR, LOSSY, PLANES
from tests.simulator.workload import recovered, start_runs
from tests.simulator.world import MS, SECOND

FAULTS = ("crash", "crash", "crash", "partition", "pause", "one-way cut", "wipe", "disk full")
BURSTS = 10


def bursts(seed: int, verbose: bool = False) -> Cluster:
    """Everything in a batch is decided once and everywhere, whichever machines lose their power meanwhile; every
    proposer that survives gets its answer.
    """
    random = Random(f"{seed} bursts")
    cluster = Cluster(seed, random.randint(3, 5), verbose=verbose)
    cluster.network.weather = dict.fromkeys(PLANES, random.choice([FAIR, LOSSY]))
    cluster.form()
    for host in cluster.hosts.values():
        host.disk.sync_ns = (MS, random.choice([3, 20, 100]) * MS)
    cluster.faults.schedule(8 * SECOND, 1, FAULTS)
    asked = []
    for _ in range(BURSTS):
        well = [host for host in cluster.members() if host.well]
        for _ in range(random.randint(5, 40) if well else 0):
            host = random.choice(well)
            asked.append((host, host.generation, cluster.propose(host, StopRun("nothing"))))
        cluster.world.run(random.randrange(800 * MS))
        leader = cluster.leader()
        if leader is not None and random.random() < 0.3:
            cluster.faults.crash(leader.name, random.randint(100 * MS, 3 * SECOND))
    start_runs(cluster, SECOND)
    recovered(cluster)
    cluster.world.run(16 * SECOND)  # longer than a proposal waits for its answer
    unanswered = [
        f"{host.name} has no answer to {request}"
        for host, generation, request in asked
        if host.running and host.generation == generation and request not in host.diary.answers
    ]
    assert not unanswered, unanswered
    assert cluster.invariants.counts["batches"], "nothing was decided together"
    return cluster
