"""Strangers, noise and mistakes: each is dropped and counted, or gets an error; the daemons keep working.

The fixture `three` checks after every test that the same three processes still run and see each other alive.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

import shoal
from daemon.cli.dev_cluster import DevShard
from daemon.cli.dev_ports import ReservedPorts
from daemon.config.keys import generate, load_pair
from daemon.config.quantities import parse_address
from daemon.services.results.messages import RowsReply
from daemon.vocabulary import CONTROL_TYPES, TICK_TYPES
from daemon.wire import Codec
from daemon.wire.version import NEWEST
from shoal import GraphData
from shoal.api.errors import NameTaken, Refused, ShoalError, Usage
from shoal.client.admin_protocol import AdminConnection
from shoal.lockstep.messages import Chunk, PhaseRequest
from tests.cluster.trial import ask, config_of, exit_status, shoalctl, summed, wait_for, well
from tests.cluster.trial import metrics as metrics_of

SHOALD = (sys.executable, "-P", "-m", "daemon", "--config")


# -- strangers on the wire ---------------------------------------------------------------------------------------------


@pytest.fixture(params=["control", "ticks"])
def plane(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def address(shard: DevShard, plane: str) -> str:
    return str(getattr(config_of(shard).listen, plane))


@contextlib.contextmanager
def tcp(shard: DevShard, plane: str) -> Iterator[socket.socket]:
    where = parse_address(address(shard, plane))
    with socket.create_connection((where.host, where.port), timeout=10) as connection:
        yield connection


@contextlib.contextmanager
def push(where: str, server: bytes | None, secret: bytes = b"", public: bytes = b"") -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.PUSH) as sender:
        sender.linger = 0
        if server is not None:
            sender.curve_serverkey, sender.curve_secretkey, sender.curve_publickey = server, secret, public
        sender.connect(where)
        yield sender


def key_of(shard: DevShard) -> Any:
    return load_pair(shard.folder / f"{shard.name}.secret_key")


@contextlib.contextmanager
def inside(shard: DevShard, plane: str, impostor: DevShard) -> Iterator[zmq.Socket[bytes]]:
    """A connection with an allowed key: it passes the handshake, and then sends nonsense."""
    pair = key_of(impostor)
    with push(address(shard, plane), key_of(shard).public, pair.secret, pair.public) as sender:
        yield sender


def failed_handshakes(shard: DevShard) -> float:
    return summed(shard, "shoal_handshakes_failed_total")


def test_random_bytes(three: list[DevShard], plane: str) -> None:
    before = failed_handshakes(three[0])
    with tcp(three[0], plane) as connection, contextlib.suppress(OSError):  # the daemon hangs up
        connection.sendall(bytes((i * 7919 + 13) % 256 for i in range(100_000)))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    wait_for(lambda: failed_handshakes(three[0]) > before, 10, "the noise counted")


def test_a_greeting_that_breaks_off(three: list[DevShard], plane: str) -> None:
    before = failed_handshakes(three[1])
    with tcp(three[1], plane) as connection:
        connection.sendall(b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03")  # ZMTP 3 (RFC 23), cut in its greeting
    wait_for(lambda: failed_handshakes(three[1]) > before, 10, "the broken greeting counted")


def test_a_plain_text_peer_on_an_encrypted_cluster(three: list[DevShard], plane: str) -> None:
    before = failed_handshakes(three[0])
    with push(address(three[0], plane), None) as sender:
        sender.send(b"hello")
        wait_for(lambda: failed_handshakes(three[0]) > before, 10, "the refused mechanism counted")


def test_a_key_that_is_not_allowed(three: list[DevShard], plane: str, tmp_path: Path) -> None:
    stranger = generate(tmp_path, "stranger")
    pair = load_pair(tmp_path / "stranger.secret_key")
    before = summed(three[0], "shoal_handshakes_failed_total", reason="key")
    with push(address(three[0], plane), key_of(three[0]).public, pair.secret, stranger.public) as sender:
        sender.send(b"hello")
        wait_for(
            lambda: summed(three[0], "shoal_handshakes_failed_total", reason="key") > before, 10, "the key counted"
        )


def test_a_key_is_allowed_and_taken_back_while_the_daemon_runs(three: list[DevShard], tmp_path: Path) -> None:
    """SIGHUP reads the list again; an unreadable list changes nothing."""
    stranger = generate(tmp_path, "stranger")
    pair = load_pair(tmp_path / "stranger.secret_key")
    allowed = config_of(three[0]).security.allowed_keys
    pid = three[0].pid()
    assert allowed is not None
    assert pid is not None
    before = allowed.read_text()

    def reloaded(text: str, told: str) -> None:
        said = three[0].log.read_text().count(told)
        allowed.write_text(text)
        os.kill(pid, signal.SIGHUP)
        wait_for(lambda: three[0].log.read_text().count(told) > said, 10, told)

    def knocks() -> bool:
        """Returns whether it is let in: then its nonsense is counted, otherwise its key."""
        was = {name: summed(three[0], name) for name in ("shoal_dropped_total", "shoal_handshakes_failed_total")}
        with push(address(three[0], "control"), key_of(three[0]).public, pair.secret, stranger.public) as sender:
            sender.send(b"nonsense")
            risen = wait_for(lambda: [name for name in was if summed(three[0], name) > was[name]], 10, "an answer")
        return risen == ["shoal_dropped_total"]

    try:
        assert not knocks()
        reloaded(f"{before}stranger {stranger.public.decode()}\n", "allowed keys: 1 added, 0 removed")
        assert knocks()
        reloaded(f"{before}stranger\n", "the list of allowed keys is unchanged")
        assert knocks()
    finally:
        reloaded(before, "allowed keys: 0 added, 1 removed")
    assert not knocks()


def test_a_daemon_whose_key_is_not_allowed_does_not_get_in(three: list[DevShard], tmp_path: Path) -> None:
    """Only its key is wrong: it has the cluster's name, and its members' keys and addresses."""
    config = config_of(three[0])
    stranger = DevShard(9, three[0].folder.parent / "9s")
    stranger.folder.mkdir()
    generate(stranger.folder, stranger.name)
    text = three[0].config.read_text().replace('"shard-1', '"shard-9').replace("admin.sock", str(stranger.socket))
    ports = ReservedPorts(str(stranger.folder))
    for port in (config.listen.control, config.listen.ticks, f"//{config.metrics.listen}"):
        text = text.replace(port.rpartition("/")[2], f"127.0.0.1:{ports.next()}")
    seeds = ", ".join(f'"{shard.name}@{address(shard, "control")}"' for shard in three)
    text = re.sub(r"seeds = \[.*\]", f"seeds = [{seeds}]", text)
    stranger.config.write_text(text)
    before = {shard.name: summed(shard, "shoal_handshakes_failed_total", reason="key") for shard in three}
    with stranger.log.open("wb") as log, subprocess.Popen([*SHOALD, stranger.config], stderr=log) as process:
        try:
            wait_for(
                lambda: all(
                    summed(shard, "shoal_handshakes_failed_total", reason="key") > before[shard.name] for shard in three
                ),
                40,
                "all three have refused the key",
            )
            assert ask(stranger, "status")["state"] == "starting"
            for shard in three:
                names = [member["name"] for member in ask(shard, "members")["members"]]
                assert names == ["shard-1", "shard-2", "shard-3"]
            process.send_signal(signal.SIGTERM)
            assert exit_status(process.pid, 20) == 0
        finally:
            process.kill()
    assert not stranger.socket.exists()


def _envelope(cluster: str = "dev", version: int = NEWEST, tag: int = 1, fields: Any = ()) -> bytes:
    return bytes(msgpack.packb([version, cluster, 1, "shard-2", 1, tag, list(fields)]))


NONSENSE = {
    "malformed": [b"\xc1 no msgpack"],
    "version": [_envelope(version=99)],
    "cluster": [_envelope(cluster="other")],
    "foreign": [_envelope(cluster="dev/a6ff9791bf71d665")],
    "unknown_type": [_envelope(tag=30)],
    "oversize": [b"\x00" * (9 << 20)],  # a header has at most 8 MiB
    "truncated": [],
}


def _with_frames(plane: str) -> list[Any]:
    """Returns a message whose array is a separate frame."""
    array = (b"\0" * 100_000,)
    if plane == "control":
        return Codec("dev", CONTROL_TYPES).encode(1, "shard-2", 1, RowsReply("q", "", 1, ("int64",), b"", array))
    return Codec("dev", TICK_TYPES).encode(1, "shard-2", 1, Chunk("load", 0, 0, array))


@pytest.mark.parametrize("reason", NONSENSE)
def test_messages_of_a_peer_that_is_allowed_and_talks_nonsense(three: list[DevShard], plane: str, reason: str) -> None:
    before = metrics_of(three[0], "shoal_dropped_total")
    with inside(three[0], plane, three[1]) as sender:
        sender.send_multipart(NONSENSE[reason] or [_with_frames(plane)[0]])
        wait_for(lambda: metrics_of(three[0], "shoal_dropped_total") != before, 10, f"{reason} counted")
    after = metrics_of(three[0], "shoal_dropped_total")
    risen = {series for series in after if after[series] > before.get(series, 0)}
    assert f'shoal_dropped_total{{reason="{reason}"}}' in risen


def test_messages_cut_at_every_byte(three: list[DevShard], plane: str) -> None:
    """Truncated messages: none is accepted, each is counted."""
    types = CONTROL_TYPES if plane == "control" else TICK_TYPES
    whole = max((_an_example(types, cls) for cls in types.values()), key=len)
    before = summed(three[0], "shoal_dropped_total")
    with inside(three[0], plane, three[1]) as sender:
        for end in range(len(whole)):
            sender.send(whole[:end])
        wait_for(lambda: summed(three[0], "shoal_dropped_total") >= before + len(whole), 10, "every piece counted")


def _an_example(types: dict[int, type], cls: type) -> bytes:
    """Returns a message of that class if numbers and texts are enough for it."""
    kinds = {"int": 7, "str": "some text", "float": 0.5, "bool": True, "bytes": b"bytes"}
    with contextlib.suppress(Exception):
        fields = [kinds[str(kind)] for kind in cls.__annotations__.values()]
        (header,) = Codec("dev", types).encode(1, "shard-2", 1, cls(*fields))
        return bytes(header)
    return b""


def test_a_frame_over_the_limit_ends_its_connection_only(three: list[DevShard], plane: str) -> None:
    """ZMQ_MAXMSGSIZE: libzmq hangs up before the daemon has to hold it."""
    before = summed(three[0], "shoal_events_total", event="connection_lost")
    with inside(three[0], plane, three[1]) as sender:
        sender.send(b"\x00" * (33 << 20))
        wait_for(
            lambda: summed(three[0], "shoal_events_total", event="connection_lost") > before, 20, "the end counted"
        )


def test_messages_of_strangers_and_of_other_epochs_on_the_tick_plane(three: list[DevShard]) -> None:
    """Well-formed messages with an allowed key, but under another's name, of no life in the view, or another view."""
    codec = Codec("dev", TICK_TYPES)
    generation = ask(three[1], "status")["generation"]
    epoch = ask(three[0], "view")["epoch"]
    reasons = ("impostor", "stranger", "epoch")
    before = {reason: summed(three[0], "shoal_dropped_total", reason=reason) for reason in reasons}
    with inside(three[0], "ticks", three[1]) as sender:
        for sent, name, life in (
            (epoch, "shard-3", generation),
            (epoch, "shard-2", generation - 1),
            (epoch - 1, "shard-2", generation),
            (epoch + 2, "shard-2", generation),  # those of the next one are kept: this shard may be about to enter it
        ):
            sender.send_multipart(codec.encode(sent, name, life, PhaseRequest(1, 1)))
        wait_for(
            lambda: all(
                summed(three[0], "shoal_dropped_total", reason=reason) >= before[reason] + 1 for reason in reasons
            ),
            10,
            "the impostor, the stranger and the other epoch counted",
        )


# -- mistakes in files -------------------------------------------------------------------------------------------------


def run_shoald(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SHOALD, config], capture_output=True, text=True, timeout=60, check=False)


def test_a_configuration_with_a_typo(three: list[DevShard], tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(three[0].config.read_text().replace("phase_timeout", "phase_timeuot"))
    ended = run_shoald(config)
    assert ended.returncode == 1
    assert ended.stderr == f"{config}: ticks.phase_timeuot: there is no such key; did you mean 'phase_timeout'?\n"


def test_a_data_folder_and_a_socket_path_that_a_live_daemon_has(three: list[DevShard], tmp_path: Path) -> None:
    """Everything else is free: it has its own ports. The daemon that has the folder, or the socket, keeps it."""
    ports = ReservedPorts(str(tmp_path))
    text = re.sub(r"127\.0\.0\.1:\d+", lambda _: f"127.0.0.1:{ports.next()}", three[0].config.read_text())
    config, data = three[0].folder / "second.toml", three[0].folder / "data"
    for ours, told in (
        ("data", f"{data} is in use by another daemon, process {three[0].pid()}: stop that one, or give this one"),
        (tmp_path, f"{three[0].socket}: another daemon listens on it: stop that daemon first, or set admin.socket"),
    ):
        config.write_text(text.replace('data = "data"', f'data = "{ours}"'))
        ended = run_shoald(config)
        assert ended.returncode == 1
        assert told in ended.stderr
    assert ask(three[0], "status")["pid"] == three[0].pid()


def test_a_row_that_cannot_be_read(three: list[DevShard], tmp_path: Path) -> None:
    edges = tmp_path / "edges.csv.gz"
    rows = ["source:int,target:int,weight", *(f"{i},{i + 1},0.5" for i in range(50)), "7,8,heavy", "8,9,1"]
    edges.write_bytes(gzip.compress("\n".join(rows).encode()))
    result = shoalctl(three[0], "graph", "load", "bad", "--edges", str(edges))
    assert result.exit_code == 1
    assert f"{edges}:52: column 'weight': 'heavy' is not a float" in result.stderr
    for shard in three:
        assert "bad" not in [row["graph"] for row in ask(shard, "graph list")["graphs"]]
    with shoal.connect(str(three[1].socket)) as session, pytest.raises(shoal.BadRow, match=r"edges\.csv\.gz:52: "):
        session.load("bad", edges=edges)


# -- mistakes of users -------------------------------------------------------------------------------------------------

MISTAKES = [
    (
        ("pagernk", "--graph", "deps"),
        1,
        "no program is called 'pagernk'; did you mean 'pagerank'?; installed: ",
    ),
    (("pagerank", "--graph", "dep"), 1, "no graph is called 'dep'; did you mean 'deps'?; loaded: "),
    (
        ("pagerank", "--graph", "deps", "--param", "damping=2"),
        1,
        "'damping': 2.0 is out of bounds; give a value from 0",
    ),
    (("pagerank", "--graph", "deps", "--param", "damping=much"), 1, "parameter 'damping': 'much' is not a number"),
    (("pagerank", "--graph", "deps", "--param", "dampng=0.5"), 1, "no parameter 'dampng'; did you mean 'damping'?"),
    (("pagerank", "--graph", "deps", "--param", "damping"), 2, "'damping' should be KEY=VALUE"),
    (("pagerank", "--graph", "deps", "--ticks", "-1"), 2, "-1 is not in the range"),
    (("pagerank", "--graph", "deps", "--interval", "20"), 2, "'20'"),
    (("pagerank",), 2, "Missing option '--graph'"),
]


@pytest.mark.parametrize(("words", "status", "told"), MISTAKES)
def test_a_run_that_cannot_be(three: list[DevShard], deps: str, words: tuple[str, ...], status: int, told: str) -> None:
    before = len(ask(three[0], "run list")["runs"])
    result = shoalctl(three[0], "run", "start", *words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert told in result.stderr
    assert len(ask(three[0], "run list")["runs"]) == before


def test_unknown_runs_columns_and_graphs(three: list[DevShard], deps: str) -> None:
    with shoal.connect(str(three[0].socket)) as session:
        run = session.graph(deps).run("degree", timeout=60)
    result = shoalctl(three[1], "run", "result", run.name, "--column", "degre")
    assert result.exit_code == 1
    assert f"run '{run.name}' has no column 'degre'; did you mean 'degree'?; it has: degree, in_degree" in result.stderr
    for words, told in (
        (("run", "show", f"{run.name}0"), f"there is no run '{run.name}0'; did you mean '{run.name}'?"),
        (("run", "stop", "nothing"), "there is no run 'nothing'"),
        (("run", "wait", "nothing"), "there is no run 'nothing'"),
        (("run", "stop", run.name), f"run '{run.name}' is already over: it completed after 1 ticks"),
        (("graph", "show", "dep"), "no graph is called 'dep'; did you mean 'deps'?"),
        (("graph", "drop", "dep", "--yes"), "no graph is called 'dep'"),
        (("ring", "--graph", "dep"), "no graph is called 'dep'"),
        (("ghosts", "--graph", "dep"), "no graph is called 'dep'"),
    ):
        result = shoalctl(three[2], *words)
        assert (result.exit_code, result.stdout) == (1, ""), words
        assert told in result.stderr


def test_a_name_that_is_taken_or_is_none(three: list[DevShard], deps: str) -> None:
    data = shoal.from_arrays([1], [2])
    with shoal.connect(str(three[1].socket)) as session:
        with pytest.raises(NameTaken, match="a graph called 'deps' is already loaded: drop it, or choose another name"):
            session.load(deps, data=data)
        for name in ("", "a b", "x" * 64, "../up"):
            with pytest.raises(Usage, match="a graph's name has 1 to 63 letters"):
                session.load(name, data=data)


# -- a client that sends nonsense --------------------------------------------------------------------------------------


def lines(shard: DevShard, data: bytes) -> list[bytes]:
    """Sends all data, and returns the lines until the daemon hangs up."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(shard.socket))
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        told = b""
        with contextlib.suppress(ConnectionResetError):  # it hung up before everything was sent
            while chunk := client.recv(65536):
                told += chunk
    return told.splitlines()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"command": "status"', "that line is not JSON"),
        (b"{}", 'a request needs "command"'),
        (b'{"command": 7}', 'a request needs "command"'),
        (b'{"command": "status", "args": [1]}', '"args" should be an object'),
        (b'{"command": "status", "args": {"x": 1}}', "x"),
        (b'{"command": "statsu"}', "did you mean 'status'"),
        (b'{"command": "run show"}', "run"),
        (b'{"command": "run show", "args": {"run": 3}}', "run"),
        (b'{"command": "run start", "args": {"program": "wcc", "graph": "deps", "ticks": -1}}', "ticks"),
        (b'{"command": "run start", "args": {"program": "wcc", "graph": "deps", "ticks": "many"}}', "ticks"),
        (b'{"command": "run start", "args": {"program": "wcc", "graph": "deps", "interval_seconds": -1}}', "interval"),
        (b'{"command": "run result", "args": {"run": "x", "top": 1e999}}', "top"),
        (b'{"command": "status", "frames": [-1]}', "frames"),
        (b'{"command": "status", "frames": [99999999999999]}', "too much"),
        (b'{"command": "log-level", "args": {"level": "loud"}}', "loud"),
    ],
)
def test_malformed_lines(three: list[DevShard], deps: str, line: bytes, told: str) -> None:
    answers = lines(three[0], line + b"\n")
    answer = json.loads(answers[-1])
    assert answer["ok"] is False
    assert answer["error"]["kind"] in ("usage", "refused")
    assert told in answer["error"]["message"]


def test_lines_that_are_no_text_or_have_no_end(three: list[DevShard]) -> None:
    assert lines(three[0], b"\xff\xfe\n")[0] == b"usage: that line is not UTF-8"
    assert lines(three[0], b"\n\n\n") == []
    assert b"at most 1048576 bytes" in lines(three[0], b"x" * (1 << 20) + b"y" * 70_000)[-1]
    assert json.loads(lines(three[0], b'{"command": "status"}')[0])["ok"]


def _spec(data: GraphData) -> tuple[Any, list[bytes]]:
    spec, frames = data.to_wire()
    return spec, [bytes(memoryview(frame).cast("B")) for frame in frames]


def test_a_load_of_garbage(three: list[DevShard]) -> None:
    spec, frames = _spec(shoal.from_arrays([1, 2, 3], [2, 3, 1], edge_columns={"weight": [1.0, 2.0, 3.0]}))
    garbage: list[tuple[Any, list[bytes]]] = [
        ({}, []),
        ({"format": 1}, [b"x"]),
        (spec, []),
        (spec, frames[:-1]),
        (spec, [*frames, b"more"]),
        (spec, [frame[:-1] for frame in frames]),
        (spec, [b"\xff" * len(frame) for frame in frames]),
        (spec, [struct.pack("<3q", 3, 2, 1), *frames[1:]]),
        ({**spec, "partitions": 0}, frames),
        ({**spec, "partitions": 10**9}, frames),
        ({**spec, "ids": {"type": "int64", "length": 10**15}}, frames),
        ({**spec, "edge_columns": [["weight"]]}, frames),
        ({**spec, "source": spec["ids"], "target": None}, frames),
    ]
    with AdminConnection(three[0].socket) as connection:
        for bad, sent in garbage:
            with pytest.raises(ShoalError) as caught:
                connection.call("graph load", {"name": "garbage", "spec": bad}, sent)
            assert isinstance(caught.value, (Refused, Usage)), (bad, caught.value)
        assert "garbage" not in [row["graph"] for row in connection.call("graph list")[0]["graphs"]]
        assert connection.call("graph load", {"name": "garbage", "spec": spec}, frames)[0]["edges"] == 3
        connection.call("graph drop", {"graph": "garbage"})


def test_a_client_that_goes_away_in_the_middle(three: list[DevShard], deps: str) -> None:
    """It disconnects during a load, a wait, and an answer."""
    spec, frames = _spec(shoal.from_arrays([1, 2, 3], [2, 3, 1]))
    request = {"command": "graph load", "args": {"name": "half", "spec": spec}, "frames": [len(f) for f in frames]}
    started = ask(three[0], "run start", program="trial-count", graph=deps, ticks=10**9)
    for line, more in (
        (request, frames[0]),
        ({"command": "run wait", "args": {"run": started["run"]}, "stream": True}, b""),
        ({"command": "metrics"}, b""),
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(three[0].socket))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(json.dumps(line).encode() + b"\n" + more)
    assert ask(three[0], "run stop", run=started["run"])["state"] == "stopped"
    assert well(three)
    assert "half" not in [row["graph"] for row in ask(three[0], "graph list")["graphs"]]
