"""Who is let in, who is a stranger, and who has to go: by figures, without a socket."""

from __future__ import annotations

import pytest

from daemon.transport.connections import HANDSHAKE_BYTES, Connection, Connections, Room
from daemon.transport.refusals import AGAIN_NS, SOON_NS, SOURCES_MAX, Refusals

SECOND = 1_000_000_000
GREETED, WELCOMED, REFUSED, READY = 64, 234, 246, 286
"""What we have sent by then, with encryption."""
ROOM = Room(connections_max=12, pending_max=4, same_key_max=2, handshake_ns=5 * SECOND)


def came(connections: Connections, descriptor: int, source: str = "10.0.0.9", now: int = 0) -> Connection:
    connections.accepted(descriptor, (source, 40_000 + descriptor), now)
    connection = connections.at(descriptor)
    assert connection is not None
    return connection


def unwelcome(connections: Connections, now: int = SECOND) -> list[tuple[int, str]]:
    return [(one.descriptor, reason) for one, reason in connections.unwelcome(now)]


@pytest.mark.parametrize(
    ("sent", "encrypted", "let_in"),
    [
        (0, True, False), (GREETED, True, False), (WELCOMED, True, False), (REFUSED, True, False), (READY, True, True),
        (GREETED, False, False), (GREETED + 12, False, False), (GREETED + 28, False, True),
    ],
)  # fmt: skip
def test_who_was_let_in_is_seen_from_what_we_have_said(sent: int, encrypted: bool, let_in: bool) -> None:
    connections = Connections(ROOM, encrypted)
    one = came(connections, 7)
    connections.measured(one, 300, sent)
    assert one.let_in == let_in
    assert connections.pending == (not let_in)


def test_a_stranger_is_worth_a_handshake_and_a_few_seconds() -> None:
    connections = Connections(ROOM, encrypted=True)
    large, slow, fine = came(connections, 1), came(connections, 2), came(connections, 3, now=4 * SECOND)
    connections.measured(large, HANDSHAKE_BYTES + 1, GREETED)
    connections.measured(slow, HANDSHAKE_BYTES, WELCOMED)
    assert unwelcome(connections) == [(1, "oversize")]
    assert unwelcome(connections, 5 * SECOND) == [(1, "oversize"), (2, "slow")]
    connections.measured(fine, 1 << 30, READY)
    assert unwelcome(connections, 60 * SECOND) == [(1, "oversize"), (2, "slow")]


def test_those_go_first_who_have_shown_the_least() -> None:
    connections = Connections(ROOM, encrypted=True)
    member = came(connections, 1, "10.0.0.1")
    connections.measured(member, 400, READY)
    again = came(connections, 2, "10.0.0.1")  # nothing said yet, but from where a member came
    knows = came(connections, 3)
    connections.measured(knows, 300, WELCOMED)
    lone = came(connections, 4, "10.0.0.2")
    crowd = [came(connections, 10 + n, now=n) for n in range(5)]
    assert [descriptor for descriptor, _ in unwelcome(connections)] == [10, 11, 12, 13]
    for one in crowd:
        connections.cut(one, "crowd")
    assert not connections.crowded
    assert unwelcome(connections) == []
    for n in range(3):
        came(connections, 20 + n, f"10.0.1.{n}", now=SECOND)
    assert unwelcome(connections) == [(4, "crowd"), (20, "crowd")]
    assert {again.cut, knows.cut, lone.cut} == {""}


def test_one_key_has_few_connections_and_all_together_have_room_for_the_rest() -> None:
    connections = Connections(ROOM, encrypted=True)
    for n in range(11):
        connections.measured(came(connections, n, now=n), 400, READY)
    keys = {0: "a", 1: "a", 2: "a", 3: "b", 10: "c"}
    assert [(one.descriptor, why) for one, why in connections.crowding(keys)] == [
        (0, "crowd"),  # the oldest of a's
        (4, "crowd"), (5, "crowd"),  # of eight inside at the most, the oldest that have said nothing
    ]  # fmt: skip
    assert [one.descriptor for one, _ in connections.crowding({n: f"k{n}" for n in range(11)})] == [10, 9, 8]


def test_how_it_ended() -> None:
    connections = Connections(ROOM, encrypted=True)
    came(connections, 1)
    assert connections.ended(1).reason == "protocol"
    came(connections, 2)
    connections.failed("broken")
    assert connections.ended(2).reason == "broken"
    came(connections, 3)
    connections.finished()
    end = connections.ended(3)  # in and out between two looks
    assert (end.was_let_in, end.reason) == (True, "")
    stranger, member = came(connections, 4), came(connections, 5)
    connections.finished()
    connections.measured(member, 400, READY)
    assert not connections.unplaced
    assert not connections.ended(4).was_let_in, "the handshake was another's"
    assert connections.ended(5).was_let_in
    cut = came(connections, 6)
    connections.cut(cut, "crowd")
    connections.failed("broken")
    assert connections.ended(6).reason == "", "it was counted when it was cut"
    assert connections.ended(99).connection is None
    assert (len(connections), connections.pending, stranger.let_in) == (0, 0, False)


def test_what_was_turned_away_is_said_soon_and_then_once_a_minute() -> None:
    refusals = Refusals("ticks")
    assert refusals.due(0) is None
    for n in range(1000):
        refusals.note("oversize", "10.0.0.9", n)
    refusals.note("key", "10.0.0.7", 5, 2)
    refusals.note("key", "10.0.0.8", 6)
    assert refusals.due(SOON_NS - 1) is None
    assert refusals.due(SOON_NS) == (
        "ticks: 1003 connections turned away: 1000 sent more than a handshake (10.0.0.9), "
        "3 with a key that is not allowed (10.0.0.7 2, 10.0.0.8 1)"
    )
    refusals.note("slow", "10.0.0.9", SOON_NS + 1)
    assert refusals.deadline == SOON_NS + AGAIN_NS
    assert refusals.due(SOON_NS + AGAIN_NS - 1) is None
    assert refusals.due(SOON_NS + AGAIN_NS) == (
        "ticks: 1 connection turned away: 1 did not finish their handshake in time (10.0.0.9)"
    )
    for n in range(100_000):
        refusals.note("crowd", f"10.{n >> 16}.{(n >> 8) & 255}.{n & 255}", 10 * AGAIN_NS)
    said = refusals.due(20 * AGAIN_NS)
    assert said is not None
    assert len(said) < 200
    assert f"others {100_000 - SOURCES_MAX}, " in said
