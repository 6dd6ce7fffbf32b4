"""What the machine asks of its host, carried out strictly in the order given.

The order is the protocol: a ``Persist`` is durable before the ``Send`` behind it leaves, so that no server
ever says what it could forget (thesis 3.8; etcd-io/raft: "persist before you speak"). A host that dies
half-way through a list has done a prefix of it, and that is always a state that Raft allows.

A host need not stand still while its disk writes: it may go on to call doors, as long as what they return is
carried out behind what was returned before. Of several ``Persist`` that wait for the disk it may make one
(``then``), in the place of the first: to persist earlier is always right. It hands each one back, once it is durable,
by ``Raft.persisted``: a leader counts its own log only as far as that.

Each door gives at most one of each kind but ``Send`` and ``Readable``, in this order::

    Persist, Restored, BecameLeader or LeaderChanged, Send..., Committed, Readable..., Received, Forgot

Left out: a leader that writes its own log in parallel with its followers (10.2.1). Cost: one disk write of
latency.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus.messages import Message
from consensus.stored import Entry, HardState, Snapshot, Stored


@dataclass(frozen=True, slots=True)
class Persist:
    """One durable transaction, its parts in this order; None or empty means unchanged.

    hard_state      replaces term and vote
    snapshot        replaces the snapshot and drops the entries up to its index
    truncate_from   drops the entries from this index on
    entries         are appended; they continue what is left without a gap
    """

    hard_state: HardState | None = None
    snapshot: Snapshot | None = None
    truncate_from: int | None = None
    entries: tuple[Entry, ...] = ()

    def then(self, later: Persist) -> Persist:
        """Both in one transaction: ``a.then(b).onto(disk)`` is ``b.onto(a.onto(disk))``."""
        snapshot = later.snapshot or self.snapshot
        cuts = [cut for cut in (self.truncate_from, later.truncate_from) if cut is not None]
        kept = [
            entry
            for entry in self.entries
            if (snapshot is None or entry.index > snapshot.index)
            and (later.truncate_from is None or entry.index < later.truncate_from)
        ]
        hard_state = later.hard_state or self.hard_state
        return Persist(hard_state, snapshot, min(cuts, default=None), (*kept, *later.entries))

    def onto(self, stored: Stored) -> Stored:
        """What the disk holds afterwards: the specification of every store, and the disk of the tests."""
        snapshot = self.snapshot or stored.snapshot
        kept = [entry for entry in stored.entries if entry.index > snapshot.index]
        if self.truncate_from is not None:
            kept = [entry for entry in kept if entry.index < self.truncate_from]
        return Stored(self.hard_state or stored.hard_state, snapshot, (*kept, *self.entries))


@dataclass(frozen=True, slots=True)
class Send:
    """Hand a message to the transport; it may be lost, repeated, late or out of order."""

    to: str
    message: Message


@dataclass(frozen=True, slots=True)
class Committed:
    """Apply these, in order. They continue what was applied; after a restart, what follows the stored snapshot."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Received:
    """The leader's snapshot is here, all of it. If the host can read it, it says so by ``Raft.install``."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Restored:
    """Replace the host's state by the snapshot's, which a leader sent."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class BecameLeader:
    """This server leads ``term``; its log may still hold entries of others that are not committed."""

    term: int


@dataclass(frozen=True, slots=True)
class LeaderChanged:
    """Another server leads ``term``, or None that we know of (and this one does no longer, if it did)."""

    term: int
    leader: str | None


@dataclass(frozen=True, slots=True)
class Readable:
    """A read that this leader was asked for: whoever has applied the log up to ``index`` may answer it (6.4)."""

    asker: str
    request: str
    index: int


@dataclass(frozen=True, slots=True)
class Forgot:
    """A server has started again with less than it had said to hold: (term, last_index) is below the promised one.

    From now on nothing that it says counts here; the host should tell it.
    """

    server: str
    term: int
    last_index: int
    promised_term: int
    promised_index: int


Effect = Persist | Send | Committed | Received | Restored | BecameLeader | LeaderChanged | Readable | Forgot
