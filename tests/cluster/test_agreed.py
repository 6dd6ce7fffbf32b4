"""What one shard has answered, every other shard knows at the next request, however soon it comes."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal.api.errors import ShoalError
from shoal.client.admin_protocol import AdminConnection
from tests.cluster.trial import ask, leader_of

ROUNDS = 24
SOURCE = '''"""A program for one round."""

import numpy as np

from shoal import Column, Program


class Own(Program):
    """Round {number}."""

    name = "own-agreed"
    columns = (Column("level", np.int64),)

    def start(self, ws):
        ws.set("level", 0)

    def advance(self, ws):
        ws.set("level", {number})
'''
Connections = list[AdminConnection]


@pytest.fixture
def connections(three: list[DevShard]) -> Iterator[Connections]:
    """One kept connection per shard: then the next shard gets a request within a quarter of a millisecond."""
    made = [AdminConnection(shard.socket, 30) for shard in three]
    yield made
    for connection in made:
        connection.close()


def tell(connection: AdminConnection, command: str, **args: Any) -> dict[str, Any]:
    return connection.call(command, args)[0]


@pytest.fixture
def graph(three: list[DevShard]) -> Iterator[str]:
    """Yields the name of a circle's graph."""
    nodes = list(range(30))
    with shoal.connect(str(three[0].socket)) as session:
        yield session.load("turns", data=shoal.from_arrays(nodes, [*nodes[1:], 0])).name
        session.drop("turns")


def test_a_run_is_known_and_over_at_every_shard_as_soon_as_at_one(connections: Connections, graph: str) -> None:
    """Each request goes to the next shard, at once and only once."""
    turn = cycle(connections)
    for number in range(ROUNDS):
        next(turn)  # so that each kind of request reaches each shard
        name = tell(next(turn), "run start", program="degree", graph=graph)["run"]
        assert tell(next(turn), "run show", run=name)["run"] == name
        ended = tell(next(turn), "run wait", run=name)
        assert ended["state"] == "completed"
        shown = tell(next(turn), "run show", run=name)
        assert {key: shown[key] for key in ("state", "tick", "seconds", "figures")} == {
            key: ended[key] for key in ("state", "tick", "seconds", "figures")
        }
        result = tell(next(turn), "run result", run=name, top=3)
        assert result["tick"] == ended["tick"]
        assert tell(next(turn), "run result", run=name, top=3) == result
        assert name in [row["run"] for row in tell(next(turn), "run list")["runs"]], number


def test_a_paced_run_is_stepped_and_stopped_from_any_shard(connections: Connections, graph: str) -> None:
    turn = cycle(connections)
    for _ in range(ROUNDS):
        name = tell(next(turn), "run start", program="pagerank", graph=graph, ticks=9, paced=True)["run"]
        assert tell(next(turn), "run step", run=name)["tick"] == 1
        tell(next(turn), "run stop", run=name)
        stopped = tell(next(turn), "run wait", run=name)
        assert stopped["state"] == "stopped"
        shown = tell(next(turn), "run show", run=name)
        assert (shown["state"], shown["tick"]) == ("stopped", stopped["tick"])
        assert tell(next(turn), "run ticks", run=name)["ticks"][-1:] == [stopped["tick"]]
        next(turn)


def test_a_program_is_there_at_every_shard_as_soon_as_at_one(connections: Connections, graph: str) -> None:
    turn = cycle(connections)
    for number in range(3):  # each starts a process that checks it
        with_frames = next(turn)
        deployed = with_frames.call("program deploy", {}, [SOURCE.format(number=number).encode()])[0]
        assert tell(next(turn), "program show", program="own-agreed")["digest"] == deployed["digest"]
        run = tell(next(turn), "run start", program="own-agreed", graph=graph, ticks=1)
        assert run["digest"] == deployed["digest"]
        tell(next(turn), "run wait", run=run["run"])
        rows = tell(next(turn), "run result", run=run["run"], top=1)["rows"]
        assert rows[0]["value"] == number
    tell(next(turn), "program remove", program="own-agreed")
    assert "own-agreed" not in [row["name"] for row in tell(next(turn), "program list")["programs"]]


def test_a_graph_comes_and_goes_at_every_shard_at_once(three: list[DevShard], connections: Connections) -> None:
    data = shoal.from_arrays([0, 1, 2], [1, 2, 0])
    turn = cycle(range(3))
    for _ in range(10):
        with shoal.connect(str(three[next(turn)].socket)) as session:
            session.load("passing", data=data)
        assert "passing" in [row["graph"] for row in tell(connections[next(turn)], "graph list")["graphs"]]
        assert tell(connections[next(turn)], "graph show", graph="passing")["nodes"] == 3
        next(turn)
        tell(connections[next(turn)], "graph drop", graph="passing")
        with pytest.raises(ShoalError, match="no graph is called 'passing'"):
            tell(connections[next(turn)], "ring", graph="passing")


def test_who_was_asleep_has_heard_of_all_before_it_answers(three: list[DevShard], graph: str) -> None:
    """The request is already waiting when the daemon resumes, along with what the others have agreed on meanwhile."""
    leader = leader_of(three[0])
    awake = next(shard for shard in three if shard.name == leader)
    for sleeper in [shard for shard in three if shard is not awake] * 10:
        pid = sleeper.pid()
        assert pid is not None
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(sleeper.socket))
            client.sendall(b'{"command": "status"}\n')
            assert json.loads(client.recv(1 << 16))["ok"]
            os.kill(pid, signal.SIGSTOP)
            try:
                name = ask(awake, "run start", program="pagerank", graph=graph, paced=True)["run"]
                client.sendall(json.dumps({"command": "run show", "args": {"run": name}}).encode() + b"\n")
            finally:
                os.kill(pid, signal.SIGCONT)
            answer = json.loads(client.recv(1 << 16))
        assert answer["ok"], answer
        assert ask(sleeper, "run stop", run=name)["state"] in ("stopping", "stopped")
