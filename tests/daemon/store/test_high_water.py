"""A database that has lost its last writes is seen for what it is when it is opened again."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus import Configuration, HardState, Stored
from consensus.effects import Persist
from daemon.runtime.durable import is_only_voter
from daemon.store import DataFolder, Store
from daemon.store.high_water import FILE
from tests.daemon.store.test_folder import edit


def life(path: Path, decisions: int) -> bytes:
    """One life, of so many decisions; what its write-ahead log was before the last of them."""
    with DataFolder(path, "demo", "a").open() as folder:
        store, before = Store(folder), b""
        term = (store.load_consensus() or Stored()).hard_state.term
        for number in range(decisions):
            before = wal(path).read_bytes()
            store.persist(Persist(HardState(term + number + 1)))
        after = {each: each.read_bytes() for each in (path / "shoal.db", wal(path))}
        store.close()
    for each, content in after.items():  # as a kill leaves them: closing moves the log into the database
        each.write_bytes(content)
    return before


def wal(path: Path) -> Path:
    return path / "shoal.db-wal"


def opened(path: Path) -> DataFolder:
    folder = DataFolder(path, "demo", "a").open()
    folder.close()
    return folder


def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    life(tmp_path, 5)
    assert not opened(tmp_path).forgot
    life(tmp_path, 5)
    assert not opened(tmp_path).forgot


def test_a_log_that_is_gone_is_seen(tmp_path: Path) -> None:
    life(tmp_path, 5)
    wal(tmp_path).unlink()
    assert opened(tmp_path).forgot


@pytest.mark.parametrize("at", ["in the middle", "at the last decision"])
def test_a_log_that_is_torn_is_seen(tmp_path: Path, at: str) -> None:
    before = life(tmp_path, 5)
    whole = wal(tmp_path).read_bytes()
    keep = len(before) if at == "at the last decision" else len(before) // 2
    wal(tmp_path).write_bytes(whole[:keep] + bytes(len(whole) - keep))
    assert opened(tmp_path).forgot


def test_it_stays_seen_until_somebody_accepts_it(tmp_path: Path) -> None:
    life(tmp_path, 5)
    wal(tmp_path).unlink()
    assert opened(tmp_path).forgot
    assert opened(tmp_path).forgot
    with DataFolder(tmp_path, "demo", "a").open() as folder:
        folder.accept_loss()
        assert not folder.forgot
    assert not opened(tmp_path).forgot
    life(tmp_path, 2)
    assert not opened(tmp_path).forgot


def test_another_disk_owes_nothing(tmp_path: Path) -> None:
    life(tmp_path, 5)
    for each in tmp_path.glob("shoal.db*"):
        each.unlink()
    assert not opened(tmp_path).forgot


@pytest.mark.parametrize("content", [b"", b"x", bytes(28), bytes(1000)])
def test_a_file_that_makes_no_sense_accuses_nobody(tmp_path: Path, content: bytes) -> None:
    life(tmp_path, 5)
    (tmp_path / FILE).write_bytes(content)
    assert not opened(tmp_path).forgot


def test_a_shard_that_gives_up_its_server_is_another_disk_and_keeps_the_rest(tmp_path: Path) -> None:
    with DataFolder(tmp_path, "demo", "a").open() as folder:
        store, disk = Store(folder), folder.disk
        store.put_graph("load", "web", b"table", b"header")
        store.persist(Persist(HardState(7)))
        store.renounce(disk + 1)
        store.close()
    with DataFolder(tmp_path, "demo", "a").open() as folder:
        store = Store(folder)
        assert (folder.disk, folder.forgot) == (disk + 1, False)
        assert store.load_consensus() is None
        assert list(store.loads()) == ["load"]
        store.close()


def test_the_life_before_is_told(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    assert first.before == 0
    assert second.before == first.generation


def test_a_generation_that_was_raised_is_no_life_that_was_lived(tmp_path: Path) -> None:
    """Or a disk that went back, under a clock that did, would seem to remember the life that others tell it of."""
    with DataFolder(tmp_path, "demo", "a").open() as folder:
        lived = folder.generation
        store = Store(folder)
        store.raise_generation(lived * 2)
        store.close()
    after = opened(tmp_path)
    assert after.generation > lived * 2
    assert after.before == lived


def test_a_folder_that_does_not_count_its_decisions_is_torn(tmp_path: Path) -> None:
    opened(tmp_path)
    edit(tmp_path, "DELETE FROM meta WHERE key = 'persisted'")
    with pytest.raises(Exception, match="torn"):
        opened(tmp_path)


@pytest.mark.parametrize(("voters", "alone"), [(["a/1"], True), (["a/1", "b/1"], False), (["b/1"], False)])
def test_who_is_all_of_its_cluster(voters: list[str], alone: bool) -> None:
    assert is_only_voter(Stored.bootstrap(Configuration.of(voters)), "a/1") is alone
