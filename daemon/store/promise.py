"""The promise to found a cluster: a row of `meta`, present once a promise has been made."""

from __future__ import annotations

from daemon.control.bootstrap import Promise, read, write
from daemon.store.database import Database
from daemon.store.errors import MOVE_AWAY, StoreError, StoreFailed


class PromiseRow:
    """The promise in one data folder."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> Promise | None:
        """Returns the last promise that was kept, or None."""
        try:
            rows = self._database.rows("read the promise", "SELECT value FROM meta WHERE key = 'promise'")
        except StoreFailed as failed:
            raise StoreError(str(failed)) from failed
        if not rows:
            return None
        promise = read(str(rows[0][0]))
        if promise is None:
            raise StoreError(f"{self._database.path} is torn: the promise to found a cluster is none; {MOVE_AWAY}")
        return promise

    def keep(self, promise: Promise) -> None:
        """Writes a promise in one durable transaction."""
        statement = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
        self._database.execute("keep a promise", statement, [("promise", write(promise))])
