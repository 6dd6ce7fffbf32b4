"""The admin protocol, byte for byte: clients' requests and daemons' answers; and the tunnel that carries it."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np

from daemon.admin.registry import Registry
from shoal.api.command import Command, Exchange, Framed, command
from shoal.api.errors import Failed, NameTaken, ShoalError
from shoal.client import tunnel
from shoal.client.admin_protocol import AdminConnection
from tests.daemon.admin import declared
from tests.daemon.admin.hosted import Hosted
from tests.golden.bytes.section import Section, from_hex, only, same, to_hex
from tests.golden.golden_file import Entries, Entry

SECONDS: Final = 10.0
FRAMES = (b"\x01\x02\x03", np.array([7, 8], np.int64))


@dataclass(frozen=True)
class Conversation:
    """What a client does, and what it then receives: a result and frames, preceded by events, or an error."""

    ask: Callable[[AdminConnection], Any]
    has: Any


def _streamed(connection: AdminConnection) -> Any:
    stream = connection.stream("echo", {"name": "é"})
    return [dict(event) for event in stream], dict(stream.result)


def _called(command: str, args: dict[str, Any], *frames: Any) -> Callable[[AdminConnection], Any]:
    def ask(connection: AdminConnection) -> Any:
        try:
            result, came = connection.call(command, args, frames)
        except ShoalError as error:
            return type(error).__name__, str(error)
        return result, [bytes(frame) for frame in came]

    return ask


EXCHANGES = {
    "numbers": Conversation(_called("status", {}), ({"shard": "alpha", "value": 1.5, "distance": "inf"}, [])),
    "frames": Conversation(
        _called("echo", {"name": "web"}, *FRAMES),
        ({"name": "web"}, [b"\x01\x02\x03", np.array([7, 8], np.int64).tobytes()]),
    ),
    "events": Conversation(_streamed, ([{"stage": "store", "done": 1, "total": 3}], {"name": "é"})),
    "refused": Conversation(_called("refuse", {}), ("NameTaken", "not now: there is no view")),
    "failed": Conversation(_called("fail", {}), ("Failed", "tried, in vain")),
    "usage": Conversation(_called("echo", {}), ("Usage", "echo needs name; usage: echo NAME")),
}
PLAIN: Final = {"plain words": b"refuse\n"}


@command("echo", frames=True)
class Echo(Command[Any]):
    """e"""

    name: Annotated[str, "n"]


async def _status(_: Any) -> Any:
    return {"shard": "alpha", "value": np.float64(1.5), "distance": float("inf")}


async def _echo(asked: Echo, exchange: Exchange) -> Any:
    await exchange.emit({"stage": "store", "done": 1, "total": 3})
    return Framed({"name": asked.name}, exchange.frames)


async def _refuse(_: Any) -> Any:
    raise NameTaken("not now: there is no view")


async def _fail(_: Any) -> Any:
    raise Failed("tried, in vain")


@contextmanager
def _daemon() -> Iterator[Path]:
    """Serves a few commands as a daemon does, and yields its address."""
    registry = Registry(kind.contract for kind in (declared.Status, Echo, declared.Refuse, declared.Fail))
    registry.bind(
        declared.Status.answered_by(_status),
        Echo.followed_by(_echo),
        declared.Refuse.answered_by(_refuse),
        declared.Fail.answered_by(_fail),
    )
    with tempfile.TemporaryDirectory(prefix="shoal-") as at:
        path = Path(at) / "admin.sock"
        with Hosted(registry, path):
            yield path


class Between:
    """Sits between one client and a daemon, and records what passes; or, given an answer, replaces the daemon."""

    def __init__(self, at: Path, daemon: Path | None, answer: bytes = b"", asked: int = 0) -> None:
        self.requests, self.answers = bytearray(), bytearray(answer)
        self._asked = asked
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(at))
        self._listening.listen()
        self._listening.settimeout(SECONDS)
        self._thread = threading.Thread(target=self._stand_in if daemon is None else self._relay, args=(daemon,))
        self._thread.start()

    def __enter__(self) -> Between:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def _relay(self, daemon: Path) -> None:
        with self._accepted() as client, socket.socket(socket.AF_UNIX) as server:
            server.settimeout(SECONDS)
            server.connect(str(daemon))
            back = threading.Thread(target=_pass_on, args=(server, client, self.answers))
            back.start()
            _pass_on(client, server, self.requests)
            server.shutdown(socket.SHUT_WR)
            back.join(SECONDS)

    def _stand_in(self, _: None) -> None:
        with self._accepted() as client:
            while len(self.requests) < self._asked and (data := client.recv(self._asked - len(self.requests))):
                self.requests += data
            client.sendall(self.answers)
            client.recv(1)  # until the client hangs up

    def _accepted(self) -> socket.socket:
        with self._listening:
            client, _ = self._listening.accept()
        client.settimeout(SECONDS)
        return client


def _pass_on(source: socket.socket, target: socket.socket, note: bytearray) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while data := source.recv(1 << 16):
            note += data
            target.sendall(data)


def make() -> Entries:
    """Lets a real client send requests to a real server, and records what passes."""
    entries: dict[str, Entry] = {}
    with _daemon() as daemon:
        for name, exchange in EXCHANGES.items():
            at = daemon.with_name(f"{name}.sock")
            with Between(at, daemon) as between, AdminConnection(at, SECONDS) as client:
                same(name, exchange.ask(client), exchange.has)
            entries[f"{name}: asked"] = _text(between.requests)
            entries[f"{name}: answered"] = _text(between.answers)
        for name, words in PLAIN.items():
            entries[f"{name}: asked"] = _text(words)
            entries[f"{name}: answered"] = _text(_raw(daemon, words))
    return {**entries, **_tunnelled()}


def check(entries: Entries) -> None:
    """Asserts that a daemon answers the pinned requests, and a client understands the pinned answers."""
    only(entries, make())
    with _daemon() as daemon:
        for name in (*EXCHANGES, *PLAIN):
            answer = _raw(daemon, _bytes(entries[f"{name}: asked"]))
            same(name, answer, _bytes(entries[f"{name}: answered"]))
        for name, exchange in EXCHANGES.items():
            at = daemon.with_name(f"{name}.sock")
            asked, answered = (_bytes(entries[f"{name}: {word}"]) for word in ("asked", "answered"))
            with Between(at, None, answered, len(asked)), AdminConnection(at, SECONDS) as client:
                same(name, exchange.ask(client), exchange.has)
    for name, message in TUNNEL.items():
        parts = from_hex(entries[f"tunnel: {name}"]["hex"])
        found = tunnel.parsed(parts)
        same(name, (found.kind, found.number, bytes(found.body)), message)


def _raw(daemon: Path, request: bytes) -> bytes:
    """Returns all that a daemon answers to these bytes."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(str(daemon))
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        said = bytearray()
        while data := client.recv(1 << 16):
            said += data
        return bytes(said)


def _text(data: bytes | bytearray) -> Entry:
    """Shows lines as they are, and everything else as escapes, one character per byte."""
    return {"bytes": bytes(data).decode("latin-1")}


def _bytes(entry: Entry) -> bytes:
    text: str = entry["bytes"]
    return text.encode("latin-1")


# -- the tunnel --------------------------------------------------------------------------------------------------------

TUNNEL: Final = {
    "open": (tunnel.OPEN, tunnel.VERSION, b""),
    "data": (tunnel.DATA, 1, b"line\n"),
    "credit": (tunnel.CREDIT, 4 * (tunnel.CHUNK + tunnel.MESSAGE_COST), b""),
    "end": (tunnel.END, 0, b""),
}


def _tunnelled() -> dict[str, Entry]:
    """Creates a message of each kind, as the two ends do."""
    sending, receiving = tunnel.Sending(), tunnel.Receiving()
    sending.sent(1)
    credits = [receiving.used_up(tunnel.CHUNK) for _ in range(4)]
    made = {
        "open": [tunnel.header(tunnel.OPEN, tunnel.VERSION)],
        "data": [sending.sent(5), b"line\n"],
        "credit": [credit for credit in credits if credit is not None],
        "end": [tunnel.header(tunnel.END)],
    }
    return {f"tunnel: {name}": {"hex": to_hex(parts)} for name, parts in made.items()}


SECTION = Section("admin", f"tunnel {tunnel.VERSION}", make, check)
