"""The tick plane's thread over real sockets: what happens to messages and runs when the view changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from daemon.runtime import tick_thread
from daemon.runtime.tick_runner import News, TickRunner
from daemon.runtime.tick_thread import TickThread
from daemon.runtime.ticks import Peer, RunFigures
from daemon.state.commands import Identity
from daemon.transfer.chunks import LoadLimits
from daemon.transport.ticks import TickTransport
from daemon.vocabulary import TICK_TYPES
from daemon.wire import Codec
from shoal.engine.engine import Engine
from shoal.lockstep.barrier import entry_of
from shoal.lockstep.effects import RunOver, StoreStates, TickCommitted
from shoal.lockstep.machine import TickMachine
from shoal.lockstep.messages import Checkpoint, CheckpointHeld, PhaseDone
from shoal.lockstep.timing import Cadence, TickTiming
from shoal.program.phase import Phase
from tests.simulator.programs import PARTITIONS, PROGRAMS, SmallGraph, Twin, result

PATIENCE_SECONDS = 20.0
WILDCARD = "tcp://127.0.0.1:*"
NAMES = ("a", "b")


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it does not come to be"
        time.sleep(0.005)


class Side:
    """One shard's tick plane on a thread, with a disk that is as fast as a dict."""

    def __init__(self, name: str) -> None:
        self.transport = TickTransport(WILDCARD, curve=None, count=lambda *_: None)
        self.endpoint = self.transport.endpoint
        self.identity = Identity(name, 1)
        self.news: list[News] = []
        self.died: list[BaseException] = []
        self.disk: dict[int, dict[int, bytes]] = {}
        runner = TickRunner(name, LoadLimits(), time.monotonic_ns)
        codec = Codec("test", TICK_TYPES)
        self.thread = TickThread(
            self.identity, self.transport, codec, runner,
            hand_over=self.news.append, store=self.store, died=self.died.append,
        )  # fmt: skip
        self.thread.start()

    def store(self, states: StoreStates) -> None:
        kept = {partition: bytes(memoryview(state)) for partition, state in states.states.items()}  # type: ignore[arg-type]
        self.disk.setdefault(states.tick, {}).update(kept)
        self.thread.order(lambda: self.thread.stored(states.token))

    def enter(self, epoch: int, *others: Side) -> None:
        peers = [Peer(other.identity, other.endpoint, None) for other in others]
        self.thread.order(lambda: self.thread.enter_view(epoch, peers))

    @property
    def over(self) -> list[News]:
        return [item for item in self.news if isinstance(item, RunOver)]


@pytest.fixture
def sides() -> Iterator[dict[str, Side]]:
    sides = {name: Side(name) for name in NAMES}
    yield sides
    for side in sides.values():
        side.thread.close()
        assert side.died == []


GRAPH = SmallGraph.draw(Random(7))
OWNERS = tuple((NAMES[partition % 2],) for partition in range(PARTITIONS))


def begin(side: Side, ticks: int, tick: int = 0, states: dict[int, bytes] | None = None, run: int = 1) -> None:
    name, made = side.identity.name, PROGRAMS["pagerank"]()
    machine = TickMachine(run, name, NAMES, made.phases(), ticks, TickTiming(), tick=tick, cadence=Cadence(2))
    part = GRAPH.part(name, NAMES, OWNERS)
    state = (tick, {p: states[p] for p in part.partitions}) if states is not None else None
    side.thread.order(
        lambda: side.thread.begin_run(
            machine,
            part,
            made,
            False,
            replicas=dict.fromkeys(range(PARTITIONS), NAMES),
            primaries={partition: owner for partition, (owner,) in enumerate(OWNERS)},
            state=state,
        )
    )


def test_a_run_goes_on_in_the_next_view_from_a_checkpoint_on_both_disks(sides: dict[str, Side]) -> None:
    a, b = sides.values()
    for side, other in ((a, b), (b, a)):
        side.enter(1, other)
        begin(side, 6)
    until(lambda: a.over and b.over)
    assert a.disk == b.disk
    assert sorted(a.disk) == [2, 4, 6]
    assert set(a.disk[4]) == set(range(PARTITIONS))
    crossed = a.thread.figures[1].cross_bytes
    assert crossed > 0

    a.enter(2, b)  # a is first: what it sends in the new epoch finds b in the old one
    begin(a, 6, 4, a.disk[4])
    until(lambda: b.thread._early)
    assert a.thread.machine(1) is not None
    b.enter(2, a)
    begin(b, 6, 4, b.disk[4])
    until(lambda: len(a.over) == len(b.over) == 2)
    assert a.over == b.over == [RunOver(1, 6, "completed", "")] * 2
    assert b.thread.counts.get(("dropped", ("epoch",)), 0) == 0
    assert a.thread.figures[1].cross_bytes > crossed, "what the run has cost is counted through all its views"
    assert [committed.tick for committed in a.thread.figures[1].ticks] == [4, 5, 6]
    nodes = result(a.thread.runner.engines[1]) | result(b.thread.runner.engines[1])
    assert nodes == Twin(GRAPH).end(PROGRAMS["pagerank"](), 6)[1]


@pytest.mark.parametrize(("tick", "alone", "has_result"), [(6, False, True), (5, False, False), (0, True, False)])
def test_an_ended_run_hands_over_its_engine_only_at_the_tick_of_the_result(
    sides: dict[str, Side], tick: int, alone: bool, has_result: bool
) -> None:
    """A shard that was cut off hears of the end with an engine that stands at another tick, or in the middle of one."""
    a, b = sides.values()
    a.enter(1, b)
    b.enter(1, a)
    begin(a, 6)
    if not alone:
        begin(b, 6)
        until(lambda: a.over and b.over)
    handed: list[Engine | None] = []
    a.thread.order(lambda: a.thread.end_run(1, tick, "", handed.append))
    until(lambda: handed)
    assert [engine is not None for engine in handed] == [has_result]
    assert a.thread.machine(1) is None


def test_a_run_that_outlives_many_others_keeps_its_figures(
    sides: dict[str, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tick_thread, "RUNS_REMEMBERED", 2)
    a, b = sides.values()
    a.enter(1, b)
    begin(a, 6)
    for run in range(2, 6):
        begin(a, 6, run=run)
        a.thread.order(lambda run=run: a.thread.end_run(run, 6, "", lambda _: None) if run < 5 else ())
    until(lambda: a.thread.machine(5))
    assert sorted(a.thread.figures) == [1, 4, 5], "those that go on, and two"
    b.enter(1, a)
    begin(b, 6)
    until(lambda: a.over and b.over)
    assert [committed.tick for committed in a.thread.figures[1].ticks] == [1, 2, 3, 4, 5, 6]


def test_entering_the_same_view_again_keeps_its_runs_and_a_later_one_drops_them(sides: dict[str, Side]) -> None:
    a, b = sides.values()
    a.enter(1, b)
    begin(a, 6)
    until(lambda: a.thread.machine(1))
    machine = a.thread.machine(1)
    a.enter(1, b)
    seen: list[TickMachine] = []
    a.thread.order(lambda: a.thread.with_run(1, lambda found, _: seen.append(found)))
    until(lambda: seen)
    assert seen == [machine]
    a.enter(2, b)
    until(lambda: a.thread.machine(1) is None)
    assert a.thread.runner.engines == {}
    assert 1 in a.thread.figures


class Feed:
    """Hands a thread that was never started what a peer sends, in the test's order."""

    def __init__(self) -> None:
        transport = TickTransport(WILDCARD, curve=None, count=lambda *_: None)
        runner = TickRunner("a", LoadLimits(), time.monotonic_ns)
        self.codec = Codec("test", TICK_TYPES)
        self.thread = TickThread(
            Identity("a", 1), transport, self.codec, runner,
            hand_over=lambda _: None, store=lambda _: None, died=lambda _: None,
        )  # fmt: skip
        self.close = transport.close

    def receive(self, epoch: int, message: object, sender: str = "b", generation: int = 1, founding: str = "") -> None:
        self.thread._receive(self.codec.encode(epoch, sender, generation, message, founding))

    def dropped(self, reason: str) -> int:
        return self.thread.counts.get(("dropped", (reason,)), 0)

    def early(self, run: int) -> int:
        return len(self.thread.runner.plane.early(run))


@pytest.fixture
def feed() -> Iterator[Feed]:
    feed = Feed()
    yield feed
    feed.close()


PEERS = [Peer(Identity("b", 1), "tcp://127.0.0.1:9", None)]
SHARE = PhaseDone(1, entry_of(0, Phase.ADVANCE), 0, b"", 0, "", 0, 0)


def test_only_the_next_epoch_is_kept_and_only_of_members(feed: Feed) -> None:
    feed.thread.enter_view(4, PEERS)
    for epoch in (3, 5, 6, 5):
        feed.receive(epoch, SHARE)
    feed.receive(5, SHARE, sender="x")
    feed.receive(5, SHARE, generation=2)
    assert feed.dropped("epoch") == 2
    feed.thread.enter_view(5, PEERS)
    assert feed.dropped("stranger") == 2
    assert feed.early(1) == 2
    feed.receive(6, SHARE)
    feed.thread.enter_view(7, PEERS)  # 6 was never entered here
    assert feed.dropped("epoch") == 3
    assert feed.early(1) == 0


def test_messages_of_another_founding_are_not_taken_nor_those_that_were_kept(feed: Feed) -> None:
    """Two clusters may have the same names, generations and epochs; of its own a shard may learn late."""
    for founding in ("a6ff", "05c1"):
        feed.receive(1, SHARE, founding=founding)
    feed.thread.enter_view(1, PEERS, "a6ff")
    assert (feed.dropped("foreign"), feed.early(1)) == (1, 1)
    for founding in ("05c1", "a6ff"):
        feed.receive(1, SHARE, founding=founding)
        feed.receive(2, SHARE, founding=founding)
    assert (feed.dropped("foreign"), feed.early(1)) == (3, 1), "a share that came twice is one"
    assert feed.codec.decode(feed.thread._encode(SHARE)).founding == "a6ff"


def test_what_is_kept_of_the_next_epoch_is_bounded(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tick_thread, "NEXT_EPOCH_MESSAGES_MAX", 5)
    for _ in range(9):
        feed.receive(1, SHARE)
    assert feed.dropped("epoch") == 4
    feed.thread.enter_view(1, PEERS)
    assert feed.early(1) == 5
    monkeypatch.setattr(tick_thread, "NEXT_EPOCH_BYTES_MAX", 10_000)
    for _ in range(9):
        feed.receive(2, Checkpoint(1, 4, 0, (0,), (bytes(4000),)))
    assert feed.dropped("epoch") == 4 + 7
    feed.thread.enter_view(2, PEERS)
    assert feed.early(1) == 2


@pytest.mark.parametrize(
    "message", [Checkpoint(1, 4, 2, (3, 5), (b"three", bytes(9000))), CheckpointHeld(1, 4, 3), SHARE]
)
def test_messages_cross_the_wire(feed: Feed, message: object) -> None:
    decoded = feed.codec.decode(feed.codec.encode(1, "b", 1, message)).message
    assert decoded == message


def test_tags_stand_where_they_stood() -> None:
    tags = {kind: tag for tag, kind in TICK_TYPES.items()}
    assert (tags[PhaseDone], tags[Checkpoint], tags[CheckpointHeld]) == (128, 135, 136)


@pytest.mark.parametrize(
    ("kept", "resumed", "tick", "told"),
    [
        ((), 0, 1, None),
        ((4, 5), 3, 6, None),
        ((4, 5), 3, 5, {"advance": {"a": 1.0, "b": 2.0}}),
        ((), 5, 5, {}),  # it was the last of an older view, and the run goes on from it
        ((6,), 5, 5, {}),
        ((9, 10), 0, 5, {}),
    ],
)
def test_a_tick_is_told_once_it_is_committed_whatever_is_known_of_it(
    kept: tuple[int, ...], resumed: int, tick: int, told: dict[str, Any] | None
) -> None:
    """Whoever waits for a tick that was committed in an older view would wait for ever."""
    figures, shards = RunFigures(NAMES), ((10**9, 7), (2 * 10**9, 0))
    for each in kept:
        figures.add(TickCommitted(1, each, ((Phase.ADVANCE, shards),), ((Phase.ADVANCE, 0),)), 0)
    expected = {"tick": tick, "phases": told, "cross_bytes": 7 if told else 0}
    assert figures.of_tick(tick, resumed) == (None if told is None else expected)
