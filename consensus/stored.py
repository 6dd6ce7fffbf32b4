"""What is on disk, and so survives a crash: entries, a snapshot, a term and a vote.

Source: Ongaro's thesis, figure 3.1 ("persistent state on all servers") and section 5.1 (snapshots). As there, the
commit index is volatile: a restarted server starts at its snapshot's index and learns the rest from a leader.

Invariant: ``entries`` follow ``snapshot`` without a gap, and a configuration that is not empty comes either from the
snapshot or from an entry. The first snapshot of a cluster is therefore at index 1, not 0: a leader has no entry 1 for
a server that joins with an empty log, so it sends the snapshot, and with it the configuration that no entry holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from consensus.configuration import NOBODY, Configuration
from consensus.struct import Number, Struct

CHUNK_BYTES_MAX: Final = 1 << 20
"""The largest chunk of a snapshot: one message carries it, and blocks the connection while it is being sent."""
CHUNKS_MAX: Final = 1 << 24
"""More than a disk holds; a correct server never sends a higher number."""
DIGEST_BYTES: Final = 16


class Entry(Struct):
    """One log entry: a command's bytes, or a configuration, or neither (a new leader's no-op)."""

    index: Number
    term: Number
    data: bytes = b""
    configuration: Configuration | None = None

    @property
    def is_command(self) -> bool:
        """Whether the entry is for the host's state machine."""
        return self.configuration is None and self.data != b""


class SnapshotHeader(Struct):
    """A snapshot without its chunks: their number, and a digest over them."""

    index: Number
    term: Number
    configuration: Configuration
    count: Number
    digest: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The host's state after ``index``, which replaces the whole log up to there, with its configuration.

    The state is a sequence of any number of opaque chunks, none of them empty or longer than ``CHUNK_BYTES_MAX``.
    Stores, messages and the host keep the boundaries between them.
    """

    index: int = 0
    term: int = 0
    configuration: Configuration = NOBODY
    chunks: tuple[bytes, ...] = ()

    @property
    def header(self) -> SnapshotHeader:
        """The header that announces it. Reads the whole snapshot: some ten milliseconds for 50 MB."""
        return SnapshotHeader(self.index, self.term, self.configuration, len(self.chunks), digest(self.chunks))


def digest(chunks: Iterable[bytes]) -> bytes:
    """Returns a digest over the chunks' content and boundaries."""
    whole = begun_digest()
    for chunk in chunks:
        add_to_digest(whole, chunk)
    return whole.digest()


def begun_digest() -> blake2b:
    """Returns a digest over no chunks yet."""
    return blake2b(digest_size=DIGEST_BYTES)


def add_to_digest(whole: blake2b, chunk: bytes) -> None:
    """Adds the next chunk."""
    whole.update(len(chunk).to_bytes(8, "big"))
    whole.update(chunk)


class HardState(Struct):
    """The term and the vote given in it: durable before any message relies on them."""

    term: Number = 0
    vote: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """All that a server finds when it starts; with ``Stored()``, it waits to be added to a cluster."""

    hard_state: HardState = field(default_factory=HardState)
    snapshot: Snapshot = field(default_factory=Snapshot)
    entries: tuple[Entry, ...] = ()

    @classmethod
    def bootstrap(cls, configuration: Configuration, chunks: Iterable[bytes] = ()) -> Stored:
        """Returns a new cluster's beginning; each first member must get the same configuration and chunks."""
        assert configuration.is_sound, configuration
        return cls(HardState(term=1), Snapshot(index=1, term=1, configuration=configuration, chunks=tuple(chunks)))
