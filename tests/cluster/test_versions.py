"""Daemons of two versions: the one that can't read what the others decided exits, says why, and can be upgraded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import shoal
from daemon.cli.dev_cluster import DevCluster, DevShard
from daemon.control.versions import OWN
from shoal.api.errors import Refused
from tests.cluster.conftest import UP_SECONDS
from tests.cluster.test_upgrade import NEXT_VERSION
from tests.cluster.trial import ask, exit_status, importing_first, kill, leader_of, said, wait_for, well

WHAT = "machine 'cluster', tag 3, DropGraph"
TOLD = f"is committed, and this shard can't read it: a command ({WHAT}) of version {OWN.newest}: fields: 4 fields of"


class MixedCluster(DevCluster):
    """A dev cluster in which some daemons run a version that writes more than it should."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.later = {1, 2}

    def _start(self, shard: DevShard) -> None:
        with careless() if shard.number in self.later else contextlib.nullcontext():
            super()._start(shard)


@contextlib.contextmanager
def careless() -> Iterator[None]:
    """Makes processes started in the block run that version."""
    with importing_first(NEXT_VERSION), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOAL_CARELESS", "1")
        yield


@pytest.fixture
def cluster(ground: Path) -> Iterator[MixedCluster]:
    cluster = MixedCluster(ground / "versions")
    try:
        yield cluster
    finally:
        cluster.down()


def test_one_that_can_not_read_what_is_decided_ends_until_it_is_upgraded(cluster: MixedCluster) -> None:
    shards = cluster.up(3, "none", UP_SECONDS)
    first, _, old = shards
    with shoal.connect(str(first.socket)) as session:
        session.load("web", data=shoal.from_arrays([1, 2, 3], [2, 3, 1]))
    assert [row["members"] for row in ask(first, "status")["versions"]] == [[shard.name for shard in shards]]
    assert {(row["version"], row["newest"]) for row in said(old, "members")["members"]} == {(OWN.shoal, OWN.newest)}
    if leader_of(first) == old.name:
        with pytest.raises(Refused, match="the tick leader runs an older version that does not know this command"):
            ask(first, "graph drop", graph="web")
        kill(old)
        wait_for(lambda: leader_of(first) not in (None, old.name), 20, "another leader")
        cluster.start([3])
        wait_for(lambda: well(shards), 20, "all three in one view")
    assert ask(first, "graph drop", graph="web")["state"] == "dropped"
    ends_with_the_sentence(old, times=1)
    cluster._start(old)
    ends_with_the_sentence(old, times=2)
    entries = said(old, "log", "show", "--data", str(old.folder / "data"))["entries"]
    assert [entry["what"] for entry in entries if entry["outcome"] == "unreadable"] == [WHAT]
    cluster.later.add(3)
    cluster.start([3], wait=True)
    wait_for(lambda: well(shards), 20, "all three in one view")
    assert [ask(shard, "graph list")["graphs"] for shard in shards] == [[], [], []]
    with shoal.connect(str(old.socket)) as session:
        graph = session.load("web", data=shoal.from_arrays([1, 2, 3], [2, 3, 1]))
        assert graph.run("pagerank", ticks=5).wait().state == "completed"


def ends_with_the_sentence(shard: DevShard, times: int) -> None:
    """It has no traceback, because it is not a bug."""
    words = (shard.folder / "pid").read_text().split()
    assert exit_status(int(words[0]), 20) == 1
    log = shard.log.read_text()
    told = [line for line in log.splitlines() if TOLD in line]
    assert len(told) == times, log
    assert "critical" in told[-1]
    assert "Install the version that the others run, which `shoalctl members` on one of them shows" in told[-1]
    assert "shoalctl log show" in told[-1]
    assert "Traceback" not in log
    assert shard.pid() is None
