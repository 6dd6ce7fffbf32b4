"""A shard's durable data: one SQLite database in its data folder, and nothing beside it.

    folder      the data folder: its lock, its owner, its lives (`DataFolder`)
    store       one connection to it, for one thread, with all operations (`Store`)
    consensus   term, vote, snapshot and log of Raft-lite
    graphs      the slices of graphs that the shard holds, in rows that `blobs` splits them into
    states      the states of runs at their checkpoint ticks
    database    transactions, turns and the meaning of failures;   schema: tables and versions;   errors: the sentences

Each thread writes with a `Store` of its own: the log thread (or the control loop, for a lone write) what consensus
persists, the store thread everything else.

    log thread   ── persist ──┐ Turn: first come, first served,
                              ├── never longer than one transaction ──> shoal.db-wal ── checkpoint ──> shoal.db
    store thread ── slices, ──┘ of some 4 MiB
                    states

A write is durable when it returns (WAL, synchronous=FULL), except for slices before they are sealed. Every record that
is read again has a checksum beside it, since SQLite has none: a flipped bit in a state would cause a wrong answer, and
a wrong answer is what this system promises never to give.
"""

from daemon.store.errors import NoRoom, NotHeld, StoreError, StoreFailed
from daemon.store.folder import DataFolder
from daemon.store.room import Marks
from daemon.store.states import StateRecord
from daemon.store.store import Store

__all__ = ["DataFolder", "Marks", "NoRoom", "NotHeld", "StateRecord", "Store", "StoreError", "StoreFailed"]
