"""Whose the data folder is, who may use it, and what a torn or foreign one is told."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.store import DataFolder, Store, StoreError, StoreFailed
from daemon.wire.version import NEWEST, OLDEST

HOLD = """
import sys
from daemon.store import DataFolder
with DataFolder(sys.argv[1], "demo", "a").open():
    print("open", flush=True)
    sys.stdin.read()
"""


def life(path: Path, clock: int = 5) -> tuple[int, int]:
    with DataFolder(path, "demo", "a", lambda: clock).open() as folder:
        return folder.disk, folder.generation


def edit(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path / "shoal.db")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_missing_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    life(tmp_path / "x" / "data")
    assert stat.S_IMODE((tmp_path / "x" / "data").stat().st_mode) == 0o700


def test_an_open_folder_of_wider_mode_is_narrowed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    life(tmp_path / "data")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_the_generation_rises_at_each_opening_and_the_disk_stays(tmp_path: Path) -> None:
    assert life(tmp_path, 100) == (100, 100)
    assert life(tmp_path, 200) == (100, 200)
    assert life(tmp_path, 50) == (100, 201)  # the clock was set back
    assert life(tmp_path, 201) == (100, 202)


def test_another_folder_is_another_disk(tmp_path: Path) -> None:
    assert life(tmp_path / "one", 1)[0] != life(tmp_path / "two", 2)[0]


def test_a_second_daemon_is_refused_by_the_first_ones_process_number(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    with pytest.raises(StoreError, match=f"process {holder.pid}"):
        life(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    life(tmp_path)  # the lock has gone with the process


def test_a_refused_opening_leaves_the_folder_to_others(tmp_path: Path) -> None:
    life(tmp_path)
    with pytest.raises(StoreError):
        DataFolder(tmp_path, "other", "a").open()
    life(tmp_path)


@pytest.mark.parametrize(("cluster", "shard", "word"), [("other", "a", "cluster"), ("demo", "b", "shard")])
def test_another_clusters_or_shards_folder_is_refused(tmp_path: Path, cluster: str, shard: str, word: str) -> None:
    life(tmp_path)
    with pytest.raises(StoreError, match=f"belongs to {word} .*move it away"):
        DataFolder(tmp_path, cluster, shard).open()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "PRAGMA user_version = 99",
            "newer Shoal .format 99, this one knows 4.: start that version again, or, if others that run this",
        ),
        (
            "PRAGMA user_version = 1",
            "older Shoal .format 1, this one knows 4.: start that .*if none do, that would lose them: export",
        ),
        ("PRAGMA application_id = 7", "another application's"),
        ("DROP TABLE state", "torn.*fetches its partitions from the others"),
        ("UPDATE meta SET value = 'x' WHERE key = 'disk'", "torn"),
        ("DELETE FROM meta WHERE key = 'generation'", "torn"),
        ("DELETE FROM meta", "torn"),
    ],
)
def test_what_is_not_a_database_of_this_version_is_refused(tmp_path: Path, statement: str, told: str) -> None:
    life(tmp_path)
    edit(tmp_path, statement)
    with pytest.raises(StoreError, match=told):
        life(tmp_path)


def test_another_applications_database_is_left_as_it_is(tmp_path: Path) -> None:
    edit(tmp_path, "CREATE TABLE theirs (x)", "INSERT INTO theirs VALUES (1)")
    before = (tmp_path / "shoal.db").read_bytes()
    with pytest.raises(StoreError, match="another application's"):
        life(tmp_path)
    assert (tmp_path / "shoal.db").read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shoal.db").write_bytes(b"nothing of the kind " * 1000)
    with pytest.raises(StoreError, match=r"not a database.*move the folder away"):
        life(tmp_path)


def test_a_database_that_has_lost_its_tail_is_refused(tmp_path: Path) -> None:
    with DataFolder(tmp_path, "demo", "a").open() as folder:
        store = Store(folder)
        store.put_graph("l", "g", bytes(300_000), b"")
        store.close()
    size = (tmp_path / "shoal.db").stat().st_size
    os.truncate(tmp_path / "shoal.db", size - 100_000)
    with pytest.raises(StoreError, match="torn"):
        life(tmp_path)


def test_an_interrupted_making_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "shoal.db").touch()
    life(tmp_path)


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(StoreError, match="could not open the data folder"):
        life(tmp_path / "data")


def test_half_written_loads_and_slices_of_a_former_life_are_swept_away(tmp_path: Path) -> None:
    with DataFolder(tmp_path, "demo", "a").open() as folder:
        store = Store(folder)
        store.put_graph("whole", "g", b"table", b"header")
        store.put_slice("whole", 1, b"spec", [b"sealed"])
        store.seal("whole", [1])
        store.put_slice("whole", 2, b"spec", [bytes(5 << 20)])
        store.put_graph("half", "g", bytes(5 << 20), b"header")
        store.close()
    edit(tmp_path, "UPDATE slice SET stage = 1 WHERE load = 2")
    with DataFolder(tmp_path, "demo", "a").open() as folder:
        store = Store(folder)
        assert store.loads() == {"whole": ("g", frozenset({1}))}
        assert store.sizes()["slices"] == len(b"table") + len(b"sealed")
        assert store.sizes()["free"] > 9 << 20
        store.put_graph("half", "g", b"again", b"header")
        assert store.graph("half") == ("g", b"again", b"header")
        store.close()


def test_a_folder_that_is_gone_is_an_error_in_words(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "data", "demo", "a").open() as folder:
        shutil.rmtree(tmp_path / "data")
        with pytest.raises(StoreError, match="cannot be opened"):
            Store(folder)
    assert not issubclass(StoreError, StoreFailed)


def test_a_foreign_reader_that_holds_the_log_is_named_as_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the database would look shorter than it says it is, and a sound folder be called torn."""
    monkeypatch.setattr("daemon.store.database.BUSY_TIMEOUT_MS", 10)
    with DataFolder(tmp_path, "demo", "a").open() as folder:
        store = Store(folder)
        reader = sqlite3.connect(tmp_path / "shoal.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM meta").fetchall()
        store.put_graph("l", "g", bytes(300_000), b"")
        store.close()
    with pytest.raises(StoreError, match="read by another process"):
        life(tmp_path)
    reader.close()
    life(tmp_path)


def at_version(path: Path, version: int) -> None:
    with DataFolder(path, "demo", "a").open() as folder:
        store = Store(folder)
        store.raise_version(version)
        store.close()


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_a_folder_remembers_its_clusters_version(tmp_path: Path, version: int) -> None:
    at_version(tmp_path, version)
    life(tmp_path)
    connection = sqlite3.connect(tmp_path / "shoal.db")
    assert connection.execute("SELECT value FROM meta WHERE key = 'cluster_version'").fetchall() == [(str(version),)]
    connection.close()


@pytest.mark.parametrize("version", [OLDEST - 1, NEWEST + 1])
def test_a_folder_of_a_cluster_at_a_version_that_this_shoal_can_not_be_at_is_left_as_it_is(
    tmp_path: Path, version: int
) -> None:
    at_version(tmp_path, version)
    before = life_in(tmp_path)
    words = rf"is of a cluster at version {version}, and this Shoal \(.*\) supports .*: install one that supports"
    with pytest.raises(StoreError, match=words):
        DataFolder(tmp_path, "demo", "a").open()
    assert life_in(tmp_path) == before


def life_in(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path / "shoal.db")
    rows = connection.execute("SELECT * FROM meta ORDER BY key").fetchall()
    connection.close()
    return rows


@pytest.mark.parametrize("text", ["", "five", "-1", "4" * 30, "٤"])
def test_a_folder_that_names_no_cluster_version_is_torn(tmp_path: Path, text: str) -> None:
    at_version(tmp_path, NEWEST)
    edit(tmp_path, f"UPDATE meta SET value = '{text}' WHERE key = 'cluster_version'")
    with pytest.raises(StoreError, match="is torn: it names no cluster version"):
        DataFolder(tmp_path, "demo", "a").open()
