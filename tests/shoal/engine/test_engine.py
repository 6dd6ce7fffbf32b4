"""The engine: what leaves with a phase, and that nothing that does not fit is taken in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import shoal
from shoal import Aggregate, Channel, Column, Direction, GraphData, Merge, Phase, Program, UnknownColumn, Workspace
from shoal.engine.engine import BadExchange, Engine, Incoming, Outgoing
from shoal.graph.partitions import part_of
from shoal.graph.shard_graph import Placement
from tests.trials import Everything

SHARDS = ("x", "y", "z")


def ring(size: int = 24) -> GraphData:
    nodes = np.arange(size)
    return shoal.from_arrays(nodes, (nodes + 1) % size, partition_count=8)


def engines(program: type[Program], data: GraphData | None = None, shards: tuple[str, ...] = SHARDS) -> list[Engine]:
    data = data or ring()
    placement = Placement(shards, np.arange(data.partition_count, dtype=np.int16) % len(shards))
    return [Engine(part_of("g", data, placement, i), program()) for i in range(len(shards))]


def exchange(group: list[Engine], tick: int, phase: Phase) -> dict[str, Outgoing]:
    sent = {engine.part.shard: engine.run(tick, phase) for engine in group}
    for engine in group:
        me = engine.part.shard
        shares = {peer: out.to(me) for peer, out in sent.items() if peer != me}
        for peer, share in shares.items():
            engine.check(peer, phase, share)
        engine.settle(phase, shares)
    return sent


class Gathers(Program):
    """Gathers one column."""

    name = "gathers"
    columns = (Column("level", np.int64, ghosts=Direction.IN), Column("own", np.float64))
    aggregates = (Aggregate("least", Merge.MIN), Aggregate("sum", Merge.SUM, np.int64))

    def start(self, ws: Workspace) -> None:
        ws.set("level", ws.part.ordinals)
        ws.set("own", 0.5)
        ws.contribute("sum", ws.part.ordinals)

    def advance(self, ws: Workspace) -> None:
        if ws.tick == 1:
            ws.set("level", ws.gather("level"))


def test_only_what_was_written_leaves_and_only_along_the_boundary() -> None:
    group = engines(Gathers)
    sent = exchange(group, 0, Phase.ADVANCE)
    for engine in group:
        out = sent[engine.part.shard]
        assert out.columns == 1
        for peer, boundary in engine.part.sends.items():
            (frame,) = out.frames[peer]
            assert frame.tolist() == engine.part.ordinals[boundary.nodes[boundary.bounds(Direction.IN)]].tolist()
        assert out.nbytes == sum(f.nbytes for fs in out.frames.values() for f in fs) + 2 * len(out.aggregates)
    exchange(group, 1, Phase.ADVANCE)
    quiet = exchange(group, 2, Phase.ADVANCE)
    assert all(out.columns == 0 and not any(out.frames.values()) for out in quiet.values())
    for engine in group:  # what nobody wrote is still there, for its neighbours too
        expected = (engine.part.ordinals - 1) % 24
        assert engine.result("level").tolist() == expected.tolist()
        assert engine.ws.gather("level").tolist() == ((expected - 1) % 24).tolist()


def test_an_aggregate_without_contributions_is_its_identity() -> None:
    group = engines(Gathers)
    exchange(group, 0, Phase.ADVANCE)
    assert {(float(e.ws.total("least")), int(e.ws.total("sum"))) for e in group} == {(float("inf"), 276)}
    exchange(group, 1, Phase.ADVANCE)
    assert {int(e.ws.total("sum")) for e in group} == {0}


def test_phases_without_data_carry_nothing() -> None:
    group = engines(Everything)
    exchange(group, 0, Phase.ADVANCE)
    sent = exchange(group, 1, Phase.SENSE)
    assert all(not out.columns and not out.aggregates and not out.nbytes for out in sent.values())


def test_the_order_of_peers_does_not_matter() -> None:
    def run(reverse: bool) -> list[Any]:
        group = engines(Everything)
        for tick in range(4):
            for phase in Phase if tick else (Phase.ADVANCE,):
                sent = {engine.part.shard: engine.run(tick, phase) for engine in group}
                for engine in group:
                    names = [name for name in (reversed(SHARDS) if reverse else SHARDS) if name != engine.part.shard]
                    engine.settle(phase, {name: sent[name].to(engine.part.shard) for name in names})
        return [engine.result(name).tobytes() for engine in group for name in ("a", "b", "c", "heard", "marks")]

    assert run(False) == run(True)


WRONG = {
    "a column that the program does not have": lambda s: Incoming(s.columns | 8, s.aggregates, s.frames),
    "a column too few": lambda s: Incoming(s.columns & ~1, s.aggregates, s.frames),
    "a frame too few": lambda s: Incoming(s.columns, s.aggregates, s.frames[1:]),
    "a frame too many": lambda s: Incoming(s.columns, s.aggregates, (*s.frames, b"12345678")),
    "a frame cut short": lambda s: Incoming(s.columns, s.aggregates, (bytes(s.frames[0])[:-8], *s.frames[1:])),
    "aggregates cut short": lambda s: Incoming(s.columns, s.aggregates[:-1], s.frames),
    "no aggregates": lambda s: Incoming(s.columns, b"", s.frames),
    "negative columns": lambda s: Incoming(-1, s.aggregates, s.frames),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_ghosts_that_do_not_fit_are_refused(wrong: str) -> None:
    one, other, _ = engines(Everything)
    share = other.run(0, Phase.ADVANCE).to("x")
    one.check("y", Phase.ADVANCE, share)
    with pytest.raises(BadExchange):
        one.check("y", Phase.ADVANCE, WRONG[wrong](share))


def _nodes(*values: int) -> bytes:
    return np.array(values, dtype=np.int32).tobytes()


def _array(*values: int) -> bytes:
    return np.array(values, dtype=np.int64).tobytes()


POSTED = {
    "a channel missing": (_nodes(0), _array(0), _nodes(0)),
    "lengths that differ": (_nodes(0, 0), _array(0), _nodes(0), b"", b"", b""),
    "half a number": (b"1234", b"1234", b"1234", b"", b"", b""),
    "a node beyond the graph": (_nodes(10**6), _array(0), _nodes(0), b"", b"", b""),
    "a node before it": (_nodes(-1), _array(0), _nodes(0), b"", b"", b""),
}


@pytest.mark.parametrize("wrong", POSTED)
def test_posts_that_do_not_fit_are_refused(wrong: str) -> None:
    one, other, _ = engines(Everything)
    for engine in (one, other):
        engine.run(0, Phase.ADVANCE)
    one.check("y", Phase.ACT, other.run(1, Phase.ACT).to("x"))
    with pytest.raises(BadExchange):
        one.check("y", Phase.ACT, Incoming(0, b"", POSTED[wrong]))
    with pytest.raises(BadExchange, match="1 arrays where 0 were due"):
        one.check("y", Phase.SENSE, Incoming(0, b"", (b"",)))


class Posts(Program):
    """Posts what its class says."""

    name = "posts"
    columns = (Column("seen", np.int64),)
    channels = (Channel("mail", np.int64),)

    def start(self, ws: Workspace) -> None:
        ws.set("seen", 0)

    def act(self, ws: Workspace) -> None:
        rows = np.arange(ws.part.size)[::-1]  # whatever the order of posting
        for targets in (ws.part.out_edges.neighbours[rows], ws.part.in_edges.neighbours[rows]):
            ws.post("mail", rows, targets, ws.part.ordinals[rows])

    def decay(self, ws: Workspace) -> None:
        nodes, values = ws.arrived("mail")
        assert nodes.tolist() == sorted(nodes.tolist())
        for node in range(ws.part.size):
            ordinal = int(ws.part.ordinals[node])
            assert values[nodes == node].tolist() == sorted([(ordinal - 1) % 24, (ordinal + 1) % 24])

    def advance(self, ws: Workspace) -> None:
        assert not len(ws.arrived("mail")[0]) or ws.tick


@pytest.mark.parametrize("shards", [("x",), SHARDS])
def test_mail_arrives_by_target_and_then_by_sender(shards: tuple[str, ...]) -> None:
    group = engines(Posts, shards=shards)
    for tick in range(3):
        for phase in (Phase.ACT, Phase.DECAY, Phase.ADVANCE) if tick else (Phase.ADVANCE,):
            exchange(group, tick, phase)


def test_mail_to_nowhere_is_the_programs_mistake() -> None:
    (engine,) = engines(Posts, shards=("x",))
    for nowhere in (-1, engine.part.size):
        with pytest.raises(IndexError, match=rf"channel 'mail': targets are local indices, and {nowhere} is none"):
            engine.ws.post("mail", np.array([0]), np.array([nowhere]), np.array([1]))
    with pytest.raises(IndexError, match="senders are own nodes"):
        engine.ws.post("mail", np.array([engine.part.size]), np.array([0]), np.array([1]))


def test_what_is_not_declared_is_named() -> None:
    ws = engines(Everything)[0].ws
    with pytest.raises(UnknownColumn, match="declares no column 'hear'; did you mean 'heard'"):
        ws.column("hear")
    with pytest.raises(UnknownColumn, match="declares no aggregate 'sum'"):
        ws.total("sum")
    with pytest.raises(UnknownColumn, match="declares no channel 'words'; did you mean 'word'"):
        ws.arrived("words")
    with pytest.raises(UnknownColumn, match="not declared with ghosts in direction 'out'"):
        ws.gather("a", Merge.SUM, Direction.OUT)
