"""The command lines that others depend on, as documented, in separate processes; and the socket without shoalctl."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import shoal
from daemon.cli import main
from daemon.cli.dev_cluster import DevCluster, DevShard
from shoal import GraphData
from tests.cluster.trial import DEBIAN, processes_of, said, shoalctl

SCRIPTS = Path(sysconfig.get_path("scripts"))
SHOALCTL = (str(SCRIPTS / "shoalctl"),) if (SCRIPTS / "shoalctl").exists() else (sys.executable, "-m", "daemon.cli")


def line(text: str, status: int = 0) -> str:
    """Returns what a line prints; it begins with shoalctl."""
    words = text.split()
    assert words[0] == "shoalctl"
    ended = subprocess.run([*SHOALCTL, *words[1:]], capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == status, f"{text}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def test_the_lines_as_they_stand(ground: Path, debian: GraphData) -> None:
    folder = ground / "lines"
    nodes, edges = DEBIAN / "nodes.csv.gz", DEBIAN / "edges.csv.gz"
    try:
        line(f"shoalctl dev up -n 3 --dir {folder}")
        first = folder / "1"
        names = {path.name for path in first.iterdir()}
        assert names >= {"config.toml", "shard-1.secret_key", "data", "log", "pid", "admin.sock"}
        line(f"shoalctl --socket {folder}/1/admin.sock graph load deps --nodes {nodes} --edges {edges}")
        run = json.loads(
            line(f"shoalctl --socket {folder}/2/admin.sock run start pagerank --graph deps --ticks 30 --wait --json")
        )
        assert (run["state"], run["ticks"], run["tick"]) == ("completed", 30, 30)
        result = json.loads(
            line(f"shoalctl --socket {folder}/3/admin.sock run result {run['run']} --column rank --top 20 --json")
        )
        with shoal.local() as session:
            expected = session.load("deps", data=debian).run("pagerank", ticks=30).result("rank")
        assert result["digest"] == expected.digest
        assert [(row["id"], row["value"]) for row in result["rows"]] == expected.top(20)
        paced = json.loads(
            line(
                f"shoalctl --socket {folder}/1/admin.sock "
                "run start pagerank --graph deps --ticks 10 --interval 20ms --json"
            )
        )
        assert paced["state"] == "running"
        waited = json.loads(
            line(f"shoalctl --socket {folder}/3/admin.sock run wait {paced['run']} --timeout 60s --json")
        )
        assert (waited["state"], waited["tick"]) == ("completed", 10)
        assert waited["seconds"] >= 9 * 0.02
        sockets = [shard.socket for shard in DevCluster(folder).shards()]
        assert processes_of(folder)
        line(f"shoalctl dev down --dir {folder}")
        assert not any(path.exists() for path in sockets)
        assert not processes_of(folder)
    finally:
        DevCluster(folder).down()


EVERY = [
    "status", "members", "view", "ring", "ring --graph deps", "barrier", "ghosts", "ghosts --graph deps", "graph list",
    "graph show deps", "run list", "program list", "log-level info", "metrics", "help", "dev status --dir {folder}",
]  # fmt: skip


@pytest.mark.parametrize("words", EVERY)
def test_every_command_has_a_page_and_json(three: list[DevShard], deps: str, words: str) -> None:
    given = words.format(folder=three[0].folder.parent).split()
    page = shoalctl(three[0], *given)
    assert (page.exit_code, page.stderr) == (0, "")
    assert page.stdout.strip()
    assert isinstance(said(three[0], *given), dict)


def test_the_ring_lists_who_holds_what(three: list[DevShard], deps: str) -> None:
    """There is a primary and one replica, as two copies were requested; and all shards answer alike."""
    rows = said(three[0], "ring", "--graph", deps)["partitions"]
    assert [row["partition"] for row in rows] == list(range(64))
    names = {shard.name for shard in three}
    assert all(len({row["primary"], *row["replicas"]} & names) == 2 == 1 + len(row["replicas"]) for row in rows)
    held = said(three[1], "view")["placement"]
    for shard in three:
        assert said(shard, "ring", "--graph", deps)["partitions"] == rows
        assert sum(row["primary"] == shard.name for row in rows) == held[shard.name] > 0


def test_commands_of_a_run_have_a_page_and_json(three: list[DevShard], deps: str) -> None:
    run = said(three[0], "run", "start", "degree", "--graph", deps, "--wait")["run"]
    for words in (("show",), ("wait",), ("result", "--top", "3"), ("result", "--column", "in_degree")):
        given = ("run", words[0], run, *words[1:])
        assert run in said(three[1], *given)["run"]
        assert shoalctl(three[1], *given).stdout.strip()
    paced = said(three[0], "run", "start", "pagerank", "--graph", deps, "--paced", "--ticks", "5")["run"]
    assert said(three[2], "run", "step", paced)["tick"] == 1
    assert said(three[1], "run", "stop", paced)["state"] == "stopped"


def test_waiting_too_short_is_a_failure_and_the_run_goes_on(three: list[DevShard], deps: str) -> None:
    run = said(three[0], "run", "start", "trial-count", "--graph", deps, "--ticks", "1000000000")["run"]
    waited = shoalctl(three[1], "run", "wait", run, "--timeout", "100ms", "--json")
    assert waited.exit_code == 1
    assert f"run '{run}' is still running, at tick" in waited.stderr
    assert said(three[2], "run", "show", run)["state"] == "running"
    assert said(three[2], "run", "stop", run)["state"] == "stopped"
    after = shoalctl(three[1], "run", "wait", run, "--json")
    assert after.exit_code == 1  # the command waited for its completion, which did not come
    assert json.loads(after.stdout)["state"] == "stopped"


def test_json_of_what_needs_no_daemon(tmp_path: Path) -> None:
    def told(*words: str) -> Any:
        result = CliRunner().invoke(main, [*words, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    made = told("keygen", "--dir", str(tmp_path), "--name", "a")
    assert (tmp_path / "a.secret_key") == Path(made["secret_key_file"])
    assert len(made["public_key"]) == 40
    assert told("dev", "down", "--dir", str(tmp_path)) == {"stopped": [], "killed": []}
    assert told("dev", "status", "--dir", str(tmp_path)) == {"shards": []}


def test_nobody_there_and_nonsense(ground: Path) -> None:
    line(f"shoalctl --socket {ground}/nobody.sock status", status=1)
    line("shoalctl statsu", status=2)


def test_a_whole_column_to_a_file(three: list[DevShard], deps: str, tmp_path: Path) -> None:
    run = said(three[0], "run", "start", "wcc", "--graph", deps, "--wait")["run"]
    out = tmp_path / "components.csv"
    told = said(three[1], "run", "result", run, "--out", str(out))
    rows = out.read_text(encoding="utf-8").splitlines()
    assert rows[0] == "id,value"
    assert len(rows) == told["count"] + 1 == 72121


# -- the socket itself -------------------------------------------------------------------------------------------------


def exchange(shard: DevShard, said: bytes) -> bytes:
    """Works as `echo … | socat - UNIX-CONNECT:…`: sends, half-closes, reads to the end."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(os.fspath(shard.socket))
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        told = b""
        while chunk := client.recv(65536):
            told += chunk
    return told


def test_plain_words_get_a_table_and_json_gets_a_line(three: list[DevShard], deps: str) -> None:
    table = exchange(three[1], b"status\n").decode()
    assert table.startswith("shard ")
    assert "shard-2" in table
    told = exchange(three[1], b'{"command": "status"}\n')
    assert told.count(b"\n") == 1
    answer: dict[str, Any] = json.loads(told)
    assert answer["ok"] is True
    assert answer["result"]["shard"] == "shard-2"


def test_many_lines_on_one_connection(three: list[DevShard], deps: str) -> None:
    told = exchange(three[0], b'graph list\n{"command": "graph list"}\nnonsense\nview\n').decode()
    parts = told.split("\n\n")
    assert "deps" in parts[0]
    assert '{"ok": true, "result": {"graphs": [' in parts[1]
    assert told.index("usage: ") < told.index("epoch ")


def test_a_wait_answers_after_the_other_side_has_said_all(three: list[DevShard], deps: str) -> None:
    """A half-close is not a hang-up: the answer still comes."""
    run = said(three[0], "run", "start", "trial-sleep", "--graph", deps, "--param", "seconds=0.3")["run"]
    answer = json.loads(exchange(three[1], json.dumps({"command": "run wait", "args": {"run": run}}).encode() + b"\n"))
    assert answer["result"]["state"] == "completed"
