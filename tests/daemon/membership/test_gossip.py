"""The queue of rumours: SWIM section 4.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.membership.gossip import GossipQueue, retransmissions_max
from daemon.membership.messages import ALIVE, DEAD, Record
from tests.daemon.membership.network import identity


def record(name: str, incarnation: int = 0, status: int = ALIVE) -> Record:
    return Record(identity(name), incarnation, status)


@pytest.mark.parametrize("members", [2, 9, 10, 100, 1000])
def test_a_rumour_is_passed_on_at_most_lambda_log_n_times(members: int) -> None:
    """SWIM 4.1: "piggybacked at most lambda log n times"."""
    queue = GossipQueue(4, 10)
    queue.offer(record("a"))
    taken = 0
    while queue.take(1, members):
        taken += 1
    assert taken == retransmissions_max(4, members)
    assert not len(queue)


def test_the_least_transmitted_go_first() -> None:
    """SWIM 4.1: "preferring elements that have been gossiped fewer times"."""
    queue = GossipQueue(4, 10)
    queue.offer(record("old"))
    queue.take(1, 8)
    queue.offer(record("young"))
    assert [r.name for r in queue.take(1, 8)] == ["young"]
    assert [r.name for r in queue.take(2, 8)] == ["young", "old"]  # even: the newest first


def test_what_is_urgent_goes_before_all_else_until_its_limit() -> None:
    queue = GossipQueue(4, 10)
    queue.offer(record("me", 1), urgent=True)
    for _ in range(retransmissions_max(4, 8)):
        queue.offer(record("fresh"))
        assert [r.name for r in queue.take(1, 8)] == ["me"]
    assert [r.name for r in queue.take(1, 8)] == ["fresh"]


def test_newer_word_of_a_member_replaces_the_older_and_starts_afresh() -> None:
    queue = GossipQueue(4, 10)
    queue.offer(record("a"))
    queue.take(1, 8)
    queue.offer(record("a", 0, DEAD))
    told = [queue.take(1, 8) for _ in range(4)]
    assert told == [(record("a", 0, DEAD),)] * 4
    assert queue.take(1, 8) == ()


def test_a_member_is_not_told_about_itself() -> None:
    queue = GossipQueue(4, 10)
    queue.offer(record("a"))
    assert queue.take(5, 8, besides="a") == ()


def test_over_its_limit_the_queue_drops_what_was_told_most() -> None:
    queue = GossipQueue(4, 2)
    queue.offer(record("a"))
    queue.take(1, 8)
    assert queue.offer(record("b"))
    assert not queue.offer(record("c"))
    assert "a" not in queue
    assert len(queue) == 2


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.integers(0, 4)), max_size=60))
def test_no_rumour_is_ever_told_more_often_than_the_limit(steps: list[tuple[str, bool, int]]) -> None:
    queue = GossipQueue(2, 4)
    told: dict[tuple[str, int], int] = {}
    for incarnation, (name, urgent, count) in enumerate(steps):
        queue.offer(record(name, incarnation), urgent=urgent)
        for taken in queue.take(count, 8):
            key = (taken.name, taken.incarnation)
            told[key] = told.get(key, 0) + 1
        queue.validate()
    assert all(times <= retransmissions_max(2, 8) for times in told.values())
