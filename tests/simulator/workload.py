"""The common part of most scenarios: runs of all kinds meanwhile, and the checks once the faults have ended."""

from __future__ import annotations

from tests.simulator.cluster import TICKS_MAX, Cluster
from tests.simulator.world import MS


def recovered(cluster: Cluster) -> Cluster:
    cluster.recover()
    cluster.check_runs()
    return cluster


def start_runs(cluster: Cluster, duration: int) -> None:
    """Starts a few runs of all kinds over about that time."""
    random = cluster.world.random(f"runs at {cluster.world.now}")
    end = cluster.world.now + duration
    for _ in range(random.randint(1, 3)):
        kind = random.choice(["pagerank", "pagerank", "rumour", "wcc", "degree"])
        ticks = random.choice([1, 5, 20]) if kind in ("pagerank", "rumour") else TICKS_MAX
        cadence = random.choice([-1, 0, 1, 1, 3])
        cluster.start_run(kind, ticks, interval_ns=random.choice([0, 0, 100 * MS]), checkpoint_ticks=cadence)
        cluster.world.run(random.randrange(max(1, duration // 2)))
    cluster.world.run(max(0, end - cluster.world.now))
