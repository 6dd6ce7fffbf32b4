"""Killed at any moment, out of room, or with a disk that fails to sync: what was acknowledged is there afterwards.

These run real processes, real small file systems and injected faults; where the system does not allow that they are
skipped with the reason.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from consensus.configuration import Configuration
from consensus.effects import Persist
from consensus.stored import Entry, HardState, Snapshot, Stored
from daemon.store import DataFolder, NoRoom, StateRecord, Store, StoreError
from tests.daemon.store.writer import PARTITIONS, frames_of, state_of

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "tests.daemon.store.writer"]


def said_last(lines: list[str]) -> dict[str, int]:
    """For each kind of write the last that was acknowledged."""
    last = {"persist": 0, "states": 0, "graph": 0, "seal": 0, "drop": 0}
    for line in lines:
        word, number = line.split()[:2]
        last[word] = int(number)
    return last


def check(path: Path, seed: int, last: dict[str, int]) -> None:
    """Everything acknowledged is there, whole; at most the one write under way is there beside it."""
    with DataFolder(path, "demo", "a").open() as folder:
        store = Store(folder)
        try:
            check_consensus(store.load_consensus(), seed, last["persist"])
            held = store.states_held().get(1, {})
            for partition in range(PARTITIONS):
                ticks = [tick for tick, partitions in held.items() if partition in partitions]
                assert last["states"] <= max(ticks, default=0) <= last["states"] + 1
                assert len(ticks) <= 2
                assert all(store.state(1, tick, partition) == state_of(seed, tick, partition) for tick in ticks)
            check_loads(store, seed, last)
        finally:
            store.close()


def check_consensus(stored: Stored | None, seed: int, last: int) -> None:
    if stored is None:
        assert last == 0
        return
    assert last <= len(stored.entries) <= last + 1
    assert stored.hard_state.term == len(stored.entries) + 1
    for turn, entry in enumerate(stored.entries, start=1):
        assert entry == Entry(turn + 1, 1, Random(f"{seed} entry {turn}").randbytes(200))


def check_loads(store: Store, seed: int, last: dict[str, int]) -> None:
    loads = store.loads()
    kept = [turn for turn in range(1, last["seal"] + 1, 4) if turn > last["drop"] + 4]
    assert all(loads[f"load-{turn}"][1] == frozenset(range(PARTITIONS)) for turn in kept)
    for load, (_, partitions) in loads.items():
        turn = int(load.split("-")[1])
        assert partitions in (frozenset(), frozenset(range(PARTITIONS)))
        assert store.graph(load) == ("graph", bytes([turn % 256]) * 100_000, b"header")
        for partition in partitions:
            assert store.slice(load, partition) == (b"spec", frames_of(seed, turn, partition))


@pytest.mark.parametrize("seed", range(6))
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    writer = subprocess.Popen(
        [*COMMAND, str(tmp_path), str(seed), "10000"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "open\n"
    lines = [writer.stdout.readline() for _ in range(random.randint(0, 40))]
    try:
        writer.wait(random.random() * 0.03)
    except subprocess.TimeoutExpired:
        writer.kill()
    lines += writer.stdout.readlines()
    writer.wait()
    writer.stdout.close()
    check(tmp_path, seed, said_last(lines))
    check(tmp_path, seed, said_last(lines))  # opening changed nothing of it


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB; the test skips where one can't be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a small file system takes root")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no small file system here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def _persists(store: Store) -> None:
    for index in range(2, 5000):
        store.persist(Persist(HardState(index), None, None, (Entry(index, 1, bytes(2000)),)))


def _slices(store: Store) -> None:
    for partition in range(100):
        store.put_slice("l", partition, b"s", [bytes(300_000)])


def _states(store: Store) -> None:
    for tick in range(1, 1000):
        store.put_states([StateRecord(1, tick, 0, {0: bytes(100_000)})])


WRITES: dict[str, Callable[[Store], None]] = {
    "persist": _persists,
    "put_graph": lambda store: store.put_graph("m", "g", bytes(7 << 20), b"h"),
    "put_slice": _slices,
    "one large slice": lambda store: store.put_slice("l", 1, b"s", [bytes(9 << 20)]),
    "put_states": _states,
    "one large state": lambda store: store.put_states([StateRecord(1, 1, 0, {0: bytes(7 << 20)})]),
}


@pytest.mark.parametrize("what", WRITES)
def test_a_full_disk_is_told_at_every_kind_of_write_and_nothing_acknowledged_is_lost(
    small_disk: Path, what: str
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(3 << 20))
    with DataFolder(small_disk / "data", "demo", "a").open() as folder:
        store = Store(folder)
        store.persist(Persist(HardState(1, "a"), Snapshot(1, 1, Configuration.of(["a"]))))
        store.put_graph("l", "g", b"table", b"header")
        store.put_slice("l", 0, b"s", [b"frame"])
        store.seal("l", [0])
        store.put_states([StateRecord(2, 5, 0, {0: b"state"})])
        with pytest.raises(NoRoom, match=r"full.*bytes free.*make room"):
            WRITES[what](store)
        store.drop_load("m")  # SQLite has taken the write back: the store goes on
        before = store.load_consensus()
        held = store.states_held()
        store.close()
    filler.unlink()
    with DataFolder(small_disk / "data", "demo", "a").open() as folder:
        store = Store(folder)
        assert store.load_consensus() == before
        assert store.states_held() == held
        assert store.state(2, 5, 0) == b"state"
        assert store.loads()["l"] == ("g", frozenset({0}))
        assert store.slice("l", 0) == (b"s", [b"frame"])
        store.put_states([StateRecord(3, 1, 0, {0: bytes(100_000)})])  # there is room again
        store.close()


def test_a_disk_too_full_to_open_says_so(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (small_disk / "filler").write_bytes(bytes(7 << 20))
    with pytest.raises(StoreError, match=r"full|ENOSPC"):
        DataFolder(small_disk / "data", "demo", "a").open()


def test_a_read_only_file_system_says_so(small_disk: Path) -> None:
    with DataFolder(small_disk / "data", "demo", "a").open():
        pass
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError, match=r"data/shoal\.db: could not open the data folder.*[Rr]ead-only file system"):
        DataFolder(small_disk / "data", "demo", "a").open()


@pytest.mark.parametrize("when", [12, 17, 30, 41])
def test_a_sync_that_fails_is_never_acknowledged(tmp_path: Path, when: int) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("injecting a failed fsync takes strace")
    inject = f"inject=fsync,fdatasync:error=EIO:when={when}+"
    command = [strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", inject, *COMMAND]
    done = subprocess.run([*command, str(tmp_path), "5", "40"], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode != 3:
        assert "ptrace" in done.stderr.lower() or "PTRACE" in done.stderr, done
        pytest.skip(f"strace may not trace here: {done.stderr.strip():.200}")
    first, *lines, failed = done.stdout.splitlines()
    assert first == "open"
    assert re.search(r"shoal\.db: could not .*failed to read, write or sync.*EIO.*replace the disk", failed), failed
    check(tmp_path, 5, said_last(lines))
