"""The control plane's transport, over real sockets on loopback, on a real loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, cast

import pytest
import zmq

from daemon.config.keys import KeyPair
from daemon.transport import BindFailed, ControlTransport, Curve, TransportLimits
from shoal.lockstep.frames import Buffer

WILDCARD = "tcp://127.0.0.1:*"
MILLISECOND = 1_000_000
PATIENCE_SECONDS = 10.0


def key_pair(name: str) -> KeyPair:
    return KeyPair(name, *zmq.curve_keypair())


ALPHA, BETA, STRANGER = key_pair("alpha"), key_pair("beta"), key_pair("stranger")
MEMBERS = {ALPHA.public: "alpha", BETA.public: "beta"}


class End:
    """A transport, what it received and what it counted."""

    def __init__(self, keys: KeyPair | None, address: str, limits: TransportLimits | None) -> None:
        self.allowed = dict(MEMBERS)
        self.received: list[list[bytes]] = []
        self.counted: Counter[str] = Counter()
        self.owners: set[str] = set()
        self._lock = threading.Lock()
        self.deliver: Callable[[list[Buffer]], None] = self.keep
        self.transport = ControlTransport(
            address,
            self.hear,
            curve=None if keys is None else Curve(keys, lambda key: self.allowed.get(key)),
            count=self.count,
            limits=limits,
        )

    def hear(self, owner: str, frames: list[Buffer]) -> None:
        self.owners.add(owner)
        self.deliver(frames)

    def keep(self, frames: list[Buffer]) -> None:
        self.received.append([bytes(memoryview(cast(bytes, frame))) for frame in frames])

    def count(self, name: str, labels: tuple[str, ...], amount: int) -> None:
        with self._lock:
            self.counted[":".join((name, *labels))] += amount


@asynccontextmanager
async def end(
    keys: KeyPair | None = None, *, address: str = WILDCARD, limits: TransportLimits | None = None
) -> AsyncIterator[End]:
    made = End(keys, address, limits)
    try:
        yield made
    finally:
        made.transport.close()


async def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        await asyncio.sleep(0.002)
    return condition()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def runs() -> None:
        asyncio.run(test())
        assert not [thread for thread in threading.enumerate() if thread.name == "shoal-doorman"]

    runs.__name__ = test.__name__
    return runs


@pytest.mark.parametrize("encrypted", [False, True])
def test_messages_arrive_whole_and_in_order(encrypted: bool) -> None:
    async def test() -> None:
        async with end(ALPHA if encrypted else None) as a, end(BETA if encrypted else None) as b:
            key = BETA.public if encrypted else None
            sent = [[b"%d" % n] + [b"x" * n] * (n % 3) for n in range(300)] + [[b"large", b"x" * 1_000_000]]
            assert all(a.transport.send(b.transport.endpoint, key, frames) for frames in sent)
            assert await until(lambda: len(b.received) == len(sent))
            assert b.received == sent
            assert a.transport.connections == (b.transport.endpoint,)
            assert not a.counted
            assert not b.counted

    run(test)()


@run
async def test_answers_sent_from_the_callback_go_back_and_forth() -> None:
    """A hundred round trips: no edge of the descriptor is lost between receiving and sending."""
    async with end() as a, end() as b:

        def bounce(me: End, other: End) -> None:
            def deliver(frames: list[Buffer]) -> None:
                me.keep(frames)
                if len(me.received) < 100:
                    assert me.transport.send(other.transport.endpoint, None, frames)

            me.deliver = deliver

        bounce(a, b)
        bounce(b, a)
        a.transport.send(b.transport.endpoint, None, [b"ball"])
        assert await until(lambda: len(b.received) == 100)


@run
async def test_a_flood_leaves_the_loop_its_turns() -> None:
    async with end() as a, end(limits=TransportLimits(drain_max=10)) as b:
        turns: list[int] = []

        def turn() -> None:
            turns.append(len(b.received))
            if len(b.received) < 500:
                loop.call_soon(turn)

        loop = asyncio.get_running_loop()
        for number in range(500):
            assert a.transport.send(b.transport.endpoint, None, [b"%d" % number])
        turn()
        assert await until(lambda: len(b.received) == 500)
        assert max(after - before for before, after in pairwise(turns)) <= 20
        assert b.received == [[b"%d" % number] for number in range(500)]


@run
async def test_an_error_in_the_callback_does_not_stall_the_messages_behind() -> None:
    async with end() as a, end() as b:
        seen: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context))

        def deliver(frames: list[Buffer]) -> None:
            b.keep(frames)
            if len(b.received) == 1:
                raise RuntimeError("first")

        b.deliver = deliver
        for _ in range(3):
            a.transport.send(b.transport.endpoint, None, [b"x"])
        assert await until(lambda: len(b.received) == 3)
        assert len(seen) == 1


@run
async def test_strangers_and_plain_text_are_refused_and_counted() -> None:
    async with end(BETA) as b, end(STRANGER) as stranger, end() as plain:
        stranger.transport.send(b.transport.endpoint, BETA.public, [b"hello"])
        assert await until(lambda: b.counted["handshakes_failed:key"] >= 1)
        plain.transport.send(b.transport.endpoint, None, [b"hello"])
        reasons = ("handshakes_failed:mechanism", "handshakes_failed:broken")
        assert await until(lambda: any(b.counted[reason] for reason in reasons))
        assert b.received == []


@run
async def test_what_cannot_be_sent_is_counted() -> None:
    async with end(ALPHA, limits=TransportLimits(frame_bytes_max=1000, queue_messages_max=5)) as a:
        nobody = "tcp://127.0.0.1:9"
        assert not a.transport.send(nobody, None, [b"x"])
        assert not a.transport.send(nobody, BETA.public, [b"x" * 1001])
        assert not a.transport.send("nonsense", BETA.public, [b"x"])
        assert [a.transport.send(nobody, BETA.public, [b"x"]) for _ in range(8)] == [True] * 5 + [False] * 3
        a.transport.close()
        assert not a.transport.send(nobody, BETA.public, [b"x"])
        assert a.counted == {
            "dropped:no_key": 1,
            "dropped:oversize": 1,
            "dropped:failed": 1,
            "dropped:queue_full": 3,
            "dropped:not_connected": 1,
        }


@run
async def test_too_many_frames_are_dropped_and_the_rest_arrives() -> None:
    async with end() as a, end(limits=TransportLimits(frames_max=2)) as b:
        a.transport.send(b.transport.endpoint, None, [b"x"] * 9)
        a.transport.send(b.transport.endpoint, None, [b"x"] * 3)
        assert await until(lambda: bool(b.received))
        assert b.received == [[b"x"] * 3]
        assert b.counted == {"dropped:oversize": 1}


@run
async def test_idle_connections_are_closed_and_opened_again_when_wanted() -> None:
    async with end(limits=TransportLimits(idle_ns=40 * MILLISECOND)) as a, end() as b:
        a.transport.send(b.transport.endpoint, None, [b"one"])
        assert await until(lambda: b.received == [[b"one"]])
        assert await until(lambda: a.transport.connections == ())
        a.transport.send(b.transport.endpoint, None, [b"two"])
        assert await until(lambda: b.received == [[b"one"], [b"two"]])


@run
async def test_the_least_recently_used_connection_makes_room() -> None:
    async with end(limits=TransportLimits(peers_max=2)) as a:
        for port in (1, 2, 1, 3):
            a.transport.send(f"tcp://127.0.0.1:{port}", None, [b"x"])
        assert a.transport.connections == ("tcp://127.0.0.1:1", "tcp://127.0.0.1:3")
        assert a.counted == {"connections_evicted": 1}


@run
async def test_a_peer_that_comes_back_on_its_port_is_reached_again() -> None:
    async with end(ALPHA) as a:
        async with end(BETA) as b:
            address = b.transport.endpoint
            a.transport.send(address, BETA.public, [b"before"])
            assert await until(lambda: bool(b.received))
        async with end(BETA, address=address) as c:
            assert await until(lambda: a.transport.send(address, BETA.public, [b"after"]) and bool(c.received))
            assert c.received[0] == [b"after"]


@run
async def test_another_key_at_an_address_has_its_own_connection() -> None:
    """Whoever is made up at a member's address does not cut that one's connection, nor takes what waits on it along."""
    async with end(ALPHA) as a, end(BETA) as b:
        for number in range(20):
            a.transport.send(b.transport.endpoint, STRANGER.public, [b"wrong"])
            a.transport.send(b.transport.endpoint, BETA.public, [b"right %d" % number])
        assert await until(lambda: b.received == [[b"right %d" % number] for number in range(20)])
        assert len(a.transport.connections) == 2


@run
async def test_what_is_queued_goes_out_within_the_linger() -> None:
    async with end() as b:
        async with end() as a:
            a.transport.send(b.transport.endpoint, None, [b"farewell"])
            a.transport.close(linger_ns=2000 * MILLISECOND)
        assert await until(lambda: b.received == [[b"farewell"]])


@run
async def test_an_address_that_is_taken_is_named() -> None:
    async with end() as a:
        with pytest.raises(
            BindFailed, match=f"cannot listen on {a.transport.endpoint}: address already in use; another"
        ):
            End(None, a.transport.endpoint, None)


@run
async def test_a_message_comes_with_the_name_that_its_senders_key_has() -> None:
    async with end(ALPHA) as a, end(BETA) as b, end() as plain, end() as other:
        a.transport.send(b.transport.endpoint, BETA.public, [b"x"])
        plain.transport.send(other.transport.endpoint, None, [b"x"])
        assert await until(lambda: b.owners == {"alpha"} and other.owners == {""})


def test_who_refuses_our_key_is_named(caplog: pytest.LogCaptureFixture) -> None:
    run(lambda: _who_refuses_our_key_is_named(caplog))()


async def _who_refuses_our_key_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async with end(STRANGER) as a, end(BETA) as b:
        for number in range(1, 3):
            a.transport.send(b.transport.endpoint, BETA.public, [b"let me in"])
            assert await until(lambda n=number: a.counted["refused_by_peer"] == n)  # type: ignore[misc]
        b.allowed[STRANGER.public] = "stranger"
        a.transport.send(b.transport.endpoint, BETA.public, [b"let me in"])
        assert await until(lambda: b.received == [[b"let me in"]])
        lines = [record.getMessage() for record in caplog.records if "refuses our key" in record.getMessage()]
        assert lines == [
            f"{b.transport.endpoint} refuses our key: is the key in its allowed_keys, and have they been reloaded?"
        ]


@run
async def test_a_key_that_is_taken_away_is_neither_heard_nor_spoken_to() -> None:
    async with end(ALPHA) as a, end(BETA) as b:
        a.transport.send(b.transport.endpoint, BETA.public, [b"hello"])
        b.transport.send(a.transport.endpoint, ALPHA.public, [b"hello"])
        assert await until(lambda: a.received == b.received == [[b"hello"]])
        del b.allowed[ALPHA.public]
        b.transport.check()
        assert b.transport.connections == ()
        assert await until(lambda: a.counted["connection_lost"] == b.counted["connection_lost"] == 1)
        a.transport.send(b.transport.endpoint, BETA.public, [b"again"])
        assert await until(lambda: b.counted["handshakes_failed:key"] >= 1)
        assert b.received == [[b"hello"]]
