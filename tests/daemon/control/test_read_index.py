"""A read is answered when as much is applied here as was committed anywhere when it was asked."""

from __future__ import annotations

from random import Random

import pytest

from daemon.control.read_index import RESEND_INTERVAL_NS, Reads

LATE = 10**12


def led(waiting_max: int = 1024) -> Reads:
    reads = Reads(waiting_max)
    reads.leader_changed(has_leader=True)
    return reads


def test_a_read_waits_for_the_leaders_word_and_then_for_the_log() -> None:
    reads = led()
    assert reads.add("a", LATE)
    assert reads.deadline == 0
    assert reads.due(0) == "a"
    assert reads.applied(99) == []
    reads.told("a", 7)
    assert reads.due(0) is None
    assert reads.applied(6) == []
    assert reads.applied(7) == ["a"]
    assert reads.applied(7) == []
    assert reads.deadline is None


def test_a_question_is_asked_again_until_it_is_answered() -> None:
    reads = led()
    reads.add("a", LATE)
    assert reads.due(0) == "a"
    assert reads.due(1) is None
    assert reads.deadline == RESEND_INTERVAL_NS
    assert reads.due(RESEND_INTERVAL_NS) == "a"


def test_reads_that_come_together_share_a_question_and_later_ones_the_next() -> None:
    reads = led()
    reads.add("a", LATE)
    reads.add("b", LATE)
    assert reads.due(0) == "a"
    reads.add("c", LATE)
    reads.add("d", LATE)
    reads.told("a", 7)
    assert reads.applied(9) == ["a", "b"], "c and d may have to see more than was committed when a was asked"
    assert reads.due(0) == "c"
    reads.told("a", 7)
    assert reads.applied(9) == [], "an answer that comes twice is none to another question"
    reads.told("c", 8)
    assert reads.applied(9) == ["c", "d"]


def test_a_new_leader_is_asked_at_once_and_no_leader_nothing() -> None:
    reads = led()
    reads.add("a", LATE)
    reads.due(0)
    reads.leader_changed(has_leader=False)
    assert reads.due(LATE // 2) is None
    assert reads.deadline == LATE
    reads.leader_changed(has_leader=True)
    assert reads.deadline == 0
    assert reads.due(1) == "a"


def test_what_takes_too_long_is_given_up_and_its_question_with_it() -> None:
    reads = led()
    reads.add("a", 100)
    reads.due(0)
    reads.add("b", LATE)
    assert reads.given_up(99) == []
    assert reads.given_up(100) == ["a"]
    assert reads.due(100) == "b"
    reads.told("a", 1)
    assert reads.applied(9) == []


def test_a_question_goes_on_while_somebody_shares_it() -> None:
    reads = led()
    reads.add("a", 100)
    reads.add("b", LATE)
    reads.due(0)
    assert reads.given_up(100) == ["a"]
    reads.told("a", 3)
    assert reads.applied(3) == ["b"]


def test_without_a_leader_only_the_first_waits_until_there_is_one_again() -> None:
    reads = Reads()
    assert reads.add("a", 100)
    assert reads.given_up(100) == ["a"]
    assert not reads.add("b", LATE)
    reads.leader_changed(has_leader=False)
    assert not reads.add("b", LATE)
    reads.leader_changed(has_leader=True)
    assert reads.add("b", LATE)


def test_a_leader_that_says_nothing_is_waited_for_each_time() -> None:
    reads = led()
    reads.add("a", 100)
    reads.due(0)
    assert reads.given_up(100) == ["a"]
    assert reads.add("b", LATE)


def test_the_queue_has_a_limit() -> None:
    reads = led(waiting_max=2)
    assert [reads.add(name, LATE) for name in "abc"] == [True, True, False]


@pytest.mark.parametrize("seed", range(20))
def test_in_any_order_of_events_nobody_reads_what_is_older_than_the_question(seed: int) -> None:
    """Answers may be lost, late and repeated; the index of one is the leader's at some time after it was asked."""
    random, reads = Random(seed), led()
    committed = applied = now = 0
    floors: dict[str, int] = {}
    answers: list[tuple[str, int]] = []
    answered = 0
    for number in range(2000):
        now += random.randrange(RESEND_INTERVAL_NS // 4)
        match random.randrange(6):
            case 0:
                committed += random.randrange(3)
            case 1:
                floors[str(number)] = committed
                reads.add(str(number), now + random.randrange(1, 4 * RESEND_INTERVAL_NS))
            case 2 if (question := reads.due(now)) is not None and random.random() < 0.8:
                answers.append((question, committed))
            case 3 if answers:
                answer = random.choice(answers[-4:])
                reads.told(*answer)
            case 4:
                applied = random.randint(applied, committed)
            case 5:
                reads.given_up(now)
        for request in reads.applied(applied):
            assert applied >= floors[request]
            answered += 1
        reads.validate()
    assert answered > 10
