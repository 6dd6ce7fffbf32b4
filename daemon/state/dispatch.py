"""The replicated state: all machines, and how commands and snapshots reach them.

    entry -> sessions (is it a repetition?) -> its machine -> Outcome -> sessions -> announcements, Decided

**Exactly once.** A command is applied once; if it is proposed again, its proposer gets the recorded outcome.

**Transactional.** A command that is rejected, or that breaks an invariant half-way, changes nothing: its changes are
rolled back, identically on every shard, because it stays in the log and would otherwise stop them all at each start.

**Time** is the leader's, and never goes back: a machine sees the latest time of any entry so far.
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
"""All commands that the log may hold."""

BREAKAGE: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""Errors that follow from the command and the state, and so are the same on every shard, unlike a lack of memory."""

CLOCK: Final = "clock"


class Thawed(NamedTuple):
    """A snapshot that was read: the time, the sessions and each machine's state."""

    time_ns: int
    sessions: Sessions
    machines: Mapping[str, Any]


class ReplicatedState:
    """All decisions of the log: read `registry` and `programs`; `apply` and `restore` follow the log."""

    def __init__(self, cluster: str = "", newest: int = NEWEST) -> None:
        """`newest` is the highest cluster version that this Shoal supports."""
        self._newest = newest
        self.registry = Registry(cluster)
        self.programs = DeployedPrograms(self.registry, newest)
        self.sessions = Sessions()
        self.time_ns = 0
        """The log's time: the latest of any entry."""
        machines: tuple[Machine, ...] = (Cluster(self.registry, newest), self.programs)
        self._machines = {machine.name: machine for machine in machines}

    def apply(self, index: int, entry: LogEntry, command: Command) -> list[Announcement]:
        """Applies the log's next command, unless it was applied before; the last announcement is its outcome."""
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
        """Captures the state, in chunks that are encoded as they are requested, perhaps on another thread.

        Shards that have applied the same entries produce the same bytes.
        """
        version = self.registry.cluster_version
        sections: list[tuple[str, Iterator[bytes]]] = [
            (CLOCK, iter([bytes(_clock_codec(version).encode(0, CLOCK, 0, _Clock(self.time_ns))[0])])),
            (SESSIONS, self.sessions.freeze(version)),
            *((machine.name, machine.freeze()) for machine in self._machines.values()),
        ]
        return snapshot.write(sections)

    def thaw(self, chunks: Iterable[bytes]) -> Thawed:
        """Reads a snapshot without changing anything. Raises `Rejected` for one that no shard of this version makes."""
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
        """Adopts a snapshot that was read, which must not be used again; returns what is new in it."""
        self.time_ns, self.sessions = thawed.time_ns, thawed.sessions
        news = [one for name, machine in self._machines.items() for one in machine.restore(thawed.machines[name])]
        return [*news, *self.sessions.decided]


def apply_to(machine: Machine, command: Command, at: Applied) -> list[Announcement]:
    """Applies a command to its machine, or leaves that unchanged; the last announcement is the `Decided`."""
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
    """Returns a codec of all machines' commands, which writes for this cluster version and reads up to the newest."""
    return CommandCodec(TABLES, limits, version, newest)


class _Clock(Struct):
    time_ns: Count


@cache
def _clock_codec(version: int = FIRST, newest: int = NEWEST) -> Codec:
    return Codec(CLOCK, {1: _Clock}, None, version, newest)
