"""Who is where, by gossip."""

from __future__ import annotations

from random import Random

from daemon.control.messages import Progress, ShardProgress
from daemon.control.progress import ProgressGossip

SECOND = 1_000_000_000
MEMBERS = ("a", "b", "c", "d", "e")


def gossip(shard: str = "a") -> ProgressGossip:
    progress = ProgressGossip(shard, SECOND, 3, Random(1))
    progress.enter_view(1, MEMBERS)
    progress.begin(1, 0)
    return progress


def of(shard: str, sequence: int, entry: int) -> ShardProgress:
    return ShardProgress(shard, sequence, entry, entry // 4, "computing", 0.5)


def test_all_that_is_known_goes_to_a_few_others_each_interval() -> None:
    progress = gossip()
    progress.own(1, 4, 1, "waiting", 0.0, 0)
    progress.hear(Progress(1, 1, (of("c", 3, 7),)), 0)
    assert progress.gossip(SECOND - 1) == []
    told = progress.gossip(SECOND)
    assert len({to for to, _ in told}) == 3
    assert all(to != "a" for to, _ in told)
    assert {message for _, message in told} == {
        Progress(1, 1, (ShardProgress("a", 1, 4, 1, "waiting", 0.0), of("c", 3, 7)))
    }
    assert progress.gossip(SECOND) == []


def test_the_newer_word_of_a_shard_wins_in_any_order() -> None:
    progress = gossip()
    assert progress.hear(Progress(1, 1, (of("b", 2, 9), of("c", 1, 5))), 0) == [("b", 9), ("c", 5)]
    assert progress.hear(Progress(1, 1, (of("b", 1, 4), of("c", 1, 5))), 0) == []
    assert [shard.entry for shard in progress.of(1, 0)] == [9, 5]


def test_nobody_is_believed_about_us_or_about_strangers() -> None:
    progress = gossip()
    progress.own(1, 4, 1, "waiting", 0.0, 0)
    assert progress.hear(Progress(1, 1, (of("a", 99, 99), of("x", 1, 1))), 0) == []
    assert [(shard.shard, shard.entry) for shard in progress.of(1, 0)] == [("a", 4)]


def test_seconds_count_on_since_it_was_heard() -> None:
    progress = gossip()
    progress.hear(Progress(1, 1, (of("b", 1, 4),)), 10 * SECOND)
    assert [shard.seconds for shard in progress.of(1, 13 * SECOND)] == [3.5]


def test_nothing_is_said_of_runs_that_are_not_there() -> None:
    progress = gossip()
    assert progress.hear(Progress(2, 1, (of("b", 1, 4),)), 0) == []
    progress.own(2, 1, 1, "x", 0.0, 0)
    progress.end(1)
    assert (progress.deadline, progress.gossip(9 * SECOND), progress.of(1, 0)) == (None, [], [])


def test_of_an_older_view_nothing_counts() -> None:
    """Its barriers are void, and the run may have gone back."""
    progress = gossip()
    progress.hear(Progress(1, 1, (of("b", 9, 30),)), 0)
    progress.enter_view(2, ("a", "b"))
    assert (progress.deadline, progress.of(1, 0)) == (None, [])
    progress.begin(1, 0)
    assert progress.hear(Progress(1, 1, (of("b", 10, 33),)), 0) == []
    assert progress.hear(Progress(1, 2, (of("b", 1, 4), of("c", 1, 4))), 0) == [("b", 4)]
    assert progress.committed(1) == 0


def test_what_one_knows_all_know_soon() -> None:
    """Five shards, three targets a round: every word reaches everyone within a few rounds."""
    group = {name: ProgressGossip(name, SECOND, 3, Random(name)) for name in MEMBERS}
    for name, progress in group.items():
        progress.enter_view(1, MEMBERS)
        progress.begin(1, 0)
        progress.own(1, ord(name), 1, "waiting", 0.0, 0)
    for now in range(SECOND, 5 * SECOND, SECOND):
        for name in MEMBERS:
            for to, message in group[name].gossip(now):
                group[to].hear(message, now)
    for progress in group.values():
        assert [(shard.shard, shard.entry) for shard in progress.of(1, 0)] == [(name, ord(name)) for name in MEMBERS]
