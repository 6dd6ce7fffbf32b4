"""Every timeout and bound of the machine; the host's configuration sets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from consensus.refusal import Reason

TERM_MAX: Final = 1 << 62
INDEX_MAX: Final = 1 << 61
"""No log grows that long by itself: a correct server never sends a higher index."""
INDEX_LEAP_MAX: Final = 1 << 40
"""The most by which a snapshot may be ahead of a log: an entry a millisecond for thirty years."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Defaults suit one site; the thesis (3.9) requires broadcast time << election timeout << time between failures.

    election_timeout_ns     the shortest; each wait is drawn from [timeout, 2 x timeout) (3.4: 150-300 ms; 9.3)
    heartbeat_interval_ns   at most a fifth of it, so that a few lost heartbeats don't trigger an election
    snapshot_timeout_ns     after which unacknowledged chunks of a snapshot are sent again
    entries_/bytes_per_message_max   bound one Append (a single entry always fits); bytes also bound one command
    inflight_max            Appends with entries that may be unacknowledged, per follower
    chunks_inflight_max     chunks of a snapshot that may be unacknowledged, per follower
    uncommitted_max         uncommitted entries in the leader's log beyond which it refuses proposals
    reads_max               reads that may wait for a round of heartbeats
    voters_max              seven voters tolerate three failures; more cost latency and add nothing
    """

    heartbeat_interval_ns: int = 200_000_000
    election_timeout_ns: int = 1_000_000_000
    snapshot_timeout_ns: int = 1_000_000_000
    entries_per_message_max: int = 64
    bytes_per_message_max: int = 1 << 20
    inflight_max: int = 16
    chunks_inflight_max: int = 4
    uncommitted_max: int = 1024
    reads_max: int = 1024
    voters_max: int = 7

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.heartbeat_interval_ns * 2 > self.election_timeout_ns:
            raise ValueError("heartbeat_interval_ns must be at most half of election_timeout_ns")

    def reason_against(self, commands: Sequence[bytes], uncommitted: int) -> Reason | None:
        """Returns why a leader with so many uncommitted entries refuses these commands, or None if it accepts them."""
        if not commands or not all(commands):
            return Reason.EMPTY
        if max(map(len, commands)) > self.bytes_per_message_max:
            return Reason.TOO_LARGE
        return Reason.QUEUE_FULL if uncommitted + len(commands) > self.uncommitted_max else None
