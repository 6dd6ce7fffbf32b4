"""Transfers a shard's piece of a graph: a window of chunks, accepted in any order, each sent until acknowledged.

    sender   PieceOffered ---> Chunk 0 1 2 ... (as many bytes as `flow` allows) ----------------------> PieceDropped?
    receiver               <--- ChunksAcknowledged(upto, beyond)             ... <--- PieceBuilt (or its error)

**Nothing is resent while it may still be in flight.** A connection delivers in order, and loses messages only when it
breaks or a peer discards them. So a chunk is resent once a later chunk is acknowledged, or a repeated offer that left
after it is answered. Only the small offer is repeated on a timer, under a new number.

A piece is a short spec and a list of frames (arrays). Chunks are numbered through all frames, so a chunk's place
follows from its number and the sizes in the offer, and each byte is copied once. A frame of several buffers is
assembled one chunk at a time, so data for several shards exists once. The receiver's host builds the piece off the
event loops; it repeats its answer to each repeated offer.

**A name alone does not identify a piece.** If a shard is asked twice for a partition, a run may have reached another
tick the second time, and so may its next life. So a chunk carries the digest of its offer and only fits that piece, and
a different offer starts the piece over. Equal offers determine equal bytes, so their chunks may be mixed.

`shipment` sends one piece to one shard; `intake` receives all loads of one shard.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shoal.lockstep.effects import SendTick
from shoal.lockstep.messages import PieceKind

Bytes: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """How a piece is split, and how large a piece a shard accepts."""

    chunk_bytes: int = 1 << 16
    window: int = 128  # the most chunks in flight
    resend_interval_ns: int = 500_000_000
    piece_bytes_max: int = 8 << 30
    frames_max: int = 4096
    pieces_max: int = 4
    idle_timeout_ns: int = 600_000_000_000


@dataclass(frozen=True, slots=True)
class PieceArrived:
    """A piece of one of the kinds below is complete: the host builds it and answers with `Intake.built`."""

    load: str
    sender: str
    spec: bytes
    frames: tuple[Bytes, ...]


@dataclass(frozen=True, slots=True)
class LoadedPiece(PieceArrived):
    """A piece of a load."""


@dataclass(frozen=True, slots=True)
class FetchedPiece(PieceArrived):
    """A piece that this shard has requested by that name."""

    @property
    def request(self) -> str:
        """The name of the request that it answers."""
        return self.load


@dataclass(frozen=True, slots=True)
class RestoredPiece(PieceArrived):
    """A piece from a backup."""


@dataclass(frozen=True, slots=True)
class PieceGone:
    """A load was dropped, or has been idle for too long: nobody needs what was built of it."""

    load: str


@dataclass(frozen=True, slots=True)
class PieceAnswered:
    """The receiver has built a piece from this shard, or never will: see `Shipment.answer`."""

    load: str


AnyPiece: TypeAlias = LoadedPiece | FetchedPiece | RestoredPiece
LoadEffect: TypeAlias = SendTick | AnyPiece | PieceGone | PieceAnswered

KINDS: Final[Mapping[PieceKind, type[AnyPiece]]] = {
    PieceKind.LOADED: LoadedPiece,
    PieceKind.FETCHED: FetchedPiece,
    PieceKind.RESTORED: RestoredPiece,
}


class ChunkPlaces:
    """The place of each chunk, by its number: (frame, begin, end). An empty frame has no chunk.

    Computed on demand: an offer of a few bytes can announce a piece of millions of chunks.

    >>> places = ChunkPlaces([5, 0, 2], 4)
    >>> len(places), [places[number] for number in range(3)]
    (3, [(0, 0, 4), (0, 4, 5), (2, 0, 2)])
    """

    def __init__(self, sizes: Sequence[int], chunk_bytes: int) -> None:
        self._sizes, self._chunk_bytes = sizes, chunk_bytes
        self._ends = list(accumulate(-(-size // chunk_bytes) for size in sizes))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, number: int) -> tuple[int, int, int]:
        assert 0 <= number < len(self), number
        frame = bisect_right(self._ends, number)
        before = self._ends[frame - 1] if frame else 0
        begin = (number - before) * self._chunk_bytes
        return frame, begin, min(begin + self._chunk_bytes, self._sizes[frame])
