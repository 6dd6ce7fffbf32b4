"""The one harness that every lattice goes through: histories of replicas, and the laws that must hold in all of them.

A *subject* is a lattice with its mutators. A *history* is what a few replicas did: each changes its own state only, and
sends deltas or whole states, which arrive late, repeatedly, in any order or never. Laws are checked on states that such
histories reach, deltas included, since a causal lattice is one only there (a dot is one event of one replica).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from crdt import (
    Dot,
    DotContext,
    GCounter,
    LWWMap,
    LWWRegister,
    ORSet,
    PNCounter,
    Timestamp,
    Value,
    VersionVector,
)

REPLICAS = ("a", "b", "c")

# Equal to Python, or unequal to themselves, but different (or the same) as bytes; few, so that they meet.
VALUES: tuple[Value, ...] = (1, True, 1.0, 0.0, -0.0, float("nan"), "x", b"x", None, (1, "x"), ())


def examples(count: int) -> settings:
    """The same examples each time, so that a red run in CI is red everywhere; no deadline, for busy machines."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


@dataclass(frozen=True)
class Choice:
    """What a mutator may make of one step: which operation, on what, how much, when."""

    operation: int
    item: int
    amount: int


Mutator = Callable[[Any, str, Choice], tuple[Any, Any]]


@dataclass(frozen=True)
class Subject:
    """A lattice, its bottom, and its mutators, each giving (the whole new value, the delta)."""

    name: str
    bottom: Any
    mutators: tuple[Mutator, ...]

    def mutate(self, state: Any, replica: str, choice: Choice) -> tuple[Any, Any]:
        return self.mutators[choice.operation % len(self.mutators)](state, replica, choice)


def _value(choice: Choice) -> Value:
    return VALUES[choice.item % len(VALUES)]


def _stamp(replica: str, choice: Choice) -> Timestamp:
    # few wall clock readings: equal stamps with different values do happen, and must merge alike all the same
    return Timestamp(1 + choice.amount, choice.operation % 2, replica)


SUBJECTS = (
    Subject(
        "GCounter",
        GCounter(),
        (
            lambda x, r, c: (x.increment(r, c.amount), x.increment_delta(r, c.amount)),
            lambda x, r, c: (x.advanced(r, c.item), x.advanced_delta(r, c.item)),
        ),
    ),
    Subject(
        "PNCounter",
        PNCounter(),
        (
            lambda x, r, c: (x.increment(r, c.amount), x.increment_delta(r, c.amount)),
            lambda x, r, c: (x.decrement(r, c.amount), x.decrement_delta(r, c.amount)),
        ),
    ),
    Subject("VersionVector", VersionVector(), (lambda x, r, c: (x.increment(r), x.increment_delta(r)),)),
    Subject(
        "DotContext",
        DotContext(),
        (
            lambda x, r, c: (x.add(x.next_dot(r)), x.add_delta(x.next_dot(r))),
            lambda x, r, c: (x.add(Dot(r, c.item + 1)), x.add_delta(Dot(r, c.item + 1))),
        ),
    ),
    Subject(
        "LWWRegister",
        LWWRegister(),
        (
            lambda x, r, c: (x.set(_value(c), _stamp(r, c)), x.set_delta(_value(c), _stamp(r, c))),
            lambda x, r, c: (x.clear(_stamp(r, c)), x.clear_delta(_stamp(r, c))),
        ),
    ),
    Subject(
        "LWWMap",
        LWWMap(),
        (
            lambda x, r, c: (
                x.set(_value(c), c.item, _stamp(r, c)),
                x.set_delta(_value(c), c.item, _stamp(r, c)),
            ),
            lambda x, r, c: (x.remove(_value(c), _stamp(r, c)), x.remove_delta(_value(c), _stamp(r, c))),
        ),
    ),
    Subject(
        "ORSet",
        ORSet(),
        (
            lambda x, r, c: (x.add(_value(c), r), x.add_delta(_value(c), r)),
            lambda x, r, c: (x.remove(_value(c)), x.remove_delta(_value(c))),
            lambda x, r, c: (x.add(_value(c), r), x.add_delta(_value(c), r)),
            lambda x, r, c: (x.clear(), x.clear_delta()) if c.amount == 3 else (x, x.remove_delta("absent")),
        ),
    ),
)


@dataclass(frozen=True)
class Step:
    """One step of a history: `replica` mutates; or it sends its state; or message number `message` reaches it."""

    kind: str
    replica: int
    message: int
    choice: Choice


KINDS = ("mutate", "mutate", "send", "deliver", "deliver")
SIZES = (len(KINDS), len(REPLICAS), 16, 4, len(VALUES), 4)


def _step(number: int) -> Step:
    """One number is one step: drawing each of its parts by itself took most of these tests' time."""
    parts = []
    for size in SIZES:
        number, part = divmod(number, size)
        parts.append(part)
    kind, replica, message, operation, item, amount = parts
    return Step(KINDS[kind], replica, message, Choice(operation, item, amount))


steps = st.integers(0, math.prod(SIZES) - 1).map(_step)
histories = st.lists(steps, min_size=10, max_size=30)  # shorter ones rarely have two messages that cross


@dataclass
class World:
    """Replicas that lived through a history. A message is never used up: it can arrive again, or never."""

    subject: Subject
    states: list[Any] = field(default_factory=list)
    deltas: list[Any] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)

    @classmethod
    def after(cls, subject: Subject, history: list[Step]) -> World:
        world = cls(subject, [subject.bottom] * len(REPLICAS))
        for step in history:
            world.take(step)
        return world

    def take(self, step: Step) -> None:
        state = self.states[step.replica]
        if step.kind == "mutate":
            after, delta = self.subject.mutate(state, REPLICAS[step.replica], step.choice)
            assert state.merge(delta) == after, "delta law: a state with its delta is the mutated state"
            assert state <= after, "a mutator moves upwards"
            self.states[step.replica] = after
            self.deltas.append(delta)
            self.messages.append(delta)
        elif step.kind == "send":
            self.messages.append(state)
        elif self.messages:
            self.states[step.replica] = state.merge(self.messages[step.message % len(self.messages)])

    @property
    def values(self) -> list[Any]:
        """All values this history has seen: bottom, states, deltas, and states on their way."""
        return [self.subject.bottom, *self.states, *self.messages]


def check_pair(a: Any, b: Any) -> None:
    """The laws that speak of two values."""
    both = a.merge(b)
    assert a.merge(a) == a, "idempotent"
    assert both == b.merge(a), "commutative"
    assert hash(both) == hash(b.merge(a)), "equal values hash alike"
    assert repr(both) == repr(b.merge(a)) or "frozenset" in repr(both), "one normal form, in one order"
    assert a <= both, "upper bound"
    assert b <= both, "upper bound"
    assert (a <= b) == (both == b), "the order is the one that merge gives"
    assert (a == b) == (a <= b and b <= a), "antisymmetric"


def check_triple(a: Any, b: Any, c: Any) -> None:
    """The laws that speak of three values."""
    assert a.merge(b).merge(c) == a.merge(b.merge(c)), "associative"
    assert a.merge(c) <= a.merge(b).merge(c), "monotone: more knowledge in, no less out"
    if a <= c and b <= c:
        assert a.merge(b) <= c, "least upper bound"
    if a <= b and b <= c:
        assert a <= c, "transitive"
