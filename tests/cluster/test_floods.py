"""A member with an allowed key floods a daemon that has default limits.

The daemon's memory is bounded, it still answers its operators, its run continues, and it counts what it drops.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import zmq
from msgspec.structs import replace

from daemon.cli.dev_cluster import DevShard
from daemon.config.keys import load_pair
from daemon.services.results.messages import RowsRequest
from daemon.vocabulary import CONTROL_TYPES, TICK_TYPES
from daemon.wire import Codec
from shoal.lockstep.messages import Chunk, PhaseRequest, PieceOffered
from tests.cluster.conftest import Up
from tests.cluster.trial import ask, config_of, counting, long_turns, summed, wait_for, well

MIB = 1 << 20
GROWTH_MAX = 400 * MIB
"""The budgets of both planes' queues are 256 MiB each; a flood uses one, plus the messages being processed."""
FLOOD_SECONDS = 0.8
ANSWER_SECONDS = 5.0
TURN_SECONDS = "0.1"
"""Of the loop's own processor time. Single messages cost milliseconds, and a turn ends after some."""


@pytest.fixture(scope="module")
def pair(up: Up) -> list[DevShard]:
    return up(2, settings="")


@pytest.fixture(scope="module")
def run(pair: list[DevShard]) -> Iterator[str]:
    """A run in progress meanwhile."""
    with counting(pair[0], "ring") as run:
        yield run


def memory(shard: DevShard) -> int:
    return psutil.Process(shard.pid()).memory_info().rss


def tick(shard: DevShard, run: str) -> int:
    return int(ask(shard, "run show", run=run)["tick"])


def messages(kind: str, plane: str, generation: int, epoch: int) -> Iterator[list[Any]]:
    """Yields what is sent, for ever."""
    codec = Codec("dev", CONTROL_TYPES if plane == "control" else TICK_TYPES)

    def sealed(message: object) -> list[Any]:
        return codec.encode(epoch, "shard-2", generation, message)

    match kind:
        case "garbage":
            return itertools.repeat([b"\xc1" + b"no msgpack" * 100])
        case "bombs":
            return itertools.repeat([b"\xdd\x00\x00\xea\x60" * 1000 + bytes(50_000)])
        case "large":
            return itertools.repeat([b"\x00", bytes(16 * MIB)])
        case "offers":
            piece = PieceOffered("load", b"", (8 << 30,), 4096)
            offers = (sealed(replace(piece, load=f"load-{n}")) for n in itertools.count())
            of = piece.digest()
            chunks = (sealed(Chunk(f"load-{n % 4}", n % 8, of, (bytes(4096),))) for n in itertools.count())
            return itertools.chain.from_iterable(zip(offers, chunks, strict=False))
        case _ if plane == "control":
            return (sealed(RowsRequest(f"q{n}", "no-run", 1, ("x",), 0, 10, 0, False)) for n in itertools.count())
        case _:
            return itertools.repeat(sealed(PhaseRequest(1, 1)))


@contextlib.contextmanager
def flooded(shard: DevShard, by: DevShard, plane: str, kind: str) -> Iterator[None]:
    own, theirs = (load_pair(s.folder / f"{s.name}.secret_key") for s in (by, shard))
    status = ask(by, "status")
    over = threading.Event()

    def flood() -> None:
        with zmq.Context() as context, context.socket(zmq.PUSH) as sender:
            sender.linger, sender.sndhwm = 0, 4
            sender.curve_serverkey, sender.curve_secretkey, sender.curve_publickey = (
                theirs.public,
                own.secret,
                own.public,
            )
            sender.connect(getattr(config_of(shard).listen, plane))
            for frames in messages(kind, plane, status["generation"], status["epoch"]):
                while not over.is_set():
                    with contextlib.suppress(zmq.Again):
                        sender.send_multipart(frames, zmq.NOBLOCK, copy=False)
                        break
                    over.wait(0.001)
                if over.is_set():
                    return

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        yield
    finally:
        over.set()
        flooding.join()


@pytest.mark.parametrize(
    ("plane", "kind"),
    [
        *itertools.product(["control", "ticks"], ["small", "bombs", "large"]),
        ("control", "garbage"),
        ("ticks", "offers"),
    ],
)
def test_a_flood(pair: list[DevShard], run: str, plane: str, kind: str) -> None:
    shard, by = pair
    before, begun, dropped = memory(shard), tick(shard, run), summed(shard, "shoal_dropped_total")
    held_up = long_turns(shard, TURN_SECONDS)
    most, answered, longest = 0, 0, 0.0
    with flooded(shard, by, plane, kind):
        until = time.monotonic() + FLOOD_SECONDS
        while time.monotonic() < until:
            asked = time.monotonic()
            ask(shard, "status")
            longest, answered = max(longest, time.monotonic() - asked), answered + 1
            most = max(most, memory(shard))
        if kind in ("garbage", "bombs", "large"):
            wait_for(lambda: summed(shard, "shoal_dropped_total") > dropped, 30, "what was dropped counted")
        most = max(most, memory(shard))
    assert answered >= 2
    assert longest < ANSWER_SECONDS
    assert long_turns(shard, TURN_SECONDS) == held_up, "nothing that comes in holds up the loop"
    assert most - before < GROWTH_MAX, f"{(most - before) / MIB:.0f} MiB"
    wait_for(lambda: well(pair), 30, "both well")
    wait_for(lambda: tick(shard, run) > begun, 30, "the run goes on")


def test_clients_that_send_and_never_read(pair: list[DevShard], run: str) -> None:
    """On the admin socket: each only fills its own buffer; one that never ends its lines gets no extra turn."""
    shard = pair[0]
    before, begun = memory(shard), tick(shard, run)
    ask_all = (json.dumps({"command": "metrics"}) + "\n").encode() * 50
    with contextlib.ExitStack() as stack:
        clients = []
        for data in itertools.islice(itertools.cycle([ask_all, b"\n" * 65536, b"x" * 65536, b"nonsense\n" * 8000]), 24):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(shard.socket))
            client.setblocking(False)
            clients.append((client, data))
        until, longest, most = time.monotonic() + FLOOD_SECONDS, 0.0, 0
        over = threading.Event()

        def send() -> None:
            while not over.is_set():
                for client, data in clients:
                    with contextlib.suppress(OSError):
                        client.send(data)
                os.sched_yield()

        sending = threading.Thread(target=send)
        sending.start()
        try:
            while time.monotonic() < until:
                asked = time.monotonic()
                ask(shard, "status")
                longest = max(longest, time.monotonic() - asked)
                most = max(most, memory(shard))
        finally:
            over.set()
            sending.join()
    assert longest < ANSWER_SECONDS
    assert most - before < 150 * MIB
    wait_for(lambda: tick(shard, run) > begun, 30, "the run goes on")


LINES = {
    "words": b"status " + b"a" * 1_000_000,
    "quotes": b"status '" + b"a b " * 250_000,
    "lists": b'{"command": "status", "args": {"a": [' + b"[]," * 300_000 + b"[]]}}",
    "numbers": b'{"command": "status", "args": {"a": [' + b"1," * 500_000 + b"1]}}",
    "digits": b'{"command": "status", "args": {"a": [' + (b"9" * 4000 + b",") * 240 + b"1]}}",
    "depth": b'{"command": "status", "args": {"a": ' + b"[" * 500_000 + b"]" * 500_000 + b"}}",
    "names": b'{"command": "' + b"run " * 250_000 + b'"}',
    "argument": b'{"command": "status", "args": {"' + b"a" * 1_000_000 + b'": 1}}',
    "value": b'{"command": "run show", "args": {"run": "' + b"a" * 1_000_000 + b'"}}',
    "objects": b'{"command": "run start", "args": {"program": "wcc", "graph": "ring", "params": {'
    + b",".join(b'"%d":{}' % number for number in range(100_000))
    + b"}}}",
}


@pytest.mark.parametrize("kind", LINES)
def test_one_line_on_the_admin_socket_holds_up_nothing(pair: list[DevShard], kind: str) -> None:
    """A megabyte of plain words used to cost seven seconds, during which the shard was convicted."""
    shard = pair[0]
    before = long_turns(shard, "0.025")
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(shard.socket))
            client.sendall(LINES[kind] + b"\n")
            answer = client.recv(65536)
            assert b"usage" in answer or b"refused" in answer
    assert long_turns(shard, "0.025") - before <= 1, "five of the kind: what else happens in a turn may happen once"
