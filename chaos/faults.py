"""Begins and ends faults."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from chaos.disks import SmallDisk
from chaos.fleet import Daemon, Fleet
from chaos.nets import Nets
from chaos.options import NETWORK
from chaos.plan import Fault


class Misbehaved(Exception):
    """Raised if a daemon violated what it must do under a fault; says how."""


@dataclass(slots=True)
class Ground:
    """What faults act on. `disk` is the data folder of the daemon numbered `disk_of`."""

    fleet: Fleet
    nets: Nets | None = None
    disk: SmallDisk | None = None
    disk_of: int | None = None


def begin(fault: Fault, ground: Ground) -> None:
    """Begins the fault."""
    hit = [ground.fleet[number] for number in fault.hit]
    if fault.kind in NETWORK:
        _disturb(fault, ground)
    elif fault.kind == "pause":
        _signal(hit, signal.SIGSTOP)
    elif fault.kind == "restart":
        _refuse_ended(hit)
        _signal(hit, signal.SIGTERM)
    elif fault.kind == "disk":
        assert ground.disk is not None
        hit[0].disk_is_full()
        ground.disk.fill()
    else:
        assert fault.kind in ("kill", "never", "power"), fault.kind
        _refuse_ended(hit)
        _signal(hit, signal.SIGKILL)
        for daemon in hit:
            if daemon.wait() != -signal.SIGKILL and not daemon.left_loudly():
                raise Misbehaved(f"ended by itself with status {daemon.wait()}: {daemon.shard.last_words()}")


def end(fault: Fault, ground: Ground) -> None:
    """Ends the fault. Raises `Misbehaved` if a daemon is not as it must be by then."""
    hit = [ground.fleet[number] for number in fault.hit]
    if fault.kind in NETWORK:
        assert ground.nets is not None
        ground.nets.heal()
    elif fault.kind == "pause":
        _signal(hit, signal.SIGCONT)
    elif fault.kind == "disk":
        assert ground.disk is not None
        ground.disk.clear()
        hit[0].disk_has_room()
    else:
        for daemon in hit:
            status = daemon.wait()
            if fault.kind == "restart" and status != 0 and not daemon.left_loudly():
                raise Misbehaved(f"left with status {status} upon SIGTERM: {daemon.shard.last_words()}")
            daemon.start()


def revive(ground: Ground) -> bool:
    """Restarts a daemon that has left because its disk was full; returns whether it had.

    A daemon that found room for its writes (a write-ahead log overwrites itself) just continues.
    """
    if ground.disk is None or ground.disk.full:
        return False
    assert ground.disk_of is not None
    daemon = ground.fleet[ground.disk_of]
    if not daemon.has_left:
        return False
    _refuse_ended([daemon])
    daemon.start()
    return True


def _refuse_ended(hit: list[Daemon]) -> None:
    """Raises `Misbehaved` unless each daemon is running, or has left because of a full disk and logged it."""
    for daemon in hit:
        if daemon.alive or daemon.left_loudly():
            continue
        if daemon.has_left:
            raise Misbehaved(f"its disk was full, and it left without a word of that: {daemon.shard.last_words()}")
        raise Misbehaved(f"ended by itself with status {daemon.wait()}: {daemon.shard.last_words()}")


def _signal(hit: list[Daemon], number: signal.Signals) -> None:
    for daemon in hit:
        daemon.signal(number)


def _disturb(fault: Fault, ground: Ground) -> None:
    nets = ground.nets
    assert nets is not None
    everybody = {daemon.number for daemon in ground.fleet.daemons}
    match fault.kind:
        case "cut":
            nets.cut(fault.hit[:1], fault.hit[1:])
            nets.cut(fault.hit[1:], fault.hit[:1])
        case "oneway":
            nets.cut(fault.hit[:1], fault.hit[1:])
        case "minority":
            rest = sorted(everybody - set(fault.hit))
            nets.cut(fault.hit, rest)
            nets.cut(rest, fault.hit)
        case _:
            nets.impair(fault.hit[0], fault.delay, fault.loss)
