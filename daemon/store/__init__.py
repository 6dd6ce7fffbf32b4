"""What a shard keeps on its disk: one SQLite database in its data folder, and nothing beside it.

    folder      the data folder: who may use it, whose it is, in which life (`DataFolder`)
    store       one connection to it, for one thread, with all that can be asked of it (`Store`)
    consensus   term, vote, snapshot and log of Raft-lite
    graphs      the slices of graphs that the shard holds, in rows that `blobs` cuts
    states      the states of runs at their checkpoint ticks
    database    transactions, turns and what a failure means;   schema: tables and versions;   errors: the sentences

Two threads write, each by a `Store` of its own: the control loop what consensus persists, the store thread all else.

    control loop ── persist ──┐ Turn: in the order of asking,
                              ├── never longer than one transaction ──> shoal.db-wal ── checkpoint ──> shoal.db
    store thread ── slices, ──┘ of some 4 MiB
                    states

What has returned is on the disk (WAL, synchronous=FULL), but for slices before they are sealed. Every record that is
read again has a checksum beside it, since SQLite has none: a bit that rots in a state would be a wrong answer, and a
wrong answer is what this system promises never to give.
"""

from daemon.store.errors import NoRoom, NotHeld, StoreError, StoreFailed
from daemon.store.folder import DataFolder
from daemon.store.room import Marks
from daemon.store.states import StateRecord
from daemon.store.store import Store

__all__ = ["DataFolder", "Marks", "NoRoom", "NotHeld", "StateRecord", "Store", "StoreError", "StoreFailed"]
