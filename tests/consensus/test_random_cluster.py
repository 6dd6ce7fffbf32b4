"""Safety under faults, then liveness once healed: Raft in a small random world, from a seed."""

from __future__ import annotations

import pytest

from tests.consensus.cluster import MS, Cluster

SEEDS = range(36)


def wreck_and_heal(seed: int) -> Cluster:
    """One history: disturb for a while, checking at every step; heal, and see it go on."""
    voters = ["a"] if seed % 6 == 5 else ["a", "b", "c"]  # who votes alone has nobody else to count
    cluster = Cluster(seed, voters, spares=["d", "e", "f"])
    cluster.run(1_000 * MS)
    for _ in range(cluster.random.choice([60, 250])):
        cluster.disturb()
        cluster.run(cluster.random.choice([0, 1, 5, 20, 100, 300, 800]) * MS)
    cluster.heal()
    cluster.settle()
    return cluster


@pytest.mark.parametrize("seed", SEEDS)
def test_stays_safe_under_faults_and_goes_on_once_healed(seed: int) -> None:
    cluster = wreck_and_heal(seed)
    assert cluster.safety.leaders
    assert cluster.safety.committed_entries
    assert cluster.reads


def test_a_seed_replays_exactly() -> None:
    first, second = wreck_and_heal(7), wreck_and_heal(7)
    assert first.steps == second.steps
    assert {name: host.stored for name, host in first.hosts.items()} == {
        name: host.stored for name, host in second.hosts.items()
    }
