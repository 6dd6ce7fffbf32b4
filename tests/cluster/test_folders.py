"""Data folders that a daemon must not use: it exits with status 1 and an error, and leaves them unchanged.

`tests/daemon/store` tries every case; here a daemon starts on a few, as after a mix-up by an operator.
"""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.cli.dev_cluster import DevCluster, DevShard
from daemon.store.schema import FORMAT
from tests.cluster.trial import wait_for

SHOALD = (sys.executable, "-P", "-m", "daemon", "--config")
Spoil = Callable[[DevShard], None]


@pytest.fixture(scope="module")
def lone(ground: Path) -> Iterator[DevShard]:
    """A shard that has run before, and is not running now."""
    cluster = DevCluster(ground / "folders")
    try:
        (shard,) = cluster.up(1, "none", 60)
        cluster.down()
        yield shard
    finally:
        cluster.down()


def database(shard: DevShard) -> Path:
    return shard.folder / "data" / "shoal.db"


def torn(shard: DevShard) -> None:
    """Flips some bytes of SQLite's header: page size, versions, fractions (its file format, section 1.3)."""
    with database(shard).open("r+b") as file:
        file.seek(16)
        flipped = bytes(byte ^ 0xFF for byte in file.read(8))
        file.seek(16)
        file.write(flipped)


def newer(shard: DevShard) -> None:
    connection = sqlite3.connect(database(shard))
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def renamed(what: str, before: str, after: str) -> Spoil:
    def rename(shard: DevShard) -> None:
        text = shard.config.read_text()
        shard.config.write_text(text.replace(f'{what} = "{before}"', f'{what} = "{after}"'))

    return rename


SPOILT: dict[str, tuple[Spoil, str]] = {
    "another shard's": (renamed("shard", "shard-1", "shard-7"), "belongs to shard 'shard-1', not to 'shard-7': give"),
    "another cluster's": (renamed("name", "dev", "prod"), "belongs to cluster 'dev', not to 'prod': give each shard"),
    "torn": (torn, "move the folder away and start again: the shard then fetches its partitions from the others"),
    "newer": (newer, f"by a newer Shoal (format 99, this one knows {FORMAT}): start that version again, or, if"),
}


def files(shard: DevShard) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (shard.folder / "data").iterdir() if path.name != "lock"}


@pytest.mark.parametrize("how", SPOILT)
def test_a_folder_that_is_not_to_be_used(lone: DevShard, how: str) -> None:
    shard, (spoil, told) = lone, SPOILT[how]
    config, before = shard.config.read_text(), database(shard).read_bytes()
    try:
        spoil(shard)
        spoilt = files(shard)
        ended = subprocess.run([*SHOALD, shard.config], capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 1
        (line,) = ended.stderr.splitlines()
        assert "critical daemon: cannot start: " in line
        assert told in line
        assert files(shard) == spoilt
    finally:
        shard.config.write_text(config)
        database(shard).write_bytes(before)


def joined(shard: DevShard) -> dict[str, Any]:
    status = shard.status() or {}
    return status if status.get("state") == "joined" else {}


def is_refused(shard: DevShard) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(shard.socket))
        except ConnectionRefusedError:
            return True
    return False


def test_a_stale_socket_is_replaced_and_a_killed_one_comes_back_in_a_new_life(lone: DevShard) -> None:
    """kill -9 leaves socket and lock behind; the next start takes them over, with the folder."""
    lives: list[dict[str, Any]] = []
    for end in (signal.SIGKILL, signal.SIGTERM):
        with lone.log.open("ab") as log, subprocess.Popen([*SHOALD, lone.config], stderr=log) as process:
            lone.remember(process.pid)
            try:
                lives.append(wait_for(lambda: joined(lone), 30, "it serves"))
            finally:
                process.send_signal(end)
                process.wait(20)
        assert process.returncode == (0 if end is signal.SIGTERM else -end)
        assert lone.socket.exists() == (end is signal.SIGKILL)
        if end is signal.SIGKILL:
            wait_for(lambda: is_refused(lone), 10, "the last of its threads closes the socket")
    assert lives[1]["generation"] > lives[0]["generation"]
    assert lives[1]["epoch"] > lives[0]["epoch"]
