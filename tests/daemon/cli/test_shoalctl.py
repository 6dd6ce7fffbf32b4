"""shoalctl against a real admin socket: exit codes, what goes where, and that flags arrive as arguments."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from daemon.admin.registry import Registry
from daemon.cli import main
from shoal.api.command import Binding, Command, Exchange, Framed
from shoal.api.commands import CONTRACTS
from shoal.api.errors import Failed, Refused
from shoal.graph import columns as col
from shoal.query.result import ColumnResult
from tests.daemon.admin.hosted import Hosted

FINISHED = {"run": "r-1", "state": "completed", "tick": 3, "ticks": 3, "program": "pagerank", "graph": "g"}
ROWS = [{"id": "a", "value": 0.5}, {"id": "b,c", "value": 0.25}]


class Daemon:
    """Answers everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], tuple[memoryview, ...]]] = []
        self.interrupts = False
        self.results: dict[str, Any] = {
            "status": {"shard": "a", "state": "joined"},
            "run start": {**FINISHED, "state": "starting"},
            "run result": {"run": "r-1", "column": "rank", "digest": "d", "count": 2, "rows": ROWS},
            "run ticks": {"run": "r-1", "state": "running", "tick": 9, "ticks": [4, 8]},
            "graph load": {"graph": "g", "nodes": 3, "edges": 2},
        }

    async def __call__(self, asked: Command[Any], exchange: Exchange) -> Any:
        name, given = asked.contract.name, {name: value for name, value in vars(asked).items() if value is not None}
        self.asked.append((name, given, exchange.frames))
        if self.interrupts:  # as Ctrl-C does: the main thread, which is the asker's
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            await asyncio.sleep(60)
        if name == "run wait":
            if given["run"] == "endless":
                await asyncio.sleep(60)
            for tick in range(3):
                await exchange.emit({"tick": tick, "phase": "sense"})
        found = self.results.get(name, FINISHED)
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def host(daemon: Daemon, tmp_path: Path) -> Iterator[Hosted]:
    commands = Registry()
    commands.bind(*(Binding(contract, daemon) for contract in CONTRACTS if contract.name != "help"))
    with Hosted(commands, tmp_path / "a.sock") as hosted:
        yield hosted


def shoalctl(host: Hosted, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--socket", str(host.path), *arguments])


def test_a_page_or_json(host: Hosted) -> None:
    page = shoalctl(host, "status")
    assert (page.exit_code, page.stderr) == (0, "")
    assert "shard    a" in page.stdout
    for where in (["--json", "status"], ["status", "--json"]):
        assert json.loads(shoalctl(host, *where).stdout) == {"shard": "a", "state": "joined"}


def test_exit_codes_and_words(host: Hosted, daemon: Daemon, tmp_path: Path) -> None:
    daemon.results["status"] = Refused("no view yet")
    refused = shoalctl(host, "status")
    assert (refused.exit_code, refused.stdout, refused.stderr) == (1, "", "shoalctl: no view yet\n")
    daemon.results["status"] = Failed("disk full")
    assert shoalctl(host, "status").exit_code == 1
    assert shoalctl(host, "help", "statsu").exit_code == 2
    assert shoalctl(host, "run", "start", "pagerank").exit_code == 2
    assert shoalctl(host, "nonsense").exit_code == 2
    gone = CliRunner().invoke(main, ["status"], env={"SHOAL_SOCKET": str(tmp_path / "none")})
    assert gone.exit_code == 1
    assert "is the daemon running?" in gone.stderr


@pytest.mark.parametrize(
    ("line", "command", "args"),
    [
        ("ring --graph g", "ring", {"graph": "g"}),
        ("barrier r-1", "barrier", {"run": "r-1"}),
        ("log-level debug --logger admin", "log-level", {"level": "debug", "logger": "admin"}),
        ("metrics shoal_raft", "metrics", {"prefix": "shoal_raft"}),
        ("graph drop g --yes", "graph drop", {"graph": "g", "force": False}),
        ("graph drop g --yes --force", "graph drop", {"graph": "g", "force": True}),
        ("run stop r-1", "run stop", {"run": "r-1", "force": False}),
        ("run result r-1 --column rank --top 3 --least", "run result",
         {"run": "r-1", "column": "rank", "top": 3, "least": True}),
        ("run result r-1 --tick 30", "run result", {"run": "r-1", "least": False, "tick": 30}),
        ("run ticks r-1", "run ticks", {"run": "r-1"}),
        ("run start pagerank --graph g --ticks 20 --param damping=0.9 --param name=x --param on=true --interval 20ms",
         "run start", {"program": "pagerank", "graph": "g", "ticks": 20, "interval_seconds": 0.02, "paced": False,
                       "params": {"damping": 0.9, "name": "x", "on": True}, "checkpoint_ticks": 0, "queue": False}),
        ("run start degree --graph g --checkpoint 10", "run start",
         {"program": "degree", "graph": "g", "ticks": 0, "paced": False, "checkpoint_ticks": 10, "queue": False}),
        ("run start degree --graph g --checkpoint end", "run start",
         {"program": "degree", "graph": "g", "ticks": 0, "paced": False, "checkpoint_ticks": -1, "queue": False}),
        ("run start degree --graph g --queue", "run start",
         {"program": "degree", "graph": "g", "ticks": 0, "paced": False, "checkpoint_ticks": 0, "queue": True}),
        ("run start degree --graph g --checkpoint time", "run start",
         {"program": "degree", "graph": "g", "ticks": 0, "paced": False, "checkpoint_ticks": 0, "queue": False}),
        ("run wait r-1 --timeout 120", "run wait", {"run": "r-1", "timeout_seconds": 120.0}),
        ("run wait r-1 --timeout 1.5m", "run wait", {"run": "r-1", "timeout_seconds": 90.0}),
        ("found", "found", {}),
        ("drain", "drain", {}),
        ("leave --json", "leave", {}),
        ("join", "join", {}),
        ("backup /tmp/b", "backup", {"dir": "/tmp/b"}),
    ],
)  # fmt: skip
def test_flags_arrive_as_arguments(host: Hosted, daemon: Daemon, line: str, command: str, args: dict[str, Any]) -> None:
    assert shoalctl(host, *line.split()).exit_code == 0
    assert daemon.asked[0][:2] == (command, args)


def test_start_and_wait(host: Hosted, daemon: Daemon) -> None:
    line = ("run", "start", "pagerank", "--graph", "g", "--wait", "--timeout", "1m", "--json")
    done = shoalctl(host, *line)
    assert (done.exit_code, json.loads(done.stdout)["state"]) == (0, "completed")
    assert daemon.asked[1][1] == {"run": "r-1", "timeout_seconds": 60.0}
    daemon.results["run wait"] = {**FINISHED, "state": "failed", "error": "b has gone and had the only copy"}
    failed = shoalctl(host, *line)
    assert failed.exit_code == 1
    assert "b has gone and had the only copy" in failed.stderr
    trace = "a: advance of tick 1 failed\nTraceback (most recent call last):\n  ...\nKeyError: 7\n\nb: it fell"
    daemon.results["run wait"] = {**FINISHED, "state": "failed", "error": trace}
    failed = shoalctl(host, *line)
    assert failed.stderr == "shoalctl: r-1 failed: a: advance of tick 1 failed: KeyError: 7\n"
    assert "Traceback" in failed.stdout
    assert shoalctl(host, *line, "--paced").exit_code == 2


@pytest.mark.parametrize("nonsense", ["0", "-1", "soon", "1.5", "", "٣"])
def test_a_cadence_is_ticks_or_a_word(host: Hosted, daemon: Daemon, nonsense: str) -> None:
    refused = shoalctl(host, "run", "start", "degree", "--graph", "g", "--checkpoint", nonsense)
    assert refused.exit_code == 2
    assert "a number of ticks from 1 on, or 'time', or 'end'" in " ".join(refused.stderr.split())
    assert daemon.asked == []


def test_a_folder_of_the_asker_is_named_as_the_daemon_finds_it(
    host: Hosted, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shoalctl(host, "backup", "b").exit_code == 0
    assert daemon.asked[0][1] == {"dir": str(tmp_path / "b")}


def test_a_silent_daemon_is_not_waited_for_beyond_the_timeout(
    host: Hosted, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.cli.run.ANSWER_SECONDS", 0.1)
    waited = shoalctl(host, "run", "wait", "endless", "--timeout", "100ms", "--json")
    assert (waited.exit_code, waited.stdout) == (1, "")
    assert "shoalctl: " in waited.stderr


def test_interrupting_a_wait_leaves_the_run_going(host: Hosted, daemon: Daemon) -> None:
    command = [
        sys.executable,
        "-c",
        "from daemon.cli import main; main()",
        "-s",
        str(host.path),
        "run",
        "wait",
        "endless",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as waiting:
        while not daemon.asked:
            assert waiting.poll() is None
            os.sched_yield()
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    assert "endless continues" in said
    assert "shoalctl run stop endless" in said
    assert all(command != "run stop" for command, _, _ in daemon.asked)


def test_a_result_to_a_file(host: Hosted, tmp_path: Path) -> None:
    out = tmp_path / "ranks.csv"
    done = shoalctl(host, "run", "result", "r-1", "--top", "2", "--out", str(out))
    assert (done.exit_code, done.stdout) == (0, "")
    assert "2 values in" in done.stderr
    assert out.read_text() == 'id,value\na,0.5\n"b,c",0.25\n'


def rows(daemon: Daemon, digest: str = "") -> None:
    """Two columns of three nodes, one of which has no value."""
    ids, depths, costs = np.array([1, 2, 3]), np.array([0, -1, 7]), np.array([0.5, 0.1 + 0.2, 1e-300])
    frames = [col.to_wire(column) for column in (ids, depths, costs)]
    said = {"run": "r-1", "tick": 4, "first": 0, "count": 3, "total": 3, "nulls": {"depth": -1}, "id": frames[0][0]}
    said |= {"columns": {"depth": frames[1][0], "cost": frames[2][0]}}
    said |= {
        "digests": {n: digest or ColumnResult("r", n, ids, c).digest for n, c in (("depth", depths), ("cost", costs))}
    }
    daemon.results["run rows"] = Framed(said, tuple(frame for _, each in frames for frame in each))


def test_a_whole_result_to_a_file(host: Hosted, daemon: Daemon, tmp_path: Path) -> None:
    rows(daemon)
    done = shoalctl(host, "run", "result", "r-1", "--tick", "4", "--out", str(tmp_path / "r.csv"), "--json")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "r.csv").read_text() == "id,depth,cost\n1,0,0.5\n2,,0.30000000000000004\n3,7,1e-300\n"
    assert json.loads(done.stdout)["digests"].keys() == {"depth", "cost"}
    assert daemon.asked[0][1] == {"run": "r-1", "tick": 4, "first": 0, "count": 65536, "digest": True}


def test_a_result_that_has_not_arrived_as_it_was_sent_is_no_file(host: Hosted, daemon: Daemon, tmp_path: Path) -> None:
    rows(daemon, digest="0" * 64)
    done = shoalctl(host, "run", "result", "r-1", "--out", str(tmp_path / "r.parquet"))
    assert done.exit_code == 1
    assert "was damaged in transit" in done.stderr
    assert not list(tmp_path.glob("*.parquet*")) + list(tmp_path.glob(".*.partial"))


def test_several_columns_go_to_a_file_only(host: Hosted) -> None:
    done = shoalctl(host, "run", "result", "r-1", "--column", "a", "--column", "b")
    assert (done.exit_code, "several columns go to a file" in done.stderr) == (2, True)


def test_a_graph_is_read_here_and_sent_as_frames(host: Hosted, daemon: Daemon, tmp_path: Path) -> None:
    from shoal.graph.graph_data import GraphData

    edges = tmp_path / "e.csv"
    edges.write_text("source,target,cost\n1,2,0.5\n2,3,1.5\n")
    line = f"graph load g --edges {edges} --types cost=float --types id=int --partitions 8"
    done = shoalctl(host, *line.split())
    assert done.exit_code == 0, done.stderr
    _, args, frames = daemon.asked[0]
    graph = GraphData.from_wire(args["spec"], frames)
    assert (args["name"], graph.node_count, graph.edge_count, graph.partition_count) == ("g", 3, 2, 8)
    edges.write_text("source,target,cost\n1,2,abc\n")
    bad = shoalctl(host, "graph", "load", "g", "--edges", str(edges), "--types", "cost=float")
    assert bad.exit_code == 1
    assert "e.csv:2" in bad.stderr


def test_an_undirected_graph_with_typed_headers(host: Hosted, daemon: Daemon, tmp_path: Path) -> None:
    from shoal.graph.graph_data import GraphData

    nodes, edges = tmp_path / "nodes.csv", tmp_path / "edges.csv"
    nodes.write_text("id:int\n9\n10\n11\n")
    edges.write_text("source:int,target:int,weight:float\n10,9,0.5\n")
    done = shoalctl(host, "graph", "load", "g", "--nodes", str(nodes), "--edges", str(edges), "--undirected")
    assert done.exit_code == 0, done.stderr
    _, args, frames = daemon.asked[0]
    graph = GraphData.from_wire(args["spec"], frames)
    assert (graph.directed, graph.edge_count, graph.ids.tolist()) == (False, 1, [9, 10, 11])
    assert (graph.source.tolist(), graph.target.tolist()) == ([0, 1], [1, 0])
    assert graph.edge_columns["weight"].tolist() == [0.5, 0.5]


def test_a_graph_is_not_dropped_by_accident(host: Hosted, daemon: Daemon) -> None:
    assert shoalctl(host, "graph", "drop", "g").exit_code == 1
    assert daemon.asked == []


def test_check_config_and_keygen(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text('[cluster]\nshard = "a"\n[security]\nencryption = "none"\n')
    bad.write_text('[ticks]\nphase_timout = "1s"\n')
    assert "valid; shard a" in CliRunner().invoke(main, ["check-config", str(good)]).stdout
    wrong = CliRunner().invoke(main, ["check-config", str(bad)])
    assert wrong.exit_code == 1
    assert "did you mean 'phase_timeout'?" in wrong.stderr
    made = CliRunner().invoke(main, ["keygen", "--dir", str(tmp_path / "keys"), "--name", "a"])
    assert made.exit_code == 0, made.stderr
    assert made.stdout.split()[0] == "a"
    again = CliRunner().invoke(main, ["keygen", "--dir", str(tmp_path / "keys"), "--name", "a"])
    assert again.exit_code == 1
    carol = CliRunner().invoke(main, ["keygen", "--dir", str(tmp_path / "keys"), "--name", "carol", "--operator"])
    assert (carol.stdout.split()[0], carol.stdout.split()[2]) == ("carol", "operator")
    assert f"--key {tmp_path / 'keys' / 'carol.secret_key'}" in carol.stderr


def test_a_connection_to_afar_that_lacks_something_makes_no_sense(tmp_path: Path) -> None:
    for words, told in (
        (["--connect", "tcp://10.0.0.1:7103"], "give its file with --key"),
        (["--connect", "alpha@tcp://10.0.0.1"], "should be NAME@tcp://HOST:PORT"),
        (["--connect", "tcp://10.0.0.1:7103", "--socket", "/x"], "give either --socket"),
    ):
        result = CliRunner().invoke(main, [*words, "status"])
        assert (result.exit_code, told in result.stderr) == (2, True), result.stderr
    lacking = CliRunner().invoke(main, ["--connect", "a@tcp://10.0.0.1:1", "--key", str(tmp_path / "none"), "status"])
    assert (lacking.exit_code, "No such file" in lacking.stderr) == (1, True)


def test_dev_says_what_there_is(tmp_path: Path) -> None:
    nothing = CliRunner().invoke(main, ["dev", "down", "--dir", str(tmp_path)])
    assert (nothing.exit_code, nothing.stderr) == (0, "no daemon was running\n")
    assert CliRunner().invoke(main, ["dev", "status", "--dir", str(tmp_path)]).stdout == "no shards\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("drain", "the drain continues"),
        ("leave", "the shard stays"),
        ("join", "still joins"),
        ("backup /b", "the backup is cancelled"),
        ("run wait r-1", "r-1 continues"),
        ("found", "interrupted: the cluster may have been founded; `shoalctl status`"),
        ("log-level debug", "interrupted: the level may have changed; `shoalctl log-level debug`"),
        ("run start pagerank --graph g", "interrupted: the run may have started; `shoalctl run list`"),
        ("run step r-1", "interrupted: r-1 may have executed the tick; `shoalctl run show r-1`"),
        ("run stop r-1", "interrupted: r-1 may stop all the same; `shoalctl run show r-1`"),
        ("program deploy PROGRAM", "interrupted: the program may have been deployed; `shoalctl program list`"),
        ("program remove zero", "interrupted: zero may have been removed; `shoalctl program list`"),
        ("graph drop g --yes", "interrupted: g may have been dropped; `shoalctl graph list`"),
        ("status --json", "interrupted"),
    ],
)
def test_ctrl_c_ends_any_command_and_says_what_becomes_of_it(
    host: Hosted, daemon: Daemon, tmp_path: Path, line: str, told: str
) -> None:
    daemon.interrupts = True
    (tmp_path / "zero.py").touch()
    ended = shoalctl(host, *line.replace("PROGRAM", str(tmp_path / "zero.py")).split())
    assert (ended.exit_code, ended.stdout) == (130, "")
    assert told in ended.stderr


SHOALCTL = (sys.executable, "-c", "from daemon.cli import main; main()")


@pytest.mark.parametrize("what", ["status", "--help", "status --help"])
def test_a_full_disk_behind_standard_output_is_a_sentence(host: Hosted, what: str) -> None:
    command = [*SHOALCTL, "--socket", host.path, *what.split()]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (1, "shoalctl: standard output: No space left on device\n")


@pytest.mark.parametrize("what", ["status", "--json status", "--help"])
def test_a_closed_standard_output_is_a_sentence(host: Hosted, what: str) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *SHOALCTL, "--socket", host.path, *what.split()]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    told = "shoalctl: standard output is closed: redirect it to a file, or to /dev/null\n"
    assert (ended.returncode, ended.stderr) == (1, told)


def test_what_is_no_socket_and_what_is_no_address_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (tmp_path, file):
        ended = CliRunner().invoke(main, ["--socket", str(path), "status"])
        assert ended.exit_code == 1
        assert f"cannot reach a daemon at {path}: it is not a socket" in ended.stderr
    ended = CliRunner().invoke(main, ["--connect", "alpha", "status"])
    assert ended.exit_code == 2
    assert "--connect (SHOAL_CONNECT) should be NAME@tcp://HOST:PORT, not 'alpha'" in ended.stderr


CTRL_C_WHILE_IMPORTING = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "daemon.cli.main":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
import daemon.cli
"""


def test_ctrl_c_before_it_has_begun_leaves_no_traceback() -> None:
    ended = subprocess.run([sys.executable, "-c", CTRL_C_WHILE_IMPORTING], capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, b"", b"")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "and then it is as ever"


def completed(host: Hosted, *words: str, begun: str = "") -> list[str]:
    shell = ShellComplete(main, {}, "shoalctl", "_SHOALCTL_COMPLETE")
    return [item.value for item in shell.get_completions(["--socket", str(host.path), *words], begun)]


def test_names_are_completed_from_what_the_daemon_knows(host: Hosted, daemon: Daemon, tmp_path: Path) -> None:
    daemon.results["run list"] = {"runs": [{"run": "pagerank-1"}, {"run": "wcc-2"}]}
    daemon.results["graph list"] = {"graphs": [{"graph": "deps"}]}
    daemon.results["program list"] = {"programs": [{"name": "pagerank"}, {"name": "ppr"}]}
    assert completed(host, "run", "show", begun="p") == ["pagerank-1"]
    assert completed(host, "run", "stop") == ["pagerank-1", "wcc-2"]
    assert completed(host, "run", "start", begun="pp") == ["ppr"]
    assert completed(host, "run", "start", "ppr", "--graph") == ["deps"]
    assert completed(host, "ghosts", "--graph", begun="x") == []
    assert completed(host, "log-level", begun="w") == ["warning"]
    assert "--checkpoint" in completed(host, "run", "start", begun="--")
    gone = ShellComplete(main, {}, "shoalctl", "_SHOALCTL_COMPLETE")
    assert gone.get_completions(["--socket", str(tmp_path / "none"), "run", "show"], "") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_for_a_shell_is_printed(shell: str) -> None:
    printed = CliRunner().invoke(main, ["completion", shell])
    assert (printed.exit_code, "_SHOALCTL_COMPLETE" in printed.stdout) == (0, True)
