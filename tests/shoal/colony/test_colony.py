"""What agents see, do and may not do, and how edges change: against loops over dicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal
from shoal.colony import Agent, AgentContext, Colony, Neighbour, PartitionContext, Place, Signal, Trace, substrate
from shoal.colony.agents import from_record, to_record
from tests.shoal.colony.colonies import Walkers
from tests.shoal.engine.test_restore import Group

RING = shoal.from_arrays(np.arange(6), (np.arange(6) + 1) % 6, partition_count=7)
Script = Callable[[Any, AgentContext], Any]


class Actor(Agent):
    """Does what the test at hand says."""

    kind = "actor"
    sees: ClassVar[Script | None] = None
    does: ClassVar[Script | None] = None
    ages: ClassVar[Script | None] = None

    def sense(self, here: AgentContext) -> None:
        if Actor.sees is not None:
            Actor.sees(self, here)

    def act(self, here: AgentContext) -> None:
        if Actor.does is not None:
            Actor.does(self, here)

    def decay(self, here: AgentContext) -> None:
        if Actor.ages is not None:
            Actor.ages(self, here)


class Mortal(Agent):
    """Does nothing."""

    idle_max = 2


class Stage(Colony):
    """Six nodes in a ring, and an actor at the first."""

    name = "trial-stage"
    agents = (Actor, Mortal)
    signals = (Signal("sound", decay=0.5, threshold=0.2),)
    traces = (Trace("step", decay=0.5, threshold=0.2),)
    counters_shown = ("said",)

    def populate(self, ground: PartitionContext) -> None:
        for place in ground.nodes:
            ground.spawn(Actor if place.ordinal == 0 else Mortal, place)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., shoal.Run]:
    def run(
        does: Script | None = None,
        sees: Script | None = None,
        ages: Script | None = None,
        ticks: int = 3,
        shards: int = 2,
        **params: Any,
    ) -> shoal.Run:
        for name, script in (("does", does), ("sees", sees), ("ages", ages)):
            monkeypatch.setattr(Actor, name, script)
        return shoal.local(shards).load("ring", data=RING).run(Stage, ticks=ticks, **params)

    return run


def test_what_is_done_is_seen_in_the_next_tick_and_fades(play: Callable[..., shoal.Run]) -> None:
    heard = []

    def does(agent: Agent, here: AgentContext) -> None:
        heard.append((here.tick, here.signal("sound"), here.traces("step"), here.fresh("step")))
        if here.tick == 1:
            here.emit("sound", 0.5)
            here.emit("sound", 0.3)
            here.leave("step")
            here.leave("step", author=77)

    play(does, ticks=4)
    steps = [(Place.node(0), author) for author in (77, heard_id())]
    assert heard == [(1, 0.0, 0, []), (2, 0.8, 2, steps), (3, 0.4, 2, []), (4, 0.2, 2, [])]


def heard_id() -> int:
    """The actor's: where it was born, and that it was the first there."""
    return int(RING.partition[0]) << 40


def test_an_agent_walks_along_edges_and_meets_others(play: Callable[..., shoal.Run]) -> None:
    seen: list[Any] = []

    def does(agent: Agent, here: AgentContext) -> None:
        seen.append((here.node, [type(other).__name__ for other in here.others()]))
        here.move(here.neighbours()[0].place)

    play(does, ticks=3)
    assert seen == [(0, []), (1, ["Mortal"]), (2, ["Mortal"])]


def test_who_is_idle_for_too_long_dies(play: Callable[..., shoal.Run]) -> None:
    assert [play(ticks=ticks).show()["figures"]["died"] for ticks in (2, 3)] == [0, 5]


def test_a_colony_of_nobody_is_over(play: Callable[..., shoal.Run]) -> None:
    run = play(lambda agent, here: here.die(), ticks=50)
    assert (run.tick, run.show()["figures"]["died"], run.show()["figures"]["agents"]) == (3, 6, 0)


def test_the_young_begin_in_the_next_tick(play: Callable[..., shoal.Run]) -> None:
    def does(agent: Any, here: AgentContext) -> None:
        if here.tick == 1:
            here.spawn(Actor, Place.node(3), name="child")
        if vars(agent).get("name") == "child":
            here.count("said", here.tick)

    run = play(does, ticks=2)
    (child,) = (row for row in run.table_rows("agents") if row[2] == "node 3" and row[1] == "actor")
    assert child[0] >> 40 == heard_id() >> 40, "named after the partition where it was born"
    assert child[3:] == (1, 0, '{"name": "child"}')
    assert run.show()["figures"]["said"] == 2


def test_a_ghost_is_known_once_its_owner_has_answered(play: Callable[..., shoal.Run]) -> None:
    seen: list[tuple[int, list[Neighbour]]] = []

    def does(agent: Agent, here: AgentContext) -> None:
        if here.tick == 1:
            here.present("a")
            here.present("b", label="Bee")
            here.wire("a", "b")
            here.move(Place.concept("a"))
        else:
            seen.append((here.tick, here.neighbours()))

    run = play(does, ticks=4)
    known = [[end.concept and (end.concept.accesses, end.concept.created) for end in ends] for _, ends in seen]
    assert known == [[None], [None], [(1, 1)]]
    assert [end.place for end in seen[0][1]] == [Place.concept("b")]
    figures = run.show()["figures"]
    assert (figures["ghosts"], figures["ghosts_resolved"], figures["cross_partition_edges"]) == (2, 2, 1)
    assert {row[0]: row[2] for row in run.table_rows("concepts")} == {"a": "a", "b": "Bee"}


def test_chance_follows_from_seed_tick_and_agent(play: Callable[..., shoal.Run]) -> None:
    drawn: list[float] = []
    for seed in (1, 1, 2):
        play(lambda agent, here: drawn.append(here.random() + here.random()), ticks=2, seed=seed)
    assert drawn[:2] == drawn[2:4]
    assert len(set(drawn)) == 4


MISTAKES: dict[str, tuple[dict[str, Script], str]] = {
    "acting while it senses": ({"sees": lambda a, here: here.emit("sound")}, "in `act`"),
    "acting while it ages": ({"ages": lambda a, here: here.move(Place.node(1))}, "in `act`"),
    "looking elsewhere": ({"sees": lambda a, here: here.signal("sound", Place.node(3))}, "is not in partition"),
    "a signal that is none": ({"does": lambda a, here: here.emit("sond")}, "no signal 'sond'; did you mean 'sound'"),
    "a loop": ({"does": lambda a, here: here.wire("a", "a")}, "joins two concepts"),
    "an edge to a node": ({"does": lambda a, here: here.wire("a", here.place)}, "is a node of the graph"),
    "a key that is none": ({"does": lambda a, here: here.present("")}, "a concept's key has"),
    "a stranger": ({"does": lambda a, here: here.spawn(Agent)}, "declares no agent"),
    "a memory that is none": ({"does": lambda a, here: setattr(a, "seen", {1, 2})}, "an agent remembers"),
    "a tuple": ({"does": lambda a, here: setattr(a, "seen", (1, 2))}, "an agent remembers"),
    "a number of numpy's": ({"does": lambda a, here: setattr(a, "seen", np.float64(1))}, "an agent remembers"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_the_run_with_a_sentence(play: Callable[..., shoal.Run], mistake: str) -> None:
    scripts, sentence = MISTAKES[mistake]
    with pytest.raises(shoal.RunFailed, match=sentence):
        play(**scripts)


def test_an_agent_is_as_it_was_after_a_journey() -> None:
    agent = Actor(7, Place.concept("sea"), 3, 1)
    vars(agent).update(name="é", parts=[1, 2.5, None, {"b": b"x", "a": True}])
    again = from_record(to_record(agent), {"actor": Actor})
    assert vars(again) == vars(agent)
    assert list(again.memory["parts"][3]) == ["b", "a"]
    for wrong in (b"", b"\xc1", to_record(agent)[:-1], b"\x96\xa5actor\x01\x01\x01\x01\x80"):
        with pytest.raises(ValueError, match="makes no sense"):
            from_record(wrong, {"actor": Actor})
    with pytest.raises(ValueError, match="makes no sense"):
        from_record(to_record(agent), {})


RULE = {
    "edge_decay": 0.2,
    "maturation": 2,
    "prune_below": 0.15,
    "degree_max": 2,
    "reinforcement": 0.2,
    "staleness": 3.0,
}
WIRES = st.lists(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=6), min_size=1, max_size=7
)


def twin(script: list[list[tuple[str, str]]]) -> dict[tuple[str, str], list[float]]:
    """Weight, together, created and activated of each edge, by the rules as they are written down."""
    edges: dict[tuple[str, str], list[float]] = {}
    for tick, pairs in enumerate(script, start=1):
        let_go = set()
        for node in "abcdef":
            mine = [(-edge[0], *(set(ends) - {node}), ends) for ends, edge in edges.items() if node in ends]
            let_go |= {ends for _, _, ends in sorted(mine)[RULE["degree_max"] :]}
        for ends, edge in list(edges.items()):
            mature = tick - edge[2] >= RULE["maturation"]
            idle = (tick - edge[3]) / 100.0
            rate = RULE["edge_decay"] * (1.0 + RULE["staleness"] * idle / (1.0 + edge[1] / 2.0))
            edge[0] *= 1.0 - min(rate if mature else RULE["edge_decay"], 0.5)
            if ends in let_go or (mature and edge[0] < RULE["prune_below"]):
                del edges[ends]
        times: dict[tuple[str, str], int] = {}
        for one, other in pairs:
            if one != other:
                ends = (min(one, other), max(one, other))
                times[ends] = times.get(ends, 0) + 1
        for ends, count in times.items():
            edge = edges.setdefault(ends, [0.0, 0, tick, tick])
            edge[:] = [min(1.0, edge[0] + RULE["reinforcement"] * count), edge[1] + count, edge[2], tick]
    return edges


@given(script=WIRES)
@settings(deadline=None, max_examples=60)
def test_edges_change_as_is_written(script: list[list[tuple[str, str]]]) -> None:
    class Wirer(Agent):
        def act(self, here: AgentContext) -> None:
            for one, other in script[here.tick - 1]:
                if one != other:
                    here.wire(one, other)

    class Wiring(Colony):
        name = "trial-wiring"
        agents = (Wirer,)

        def populate(self, ground: PartitionContext) -> None:
            for place in ground.nodes[: Place.node(0) in ground.nodes]:
                ground.spawn(Wirer, place)

    with shoal.local(2) as session:
        run = session.load("ring", data=RING).run(Wiring, ticks=len(script), **RULE)
        found = {(source, target): list(rest) for source, target, *rest in run.table_rows("edges")}
    assert found == twin(script)


def test_names_that_nobody_needs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else changes."""
    params = {"edge_decay": 0.3, "maturation": 1, "degree_max": 2}
    captured = []
    for spare in (1 << 16, 0):
        monkeypatch.setattr(substrate, "SPARE", spare)
        group = Group(RING, Walkers, [0, 1, 2, 0, 1, 2, 0], **params)
        group.begin()
        for tick in range(1, 9):
            group.tick(tick)
        captured.append((group.captured, group.totals()))
    assert captured[0] == captured[1]
