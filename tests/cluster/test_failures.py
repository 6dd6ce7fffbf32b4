"""Daemons that are killed, paused, powered off, left without a majority or without disk space, during a run.

The run ends with the digest of an undisturbed run. All tests share three daemons with two copies of everything, and
leave them healthy.
"""

from __future__ import annotations

import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import shoal
from chaos.disks import DiskFailed, SmallDisk, why_not
from daemon.cli.dev_cluster import DevShard
from shoal import GraphData
from shoal.api.errors import ShoalError
from tests.cluster.conftest import SETTINGS, UP_SECONDS
from tests.cluster.trial import (
    TrialCluster,
    ask,
    config_of,
    exit_status,
    kill,
    leader_of,
    lives,
    metrics,
    shoalctl,
    wait_for,
    well,
)
from tests.cluster.watch import Watch

TICKS = 250
INTERVAL = 0.01
CHECKPOINT = 20
DAMPING = 0.999
"""Ranks that go around in circles, and lose a thousandth each time: no two ticks have the same."""


@pytest.fixture(scope="module")
def restless() -> GraphData:
    """A circle, and as many nodes outside that point into it, in varying density."""
    half = 400
    nodes = range(2 * half)
    return shoal.from_arrays(list(nodes), [(n + 1) % half if n < half else n * n % half for n in nodes])


@pytest.fixture(scope="module")
def expected(restless: GraphData) -> str:
    """The digest of an undisturbed run."""
    with shoal.local() as session:
        graph = session.load("restless", data=restless)
        digests = [
            graph.run("pagerank", ticks=ticks, damping=DAMPING).result("rank").digest for ticks in (TICKS - 1, TICKS)
        ]
    assert digests[0] != digests[1], "a tick more or less would not show"
    return digests[1]


@pytest.fixture(scope="module")
def at_checkpoints(restless: GraphData) -> dict[int, str]:
    """The digests after those of its ticks that are checkpoints, and after the last."""
    found = {}
    with shoal.local() as session:
        run = session.load("restless", data=restless).start(
            "pagerank", ticks=TICKS, damping=DAMPING, checkpoint=CHECKPOINT, paced=True
        )
        for tick in run.steps(TICKS):
            if tick["tick"] % CHECKPOINT == 0 or tick["tick"] == TICKS:
                found[tick["tick"]] = run.at().result("rank").digest
    return found


@pytest.fixture(scope="module")
def cluster(ground: Path, restless: GraphData) -> Iterator[TrialCluster]:
    made = TrialCluster(ground / "failures", SETTINGS)
    try:
        one = made.up(3, "curve", UP_SECONDS)[0]
        with shoal.connect(str(one.socket)) as session:
            session.load("restless", data=restless)
        yield made
    finally:
        made.down()


@pytest.fixture
def three(cluster: TrialCluster) -> Iterator[list[DevShard]]:
    """They are healthy before, and must be after the test."""
    shards = cluster.shards()
    yield shards
    wait_for(lambda: well(shards), 30, "all three well again")


def begin(shard: DevShard) -> str:
    started = ask(
        shard,
        "run start",
        program="pagerank",
        graph="restless",
        ticks=TICKS,
        params={"damping": DAMPING},
        interval_seconds=INTERVAL,
        checkpoint_ticks=CHECKPOINT,
    )
    return str(started["run"])


def reaches(shard: DevShard, run: str, tick: int) -> None:
    wait_for(lambda: ask(shard, "run show", run=run)["tick"] >= tick, 30, f"tick {tick} of {run}")


def completes(shards: Sequence[DevShard], run: str, expected: str) -> None:
    """Asserts that all daemons report completion, with the same result as an undisturbed run."""
    for shard in shards:
        shown = ask(shard, "run wait", run=run, timeout_seconds=60)
        assert (shown["state"], shown["tick"], shown["error"]) == ("completed", TICKS, None)
        assert ask(shard, "run result", run=run, column="rank")["digest"] == expected
        assert ask(shard, "barrier")["runs"] == []


def reads_checkpoints(shard: DevShard, run: str, expected: dict[int, str]) -> None:
    """Reads a run in progress, or one that waits to continue; an answer may have to wait for the next view."""
    seen = []
    while len(seen) < 3 and ask(shard, "run show", run=run)["state"] == "running":
        said = ask(shard, "run result", run=run, column="rank")
        assert said["digest"] == expected[said["tick"]]
        seen.append(said["tick"])
    assert seen
    assert seen == sorted(seen)


def resumed(shard: DevShard, run: str, since: int = 0) -> list[int]:
    """Returns the ticks after which a run has resumed on a shard, according to its log."""
    said = shard.log.read_text()[since:]
    return [int(tick) for tick in re.findall(rf"run {run} on graph restless begins after tick (\d+)", said)]


def went_on_from_a_checkpoint(shard: DevShard, run: str) -> None:
    first, *later = resumed(shard, run)
    assert first == 0
    assert later, "it was never interrupted"
    assert all(tick >= CHECKPOINT and (tick % CHECKPOINT == 0 or tick == TICKS) for tick in later), later


def state_at(shard: DevShard, of: DevShard) -> str:
    return str(next(row["state"] for row in ask(shard, "members")["members"] if row["name"] == of.name))


def leading(three: Sequence[DevShard]) -> tuple[DevShard, list[DevShard]]:
    """Returns the tick leader, and the others."""
    leader = next(shard for shard in three if shard.name == leader_of(three[0]))
    return leader, [shard for shard in three if shard != leader]


def without(three: Sequence[DevShard], victim: DevShard) -> list[DevShard]:
    return [shard for shard in three if shard != victim]


def readiness(shard: DevShard) -> tuple[int, str]:
    address = config_of(shard).metrics.address
    assert address is not None
    try:
        with urllib.request.urlopen(f"http://{address.host}:{address.port}/readyz", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("whom", ["a follower", "the leader"])
def test_one_is_killed_in_a_run(
    cluster: TrialCluster, three: list[DevShard], expected: str, at_checkpoints: dict[int, str], whom: str
) -> None:
    """The others continue without it; after a restart it is a member again, with the data on its own disk.

    Readers of the run meanwhile see one of its checkpoints, never anything else.
    """
    leader, followers = leading(three)
    victim = leader if whom == "the leader" else followers[0]
    rest = without(three, victim)
    before = ask(victim, "status")
    run = begin(rest[0])
    with Watch(three, run) as watch:
        reaches(rest[1], run, 2 * CHECKPOINT + 5)
        watch.leave_out(victim)
        kill(victim)
        reads_checkpoints(rest[0], run, at_checkpoints)
        completes(rest, run, expected)
        for shard in rest:
            kept = ask(shard, "run ticks", run=run)["ticks"]
            assert kept == list(at_checkpoints)[-3:]
            told = [ask(shard, "run result", run=run, tick=tick)["digest"] for tick in kept]
            assert told == [at_checkpoints[tick] for tick in kept]
            went_on_from_a_checkpoint(shard, run)
            assert state_at(shard, victim) == "dead"
            assert leader_of(shard) in {other.name for other in rest}
            assert ask(shard, "view")["members"] == sorted(other.name for other in rest)
            assert ask(shard, "status")["halted"] == []

        said = len(victim.log.read_text())
        cluster.start([victim.number])
        assert ask(victim, "run show", run=run)["run"] == run, "asked before it is in a view"
        watch.take_in(victim, new_life=True)
        wait_for(lambda: well(three), 30, "all three well")
        after = ask(victim, "status")
        assert after["generation"] > before["generation"]
        assert after["pid"] != before["pid"]
        completes([victim], run, expected)
        fetched = re.findall(r"to be fetched: (\d+) partitions", victim.log.read_text()[said:])
        assert all(count == "0" for count in fetched), "it has its partitions on its disk"


@pytest.mark.parametrize("whom", ["a follower", "the leader"])
def test_one_is_paused_in_a_run(cluster: TrialCluster, three: list[DevShard], expected: str, whom: str) -> None:
    """Long enough to be declared dead: the others continue, and once it resumes, it is a member again."""
    leader, followers = leading(three)
    victim = leader if whom == "the leader" else followers[1]
    rest = without(three, victim)
    run = begin(rest[0])
    with Watch(three, run) as watch:
        reaches(rest[1], run, CHECKPOINT + 5)
        watch.leave_out(victim)
        cluster.pause([victim.number])
        wait_for(lambda: victim.name not in ask(rest[0], "view")["members"], 30, f"a view without {victim.name}")
        reaches(rest[0], run, ask(rest[0], "run show", run=run)["tick"] + 5)
        cluster.resume([victim.number])
        watch.take_in(victim, new_life=False)
        wait_for(lambda: well(three), 30, "all three well")
        completes(three, run, expected)
        went_on_from_a_checkpoint(rest[0], run)


def test_one_is_asked_to_go_in_a_run(cluster: TrialCluster, three: list[DevShard], expected: str) -> None:
    leader, rest = leading(three)
    run = begin(rest[0])
    with Watch(three, run) as watch:
        reaches(rest[1], run, CHECKPOINT)
        pid = leader.pid()
        assert pid is not None
        watch.leave_out(leader)
        os.kill(pid, signal.SIGTERM)
        assert exit_status(pid, 20) == 0
        assert not leader.socket.exists()
        assert leader.log.read_text().splitlines()[-1].endswith("daemon: left")
        for shard in rest:
            wait_for(lambda shard=shard: state_at(shard, leader) == "left", 10, f"{leader.name} left")  # type: ignore[misc]
        completes(rest, run, expected)
        wait_for(lambda: leader.pid() is None, 5, "it is collected")
        cluster.start([leader.number], wait=True)


def test_the_power_of_all_is_cut_in_a_run(cluster: TrialCluster, three: list[DevShard], expected: str) -> None:
    """Everything that was answered is on disk: graph, old results, and the run, which continues by itself."""
    old = str(ask(three[0], "run start", program="degree", graph="restless")["run"])
    digest = ask(three[0], "run wait", run=old) and ask(three[0], "run result", run=old)["digest"]
    known = {row["run"]: row["state"] for row in ask(three[0], "run list")["runs"]}
    graph = ask(three[0], "graph show", graph="restless")
    run = begin(three[0])
    reaches(three[1], run, 3 * CHECKPOINT)
    said = {shard.name: len(shard.log.read_text()) for shard in three}
    cluster.kill([1, 2, 3])

    cluster.start([1, 2, 3], wait=True, timeout_seconds=UP_SECONDS)
    with Watch(three, run):
        completes(three, run, expected)
    for shard in three:
        assert min(resumed(shard, run, said[shard.name])) >= 2 * CHECKPOINT, "of its ticks hardly any was lost"
        assert ask(shard, "run result", run=old)["digest"] == digest
        after = ask(shard, "graph show", graph="restless")
        assert {key: after[key] for key in ("nodes", "edges")} == {key: graph[key] for key in ("nodes", "edges")}
        assert {row["run"]: row["state"] for row in ask(shard, "run list")["runs"]} == {**known, run: "completed"}


def committed(shard: DevShard) -> float:
    return metrics(shard, "shoal_raft_log_index")['shoal_raft_log_index{position="committed"}']


def test_one_of_three_decides_nothing_and_need_not_be_restarted(
    cluster: TrialCluster, three: list[DevShard], expected: str
) -> None:
    lone, *others = three
    pid, run = lone.pid(), begin(lone)
    with Watch([lone], run):
        reaches(lone, run, CHECKPOINT)
        cluster.kill([shard.number for shard in others])
        wait_for(lambda: ask(lone, "status")["majority"] is False, 20, "it knows that it is in a minority")
        wait_for(lambda: all(state_at(lone, other) == "dead" for other in others), 20, "the others dead")
        status, why = readiness(lone)
        assert status == 503
        assert "no tick leader" in why
        assert not ask(lone, "status")["ready"]
        page = shoalctl(lone, "status").stdout
        assert "no: this side can't make decisions or commit ticks" in page
        with pytest.raises(ShoalError, match=r"no run 'pagerank-99'.* this shard may not know the newest"):
            ask(lone, "run show", run="pagerank-99")
        tick, epoch, index = ask(lone, "run show", run=run)["tick"], ask(lone, "view")["epoch"], committed(lone)

        until = time.monotonic() + 1.0  # some rounds of elections, and a hundred ticks
        while time.monotonic() < until:
            assert ask(lone, "run show", run=run)["tick"] == tick
            assert (ask(lone, "view")["epoch"], committed(lone)) == (epoch, index)

        cluster.start([others[0].number], wait=True)
        wait_for(lambda: readiness(lone)[0] == 200, 20, "it serves again")
        assert ask(lone, "status")["majority"] is True
        cluster.start([others[1].number], wait=True)
        completes(three, run, expected)
        assert lone.pid() == pid


def test_a_disk_that_is_full_ends_a_run_in_words_and_no_daemon(
    cluster: TrialCluster, three: list[DevShard], expected: str
) -> None:
    """An empty disk under an old name is a new member; with its old disk the shard returns as itself."""
    if why := why_not():
        pytest.skip(why)
    rest, victim = three[:2], three[2]
    kill(victim)
    try:
        disk = SmallDisk(victim.folder / "data", 48 << 20)
    except DiskFailed as error:
        cluster.start([victim.number], wait=True)
        pytest.skip(f"no tmpfs to be had: {error}")
    try:
        cluster.start([victim.number], wait=True)
        wait_for(lambda: well(three), 30, "all three well")
        wait_for(lambda: serves(rest[0], victim), 30, "it holds partitions again")
        life, run = lives([victim]), begin(rest[0])
        reaches(rest[1], run, CHECKPOINT)
        disk.fill()
        over = wait_for(lambda: _over(rest[0], run), 30, "the run has ended")
        assert over["state"] == "failed"
        assert f"{victim.name}: tick" in over["error"]
        assert "make room on the disk" in over["error"]
        disk.clear()
        wait_for(lambda: ask(victim, "status")["disk"]["state"] != "full", 30, "it has room again")
        completes(three, begin(rest[0]), expected)
        assert lives([victim]) == life
    finally:
        cluster.kill([victim.number] if victim.pid() else [])
        disk.close()
    cluster.start([victim.number], wait=True)
    wait_for(lambda: well(three), 30, "all three well")


def _over(shard: DevShard, run: str) -> dict[str, Any] | None:
    shown = ask(shard, "run show", run=run)
    return shown if shown["state"] in ("failed", "completed") else None


def serves(shard: DevShard, of: DevShard) -> bool:
    """Whether a shard is primary of some partition, according to another."""
    return any(row["primary"] == of.name for row in ask(shard, "ring", graph="restless")["partitions"])
