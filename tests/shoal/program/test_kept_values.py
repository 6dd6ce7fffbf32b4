"""Programs that are right are not refused: what nobody can use any more holds nothing of what is kept."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shoal
from shoal import Attribute, Node, NodeProgram
from shoal.colony import Agent, AgentContext
from shoal.colony.places import Place
from shoal.program.kept_values import first_unkept
from tests.shoal.engine.test_resume_check import colony_of, fails, graph


def a_nested_function(held: list[int]) -> None:
    def visit(depth: int) -> None:
        held.append(depth)
        if depth:
            visit(depth - 1)

    visit(3)


def a_caught_exception(held: list[int]) -> None:
    try:
        held.remove(-1)
    except ValueError as error:
        _caught = error
    held.append(1)


def an_exception_that_is_kept(held: list[int]) -> None:
    try:
        held.remove(-1)
    except ValueError as error:
        CAUGHT.append(error)
    held.append(1)


def a_nested_function_behind_an_exception(held: list[int]) -> None:
    pair = [held]

    def visit(depth: int) -> None:
        held.append(depth)
        if depth:
            visit(depth - 1)

    try:
        visit(2)
        held.remove(-1)
    except ValueError as error:
        CAUGHT.append(error)
    pair[0].append(1)


def an_object_that_holds_itself(held: list[int]) -> None:
    class Walk:
        pass

    walk: Any = Walk()
    walk.self, walk.held = walk, held
    held.append(1)


def a_log_record(held: list[int]) -> None:
    held.append(1)
    LOG.info("%s and %s", held, [held])
    LOG.info("%(held)s", {"held": held})


def a_generator_that_is_not_done(held: list[int]) -> None:
    held.append(1)
    next(value for value in held)


CAUGHT: list[Exception] = []
LOG = logging.getLogger("mine")
INNOCENT = [
    a_nested_function,
    a_caught_exception,
    an_exception_that_is_kept,
    a_nested_function_behind_an_exception,
    an_object_that_holds_itself,
    a_log_record,
    a_generator_that_is_not_done,
]
SLOW = [an_exception_that_is_kept, a_nested_function_behind_an_exception, a_log_record]
"""All that is in memory has to be looked through."""


@pytest.mark.parametrize("use", INNOCENT)
def test_what_nobody_can_use_holds_nothing(use: Callable[[list[int]], None], caplog: pytest.LogCaptureFixture) -> None:
    class Innocent(NodeProgram):
        """Uses its memory as one does."""

        name = "innocent"
        count = Attribute(0)

        def on_start(self, node: Node) -> None:
            node.memory["held"] = []

        def on_tick(self, node: Node) -> None:
            use(node.memory["held"])
            node.count = len(node.memory["held"])

    class Walker(Agent):
        held: list[int] = []  # noqa: RUF012  it is each agent's first value

        def act(self, here: AgentContext) -> None:
            use(self.held)
            here.emit("told", len(self.held))

    caplog.set_level(logging.INFO)
    was = gc.isenabled()
    gc.disable()  # so that garbage in cycles stays there for certain
    try:
        for shards, check in ((1, False), (3, True))[: 1 if use in SLOW else 2]:
            with shoal.local(shards, check=check) as session:
                loaded = session.load("g", data=graph())
                assert min(loaded.run(Innocent, ticks=3).result("count").values) >= 3
                if use in SLOW:
                    continue
                assert len(loaded.run(colony_of(Walker), ticks=3).table_rows("signals")) == 30
    finally:
        CAUGHT.clear()
        (gc.enable if was else gc.disable)()


def test_generators_that_go_on_are_left_alone() -> None:
    held: list[int] = [1]

    def values() -> Iterator[int]:
        yield from held
        yield len(held)

    going_on = values()
    assert next(going_on) == 1
    assert first_unkept([{"held": held}], "plain") is not None
    assert list(going_on) == [1]


class Reader(Agent):
    """Reads what stands in its class, and can't be remembered."""

    moves = [(0, 1), (1, 0)]  # noqa: RUF012
    words = {"a": (1, 2)}  # noqa: RUF012
    kinds = {"a", "b"}  # noqa: RUF012

    def act(self, here: AgentContext) -> None:
        here.emit("told", len([*self.moves, *self.words["a"], *self.kinds]))


class Writer(Reader):
    """Writes there."""

    def act(self, here: AgentContext) -> None:
        self.moves.append((1, 1))


def test_what_agents_read_in_their_class_is_a_constant() -> None:
    assert (Reader.moves, Reader.words, Reader.kinds) == ([(0, 1), (1, 0)], {"a": (1, 2)}, {"a", "b"})
    with shoal.local(2, check=True) as session:
        rows = session.load("g", data=graph()).run(colony_of(Reader), ticks=2).table_rows("signals")
    assert {row[-1] for row in rows} == {12.0}
    assert "it can't be changed; give each agent one of its own" in fails(colony_of(Writer))


def test_what_a_constant_holds_cannot_be_changed_either() -> None:
    class Nested(Agent):
        deep: Any = [[1], (2, [3]), {"a": [4]}]  # noqa: RUF012

    for held in (Nested.deep[0], Nested.deep[1][1], Nested.deep[2]["a"]):
        with pytest.raises(TypeError, match="can't be changed"):
            held.append(9)
    assert Nested.deep == [[1], (2, [3]), {"a": [4]}]


def test_each_agent_has_its_own_of_what_stands_in_any_of_its_bases() -> None:
    class One(Agent):
        mine: list[int] = []  # noqa: RUF012

    class Other(Agent):
        also: list[int] = []  # noqa: RUF012

    class Mixin:
        more: list[int] = []  # noqa: RUF012

    class Both(Mixin, One, Other):
        mine: list[int] = [1]  # noqa: RUF012

    one, other = (Both(number, Place(b"p")) for number in (1, 2))
    for agent in (one, other):
        agent.mine.append(agent.id)
        agent.also.append(agent.id)
        agent.more.append(agent.id)
    assert (one.mine, one.also, one.more) == ([1, 1], [1], [1])
    assert (other.mine, other.also, other.more) == ([1, 2], [2], [2])


def test_agents_have_no_slots() -> None:
    with pytest.raises(TypeError, match="would forget them"):
        type("Slotted", (Agent,), {"__slots__": ("x",)})
