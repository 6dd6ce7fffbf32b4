"""Sessions of proposers: a command takes effect once, however often it was proposed (Raft thesis, 6.3).

A shard numbers its proposals. Its session is its life (a name and a generation), so it need not be opened, and it ends
with the first command of a later life. The replicated state keeps those outcomes of each session that its shard may
still wait for. So a repeated proposal, to the same leader or the next, is answered with its outcome, even at a shard
that has it from a snapshot.

    answered    each command carries the number below which its shard awaits nothing: lower outcomes are dropped,
                and a command with a lower number that comes late is rejected
    bounded     a session keeps at most `OUTCOMES_MAX` outcomes. One that was silent for `IDLE_NS` of the log's time
                keeps none, only its numbers; beyond `SESSIONS_MAX` the longest silent one is forgotten

The rules depend on the log alone, so all shards agree on what is a repetition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

from msgspec.structs import replace

from daemon.state.announcements import Decided
from daemon.state.machine import Applied, Request
from daemon.wire import Codec, Reason, Rejected
from daemon.wire.version import FIRST, NEWEST
from shoal.api.struct import Count, Struct

NAME = "sessions"
SESSIONS_MAX = 1024
OUTCOMES_MAX = 2048
"""Twice the largest distance between a shard's pending proposals."""
IDLE_NS = 3600 * 10**9
ERROR_CHARACTERS_MAX = 1000
OUTCOMES_A_PIECE = 256

TOO_LATE = "it came too late: its sender has given up, or restarted"


class Recorded(Struct):
    """The outcome of a command: the index at which it was applied, and an error or a result."""

    sequence: Count
    index: Count
    error: str
    result: str


class _Frozen(Struct):
    """A session in a snapshot; one with many outcomes takes several of these."""

    shard: str
    generation: Count
    answered: Count
    heard_ns: Count
    outcomes: tuple[Recorded, ...]


@dataclass(slots=True)
class _Session:
    generation: int
    answered: int = 0
    """Lower numbers are decided or given up."""
    heard_ns: int = 0
    outcomes: dict[int, Recorded] = field(default_factory=dict)

    def forget_below(self, sequence: int) -> None:
        if sequence > self.answered:
            self.answered = sequence
            self.outcomes = {number: one for number, one in self.outcomes.items() if number >= sequence}


class Sessions:
    """All sessions, the longest silent first."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}

    @classmethod
    def thaw(cls, pieces: Iterable[bytes], newest: int = NEWEST) -> Sessions:
        """Decodes frozen sessions. Raises `Rejected`."""
        thawed = cls()
        for piece in pieces:
            frozen: _Frozen = _codec(newest=newest).decode([piece]).message
            begun = _Session(frozen.generation, frozen.answered, frozen.heard_ns)
            session = thawed._sessions.setdefault(frozen.shard, begun)
            if frozen.generation != session.generation:
                raise Rejected(Reason.MALFORMED, "a snapshot that no shard has made: a session of two lives")
            session.outcomes |= {one.sequence: one for one in frozen.outcomes}
        return thawed

    def outcome(self, request: Request) -> Decided | None:
        """Returns the recorded outcome of a request, or an error if the request comes too late."""
        session = self._sessions.get(request.shard)
        if session is None or request.generation > session.generation:
            return None
        if request.generation < session.generation or request.sequence < session.answered:
            return Decided(request, TOO_LATE, "")
        recorded = self._recorded(request)
        return None if recorded is None else _decided(request, recorded)

    def has_kept(self, request: Request) -> bool:
        """Whether the outcome of a request is recorded, so that its shard learns it from the log. A request that comes
        too late has none: it is answered as a log entry.
        """
        return self._recorded(request) is not None

    def _recorded(self, request: Request) -> Recorded | None:
        session = self._sessions.get(request.shard)
        if session is None or session.generation != request.generation:
            return None
        return session.outcomes.get(request.sequence)

    def hear(self, at: Applied, answered: int) -> None:
        """Notes a command of a session, perhaps a repeated one, but not a late one."""
        request = at.request
        session = self._sessions.pop(request.shard, None)
        if session is None or session.generation < request.generation:
            session = _Session(request.generation)
        self._sessions[request.shard] = session
        session.heard_ns = at.time_ns
        session.forget_below(min(answered, request.sequence))
        self._forget_idle(at.time_ns)

    def record(self, decided: Decided) -> None:
        """Records the outcome of a session's command."""
        request = decided.request
        session = self._sessions[request.shard]
        error = decided.error[:ERROR_CHARACTERS_MAX]
        session.outcomes[request.sequence] = Recorded(request.sequence, decided.index, error, decided.name)
        if len(session.outcomes) > OUTCOMES_MAX:
            session.forget_below(sorted(session.outcomes)[len(session.outcomes) - OUTCOMES_MAX])

    def _forget_idle(self, time_ns: int) -> None:
        for session in self._sessions.values():
            if time_ns - session.heard_ns < IDLE_NS:
                break
            session.forget_below(max(session.outcomes, default=-1) + 1)
        while len(self._sessions) > SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]

    def __len__(self) -> int:
        return len(self._sessions)

    # -- snapshots -------------------------------------------------------------------------------------------------

    def freeze(self, version: int) -> Iterator[bytes]:
        """Encodes all sessions, in order, for a cluster of that version."""
        frozen = [
            _Frozen(shard, one.generation, one.answered, one.heard_ns, tuple(one.outcomes.values()))
            for shard, one in self._sessions.items()
        ]
        return (piece for session in frozen for piece in _pieces(session, version))

    @property
    def decided(self) -> list[Decided]:
        """Returns all recorded outcomes."""
        return [
            _decided(Request(shard, session.generation, one.sequence), one)
            for shard, session in self._sessions.items()
            for one in session.outcomes.values()
        ]


@cache
def _codec(version: int = FIRST, newest: int = NEWEST) -> Codec:
    return Codec(NAME, {1: _Frozen}, None, version, newest)


def _pieces(session: _Frozen, version: int) -> Iterator[bytes]:
    for first in range(0, max(1, len(session.outcomes)), OUTCOMES_A_PIECE):
        some = replace(session, outcomes=session.outcomes[first : first + OUTCOMES_A_PIECE])
        yield bytes(_codec(version).encode(0, NAME, 0, some)[0])


def _decided(request: Request, recorded: Recorded) -> Decided:
    return Decided(request, recorded.error, recorded.result, recorded.index)
