"""What a peer can make a listener hold, and what happens when descriptors run out; over real sockets on loopback."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import pytest
import zmq

from daemon.config.keys import KeyPair
from daemon.config.quantities import parse_address
from daemon.transport import Curve, TickTransport, TransportLimits
from shoal.lockstep.frames import size_of

MIB = 1 << 20
MILLISECOND = 1_000_000
BUDGET = 48 * MIB
OVERSHOOT = 80 * MIB
"""What comes between two looks, and what the kernel and the allocator keep for themselves."""
PATIENCE_SECONDS = 20.0

ALPHA, BETA = (KeyPair(name, *zmq.curve_keypair()) for name in ("alpha", "beta"))
MEMBERS = {ALPHA.public: "alpha", BETA.public: "beta"}


class Listening:
    """A transport that listens, with a small budget, and what it counted."""

    def __init__(self, keys: KeyPair | None = None) -> None:
        self.counted: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.transport = TickTransport(
            "tcp://127.0.0.1:*",
            curve=Curve(keys, MEMBERS.get) if keys else None,
            count=self._count,
            limits=TransportLimits(queue_bytes_max=BUDGET),
        )
        self.backlog = self.transport._listener.backlog

    def _count(self, name: str, labels: tuple[str, ...], amount: int) -> None:
        with self._lock:
            self.counted[":".join((name, *labels))] += amount

    def hear(self, until: Callable[[], bool]) -> list[list[bytes]]:
        """Read until something is so."""
        heard: list[list[bytes]] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not until():
            assert time.monotonic() < deadline, (self.backlog.held, self.counted)
            heard += [[bytes(memoryview(f)) for f in m] for m in self.transport.poll(5 * MILLISECOND)]  # type: ignore[arg-type]
        return heard


@pytest.fixture
def listening() -> Iterator[Listening]:
    made = Listening()
    yield made
    made.transport.close()


def memory() -> int:
    """Bytes of this process that are in memory."""
    return psutil.Process().memory_info().rss


def part(size: int, *, more: bool) -> bytes:
    """A long frame (RFC 23)."""
    return bytes([2 | more]) + struct.pack(">Q", size) + b"x" * size


def shaken(where: str) -> socket.socket:
    """A connection that has the NULL handshake behind it and says from here on whatever it likes (RFC 23)."""
    address = parse_address(where)
    connection = socket.create_connection((address.host, address.port), timeout=0.2)
    try:
        connection.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
        ready = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 4) + b"PUSH"
        connection.sendall(bytes([4, len(ready)]) + ready)
        heard = b""
        while len(heard) < 64 + 28:  # its greeting and its own READY
            chunk = connection.recv(4096)
            if not chunk:
                raise ConnectionResetError
            heard += chunk
    except BaseException:
        connection.close()
        raise
    return connection


def flood(where: str, data: bytes, seconds: float, watch: Callable[[], None]) -> None:
    """Send the same again and again as fast as it goes, over a new connection when one is cut."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError), shaken(where) as connection:
            rest = memoryview(data)
            while time.monotonic() < until:
                with contextlib.suppress(TimeoutError):
                    rest = rest[connection.send(rest) :] or memoryview(data)
                watch()


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_was_read_is_known_to_the_byte(encrypted: bool) -> None:
    made = Listening(BETA if encrypted else None)
    sender = TickTransport("tcp://127.0.0.1:*", curve=Curve(ALPHA, MEMBERS.get) if encrypted else None, count=print)
    try:
        sender.connect("beta", made.transport.endpoint, BETA.public if encrypted else None)
        sizes = (0, 1, 200, 221, 222, 223, 224, 254, 255, 256, 257, 5000, 70_000)
        for size in sizes:
            assert sender.send("beta", [b"h" * size])
            assert sender.send("beta", [b"h" * size, b"x" * size, b"y"])
        heard: list[object] = []
        while len(heard) < 2 * len(sizes):
            heard += made.transport.poll(10_000 * MILLISECOND)
        (line,) = made.transport._listener._doorman.connections
        deadline = time.monotonic() + PATIENCE_SECONDS
        seen = 0
        while seen < sum(3 * size for size in sizes) and time.monotonic() < deadline:
            time.sleep(0.01)
            seen = line.received
        assert made.backlog.held < 1000, "what remains is the handshake"
    finally:
        sender.close()
        made.transport.close()


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("a message without end", part(1 << 16, more=True)),
        ("large messages that nobody reads", part(MIB, more=False)),
        ("messages of many parts", part(1 << 16, more=True) * 500 + part(1, more=False)),
    ],
)
def test_a_flood_that_nobody_reads_is_bounded(listening: Listening, what: str, data: bytes) -> None:
    before, most = memory(), [0]

    def watch() -> None:
        most[0] = max(most[0], memory() - before)

    flood(listening.transport.endpoint, data, 1.0, watch)
    assert most[0] < BUDGET + OVERSHOOT + len(data), what
    assert listening.counted["dropped:flood"] >= 1
    assert listening.backlog.held <= BUDGET + OVERSHOOT
    listening.hear(lambda: listening.backlog.held == 0)
    with shaken(listening.transport.endpoint) as connection:
        connection.sendall(part(5, more=False))
        heard: list[list[bytes]] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not heard and time.monotonic() < deadline:
            heard += listening.transport.poll(10 * MILLISECOND)  # type: ignore[arg-type]
    assert heard == [[b"xxxxx"]]


def test_connections_that_fill_up_and_end_are_bounded(listening: Listening) -> None:
    """Whole messages of a connection that has ended stay to be read; so many of them are too many, too."""
    before, most, refused = memory(), 0, 0
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        try:
            with shaken(listening.transport.endpoint) as connection:
                connection.sendall(part(MIB, more=False) * 4)
        except OSError:
            refused += 1
        most = max(most, memory() - before)
    assert most < BUDGET + OVERSHOOT
    assert refused
    assert listening.counted["handshakes_failed:full"] >= 1
    listening.hear(lambda: listening.backlog.held == 0)
    shaken(listening.transport.endpoint).close()


def test_a_flood_that_is_read_is_no_flood(listening: Listening) -> None:
    """As much as one likes, as long as it is taken: nothing is cut."""
    received = 0
    flooding = threading.Thread(
        target=flood, args=(listening.transport.endpoint, part(1 << 16, more=False), 1.0, lambda: None)
    )
    flooding.start()
    while flooding.is_alive():
        received += sum(size_of(message) for message in listening.transport.poll(5 * MILLISECOND))
    assert received > BUDGET
    assert not listening.counted["dropped:flood"]


def test_a_connection_that_ends_while_its_queue_is_full_ends_nothing_else(listening: Listening) -> None:
    """libzmq 4.3.5 with ZeroMQ's heartbeats on both: `Assertion failed: !_io_error`, and the process is gone."""
    with socket.create_server(("127.0.0.1", 0)) as hostile:
        listening.transport.connect("hostile", f"tcp://127.0.0.1:{hostile.getsockname()[1]}")
        connection, _ = hostile.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(0.2)
            connection.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
            ready = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 4) + b"PULL"
            connection.sendall(bytes([4, len(ready)]) + ready)
            for _ in range(20_000):  # a speaker never hears, and must not keep what is said to it
                connection.sendall(b"\x00\x01x")
    (speaker,) = listening.transport._peers.values()
    assert speaker._socket.get(zmq.HEARTBEAT_IVL) == 0
    assert listening.transport._socket.get(zmq.HEARTBEAT_IVL) == 0
    assert speaker._socket.get(zmq.MAXMSGSIZE) == 4096


def test_without_descriptors_nothing_spins_and_the_address_comes_back() -> None:
    script = """
        import os, resource, socket, sys, time
        from collections import Counter
        from daemon.transport import TickTransport
        from daemon.config.quantities import parse_address

        counted = Counter()
        transport = TickTransport(
            "tcp://127.0.0.1:*", curve=None, count=lambda name, labels, n: counted.update({name: n}))
        where = parse_address(transport.endpoint)
        def poll(seconds):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                transport.poll(20_000_000)
        clients = [socket.socket() for _ in range(4)]
        def knock(client):
            client.setblocking(False)
            client.connect_ex((where.host, where.port))
        knock(clients[0])
        poll(0.2)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, 4096))
        for client in clients[1:]: knock(client)   # and find nobody who can accept them
        began, cpu = time.monotonic(), time.process_time()
        poll(3.0)
        busy = (time.process_time() - cpu) / (time.monotonic() - began)
        failed = counted["accept_failed"]
        assert failed and counted["listening_stopped"], counted
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        for client in clients: client.close()
        poll(1.5)
        sender = TickTransport("tcp://127.0.0.1:*", curve=None, count=lambda name, labels, n: None)
        sender.connect("it", transport.endpoint)
        sender.send("it", [b"again"])
        heard = []
        until = time.monotonic() + 10
        while not heard and time.monotonic() < until: heard = transport.poll(100_000_000)
        print(f"{busy:.2f} {failed} {heard}")
        sender.close(); transport.close()
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    busy, _, heard = ended.stdout.split(maxsplit=2)
    assert heard.strip() == "[[b'again']]"
    assert float(busy) < 0.4, ended.stdout
