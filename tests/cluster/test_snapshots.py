"""A state of the log larger than any message reaches a shard that lacks it, whichever shard is killed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal.client.admin_protocol import AdminConnection
from tests.cluster.conftest import UP_SECONDS
from tests.cluster.trial import TrialCluster, ask, kill, leader_of, long_turns, wait_for, well

SETTINGS = """\
snapshot_entries = 32
chunks_inflight_max = 1

[ticks]
runs_max = 16
"""
"""The first lines still belong to section consensus."""
RUNS, PARAM_CHARACTERS = 150, 60_000
CHUNKS = RUNS * PARAM_CHARACTERS // (256 << 10)
ATTEMPTS = 5
"""How often a shard may be killed before or after a transfer, which takes a fraction of a second."""


@pytest.fixture(scope="module")
def cluster(ground: Path) -> Iterator[TrialCluster]:
    """Three shards whose log has decided ten megabytes, and is compacted."""
    cluster = TrialCluster(ground / "snapshots", SETTINGS)
    try:
        shards = cluster.up(3, "none", UP_SECONDS)
        with shoal.connect(str(shards[0].socket)) as session:
            session.load("web", data=shoal.from_arrays([1, 2, 3], [2, 3, 1]))
        with AdminConnection(shards[0].socket) as connection:
            asked = {"program": "trial-raise", "graph": "web", "params": {"shard": "x" * PARAM_CHARACTERS}}
            for _ in range(RUNS):
                run = connection.call("run start", {**asked, "queue": True})[0]
        wait_for(lambda: ask(shards[0], "run show", run=run["run"])["state"] == "completed", 60, "all runs")
        yield cluster
    finally:
        cluster.down()


@pytest.fixture(scope="module")
def large(cluster: TrialCluster) -> list[DevShard]:
    return cluster.shards()


def begin_anew(cluster: TrialCluster, shard: DevShard) -> None:
    """Starts it with an empty data folder; kills it first if it runs."""
    if shard.pid() is not None:
        kill(shard)
    lost = shard.folder / f"lost-{len(list(shard.folder.iterdir()))}"
    (shard.folder / "data").rename(lost)
    cluster.start([shard.number], timeout_seconds=UP_SECONDS)


def chunks_held(connection: AdminConnection) -> int:
    """Returns how many chunks a shard has received."""
    text = connection.call("metrics", {"prefix": "shoal_messages_total"})[0]["text"]
    lines = [line for line in text.splitlines() if 'direction="in"' in line and "InstallSnapshot" in line]
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))


def held_when_killed(receiver: DevShard, victim: DevShard) -> int:
    """Kills a shard once the receiver has the first chunks; returns how many it had just before."""
    with AdminConnection(receiver.socket) as connection:
        held = wait_for(lambda: chunks_held(connection), 30, "the first chunks")
        kill(victim)
    return held


def caught_up(shards: list[DevShard]) -> None:
    wait_for(lambda: well(shards), 60, "all three in one view")
    assert {len(ask(shard, "run list")["runs"]) for shard in shards} == {RUNS}


def test_one_that_lacks_it_is_sent_it_and_does_not_stand_still(cluster: TrialCluster, large: list[DevShard]) -> None:
    third = large[2]
    begin_anew(cluster, third)
    caught_up(large)
    with AdminConnection(third.socket) as connection:
        assert chunks_held(connection) >= CHUNKS > 32, "it is larger than a message may be"
    assert long_turns(third, "0.25") == 0


@pytest.mark.parametrize("whom", ["receiver", "leader"])
def test_who_is_killed_in_the_middle_of_it_does_no_harm(
    cluster: TrialCluster, large: list[DevShard], whom: str
) -> None:
    for _ in range(ATTEMPTS):
        leader = next(shard for shard in large if shard.name == leader_of(large[0]))
        receiver = next(shard for shard in large if shard is not leader)
        begin_anew(cluster, receiver)
        victim = receiver if whom == "receiver" else leader
        held = held_when_killed(receiver, victim)
        cluster.start([victim.number], timeout_seconds=UP_SECONDS)
        caught_up(large)
        if held < CHUNKS:
            return
    raise AssertionError("nobody was killed in the middle of a transfer")
