"""The next view: who, and when."""

from __future__ import annotations

from daemon.control.leader.flapping import FlappingLimits
from daemon.control.leader.view_policy import Sight, Views
from daemon.state.commands import FormView, Identity
from tests.daemon.state.registries import LOAD, PARTITIONS, Log, formed

PATIENCE = 100
EVERYTHING = range(PARTITIONS)


def views() -> Views:
    return Views(10, 2, PATIENCE, FlappingLimits.of(PATIENCE))


def alive(names: str, **others: int) -> Sight:
    """All in their first lives but the `others`."""
    return Sight({**dict.fromkeys(names, 1), **others}, ())


def proposed(decision: FormView | None) -> str:
    """The members, by name; a later life with its generation."""
    if decision is None:
        return "none"
    return "".join(m.name + (str(m.generation) if m.generation > 1 else "") for m in decision.members)


def test_the_first_view_waits_for_all_founders_but_not_for_ever() -> None:
    log, machine = Log(), views()
    log.holds("a")
    log.holds("b")
    assert machine.next(log.registry, alive("abc"), "abc", 0) is None
    assert machine.next(log.registry, alive("abc"), "abc", PATIENCE - 1) is None
    assert machine.next(log.registry, alive("abc"), "abc", PATIENCE) == FormView(
        1, (Identity("a", 1), Identity("b", 1)), 10, 2
    )
    log.holds("c")
    assert proposed(machine.next(log.registry, alive("abc"), "abc", 0)) == "abc"


def test_nobody_is_a_member_before_the_log_has_their_holdings() -> None:
    log = formed()
    assert proposed(views().next(log.registry, alive("abcd"), "", 0)) == "none"
    log.holds("d")
    assert proposed(views().next(log.registry, alive("abcd"), "", 0)) == "abcd"


def test_who_is_gone_is_left_out_at_once() -> None:
    sight = Sight({"a": 1, "b": 1}, {"c"})
    assert proposed(views().next(formed().registry, sight, "", 0)) == "ab"


def test_who_is_on_the_way_back_is_waited_for_but_not_for_ever() -> None:
    log, machine = formed(), views()
    sight = alive("ab", c=2)
    assert machine.next(log.registry, sight, "", 0) is None
    assert machine.next(log.registry, sight, "", PATIENCE - 1) is None
    assert proposed(machine.next(log.registry, sight, "", PATIENCE)) == "ab"
    log.holds("c", 2, EVERYTHING)
    assert proposed(machine.next(log.registry, sight, "", 1)) == "abc2"


def test_one_who_is_not_heard_of_is_waited_for_too() -> None:
    log, machine = formed(), views()
    assert machine.next(log.registry, alive("ab"), "", 0) is None
    assert proposed(machine.next(log.registry, alive("ab"), "", PATIENCE)) == "ab"


def test_a_new_leader_waits_anew() -> None:
    log, machine = formed(), views()
    machine.next(log.registry, alive("ab"), "", 0)
    machine.forget()
    assert machine.next(log.registry, alive("ab"), "", PATIENCE) is None


def test_runs_that_stand_still_are_not_kept_waiting_for_one_who_is_on_the_way() -> None:
    """c is dead and a lives on in the view: it is broken anyway. b, in a new life, joins when it is ready."""
    sight = Sight({"a": 1, "b": 2}, {"c"})
    assert proposed(views().next(formed().registry, sight, "", 0)) == "a"


def test_after_a_power_cut_nobody_lives_on_and_one_who_died_again_hurries_nobody() -> None:
    log = formed()
    log.holds("a", 2, EVERYTHING)
    assert views().next(log.registry, Sight({"a": 2, "b": 2}, {"c"}), "", 0) is None


def test_a_view_that_would_be_the_same_is_not_formed_again() -> None:
    assert views().next(formed().registry, alive("abc"), "", 0) is None


def test_the_same_members_form_another_when_all_is_where_it_should_be() -> None:
    log = formed()
    log.holds("d")
    log.view("abcd")
    ideal = log.registry.ideal(log.registry.graphs["web"])
    share = [partition for partition, holders in enumerate(ideal) if "d" in holders]
    for partition in share:
        assert views().next(log.registry, alive("abcd"), "", 0) is None
        log.holds("d", held=[partition], is_whole=False)
    assert proposed(views().next(log.registry, alive("abcd"), "", 0)) == "abcd"
    log.view("abcd")
    assert log.registry.placements["web"] == ideal
    assert views().next(log.registry, alive("abcd"), "", 0) is None


def test_the_same_members_form_another_when_a_lost_partition_is_back() -> None:
    log = formed("ab", replicas=1)
    missing = log.registry.lost("web")
    assert not missing
    held = log.held_by("a")
    log.holds("a", 2)
    log.view({"a": 2, "b": 1}, replicas=1)
    assert set(log.registry.lost("web")) == held
    log.holds("a", 2, [min(held)], is_whole=False)
    assert proposed(views().next(log.registry, alive("b", a=2), "", 0)) == "a2b"


def test_who_is_drained_stays_until_those_who_stay_hold_enough() -> None:
    log = formed()
    log.drain("c")
    for name, held in (("a", range(PARTITIONS - 1)), ("b", EVERYTHING)):
        log.holds(name, held=held, is_whole=False)
    left = PARTITIONS - 1
    if not log.registry.disks["a"].has(LOAD, left):
        needed = log.registry.disks["c"].has(LOAD, left)
        assert proposed(views().next(log.registry, alive("abc"), "", 0)) == ("none" if needed else "abc")
        log.holds("a", held=EVERYTHING, is_whole=False)
    assert proposed(views().next(log.registry, alive("abc"), "", 0)) == "abc", "first it serves nothing any more"
    log.view("abc")
    log.settle("a")
    assert views().next(log.registry, alive("abc"), "", 0) is None, "b may still have to fetch a result from it"
    log.settle("b")
    assert proposed(views().next(log.registry, alive("abc"), "", 0)) == "ab"
    log.view("ab")
    assert views().next(log.registry, alive("abc"), "", 0) is None, "and it is not let in again"
    log.holds("c", 2)
    assert proposed(views().next(log.registry, alive("ab", c=2), "", 0)) == "abc2", "unless it starts again"


def test_who_is_drained_goes_also_where_everybody_holds_everything() -> None:
    log = formed("abc", replicas=3)
    for name in "abc":
        log.holds(name, held=EVERYTHING, is_whole=False)
    log.view("abc", replicas=3)
    log.drain("a")
    log.view("abc", replicas=3)
    for name in "bc":
        log.settle(name)
    assert proposed(views().next(log.registry, alive("abc"), "", 0)) == "bc"


def test_who_is_drained_is_not_kept_for_what_it_does_not_hold() -> None:
    """Of two copies on b and c both were lost with them: a's staying would not bring them back."""
    log = formed("abc", replicas=2)
    log.holds("b", 2)
    log.holds("c", 2)
    log.view({"a": 1, "b": 2, "c": 2})
    lost = log.registry.lost("web")
    log.drain("a")
    for name in "bc":
        log.holds(name, 2, set(EVERYTHING) - set(lost), is_whole=False)
    assert proposed(views().next(log.registry, alive("a", b=2, c=2), "", 0)) == "ab2c2"
    log.view({"a": 1, "b": 2, "c": 2})
    log.settle("b", 2)
    log.settle("c", 2)
    assert proposed(views().next(log.registry, alive("a", b=2, c=2), "", 0)) == "b2c2"


def test_the_last_ones_are_not_drained_away() -> None:
    log = formed("ab")
    log.drain("a")
    log.drain("b")
    assert views().next(log.registry, alive("ab"), "", 0) is None


def test_the_last_one_that_is_drained_stays_until_others_have_taken_part_beside_it() -> None:
    """A run may have ended on it alone: who was away then has the graph, and has still to fetch the result."""
    log = formed("abc")
    for name in "ab":
        log.holds(name, 2, EVERYTHING)
    log.holds("c", held=EVERYTHING, is_whole=False)
    log.view("c")
    log.drain("c")
    sight = alive("c", a=2, b=2)
    assert proposed(views().next(log.registry, sight, "", 0)) == "a2b2c"
    log.view({"a": 2, "b": 2, "c": 1})
    assert views().next(log.registry, sight, "", 0) is None
    for name in "ab":
        log.settle(name, 2)
    assert proposed(views().next(log.registry, sight, "", 0)) == "a2b2"


def test_with_all_of_them_drained_the_work_is_evened_again() -> None:
    """c serves nothing any more when the other two are told to go as well: then all three serve again."""
    log = formed("abc")
    log.drain("c")
    for name in "ab":
        log.holds(name, held=EVERYTHING, is_whole=False)
    log.view("abc")
    assert all(set(holders) == {"a", "b"} for holders in log.registry.placements["web"])
    log.drain("a")
    log.drain("b")
    assert proposed(views().next(log.registry, alive("abc"), "", 0)) == "abc"
    log.view("abc")
    assert log.registry.placements["web"] == log.registry.ideal(log.registry.graphs["web"])
    assert views().next(log.registry, alive("abc"), "", 0) is None


def test_without_anybody_who_is_ready_there_is_no_view() -> None:
    assert views().next(formed().registry, Sight({}, {"a", "b", "c"}), "", 0) is None


def came_and_went(log: Log, machine: Views, name: str, times: int, now: int = 0, step: int = 10) -> int:
    """It goes, which makes a view, and is back, in another one if it is let in; the time at the end."""
    for _ in range(times):
        for sight in (Sight({"a": 1, "b": 1}, {name}), alive("abc")):
            decision = machine.next(log.registry, sight, "", now)
            if decision is not None:
                log.view("".join(m.name for m in decision.members))
            now += step
    return now


def test_who_comes_and_goes_is_let_in_at_once_twice_and_then_has_to_stay() -> None:
    log, machine = formed(), views()
    assert machine.next(log.registry, alive("abc"), "", 0) is None
    now = came_and_went(log, machine, "c", 2)
    assert (log.registry.epoch, log.registry.view.names) == (5, ("a", "b", "c"))  # type: ignore[union-attr]
    came_and_went(log, machine, "c", 1, now)
    back = now + 10
    assert (log.registry.epoch, machine.held_back) == (6, {"c": (3, back + PATIENCE)})
    assert machine.next(log.registry, alive("abc"), "", back + PATIENCE - 1) is None
    assert proposed(machine.next(log.registry, alive("abc"), "", back + PATIENCE)) == "abc"
    assert machine.held_back == {}


def test_views_of_one_who_comes_and_goes_for_ever_are_few() -> None:
    log, machine = formed(), views()
    machine.next(log.registry, alive("abc"), "", 0)
    came_and_went(log, machine, "c", 500)
    assert log.registry.epoch == 1 + 5, "two returns, and a last view without it"


def test_the_patience_doubles_has_an_end_and_fades() -> None:
    flapping = FlappingLimits.of(PATIENCE)
    log, machine = formed(), views()
    machine.next(log.registry, alive("abc"), "", 0)
    now = came_and_went(log, machine, "c", 4)
    assert machine.held_back["c"][1] - (now - 10) == 2 * PATIENCE
    now = came_and_went(log, machine, "c", 50, now)
    assert machine.held_back["c"][1] - (now - 10) == flapping.patience_max_ns
    now += 60 * flapping.calm_ns
    assert proposed(machine.next(log.registry, alive("abc"), "", now)) == "abc"
    log.view("abc")
    before = log.registry.epoch
    came_and_went(log, machine, "c", 2, now)
    assert log.registry.epoch == before + 4, "as quick as ever"


def test_who_is_drained_is_not_taken_for_one_who_comes_and_goes() -> None:
    log, machine = formed(), views()
    for life in range(2, 12):
        log.drain("c")
        machine.next(log.registry, Sight({"a": 1, "b": 1}, {"c"}), "", life)
        log.view("ab")
        log.holds("c", life)
        assert proposed(machine.next(log.registry, alive("ab", c=life), "", life)) == ("abc" + str(life))


def test_who_starts_again_and_again_is_held_back_and_nobody_waits_for_it() -> None:
    log, machine = formed(), views()
    machine.next(log.registry, alive("abc"), "", 0)
    for life in range(2, 6):
        log.holds("c", life)
        decision = machine.next(log.registry, alive("ab", c=life), "", life)
        if decision is not None:
            log.view({m.name: m.generation for m in decision.members})
    assert log.registry.view is not None
    assert log.registry.view.names == ("a", "b")


def test_whose_partitions_are_missed_is_let_in_at_once() -> None:
    log, machine = formed("ab", replicas=1), views()
    machine.next(log.registry, alive("ab"), "", 0)
    held = log.held_by("b")
    for life in range(2, 9):
        log.holds("b", life, held)
        assert proposed(machine.next(log.registry, alive("a", b=life), "", life)) == f"ab{life}"
        log.view({"a": 1, "b": life}, replicas=1)
        gone = machine.next(log.registry, Sight({"a": 1}, {"b"}), "", life)
        assert proposed(gone) == "a"
        log.view("a", replicas=1)
        assert log.registry.lost("web")


def test_a_new_leader_knows_who_comes_and_goes_if_it_has_watched() -> None:
    log, machine = formed(), views()
    for now in range(0, 60, 20):
        machine.look(log.registry, alive("abc"), now)
        machine.look(log.registry, alive("ab"), now + 10)
    machine.forget()
    log.view("ab")
    assert machine.next(log.registry, alive("abc"), "", 60) is None
    assert list(machine.held_back) == ["c"]
