"""Disks of real daemons that go back, fill up, and get room again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import shoal
from chaos.disks import SmallDisk, why_not
from daemon.cli.dev_cluster import DevShard, Life
from tests.cluster.conftest import SETTINGS, UP_SECONDS
from tests.cluster.trial import TrialCluster, ask, wait_for, wait_for_line, well

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
    wait_for_line(victim, "this shard's disk has reverted to an earlier state", said)
    with shoal.connect(str(victim.socket)) as session:
        assert session.graph(graph).run("pagerank", ticks=3).result("rank").digest == digest


# -- small disks -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(ground: Path) -> Iterator[tuple[TrialCluster, list[SmallDisk]]]:
    """Three daemons, each with a disk of 32 MiB."""
    if why_not():
        pytest.skip(why_not())
    made, disks = TrialCluster(ground / "small", SETTINGS), []
    for number in (1, 2, 3):
        folder = made.folder / str(number) / "data"
        folder.mkdir(parents=True, mode=0o700)
        disks.append(SmallDisk(folder, 32 << 20))
    try:
        made.up(3, "none", UP_SECONDS)
        yield made, disks
    finally:
        made.down()
        for disk in disks:
            disk.close()


def test_what_small_disks_have_no_room_for_is_refused_and_room_brings_all_back(
    small: tuple[TrialCluster, list[SmallDisk]],
) -> None:
    """A load, runs, a full disk, a start on it, a drop: each succeeds or gets an error, and no daemon ends."""
    cluster, disks = small
    shards = cluster.shards()
    wait_for(lambda: well(shards), BACK_SECONDS, "all three in one view")
    edges = np.random.default_rng(1).integers(0, 20_000, (2, 200_000))
    data = shoal.from_arrays(*edges)
    with shoal.connect(str(shards[0].socket)) as session:
        graphs, refused = [], ""
        while not refused:
            assert len(graphs) < 20
            try:
                graphs.append(session.load(f"g{len(graphs)}", data=data))
            except shoal.ShoalError as error:
                refused = str(error)
        assert "room" in refused
        assert "drop graphs" in refused
        assert ask(shards[1], "status")["graphs"] == len(graphs) >= 2
        wait_for(lambda: _says_full(shards[1], disks[1]), BACK_SECONDS, "it says that it is full")
        with pytest.raises(shoal.RunFailed, match=r"shard-2: tick .* can't be kept"):
            graphs[0].run("pagerank", ticks=50, checkpoint=1)
    cluster.kill([2])
    cluster.start([2])
    wait_for(lambda: well(shards), BACK_SECONDS, "a full daemon starts")
    with shoal.connect(str(shards[0].socket)) as session:
        session.drop("g0")
        disks[1].clear()
        wait_for(lambda: ask(shards[1], "status")["disk"]["state"] != "full", BACK_SECONDS, "there is room")
        wait_for(lambda: _loads(session, data), BACK_SECONDS, "what was dropped made room")
    assert [shard.life() for shard in shards] == [Life.RUNNING] * 3


def _says_full(shard: DevShard, disk: SmallDisk) -> bool:
    """Filling also takes the reserve, which the daemon may release for a decision at any time."""
    disk.fill()
    return bool(ask(shard, "status")["disk"]["state"] == "full")


def _loads(session: shoal.Session, data: shoal.GraphData) -> bool:
    try:
        session.load("again", data=data)
    except shoal.ShoalError:
        return False
    return True
