"""The control loop's own connection to the data folder: what a life finds there, and what its end writes.

A write is durable when it returns; one that fails raises `StoreFailed`. Under load, a thread writes what consensus
persists (`effect_runner`).
"""

from __future__ import annotations

import time

from consensus import Persist, Stored
from consensus.log import Log
from daemon.control.settings import OnDisk
from daemon.control.voters import server_of
from daemon.store import DataFolder, Store, StoreError


class Durable:
    """The connection of one life of a daemon."""

    def __init__(self, folder: DataFolder, store: Store) -> None:
        self._folder, self._store = folder, store

    def found(self, shard: str) -> OnDisk:
        """Returns what a life finds on its disk. Raises `StoreError` if the only copy of the log has lost its end."""
        folder, store = self._folder, self._store
        held = {load: partitions for load, (_, partitions) in store.loads().items()}
        stored = store.load_consensus()
        if folder.forgot and stored is not None and is_only_voter(stored, server_of(shard, folder.disk)):
            raise StoreError(
                f"{folder.database_path} lacks its last decisions: its write-ahead log was lost or torn, and no other "
                "shard has them. Restore a backup; or start once with --accept-loss, and go on with what is there"
            )
        return OnDisk(folder.disk, stored, held, store.promise(), folder.before, folder.forgot)

    def persist(self, persist: Persist) -> None:
        """Writes what consensus persists, while the log's thread is idle (`effect_runner`)."""
        self._store.persist(persist)

    def follow_version(self, version: int) -> None:
        """Writes in the formats of this cluster version from now on; the folder already names it."""
        self._store.follow_version(version)

    def raise_generation(self, generation: int) -> None:
        """Makes the next life begin above this generation."""
        self._store.raise_generation(generation)

    def renounce(self) -> None:
        """Turns the folder into a new disk: keeps graphs and results, discards the consensus state."""
        self._store.renounce(max(time.time_ns(), self._folder.disk + 1))

    def sizes(self) -> dict[str, int]:
        """Returns the bytes in the data folder, by kind."""
        return self._store.sizes()

    def close(self) -> None:
        """Closes the connection."""
        self._store.close()


def is_only_voter(stored: Stored, server: str) -> bool:
    """Returns whether a server is the only voter of its cluster, so that no other can know what it has forgotten."""
    return Log(stored.snapshot, stored.entries).configuration.voters == (server,)
