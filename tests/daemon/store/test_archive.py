"""A folder that has a backup's name is a whole backup, and one that has been touched since is none."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.services.backup.restore import open_backup
from daemon.state import command_codec
from daemon.state.commands import AddGraph, KeptRun, Restore, StartRun
from daemon.state.records import COMPLETED, RUNNING
from daemon.store import NotHeld, StateRecord, StoreError
from daemon.store.archive import Archive, ArchiveWriter

GRAPH = AddGraph("web", "load", 1, 9, 9, 2, 0, "int", (), ())


def kept(state: str = COMPLETED) -> KeptRun:
    start = StartRun("rank", "web", "load", (), 9, 0, False, 8, ("rank",))
    return KeptRun(3, start, state, 7 if state == COMPLETED else 0, "", 0, 0, 0)


def written(
    folder: Path,
    run: KeptRun | None = None,
    states: dict[int, bytes] | None = None,
    spelt: Callable[[bytes], bytes] = bytes,
) -> Path:
    writer = ArchiveWriter(folder, "demo")
    writer.store.put_graph("load", "web", b"\0" * 9, b"header")
    for partition in range(2):
        writer.store.put_slice("load", partition, b"spec", [b"frame", bytes(partition)])
    writer.store.seal("load", range(2))
    if states:
        writer.store.put_states([StateRecord(3, 7, 7, states)])
    runs = (run,) if run else ()
    writer.finish(spelt(command_codec().encode(Restore((GRAPH,), runs, 3))), {"cluster": "demo"})
    return folder


def test_what_was_written_is_read_from_where_nothing_can_be_written(tmp_path: Path) -> None:
    folder = written(tmp_path / "backup", kept(), {0: b"zero", 1: b"one"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup"]
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    before = sorted(path.name for path in elsewhere.iterdir())
    for path in (*elsewhere.iterdir(), elsewhere):
        path.chmod(0o500)
    archive = Archive(elsewhere)
    assert archive.graph("load") == ("web", b"\0" * 9, b"header")
    assert archive.slice("load", 1) == (b"spec", [b"frame", b"\0"])
    assert archive.state(3, 7, 1) == b"one"
    assert archive.states_held() == {3: {7: frozenset({0, 1})}}
    with pytest.raises(NotHeld):
        archive.slice("load", 2)
    archive.close()
    assert sorted(path.name for path in elsewhere.iterdir()) == before
    elsewhere.chmod(0o700)


def test_it_is_not_there_before_it_is_whole_and_nothing_is_left_of_one_that_failed(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "backup", "demo")
    assert [path.name for path in tmp_path.iterdir()] == ["backup.partial"]
    with pytest.raises(StoreError, match=r"has no manifest\.json: it was interrupted"):
        Archive(tmp_path / "backup.partial")
    with pytest.raises(StoreError, match="left from an interrupted backup"):
        ArchiveWriter(tmp_path / "backup", "demo")
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_will_do_and_a_full_one_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    written(tmp_path / "empty")
    for taken in ("empty", "file"):
        (tmp_path / "file").write_text("mine")
        with pytest.raises(StoreError, match="exists and is not empty"):
            ArchiveWriter(tmp_path / taken, "demo")
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(StoreError, match="make the folder for a backup"):
        ArchiveWriter(tmp_path / "no" / "such" / "folder", "demo")


@pytest.mark.parametrize("damage", ["bit", "cut", "gone", "manifest", "format"])
def test_what_was_damaged_since_is_refused(tmp_path: Path, damage: str) -> None:
    folder = written(tmp_path / "backup")
    database, manifest = folder / "shoal.db", folder / "manifest.json"
    match damage:
        case "bit":
            with database.open("r+b") as file:
                byte = os.pread(file.fileno(), 1, 5000)
                os.pwrite(file.fileno(), bytes([byte[0] ^ 4]), 5000)
        case "cut":
            os.truncate(database, database.stat().st_size - 4096)
        case "gone":
            database.unlink()
        case "manifest":
            manifest.write_text(manifest.read_text()[:-9])
        case "format":
            manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(StoreError, match=r"another copy|read the backup|format 1"):
        Archive(folder)


@pytest.mark.parametrize(("version", "age"), [(3, "an older"), (99, "a newer")])
def test_one_of_another_format_is_for_the_version_that_wrote_it(tmp_path: Path, version: int, age: str) -> None:
    folder = written(tmp_path / "backup")
    database, manifest = folder / "shoal.db", folder / "manifest.json"
    connection = sqlite3.connect(database)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    held = database.read_bytes()
    files = {"shoal.db": {"bytes": len(held), "sha256": hashlib.sha256(held).hexdigest()}}
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "files": files}))
    with pytest.raises(
        StoreError, match=rf"by {age} Shoal .*: restore it with that version, or load its graphs again$"
    ):
        Archive(folder)


def test_it_is_looked_through_before_a_daemon_starts_with_it(tmp_path: Path) -> None:
    data, whole = tmp_path / "data", {0: b"zero", 1: b"one"}
    assert open_backup(written(tmp_path / "a", kept(), whole), data).restore.runs == (kept(),)
    assert open_backup(written(tmp_path / "b", kept(RUNNING)), data).restore.runs == (kept(RUNNING),)
    data.mkdir()
    open_backup(tmp_path / "a", data)
    with pytest.raises(StoreError, match="lacks states of run 3"):
        open_backup(written(tmp_path / "c", kept(), {0: b"zero"}), data)
    with pytest.raises(StoreError, match="lacks the result of run 3"):
        open_backup(written(tmp_path / "d", kept()), data)
    with pytest.raises(StoreError, match=r"written by a later version of Shoal .*it is 9, and .*restore it with"):
        open_backup(written(tmp_path / "e", kept(), whole, lambda spelt: spelt[:1] + b"\x09" + spelt[2:]), data)
    with pytest.raises(StoreError, match="has an unreadable manifest: use another copy"):
        open_backup(written(tmp_path / "f", kept(), whole, lambda spelt: spelt[:-1]), data)
    with pytest.raises(StoreError, match=r"has no manifest\.json: name the folder"):
        open_backup(tmp_path, data)
    (data / "shoal.db").touch()
    with pytest.raises(StoreError, match="is not empty: a backup is restored into a new cluster"):
        open_backup(tmp_path / "a", data)
