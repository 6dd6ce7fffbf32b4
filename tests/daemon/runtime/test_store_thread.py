"""One job after the other; states that wait together are one transaction; after a failure, nothing."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random

import pytest

from consensus.effects import Persist
from consensus.stored import HardState
from daemon.runtime.disk import Disk
from daemon.runtime.store_thread import GROUP_BYTES_MAX, StoreThread
from daemon.store import DataFolder, NoRoom, NotHeld, StateRecord, Store, StoreError, StoreFailed
from daemon.store.database import WAL_BYTES_KEPT

PATIENCE = 30.0


class Bench:
    """A thread over a folder, and what it has told."""

    def __init__(self, path: Path) -> None:
        self.folder = DataFolder(path, "demo", "a").open()
        self.failures: list[BaseException] = []
        self.told: list[object] = []
        self.batches: list[int] = []
        self.failed = threading.Event()
        self.thread = StoreThread(self.folder, self._fail)
        self.gate = threading.Event()

    def _fail(self, error: BaseException) -> None:
        self.failures.append(error)
        self.failed.set()

    def hold(self) -> None:
        """Occupy the thread until the gate opens, so that what follows gathers; and count transactions from then."""

        def wait(store: Store) -> None:
            assert self.gate.wait(PATIENCE)
            put = store.put_states

            def counted(records: Sequence[StateRecord]) -> None:
                self.batches.append(len(records))
                put(records)

            store.put_states = counted  # type: ignore[method-assign]

        self.thread.submit(wait, lambda _: None)

    def tell(self, what: object) -> None:
        self.told.append(what)

    def states(self, tick: int, size: int = 10) -> None:
        self.thread.submit_states(StateRecord(1, tick, 0, {0: bytes(size)}), lambda: self.tell(tick))


def square(number: int, store: Store) -> int:
    return number * number


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.gate.set()
    if bench.thread.is_alive():
        bench.thread.close()
    bench.folder.close()


def test_jobs_are_done_in_order_and_told_with_what_they_returned(bench: Bench) -> None:
    bench.thread.start()
    for number in range(20):
        bench.thread.submit(partial(square, number), bench.tell)
    bench.thread.close()
    assert bench.told == [number * number for number in range(20)]
    assert not bench.failures


def test_a_job_is_let_go_when_it_is_done(bench: Bench) -> None:
    """It may hold a whole graph, and the next one may come tomorrow."""
    gone = threading.Event()
    held = Random(1)
    weakref.finalize(held, gone.set)
    bench.thread.submit(partial(lambda _, store: None, held), lambda _: None)
    del held
    bench.thread.start()
    assert gone.wait(PATIENCE)


def test_close_does_what_is_waiting_and_nothing_after(bench: Bench) -> None:
    bench.hold()
    bench.thread.start()
    for tick in range(1, 6):
        bench.states(tick)
    bench.gate.set()
    bench.thread.close()
    bench.states(6)
    bench.thread.submit(lambda store: None, bench.tell)
    assert bench.told == [1, 2, 3, 4, 5]
    assert bench.thread.waiting == 0
    store = Store(bench.folder)
    assert sorted(store.states_held()[1]) == [1, 2, 3, 4, 5]
    store.close()


def test_states_that_wait_one_behind_the_other_are_one_transaction(bench: Bench) -> None:
    bench.hold()
    bench.thread.start()
    for tick in range(1, 8):
        bench.states(tick)
    bench.gate.set()
    bench.thread.close()
    assert bench.batches == [7]
    assert bench.told == [1, 2, 3, 4, 5, 6, 7]


def test_a_group_stays_within_one_transaction_s_bytes(bench: Bench) -> None:
    bench.hold()
    bench.thread.start()
    for tick in range(1, 6):
        bench.states(tick, GROUP_BYTES_MAX // 2)
    bench.states(6, GROUP_BYTES_MAX + 1)
    bench.gate.set()
    bench.thread.close()
    assert bench.batches == [2, 2, 1, 1]


def test_nothing_overtakes_in_a_group(bench: Bench) -> None:
    def look(store: Store) -> list[int]:
        return sorted(store.states_held().get(1, {}))

    bench.hold()
    bench.thread.start()
    expected: list[object] = []
    random = Random(4)
    done: list[int] = []
    for tick in range(1, 40):
        if random.random() < 0.3:
            bench.thread.submit(look, bench.tell)
            expected.append(list(done))
        else:
            bench.states(tick)
            done.append(tick)
            expected.append(tick)
    bench.gate.set()
    bench.thread.close()
    assert bench.told == expected
    assert max(bench.batches) > 1


def test_a_failed_write_is_told_once_and_ends_all_work(bench: Bench) -> None:
    def fail(store: Store) -> None:
        store._database.connection.execute("PRAGMA query_only = ON")
        store.persist(Persist(HardState(1)))

    bench.hold()
    bench.thread.submit(fail, bench.tell)
    bench.states(1)
    bench.thread.submit(lambda store: None, bench.tell)
    bench.thread.start()
    bench.gate.set()
    assert bench.failed.wait(PATIENCE)
    bench.thread.join(PATIENCE)
    bench.states(2)
    bench.thread.submit(lambda store: None, bench.tell)
    bench.thread.close()
    assert bench.told == []
    assert bench.thread.waiting == 0
    (failure,) = bench.failures
    assert isinstance(failure, StoreFailed)


def test_a_failed_group_acknowledges_none_of_it(bench: Bench) -> None:
    bench.hold()
    bench.thread.submit(lambda store: store._database.connection.execute("PRAGMA query_only = ON"), lambda _: None)
    for tick in range(1, 5):
        bench.states(tick)
    bench.thread.start()
    bench.gate.set()
    assert bench.failed.wait(PATIENCE)
    assert bench.told == []
    assert len(bench.failures) == 1


def test_a_mistake_in_a_job_or_a_callback_is_a_failure_too(tmp_path: Path) -> None:
    for number, break_it in enumerate(("job", "callback")):
        bench = Bench(tmp_path / str(number))
        bench.thread.start()
        if break_it == "job":
            bench.thread.submit(lambda store: store.slice("x", 0), bench.tell)
        else:
            bench.thread.submit(lambda store: None, lambda _: [][1])
        assert bench.failed.wait(PATIENCE)
        bench.thread.close()
        assert isinstance(bench.failures[0], NotHeld if break_it == "job" else IndexError)
        bench.folder.close()


def test_a_database_that_cannot_be_opened_is_a_failure(bench: Bench) -> None:
    bench.folder.database_path.write_bytes(b"nothing of the kind" * 1000)
    for rest in ("-wal", "-shm"):
        bench.folder.database_path.with_name(f"shoal.db{rest}").unlink(missing_ok=True)
    bench.thread.start()
    assert bench.failed.wait(PATIENCE)
    assert isinstance(bench.failures[0], StoreError)


def test_consensus_writes_beside_a_load_and_takes_turns(bench: Bench) -> None:
    bench.thread.start()
    over = threading.Event()

    def load(store: Store) -> None:
        store.put_graph("l", "g", b"t", b"h")
        for partition in range(4):
            store.put_slice("l", partition, b"s", [bytes(10 << 20)])
        store.seal("l", range(4))

    bench.thread.submit(load, lambda _: over.set())
    mine = Store(bench.folder)
    term = 0
    while not over.is_set():
        term += 1
        mine.persist(Persist(HardState(term)))
    stored = mine.load_consensus()
    assert stored is not None
    assert stored.hard_state.term == term
    assert term >= 5  # a load of forty megabytes is ten transactions: it did not wait for the whole of it
    assert mine.sizes()["log"] <= WAL_BYTES_KEPT
    assert mine.loads() == {"l": ("g", frozenset(range(4)))}
    mine.close()


def test_whoever_waits_when_the_disk_fails_is_told_and_so_is_who_comes_later(bench: Bench) -> None:
    """Nobody may wait for ever: an end that waits for them would never come."""

    def fail(store: Store) -> None:
        raise StoreFailed("the disk is full")

    bench.hold()
    lost: list[str] = []
    for job in (fail, lambda store: None):
        bench.thread.submit(job, bench.tell, lambda error: lost.append(str(error)))
    bench.thread.start()
    bench.gate.set()
    assert bench.failed.wait(PATIENCE)
    bench.thread.join(PATIENCE)
    assert lost == ["the disk is full"] * 2
    bench.thread.submit(lambda store: None, bench.tell, lambda error: lost.append(str(error)))
    assert lost == ["the disk is full"] * 3
    assert not bench.told


def test_who_comes_after_the_end_is_told(bench: Bench) -> None:
    bench.thread.start()
    assert bench.thread.close()
    lost: list[StoreFailed] = []
    bench.thread.submit(lambda store: None, bench.tell, lost.append)
    assert "has been closed" in str(lost[0])


def test_a_disk_that_does_not_answer_is_not_waited_for(bench: Bench) -> None:
    bench.hold()
    bench.thread.start()
    assert not bench.thread.close(0.05)
    bench.gate.set()
    assert bench.thread.close()


def test_a_coroutine_that_waits_for_the_disk_is_told_that_it_has_failed(bench: Bench) -> None:
    def fail(store: Store) -> None:
        raise StoreFailed("the disk is full")

    async def run() -> None:
        loop = asyncio.get_running_loop()
        disk = Disk(bench.thread, lambda do, *args: loop.call_soon_threadsafe(do, *args))
        bench.thread.start()
        waiting = [asyncio.ensure_future(disk.do(job)) for job in (fail, lambda store: None)]
        async with asyncio.timeout(PATIENCE):
            for each in waiting:
                with pytest.raises(StoreFailed, match="the disk is full"):
                    await each
            with pytest.raises(StoreFailed, match="the disk is full"):
                await disk.do(lambda store: None)

    asyncio.run(run())


def test_states_for_which_there_is_no_room_are_lost_each_for_itself(bench: Bench) -> None:
    bench.hold()
    lost: list[str] = []

    def without_room(store: Store) -> None:
        put = store.put_states

        def put_some(records: Sequence[StateRecord]) -> None:
            if any(record.tick == 2 for record in records):
                raise NoRoom("the disk is full")
            put(records)

        store.put_states = put_some  # type: ignore[method-assign]

    bench.thread.submit(without_room, lambda _: None)
    for tick in (1, 2, 3):
        record = StateRecord(1, tick, 0, {0: b"state"})
        bench.thread.submit_states(record, partial(bench.tell, tick), lambda error: lost.append(str(error)))
    bench.thread.submit(lambda store: sorted(store.states_held()[1]), bench.tell)
    bench.thread.start()
    bench.gate.set()
    bench.thread.close()
    assert bench.told == [1, 3, [1, 3]]
    assert lost == ["the disk is full"]
    assert not bench.failures


def test_a_job_that_finds_no_room_ends_nothing(bench: Bench) -> None:
    def fail(store: Store) -> None:
        raise NoRoom("the disk is full")

    async def run() -> None:
        loop = asyncio.get_running_loop()
        disk = Disk(bench.thread, lambda do, *args: loop.call_soon_threadsafe(do, *args))
        bench.thread.start()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(NoRoom):
                await disk.do(fail)
            assert await disk.do(lambda store: 7) == 7

    asyncio.run(run())
    assert not bench.failures


@pytest.mark.parametrize("is_awaited", [True, False])
def test_a_deletion_that_finds_no_room_is_tried_again_until_it_is_done(bench: Bench, is_awaited: bool) -> None:
    attempts: list[int] = []

    async def run() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        disk = Disk(bench.thread, lambda do, *args: loop.call_soon_threadsafe(do, *args))
        disk.again_seconds = 0.001
        bench.thread.start()

        def delete(store: Store) -> None:
            attempts.append(len(attempts))
            if len(attempts) < 4:
                raise NoRoom("the disk is full")
            loop.call_soon_threadsafe(done.set)

        async with asyncio.timeout(PATIENCE):
            if is_awaited:
                await disk.delete(delete)
                assert attempts == [0], "whoever waits is not kept waiting for room"
            else:
                disk.order(delete)
            await done.wait()

    asyncio.run(run())
    assert len(attempts) == 4
    assert not bench.failures
