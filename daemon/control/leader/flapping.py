"""Decides how long a flapping member has to stay up before the view readmits it.

Each view interrupts all runs, so one member that keeps joining and dying would stop everybody else. As with a flapping
route (RFC 2439), each departure counts, the count fades with time, and from a certain count on the leader delays the
next return, twice as long each time, up to a limit. The first few returns are not delayed. The departure of a drained
member does not count.

Every shard tracks this from membership, so a new leader knows as much as the one before.

>>> flapping = Flapping(FlappingLimits(free=1, patience_ns=100, patience_max_ns=300, calm_ns=10_000))
>>> for at in (0, 20, 40, 60):
...     flapping.look({"a": 1, "b": 1}, (), at)
...     print(flapping.wait_ns("b", at))
...     flapping.look({"a": 1}, (), at + 10)
0
0
100
200
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FlappingLimits:
    """`free` departures are not delayed; each further one doubles the patience; one is forgotten each `calm_ns`."""

    free: int
    patience_ns: int
    patience_max_ns: int
    calm_ns: int

    @classmethod
    def of(cls, patience_ns: int) -> FlappingLimits:
        """Two free departures, then `patience_ns`, doubling up to twelve times that; 0 delays nobody."""
        longest = 12 * patience_ns
        return cls(2, patience_ns, longest, max(1, longest))


@dataclass(slots=True)
class _Seen:
    generation: int
    is_here: bool = True
    since: int | None = None
    """When it returned; None if it was there from the beginning."""
    departures: int = 0
    departed_ns: int = 0


class Flapping:
    """Tracks the departures and returns of members."""

    def __init__(self, limits: FlappingLimits) -> None:
        self._limits = limits
        self._seen: dict[str, _Seen] = {}

    def look(self, alive: Mapping[str, int], draining: Collection[str], now: int) -> None:
        """Updates who is alive, and in which generation; departures of draining members don't count."""
        for name, seen in list(self._seen.items()):
            if seen.is_here and alive.get(name) != seen.generation:
                left = self.departures(name, now)
                seen.is_here, seen.departures, seen.departed_ns = False, left + (name not in draining), now
            if not seen.is_here and name not in alive and not self.departures(name, now):
                del self._seen[name]
        for name, generation in alive.items():
            known = self._seen.setdefault(name, _Seen(generation))
            if not known.is_here:
                known.generation, known.is_here, known.since = generation, True, now

    def departures(self, name: str, now: int) -> int:
        """Returns how often a member has left lately."""
        seen = self._seen.get(name)
        return max(0, seen.departures - (now - seen.departed_ns) // self._limits.calm_ns) if seen is not None else 0

    def wait_ns(self, name: str, now: int) -> int:
        """Returns how long a member still has to stay up before it is admitted; 0 if at once."""
        seen, limits = self._seen.get(name), self._limits
        counted = self.departures(name, now) - limits.free
        if seen is None or seen.since is None or counted <= 0:
            return 0
        patience_ns = min(limits.patience_max_ns, limits.patience_ns << min(counted - 1, 32))
        return max(0, seen.since + patience_ns - now)
