"""What is on disk, and nothing else survives a crash: entries, a snapshot, a term and a vote.

Source: Ongaro's thesis, figure 3.1 ("persistent state on all servers") and section 5.1 (snapshots). The
commit index is volatile there and here: a restarted server starts at its snapshot's index and learns the rest
from a leader.

Invariant: ``entries`` follow ``snapshot`` without a gap, and a configuration that is not empty has its origin
either in the snapshot or in an entry. The first snapshot of a cluster is therefore at index 1, not 0: a
server that joins with an empty log can't be served from index 1 on, is sent the snapshot, and so learns the
configuration that no entry holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from consensus.configuration import NOBODY, Configuration


@dataclass(frozen=True, slots=True)
class Entry:
    """One place in the log: a command's bytes, or a configuration, or neither (a new leader's no-op)."""

    index: int
    term: int
    data: bytes = b""
    configuration: Configuration | None = None

    @property
    def is_command(self) -> bool:
        """Whether the host's state machine has anything to do here."""
        return self.configuration is None and self.data != b""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The host's state after ``index``, which stands for the whole log up to there, with its configuration."""

    index: int = 0
    term: int = 0
    configuration: Configuration = NOBODY
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class HardState:
    """The term and the vote given in it: on disk before they are spoken."""

    term: int = 0
    vote: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """All that a server finds when it starts; ``Stored()`` is a server that waits to be added to a cluster."""

    hard_state: HardState = field(default_factory=HardState)
    snapshot: Snapshot = field(default_factory=Snapshot)
    entries: tuple[Entry, ...] = ()

    @classmethod
    def bootstrap(cls, configuration: Configuration, data: bytes = b"") -> Stored:
        """The beginning of a cluster; each of its first members is given the very same configuration and data."""
        assert configuration.is_sound, configuration
        return cls(HardState(term=1), Snapshot(index=1, term=1, configuration=configuration, data=data))
