"""`shoalctl dev kill, pause, resume, start` with real daemons: their processes and sockets, as a shell sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from daemon.cli import main
from daemon.cli.dev_cluster import DevCluster, Life
from daemon.config import load
from tests.cluster.trial import processes_of, wait_for


def dev(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["dev", *words, "--dir", str(folder)])


def told(folder: Path, *words: str) -> Any:
    result = dev(folder, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_daemons_are_killed_paused_and_started_again(ground: Path) -> None:
    folder = ground / "dev"
    cluster = DevCluster(folder)
    try:
        assert dev(folder, "up", "-n", "3", "--replicas", "3", "--timeout", "60s").exit_code == 0
        first, second, third = cluster.shards()
        assert [load(shard.config, {}).graph.replicas for shard in cluster.shards()] == [3, 3, 3]
        before = second.pid()

        assert told(folder, "kill", "2", "3") == {"killed": ["shard-2", "shard-3"]}
        assert (first.life(), second.life(), third.life()) == (Life.RUNNING, Life.DOWN, Life.DOWN)
        assert len(processes_of(folder)) == 1
        assert [row["state"] for row in told(folder, "status")["shards"]][1:] == ["down", "down"]
        again = dev(folder, "kill", "2")
        assert (again.exit_code, again.stdout) == (1, "")
        assert f"shard-2 is not running: `shoalctl dev start 2 --dir {folder}`" in again.stderr
        assert "has no shard 4: it has 1, 2, 3" in dev(folder, "start", "3", "4").stderr

        assert told(folder, "start", "2") == {"started": ["shard-2"]}
        assert second.pid() not in (None, before)
        assert (second.status() or {})["shard"] == "shard-2"
        assert "shard-2 already runs" in dev(folder, "start", "2").stderr

        pid = first.pid()
        assert dev(folder, "pause", "1").stderr == "shard-1 paused\n"
        assert (first.life(), first.pid(), first.status()) == (Life.PAUSED, pid, None)
        assert told(folder, "status")["shards"][0]["state"] == "paused"
        assert told(folder, "resume", "1") == {"resumed": ["shard-1"]}
        wait_for(lambda: (first.status() or {}).get("pid") == pid, 10, "it answers again")
        told(folder, "pause", "1")
        down = told(folder, "down", "--timeout", "20s")
        assert down == {"stopped": ["shard-1", "shard-2"], "killed": []}
        assert not any(shard.socket.exists() for shard in cluster.shards())
        assert not processes_of(folder)
    finally:
        cluster.down()


@pytest.mark.parametrize("words", [("kill",), ("kill", "0"), ("pause", "one"), ("up", "--replicas", "0")])
def test_what_makes_no_sense(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert dev(tmp_path, *words).exit_code == 2
