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

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from consensus.configuration import NOBODY, Configuration
from consensus.struct import Number, Struct

CHUNK_BYTES_MAX: Final = 1 << 20
"""Of a snapshot: a chunk travels in one message, and takes its place there for as long as that is sent."""
CHUNKS_MAX: Final = 1 << 24
"""More than fit on a disk; what is above was never sent by a correct server."""
DIGEST_BYTES: Final = 16


class Entry(Struct):
    """One place in the log: a command's bytes, or a configuration, or neither (a new leader's no-op)."""

    index: Number
    term: Number
    data: bytes = b""
    configuration: Configuration | None = None

    @property
    def is_command(self) -> bool:
        """Whether the host's state machine has anything to do here."""
        return self.configuration is None and self.data != b""


class SnapshotHeader(Struct):
    """All of a snapshot but its chunks: so many there are, and this is the digest over them."""

    index: Number
    term: Number
    configuration: Configuration
    count: Number
    digest: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The host's state after ``index``, which stands for the whole log up to there, with its configuration.

    The state is a sequence of chunks, opaque here, none of them empty or longer than ``CHUNK_BYTES_MAX``. It is kept,
    sent and handed back as it was cut; there is no bound on how many there are.
    """

    index: int = 0
    term: int = 0
    configuration: Configuration = NOBODY
    chunks: tuple[bytes, ...] = ()

    @property
    def header(self) -> SnapshotHeader:
        """What to announce it by. Reads all of it: some ten milliseconds for 50 MB."""
        return SnapshotHeader(self.index, self.term, self.configuration, len(self.chunks), digest(self.chunks))


def digest(chunks: Iterable[bytes]) -> bytes:
    """Of what the chunks hold and where they are cut."""
    whole = begun_digest()
    for chunk in chunks:
        add_to_digest(whole, chunk)
    return whole.digest()


def begun_digest() -> blake2b:
    """Of no chunk yet."""
    return blake2b(digest_size=DIGEST_BYTES)


def add_to_digest(whole: blake2b, chunk: bytes) -> None:
    """The next chunk."""
    whole.update(len(chunk).to_bytes(8, "big"))
    whole.update(chunk)


class HardState(Struct):
    """The term and the vote given in it: on disk before they are spoken."""

    term: Number = 0
    vote: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """All that a server finds when it starts; ``Stored()`` is a server that waits to be added to a cluster."""

    hard_state: HardState = field(default_factory=HardState)
    snapshot: Snapshot = field(default_factory=Snapshot)
    entries: tuple[Entry, ...] = ()

    @classmethod
    def bootstrap(cls, configuration: Configuration, chunks: Iterable[bytes] = ()) -> Stored:
        """The beginning of a cluster; each of its first members is given the very same configuration and chunks."""
        assert configuration.is_sound, configuration
        return cls(HardState(term=1), Snapshot(index=1, term=1, configuration=configuration, chunks=tuple(chunks)))
