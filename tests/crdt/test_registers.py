"""The register in which the last writer wins."""

from __future__ import annotations

import itertools

import pytest

from crdt import LWWRegister, Timestamp, Value, encode
from tests.crdt.laws import VALUES

EARLY, LATE = Timestamp(1, 0, "b"), Timestamp(2, 0, "a")


def test_the_greatest_timestamp_wins_in_any_order() -> None:
    """RR-7506, section 3.2.1: the timestamps' order, not the order of arrival."""
    old, new = LWWRegister().set("old", EARLY), LWWRegister().set("new", LATE)
    assert old.merge(new).value == new.merge(old).value == "new"


def test_the_replica_parts_equal_readings() -> None:
    left = LWWRegister().set("from a", Timestamp(1, 0, "a"))
    right = LWWRegister().set("from b", Timestamp(1, 0, "b"))
    assert left.merge(right).value == right.merge(left).value == "from b"


@pytest.mark.parametrize(("left", "right"), list(itertools.combinations(VALUES, 2)))
def test_one_timestamp_and_two_values_still_merge_alike(left: Value, right: Value) -> None:
    """The case that the paper leaves open: to Python, some of these values are even equal."""
    x = LWWRegister().set(left, LATE)
    y = LWWRegister().set(right, LATE)
    assert x != y
    assert encode(x.merge(y)) == encode(y.merge(x))


def test_a_nan_equals_itself_here() -> None:
    assert LWWRegister().set(float("nan"), LATE) == LWWRegister().set(-float("nan"), LATE)


def test_cleared_is_not_none() -> None:
    register = LWWRegister().set(None, EARLY)
    assert register.is_set
    assert register.value is None
    cleared = register.clear(LATE)
    assert not cleared.is_set
    assert cleared.value is None
    assert cleared.set("too late", EARLY) == cleared


def test_a_write_beats_a_removal_of_the_same_timestamp() -> None:
    assert LWWRegister().clear(LATE).set("x", LATE).value == "x"


def test_a_write_names_its_writer() -> None:
    with pytest.raises(ValueError, match="names the replica"):
        LWWRegister().set("x", Timestamp())
    with pytest.raises(ValueError, match="names the replica"):
        LWWRegister().clear(Timestamp(5))
