"""Pacing by the tick leader: runs with an interval between ticks, and runs that go one step at a time.

A grant is the number of the last tick that may begin. It only grows, so grants may be lost, duplicated and reordered. A
new leader continues from the greatest grant that it knows of, including any tick that gossip reports a shard to be in.
A run that is neither paced nor has an interval gets all ticks granted at its start and never waits for the leader.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from daemon.control.messages import Grant
from daemon.state.records import RunRecord

REPEAT_INTERVAL_NS = 200_000_000
REQUESTS_REMEMBERED = 64


@dataclass(slots=True)
class _Paced:
    interval_ns: int
    stepped: bool
    granted: int = 0
    committed: int = 0
    granted_ns: int = 0
    told_ns: int = 0
    asked: dict[str, int] = field(default_factory=dict)


class Pacing:
    """Grants of this shard's runs: a leader makes them, other shards remember them."""

    def __init__(self) -> None:
        self._runs: dict[int, _Paced] = {}
        self.is_leader = False

    def begin(self, run: RunRecord, now: int) -> int | None:
        """Begins or resumes a run in a view; returns the ticks granted to it, or None if it is not paced."""
        if not run.paced and not run.interval_ns:
            return None
        paced = self._runs.setdefault(run.number, _Paced(run.interval_ns, run.paced))
        paced.granted = max(paced.granted, run.resumed)
        paced.committed = run.resumed
        paced.granted_ns = paced.told_ns = now
        return paced.granted

    def granted(self, run: int) -> int | None:
        """Returns the last tick of a run that may begin, or None if it is not paced."""
        paced = self._runs.get(run)
        return paced.granted if paced is not None else None

    def end(self, run: int) -> None:
        """Forgets a run that is over."""
        self._runs.pop(run, None)

    def hear(self, grant: Grant) -> bool:
        """Takes a leader's grant; returns whether it is new."""
        paced = self._runs.get(grant.run)
        if paced is None or grant.tick <= paced.granted:
            return False
        paced.granted = grant.tick
        return True

    def committed(self, run: int, tick: int) -> None:
        """Notes that this shard has committed a tick of a run: the next may be due."""
        paced = self._runs.get(run)
        if paced is not None:
            paced.committed = max(paced.committed, tick)

    def step(self, run: int, request: str, now: int) -> int | None:
        """Leader only: grants one more tick of a stepped run, one per request; None if there is no such run."""
        paced = self._runs.get(run)
        if paced is None or not paced.stepped or not self.is_leader:
            return None
        if request in paced.asked:
            return paced.asked[request]
        paced.granted += 1
        paced.asked[request] = paced.granted
        if len(paced.asked) > REQUESTS_REMEMBERED:
            del paced.asked[next(iter(paced.asked))]
        paced.granted_ns, paced.told_ns = now, 0
        return paced.granted

    @property
    def deadline(self) -> int | None:
        """When the leader has to grant or repeat something."""
        if not self.is_leader:
            return None
        return min((self._due_ns(paced) for paced in self._runs.values()), default=None)

    def wake(self, now: int) -> list[Grant]:
        """Leader only: returns new grants that are due, and old ones to repeat."""
        if not self.is_leader:
            return []
        grants = []
        for run, paced in self._runs.items():
            if now < self._due_ns(paced):
                continue
            if self._may_grant(paced) and now >= paced.granted_ns + paced.interval_ns:
                paced.granted += 1
                late = now - paced.granted_ns < 2 * paced.interval_ns
                paced.granted_ns = paced.granted_ns + paced.interval_ns if late else now
            paced.told_ns = now
            grants.append(Grant(run, paced.granted))
        return grants

    def _may_grant(self, paced: _Paced) -> bool:
        return not paced.stepped and paced.committed >= paced.granted

    def _due_ns(self, paced: _Paced) -> int:
        repeat_ns = paced.told_ns + REPEAT_INTERVAL_NS
        return min(repeat_ns, paced.granted_ns + paced.interval_ns) if self._may_grant(paced) else repeat_ns
