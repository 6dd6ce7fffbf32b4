"""Dev clusters of real processes: all start or none stays, and nobody else's process is ever signalled."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from daemon.cli.dev_cluster import DevCluster, DevError, Life
from daemon.config import load
from daemon.config.keys import AllowedKeys, load_pair

FAKE = (sys.executable, str(Path(__file__).with_name("fake_daemon.py")))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DevCluster]:
    made = DevCluster(tmp_path / "d", FAKE)
    yield made
    made.down(0.5)


def mood(cluster: DevCluster, number: int, word: str) -> None:
    (cluster.folder / str(number)).mkdir(parents=True, exist_ok=True)
    (cluster.folder / str(number) / "mood").write_text(word)


def test_up_twice_down_and_up_again(cluster: DevCluster) -> None:
    shards = cluster.up(2, timeout_seconds=20)
    pids = [shard.pid() for shard in shards]
    assert all(pids)
    assert [(shard.status() or {}).get("shard") for shard in shards] == ["shard-1", "shard-2"]
    with pytest.raises(DevError, match=r"shard-1 \(pid \d+\), shard-2 \(pid \d+\) of .* already run"):
        cluster.up(2)
    assert [shard.pid() for shard in shards] == pids
    assert cluster.down() == (["shard-1", "shard-2"], [])
    assert not any(shard.socket.exists() or (shard.folder / "pid").exists() for shard in shards)
    assert cluster.down() == ([], [])
    with pytest.raises(
        DevError, match="holds a cluster of 2 with encryption 'curve' and replicas 2: give the same options"
    ):
        cluster.up(3)
    with pytest.raises(
        DevError, match="holds a cluster of 2 with encryption 'curve' and replicas 2: give the same options"
    ):
        cluster.up(2, replicas=1)
    before = shards[0].config.read_text()
    cluster.up(2, timeout_seconds=20)
    assert shards[0].config.read_text() == before


def test_what_is_made(cluster: DevCluster) -> None:
    first, second = cluster.up(2, timeout_seconds=20)
    one, two = load(first.config, {}), load(second.config, {})
    assert (one.cluster.expect, one.cluster.shard, one.graph.replicas) == (2, "shard-1", 2)
    assert [(seed.name, seed.address) for seed in one.cluster.seeds] == [("shard-2", two.listen.control)]
    assert len({one.listen.control, one.listen.ticks, two.listen.control, two.listen.ticks}) == 4
    assert one.security.secret_key is not None
    assert one.security.allowed_keys is not None
    assert stat.S_IMODE(one.security.secret_key.stat().st_mode) == 0o600
    assert AllowedKeys(one.security.allowed_keys).key_of("shard-1") == load_pair(one.security.secret_key).public
    assert first.folder.joinpath("data").is_dir()


def test_one_that_dies_takes_the_start_with_it(cluster: DevCluster) -> None:
    mood(cluster, 2, "dies")
    with pytest.raises(DevError) as caught:
        cluster.up(2, "none", 20)
    assert "shard-2 ended while it was starting" in str(caught.value)
    assert "no disk left to stand on" in str(caught.value)
    assert all(shard.pid() is None for shard in cluster.shards())


def test_a_view_that_does_not_come_is_given_up_on(cluster: DevCluster) -> None:
    mood(cluster, 1, "alone")
    with pytest.raises(DevError, match=r"not in one view after 1\.5 seconds: shard-1 (starting|silent) in epoch"):
        cluster.up(1, "none", 1.5)
    assert cluster.shards()[0].pid() is None


def test_who_does_not_listen_is_killed(cluster: DevCluster) -> None:
    mood(cluster, 1, "stubborn")
    cluster.up(1, "none", 20)
    assert cluster.down(0.3) == (["shard-1"], ["shard-1"])
    assert not cluster.shards()[0].socket.exists()


def test_one_is_killed_and_starts_again(cluster: DevCluster) -> None:
    first, second = cluster.up(2, "none", 20, replicas=3)
    pids = first.pid(), second.pid()
    assert cluster.kill([2, 2]) == [second]
    assert (first.life(), second.life(), first.pid()) == (Life.RUNNING, Life.DOWN, pids[0])
    assert second.status() is None
    with pytest.raises(DevError, match="shard-2 is not running"):
        cluster.kill([2])
    with pytest.raises(DevError, match=r"shard-1 already runs"):
        cluster.start([1, 2])
    assert second.pid() is None, "one that cannot be stops all"
    assert cluster.start([2], wait=True, timeout_seconds=20) == [second]
    assert (second.status() or {})["shard"] == "shard-2"
    assert second.pid() not in pids
    assert load(second.config, {}).graph.replicas == 3
    assert cluster.down() == (["shard-1", "shard-2"], [])


def test_a_paused_one_is_there_and_says_nothing(cluster: DevCluster) -> None:
    first, second = cluster.up(2, "none", 20)
    pid = second.pid()
    assert cluster.pause([2]) == [second]
    assert (second.life(), second.pid(), second.status()) == (Life.PAUSED, pid, None)
    with pytest.raises(DevError, match="shard-2 is already paused"):
        cluster.pause([2])
    with pytest.raises(DevError, match="shard-2 already runs, but is paused: `shoalctl dev resume 2 --dir"):
        cluster.start([2])
    with pytest.raises(DevError, match="shard-1 is not paused"):
        cluster.resume([1, 2])
    assert second.life() is Life.PAUSED
    assert cluster.resume([2]) == [second]
    assert (second.status() or {})["shard"] == "shard-2"
    cluster.pause([1, 2])
    assert cluster.kill([1]) == [first]
    with pytest.raises(DevError, match="shard-1 is not running"):
        cluster.resume([1])
    assert cluster.down() == (["shard-2"], []), "it goes on to hear that it shall end"


def test_numbers_that_are_not_there(cluster: DevCluster) -> None:
    with pytest.raises(DevError, match=r"has no shard 1: it holds no cluster"):
        cluster.kill([1])
    cluster.up(2, "none", 20)
    with pytest.raises(DevError, match=r"has no shard 7: it has 1, 2"):
        cluster.kill([1, 7])
    assert all(shard.pid() for shard in cluster.shards())


def test_a_start_that_comes_to_nothing_says_why(cluster: DevCluster) -> None:
    cluster.up(2, "none", 20)
    cluster.kill([1, 2])
    mood(cluster, 1, "dies")
    with pytest.raises(DevError, match=r"shard-1 ended while it was starting\n(.*\n)*.*no disk left to stand on"):
        cluster.start([1], timeout_seconds=20)
    mood(cluster, 2, "alone")
    cluster.start([2], timeout_seconds=20)
    cluster.kill([2])
    with pytest.raises(DevError, match=r"shard-2 runs, but is in no view after 1\.5 seconds"):
        cluster.start([2], wait=True, timeout_seconds=1.5)
    assert cluster.down() == (["shard-2"], [])


def test_a_recycled_process_id_is_left_alone(cluster: DevCluster) -> None:
    (shard,) = cluster.up(1, "none", 20)
    cluster.down()
    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        (shard.folder / "pid").write_text(f"{stranger.pid} 12345\n")
        assert shard.pid() is None
        assert cluster.down() == ([], [])
        assert stranger.poll() is None
        assert not (shard.folder / "pid").exists()
        stranger.terminate()


def test_one_that_nobody_noted_is_found(cluster: DevCluster) -> None:
    (shard,) = cluster.up(1, "none", 20)
    pid = shard.pid()
    (shard.folder / "pid").write_text("")
    assert shard.pid() is None
    assert cluster.down() == (["shard-1"], [])
    assert pid is not None
    assert has_ended(pid)


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits for its end to be noticed by a parent."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_folder_with_too_long_a_path_is_refused_before_anything(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * (108 - len(os.fsencode(tmp_path))))
    with pytest.raises(DevError, match="at most 107: choose a folder with a shorter path"):
        DevCluster(folder, FAKE).up(1)
    assert not folder.exists()
