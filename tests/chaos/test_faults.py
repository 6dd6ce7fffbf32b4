"""Faults take hold of processes and disks: a stand-in for the daemon writes, and leaves as a daemon has to."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from chaos import disks, faults, leftovers
from chaos.disks import SmallDisk
from chaos.faults import Ground, Misbehaved
from chaos.fleet import Daemon, Fleet, FleetFailed
from chaos.plan import Fault

STAND_IN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit({status}))
data = pathlib.Path(sys.argv[2]).parent / "data"
print("up", flush=True)
try:
    while True:
        with (data / "beat").open("a") as file:
            file.write("." * 4096)
        time.sleep(0.01)
except OSError:
    print("{said}", flush=True)
    sys.exit(1)
"""


def _fleet(folder: Path, said: str = "no space left on the disk", status: int = 0) -> Fleet:
    fleet = Fleet(folder, 3, 2, None, defaults=False)
    program = (sys.executable, "-S", "-c", STAND_IN.format(said=said, status=status))
    fleet.daemons = [Daemon(daemon.shard, program=program) for daemon in fleet.daemons]
    return fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = _fleet(tmp_path)
    yield made
    made.close()
    assert not leftovers.processes_of(tmp_path)


def _wait(look: Callable[[], object], what: str) -> None:
    until = time.monotonic() + 20
    while not look():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def _up(fleet: Fleet) -> Ground:
    for daemon in fleet.daemons:
        if not daemon.alive:
            daemon.start()
    _wait(lambda: all("up" in daemon.shard.log.read_text() for daemon in fleet.daemons), "all up")
    return Ground(fleet)


def _beats(fleet: Fleet, number: int) -> int:
    beat = fleet[number].shard.folder / "data" / "beat"
    return beat.stat().st_size if beat.exists() else 0


@pytest.mark.parametrize("kind", ["kill", "power", "never"])
def test_a_kill_ends_whom_it_hits_and_is_no_surprise(fleet: Fleet, kind: str) -> None:
    hit = (1, 2, 3) if kind == "power" else (2,)
    ground = _up(fleet)
    fault = Fault(kind, 0.0, 1.0, hit)
    faults.begin(fault, ground)
    assert [daemon.number for daemon in fleet.daemons if not daemon.alive] == list(hit)
    assert fleet.died() == ""
    faults.end(fault, ground)
    assert all(daemon.alive for daemon in fleet.daemons)


def test_a_paused_one_stands_still_until_it_is_resumed(fleet: Fleet) -> None:
    ground = _up(fleet)
    fault = Fault("pause", 0.0, 1.0, (1,))
    faults.begin(fault, ground)
    _wait(lambda: _state(fleet[1]) == psutil.STATUS_STOPPED, "stopped")
    stood, others = _beats(fleet, 1), _beats(fleet, 2)
    _wait(lambda: _beats(fleet, 2) > others, "the others go on")
    assert _beats(fleet, 1) == stood
    faults.end(fault, ground)
    _wait(lambda: _beats(fleet, 1) > stood, "goes on")


def test_a_restart_is_a_good_leave_and_another_life(fleet: Fleet) -> None:
    ground = _up(fleet)
    fault = Fault("restart", 0.0, 1.0, (3,))
    faults.begin(fault, ground)
    assert fleet[3].wait() == 0
    assert fleet.died() == ""
    faults.end(fault, ground)
    assert fleet[3].alive


def test_a_leave_that_fails_is_found(tmp_path: Path) -> None:
    fleet = _fleet(tmp_path, status=3)
    try:
        ground = _up(fleet)
        fault = Fault("restart", 0.0, 1.0, (3,))
        faults.begin(fault, ground)
        with pytest.raises(Misbehaved, match="left with status 3"):
            faults.end(fault, ground)
    finally:
        fleet.close()


def test_one_that_dies_by_itself_is_found(fleet: Fleet) -> None:
    _up(fleet)
    _crash(fleet[2])
    assert "ended by itself with status 1: shard-2, end of" in fleet.died()
    with pytest.raises(FleetFailed, match="ended by itself"):
        fleet.await_whole()


def test_a_cluster_that_does_not_get_whole_is_given_up(fleet: Fleet) -> None:
    _up(fleet)
    with pytest.raises(FleetFailed, match=r"not whole again within 0\.2 s: shard-1 silent"):
        fleet.await_whole(0.2)


@pytest.mark.skipif(bool(disks.why_not()), reason=disks.why_not() or "-")
@pytest.mark.parametrize("said", ["no space left on the disk", "farewell"])
def test_a_full_disk_ends_one_who_has_to_say_so(tmp_path: Path, said: str) -> None:
    fleet = _fleet(tmp_path, said)
    disk = SmallDisk(fleet[2].shard.folder / "data", 1024 * 1024)
    try:
        ground = _up(fleet)
        ground.disk, ground.disk_of = disk, 2
        fault = Fault("disk", 0.0, 1.0, (2,))
        faults.begin(fault, ground)
        _wait(lambda: not fleet[2].alive, "it leaves")
        assert fleet.died() == ""
        faults.revive(ground)
        assert not fleet[2].alive, "its disk is still full"
        faults.end(fault, ground)
        if said == "farewell":
            with pytest.raises(Misbehaved, match="left without a word"):
                faults.revive(ground)
        else:
            faults.revive(ground)
            assert fleet[2].alive
    finally:
        fleet.close()
        disk.close()
    assert not leftovers.mounts_of(tmp_path)


@pytest.fixture
def filled(fleet: Fleet) -> Iterator[Ground]:
    """Daemons, the second of which has outlived a full disk: it writes nothing now that could have failed."""
    if disks.why_not():
        pytest.skip(disks.why_not())
    disk = SmallDisk(fleet[2].shard.folder / "data", 1024 * 1024)
    ground = _up(fleet)
    ground.disk, ground.disk_of = disk, 2
    fault = Fault("disk", 0.0, 1.0, (2,))
    try:
        fleet[2].signal(signal.SIGSTOP)
        faults.begin(fault, ground)
        faults.end(fault, ground)
        fleet[2].signal(signal.SIGCONT)
        yield ground
    finally:
        fleet.close()
        disk.close()


@pytest.mark.parametrize("kind", ["kill", "never", "power", "restart"])
def test_one_that_has_outlived_a_full_disk_is_struck_as_others_are(filled: Ground, kind: str) -> None:
    fault = Fault(kind, 0.0, 1.0, (2,))
    faults.begin(fault, filled)
    assert filled.fleet[2].wait() in (0, -signal.SIGKILL)
    assert not faults.revive(filled), "it is down because we have said so"
    assert filled.fleet.died() == ""
    faults.end(fault, filled)
    assert filled.fleet[2].alive


def test_one_that_has_outlived_a_full_disk_may_not_end_later(filled: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = filled.fleet[2]
    with daemon.shard.log.open("a") as log:
        log.write("no space left on the disk, it was said at that time")
    monkeypatch.setattr("chaos.fleet.LEAVE_SECONDS", 0.0)
    faults.end(Fault("disk", 0.0, 1.0, (2,)), filled)
    assert filled.fleet.died() == ""
    _crash(daemon)
    assert "ended by itself with status 1" in filled.fleet.died()
    with pytest.raises(Misbehaved, match="ended by itself with status 1"):
        faults.begin(Fault("kill", 0.0, 1.0, (2,)), filled)


def test_what_was_said_before_the_disk_was_full_is_no_reason(fleet: Fleet, tmp_path: Path) -> None:
    if disks.why_not():
        pytest.skip(disks.why_not())
    disk = SmallDisk(fleet[2].shard.folder / "data", 1024 * 1024)
    try:
        ground = _up(fleet)
        ground.disk, ground.disk_of = disk, 2
        with fleet[2].shard.log.open("a") as log:
            log.write("no space left on the disk, long ago\n")
        fleet[2].signal(signal.SIGSTOP)
        faults.begin(Fault("disk", 0.0, 1.0, (2,)), ground)
        assert fleet[2]._process is not None
        fleet[2]._process.kill()
        fleet[2]._process.wait()
        faults.end(Fault("disk", 0.0, 1.0, (2,)), ground)
        with pytest.raises(Misbehaved, match="left without a word"):
            faults.revive(ground)
    finally:
        fleet.close()
        disk.close()


@pytest.mark.parametrize("kind", ["kill", "never", "restart"])
def test_one_that_has_died_by_itself_is_not_taken_for_one_that_was_struck(fleet: Fleet, kind: str) -> None:
    ground = _up(fleet)
    _crash(fleet[2])
    with pytest.raises(Misbehaved, match="ended by itself with status 1"):
        faults.begin(Fault(kind, 0.0, 1.0, (2,)), ground)


def _crash(daemon: Daemon) -> None:
    """It can't write, and not for want of room."""
    beat = daemon.shard.folder / "data" / "beat"
    beat.unlink(missing_ok=True)
    beat.mkdir()
    _wait(lambda: not daemon.alive, "it ends")


@pytest.mark.skipif(bool(disks.why_not()), reason=disks.why_not() or "-")
def test_a_full_disk_takes_not_a_byte_and_then_takes_them_again(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path, 256 * 1024)
    try:
        disk.fill()
        assert disk.full
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "more").write_bytes(b"x")
        disk.clear()
        assert not disk.full
        assert (tmp_path / "more").write_bytes(b"x") == 1
    finally:
        disk.close()


def _state(daemon: Daemon) -> str:
    pid = daemon._process.pid if daemon._process else 0
    return psutil.Process(pid).status()


def test_a_killed_one_was_really_there(fleet: Fleet) -> None:
    _up(fleet)
    fleet[1].signal(signal.SIGKILL)
    assert fleet[1].wait() == -signal.SIGKILL
