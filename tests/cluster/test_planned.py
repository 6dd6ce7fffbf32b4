"""Planned operations on real daemons: none changes what a run computes, and none waits in vain."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal import GraphData
from shoal.api.errors import Refused
from shoal.client.admin_protocol import AdminConnection
from tests.cluster.conftest import SETTINGS, UP_SECONDS
from tests.cluster.trial import TrialCluster, ask, exit_status, leader_of, said, wait_for, wait_for_line, well
from tests.trials import Everything

NODES = 300
MARK = '''
import numpy as np
from shoal import Column, Program

class Mark(Program):
    """Ones."""
    name = "mark"
    columns = (Column("mark", np.int64),)
    def start(self, ws): ws.set("mark", 1)
'''
SLOW = '[storage]\nrepair_bandwidth = "1KiB"\n'

Made = Callable[..., TrialCluster]


class RestoredCluster(TrialCluster):
    """A cluster whose first daemon starts with a backup."""

    backup: Path

    def _start(self, shard: DevShard) -> None:
        program = self._program
        if shard.number == 1:
            self._program = (*program, "--restore", str(self.backup))
        try:
            super()._start(shard)
        finally:
            self._program = program


@pytest.fixture
def make(ground: Path) -> Iterator[Made]:
    """Creates a cluster for this test alone, which may stop and start its daemons."""
    made: list[TrialCluster] = []

    def start(
        count: int, settings: str = "", replicas: int = 2, backup: Path | None = None, kind: str = "p"
    ) -> TrialCluster:
        folder = ground / f"{kind}{len(list(ground.iterdir()))}"
        cluster = RestoredCluster(folder, SETTINGS + settings) if backup else TrialCluster(folder, SETTINGS + settings)
        if backup:
            cluster.backup = backup  # type: ignore[attr-defined]
        made.append(cluster)
        cluster.up(count, "none", UP_SECONDS, replicas)
        return cluster

    try:
        yield start
    finally:
        for cluster in made:
            cluster.down()


@pytest.fixture(scope="module")
def small() -> GraphData:
    """A graph of which every shard has some nodes."""
    nodes = list(range(NODES))
    return shoal.from_arrays([*nodes, *nodes], [*(n * 7 % NODES for n in nodes), *(n * n % NODES for n in nodes)])


def begin(shard: DevShard, data: GraphData) -> str:
    """Loads the graph, and starts a run that goes on until it is stopped."""
    with shoal.connect(str(shard.socket)) as session:
        session.load("small", data=data)
    return str(begin_again(shard))


def begin_again(shard: DevShard, ticks: int = 10**6, interval: float = 0.02) -> str:
    args = {"program": "trial-everything", "graph": "small", "ticks": ticks, "interval_seconds": interval}
    return str(ask(shard, "run start", **args, checkpoint_ticks=5)["run"])


def ends_as_undisturbed(shard: DevShard, run: str, data: GraphData) -> None:
    """Stops it, and asserts that it has the digest of an undisturbed run of as many ticks."""
    ask(shard, "run stop", run=run)
    shown = ask(shard, "run wait", run=run, timeout_seconds=30)
    assert shown["state"] == "stopped"
    has_result_of(shard, run, shown["ticks"], data)


def has_result_of(shard: DevShard, run: str, ticks: int, data: GraphData) -> None:
    with shoal.local() as session:
        expected = session.load("small", data=data).run(Everything, ticks=ticks)
        for column in ("a", "marks"):
            assert ask(shard, "run result", run=run, column=column)["digest"] == expected.result(column).digest, column


def tick_of(shard: DevShard, run: str) -> int:
    return int(ask(shard, "run show", run=run)["tick"])


def ticks_on(shard: DevShard, run: str, more: int = 5) -> None:
    """Waits until a run has done more ticks."""
    before = tick_of(shard, run)
    wait_for(lambda: tick_of(shard, run) >= before + more, 20, f"{run} goes on")


def terminate(shard: DevShard, seconds: float = 20) -> str:
    """Stops a daemon as its service manager does; returns its log since."""
    pid, before = shard.pid(), len(shard.log.read_text())
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    assert exit_status(pid, seconds) == 0
    wait_for(lambda: shard.pid() is None, 5, f"{shard.name} is collected")
    return shard.log.read_text()[before:]


def view_of(shard: DevShard) -> list[str]:
    return list(ask(shard, "view")["members"])


def others(shards: Sequence[DevShard], shard: DevShard) -> list[DevShard]:
    return [other for other in shards if other != shard]


def test_all_are_restarted_one_after_the_other_in_a_run(make: Made, small: GraphData) -> None:
    cluster = make(3)
    three = cluster.shards()
    run = begin(three[0], small)
    ticks_on(three[0], run)
    for shard in three:
        told = terminate(shard)
        assert "drain: drained of" in told, told
        assert shard.name not in view_of(others(three, shard)[0])
        cluster.start([shard.number], wait=True)
        ticks_on(others(three, shard)[0], run)
    wait_for(lambda: well(three), 20, "all three well")
    # Then all at once: none waits for others that wait for it.
    began, reached = time.monotonic(), tick_of(three[0], run)
    stopped, killed = cluster.down()
    assert (len(stopped), killed) == (3, [])
    assert time.monotonic() - began < 8
    cluster.up(3, "none", UP_SECONDS)
    ticks_on(three[1], run)
    assert tick_of(three[1], run) > reached - 20, "from a kept tick, not from the start"
    ends_as_undisturbed(three[0], run, small)


def test_one_is_drained_joins_again_and_leaves_for_good(make: Made, small: GraphData) -> None:
    cluster = make(3)
    three = cluster.shards()
    finished = begin(three[0], small)
    ticks_on(three[0], finished)
    ends_as_undisturbed(three[0], finished, small)
    run = begin_again(three[0])
    paced = ask(three[0], "run start", program="pagerank", graph="small", ticks=9, paced=True)["run"]
    leader = next(shard for shard in three if shard.name == leader_of(three[0]))
    rest = others(three, leader)

    held = sum(leader.name in (row["primary"], *row["replicas"]) for row in ring_of(rest[0]))
    with AdminConnection(leader.socket) as connection:
        stream = connection.stream("drain")
        events = list(stream)
    assert stream.result["state"] == "drained"
    assert stream.result["partitions"] == held > 0
    assert stream.result["bytes"] > 0
    assert events[-1] == {"stage": "drain", "done": held, "total": held}
    assert view_of(leader) == sorted(shard.name for shard in rest)
    assert ask(leader, "status")["state"] == "drained"
    assert ask(leader, "status")["draining"] == [leader.name]
    wait_for(lambda: leader_of(rest[0]) in {shard.name for shard in rest}, 10, "another leads")
    assert said(leader, "drain")["partitions"] == 0, "asked again, it is done already"
    ticks_on(rest[0], run)
    with pytest.raises(Refused, match="this shard is not in the view: ask a member"):
        ask(leader, "run step", run=paced)
    assert ask(rest[1], "run step", run=paced)["tick"] == 1

    assert said(leader, "join") == {"shard": leader.name, "state": "joined", "epoch": ask(leader, "view")["epoch"]}
    assert leader.name in view_of(rest[0])
    wait_for(lambda: any(leader.name == row["primary"] for row in ring_of(rest[0])), 20, "it serves again")
    ticks_on(rest[0], run)

    pid = leader.pid()
    assert pid is not None
    assert said(leader, "leave")["state"] == "left"
    assert exit_status(pid, 20) == 0
    assert not leader.socket.exists()
    wait_for(lambda: state_at(rest[0], leader) == "left", 10, "its goodbye")
    ticks_on(rest[0], run)
    cluster.start([leader.number], wait=True)
    ticks_on(rest[0], run)
    ends_as_undisturbed(rest[1], run, small)
    assert ask(leader, "run result", run=finished)["digest"] == ask(rest[0], "run result", run=finished)["digest"]


def ring_of(shard: DevShard) -> list[dict[str, Any]]:
    return list(ask(shard, "ring", graph="small")["partitions"])


def state_at(shard: DevShard, of: DevShard) -> str:
    return str(next(row["state"] for row in ask(shard, "members")["members"] if row["name"] == of.name))


def test_a_drain_is_bounded_and_a_second_signal_ends_it(make: Made, small: GraphData) -> None:
    """Copies run at a kilobyte per second: what only one shard holds would take hours."""
    cluster = make(2, SLOW, replicas=1)
    one, two = cluster.shards()
    run = begin(one, small)
    pid = two.pid()
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: "partitions to go" in two.log.read_text(), 10, "it drains")
    with pytest.raises(Refused, match="no other member of the view remains"):
        ask(one, "drain")
    os.kill(pid, signal.SIGTERM)
    assert exit_status(pid, 2) == 0
    assert "not drained: there is no time for a drain" in two.log.read_text()
    wait_for(lambda: two.pid() is None, 5, "it is collected")
    cluster.start([2], wait=True)
    wait_for(lambda: well([one, two]), 20, "both well")
    ticks_on(one, run)
    told = terminate(two)
    assert "(cluster.drain_timeout)" in told
    assert "partitions to go" in told
    cluster.start([2], wait=True)
    ends_as_undisturbed(one, run, small)


def test_a_lone_shard_hands_over_to_nobody(make: Made) -> None:
    (lone,) = make(1).shards()
    for command in ("drain", "leave"):
        with pytest.raises(Refused, match="no other member of the view remains that could take over"):
            ask(lone, command)
    assert said(lone, "join")["state"] == "joined"
    began = time.monotonic()
    assert "not drained: no other member" in terminate(lone)
    assert time.monotonic() - began < 5


def test_a_backup_of_three_in_a_run_is_restored_into_one_and_into_four(
    make: Made, small: GraphData, tmp_path: Path
) -> None:
    cluster = make(3)
    three = cluster.shards()
    finished = begin(three[0], small)
    ticks_on(three[0], finished)
    ask(three[0], "run stop", run=finished)
    ticks = ask(three[0], "run wait", run=finished)["ticks"]
    with shoal.connect(str(three[0].socket)) as session:
        tiny = session.load("tiny", data=shoal.from_arrays([1], [2]))
        marked = _deployed_and_run(session, tiny, tmp_path / "mark.py")
    run = begin_again(three[0], 300, 0.01)
    ticks_on(three[0], run, 20)

    folder = tmp_path / "backup"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("something")
    with pytest.raises(Refused, match="exists and is not empty"):
        ask(three[0], "backup", dir=str(tmp_path / "full"))
    done = said(three[1], "backup", str(folder))
    assert {row["graph"] for row in done["graphs"]} == {"small", "tiny"}
    kept = {row["run"]: row for row in done["runs"]}
    assert kept[finished]["tick"] == ticks
    assert kept[run]["tick"] >= 5, "the states of a checkpoint went in"
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "shoal.db"]
    assert json.loads((folder / "manifest.json").read_text())["runs"] == done["runs"]
    assert not folder.with_name("backup.partial").exists()
    ask(three[0], "run wait", run=run, timeout_seconds=60)
    has_result_of(three[0], run, 300, small)
    cluster.down()

    for count in (1, 4):
        restored = make(count, backup=folder, kind="r")
        shards = restored.shards()
        wait_for(lambda: len(ask(shards[-1], "graph list")["graphs"]) == 2, 30, "all is there")  # noqa: B023
        runs = {row["run"] for row in ask(shards[-1], "run list")["runs"]}
        assert runs == {finished, marked, run}, "all of it at once"
        versions = ask(shards[-1], "program show", program="mark")["versions"]
        assert [(one["is_current"], one["runs"]) for one in versions] == [(False, [marked]), (True, [])]
        assert [row["value"] for row in ask(shards[-1], "run result", run=marked)["rows"]] == [1, 1], "by the older one"
        has_result_of(shards[-1], finished, ticks, small)
        shown = ask(shards[-1], "run wait", run=run, timeout_seconds=60)
        assert (shown["state"], shown["ticks"]) == ("completed", 300)
        wait_for_line(shards[0], f"run {run} on graph small begins after tick {kept[run]['tick']}")
        has_result_of(shards[-1], run, 300, small)
        assert begin_again(shards[0], ticks=2) not in (finished, run)
        if count == 1:
            _not_over_what_is_there(restored)
        restored.down()


def _deployed_and_run(session: shoal.Session, graph: shoal.Graph, file: Path) -> str:
    """Returns a run of a program that has been replaced since."""
    file.write_text(MARK)
    session.deploy(file)
    run = graph.run("mark", ticks=1)
    file.write_text(MARK.replace('Column("mark", np.int64)', 'Column("mark", np.float64), Column("more", np.int64)'))
    assert session.deploy(file)["state"] == "replaced"
    return run.name


def _not_over_what_is_there(cluster: TrialCluster) -> None:
    """A daemon that already belongs to a cluster refuses, and says why."""
    first = cluster.shards()[0]
    terminate(first)
    before = len(first.log.read_text())
    with pytest.raises(Exception, match="ended while it was starting"):
        cluster.start([1])
    assert "is not empty: a backup is restored into a new cluster" in first.log.read_text()[before:]
