"""A cluster of real daemons is upgraded one by one; `next_version` turns the installed Shoal into a newer one."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from daemon.control.versions import OWN, Version
from shoal.api.errors import Refused
from tests.cluster.conftest import SETTINGS, UP_SECONDS
from tests.cluster.trial import (
    TrialCluster,
    ask,
    exit_status,
    importing_first,
    kill,
    metrics,
    said,
    shoalctl,
    wait_for,
    well,
)

NEXT_VERSION = Path(__file__).parent / "next_version"
NOW, NEXT = OWN.newest, OWN.newest + 1
LATER = Version(OWN.shoal, NOW, NEXT)
NODES, TICKS = 300, 25


class UpgradedCluster(TrialCluster):
    """A cluster in which some daemons run the next version."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SETTINGS)
        self.later: set[int] = set()

    def _start(self, shard: DevShard) -> None:
        with importing_first(NEXT_VERSION) if shard.number in self.later else contextlib.nullcontext():
            super()._start(shard)

    def install(self, shard: DevShard, *, later: bool) -> None:
        """Installs a version on this shard's machine, in place of the running one, with the same data folder."""
        if shard.pid() is not None:
            kill(shard)
        (self.later.add if later else self.later.discard)(shard.number)
        self._start(shard)


@pytest.fixture
def cluster(ground: Path) -> Iterator[UpgradedCluster]:
    cluster = UpgradedCluster(Path(tempfile.mkdtemp(prefix="u", dir=ground)) / "c")
    try:
        yield cluster
    finally:
        cluster.down()


def cluster_versions(shards: Sequence[DevShard]) -> set[int]:
    return {ask(shard, "status")["cluster_version"] for shard in shards}


def load(shard: DevShard, name: str) -> None:
    with shoal.connect(str(shard.socket)) as session:
        edges = [(node * 7 + 1) % NODES for node in range(NODES)], [(node * node + 3) % NODES for node in range(NODES)]
        session.load(name, data=shoal.from_arrays(*edges, nodes=list(range(NODES))))


def digest(shard: DevShard, graph: str = "web") -> str:
    """Returns the digest of a run of `TICKS` ticks."""
    with shoal.connect(str(shard.socket)) as session:
        return session.graph(graph).run("pagerank", ticks=TICKS).result("rank").digest


def test_a_rolling_upgrade_ends_with_what_is_new_and_no_way_back(cluster: UpgradedCluster) -> None:
    shards = cluster.up(3, "none", UP_SECONDS)
    first, second, third = shards
    load(first, "web")
    load(first, "old")
    expected = digest(first)
    run = ask(first, "run start", program="trial-count", graph="web", ticks=10**9)["run"]

    def goes_on() -> bool:
        tick = ask(third, "run show", run=run)["tick"]
        return bool(wait_for(lambda: ask(third, "run show", run=run)["tick"] > tick, 20, "ticks"))

    assert cluster_versions(shards) == {NOW}
    cluster.install(first, later=True)
    wait_for(lambda: well(shards), 20, "two versions in one view")
    assert {(row["newest"], *row["members"]) for row in ask(third, "status")["versions"]} == {
        (NEXT, first.name),
        (NOW, second.name, third.name),
    }
    assert goes_on()
    assert {digest(shard) for shard in shards} == {expected}
    with pytest.raises(Refused, match=rf"DropGraph.reason can be said from cluster version {NEXT} on"):
        ask(first, "graph drop", graph="old")  # the next version gives a reason
    cluster.install(first, later=False)
    wait_for(lambda: well(shards), 20, "back at the version that there was")
    assert goes_on()
    for shard in shards:
        assert cluster_versions(shards) == {NOW}
        cluster.install(shard, later=True)
        wait_for(lambda: well(shards), 20, "all three in one view")
        assert goes_on()
    wait_for(lambda: cluster_versions(shards) == {NEXT}, 20, "the raise of the cluster version, by itself")
    assert {metrics(shard)["shoal_cluster_version"] for shard in shards} == {NEXT}
    assert [row["newest"] for row in said(second, "members")["members"]] == [NEXT] * 3
    assert goes_on()
    assert {digest(shard) for shard in shards} == {expected}
    assert ask(second, "graph drop", graph="old")["state"] == "dropped"
    wait_for(lambda: [row["graph"] for row in ask(third, "graph list")["graphs"]] == ["web"], 20, "a graph less")
    stays_out(cluster, third)
    cluster.install(third, later=True)
    wait_for(lambda: well(shards), 20, "all three in one view")
    assert goes_on()
    ask(first, "run stop", run=run)


def test_a_lost_machine_that_keeps_the_version_down_is_named_until_it_is_replaced(cluster: UpgradedCluster) -> None:
    first, second, third = shards = cluster.up(3, "none", UP_SECONDS)
    kill(third)
    for shard in (first, second):
        cluster.install(shard, later=True)
        wait_for(lambda: all((one.status() or {}).get("ready") for one in (first, second)), 30, "the two go on")

    def held(shard: DevShard) -> list[str]:
        return [row["shard"] for row in ask(shard, "status")["version_held"]]

    for shard in (first, second):
        wait_for(lambda: held(shard) == [third.name], 20, "who keeps it down")  # noqa: B023
    words = " ".join(shoalctl(first, "status").stdout.split())
    assert f"version held at {NOW} by {third.name}: it is away: start it with the newer version, or, if its" in words
    (third.folder / "data").rename(third.folder / "lost")
    cluster.install(third, later=True)
    for shard in shards:
        wait_for(lambda: (shard.status() or {}).get("cluster_version") == NEXT, 60, "the raise")  # noqa: B023
        assert held(shard) == []


def stays_out(cluster: UpgradedCluster, shard: DevShard) -> None:
    """It can't return to the older version; and with an empty folder it can't join."""
    cluster.install(shard, later=False)
    assert exit_status(int((shard.folder / "pid").read_text().split()[0]), 20) == 1
    data, aside = shard.folder / "data", shard.folder / "aside"
    words = f"is of a cluster at version {NEXT}, and this Shoal ({OWN.shoal}) supports {OWN.span}: install one"
    assert words in shard.log.read_text()
    assert "Traceback" not in shard.log.read_text()
    data.rename(aside)
    cluster.install(shard, later=False)
    sentence = f"shard {shard.name} runs {OWN}, and the cluster is at version {NEXT}: install a Shoal"
    sentence += " that supports it"
    wait_for(lambda: (shard.status() or {}).get("waiting") == sentence, 20, "why it waits")
    others = [other for other in cluster.shards() if other.number != shard.number]
    wait_for(lambda: any(f"kept out: {sentence}" in other.log.read_text() for other in others), 20, "the leader's word")
    assert not any(row["in_view"] for row in ask(others[0], "members")["members"] if row["name"] == shard.name)
    kill(shard)
    data.rename(shard.folder / "empty")
    aside.rename(data)
