"""What a killed campaign leaves is recognised by its name, and what is somebody's is left alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos import disks, leftovers, nets
from chaos.disks import SmallDisk

WAITS = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A folder of a process that is gone, and something like a daemon that was started for it."""
    gone = subprocess.Popen([sys.executable, "-S", "-c", ""])
    gone.wait()
    folder = tmp_path / f"{leftovers.PREFIX}{gone.pid}-1"
    (folder / "c1" / "1" / "data").mkdir(parents=True)
    command = [sys.executable, "-S", "-c", WAITS, "--config", str(folder / "c1" / "1" / "config.toml")]
    left = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert left.stdout is not None
    assert left.stdout.readline() == b"up\n"
    yield folder, left
    left.kill()
    left.communicate()


def test_a_killed_campaigns_daemons_and_folder_are_removed(orphan: tuple[Path, subprocess.Popen[bytes]]) -> None:
    folder, left = orphan
    assert leftovers.processes_of(folder) == [left.pid]
    assert folder.name in leftovers.sweep(folder.parent)
    assert left.wait(10) == -9
    assert not folder.exists()
    assert folder.name not in leftovers.sweep(folder.parent)


def test_a_living_campaigns_are_not(tmp_path: Path) -> None:
    folder = tmp_path / leftovers.own_name()
    folder.mkdir()
    assert folder.name not in leftovers.sweep(tmp_path)
    assert folder.exists()


def test_another_process_of_the_same_id_is_another(tmp_path: Path) -> None:
    folder = tmp_path / f"{leftovers.own_name()}0"
    folder.mkdir()
    assert folder.name in leftovers.sweep(tmp_path)


def test_who_only_reads_in_the_folder_is_not_ended(orphan: tuple[Path, subprocess.Popen[bytes]]) -> None:
    folder, left = orphan
    reader = subprocess.Popen([sys.executable, "-S", "-c", WAITS, str(folder / "c1" / "1" / "log")])
    try:
        assert leftovers.processes_of(folder) == [left.pid]
    finally:
        reader.kill()
        reader.wait()


def test_a_folder_that_is_kept_stays(orphan: tuple[Path, subprocess.Popen[bytes]]) -> None:
    folder, left = orphan
    leftovers.remove(folder.name, folder.parent, keep=True)
    assert left.wait(10) == -9
    assert folder.exists()
    assert folder.name not in leftovers.sweep(folder.parent)
    assert folder.exists()


@pytest.mark.skipif(bool(disks.why_not()), reason=disks.why_not() or "-")
def test_mounts_go(orphan: tuple[Path, subprocess.Popen[bytes]]) -> None:
    folder, _ = orphan
    SmallDisk(folder / "c1" / "1" / "data", 64 * 1024)
    assert leftovers.mounts_of(folder)
    leftovers.sweep(folder.parent)
    assert not leftovers.mounts_of(folder)
    assert not folder.exists()


@pytest.mark.skipif(bool(nets.why_not()), reason=nets.why_not() or "-")
def test_namespaces_go(orphan: tuple[Path, subprocess.Popen[bytes]]) -> None:
    folder, _ = orphan
    space = f"{folder.name}-3"
    subprocess.run(["ip", "netns", "add", space], check=True)
    leftovers.sweep(folder.parent)
    assert space not in leftovers.namespaces()
