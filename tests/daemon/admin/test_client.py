"""The client of the admin socket: nobody there, impostors, and a connection of its own in every state."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.api.errors import Refused, ShoalError, Unreachable
from shoal.client.admin_protocol import AdminConnection
from tests.daemon.admin.hosted import Handlers, Hosted


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "admin.sock"


@pytest.fixture
def host(handlers: Handlers, path: Path) -> Iterator[Hosted]:
    with Hosted(handlers.registry(), path) as hosted:
        yield hosted


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="is the daemon running"):
        AdminConnection(tmp_path / "none.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    with pytest.raises(Unreachable, match="start it again"):
        AdminConnection(tmp_path / "dead.sock")


def _impostor(path: Path, answer: bytes) -> threading.Thread:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        client, _ = listener.accept()
        client.recv(1000)
        client.sendall(answer)
        client.close()
        listener.close()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("answer", "said"),
    [(b"", "closed the connection"), (b"hello\n", "does not understand"), (b"[]\n", "does not understand"),
     (b"[" * 100_000 + b"\n", "does not understand"), (b'{"ok": true, "id": 1}\n', "does not understand"),
     (b'{"ok": true, "result": [], "id": 1}\n', "does not understand"),
     (b'{"ok": true, "result": {}, "frames": 1, "id": 1}\n', "does not understand"),
     (b'{"ok": false, "error": "no", "id": 1}\n', "does not understand"),
     (b'{"event": 3, "id": 1}\n', "does not understand"),
     (b'{"ok": true, "result": {}}\n', "answered another request"),
     (b'{"ok": true, "result": {}, "id": 2}\n', "answered another request"),
     (b'{"ok": true, "result": {}, "id": "1"}\n', "answered another request"),
     (b'{"ok": false, "error": {}, "id": 2}\n', "answered another request"),
     (b'{"event": {}, "id": 2}\n', "answered another request"),
     (b'{"ok": true, "result": {}, "frames": [-1], "id": 1}\n', "invalid frames"),
     (b'{"event": {}, "id": 1}\n', "sent an event"),
     (b'{"ok": true, "result": {}, "frames": [10], "id": 1}\nabc', "closed the connection")],
)  # fmt: skip
def test_the_client_believes_nothing(path: Path, answer: bytes, said: str) -> None:
    thread = _impostor(path, answer)
    with AdminConnection(path, timeout=10) as connection, pytest.raises(Unreachable, match=said):
        connection.call("status")
    with pytest.raises(Unreachable, match="is closed: open another"):
        connection.call("status")
    thread.join()


def test_a_no_without_an_id_is_believed_and_ends_the_connection(path: Path) -> None:
    thread = _impostor(path, b'{"ok": false, "error": {"kind": "refused", "message": "no room"}}\n')
    with AdminConnection(path, timeout=10) as connection:
        with pytest.raises(Refused, match="no room"):
            connection.call("status")
        assert not connection.is_free
    thread.join()


def test_a_connection_is_in_the_middle_of_one_exchange_at_most(host: Hosted, path: Path) -> None:
    with AdminConnection(path) as connection:
        events = connection.stream("graph load", {"name": "g"})
        next(events)
        for _ in range(2):
            with pytest.raises(ShoalError, match="is in the middle of 'graph load'"):
                connection.call("status")
        assert events.result["name"] == "g"
        assert connection.call("status")[0]["shard"] == "a"
        with pytest.raises(TypeError):
            connection.call("status", {"no": object()})  # nothing was sent yet
        assert connection.call("status")[0]["shard"] == "a"


def test_a_silent_daemon_is_given_up_on(host: Hosted, path: Path) -> None:
    with AdminConnection(path, timeout=0.05) as connection, pytest.raises(Unreachable, match=r"within 0\.05 seconds"):
        connection.call("run wait")
