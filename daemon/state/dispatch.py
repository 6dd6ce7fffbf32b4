"""The replicated state: all machines, and how the log's commands and snapshots reach them.

    entry -> sessions (is it a repetition?) -> its machine -> Outcome -> sessions -> announcements, Decided

**Exactly once.** A command that was applied before is not applied again; its proposer gets the outcome that is kept.

**Transactional.** A command that is rejected, or that breaks an invariant half-way, changes nothing: what it had done
is put back, identically on every shard, because it stays in the log and would otherwise end them all at each start.

**Time** is the leader's, and never goes back: a machine sees the latest that any entry so far has had.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from daemon.state import snapshot
from daemon.state.announcements import Announcement, Decided, NotApplied
from daemon.state.cluster import CLUSTER_COMMANDS, Cluster
from daemon.state.envelope import CommandCodec, LogEntry, Tables
from daemon.state.machine import Applied, Command, CommandRejected, Machine
from daemon.state.programs import PROGRAM_COMMANDS, DeployedPrograms
from daemon.state.registry import Registry
from daemon.state.sessions import NAME as SESSIONS
from daemon.state.sessions import Sessions
from daemon.wire import Codec, Reason, Rejected, WireLimits
from daemon.wire.version import FIRST, NEWEST
from shoal.api.struct import Count, Struct

TABLES: Final[Tables] = {Cluster.name: CLUSTER_COMMANDS, DeployedPrograms.name: PROGRAM_COMMANDS}
"""All that the log may hold."""

BREAKAGE: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What comes of the command and the state alone, and so is the same on every shard; memory that runs out is not."""

CLOCK: Final = "clock"


class Thawed(NamedTuple):
    """A snapshot that was read: what it says of the time, the sessions and each machine."""

    time_ns: int
    sessions: Sessions
    machines: Mapping[str, Any]


class ReplicatedState:
    """All that the log has decided: `registry` and `programs` to be read, `apply` and `restore` to follow the log."""

    def __init__(self, cluster: str = "", newest: int = NEWEST) -> None:
        """`newest` is the highest cluster version that this Shoal can be at."""
        self._newest = newest
        self.registry = Registry(cluster)
        self.programs = DeployedPrograms(self.registry, newest)
        self.sessions = Sessions()
        self.time_ns = 0
        """The log's time: the latest that an entry has had."""
        machines: tuple[Machine, ...] = (Cluster(self.registry, newest), self.programs)
        self._machines = {machine.name: machine for machine in machines}

    def apply(self, index: int, entry: LogEntry, command: Command) -> list[Announcement]:
        """Apply the next command of the log, unless it was applied before; the last announcement says its outcome."""
        self.time_ns = max(self.time_ns, entry.time_ns)
        at = Applied(index, self.time_ns, entry.request)
        known = self.sessions.outcome(at.request)
        if known is not None:
            return [known]
        self.sessions.hear(at, entry.answered)
        *announcements, decided = apply_to(self._machines[entry.machine], command, at)
        assert isinstance(decided, Decided)
        self.sessions.record(decided)
        return [*announcements, decided]

    # -- snapshots -------------------------------------------------------------------------------------------------

    def freeze(self) -> Iterator[bytes]:
        """What there is now, in chunks that are encoded as they are asked for, perhaps on another thread.

        They are the same bytes on every shard that has applied as much of the log.
        """
        version = self.registry.cluster_version
        sections: list[tuple[str, Iterator[bytes]]] = [
            (CLOCK, iter([bytes(_clock_codec(version).encode(0, CLOCK, 0, _Clock(self.time_ns))[0])])),
            (SESSIONS, self.sessions.freeze(version)),
            *((machine.name, machine.freeze()) for machine in self._machines.values()),
        ]
        return snapshot.write(sections)

    def thaw(self, chunks: Iterable[bytes]) -> Thawed:
        """Read a snapshot, and change nothing. Raises `Rejected` for one that no shard of this version makes."""
        pieces = snapshot.read(chunks)
        clocks = pieces.pop(CLOCK, [])
        if len(clocks) != 1:
            raise Rejected(Reason.MALFORMED, f"a snapshot of {len(clocks)} times")
        clock: _Clock = _clock_codec(newest=self._newest).decode(clocks).message
        unknown = sorted(set(pieces).difference(self._machines, [SESSIONS]))
        if unknown:
            raise Rejected(Reason.UNKNOWN_TYPE, f"this version has no machine '{unknown[0][:80]}'")
        sessions = Sessions.thaw(pieces.pop(SESSIONS, []), self._newest)
        machines = {name: machine.thaw(pieces.get(name, [])) for name, machine in self._machines.items()}
        return Thawed(clock.time_ns, sessions, machines)

    def restore(self, thawed: Thawed) -> list[Announcement]:
        """Take over a snapshot that was read, for good: it is not to be used again. What is new in it is announced."""
        self.time_ns, self.sessions = thawed.time_ns, thawed.sessions
        news = [one for name, machine in self._machines.items() for one in machine.restore(thawed.machines[name])]
        return [*news, *self.sessions.decided]


def apply_to(machine: Machine, command: Command, at: Applied) -> list[Announcement]:
    """Apply a command to its machine, or leave that as it was; the last announcement is the `Decided`."""
    before = machine.save()
    try:
        result, events = machine.apply(command, at)
    except CommandRejected as rejected:
        machine.put_back(before)
        return [Decided(at.request, str(rejected), "", at.index)]
    except BREAKAGE as error:
        machine.put_back(before)
        broken = NotApplied(type(command).__name__, traceback.format_exc())
        why = f"it can't be applied: {type(error).__name__}: {error}"
        return [broken, Decided(at.request, why, "", at.index)]
    return [*events, Decided(at.request, "", result, at.index)]


def command_codec(limits: WireLimits | None = None, version: int = FIRST, newest: int = NEWEST) -> CommandCodec:
    """A codec of all machines' commands, which writes for a cluster of this version and reads up to the newest."""
    return CommandCodec(TABLES, limits, version, newest)


class _Clock(Struct):
    time_ns: Count


@cache
def _clock_codec(version: int = FIRST, newest: int = NEWEST) -> Codec:
    return Codec(CLOCK, {1: _Clock}, None, version, newest)
