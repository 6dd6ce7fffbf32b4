"""The log's time is that of most clocks: it never goes back, and one clock that is wrong does not move it."""

from __future__ import annotations

import pytest

from daemon.control.log_time import ASK_INTERVAL_NS, LogTime
from daemon.control.messages import ClockRequest
from daemon.state.commands import StopRun
from tests.daemon.control.network import Machine, ShardCluster
from tests.simulator.world import MS, SECOND

HOUR = 3600 * SECOND
YEAR = 365 * 24 * HOUR
NOW, UNIX = 5 * SECOND, 50 * YEAR


def led(clocks: dict[str, int], voters: str, last_ns: int = 0) -> LogTime:
    """A leader that has been told these clocks."""
    time = LogTime()
    time.begin(last_ns, NOW)
    for server, unix_ns in clocks.items():
        time.told(server, unix_ns, tuple(voters), NOW, NOW)
    return time


@pytest.mark.parametrize(
    ("voters", "ahead", "stamped"),
    [
        ("a", {"a": 3}, 3),
        ("ab", {"a": YEAR, "b": 0}, 0),
        ("ab", {"a": -YEAR, "b": 0}, -YEAR),
        ("abc", {"a": YEAR, "b": 1, "c": 0}, 1),
        ("abc", {"a": YEAR, "b": 0}, 0),
        ("abc", {"a": -YEAR, "b": 1, "c": 2}, 1),
        ("abcd", {"a": YEAR, "b": 1, "c": 0, "d": 3}, 1),
        ("abcde", {"a": YEAR, "b": -YEAR, "c": 1, "d": 2, "e": 3}, 2),
        ("abcde", {"a": YEAR, "b": YEAR, "c": 1, "d": 2, "e": 3}, 3),
        ("abcde", {"a": -YEAR, "b": -YEAR, "c": 1, "d": 2, "e": 3}, 1),
        ("abc", {"a": 1, "b": 2, "x": YEAR, "y": YEAR}, 1),
    ],
)
def test_a_minority_of_wrong_clocks_does_not_matter(voters: str, ahead: dict[str, int], stamped: int) -> None:
    time = led({server: UNIX + by for server, by in ahead.items()}, voters)
    assert time.is_known
    assert time.stamp(NOW) == UNIX + stamped
    assert time.stamp(NOW + HOUR) == UNIX + stamped + HOUR, "the leader's monotonic clock carries it on"


@pytest.mark.parametrize(
    ("voters", "clocks"), [("abc", "a"), ("abc", "axy"), ("abcde", "ab"), ("ab", "a"), ("ab", "x"), ("abcd", "ab")]
)
def test_nothing_is_stamped_before_a_majority_has_said_what_time_it_is(voters: str, clocks: str) -> None:
    time = led(dict.fromkeys(clocks, UNIX), voters)
    assert not time.is_known
    time.told(next(voter for voter in voters if voter not in clocks), UNIX, tuple(voters), NOW, NOW)
    assert time.is_known == (clocks not in {"x"} and len(set(clocks) & set(voters)) + 1 > len(voters) / 2)


def test_a_log_that_is_ahead_goes_on_more_slowly_until_the_clocks_have_caught_up() -> None:
    time = led({"a": UNIX, "b": UNIX}, "abc", UNIX + 8 * SECOND)
    assert time.stamp(NOW) == UNIX + 8 * SECOND
    assert time.stamp(NOW + 8 * SECOND) == UNIX + 15 * SECOND
    assert time.stamp(NOW + 64 * SECOND) == UNIX + 64 * SECOND
    assert time.stamp(NOW + 72 * SECOND) == UNIX + 72 * SECOND


def test_a_clock_that_is_set_counts_when_it_is_asked_again() -> None:
    time = led(dict.fromkeys("abc", UNIX), "abc")
    assert time.ask("a", UNIX - NOW, "abc", NOW) == ["b", "c"]
    assert time.ask("a", UNIX - NOW, "abc", NOW + ASK_INTERVAL_NS - 1) == []
    later = NOW + ASK_INTERVAL_NS
    assert time.ask("a", UNIX + YEAR - later, "abc", later) == ["b", "c"]
    assert time.stamp(later) == UNIX + ASK_INTERVAL_NS
    time.told("b", UNIX + YEAR, "abc", later, later)
    assert time.stamp(later) == UNIX + YEAR


def test_who_does_not_know_the_time_asks_again_soon() -> None:
    time = led({"a": UNIX}, "abc")
    assert time.ask("a", 0, "abc", NOW) == ["b", "c"]
    assert time.ask("a", 0, "abc", NOW + 100 * MS) == []
    assert time.ask("a", 0, "abc", NOW + 200 * MS) == ["b", "c"], "the question, or the answer, may be lost"


def test_who_does_not_vote_asks_nobody_until_it_leads() -> None:
    time = LogTime()
    assert time.ask("d", 0, "abc", NOW) == []
    assert time.ask_ns == NOW + ASK_INTERVAL_NS
    time.begin(0, NOW + SECOND)
    assert time.ask("d", 0, "abcd", NOW + SECOND) == ["a", "b", "c"]


@pytest.mark.parametrize(("took", "counts"), [(2 * SECOND, True), (11 * SECOND, False), (-1, False)])
def test_an_answer_is_as_old_as_half_of_what_it_took(took: int, counts: bool) -> None:
    time = led({"a": UNIX}, "ab")
    time.told("b", UNIX - took // 2, "ab", NOW - took, NOW)
    assert time.is_known == counts
    assert not counts or time.stamp(NOW) == UNIX


def test_who_votes_no_more_does_not_count() -> None:
    time = led({"a": UNIX + YEAR, "b": UNIX + YEAR, "c": UNIX}, "abc")
    time.told("c", UNIX, "cd", NOW, NOW)
    assert not time.is_known
    time.told("d", UNIX + 1, "cd", NOW, NOW)
    assert time.stamp(NOW) == UNIX


# -- in a cluster ------------------------------------------------------------------------------------------------------


def times(cluster: ShardCluster) -> set[int]:
    return {machine.up.state.time_ns for machine in cluster.running()}


def set_clocks(cluster: ShardCluster, ahead: dict[str, int]) -> None:
    """All clocks are at an hour and some; then the leader asks for them."""
    for machine in cluster.running():
        machine.up.set_clock(HOUR + ahead.get(machine.name, 0))
    cluster.run(ASK_INTERVAL_NS + SECOND)


def decided(cluster: ShardCluster, by: Machine | None = None) -> int:
    """The log's time once something was decided."""
    cluster.propose(StopRun("nothing"), by)
    cluster.until(lambda: len(times(cluster)) == 1)
    return times(cluster).pop()


@pytest.mark.parametrize("by", [YEAR, -YEAR])
def test_a_leader_whose_clock_is_wrong_leaves_the_logs_time_alone(by: int) -> None:
    cluster = ShardCluster(3).formed()
    set_clocks(cluster, {cluster.led().name: by})
    assert HOUR < decided(cluster) <= HOUR + cluster.world.now
    cluster.led().kill()
    cluster.until(lambda: cluster.leader() is not None)
    assert HOUR < decided(cluster) <= HOUR + cluster.world.now


def test_time_does_not_go_back_when_most_clocks_are_set_back() -> None:
    cluster = ShardCluster(3).formed()
    set_clocks(cluster, {machine.name: 9 * HOUR for machine in cluster.running()})
    before = decided(cluster)
    assert before > 10 * HOUR
    set_clocks(cluster, {})
    after = decided(cluster)
    cluster.led().kill()
    cluster.until(lambda: cluster.leader() is not None)
    assert before < after < decided(cluster) < before + cluster.world.now


def test_a_leader_that_does_not_know_the_time_keeps_what_it_is_asked_and_asks_until_it_does() -> None:
    """Another life of the whole cluster: all questions about the time are lost, and nothing else."""
    cluster = ShardCluster(3).formed()
    cluster.lost = (ClockRequest,)
    for machine in cluster.running():
        machine.kill()
        machine.start()
    cluster.until(lambda: cluster.leader() is not None)
    leader, now = cluster.led(), cluster.world.now
    leader.perform(leader.up.propose("mine", StopRun("nothing"), now + 30 * SECOND, now))
    cluster.run(2 * SECOND)
    assert leader.answer("mine") is None
    cluster.lost = ()
    cluster.until(lambda: leader.answer("mine") is not None, SECOND)
