"""Operators from afar, over real connections: the same protocol, keys that may not, and clients that break rules."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.admin.endpoint import OperatorDoor, _Line
from daemon.admin.registry import Registry
from daemon.config.keys import AllowedKeys, KeyPair, generate
from daemon.transport.security import Curve
from shoal.api.command import Exchange, Framed
from shoal.api.errors import Refused, ShoalError, Unreachable, Usage
from shoal.client import tunnel
from shoal.client.admin_protocol import AdminConnection
from shoal.client.tunnel import Message, header
from tests.daemon.admin import declared
from tests.daemon.admin.hosted import Hosted, eventually

SECONDS = 10.0
LARGE = np.arange(1_500_000, dtype=np.float64)


class Handlers:
    """What a daemon answers that has an operator far away."""

    def __init__(self) -> None:
        self.started, self.cancelled = threading.Event(), threading.Event()

    async def status(self, _: Any) -> Any:
        return {"shard": "alpha"}

    async def echo(self, asked: declared.Load, exchange: Exchange) -> Any:
        await exchange.emit({"stage": "store", "done": 1, "total": 1})
        return Framed({"name": asked.name}, exchange.frames)

    async def large(self, _: Any) -> Any:
        return Framed({}, (LARGE,))

    async def wait(self, _: Any) -> Any:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return {}

    def registry(self) -> Registry:
        kinds = (declared.Status, declared.Load, declared.Large, declared.Wait)
        commands = Registry([kind.contract for kind in kinds])
        commands.bind(
            declared.Status.answered_by(self.status),
            declared.Load.followed_by(self.echo),
            declared.Large.answered_by(self.large),
            declared.Wait.answered_by(self.wait),
        )
        return commands


class Endpoint:
    """A daemon's endpoint, its keys and what it has counted."""

    def __init__(self, folder: Path, handlers: Handlers, encrypted: bool = True, **limits: int) -> None:
        self.folder, self.handlers = folder, handlers
        self.counted: Counter[tuple[str, ...]] = Counter()
        self.alpha = generate(folder, "alpha")
        self.carol = generate(folder, "carol", operator=True)
        self.list = folder / "allowed_keys"
        self.list.write_text("".join((folder / f"{name}.public_key").read_text() for name in ("alpha", "carol")))
        self.keys = AllowedKeys(self.list)
        self.encrypted = encrypted
        self.hosted = Hosted(handlers.registry(), folder / "s", **limits)

    def __enter__(self) -> Endpoint:
        self.hosted.__enter__()
        self.door = self.hosted.in_loop(self._made())
        self.address = f"alpha@{self.door.endpoint}"
        return self

    def __exit__(self, *_: object) -> None:
        self.hosted.in_loop(self._ended())
        self.hosted.__exit__()

    async def _made(self) -> OperatorDoor:
        return OperatorDoor(
            "tcp://127.0.0.1:*",
            self.hosted.server,
            curve=Curve(self.alpha, self.keys.operator_of) if self.encrypted else None,
            name_of=lambda key: self.keys.operator_of(key) if self.encrypted else "somebody",
            count=lambda name, labels, amount: self.counted.update({(name, *labels): amount}),
            stall_seconds=0.2,
        )

    async def _ended(self) -> None:
        self.door.close()
        self.door.close()

    def connect(self, name: str = "carol", timeout: float = SECONDS) -> AdminConnection:
        return AdminConnection(self.address, timeout, key=self.folder / f"{name}.secret_key", known_keys=self.list)

    @property
    def streams(self) -> int:
        async def count() -> int:
            return len(self.door)

        found: int = self.hosted.in_loop(count())
        return found

    @contextlib.contextmanager
    def raw(self, pair: KeyPair | None = None) -> Iterator[zmq.Socket[bytes]]:
        """A client without manners, with an operator's key."""
        pair = pair or self.carol
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.linger, dealer.rcvtimeo = 0, int(SECONDS * 1000)
            dealer.curve_secretkey, dealer.curve_publickey = pair.secret, pair.public
            dealer.curve_serverkey = self.alpha.public
            dealer.connect(self.door.endpoint)
            yield dealer


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
def endpoint(tmp_path: Path, handlers: Handlers) -> Iterator[Endpoint]:
    with Endpoint(tmp_path, handlers) as made:
        yield made


def opened(dealer: zmq.Socket[bytes]) -> None:
    dealer.send(header(tunnel.OPEN, tunnel.VERSION))
    assert dealer.recv() == header(tunnel.OPEN, tunnel.VERSION)


def said(dealer: zmq.Socket[bytes], data: bytes, sequence: int = 0) -> None:
    dealer.send_multipart([header(tunnel.DATA, sequence), data])


def test_all_that_goes_over_the_socket_goes_from_afar(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "shoal.admin")
    with endpoint.connect() as far, AdminConnection(endpoint.hosted.path) as near:
        for _ in range(2):
            told = [
                connection.stream("graph load", {"name": "g\n"}, [LARGE, b"", b"tail"]) for connection in (near, far)
            ]
            assert [list(stream) for stream in told] == [[{"stage": "store", "done": 1, "total": 1}]] * 2
            assert told[0].result == told[1].result == {"name": "g\n"}
            for stream in told:
                assert np.array_equal(np.frombuffer(stream.frames[0]), LARGE)
                assert [len(frame) for frame in stream.frames] == [LARGE.nbytes, 0, 4]
        with pytest.raises(Usage, match="did you mean 'status'"):
            far.call("statsu")
        assert far.call("status") == near.call("status")
    by = [record.getMessage() for record in caplog.records]
    assert sum(r"graph load 'g\n' by carol" in line for line in by) == 2
    assert sum(r"graph load 'g\n' by user " in line for line in by) == 2
    eventually(lambda: endpoint.streams == 0)
    assert not endpoint.counted


def test_who_may_not_is_told_why(endpoint: Endpoint, tmp_path: Path) -> None:
    generate(tmp_path, "dave", operator=True)
    for name in ("alpha", "dave"):
        with pytest.raises(Unreachable, match=rf"does not accept '{name}' as an operator.*`{name} \S+ operator`"):
            endpoint.connect(name)
    eventually(lambda: endpoint.counted["handshakes_failed", "key"] == 2)
    other = generate(tmp_path, "beta")
    with pytest.raises(Unreachable, match="it does not prove to be 'alpha'"):
        AdminConnection(endpoint.address, SECONDS, key=tmp_path / "carol.secret_key", server_key=other.public.decode())
    with pytest.raises(Unreachable, match="it needs an operator's key"):
        AdminConnection(endpoint.address, SECONDS)
    assert endpoint.streams == 0


def test_a_key_that_is_taken_away_ends_what_it_had(endpoint: Endpoint, handlers: Handlers) -> None:
    with endpoint.connect() as connection:
        connection.call("status")
        line = endpoint.list.read_text()
        endpoint.list.write_text(line.replace(" operator", ""))
        endpoint.keys.reload()

        async def check() -> None:
            endpoint.door.check()

        endpoint.hosted.in_loop(check())
        with pytest.raises(Unreachable, match="closed the connection"):
            connection.call("status")
        with pytest.raises(Unreachable, match="as an operator"):
            endpoint.connect()
        with endpoint.raw() as dealer:
            dealer.send(header(tunnel.OPEN, tunnel.VERSION))
            dealer.rcvtimeo = 100
            with pytest.raises(zmq.Again):
                dealer.recv()
        endpoint.list.write_text(line)
        endpoint.keys.reload()
        with endpoint.connect() as again:
            assert again.call("status")[0] == {"shard": "alpha"}


def test_a_client_that_hangs_up_cancels_what_it_asked_for(endpoint: Endpoint, handlers: Handlers) -> None:
    with endpoint.raw() as dealer:
        opened(dealer)
        said(dealer, b'{"command": "run wait"}\n')
        assert handlers.started.wait(SECONDS)
        assert endpoint.streams == 1
    assert handlers.cancelled.wait(SECONDS)
    eventually(lambda: endpoint.streams == 0 and endpoint.hosted.seen["run wait", "gone"] == 1)


def test_descriptors_are_used_again_and_streams_are_not(endpoint: Endpoint) -> None:
    for _ in range(20):
        with endpoint.connect() as first, endpoint.connect() as second:
            assert second.call("status") == first.call("status")
    eventually(lambda: endpoint.streams == 0)


def test_who_does_not_read_is_sent_a_window_and_no_more(endpoint: Endpoint) -> None:
    with endpoint.raw() as dealer:
        opened(dealer)
        said(dealer, b'{"command": "large"}\n')
        got = 0
        while True:
            head, body = dealer.recv_multipart()
            assert head[0] == tunnel.DATA
            got += tunnel.cost(len(body))
            if got > tunnel.WINDOW - tunnel.cost(1):
                break
        assert got <= tunnel.WINDOW
        with endpoint.connect() as other:
            assert other.call("status")[0] == {"shard": "alpha"}, "nobody else waits for it"
        assert dealer.recv() == header(tunnel.END), "and it is not waited for for ever"
        eventually(lambda: endpoint.streams == 0)


def test_who_sends_more_than_a_window_is_left(endpoint: Endpoint, handlers: Handlers) -> None:
    """While its request is worked on nobody reads on, so what it may send is what both buffers hold."""
    with endpoint.raw() as dealer:
        opened(dealer)
        said(dealer, b'{"command": "run wait"}\n')
        assert handlers.started.wait(SECONDS)
        for sequence in range(1, 40):
            said(dealer, b"status\n" * 9000, sequence)
        while dealer.recv_multipart() != [header(tunnel.END)]:
            pass
    assert endpoint.counted["dropped", "malformed"] == 1
    assert handlers.cancelled.wait(SECONDS)


def test_a_house_full_of_busy_clients_says_so_from_afar(tmp_path: Path, handlers: Handlers) -> None:
    with Endpoint(tmp_path, handlers, connections_max=1) as endpoint, endpoint.raw() as busy:
        opened(busy)
        said(busy, b'{"command": "run wait"}\n')
        assert handlers.started.wait(SECONDS)
        with endpoint.connect() as late, pytest.raises(Refused, match="1 clients are being served"):
            late.call("status")


def test_the_reason_arrives_though_the_client_was_still_sending(tmp_path: Path, handlers: Handlers) -> None:
    with Endpoint(tmp_path, handlers, frames_bytes_max=1000) as endpoint, endpoint.connect() as connection:
        with pytest.raises(Refused, match="too much"):
            connection.call("graph load", {"name": "g"}, [LARGE])
        with pytest.raises(Unreachable):
            connection.call("status")


def test_a_daemon_that_says_nothing_is_waited_for_so_long(endpoint: Endpoint) -> None:
    with endpoint.connect(timeout=1.0) as connection:
        connection.call("status")
        with pytest.raises(Unreachable, match="did not answer within 1 seconds"):
            connection.call("run wait")
    with zmq.Context() as context, context.socket(zmq.ROUTER) as silent:
        port = silent.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(Unreachable, match=r"no answer within 0\.2 seconds"):
            AdminConnection(f"tcp://127.0.0.1:{port}", 0.2)
        silent.unbind(f"tcp://127.0.0.1:{port}")
    with pytest.raises(Unreachable, match="no daemon listens there"):
        AdminConnection(f"tcp://127.0.0.1:{port}", 5.0)


def test_without_encryption_on_one_machine(tmp_path: Path, handlers: Handlers) -> None:
    with Endpoint(tmp_path, handlers, encrypted=False) as endpoint:
        with AdminConnection(endpoint.door.endpoint, SECONDS) as connection:
            assert connection.call("status")[0] == {"shard": "alpha"}
        with pytest.raises(Unreachable, match="it does not prove to be 'alpha'"):
            endpoint.connect()


def test_another_version_is_refused_in_words(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint.raw() as dealer:
        dealer.send(header(tunnel.OPEN, 9))
        assert dealer.recv() == header(tunnel.OPEN, tunnel.VERSION)
        assert endpoint.streams == 0
    monkeypatch.setattr("shoal.client.remote.tunnel.VERSION", 1)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as newer:
        port = newer.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            newer.send_multipart([newer.recv_multipart()[0], header(tunnel.OPEN, 9)])

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unreachable, match="of another version"):
            AdminConnection(f"tcp://127.0.0.1:{port}", SECONDS)
        thread.join()


BAD = [
    [b"\x07garbage"], [b""], [header(9)], [header(tunnel.OPEN, tunnel.VERSION)], [header(tunnel.END)],
    [header(tunnel.DATA, 7), b"x"], [header(tunnel.DATA, 0), b""], [header(tunnel.DATA), b"x", b"y"],
    [header(tunnel.CREDIT, 1)], [header(tunnel.CREDIT, 2**32 - 1)], [b"x"] * 50,
]  # fmt: skip


@pytest.mark.parametrize("parts", BAD)
def test_what_breaks_the_rules_is_counted_and_ends_its_stream(endpoint: Endpoint, parts: list[bytes]) -> None:
    with endpoint.connect() as other, endpoint.raw() as dealer:
        opened(dealer)
        dealer.send_multipart(parts)
        assert dealer.recv() == header(tunnel.END)
        assert endpoint.counted["dropped", "malformed"] == 1
        said(dealer, b"status\n")
        eventually(lambda: endpoint.counted["dropped", "late"] == 1)
        assert other.call("status")[0] == {"shard": "alpha"}
        assert endpoint.streams == 1


def test_a_part_that_is_too_large_is_not_taken_in(endpoint: Endpoint) -> None:
    with endpoint.raw() as dealer:
        opened(dealer)
        said(dealer, bytes(1 << 20))
        eventually(lambda: endpoint.streams == 0)


PARTS = st.one_of(
    st.binary(max_size=20),
    st.builds(header, st.integers(0, 255), st.integers(0, 3) | st.integers(0, 2**32 - 1)),
    st.sampled_from([b"status\n", b'{"command": "status"}\n', b'{"frames": [9]}\n', b"\n" * 100]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(PARTS, min_size=1, max_size=4), max_size=12))
def test_garbage_from_an_operator_harms_nobody(endpoint: Endpoint, messages: list[list[bytes]]) -> None:
    with endpoint.raw() as dealer:
        for parts in messages:
            dealer.send_multipart(parts)
        with endpoint.connect() as other:
            assert other.call("status")[0] == {"shard": "alpha"}
    eventually(lambda: endpoint.streams == 0)


@pytest.mark.parametrize("answer", [b"\x00", header(tunnel.CREDIT, 2**30), header(tunnel.OPEN, tunnel.VERSION)])
def test_a_daemon_that_breaks_the_rules_is_left(answer: bytes) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as impostor:
        port = impostor.bind_to_random_port("tcp://127.0.0.1")

        def serve() -> None:
            peer = impostor.recv_multipart()[0]
            impostor.send_multipart([peer, header(tunnel.OPEN, tunnel.VERSION)])
            impostor.send_multipart([peer, answer])

        thread = threading.Thread(target=serve)
        thread.start()
        with (
            pytest.raises(ShoalError, match="violates the protocol"),
            AdminConnection(f"tcp://127.0.0.1:{port}", SECONDS) as connection,
        ):
            connection.call("status")
        thread.join()


def test_a_daemon_that_dies_is_no_silence() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as daemon:
        daemon.linger = 0
        port = daemon.bind_to_random_port("tcp://127.0.0.1")

        def serve() -> None:
            peer = daemon.recv_multipart()[0]
            daemon.send_multipart([peer, header(tunnel.OPEN, tunnel.VERSION)])
            daemon.recv_multipart()
            daemon.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with (
            AdminConnection(f"tcp://127.0.0.1:{port}", None) as connection,
            pytest.raises(Unreachable, match=r"broke the connection \(the daemon or the network has failed\)"),
        ):
            connection.call("status")
        thread.join()


def test_addresses_and_keys_that_lack_something(tmp_path: Path) -> None:
    generate(tmp_path, "carol", operator=True)
    key = tmp_path / "carol.secret_key"

    def refused(address: str, **given: Any) -> str:
        with pytest.raises(ShoalError) as caught:
            AdminConnection(address, 1.0, **given)
        return str(caught.value)

    assert "should be NAME@tcp://HOST:PORT" in refused("tcp://x")
    assert "should be NAME@tcp://HOST:PORT" in refused("http://127.0.0.1:80")
    assert "never sent in plain text" in refused("tcp://10.0.0.1:7103")
    assert "never sent in plain text" in refused("alpha@tcp://[2001:db8::1]:7103")
    assert "your own key is missing" in refused("alpha@tcp://127.0.0.1:7103", known_keys=tmp_path / "carol.public_key")
    assert "the server's key is unknown" in refused(
        "tcp://10.0.0.1:7103", key=key, known_keys=tmp_path / "carol.public_key"
    )
    assert "the server's key is unknown" in refused("alpha@tcp://10.0.0.1:7103", key=key)
    assert "40 characters of Z85" in refused("tcp://10.0.0.1:7103", key=key, server_key="x")
    assert "no key of a member called 'alpha'; it has: none" in refused(
        "alpha@tcp://10.0.0.1:7103", key=key, known_keys=tmp_path / "carol.public_key"
    )
    assert "No such file" in refused("alpha@tcp://10.0.0.1:7103", key=tmp_path / "nothing", server_key="x")


def test_a_late_greeting_ends_nobody_who_has_its_descriptor_by_now(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client connects and goes; the next one gets its descriptor, and is heard before it."""

    monkeypatch.setattr(endpoint.door, "send", lambda *_: True)  # libzmq knows neither

    async def heard() -> list[bytes]:
        older, newer = b"\0\xff\xff\xff\xff", b"\0\0\0\0\0"  # the numbers start anywhere
        endpoint.door._lines[999] = _Line()
        for peer in (newer, older):
            endpoint.door._take(peer, 999, endpoint.carol.public, Message(tunnel.OPEN, tunnel.VERSION, memoryview(b"")))
        serving = list(endpoint.door._streams)
        endpoint.door._noted(999, False)
        endpoint.door._take_notes()
        return serving

    assert endpoint.hosted.in_loop(heard()) == [b"\0\0\0\0\0"]
