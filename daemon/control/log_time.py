"""The time that the log's leader stamps on entries: one wrong clock does not matter.

Sessions, and whatever else expires, use the log's time, which never goes back. If that were the leader's own clock, one
leader whose clock is a year ahead would move it for good. So each voter asks the others for the time and counts its own
clock as one among them; a new leader knows all of them. The log's time is the latest that a majority's clocks have
reached, which is their median: as long as most clocks are right, it lies between two that are right (Marzullo, 1984;
TigerBeetle's `clock.zig` uses the same argument).

    told    a voter's clock; this shard's monotonic clock advances it until the voter is asked again
    begin   this shard leads: the log continues from the time of its last entry
    stamp   the clocks' time; if the log is ahead of them, it advances at 7/8 of their pace until they have caught up.
            A timeout of ten seconds then takes about eleven, and not a year

A leader that has not yet heard a majority's clocks stamps nothing. Raft commits only what a majority has acknowledged,
so that costs a round trip at most.
"""

from __future__ import annotations

from collections.abc import Collection

ASK_INTERVAL_NS = 10_000_000_000
ASK_AGAIN_NS = 200_000_000
"""While the time is unknown."""
ANSWER_NS_MAX = 10_000_000_000
"""An answer may be wrong by half its round trip: a slower one is ignored."""
SLOWED, PACE = 7, 8
"""The pace of a log that is ahead of the clocks, as a fraction of theirs."""


class LogTime:
    """The log's time as this shard knows it; it stamps entries while it leads."""

    def __init__(self) -> None:
        self.ask_ns = 0
        """When to ask the voters next."""
        self._stamped_ns = self._at_ns = 0
        self._offsets: dict[str, int] = {}
        """Each server's clock minus this shard's monotonic clock."""
        self._offset: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether a majority's clocks are known."""
        return self._offset is not None

    def ask(self, own: str, own_offset_ns: int, voters: Collection[str], now: int) -> list[str]:
        """Returns the voters to ask now, besides this shard's own server; none if that is no voter."""
        if now < self.ask_ns:
            return []
        self.told(own, now + own_offset_ns, voters, now, now)
        self.ask_ns = now + (ASK_AGAIN_NS if own in voters and not self.is_known else ASK_INTERVAL_NS)
        return [server for server in voters if server != own] if own in voters else []

    def told(self, server: str, unix_ns: int, voters: Collection[str], asked_ns: int, now: int) -> None:
        """Takes the time that a server's clock showed between the question and now."""
        if not now - ANSWER_NS_MAX <= asked_ns <= now:
            return
        self._offsets = {name: offset for name, offset in self._offsets.items() if name in voters}
        if server in voters:
            self._offsets[server] = unix_ns - (asked_ns + now) // 2
        known = sorted(self._offsets.values(), reverse=True)
        self._offset = known[len(voters) // 2] if 2 * len(known) > len(voters) else None

    def begin(self, last_ns: int, now: int) -> None:
        """Begins to lead; no entry of the log has a later time than `last_ns`."""
        self._stamped_ns, self._at_ns = max(self._stamped_ns, last_ns), now
        if not self.is_known:
            self.ask_ns = now

    def stamp(self, now: int) -> int:
        """Returns the time of an entry that is appended now, never before that of an earlier one."""
        assert self._offset is not None
        goes_on = self._stamped_ns + (now - self._at_ns) * SLOWED // PACE
        self._stamped_ns, self._at_ns = max(now + self._offset, goes_on), now
        return self._stamped_ns
