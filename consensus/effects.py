"""What the machine asks its host to do, strictly in the order given.

The order is the protocol: a ``Persist`` is durable before the ``Send`` behind it leaves, so that no server ever says
what it could forget (thesis 3.8; etcd-io/raft: "persist before you speak"). A host that dies half-way through a list
has carried out a prefix of it, and Raft allows every such state.

A host may go on calling doors while its disk writes, as long as it carries out their effects behind those returned
before. It may merge several ``Persist`` that wait for the disk into one (``then``), in the place of the first: to
persist earlier is always right. It hands each one back by ``Raft.persisted`` once it is durable: a leader counts its
own log only that far.

Each door returns at most one of each kind except ``Send`` and ``Readable``, in this order::

    Persist, Restored, BecameLeader or LeaderChanged, Send..., Committed, Readable..., Received, Forgot

Left out: a leader that writes its own log in parallel with its followers (10.2.1). Cost: the latency of one disk
write.
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
        """Returns both as one transaction: ``a.then(b).onto(disk)`` is ``b.onto(a.onto(disk))``."""
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
        """Returns what the disk holds afterwards: the specification of every store, and the disk of the tests."""
        snapshot = self.snapshot or stored.snapshot
        kept = [entry for entry in stored.entries if entry.index > snapshot.index]
        if self.truncate_from is not None:
            kept = [entry for entry in kept if entry.index < self.truncate_from]
        return Stored(self.hard_state or stored.hard_state, snapshot, (*kept, *self.entries))


@dataclass(frozen=True, slots=True)
class Send:
    """Hands a message to the transport, which may lose, duplicate, delay or reorder it."""

    to: str
    message: Message


@dataclass(frozen=True, slots=True)
class Committed:
    """Entries for the host to apply, in order. They continue those before; after a restart, the stored snapshot."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Received:
    """The leader's snapshot has arrived whole. A host that can read it calls ``Raft.install``."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Restored:
    """A leader's snapshot, which replaces the host's state."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class BecameLeader:
    """This server leads ``term``; its log may still hold uncommitted entries of earlier leaders."""

    term: int


@dataclass(frozen=True, slots=True)
class LeaderChanged:
    """Another server leads ``term``, or no known one (None); this server no longer leads, if it did."""

    term: int
    leader: str | None


@dataclass(frozen=True, slots=True)
class Readable:
    """A read that this leader was asked for: any server that has applied the log to ``index`` may answer it (6.4)."""

    asker: str
    request: str
    index: int


@dataclass(frozen=True, slots=True)
class Forgot:
    """A server has restarted with less than it had promised: (term, last_index) is below the promised position.

    From now on this server ignores all its messages; the host should tell it so.
    """

    server: str
    term: int
    last_index: int
    promised_term: int
    promised_index: int


Effect = Persist | Send | Committed | Received | Restored | BecameLeader | LeaderChanged | Readable | Forgot
