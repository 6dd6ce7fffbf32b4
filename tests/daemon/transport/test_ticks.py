"""The tick plane's transport, over real sockets on loopback."""

from __future__ import annotations

import contextlib
import socket as plain
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import cast

import numpy as np
import pytest
import zmq

from daemon.config.keys import KeyPair
from daemon.transport import BindFailed, Curve, TickTransport, TransportLimits
from shoal.lockstep.frames import Buffer

WILDCARD = "tcp://127.0.0.1:*"
MILLISECOND = 1_000_000
PATIENCE_SECONDS = 10.0


class Tally:
    """What was counted, by `name` or `name:label`."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, name: str, labels: tuple[str, ...], amount: int) -> None:
        with self._lock:
            self.counted[":".join((name, *labels))] += amount


def key_pair(name: str) -> KeyPair:
    return KeyPair(name, *zmq.curve_keypair())


ALPHA, BETA, STRANGER = key_pair("alpha"), key_pair("beta"), key_pair("stranger")
MEMBERS = {ALPHA.public: "alpha", BETA.public: "beta"}


class Links:
    """Makes transports, and closes them when the test is over."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def make(
        self,
        keys: KeyPair | None = None,
        *,
        address: str = WILDCARD,
        limits: TransportLimits | None = None,
        allowed: dict[bytes, str] = MEMBERS,
    ) -> tuple[TickTransport, Tally]:
        tally = Tally()
        curve = None if keys is None else Curve(keys, allowed.get)
        transport = TickTransport(address, curve=curve, count=tally, limits=limits)
        self._stack.callback(transport.close)
        return transport, tally


@pytest.fixture
def links() -> Iterator[Links]:
    with ExitStack() as stack:
        yield Links(stack)
    assert not [thread for thread in threading.enumerate() if thread.name == "shoal-doorman"]


def as_bytes(frame: Buffer) -> bytes:
    return bytes(memoryview(cast(bytes, frame)))


def receive(transport: TickTransport, count: int, seconds: float = PATIENCE_SECONDS) -> list[list[bytes]]:
    """Messages until there are `count`, or the time is over."""
    received: list[list[bytes]] = []
    deadline = time.monotonic() + seconds
    while len(received) < count and time.monotonic() < deadline:
        received += [[as_bytes(frame) for frame in frames] for frames in transport.poll(20 * MILLISECOND)]
    return received


def until(condition: Callable[[], bool], transport: TickTransport) -> bool:
    """Waits for a condition, and says whether it came true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        transport.poll(5 * MILLISECOND)
    return condition()


@pytest.mark.parametrize("encrypted", [False, True])
def test_messages_arrive_whole_and_in_order(links: Links, encrypted: bool) -> None:
    sender, _ = links.make(ALPHA if encrypted else None)
    receiver, tally = links.make(BETA if encrypted else None)
    assert sender.connect("beta", receiver.endpoint, BETA.public if encrypted else None)
    sent = [[b"%d" % n] + [b"x" * n] * (n % 3) for n in range(300)]
    assert all(sender.send("beta", frames) for frames in sent)
    assert receive(receiver, 300) == sent
    assert not tally.counted


@pytest.mark.parametrize("encrypted", [False, True])
def test_one_large_array_goes_to_many(links: Links, encrypted: bool) -> None:
    array = np.arange(200_000, dtype=np.float64)
    sender, _ = links.make(ALPHA if encrypted else None)
    receivers = [links.make(BETA if encrypted else None)[0] for _ in range(3)]
    for number, receiver in enumerate(receivers):
        assert sender.connect(str(number), receiver.endpoint, BETA.public if encrypted else None)
        assert sender.send(str(number), [b"header", array, array[:9]])
    for receiver in receivers:
        assert receive(receiver, 1) == [[b"header", array.tobytes(), array[:9].tobytes()]]


def test_only_the_header_is_copied(links: Links) -> None:
    sender, _ = links.make()
    receiver, _ = links.make()
    sender.connect("r", receiver.endpoint)
    sender.send("r", [b"header", b"x" * 100_000])
    while not (messages := receiver.poll(int(PATIENCE_SECONDS) * 1000 * MILLISECOND)):
        pass
    header, frame = messages[0]
    assert type(header) is bytes
    assert isinstance(frame, zmq.Frame)


def test_a_key_that_is_not_allowed_is_refused_and_counted(links: Links) -> None:
    receiver, tally = links.make(BETA)
    stranger, _ = links.make(STRANGER, allowed={})
    stranger.connect("beta", receiver.endpoint, BETA.public)
    stranger.send("beta", [b"let me in"])
    assert until(lambda: tally.counted["handshakes_failed:key"] >= 1, receiver)
    assert receive(receiver, 1, 0.05) == []
    assert "dropped:oversize" not in tally.counted


def test_a_server_that_is_not_who_it_should_be_gets_nothing(links: Links) -> None:
    impostor, tally = links.make(STRANGER)
    sender, _ = links.make(ALPHA)
    sender.connect("beta", impostor.endpoint, BETA.public)
    sender.send("beta", [b"secret"])
    assert until(lambda: tally.counted["handshakes_failed:cryptographic"] >= 1, impostor)
    assert receive(impostor, 1, 0.05) == []


@pytest.mark.parametrize("listener_encrypted", [True, False])
def test_plain_text_and_encryption_do_not_meet(links: Links, listener_encrypted: bool) -> None:
    receiver, tally = links.make(BETA if listener_encrypted else None)
    sender, _ = links.make(None if listener_encrypted else ALPHA)
    sender.connect("beta", receiver.endpoint, None if listener_encrypted else BETA.public)
    sender.send("beta", [b"hello"])
    # Either end may notice first: ours names the reason, or sees the connection break.
    reasons = ("handshakes_failed:mechanism", "handshakes_failed:broken")
    assert until(lambda: any(tally.counted[reason] for reason in reasons), receiver)
    assert receive(receiver, 1, 0.05) == []


def test_a_peer_whose_encryption_is_put_right_is_reached(links: Links) -> None:
    """libzmq connects no more after a peer that broke the protocol, as one without encryption does for one with it."""
    wrong, _ = links.make()
    sender, tally = links.make(ALPHA, limits=TransportLimits(stuck_ns=20 * MILLISECOND, queue_messages_max=5))
    sender.connect("beta", wrong.endpoint, BETA.public)
    assert until(lambda: not sender.send("beta", [b"lost"]), wrong)
    wrong.close()
    right, _ = links.make(BETA, address=wrong.endpoint)
    assert until(lambda: sender.send("beta", [b"hello"]), sender)
    assert receive(right, 1)[0] in ([b"hello"], [b"lost"])
    assert tally.counted["dropped:queue_full"] >= 1


def test_without_a_key_nothing_is_sent_to_an_encrypted_peer(links: Links) -> None:
    sender, tally = links.make(ALPHA)
    assert not sender.connect("beta", "tcp://127.0.0.1:9")
    assert not sender.connect("beta", "tcp://127.0.0.1:9", b"no key")
    assert not sender.connect("beta", "nonsense", BETA.public)
    assert not sender.send("beta", [b"hello"])
    assert tally.counted == {"dropped:no_key": 1, "dropped:failed": 2, "dropped:not_connected": 1}


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("nonsense", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, b"\xff" * 64, b"\x01\x00hello" * 9])
def test_random_bytes_do_no_harm_and_are_counted(links: Links, nonsense: bytes, encrypted: bool) -> None:
    receiver, tally = links.make(BETA if encrypted else None)
    sender, _ = links.make(ALPHA if encrypted else None)
    sender.connect("beta", receiver.endpoint, BETA.public if encrypted else None)
    sender.send("beta", [b"before"])
    assert receive(receiver, 1) == [[b"before"]]
    host, port = receiver.endpoint.removeprefix("tcp://").split(":")
    with contextlib.suppress(ConnectionError), plain.create_connection((host, int(port))) as raw:
        raw.sendall(nonsense)
    failed = ("handshakes_failed:protocol", "handshakes_failed:broken", "handshakes_failed:mechanism")
    assert until(lambda: any(tally.counted[name] for name in failed), receiver), tally.counted
    sender.send("beta", [b"hello"])
    assert receive(receiver, 1) == [[b"hello"]]


def test_what_is_too_large_is_not_sent(links: Links) -> None:
    limits = TransportLimits(frame_bytes_max=1000, frames_max=2)
    sender, tally = links.make(limits=limits)
    receiver, _ = links.make(limits=limits)
    sender.connect("beta", receiver.endpoint)
    assert not sender.send("beta", [b"x" * 1001])
    assert not sender.send("beta", [b"x", np.zeros(200)])
    assert not sender.send("beta", [b"x"] * 4)
    assert sender.send("beta", [b"x" * 1000] * 3)
    assert tally.counted == {"dropped:oversize": 3}
    assert receive(receiver, 1) == [[b"x" * 1000] * 3]


def test_what_a_peer_sends_too_large_is_dropped_and_the_rest_arrives(links: Links) -> None:
    receiver, tally = links.make(limits=TransportLimits(frame_bytes_max=1000, frames_max=2))
    careless, _ = links.make()
    careless.connect("beta", receiver.endpoint)
    assert careless.send("beta", [b"part"] * 9)
    assert careless.send("beta", [b"first"])
    assert receive(receiver, 1) == [[b"first"]]
    assert tally.counted == {"dropped:oversize": 1}
    assert careless.send("beta", [b"x" * 2000])
    assert until(lambda: tally.counted["connection_lost"] == 1, receiver)
    assert careless.send("beta", [b"second"])
    assert receive(receiver, 1) == [[b"second"]]


def test_a_queue_is_bounded_and_a_full_one_says_so(links: Links) -> None:
    sender, tally = links.make(limits=TransportLimits(queue_messages_max=10))
    with plain.create_server(("127.0.0.1", 0)) as silent:
        sender.connect("silent", f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        outcomes = [sender.send("silent", [b"hello"]) for _ in range(25)]
        assert outcomes == [True] * 10 + [False] * 15
        assert tally.counted == {"dropped:queue_full": 15}
        sender.disconnect("silent")
    assert sender.peers == ()


def test_a_poll_takes_a_bounded_number(links: Links) -> None:
    sender, _ = links.make()
    receiver, _ = links.make(limits=TransportLimits(drain_max=7))
    sender.connect("beta", receiver.endpoint)
    for number in range(20):
        sender.send("beta", [b"%d" % number])
    received: list[bytes] = []
    while len(received) < 20:
        batch = receiver.poll(1000 * MILLISECOND)
        assert len(batch) <= 7
        received += [as_bytes(frames[0]) for frames in batch]
    assert received == [b"%d" % number for number in range(20)]


def test_another_thread_wakes_a_poll(links: Links) -> None:
    receiver, _ = links.make()
    started = time.monotonic()
    waker = threading.Timer(0.05, receiver.wake)
    waker.start()
    assert receiver.poll(int(PATIENCE_SECONDS) * 1000 * MILLISECOND) == []
    waker.join()
    assert time.monotonic() - started < PATIENCE_SECONDS / 2


def test_a_wake_is_kept_for_the_next_poll_and_used_up_by_it(links: Links) -> None:
    receiver, _ = links.make()
    receiver.poll(MILLISECOND)
    receiver.wake()
    receiver.wake()
    started = time.monotonic()
    receiver.poll(int(PATIENCE_SECONDS) * 1000 * MILLISECOND)
    assert time.monotonic() - started < PATIENCE_SECONDS / 2
    started = time.monotonic()
    while time.monotonic() - started < 0.03:
        assert receiver.poll(40 * MILLISECOND) == []
    receiver.close()
    receiver.wake()  # too late, and harmless


def test_a_peer_that_comes_back_on_its_port_is_reached_again(links: Links) -> None:
    sender, _ = links.make(ALPHA)
    first, _ = links.make(BETA)
    address = first.endpoint
    sender.connect("beta", address, BETA.public)
    sender.send("beta", [b"before"])
    assert receive(first, 1) == [[b"before"]]
    first.close()
    second, _ = links.make(BETA, address=address)
    received: list[list[bytes]] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not received and time.monotonic() < deadline:
        sender.send("beta", [b"after"])
        received = receive(second, 1, 0.02)
    assert received[0] == [b"after"]


def test_connect_again_changes_nothing_unless_the_address_does(links: Links) -> None:
    sender, _ = links.make()
    one, _ = links.make()
    two, _ = links.make()
    for endpoint in (one.endpoint, one.endpoint):
        assert sender.connect("peer", endpoint)
    sender.send("peer", [b"to one"])
    assert receive(one, 1) == [[b"to one"]]
    assert sender.connect("peer", two.endpoint)
    sender.send("peer", [b"to two"])
    assert receive(two, 1) == [[b"to two"]]
    assert sender.peers == ("peer",)


def test_peers_are_bounded(links: Links) -> None:
    sender, tally = links.make(limits=TransportLimits(peers_max=1))
    assert sender.connect("one", "tcp://127.0.0.1:9")
    assert not sender.connect("two", "tcp://127.0.0.1:9")
    assert tally.counted == {"dropped:too_many_peers": 1}


def test_an_address_that_is_taken_is_named(links: Links) -> None:
    taken, _ = links.make()
    with pytest.raises(BindFailed, match=f"cannot listen on {taken.endpoint}: address already in use; another"):
        links.make(address=taken.endpoint)
    with pytest.raises(BindFailed, match="this is not an address"):
        links.make(address="nonsense")


def test_limits_are_positive() -> None:
    with pytest.raises(ValueError, match="drain_max"):
        TransportLimits(drain_max=0)


def test_the_owner_of_the_key_of_the_last_message_is_known(links: Links) -> None:
    alpha, _ = links.make(ALPHA)
    beta, _ = links.make(BETA)
    assert beta.owner is None
    assert alpha.connect("beta", beta.endpoint, BETA.public)
    assert alpha.send("beta", [b"x"])
    assert receive(beta, 1) == [[b"x"]]
    assert beta.owner == "alpha"
