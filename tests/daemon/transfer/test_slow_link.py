"""What crosses a slow link: loads, ticks and checkpoints send hardly more than their bytes, and still heal."""

from __future__ import annotations

import pytest

from daemon.transfer.chunks import LoadedPiece, LoadLimits, PieceAnswered
from daemon.transfer.shipment import Shipment
from daemon.transfer.tick_plane import TickPlane
from shoal.engine.engine import Outgoing
from shoal.lockstep.effects import HoldTick, RunOver, RunPhase, SettlePhase, StoreStates, TickHeld
from shoal.lockstep.machine import TickMachine
from shoal.lockstep.messages import PieceBuilt
from shoal.lockstep.timing import TickTiming
from shoal.program.phase import Phase
from tests.daemon.transfer.link import MS, SECOND, Link

SLOW = 625_000
"""Bytes a second: 5 Mbit/s."""
DELAY_NS = 25 * MS
LIMITS = LoadLimits()


def link(bytes_per_second: int = SLOW, delay_ns: int = DELAY_NS) -> Link:
    return Link({name: TickPlane(name, LIMITS) for name in "abc"}, bytes_per_second, delay_ns)


def load(between: Link, size: int, break_at: tuple[int, ...] = ()) -> None:
    """From a to both others; connections break at those times."""
    breaks = list(break_at)
    shipments = [Shipment("load", to, b"spec", [bytes(size)], LIMITS) for to in "bc"]
    between.carry_out("a", between.planes["a"].ship(shipments, 0))
    while not all(shipment.answer for shipment in shipments):
        if breaks and between.now >= breaks[0]:
            breaks.pop(0)
            between.break_connections()
        between.go_on()
        for name, told in between.told:
            if isinstance(told, PieceAnswered):
                continue
            assert isinstance(told, LoadedPiece)
            assert sum(len(frame) for frame in told.frames) == size
            answer = PieceBuilt("load", "", 0, 0, 0, 0, 0)
            between.carry_out(name, between.planes[name].intake.built(answer))
        between.told.clear()


def test_a_load_sends_its_bytes_and_fills_the_link() -> None:
    between, size = link(), 5_000_000
    load(between, size)
    assert between.sent_bytes < 1.01 * 2 * size
    assert between.now < 1.1 * 2 * size / SLOW * SECOND
    assert between.queued_bytes_max < 8 * LIMITS.chunk_bytes, "what else crosses the link does not wait for long"


def test_a_load_whose_connections_break_sends_again_what_was_lost_and_no_more() -> None:
    between, size = link(), 5_000_000
    load(between, size, (2 * SECOND, 5 * SECOND, 11 * SECOND))
    assert between.sent_bytes < 1.1 * 2 * size
    assert between.now < 1.4 * 2 * size / SLOW * SECOND


@pytest.mark.parametrize("delay_ns", [MS // 20, 5 * MS])
def test_a_load_fills_a_quick_link_too(delay_ns: int) -> None:
    between, size = link(125_000_000, delay_ns), 60_000_000
    load(between, size)
    assert between.sent_bytes < 1.01 * 2 * size
    assert between.now < 1.25 * 2 * size / 125_000_000 * SECOND


def test_a_link_of_a_modem_is_only_slow() -> None:
    """A chunk alone takes longer than the time after which something is asked."""
    between, size = link(7_000), 300_000
    load(between, size)
    assert between.sent_bytes < 1.1 * 2 * size


def run(between: Link, ticks: int, share: memoryview, lose_tick: int = 0) -> None:
    """All shards send all others such a share in each tick; all that is under way in that tick is lost once."""
    timing = TickTiming(200 * MS, 30 * SECOND)
    for name, plane in between.planes.items():
        machine = TickMachine(1, name, ("a", "b", "c"), (Phase.ADVANCE,), ticks, timing)
        between.carry_out(name, plane.begin(machine, between.now))
    over: set[str] = set()
    while len(over) < 3:
        told, between.told = between.told, []
        for name, effect in told:
            machine = between.planes[name].runs[1]
            if isinstance(effect, RunPhase):
                outgoing = Outgoing(1, b"", dict.fromkeys(machine.peers, (share,)))
                between.carry_out(name, machine.computed(outgoing, 1, between.now))
                if lose_tick and name == "c" and effect.tick == lose_tick:
                    lose_tick = 0
                    between.break_connections()
            elif isinstance(effect, SettlePhase):
                between.carry_out(name, machine.settled(False, between.now))
            elif isinstance(effect, RunOver):
                over.add(name)
            elif isinstance(effect, HoldTick):  # how that is done is another test's
                between.carry_out(name, machine.captured())
                between.carry_out(name, machine.held(between.now))
        if not told:
            between.go_on()


@pytest.mark.parametrize("size", [100_000, 2_000_000])
def test_ticks_send_their_shares_once(size: int) -> None:
    """The larger ones take six seconds to cross: thirty times as long as nobody asks for them."""
    between, ticks = link(), 8
    run(between, ticks, memoryview(bytes(size)))
    assert between.sent_bytes < 1.01 * (ticks + 1) * 6 * size


def test_shares_that_are_lost_come_again_and_soon() -> None:
    between, ticks, size = link(), 8, 100_000
    run(between, ticks, memoryview(bytes(size)), lose_tick=4)
    assert between.sent_bytes < (ticks + 2) * 6 * size * 1.01
    assert between.now < (ticks + 2) * 2 * size / SLOW * SECOND + 2 * SECOND


@pytest.mark.parametrize("lost", [False, True])
def test_a_checkpoint_sends_its_states_once_and_again_only_if_they_are_lost(lost: bool) -> None:
    between, state = link(), bytes(4_000_000)
    for plane in between.planes.values():
        plane.runs[1] = TickMachine(1, plane.shard, ("a", "b", "c"), (Phase.ADVANCE,), 1, TickTiming())
        plane.replication.begin(1, {0: "a"})
    holding = between.planes["a"].replication
    between.carry_out("a", holding.hold(1, 1, 0, {0: state}, {0: ("a", "b", "c")}, 0))
    while not any(isinstance(effect, TickHeld) for _, effect in between.told):
        if lost and between.now > SECOND:
            lost = False
            between.break_connections()
            between.sent_bytes = 0
        for name, effect in between.told:
            if isinstance(effect, StoreStates):
                between.carry_out(name, between.planes[name].replication.stored(effect.token, between.now))
        between.told = [told for told in between.told if isinstance(told[1], TickHeld)]
        if not between.told:
            between.go_on()
    assert between.sent_bytes < 1.01 * 2 * len(state)
