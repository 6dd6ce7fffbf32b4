"""The model of many shards: what it counts, and that it adds up."""

from __future__ import annotations

import numpy as np
import pytest

from bench.growth.model import MESSAGE_BYTES, VALUE_BYTES, Model, Network, cut

SOURCE, TARGET = np.array([0, 0, 1, 2, 3]), np.array([1, 2, 2, 0, 3])


def test_a_cut_counts_each_ghost_once_a_shard() -> None:
    partition = np.arange(4)
    how = cut(SOURCE, TARGET, partition, 4, 4)
    assert how.edges.sum() == len(SOURCE)
    assert how.owed.sum() == 4  # 0 -> 1, 0 -> 2, 1 -> 2, 2 -> 0 unless two of them share a shard
    assert not how.owed.diagonal().any()
    assert cut(SOURCE, TARGET, partition, 4, 1).owed.tolist() == [[0]]


def test_one_shard_pays_for_its_edges_alone() -> None:
    how = cut(SOURCE, TARGET, np.arange(4), 4, 1)
    assert np.diff(Model(how, Network(edge_ns=1000), 3).run()).tolist() == [5000, 5000]
    assert how.bytes_a_tick == 0


@pytest.mark.parametrize("shards", [2, 5])
def test_a_tick_is_no_shorter_than_its_slowest_part(shards: int) -> None:
    random = np.random.default_rng(1)
    source, target = random.integers(0, 500, 4000), random.integers(0, 500, 4000)
    how = cut(source, target, random.integers(0, 64, 500), 64, shards)
    network = Network()
    (tick,) = np.diff(Model(how, network, 2).run())
    assert tick >= int(how.edges.max() * network.edge_ns) + network.latency_ns + 2 * network.message_ns
    assert how.bytes_a_tick == how.owed.sum() * VALUE_BYTES + shards * (shards - 1) * MESSAGE_BYTES
