"""Slices and states: what comes back is what was put, to the bit; what is not sealed is not held."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest

from consensus.effects import Persist
from consensus.stored import HardState
from daemon.store import DataFolder, NotHeld, StateRecord, Store, StoreError, StoreFailed
from daemon.store.blobs import ROW_BYTES
from daemon.store.database import BULK_BYTES
from daemon.store.schema import BEING_WRITTEN

SIZES = [0, 1, 100, ROW_BYTES - 1, ROW_BYTES, ROW_BYTES + 1, BULK_BYTES, BULK_BYTES + 1]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    with DataFolder(tmp_path, "demo", "a").open() as folder:
        yield folder


@pytest.fixture
def store(folder: DataFolder) -> Iterator[Store]:
    store = Store(folder)
    yield store
    store.close()


@pytest.mark.parametrize("size", SIZES)
def test_frames_of_every_size_come_back(store: Store, size: int) -> None:
    random = Random(size)
    frames = [random.randbytes(size), b"", random.randbytes(7), b""]
    store.put_graph("l", "g", frames[0], b"header")
    store.put_slice("l", 3, b"spec", frames)
    store.seal("l", [3])
    assert store.slice("l", 3) == (b"spec", frames)
    assert store.graph("l") == ("g", frames[0], b"header")
    assert store.sizes()["slices"] == 2 * size + 7


def test_a_slice_without_frames(store: Store) -> None:
    store.put_graph("l", "g", b"", b"")
    store.put_slice("l", 0, b"", [])
    store.seal("l", [0])
    assert store.slice("l", 0) == (b"", [])


def test_arrays_go_in_as_they_are(store: Store) -> None:
    arrays = [np.arange(12).reshape(3, 4), np.zeros((0, 3)), np.array([True, False]), np.empty(0, np.int32)]
    store.put_graph("l", "g", np.arange(4, dtype=np.uint16), b"")
    store.put_slice("l", 0, b"", arrays)
    store.seal("l", [0])
    assert store.slice("l", 0)[1] == [array.tobytes() for array in arrays]
    store.put_states([StateRecord(1, 1, 0, {0: arrays[0], 1: arrays[1]})])
    assert store.state(1, 1, 0) == arrays[0].tobytes()
    assert store.state(1, 1, 1) == b""


def test_only_sealed_slices_are_held(store: Store) -> None:
    store.put_graph("l", "g", b"t", b"h")
    for partition in range(4):
        store.put_slice("l", partition, b"s", [b"f"])
    store.seal("l", [0, 2])
    assert store.loads() == {"l": ("g", frozenset({0, 2}))}
    with pytest.raises(NotHeld, match="partition 1 is not held"):
        store.slice("l", 1)


def test_sealing_is_all_or_nothing(store: Store) -> None:
    store.put_graph("l", "g", b"t", b"h")
    store.put_slice("l", 0, b"s", [b"f"])
    with pytest.raises(NotHeld, match="partition 1"):
        store.seal("l", [0, 1])
    assert store.loads() == {"l": ("g", frozenset())}
    store.seal("l", [0])  # it did no harm


def test_a_slice_that_is_still_being_written_is_not_sealed(store: Store, folder: DataFolder) -> None:
    store.put_graph("l", "g", b"t", b"h")
    store.put_slice("l", 0, b"s", [b"f"])
    with sqlite3.connect(folder.database_path) as connection:
        connection.execute("UPDATE slice SET stage = ? WHERE partition = 0", (BEING_WRITTEN,))
    connection.close()
    with pytest.raises(NotHeld, match="not complete"):
        store.seal("l", [0])


def test_a_slice_is_replaced_until_it_is_sealed_and_then_never_changes(store: Store) -> None:
    store.put_graph("l", "g", b"t", b"h")
    store.put_slice("l", 0, b"first", [bytes(100)])
    store.put_slice("l", 0, b"second", [bytes(10)])
    store.seal("l", [0])
    store.put_slice("l", 0, b"third", [])
    assert store.slice("l", 0) == (b"second", [bytes(10)])
    assert store.sizes()["slices"] == 11


def test_what_is_not_there_is_not_held(store: Store) -> None:
    for ask in (
        lambda: store.graph("x"),
        lambda: store.slice("x", 0),
        lambda: store.put_slice("x", 0, b"", []),
        lambda: store.seal("x", [0]),
    ):
        with pytest.raises(NotHeld):
            ask()
    store.drop_load("x")
    store.drop_slices("x", [0])
    store.drop_run(1)
    assert store.state(1, 1, 1) is None
    assert store.loads() == {}
    assert store.states_held() == {}


def test_dropping_slices_and_loads(store: Store) -> None:
    for load in ("l", "m"):
        store.put_graph(load, "g", b"t", b"h")
        for partition in range(3):
            store.put_slice(load, partition, b"s", [bytes(3 << 20)])
        store.seal(load, range(3))
    store.drop_slices("l", [1, 7])
    store.drop_load("m")
    assert store.loads() == {"l": ("g", frozenset({0, 2}))}
    assert store.sizes()["slices"] == 1 + (6 << 20)
    store.put_slice("l", 1, b"again", [b"x"])
    store.seal("l", [1])
    assert store.slice("l", 1) == (b"again", [b"x"])


def test_the_room_of_what_is_dropped_is_used_again(store: Store) -> None:
    sizes = []
    for load in ("l", "m", "n", "o"):
        store.put_graph(load, "g", b"t", b"h")
        store.put_slice(load, 0, b"s", [bytes(6 << 20)])
        store.seal(load, [0])
        sizes.append(store.sizes()["database"])
        store.drop_load(load)
    assert sizes[-1] < sizes[0] * 1.1


def test_states_below_the_floor_go(store: Store) -> None:
    store.put_states([StateRecord(1, 10, 0, {0: b"a", 1: b"b"})])
    store.put_states([StateRecord(1, 20, 10, {0: b"c", 1: b"d"}), StateRecord(2, 5, 0, {0: b"e"})])
    assert store.states_held() == {1: {10: frozenset({0, 1}), 20: frozenset({0, 1})}, 2: {5: frozenset({0})}}
    store.put_states([StateRecord(1, 30, 20, {1: b"f"})])
    assert store.states_held()[1] == {10: frozenset({0}), 20: frozenset({0, 1}), 30: frozenset({1})}
    assert [store.state(1, tick, 1) for tick in (10, 20, 30)] == [None, b"d", b"f"]
    store.put_states([StateRecord(1, 30, 30, {0: b"g", 1: b"again"})])
    assert store.states_held()[1] == {30: frozenset({0, 1})}
    assert store.state(1, 30, 1) == b"again"
    store.drop_run(1)
    assert store.states_held() == {2: {5: frozenset({0})}}


def test_the_last_few_below_the_floor_stay_if_they_are_to_be_read(store: Store) -> None:
    for tick in range(10, 60, 10):
        store.put_states([StateRecord(1, tick, tick - 10, {0: b"%d" % tick}, 2)])
        assert store.state_ticks(1, 0) == list(range(max(10, tick - 30), tick + 1, 10)), (
            "committed are all but the last"
        )
    store.put_states([StateRecord(1, 60, 50, {1: b"another partition's"}, 2)])
    assert store.state_ticks(1, 0) == [20, 30, 40, 50]
    store.put_states([StateRecord(1, 60, 60, {0: b"60"})])
    assert (store.state_ticks(1, 0), store.state_ticks(2, 0)) == ([60], [])
    assert store.states_of(1) == {60: frozenset({0, 1})}


def test_void_states_go_and_each_says_in_which_epoch_it_was_made(store: Store) -> None:
    for epoch, tick in ((1, 10), (1, 20), (2, 30)):
        store.put_states([StateRecord(1, tick, 0, {0: b"%d" % tick, 1: b"x"}, 9, epoch)])
    store.put_states([StateRecord(2, 20, 0, {0: b"another run's"}, epoch=1)])
    store.drop_void(1, lambda epoch, tick: epoch < 2 and tick > 10)
    assert store.states_held() == {1: dict.fromkeys((10, 30), frozenset({0, 1})), 2: {20: frozenset({0})}}
    assert [store.stamped_state(1, tick, 0) for tick in (10, 20, 30)] == [(1, b"10"), None, (2, b"30")]
    assert store.states_as_made()[1] == {(10, 1): frozenset({0, 1}), (30, 2): frozenset({0, 1})}
    store.put_states([StateRecord(1, 30, 0, {0: b"again"}, 9, 4)])
    assert store.states_as_made()[1][30, 4] == frozenset({0})
    assert store.stamped_state(1, 30, 0) == (4, b"again")


@pytest.mark.parametrize("seed", range(5))
def test_random_histories_of_states_equal_a_dict(store: Store, seed: int) -> None:
    random = Random(seed)
    model: dict[tuple[int, int, int], bytes] = {}
    for _ in range(40):
        batch = []
        for _ in range(random.randint(1, 3)):
            run, tick = random.randint(1, 2), random.randint(1, 30)
            floor = random.randint(0, tick)
            states = {random.randint(0, 5): random.randbytes(random.randint(0, 99)) for _ in range(3)}
            older = random.choice([0, 0, 1, 3])
            batch.append(StateRecord(run, tick, floor, states, older))
            for partition, state in states.items():
                below = sorted(key for key in model if key[0] == run and key[2] == partition and key[1] < floor)
                for key in below[: max(0, len(below) - older)]:
                    del model[key]
                model[run, tick, partition] = state
        store.put_states(batch)
        if random.random() < 0.05:
            store.drop_run(1)
            model = {key: state for key, state in model.items() if key[0] != 1}
    held = store.states_held()
    assert {(run, tick, at) for run, ticks in held.items() for tick, some in ticks.items() for at in some} == set(model)
    assert all(store.state(*key) == state for key, state in model.items())


def test_a_batch_of_states_is_one_transaction(store: Store, folder: DataFolder) -> None:
    log = folder.path / "shoal.db-wal"
    store.put_states([StateRecord(1, 1, 0, {0: b"x"})])
    before = log.stat().st_size
    store.put_states([StateRecord(1, tick, tick, dict.fromkeys(range(8), b"y")) for tick in range(2, 20)])
    assert log.stat().st_size - before < 20 * 4096  # 18 transactions would have written two pages each at least


ROT: dict[str, tuple[str, Callable[[Store], object]]] = {
    "a slice's bytes": ("UPDATE chunk SET bytes = zeroblob(3) WHERE slice = 2", lambda store: store.slice("l", 0)),
    "a chunk's place": ("UPDATE chunk SET place = 5 WHERE slice = 2", lambda store: store.slice("l", 0)),
    "a slice's spec": ("UPDATE slice SET spec = x'00' WHERE id = 2", lambda store: store.slice("l", 0)),
    "a lost chunk": ("DELETE FROM chunk WHERE slice = 2", lambda store: store.slice("l", 0)),
    "a header": ("UPDATE load SET header = x'00'", lambda store: store.graph("l")),
    "a state": ("UPDATE state SET bytes = x'00'", lambda store: store.state(1, 1, 0)),
    "a number": ("UPDATE state SET tick = 'soon'", lambda store: store.states_held()),
}


@pytest.mark.parametrize("what", ROT)
def test_what_has_rotted_is_told_and_never_handed_out(store: Store, folder: DataFolder, what: str) -> None:
    statement, ask = ROT[what]
    store.put_graph("l", "g", b"t", b"h")
    store.put_slice("l", 0, b"s", [b"abc"])
    store.seal("l", [0])
    store.put_states([StateRecord(1, 1, 0, {0: b"state"})])
    connection = sqlite3.connect(folder.database_path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    with pytest.raises(StoreFailed, match=r"torn.*move the folder away"):
        ask(store)
    with pytest.raises(StoreFailed, match="nothing more is written"):
        store.persist(Persist(HardState(1)))


def test_a_failed_write_of_one_store_stops_the_other(folder: DataFolder, store: Store) -> None:
    other = Store(folder)
    other.put_graph("l", "g", b"t", b"h")
    blocker: Callable[..., object] = store._database.connection.set_authorizer
    blocker(lambda *_: sqlite3.SQLITE_DENY)
    with pytest.raises(StoreFailed, match="could not persist a decision"):
        store.persist(Persist(HardState(1)))
    with pytest.raises(StoreFailed, match="nothing more is written since a write failed"):
        other.seal("l", [])
    assert other.loads() == {"l": ("g", frozenset())}  # reading goes on
    other.close()


def test_one_store_reads_what_the_other_wrote(folder: DataFolder, store: Store) -> None:
    other = Store(folder)
    store.persist(Persist(HardState(2, "a")))
    stored = other.load_consensus()
    other.close()
    assert stored is not None
    assert stored.hard_state == HardState(2, "a")


def test_a_torn_database_found_late_is_an_error_in_words(folder: DataFolder, store: Store) -> None:
    store.put_graph("l", "g", bytes(2 << 20), b"h")
    store.close()
    folder.database_path.write_bytes(folder.database_path.read_bytes()[:8192])
    with pytest.raises((StoreError, StoreFailed), match="move the folder away"):
        Store(folder).graph("l")
