"""Clusters founded during faults: whatever is lost, partitioned, paused or killed meanwhile, exactly one results.

Each expects more than half of its shards, as the operators' documentation requires. An invariant checks that none is
founded twice; `recover` checks that one is founded once the faults are over, and that all shards become its members.
"""

from __future__ import annotations

from random import Random

from tests.simulator.cluster import Cluster
from tests.simulator.network import FAIR, LOSSY, PLANES
from tests.simulator.world import MS, SECOND


def founded_in_a_storm(seed: int, verbose: bool = False) -> Cluster:
    """A host crashes and returns while the cluster is being founded.

    There may be more hosts than expected; those that are not founders join.
    """
    random = Random(f"{seed} founding")
    size = random.randint(2, 5)
    expect = random.choice([size, size // 2 + 1])
    cluster = _started(seed, size, expect, random, 2 * SECOND, is_lossy=bool(random.randrange(2)), verbose=verbose)
    cluster.world.run(2 * SECOND + random.randrange(3 * SECOND))
    cluster.faults.crash(random.choice(cluster.names), random.randrange(3 * SECOND))
    cluster.world.run(3 * SECOND)
    cluster.recover()
    return cluster


def founding_siege(seed: int, verbose: bool = False) -> Cluster:
    """Cuts in one direction or both, pauses and crashes occur during the founding."""
    random = Random(f"{seed} fsiege")
    size = random.randint(3, 5)
    expect = size // 2 + 1 if random.random() < 0.6 else size
    cluster = _started(seed, size, expect, random, 1_500 * MS, is_lossy=bool(random.randrange(2)), verbose=verbose)
    for _ in range(random.randint(2, 6)):
        cluster.world.run(random.randrange(700 * MS))
        kind, up = random.randrange(4), [host.name for host in cluster.running()]
        if kind <= 1:
            side, duration = random.sample(cluster.names, random.randint(1, size - 1)), random.randint(100, 2500) * MS
            cluster.faults.partition(side, duration, one_way=random.random() < 0.5)
        elif up and kind == 2:
            cluster.faults.pause(random.choice(up), random.randint(50, 2000) * MS)
        elif up:
            cluster.faults.crash(random.choice(up), random.randint(1, 1500) * MS)
    cluster.world.run(3 * SECOND)
    cluster.recover()
    return cluster


def founded_in_bad_weather(seed: int, size: int, expect: int) -> Cluster:
    """Loses a fifth of all messages, without other faults."""
    cluster = _started(seed, size, expect, Random(f"{seed} weather"), 2 * SECOND, is_lossy=True)
    cluster.world.run(8 * SECOND)
    cluster.recover()
    return cluster


def _started(
    seed: int, size: int, expect: int, random: Random, within: int, *, is_lossy: bool, verbose: bool = False
) -> Cluster:
    cluster = Cluster(seed, size, expect=expect, verbose=verbose)
    cluster.network.weather = dict.fromkeys(PLANES, LOSSY if is_lossy else FAIR)
    for name in cluster.names:
        cluster.world.after(random.randrange(within), cluster.hosts[name].start)
    return cluster
