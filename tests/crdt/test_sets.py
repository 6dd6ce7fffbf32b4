"""The add-wins set: what concurrent changes mean, and that nothing is left of what was removed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt import Dot, DotContext, ORSet, VersionVector, encode
from tests.crdt.laws import REPLICAS, examples


def test_an_add_wins_over_a_concurrent_removal() -> None:
    """Bieniusa 2012: an element is in when some add of it is not before any removal of it."""
    start = ORSet().add("x", "a")
    assert "x" in start.remove("x").merge(start.add("x", "b"))
    assert "x" in start.add("x", "b").merge(start.remove("x"))


def test_a_removal_wins_over_the_adds_it_has_seen() -> None:
    both = ORSet().add("x", "a").merge(ORSet().add("x", "b"))
    assert "x" not in both.remove("x").merge(both)
    assert "x" in both.merge(ORSet().add("x", "a").remove("x")), "b's add was not seen by the removal"


def test_a_delta_of_a_removal_that_overtakes_the_add_still_removes_it() -> None:
    added = ORSet().add_delta("x", "a")
    removed = ORSet().merge(added).remove_delta("x")
    assert "x" not in ORSet().merge(removed).merge(added)


def test_no_tombstones_remain() -> None:
    """Bieniusa 2012: the optimized set's size depends on the elements in it and the replicas, not on its past."""
    mine = theirs = ORSet()
    sizes = set()
    for cycle in range(300):
        mine = mine.add(cycle, "a").merge(theirs)
        theirs = theirs.merge(mine).add("stays", "b").remove(cycle)
        mine = mine.merge(theirs)
        sizes.add((len(mine.entries), len(mine.context.cloud), len(mine.context.vector.entries)))
    assert sizes == {(1, 0, 2)}
    assert len(encode(mine)) < 40
    assert mine.remove("stays").entries == {}


def test_adding_again_replaces_the_earlier_dots() -> None:
    """Bieniusa 2012, the coalescing of adds: one dot, however often an element is added."""
    many = ORSet()
    for _ in range(50):
        many = many.add("x", "a")
    assert len(many.entries) == 1
    assert next(iter(many.entries.values())) == {Dot("a", 50)}
    assert many.context == DotContext(VersionVector({"a": 50}))


def test_deltas_are_small() -> None:
    """Almeida 2018: a delta's size is that of the change."""
    big = ORSet()
    for number in range(300):
        big = big.add(number, "a")
    assert len(encode(big.add_delta(7, "b"))) < 30
    assert len(encode(big.remove_delta(7))) < 20
    assert len(encode(big)) > 1500


def test_a_lost_delta_leaves_a_gap_that_a_later_state_closes() -> None:
    first = ORSet().add("x", "a")
    second = first.add("y", "a")
    ahead = ORSet().merge(first.add_delta("y", "a"))
    assert set(ahead) == {"y"}
    assert ahead.context.cloud == {Dot("a", 2)}
    assert ahead.merge(second) == second


def test_elements_are_told_apart_by_their_bytes_and_come_in_their_order() -> None:
    elements = ORSet()
    for element in ("x", True, 1.0, 1, (1, 2)):
        elements = elements.add(element, "a")
    assert len(elements) == 5
    assert [repr(element) for element in elements] == ["1", "(1, 2)", "'x'", "True", "1.0"]
    assert list(elements.clear()) == []


def test_a_dot_has_one_element_and_is_in_the_context() -> None:
    dots = frozenset([Dot("a", 1)])
    with pytest.raises(ValueError, match="not in the context"):
        ORSet({b"\x01": dots})
    with pytest.raises(ValueError, match="two elements"):
        ORSet({b"\x01": dots, b"\x02": dots}, DotContext(cloud=dots))


@dataclass(frozen=True)
class Specification:
    """The set by its definition, forgetting nothing (RR-7506, section 3.3.5, Specification 15): all adds ever, each
    unique, and all that were ever removed."""

    adds: frozenset[tuple[str, int]] = frozenset()
    removed: frozenset[tuple[str, int]] = frozenset()

    def elements(self) -> set[str]:
        return {element for element, _ in self.adds - self.removed}

    def merge(self, other: Specification) -> Specification:
        return Specification(self.adds | other.adds, self.removed | other.removed)


steps = st.lists(
    st.tuples(
        st.sampled_from(("add", "remove", "send", "deliver", "deliver")),
        st.integers(0, 2),
        st.sampled_from("xy"),
        st.integers(0, 30),
    ),
    max_size=40,
)


@examples(400)
@given(steps)
def test_against_the_specification(history: list[tuple[str, int, str, int]]) -> None:
    """The dumb twin keeps all tombstones; the set without them has the same elements after every step."""
    states = [(ORSet(), Specification())] * 3
    messages: list[tuple[ORSet, Specification]] = []
    for unique, (kind, who, element, message) in enumerate(history):
        mine, twin = states[who]
        change = (ORSet(), Specification())
        if kind == "add":
            seen = frozenset(add for add in twin.adds if add[0] == element)
            change = (mine.add_delta(element, REPLICAS[who]), Specification(frozenset([(element, unique)]), seen))
        elif kind == "remove":
            change = (
                mine.remove_delta(element),
                Specification(removed=twin.adds & {a for a in twin.adds if a[0] == element}),
            )
        elif kind == "send":
            change = states[who]
        elif messages:
            change = messages[message % len(messages)]
        messages.append(change)
        states[who] = (mine.merge(change[0]), twin.merge(change[1]))
        assert set(states[who][0]) == states[who][1].elements()
