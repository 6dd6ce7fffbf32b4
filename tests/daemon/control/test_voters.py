"""Who votes."""

from __future__ import annotations

import pytest

from consensus import Configuration
from daemon.control.voters import ServerChange, next_change, server_of, shard_of

ABC = Configuration.of(["a/1", "b/1", "c/1"])
ALIVE = {"a": "a/1", "b": "b/1", "c": "c/1"}


def change(
    configuration: Configuration = ABC,
    alive: dict[str, str] = ALIVE,
    leaving: tuple[str, ...] = (),
    caught_up: tuple[str, ...] = (),
    voters_max: int = 7,
) -> ServerChange | None:
    return next_change(configuration, alive, leaving, lambda server: server in caught_up, voters_max)


def test_a_name_may_hold_anything() -> None:
    assert shard_of(server_of("rack/7/a", 12)) == "rack/7/a"


def test_nothing_is_changed_where_all_is_well() -> None:
    assert change() is None


def test_the_dead_keep_their_seat() -> None:
    assert change(alive={"a": "a/1"}) is None


def test_another_drive_under_the_name_takes_the_seat_of_the_former_and_learns_first() -> None:
    wiped = {**ALIVE, "c": "c/2"}
    assert change(alive=wiped) == ServerChange("c/1", is_gone=True)
    two = ABC.without("c/1")
    assert change(two, wiped) == ServerChange("c/2")
    learning = two.with_server("c/2", voter=False)
    assert change(learning, wiped) is None
    assert change(learning, wiped, caught_up=("c/2",)) == ServerChange("c/2", votes=True)


def test_one_who_leaves_loses_it_and_does_not_get_it_back() -> None:
    assert change(leaving=("b",)) == ServerChange("b/1", is_gone=True)
    assert change(ABC.without("b/1"), leaving=("b",)) is None


def test_a_drive_that_is_gone_for_good_loses_its_seat_before_one_who_leaves() -> None:
    """The one who leaves still votes on that."""
    assert change(alive={**ALIVE, "b": "b/2"}, leaving=("a",)) == ServerChange("b/1", is_gone=True)


@pytest.mark.parametrize(
    ("alive", "spared"),
    [("abc", True), ("ab", False), ("ac", False), ("a", False)],
)
def test_one_who_leaves_keeps_its_seat_while_the_rest_could_not_decide(alive: str, spared: bool) -> None:
    wanted = ServerChange("a/1", is_gone=True) if spared else None
    assert change(alive={name: ALIVE[name] for name in alive}, leaving=("a",)) == wanted


def test_a_learner_that_leaves_is_never_missed() -> None:
    four = ABC.with_server("d/1", voter=False)
    assert change(four, {"a": "a/1", "d": "d/1"}, leaving=("d",)) == ServerChange("d/1", is_gone=True)


def test_there_are_only_so_many_voters() -> None:
    four = ABC.with_server("d/1", voter=False)
    alive = {**ALIVE, "d": "d/1"}
    assert change(four, alive, caught_up=("d/1",), voters_max=3) is None
    assert change(four, alive, caught_up=("d/1",), voters_max=4) == ServerChange("d/1", votes=True)


def test_a_learner_that_is_dead_does_not_become_a_voter() -> None:
    assert change(ABC.with_server("d/1", voter=False), caught_up=("d/1",)) is None


@pytest.mark.parametrize("caught_up", [(), ("b/1",)])
def test_the_last_voter_goes_only_when_there_is_another(caught_up: tuple[str, ...]) -> None:
    """Its removal would be refused, and in trying nothing but that, nobody would ever become another."""
    alone, alive = Configuration.of(["a/1"]), {"a": "a/1", "b": "b/1"}
    assert change(alone, alive, leaving=("a",)) == ServerChange("b/1")
    learning = alone.with_server("b/1", voter=False)
    wanted = ServerChange("b/1", votes=True) if caught_up else None
    assert change(learning, alive, ("a",), caught_up) == wanted
    assert change(learning.with_server("b/1", voter=True), alive, ("a",)) == ServerChange("a/1", is_gone=True)
