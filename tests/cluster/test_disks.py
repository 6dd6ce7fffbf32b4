"""Disks of real daemons that go back, fill up, and have room again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import shoal
from daemon.dev_cluster import DevShard
from tests.cluster.conftest import SETTINGS, UP_SECONDS
from tests.cluster.trial import TrialCluster, ask, wait_for, well

BACK_SECONDS = 30.0


@pytest.fixture(scope="module")
def cluster(ground: Path) -> Iterator[TrialCluster]:
    made = TrialCluster(ground / "disks", SETTINGS)
    made.up(3, "none", UP_SECONDS)
    try:
        yield made
    finally:
        made.down()


@pytest.fixture
def three(cluster: TrialCluster) -> list[DevShard]:
    shards = cluster.shards()
    wait_for(lambda: well(shards), BACK_SECONDS, "all three in one view")
    return shards


@pytest.fixture(scope="module")
def graph(cluster: TrialCluster) -> str:
    with shoal.connect(str(cluster.shards()[0].socket)) as session:
        return session.load("ring", data=shoal.from_arrays([1, 2, 3, 3], [2, 3, 1, 4])).name


@pytest.mark.parametrize(("whom", "what"), [("leader", "the folder"), ("another", "the log")])
def test_a_disk_that_went_back_comes_back_as_a_new_one(
    cluster: TrialCluster, three: list[DevShard], graph: str, whom: str, what: str
) -> None:
    leads = ask(three[0], "status")["leader"]
    victim = next(shard for shard in three if (shard.name == leads) == (whom == "leader"))
    other = next(shard for shard in three if shard is not victim)
    data, before = victim.folder / "data", victim.folder / "data.before"
    cluster.kill([victim.number])
    shutil.copytree(data, before)
    cluster.start([victim.number])
    wait_for(lambda: well(three), BACK_SECONDS, "it is back for the first time")
    with shoal.connect(str(other.socket)) as session:
        digest = session.graph(graph).run("pagerank", ticks=3).result("rank").digest
    cluster.kill([victim.number])
    if what == "the folder":
        shutil.rmtree(data)
        before.rename(data)
    else:
        (data / "shoal.db-wal").unlink()
        shutil.rmtree(before)
    said = len(victim.log.read_text())
    cluster.start([victim.number])
    wait_for(lambda: well(three), BACK_SECONDS, "it is back as a new disk")
    assert "this shard's disk went back to an earlier state" in victim.log.read_text()[said:]
    with shoal.connect(str(victim.socket)) as session:
        assert session.graph(graph).run("pagerank", ticks=3).result("rank").digest == digest
