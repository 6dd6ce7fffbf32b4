"""One shard's books of what is on its disk."""

from __future__ import annotations

from daemon.control.holdings import Holdings
from daemon.state.commands import DropParts, Holding, HoldParts, Identity, from_bits, to_bits
from tests.daemon.state.registries import LOAD, PARTITIONS, Log, formed

GRACE = 100
EVERYTHING = frozenset(range(PARTITIONS))


def books(log: Log, name: str, generation: int = 1) -> Holdings:
    """Of a shard whose disk is as the log has it."""
    disk = log.registry.disks.get(name)
    return Holdings(Identity(name, generation), dict(disk.loads) if disk else {}, GRACE)


def settle(log: Log, holdings: Holdings, request: HoldParts | DropParts) -> DropParts | None:
    """The log decides it."""
    return holdings.answered(log.apply(request))


def test_everything_is_said_in_each_life_and_once() -> None:
    log = formed()
    holdings = books(log, "a", 2)
    asked = holdings.next_request(log.registry, 0)
    assert isinstance(asked, HoldParts)
    assert (asked.shard, asked.is_whole) == (Identity("a", 2), True)
    assert asked.holdings == (Holding(LOAD, to_bits(log.held_by("a"))),)
    assert holdings.next_request(log.registry, 0) is None, "one thing at a time"
    settle(log, holdings, asked)
    assert holdings.next_request(log.registry, 0) is None


def test_nothing_is_said_before_there_is_a_cluster_to_say_it_to() -> None:
    log = Log()
    log.registry.cluster = ""
    assert Holdings(Identity("a", 1), {}, GRACE).next_request(log.registry, 0) is None


def test_a_former_life_says_nothing() -> None:
    """Its words would be declined, and it would say them again and again."""
    log = formed()
    log.holds("a", 3)
    holdings = books(log, "a", 2)
    holdings.gained(LOAD, EVERYTHING)
    assert holdings.next_request(log.registry, 0) is None


def test_what_nobody_answered_is_asked_again() -> None:
    log = formed()
    holdings = books(log, "a", 2)
    first = holdings.next_request(log.registry, 0)
    assert first is not None
    holdings.answered("nobody has answered")
    second = holdings.next_request(log.registry, 0)
    assert second is not None
    settle(log, holdings, second)
    assert "has sent a later report" in log.apply(first), "it is no news, and may be wrong by now"


def test_what_comes_to_be_held_is_said() -> None:
    log = formed()
    holdings = books(log, "a")
    news = EVERYTHING - log.held_by("a")
    assert news
    holdings.gained(LOAD, news)
    holdings.gained("nobody knows it", news)
    asked = holdings.next_request(log.registry, 0)
    assert isinstance(asked, HoldParts)
    assert (asked.is_whole, asked.holdings) == (False, (Holding(LOAD, to_bits(news)),))
    settle(log, holdings, asked)
    assert log.held_by("a") == EVERYTHING


def test_a_new_graph_is_held_by_those_who_were_in_its_view() -> None:
    log = formed()
    holdings = Holdings(Identity("a", 1), {}, GRACE)
    holdings.installed(LOAD, log.registry)
    assert holdings.held == {LOAD: log.held_by("a")}
    reborn = Holdings(Identity("a", 2), {}, GRACE)
    reborn.installed(LOAD, log.registry)
    assert reborn.held == {}, "a later life counts only what it finds"


def test_wants_are_what_the_ring_gives_and_the_disk_lacks() -> None:
    log = formed()
    log.holds("d")
    holdings = books(log, "d")
    assert holdings.wants(log.registry) == (), "not in the view yet"
    log.view("abcd")
    ideal = log.registry.ideal(log.registry.graphs["web"])
    share = {p for p, holders in enumerate(ideal) if "d" in holders}
    wants = holdings.wants(log.registry)
    assert {want.partition for want in wants} == share
    assert all(want.sources == log.registry.placements["web"][want.partition] for want in wants)
    holdings.gained(LOAD, frozenset(share))
    assert holdings.wants(log.registry) == ()


def test_nothing_lost_is_wanted_for_nobody_has_it() -> None:
    log = formed("ab", replicas=1)
    log.holds("b", 2)
    log.view({"a": 1, "b": 2}, replicas=1)
    lost = set(log.registry.lost("web"))
    assert lost
    for name, generation in (("a", 1), ("b", 2)):
        wants = books(log, name, generation).wants(log.registry)
        assert not lost & {want.partition for want in wants}


def surplus() -> tuple[Log, Holdings, frozenset[int]]:
    """d has joined and holds its share; a has what it need not hold any more."""
    log = formed(replicas=1)
    log.holds("d", held=EVERYTHING)
    log.view("abcd", replicas=1)
    placed = log.registry.placements["web"]
    name = next(n for n in "abc" if any(n not in placed[p] for p in log.held_by(n)))
    return log, books(log, name), frozenset(p for p in log.held_by(name) if name not in placed[p])


def test_a_surplus_is_kept_a_while_and_deleted_when_the_log_agrees() -> None:
    log, holdings, partitions = surplus()
    assert holdings.next_request(log.registry, 7) is None
    assert holdings.deadline == 7 + GRACE
    assert holdings.next_request(log.registry, 6 + GRACE) is None
    asked = holdings.next_request(log.registry, 7 + GRACE)
    assert isinstance(asked, DropParts)
    assert from_bits(asked.holding.partitions) == partitions
    assert holdings.deadline is None
    assert settle(log, holdings, asked) == asked
    holdings.deleted(LOAD, partitions)
    assert holdings.next_request(log.registry, 10**6) is None
    assert holdings.deadline is None


def test_a_surplus_that_the_log_still_needs_is_kept_and_asked_for_later() -> None:
    log, holdings, partitions = surplus()
    holdings.next_request(log.registry, 0)
    asked = holdings.next_request(log.registry, GRACE)
    assert isinstance(asked, DropParts)
    others = [name for name in "abcd" if name != asked.shard.name and name != "d"]
    log.view("".join((asked.shard.name, *others)), replicas=1)
    assert settle(log, holdings, asked) is None
    assert holdings.held[LOAD] >= partitions


def test_loads_that_were_dropped_meanwhile_are_found_out_once_the_log_knows_us() -> None:
    log = formed()
    holdings = Holdings(Identity("a", 2), {LOAD: EVERYTHING, "old": EVERYTHING}, GRACE)
    holdings.gained("new", EVERYTHING)
    assert holdings.unknown_loads(log.registry) == []
    asked = holdings.next_request(log.registry, 0)
    assert asked is not None
    settle(log, holdings, asked)
    assert holdings.unknown_loads(log.registry) == ["old"], "one that has come since may become a graph yet"
