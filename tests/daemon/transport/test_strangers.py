"""Strangers before the handshake, and keys that are taken away; over real sockets on loopback."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import zmq

from daemon.config.keys import KeyPair
from daemon.config.quantities import parse_address
from daemon.transport import Curve, TickTransport, TransportLimits

MIB = 1 << 20
MILLISECOND = 1_000_000
PATIENCE_SECONDS = 20.0
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)


def key_pair(name: str) -> KeyPair:
    return KeyPair(name, *zmq.curve_keypair())


ALPHA, BETA, GAMMA = key_pair("alpha"), key_pair("beta"), key_pair("gamma")


class End:
    """A transport with keys, and what it has counted and heard."""

    def __init__(self, keys: KeyPair, limits: TransportLimits | None = None) -> None:
        self.allowed = {pair.public: pair.name for pair in (ALPHA, BETA, GAMMA)}
        self.counted: Counter[str] = Counter()
        self.heard: Counter[bytes] = Counter()
        self._lock = threading.Lock()
        self.transport = TickTransport(
            "tcp://127.0.0.1:*", curve=Curve(keys, lambda key: self.allowed.get(key)), count=self._count, limits=limits
        )
        where = parse_address(self.transport.endpoint)
        self.where = where.host, where.port

    def _count(self, name: str, labels: tuple[str, ...], amount: int) -> None:
        with self._lock:
            self.counted[":".join((name, *labels))] += amount

    @property
    def backlog(self) -> int:
        return self.transport._listener.backlog.held

    def hear(self, until: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> bool:
        deadline = time.monotonic() + seconds
        while not until() and time.monotonic() < deadline:
            for message in self.transport.poll(5 * MILLISECOND):
                self.heard[bytes(memoryview(message[0]))] += 1  # type: ignore[arg-type]
        return bool(until())


Ends = Callable[..., End]


@pytest.fixture
def ends() -> Iterator[Ends]:
    with contextlib.ExitStack() as stack:

        def make(keys: KeyPair, **limits: int) -> End:
            made = End(keys, TransportLimits(**limits))
            stack.callback(made.transport.close)
            return made

        yield make


@contextlib.contextmanager
def meanwhile(do: Callable[[threading.Event], None]) -> Iterator[None]:
    """Something on a thread of its own, until told that it is over."""
    over = threading.Event()
    thread = threading.Thread(target=do, args=(over,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def knock(where: tuple[str, int], data: bytes = b"") -> socket.socket:
    connection = socket.create_connection(where, timeout=2)
    connection.sendall(data)
    return connection


def told_once(caplog: pytest.LogCaptureFixture, *words: str) -> bool:
    lines = [record.getMessage() for record in caplog.records if "turned away" in record.getMessage()]
    return len(lines) == 1 and all(word in lines[0] for word in words)


def test_what_strangers_send_is_never_charged_to_members(ends: Ends, caplog: pytest.LogCaptureFixture) -> None:
    """42 connections and 6 MiB of a frame on each once used up the members' budget; nobody was let in, nothing said."""
    receiver, sender = ends(BETA, queue_bytes_max=48 * MIB), ends(ALPHA)
    sender.transport.connect("beta", receiver.transport.endpoint, BETA.public)
    most = 0

    def flood(over: threading.Event) -> None:
        frame = GREETING + b"\x06" + struct.pack(">Q", 100 * MIB) + bytes(6 * MIB)
        while not over.is_set():
            for _ in range(42):
                with contextlib.suppress(OSError), knock(receiver.where) as stranger:
                    stranger.sendall(frame)

    with meanwhile(flood):
        for number in range(200):
            name = b"%d" % number
            assert sender.transport.send("beta", [name])
            assert receiver.hear(lambda name=name: receiver.heard[name]), receiver.counted  # type: ignore[misc]
            most = max(most, receiver.backlog)
            if number % 50 == 49:  # and a newcomer
                newcomer = ends(GAMMA)
                newcomer.transport.connect("beta", receiver.transport.endpoint, BETA.public)
                newcomer.transport.send("beta", [b"new%d" % number])
                assert receiver.hear(lambda n=number: receiver.heard[b"new%d" % n]), receiver.counted  # type: ignore[misc]
        assert receiver.hear(lambda: receiver.counted["handshakes_failed:oversize"] >= 10), receiver.counted
    assert most < MIB
    assert not receiver.counted["handshakes_failed:full"]
    assert not receiver.counted["dropped:flood"]
    assert not receiver.counted["connection_lost"]
    assert receiver.hear(lambda: told_once(caplog, "ticks: ", "sent more than a handshake (127.0.0.1)"))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([b""], "slow"),
        ([b"\xff"], "slow"),
        ([GREETING], "slow"),
        ([GREETING[n : n + 1] for n in range(40)], "slow"),
        ([GREETING + b"\x04\x05HELLO"], "mechanism cryptographic protocol broken slow"),
        ([GREETING.replace(b"CURVE", b"NULL\0"), b"\x04\x05READY"], "mechanism broken protocol"),
        ([GREETING.replace(b"CURVE", b"PLAIN"), b"\x04\x05HELLO"], "mechanism broken protocol"),
        ([GREETING.replace(b"\x03\x01", b"\x00\x00")], "protocol broken"),
        ([GREETING.replace(b"\x03\x01", b"\x01\x00")], "protocol broken"),
        ([GREETING.replace(b"\x03\x01", b"\x02\x00")], "slow"),
        ([GREETING.replace(b"\x03\x01", b"\x09\x00")], "slow"),
        ([b"\x01\x00"], "protocol broken slow"),
        ([b"GET / HTTP/1.1\r\n\r\n"], "protocol broken"),
    ],
)
def test_a_stranger_has_a_few_seconds_and_is_counted_once(ends: Ends, said: list[bytes], reason: str) -> None:
    receiver = ends(BETA, handshake_timeout_ns=400 * MILLISECOND)

    def failed() -> Counter[str]:
        return Counter({name: n for name, n in receiver.counted.items() if name.startswith("handshakes_failed")})

    with knock(receiver.where) as stranger:
        for part in said:
            with contextlib.suppress(OSError):
                stranger.sendall(part)
            time.sleep(0.005)
        assert receiver.hear(lambda: failed().total()), reason
        stranger.settimeout(5)
        with contextlib.suppress(ConnectionError):
            while stranger.recv(4096):
                pass
    receiver.hear(lambda: False, 0.1)
    (name,) = failed()
    assert failed().total() == 1
    assert name.split(":")[1] in reason.split()


@pytest.mark.parametrize("many_sources", [False, True])
def test_members_get_in_while_strangers_knock(ends: Ends, many_sources: bool, caplog: pytest.LogCaptureFixture) -> None:
    receiver = ends(BETA, strangers_max=16, connections_max=64)
    most = 0

    def hold(over: threading.Event) -> None:
        held: list[socket.socket] = []
        number = 0
        while not over.is_set():
            number += 1
            source = f"127.0.{number % 50 + 1}.1" if many_sources else "127.0.0.1"
            with contextlib.suppress(OSError):
                stranger = socket.create_connection(receiver.where, timeout=1, source_address=(source, 0))
                stranger.sendall(GREETING)
                held.append(stranger)
            if len(held) > 100:
                held.pop(0).close()
            over.wait(0.002)
        for stranger in held:
            stranger.close()

    with meanwhile(hold):
        assert receiver.hear(lambda: receiver.counted["handshakes_failed:crowd"] > 20), receiver.counted
        for number in range(5):
            sender = ends(ALPHA)
            sender.transport.connect("beta", receiver.transport.endpoint, BETA.public)
            sender.transport.send("beta", [b"%d" % number])
            assert receiver.hear(lambda n=number: receiver.heard[b"%d" % n]), receiver.counted  # type: ignore[misc]
            most = max(most, receiver.transport.came[0])
    assert most < 64
    assert receiver.hear(lambda: told_once(caplog, "too many at a time"))


def test_a_key_that_is_taken_away_is_cut_at_once_and_others_are_not(ends: Ends) -> None:
    receiver, loser, other = ends(BETA), ends(ALPHA), ends(GAMMA)
    for sender in (loser, other):
        sender.transport.connect("beta", receiver.transport.endpoint, BETA.public)
        sender.transport.send("beta", [sender.transport.endpoint.encode()])
    assert receiver.hear(lambda: len(receiver.heard) == 2)
    del receiver.allowed[ALPHA.public]
    began = time.monotonic()
    receiver.transport.check()
    assert receiver.hear(lambda: receiver.counted["connection_lost"])
    assert time.monotonic() - began < 1.0
    for number in range(50):
        loser.transport.send("beta", [b"no"])
        other.transport.send("beta", [b"%d" % number])
        assert receiver.hear(lambda n=number: receiver.heard[b"%d" % n])  # type: ignore[misc]
    assert not receiver.heard[b"no"]
    assert receiver.counted["connections_cut:revoked"] == 1
    assert receiver.counted["connection_lost"] == 1
    assert receiver.hear(lambda: receiver.counted["handshakes_failed:key"])
    receiver.allowed[ALPHA.public] = "alpha"
    receiver.transport.check()

    def refused() -> int:
        loser.transport.connect_again()  # libzmq itself has given up: it was told that the key is not allowed
        return loser.counted["refused_by_peer"]

    assert receiver.hear(refused)
    loser.transport.send("beta", [b"yes"])
    assert receiver.hear(lambda: receiver.heard[b"yes"])


def test_what_was_queued_with_a_key_that_is_gone_is_not_heard(ends: Ends) -> None:
    receiver, sender = ends(BETA), ends(ALPHA)
    sender.transport.connect("beta", receiver.transport.endpoint, BETA.public)
    for _ in range(20):
        sender.transport.send("beta", [b"no"])
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not receiver.transport._listener.readable() and time.monotonic() < deadline:
        time.sleep(0.01)
    del receiver.allowed[ALPHA.public]
    receiver.transport.check()
    assert receiver.hear(lambda: receiver.counted["dropped:revoked"])
    receiver.hear(lambda: False, 0.2)
    assert not receiver.heard


def test_a_key_under_another_name_is_another_peer(ends: Ends) -> None:
    receiver, sender = ends(BETA), ends(ALPHA)
    sender.transport.connect("beta", receiver.transport.endpoint, BETA.public)
    sender.transport.send("beta", [b"1"])
    assert receiver.hear(lambda: receiver.heard[b"1"])
    assert receiver.transport.owner == "alpha"
    receiver.allowed[ALPHA.public] = "delta"
    receiver.transport.check()
    assert receiver.hear(lambda: receiver.counted["connection_lost"])
    assert receiver.hear(lambda: sender.transport.send("beta", [b"2"]) and receiver.heard[b"2"])
    assert receiver.transport.owner == "delta"


def test_one_key_has_few_connections(ends: Ends, caplog: pytest.LogCaptureFixture) -> None:
    receiver = ends(BETA)
    with contextlib.ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        for number in range(30):
            member = stack.enter_context(context.socket(zmq.PUSH))
            member.linger, member.reconnect_ivl = 0, -1
            member.curve_serverkey, member.curve_secretkey, member.curve_publickey = (
                BETA.public,
                ALPHA.secret,
                ALPHA.public,
            )
            member.connect(receiver.transport.endpoint)
            member.send(b"%d" % number)
        assert receiver.hear(lambda: receiver.counted["connections_cut:crowd"] >= 22), receiver.counted
        assert receiver.hear(lambda: receiver.transport.came[0] <= 8)
        assert receiver.hear(lambda: told_once(caplog, "alpha at 127.0.0.1"))
