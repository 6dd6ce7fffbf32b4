"""The map in which the last writer of each key wins, and what pruning may and may not do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crdt import LWWMap, Timestamp
from tests.crdt.laws import examples


def at(wall_ns: int, replica: str = "a") -> Timestamp:
    return Timestamp(wall_ns, 0, replica)


writes = st.lists(
    st.tuples(st.sampled_from("xyz"), st.none() | st.integers(0, 3), st.integers(1, 6), st.sampled_from("ab")),
    max_size=20,
    unique_by=lambda write: write[2:],
)


@examples(150)
@given(writes)
def test_against_the_log_of_all_writes(log: list[tuple[str, int | None, int, str]]) -> None:
    """The dumb twin: sort all writes by timestamp and carry them out on a dict."""
    table = LWWMap()
    for key, value, wall, replica in log:
        stamp = at(wall, replica)
        table = table.remove(key, stamp) if value is None else table.set(key, value, stamp)
    twin: dict[str, int] = {}
    for key, value, _, _ in sorted(log, key=lambda write: write[2:]):
        twin.pop(key, None)
        if value is not None:
            twin[key] = value
    assert dict(table.items()) == twin
    assert list(table) == sorted(twin)
    assert len(table) == len(twin)
    assert all(table.get(key, "absent") == twin.get(key, "absent") for key in "xyz")
    assert table.removals == len({key for key, *_ in log}) - len(twin)


def test_a_removal_counts_for_writes_that_come_late() -> None:
    table = LWWMap().remove("x", at(5))
    assert "x" not in table.set("x", "late", at(4))
    assert table.set("x", "new", at(6)).get("x") == "new"


def test_keys_are_told_apart_by_their_bytes() -> None:
    table = LWWMap().set(1, "int", at(1)).set(True, "bool", at(1)).set(1.0, "float", at(1)).set((1, 2), "pair", at(1))
    assert len(table) == 4
    assert (table.get(1), table.get(True), table.get(1.0), table.get((1, 2))) == ("int", "bool", "float", "pair")


def test_pruning_forgets_old_removals_and_nothing_else() -> None:
    table = LWWMap().set("old", 1, at(1)).remove("gone", at(2)).remove("going", at(3))
    pruned = table.prune(before=Timestamp(3))
    assert (table.removals, pruned.removals) == (2, 1)
    assert dict(pruned.items()) == {"old": 1}
    assert pruned.merge(table) == table, "a replica that has not pruned gives it back, which does no harm"


def test_removals_stay_bounded_when_pruned_once_all_have_seen_them() -> None:
    mine = theirs = LWWMap()
    for wall in range(1, 1000, 2):
        mine = mine.set(wall, "x", at(wall))
        mine = mine.remove(wall, at(wall + 1))
        theirs = theirs.merge(mine)
        bound = Timestamp(wall - 8 if wall > 8 else 0)
        mine, theirs = mine.prune(bound), theirs.prune(bound)
        assert max(mine.removals, theirs.removals) <= 6
    assert mine == theirs
    assert len(mine) == 0


def test_pruning_too_early_lets_a_removed_key_live_again() -> None:
    """Why the module asks for both conditions: here an old state was still on its way."""
    late = LWWMap().set("x", 1, at(1))
    removed = late.remove("x", at(2))
    assert "x" not in removed.merge(late)
    assert "x" in removed.prune(before=Timestamp(3)).merge(late)
