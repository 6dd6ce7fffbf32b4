"""The admin socket over real sockets: both dresses, limits, and clients that misbehave or vanish."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.admin.server import AdminServer, SocketTaken
from shoal.api.errors import Failed, Refused, Unreachable, Usage
from shoal.client.admin_protocol import AdminConnection
from tests.daemon.admin.hosted import Handlers, Hosted, eventually


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


class Raw:
    """A client without manners."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> bytes:
        return self.file.readline()

    def answer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.line())
        return found

    def page(self) -> str:
        lines = []
        while (line := self.line()) not in (b"\n", b""):
            lines.append(line.decode())
        return "".join(lines)


def test_a_call_and_its_result(host: Hosted, path: Path) -> None:
    with AdminConnection(path) as connection:
        result, frames = connection.call("status")
    assert result == {"shard": "a", "value": 1.5, "distance": "inf"}
    assert frames == ()


def test_one_connection_carries_many_requests_and_frames_both_ways(host: Hosted, path: Path) -> None:
    large = np.arange(3_000_000, dtype=np.float64)
    with AdminConnection(path) as connection:
        for _ in range(3):
            result, frames = connection.call("graph load", {"name": "g"}, [large, b"", b"tail"])
            assert result == {"name": "g", "bytes": [large.nbytes, 0, 4]}
            assert np.array_equal(np.frombuffer(frames[0]), large)
            assert bytes(frames[2]) == b"tail"
            assert connection.call("status")[0]["shard"] == "a"


def test_events_come_before_the_answer(host: Hosted, path: Path) -> None:
    with AdminConnection(path) as connection:
        stream = connection.stream("graph load", {"name": "g"}, [b"x"])
        assert [event["done"] for event in stream] == [0, 1, 2]
        assert stream.result["bytes"] == [1]
        assert list(stream) == []
        assert connection.stream("graph load", {"name": "h"}).result["name"] == "h"


def test_kinds_of_errors_become_classes(host: Hosted, path: Path) -> None:
    with AdminConnection(path) as connection:
        with pytest.raises(Refused, match="not now: there is no view"):
            connection.call("refuse")
        with pytest.raises(Failed, match="tried"):
            connection.call("fail")
        with pytest.raises(Failed, match="broken: ConnectionResetError: some other"):
            connection.call("broken")
        with pytest.raises(Refused, match="does not answer 'nobody'"):
            connection.call("nobody")
        with pytest.raises(Usage, match="did you mean 'status'"):
            connection.call("statsu")
        with pytest.raises(Usage, match="graph load needs name"):
            connection.call("graph load")
        assert connection.call("status")[0]["shard"] == "a"
    eventually(lambda: host.seen["status", "ok"] == 1)
    assert host.seen["fail", "failed"] == 1


def test_frames_of_a_request_that_makes_no_sense_are_not_taken_for_lines(host: Hosted, path: Path) -> None:
    with AdminConnection(path) as connection:
        with pytest.raises(Usage, match="takes no frames"):
            connection.call("status", {}, [b"status\nstatus\n" * 100_000])
        with pytest.raises(Usage, match="there is no command"):
            connection.call("zzz", {}, [b"status\n"])
        assert connection.call("status")[0]["shard"] == "a"


def test_a_line_of_plain_words_is_one_that_somebody_types(host: Hosted, path: Path) -> None:
    with Raw(path) as client:
        client.say(b"status " + b"a" * 900_000 + b"\n")
        assert b"at most 4096 bytes: send JSON" in client.socket.recv(4096)
        client.say(b'{"command": "status"}\n')


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{nonsense\n", "is not JSON"),
        (b'{"command": 3}\n', 'needs "command"'),
        (b'{"command": "status", "args": [1]}\n', '"args" should be an object'),
        (b'{"command": "status", "args": {"colour": 1}}\n', "status has no argument 'colour'"),
        (b'{"command": "status"' + b"[" * 5_000 + b"\n", "is not JSON"),
        (b'{"command": "status", "args": ' + b"[" * 5_000 + b"]" * 5_000 + b"}\n", "nested too deep"),
        (b'{"command": "status"' + b"[" * 50_000 + b"\n", "at most 8192 values"),
        (b'{"command": "status", "args": {"a": ' + b"9" * 5000 + b"}}\n", "at most 64 bits"),
        (b'{"command": "' + b"a" * 1_000_000 + b'"}\n', "there is no command"),
        (b'{"command": "status", "args": {"' + b"a" * 1_000_000 + b'": 1}}\n', "status has no argument"),
    ],
)
def test_after_a_malformed_line_the_connection_goes_on(host: Hosted, path: Path, line: bytes, said: str) -> None:
    with Raw(path) as client:
        client.say(line)
        answer = client.answer()
        assert answer["ok"] is False
        assert answer["error"]["kind"] == "usage"
        assert said in answer["error"]["message"]
        client.say(b'{"command": "status"}\n')
        assert client.answer()["ok"] is True


def test_plain_words(host: Hosted, path: Path) -> None:
    with Raw(path) as client:
        client.say(b"status\n\n  refuse \r\ngraph lod\nstatus 'unclosed\n\xff\n")
        assert client.page().startswith("shard")
        assert client.page() == "refused: not now: there is no view\n"
        assert client.page() == "usage: graph what? did you mean 'graph load'?\n"
        assert client.page() == "usage: cannot read that line: no closing quotation\n"
        assert client.page() == "usage: that line is not UTF-8\n"


def test_half_closed_clients_get_their_answer(host: Hosted, path: Path) -> None:
    """As with ``echo status | socat - UNIX:admin.sock``; the last line may lack its end."""
    with Raw(path) as client:
        client.say(b"status\nstatus")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.page()
        assert client.page()
        assert client.line() == b""


def test_bytes_may_come_one_at_a_time_and_requests_all_at_once(host: Hosted, path: Path) -> None:
    request = b'{"command": "graph load", "args": {"name": "g"}, "frames": [3]}\nabc'
    with Raw(path) as client:
        for index in range(len(request)):
            client.say(request[index : index + 1])
        assert client.answer()["result"]["bytes"] == [3]
        assert client.file.read(3) == b"abc"
        client.say(request * 3)
        for _ in range(3):
            assert client.answer()["ok"]
            assert client.file.read(3) == b"abc"


def test_a_client_that_hangs_up_cancels_what_it_asked_for(host: Hosted, path: Path, handlers: Handlers) -> None:
    connection = AdminConnection(path)
    assert next(connection.stream("run wait")) == {"tick": 1}
    connection.close()
    assert handlers.cancelled.wait(10)
    eventually(lambda: host.seen["run wait", "gone"] == 1)


def test_a_hangup_is_noticed_without_a_word_to_send(host: Hosted, path: Path, handlers: Handlers) -> None:
    with Raw(path) as client:
        client.say(b'{"command": "run wait"}\n')
        assert handlers.started.wait(10)
    assert handlers.cancelled.wait(10)


@pytest.mark.parametrize("more", [b"status\n", b"x" * 300_000])
def test_a_hangup_is_noticed_behind_lines_that_wait_their_turn(
    host: Hosted, path: Path, handlers: Handlers, more: bytes
) -> None:
    with Raw(path) as client:
        client.say(b'{"command": "run wait"}\n')
        assert handlers.started.wait(10)
        client.socket.setblocking(False)
        client.socket.send(more)
        with AdminConnection(path) as other:
            assert other.call("status")[0]["shard"] == "a"
        assert not handlers.cancelled.is_set()
    assert handlers.cancelled.wait(10)


def test_a_half_close_is_no_hangup_and_what_follows_it_is(host: Hosted, path: Path, handlers: Handlers) -> None:
    with Raw(path) as client:
        client.say(b'{"command": "run wait"}\n')
        client.socket.shutdown(socket.SHUT_WR)
        assert handlers.started.wait(10)
        with AdminConnection(path) as other:
            assert other.call("status")[0]["shard"] == "a"
        assert not handlers.cancelled.is_set()
    assert handlers.cancelled.wait(10)


def test_a_client_that_only_listens_blocks_nobody(host: Hosted, path: Path) -> None:
    with Raw(path) as idle, Raw(path) as half, AdminConnection(path) as other:
        half.say(b'{"command": "graph load", "args": {"name": "g"}, "frames": [1000000]}\nabc')
        assert other.call("status")[0]["shard"] == "a"
        idle.say(b"status\n")
        assert idle.page()


def test_a_line_without_end_is_cut_off(handlers: Handlers, path: Path) -> None:
    with Hosted(handlers.registry(), path, line_bytes_max=1000), Raw(path) as client:
        client.say(b"x" * 200_000)
        assert "a line has at most 1000 bytes" in client.answer()["error"]["message"]
        assert client.line() == b""  # a proper end, so that the answer can't be lost with the connection


@pytest.mark.parametrize(
    ("frames", "said"), [("[2000]", "too much"), ("[1,1,1,1]", "too much"), ("[-1]", "list of lengths"),
                         ("3", "list of lengths"), ("[true]", "list of lengths")],
)  # fmt: skip
def test_too_much_data_is_refused_before_it_comes(handlers: Handlers, path: Path, frames: str, said: str) -> None:
    with Hosted(handlers.registry(), path, frames_bytes_max=1000, frames_max=3), Raw(path) as client:
        client.say(f'{{"command": "graph load", "args": {{"name": "g"}}, "frames": {frames}}}\n'.encode())
        assert said in client.answer()["error"]["message"]
        assert client.line() == b""


def test_the_reason_arrives_though_the_client_was_still_sending(handlers: Handlers, path: Path) -> None:
    with Hosted(handlers.registry(), path, frames_bytes_max=1000), AdminConnection(path) as connection:
        with pytest.raises(Refused, match="too much"):
            connection.call("graph load", {"name": "g"}, [bytes(5_000_000)])
        with pytest.raises(Unreachable):
            connection.call("status")


def test_a_full_house_closes_who_has_been_idle_longest(handlers: Handlers, path: Path) -> None:
    with Hosted(handlers.registry(), path, connections_max=2), Raw(path) as first, Raw(path) as second:
        for client in (first, second):
            client.say(b"status\n")
            client.page()
        with Raw(path) as third:
            third.say(b"status\n")
            assert third.page()
            assert first.line() == b""
            second.say(b"status\n")
            assert second.page()


def test_a_house_full_of_busy_clients_says_so(handlers: Handlers, path: Path) -> None:
    with Hosted(handlers.registry(), path, connections_max=1), Raw(path) as busy:
        busy.say(b'{"command": "run wait"}\n')
        assert handlers.started.wait(10)
        with AdminConnection(path) as late, pytest.raises(Refused, match="1 clients are being served"):
            late.call("status")


def test_a_client_that_stalls_in_the_middle_is_closed(handlers: Handlers, path: Path) -> None:
    with Hosted(handlers.registry(), path, stall_ns=50_000_000), Raw(path) as client:
        client.say(b'{"command": "graph load", "args": {"name": "g"}, "frames": [10]}\nabc')
        assert client.line() == b""


def test_the_mode_and_the_end_of_the_socket(handlers: Handlers, path: Path) -> None:
    with Hosted(handlers.registry(), path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


def test_a_dead_daemons_socket_is_taken_over(handlers: Handlers, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with Hosted(handlers.registry(), path), AdminConnection(path) as connection:
        assert connection.call("status")[0]["shard"] == "a"


def test_a_live_daemons_socket_is_not(host: Hosted, path: Path, handlers: Handlers) -> None:
    second = AdminServer(handlers.registry(), path)
    with pytest.raises(SocketTaken, match="another daemon listens on it"):
        host.in_loop(second.start())
    with AdminConnection(path) as connection:
        assert connection.call("status")[0]["shard"] == "a"


def test_paths_that_no_socket_can_have(tmp_path: Path, handlers: Handlers) -> None:
    async def start(path: Path) -> None:
        await AdminServer(handlers.registry(), path).start()

    (tmp_path / "file").write_text("")
    with pytest.raises(SocketTaken, match="is not a socket"):
        asyncio.run(start(tmp_path / "file"))
    with pytest.raises(SocketTaken, match="at most 107 bytes"):
        asyncio.run(start(tmp_path / ("x" * 108)))
    with pytest.raises(SocketTaken, match="No such file or directory"):
        asyncio.run(start(tmp_path / "no" / "folder"))


@pytest.mark.parametrize("id_", ["1", '"a\\udfffb"', f'"{"x" * 64}"', "0", str(-(2**63) + 1), '""'])
def test_whatever_is_said_to_a_request_has_its_id(host: Hosted, path: Path, id_: str) -> None:
    with Raw(path) as client:
        for request in (
            '"graph load", "args": {"name": "g"}, "stream": true',
            '"refuse"',
            '"no such"',
            '"broken"',
            "3",
        ):
            client.say(f'{{"id": {id_}, "command": {request}}}\n'.encode())
            while "event" in (answer := client.answer()):
                assert answer["id"] == json.loads(id_)
            assert answer["id"] == json.loads(id_)
        client.say(b'{"command": "status", "id": null}\n')
        assert "id" not in client.answer()


@pytest.mark.parametrize("id_", ["1.5", "true", "[1]", "{}", str(2**63), f'"{"x" * 65}"', "NaN", "1e999"])
def test_an_id_that_could_not_be_given_back_is_refused(host: Hosted, path: Path, id_: str) -> None:
    with Raw(path) as client:
        client.say(f'{{"id": {id_}, "command": "graph load", "args": {{"name": "g"}}, "frames": [3]}}\nabc'.encode())
        answer = client.answer()
        assert answer["error"]["kind"] == "usage"
        assert "id should be a whole number" in answer["error"]["message"]
        assert "id" not in answer
        client.say(b'{"id": 7, "command": "status"}\n')  # what was announced was read
        assert client.answer()["id"] == 7


def test_requests_that_come_together_are_answered_in_their_order(host: Hosted, path: Path) -> None:
    with Raw(path) as client:
        asked = [7, "b", 7, "status", 3]
        client.say(b"".join(json.dumps({"id": id_, "command": "status"}).encode() + b"\n" for id_ in asked))
        assert [client.answer()["id"] for _ in asked] == asked


def test_what_cannot_be_read_on_has_its_id_as_well(handlers: Handlers, path: Path) -> None:
    for frames in ("[2000]", "[-1]"):
        with Hosted(handlers.registry(), path, frames_bytes_max=1000), Raw(path) as client:
            client.say(f'{{"id": 9, "command": "graph load", "frames": {frames}}}\n'.encode())
            assert client.answer()["id"] == 9
