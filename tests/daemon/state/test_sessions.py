"""A command that is proposed again takes effect once, and is answered with what came of it."""

from __future__ import annotations

from random import Random

import pytest

from daemon.state import Announcement, Decided, ReplicatedState, command_codec
from daemon.state.commands import Drain, HoldParts, Identity, StopRun
from daemon.state.envelope import LogEntry
from daemon.state.machine import Command, Request
from daemon.state.sessions import IDLE_NS, OUTCOMES_MAX, SESSIONS_MAX, TOO_LATE, Sessions
from daemon.wire import Rejected
from daemon.wire.version import FIRST

NOTHING = StopRun("nothing")


class Log:
    """A state, and the entries that made it."""

    def __init__(self) -> None:
        self.state, self.index, self._codec = ReplicatedState("test"), 0, command_codec()

    def apply(
        self,
        sequence: int,
        command: Command = NOTHING,
        *,
        shard: str = "a",
        generation: int = 1,
        answered: int = 0,
        time_ns: int = 0,
    ) -> list[Announcement]:
        self.index += 1
        machine, data = self._codec.machine_of(command), self._codec.encode(command)
        entry = LogEntry(machine, shard, generation, sequence, answered, time_ns, data)
        return self.state.apply(self.index, entry, command)

    def decided(self, sequence: int, shard: str = "a", generation: int = 1) -> Decided | None:
        return self.state.sessions.outcome(Request(shard, generation, sequence))


def holds(name: str) -> HoldParts:
    return HoldParts(Identity(name, 1), (), is_whole=True)


def test_what_comes_twice_is_applied_once_and_answered_with_its_outcome() -> None:
    log = Log()
    first = log.apply(1, holds("a"))
    (again,) = log.apply(1, holds("a"))
    assert again == first[-1]
    assert isinstance(again, Decided)
    assert (again.error, again.index) == ("", 1), "where it was applied, not where it stands again"
    (rejected,) = log.apply(2)
    assert isinstance(rejected, Decided)
    assert "no run 'nothing'" in rejected.error
    log.apply(3, holds("b"))
    assert log.apply(2) == [rejected]


def test_a_rejected_command_is_not_tried_again_when_it_would_make_sense() -> None:
    log = Log()
    (rejected,) = log.apply(1, Drain("a", is_on=True))
    log.apply(2, holds("a"))
    assert log.apply(1, Drain("a", is_on=True)) == [rejected]
    assert not log.state.registry.draining


def test_outcomes_are_kept_until_they_are_answered() -> None:
    log = Log()
    for sequence in (1, 3, 2):
        log.apply(sequence)
    assert all(log.decided(sequence) for sequence in (1, 2, 3))
    log.apply(4, answered=3)
    assert log.decided(3) is not None
    late = log.apply(2, holds("a"))
    assert late == [Decided(Request("a", 1, 2), TOO_LATE, "")]
    assert "a" not in log.state.registry.disks


def test_a_session_ends_with_its_life() -> None:
    log = Log()
    log.apply(7)
    log.apply(1, generation=2)
    (late,) = log.apply(8, holds("a"))
    assert isinstance(late, Decided)
    assert (late.error, late.index) == (TOO_LATE, 0)
    assert not log.state.registry.disks
    assert log.apply(1, shard="b"), "others go on"
    assert log.decided(1, "b") is not None


def test_a_session_that_is_silent_for_long_keeps_no_outcome_and_takes_nothing_twice() -> None:
    log = Log()
    log.apply(1, holds("a"))
    log.apply(1, shard="b", time_ns=IDLE_NS - 1)
    assert log.decided(1) is not None
    log.apply(2, shard="b", time_ns=IDLE_NS)
    assert len(log.state.sessions) == 2
    (late,) = log.apply(1, holds("a"))
    assert isinstance(late, Decided)
    assert late.error == TOO_LATE
    assert log.apply(2, holds("b"))[-1] == Decided(Request("a", 1, 2), "", "", log.index), "and it may go on"


def test_sessions_and_their_outcomes_are_bounded() -> None:
    log = Log()
    for number in range(SESSIONS_MAX + 5):
        log.apply(1, shard=f"s{number}")
    assert len(log.state.sessions) == SESSIONS_MAX
    assert log.decided(1, "s4") is None
    assert log.decided(1, "s5") is not None
    for sequence in range(OUTCOMES_MAX + 5):
        log.apply(sequence, shard="s5")
    kept = [log.decided(sequence, "s5") for sequence in range(OUTCOMES_MAX + 5)]
    assert [one is not None and one.error == TOO_LATE for one in kept].count(True) == 5


def test_a_snapshot_holds_the_outcomes_and_announces_them() -> None:
    log, other = Log(), ReplicatedState()
    log.apply(1, holds("a"), time_ns=50)
    log.apply(2, generation=1)
    log.apply(4, shard="b")
    decided = [one for one in other.restore(other.thaw(log.state.freeze())) if isinstance(one, Decided)]
    assert decided == [log.decided(1), log.decided(2), log.decided(4, "b")]
    assert list(other.freeze()) == list(log.state.freeze())
    assert other.time_ns == 50


@pytest.mark.parametrize("seed", range(5))
def test_repetitions_change_nothing_wherever_a_snapshot_comes_between(seed: int) -> None:
    """The twin applies each command once and in order; the other one repeats, and goes through snapshots."""
    random, once, again = Random(seed), Log(), Log()
    done: list[tuple[int, Command]] = []
    for sequence in range(1, 60):
        name = random.choice("abcd")
        command: Command = random.choice([holds(name), Drain(name, random.random() < 0.5), NOTHING])
        done.append((sequence, command))
        first = once.apply(sequence, command)
        again.index = once.index - 1
        assert again.apply(sequence, command) == first
        for repeated, what in random.choices(done, k=3):
            (said,) = again.apply(repeated, what)
            assert said == once.decided(repeated)
        if random.random() < 0.2:
            state = ReplicatedState()
            state.restore(state.thaw(again.state.freeze()))
            again.state = state
    assert list(again.state.freeze()) == list(once.state.freeze())


def test_a_session_of_two_lives_is_no_snapshot() -> None:
    log = Log()
    log.apply(1)
    pieces = list(log.state.sessions.freeze(FIRST))
    log.apply(1, generation=2)
    with pytest.raises(Rejected, match="two lives"):
        Sessions.thaw([*pieces, *log.state.sessions.freeze(FIRST)])
