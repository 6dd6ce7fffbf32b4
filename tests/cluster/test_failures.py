"""Daemons that are killed, and one that is asked to go: what the others say and do.

One cluster of five serves the whole story: five daemons take a while to start, and three of five are a majority.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

import shoal
from daemon.dev_cluster import DevShard
from shoal import GraphData, RunFailed
from shoal.lines import Refused
from tests.cluster.conftest import Up
from tests.cluster.trial import ask, exit_status, kill, leader_of, shoalctl, summed, trials_installed, wait_for


def states(shard: DevShard) -> dict[str, str]:
    return {member["name"]: member["state"] for member in ask(shard, "members")["members"]}


def test_kills_and_a_goodbye(up: Up, debian: GraphData) -> None:
    five = up(5)
    with shoal.local() as session:
        expected = session.load("deps", data=debian).run("pagerank", ticks=30).result("rank").digest
    with shoal.connect(str(five[0].socket)) as session:
        graph = session.load("deps", data=debian)
        assert graph.run("pagerank", ticks=30, timeout=60).result("rank").digest == expected
        kept = graph.run("degree").name

    leader = next(shard for shard in five if shard.name == leader_of(five[0]))
    rest = [shard for shard in five if shard is not leader]
    term = ask(rest[0], "status")["term"]
    _one_is_killed_in_a_run(leader, rest)
    _another_leads(leader, rest, term)
    follower = next(shard for shard in rest if shard.name != leader_of(rest[0]))
    rest = [shard for shard in rest if shard is not follower]
    kill(follower)
    _held_dead(follower, rest)
    _nothing_new_is_begun_and_what_is_known_is_answered(rest, kept)
    _one_says_goodbye(rest[0], rest[1:])


def test_a_follower_is_killed_in_a_run(up: Up) -> None:
    three = up(3)
    nodes = list(range(500))
    with shoal.connect(str(three[0].socket)) as session:
        session.load("deps", data=shoal.from_arrays(nodes, [*nodes[1:], 0]))
    leader = leader_of(three[0])
    follower = next(shard for shard in three if shard.name != leader)
    rest = [shard for shard in three if shard is not follower]
    _one_is_killed_in_a_run(follower, rest)
    assert {leader_of(shard) for shard in rest} <= {shard.name for shard in rest}


def _one_is_killed_in_a_run(victim: DevShard, rest: list[DevShard]) -> None:
    """The leader of that moment, be it a new one, ends the run for all and says why."""
    with shoal.connect(str(rest[0].socket)) as session:
        run = session.graph("deps").start("pagerank", ticks=10**9)
        wait_for(lambda: run.show()["tick"] > 20, 20, "some ticks")
        kill(victim)
        with pytest.raises(RunFailed, match=rf"the view has lost {victim.name}: a run needs every member of its view"):
            run.wait(40)
        assert run.state == "failed"
    _held_dead(victim, rest)
    for shard in rest:
        wait_for(lambda shard=shard: ask(shard, "run show", run=run.name)["state"] == "failed", 10, "its end known")  # type: ignore[misc]
        assert victim.name in ask(shard, "run show", run=run.name)["error"]
        assert ask(shard, "barrier")["runs"] == []


def _held_dead(gone: DevShard, rest: list[DevShard]) -> None:
    for shard in rest:
        wait_for(lambda shard=shard: states(shard)[gone.name] == "dead", 20, f"{gone.name} dead")  # type: ignore[misc]


def _another_leads(gone: DevShard, rest: list[DevShard], term: int) -> None:
    names = {shard.name for shard in rest}
    wait_for(lambda: len(seen := {leader_of(shard) for shard in rest}) == 1 and seen <= names, 20, "one leader for all")
    assert ask(rest[0], "status")["term"] > term
    assert sum(summed(shard, "shoal_raft_is_leader") for shard in rest) == 1
    assert gone.name not in names


def _nothing_new_is_begun_and_what_is_known_is_answered(rest: list[DevShard], kept: str) -> None:
    with shoal.connect(str(rest[0].socket)) as session:
        graph = session.graph("deps")
        with pytest.raises(Refused, match=r"the view lacks shard-\d, shard-\d: a run needs every member of its view"):
            graph.run("pagerank", ticks=3)
        with pytest.raises(Refused, match=r"the view lacks shard-\d, shard-\d: a load needs every member"):
            session.load("more", data=shoal.from_arrays([1], [2]))
    for shard in rest:
        assert ask(shard, "run show", run=kept)["state"] == "completed"
        status = ask(shard, "status")
        assert (status["members"]["dead"], status["ready"]) == (2, False)
        assert "missing" in status["ready_detail"]
    result = shoalctl(rest[1], "run", "result", kept)
    assert result.exit_code == 1
    assert re.search(r"the view lacks shard-\d, shard-\d, and every result lacks their part", result.stderr)


def _one_says_goodbye(leaver: DevShard, rest: list[DevShard]) -> None:
    pid = leaver.pid()
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    assert exit_status(pid, 20) == 0
    assert not leaver.socket.exists()
    assert leaver.log.read_text().splitlines()[-1].endswith("daemon: left")
    for shard in rest:
        wait_for(lambda shard=shard: states(shard)[leaver.name] == "left", 10, f"{leaver.name} left")  # type: ignore[misc]


def is_refused(shard: DevShard) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(shard.socket))
        except ConnectionRefusedError:
            return True
    return False


def test_a_stale_socket_is_replaced_and_a_killed_one_comes_back_as_another(up: Up) -> None:
    """kill -9 leaves the socket lying there; the next start takes its place, in a new life and so in no view."""
    (lone,) = up(1)
    before = ask(lone, "status")
    kill(lone)
    assert lone.socket.is_socket()
    wait_for(lambda: is_refused(lone), 10, "the last of its threads closes the socket")
    with trials_installed(lone.folder.parent / "site"), lone.log.open("ab") as log:
        process = subprocess.Popen([sys.executable, "-P", "-m", "daemon", "--config", lone.config], stderr=log)
    try:
        lone.remember(process.pid)
        after = wait_for(lambda: (s := lone.status()) and s["state"] == "joined" and s, 30, "it serves again")
        assert after["generation"] > before["generation"]
        assert after["pid"] == process.pid != before["pid"]
    finally:
        process.terminate()
        assert exit_status(process.pid, 20) == 0
        process.wait()
    assert not lone.socket.exists()
