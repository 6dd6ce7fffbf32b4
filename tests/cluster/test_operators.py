"""Operators on another machine with real daemons: what they may do, what they may not, and how they lose access."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import zmq
from click.testing import CliRunner, Result

import shoal
from daemon.cli import main
from daemon.cli.dev_cluster import DevShard
from daemon.config.keys import KeyPair, load_pair
from shoal.api.errors import Unreachable
from tests.cluster.conftest import MADE, UP_SECONDS, Up
from tests.cluster.test_deploy import SOURCE
from tests.cluster.trial import TrialCluster, ask, config_of, said, shoalctl, summed, wait_for, wait_for_line

NODES = 400


class OpenToOperators(TrialCluster):
    """Daemons that listen for operators; they know two: carol and dave."""

    def _make(self, shards: Any, encryption: str, replicas: int) -> None:
        super()._make(shards, encryption, replicas)
        texts = {shard: shard.config.read_text() for shard in shards}
        for shard, text in texts.items():
            listen = f'listen = "tcp://127.0.0.1:{self.ports.next()}"'
            shard.config.write_text(text.replace("[admin]\n", f"[admin]\n{listen}\n"))
        for name in ("carol", "dave"):
            made = CliRunner().invoke(main, ["keygen", "--dir", str(self.folder), "--name", name, "--operator"])
            assert made.exit_code == 0, made.output
            with (self.folder / "allowed_keys").open("a") as keys:
                keys.write(made.stdout)


@dataclass
class Far:
    """An operator's machine: keys and addresses."""

    shards: list[DevShard]
    name: str = "carol"

    @property
    def folder(self) -> Path:
        return self.shards[0].folder.parent

    @property
    def allowed(self) -> Path:
        return self.folder / "allowed_keys"

    def address(self, number: int = 0) -> str:
        shard = self.shards[number]
        return f"{shard.name}@{config_of(shard).admin.listen}"

    def key(self) -> Path:
        return self.folder / f"{self.name}.secret_key"

    def words(self, number: int = 0) -> list[str]:
        return ["--connect", self.address(number), "--key", str(self.key()), "--known-keys", str(self.allowed)]

    def shoalctl(self, *words: str, number: int = 0) -> Result:
        return CliRunner().invoke(main, [*self.words(number), *words])

    def said(self, *words: str, number: int = 0) -> Any:
        result = self.shoalctl(*words, "--json", number=number)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def reload(self, text: str, told: str) -> None:
        self.allowed.write_text(text)
        for shard in self.shards:
            size, pid = shard.log.stat().st_size, shard.pid()
            assert pid is not None
            os.kill(pid, signal.SIGHUP)
            wait_for_line(shard, told, size)


@pytest.fixture(scope="module")
def far(ground: Path, up: Up) -> Far:
    cluster = OpenToOperators(ground / f"o{len(MADE)}")
    MADE.append(cluster)
    return Far(cluster.up(2, "curve", UP_SECONDS))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    nodes = np.arange(NODES)
    table = pa.table({"source": nodes, "target": (nodes * 7 + 1) % NODES, "weight": nodes / 7})
    pyarrow.parquet.write_table(table, tmp_path / "edges.parquet")
    pyarrow.csv.write_csv(table, tmp_path / "edges.csv")
    (tmp_path / "wave.py").write_text(SOURCE)
    return tmp_path


def test_a_whole_piece_of_work_from_afar(far: Far, files: Path) -> None:
    """Loads, deploys, runs, waits and reads at one daemon; another's own socket returns the same bytes."""
    near = far.shards[1]
    assert far.said("status")["shard"] == "shard-1"
    assert far.said("status", number=1)["shard"] == "shard-2"
    assert far.said("graph", "load", "sea", "--edges", str(files / "edges.parquet"))["edges"] == NODES
    assert far.said("graph", "load", "lake", "--edges", str(files / "edges.csv"), number=1)["nodes"] == NODES
    assert far.said("program", "deploy", str(files / "wave.py"))["state"] == "deployed"
    wait_for(lambda: "wave" in {row["name"] for row in said(near, "program", "list")["programs"]}, 10, "the program")
    run = far.said("run", "start", "wave", "--graph", "sea", "--param", "factor=3", "--wait")["run"]
    assert far.said("run", "wait", run, number=1)["state"] == "completed"
    there, here = files / "there.csv", files / "here.csv"
    assert "digest" in far.shoalctl("run", "result", run, "--out", str(there)).stderr
    assert shoalctl(near, "run", "result", run, "--out", str(here)).exit_code == 0
    assert there.read_bytes() == here.read_bytes()
    assert far.shoalctl("run", "show", run).stdout.split()[:3] == shoalctl(near, "run", "show", run).stdout.split()[:3]
    with shoal.connect(far.address(), key=far.key(), known_keys=far.allowed) as session:
        assert session.get_run(run).result("height").digest == ask(near, "run result", run=run)["digest"]
    for told in ("program deploy 'wave.py'", "graph load 'sea'", "run start 'wave' 'sea'"):
        wait_for_line(far.shards[0], f"{told} by operator carol\n")
    assert said(near, "graph", "drop", "lake", "--yes")
    wait_for_line(near, f"graph drop 'lake' by user {os.getuid()}\n")


def test_the_environment_says_where_to_unless_the_command_does(far: Far) -> None:
    environment = {
        "SHOAL_CONNECT": far.address(),
        "SHOAL_KEY": str(far.key()),
        "SHOAL_KNOWN_KEYS": str(far.allowed),
        "SHOAL_SOCKET": "/nowhere",
    }

    def asked(*words: str) -> Result:
        return CliRunner().invoke(main, [*words, "--json", "status"], env=environment)

    assert json.loads(asked().stdout)["shard"] == "shard-1"
    assert json.loads(asked("--socket", str(far.shards[1].socket)).stdout)["shard"] == "shard-2"
    assert json.loads(asked("--connect", far.address(1)).stdout)["shard"] == "shard-2"
    both = asked("--connect", far.address(1), "--socket", str(far.shards[1].socket))
    assert (both.exit_code, "give either --socket" in both.stderr) == (2, True)


def test_keys_that_are_none_of_an_operator(far: Far, tmp_path: Path) -> None:
    def refused(key: Path) -> str:
        with pytest.raises(Unreachable) as caught:
            shoal.connect(far.address(), 10.0, key=key, known_keys=far.allowed)
        return str(caught.value)

    before = summed(far.shards[0], "shoal_handshakes_failed_total", reason="key")
    assert "does not accept 'shard-2' as an operator" in refused(far.shards[1].folder / "shard-2.secret_key")
    made = CliRunner().invoke(main, ["keygen", "--dir", str(tmp_path), "--name", "mallory", "--operator", "--json"])
    assert json.loads(made.stdout)["allowed_keys_line"] == (tmp_path / "mallory.public_key").read_text().strip()
    assert "does not accept 'mallory' as an operator" in refused(tmp_path / "mallory.secret_key")
    assert summed(far.shards[0], "shoal_handshakes_failed_total", reason="key") == before + 2
    swapped = CliRunner().invoke(
        main, [*far.words()[2:], "--connect", far.address(1).replace("shard-2", "shard-1"), "status"]
    )
    assert (swapped.exit_code, "does not prove to be 'shard-1'" in swapped.stderr) == (1, True)


@pytest.mark.parametrize("plane", ["control", "ticks"])
def test_an_operator_is_no_member(far: Far, plane: str) -> None:
    pair: KeyPair = load_pair(far.key())
    server = load_pair(far.shards[0].folder / "shard-1.secret_key")
    before = summed(far.shards[0], "shoal_handshakes_failed_total", reason="key")
    with zmq.Context() as context, context.socket(zmq.PUSH) as sender:
        sender.linger = 0
        sender.curve_secretkey, sender.curve_publickey, sender.curve_serverkey = pair.secret, pair.public, server.public
        sender.connect(getattr(config_of(far.shards[0]).listen, plane))
        wait_for(lambda: summed(far.shards[0], "shoal_handshakes_failed_total", reason="key") > before, 10, "a refusal")


HALF = """\
import json, sys, time
import numpy as np
import shoal
from shoal.client.admin_protocol import AdminConnection

address, key, known = sys.argv[1:]
spec, frames = shoal.from_arrays(np.arange(400_000), np.arange(400_000) // 2).to_wire()
sizes = [memoryview(frame).nbytes for frame in frames]
request = {"command": "graph load", "args": {"name": "half", "spec": spec}, "frames": sizes}
connection = AdminConnection(address, key=key, known_keys=known)
connection._send([memoryview(json.dumps(request).encode() + b"\\n")])
connection._send([memoryview(frames[0]).cast("B")[: sizes[0] // 2]])
print("half-way", flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def loading(far: Far) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HALF, far.address(), str(far.key()), str(far.allowed)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_client_that_is_killed_half_way_through_a_load_leaves_nothing(far: Far) -> None:
    one = far.shards[0]
    with loading(far) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half-way\n"
        process.kill()
        process.wait(10)
    wait_for(lambda: summed(one, "shoal_admin_requests_total", outcome="gone") == 1, 10, "its request is over")
    assert "half" not in {row["graph"] for row in ask(one, "graph list")["graphs"]}
    with shoal.connect(far.address(1), key=far.key(), known_keys=far.allowed) as session:
        session.load("half", data=shoal.from_arrays([1, 2], [2, 3]))
        session.drop("half")


def test_a_key_that_is_taken_away(far: Far) -> None:
    text = far.allowed.read_text()
    dave = Far(far.shards, "dave")
    with (
        shoal.connect(dave.address(), 10.0, key=dave.key(), known_keys=far.allowed) as his,
        shoal.connect(far.address(), 10.0, key=far.key(), known_keys=far.allowed) as hers,
    ):
        assert his.status()["shard"] == hers.status()["shard"]
        far.reload(re.sub(r"^dave .*\n", "", text, flags=re.MULTILINE), "allowed keys: 0 added, 1 removed")
        with pytest.raises(Unreachable):
            his.status()
        assert hers.status()["state"] == "joined"
        with pytest.raises(Unreachable, match="does not accept 'dave' as an operator"):
            shoal.connect(dave.address(), 10.0, key=dave.key(), known_keys=far.allowed)
    wait_for_line(far.shards[0], "hanging up on operator dave: the key is no longer an operator's")
    far.reload(text, "allowed keys: 1 added, 0 removed")
    assert dave.said("status")["shard"] == "shard-1"
    far.reload(text + "eve short operator\n", "the list of allowed keys is unchanged")
    wait_for_line(far.shards[0], f"allowed_keys:{len(text.splitlines()) + 1}: expected NAME KEY")
    far.reload(text, "allowed keys: 0 added, 0 removed")
