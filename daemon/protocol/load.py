"""Carrying a shard's piece of a graph to it: a window of chunks, taken in any order, sent again until acknowledged.

    sender   PieceOffered ---> Chunk 0 1 2 ... (at most `window` unacknowledged) ---------------------> PieceDropped?
    receiver               <--- ChunksTaken(upto, beyond)                    ... <--- PieceBuilt (or its error)

A piece is a short spec and a list of frames (arrays); the chunks are numbered through all of them, so a chunk's place
follows from its number and the sizes in the offer, and each byte is copied once, into the array that is kept. What is
sent may lie strewn: a frame of several buffers is put together a chunk at a time, when that goes out, so what several
shards are to hold is there once. Built on the receiver's side by its host, off every loop; the answer is repeated for
as long as the sender repeats its offer.

`Shipment` is one piece on its way to one shard; `Intake` is the receiving side of all loads of one shard.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from daemon.protocol.tick_effects import SendTick
from daemon.protocol.tick_messages import Chunk, ChunksTaken, PieceBuilt, PieceDropped, PieceOffered

Bytes: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """How a piece is cut, and how much of one a shard takes."""

    chunk_bytes: int = 1 << 19
    window: int = 16
    resend_interval_ns: int = 500_000_000
    piece_bytes_max: int = 8 << 30
    frames_max: int = 4096
    pieces_max: int = 4
    idle_timeout_ns: int = 600_000_000_000


@dataclass(frozen=True, slots=True)
class PieceArrived:
    """A piece is whole: the host builds it and answers with `Intake.built`."""

    load: str
    sender: str
    spec: bytes
    frames: tuple[Bytes, ...]


@dataclass(frozen=True, slots=True)
class PieceGone:
    """A load came to nothing, or nobody has touched it for long: what was built of it is not needed."""

    load: str


LoadEffect: TypeAlias = SendTick | PieceArrived | PieceGone


class ChunkPlaces:
    """Where each chunk lies: (frame, begin, end), by its number. A frame of no bytes has no chunk.

    Worked out when asked for: an offer of a few bytes can announce a piece of millions of chunks.

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


class _Frame:
    """A frame that is to be sent: a buffer, or several that follow each other."""

    def __init__(self, frame: Any) -> None:
        buffers = frame if isinstance(frame, list) else [frame]
        self._buffers = [memoryview(buffer).cast("B") for buffer in buffers]
        self._ends = list(accumulate(buffer.nbytes for buffer in self._buffers))

    @property
    def nbytes(self) -> int:
        return self._ends[-1] if self._ends else 0

    def stretch(self, begin: int, end: int) -> memoryview | bytes:
        """Some of its bytes; a view of them where they lie together."""
        found = []
        at = bisect_right(self._ends, begin)
        while begin < end:
            buffer = self._buffers[at]
            start = self._ends[at] - buffer.nbytes
            found.append(buffer[begin - start : end - start])
            begin += found[-1].nbytes
            at += 1
        return found[0] if len(found) == 1 else b"".join(found)


class Shipment:
    """One piece, on its way to one shard. Each frame is a buffer, or a list of buffers that are one frame together."""

    def __init__(self, load: str, to: str, spec: bytes, frames: Sequence[Any], limits: LoadLimits) -> None:
        self.load, self.to = load, to
        self.answer: PieceBuilt | None = None
        self._limits = limits
        self._frames = [_Frame(frame) for frame in frames]
        sizes = tuple(frame.nbytes for frame in self._frames)
        self._offer = PieceOffered(load, spec, sizes, limits.chunk_bytes)
        self._places = ChunkPlaces(sizes, limits.chunk_bytes)
        self._taken: set[int] = set()
        self._upto = self._next = 0
        self._sent_at: int | None = None

    @property
    def deadline(self) -> int | None:
        """When to send again what was not acknowledged."""
        if self.answer is not None or self._sent_at is None:
            return None
        return self._sent_at + self._limits.resend_interval_ns

    @property
    def progress(self) -> tuple[int, int]:
        """Chunks acknowledged, and all."""
        return self._upto, len(self._places)

    def begin(self, now: int) -> list[LoadEffect]:
        """Offer the piece, with the first window behind it."""
        self._sent_at = now
        return [SendTick(self.to, self._offer), *self._fill_window(now)]

    def wake(self, now: int) -> list[LoadEffect]:
        """Nothing came back for a while: offer again, and send the window again."""
        if self.deadline is None or now < self.deadline:
            return []
        self._next = self._upto
        return self.begin(now)

    def step(self, message: ChunksTaken | PieceBuilt, now: int) -> list[LoadEffect]:
        """The receiver's word."""
        if isinstance(message, PieceBuilt):
            self.answer = self.answer or message
            self._frames = []
            return []
        if not self._upto <= message.upto <= len(self._places):
            return []
        self._upto = message.upto
        self._taken = {number for number in message.beyond if number > message.upto}
        self._next = max(self._next, self._upto)
        if self._upto == len(self._places):
            self._frames = []  # they are all there
        self._sent_at = now
        return self._fill_window(now)

    def _fill_window(self, now: int) -> list[LoadEffect]:
        effects: list[LoadEffect] = []
        while self._next < min(self._upto + self._limits.window, len(self._places)):
            if self._next not in self._taken:
                frame, begin, end = self._places[self._next]
                content = self._frames[frame].stretch(begin, end)
                effects.append(SendTick(self.to, Chunk(self.load, self._next, (content,))))
            self._next += 1
        return effects


class _Arriving:
    """A piece of which some chunks are here. Its memory is asked for at once, and used as the chunks come."""

    def __init__(self, sender: str, offer: PieceOffered, now: int) -> None:
        self.sender, self.offer, self.touched_at = sender, offer, now
        self.size = sum(offer.frame_sizes)
        self.frames = [np.empty(size, dtype=np.uint8) for size in offer.frame_sizes]
        self.places = ChunkPlaces(offer.frame_sizes, offer.chunk_bytes)
        self.beyond: set[int] = set()
        self.upto = 0
        self.handed_over = False
        self.answer: PieceBuilt | None = None

    def put(self, chunk: Chunk) -> bool:
        """Copy a chunk to its place; False if it does not fit there."""
        frame, begin, end = self.places[chunk.number]
        content: Any = chunk.frames[0]
        data = np.frombuffer(content, dtype=np.uint8)
        if len(data) != end - begin:
            return False
        self.frames[frame][begin:end] = data
        self.beyond.add(chunk.number)
        while self.upto in self.beyond:
            self.beyond.remove(self.upto)
            self.upto += 1
        return True


class Intake:
    """The pieces that are coming to this shard."""

    def __init__(self, limits: LoadLimits) -> None:
        self._limits = limits
        self._arriving: dict[str, _Arriving] = {}

    @property
    def deadline(self) -> int | None:
        """When the piece that has been idle longest is given up."""
        touched = [piece.touched_at for piece in self._arriving.values()]
        return min(touched) + self._limits.idle_timeout_ns if touched else None

    @property
    def bytes_coming(self) -> int:
        """What all pieces that are not built yet take when they are whole."""
        return sum(piece.size for piece in self._arriving.values() if piece.answer is None)

    def wake(self, now: int) -> list[LoadEffect]:
        """Forget what nobody has touched for long."""
        stale = sorted(
            load for load, piece in self._arriving.items() if now >= piece.touched_at + self._limits.idle_timeout_ns
        )
        for load in stale:
            del self._arriving[load]
        return [PieceGone(load) for load in stale]

    def step(self, sender: str, message: PieceOffered | Chunk | PieceDropped, now: int) -> list[LoadEffect]:
        """A message of a sender; what does not fit its offer is dropped."""
        match message:
            case PieceOffered():
                return self._offered(sender, message, now)
            case Chunk():
                return self._chunk(sender, message, now)
            case PieceDropped():
                piece = self._arriving.get(message.load)
                if piece is None or piece.sender != sender:
                    return []
                del self._arriving[message.load]
                return [PieceGone(message.load)]

    def built(self, answer: PieceBuilt) -> list[LoadEffect]:
        """The host has built a piece, or could not."""
        piece = self._arriving.get(answer.load)
        if piece is None:
            return []
        piece.answer = answer
        piece.frames = []
        return [SendTick(piece.sender, answer)]

    def forget(self, load: str) -> None:
        """The load has been decided: its answer need not be repeated any more."""
        self._arriving.pop(load, None)

    def _offered(self, sender: str, offer: PieceOffered, now: int) -> list[LoadEffect]:
        piece = self._arriving.get(offer.load)
        if piece is None:
            refusal = self._refusal(offer)
            if refusal:
                return [SendTick(sender, PieceBuilt(offer.load, refusal, 0, 0, 0, 0, 0))]
            try:
                piece = _Arriving(sender, offer, now)
            except MemoryError:
                refusal = f"there is no memory here for a piece of {sum(offer.frame_sizes)} bytes"
                return [SendTick(sender, PieceBuilt(offer.load, refusal, 0, 0, 0, 0, 0))]
            self._arriving[offer.load] = piece
        if piece.sender != sender:
            return []
        piece.touched_at = now
        if piece.answer is not None:
            return [SendTick(sender, piece.answer)]
        return [self._taken(piece), *self._hand_over(piece)]

    def _refusal(self, offer: PieceOffered) -> str:
        limits = self._limits
        if len(self._arriving) >= limits.pieces_max:
            return f"{len(self._arriving)} loads are on their way already; try again when one is done"
        if len(offer.frame_sizes) > limits.frames_max or not 4096 <= offer.chunk_bytes <= limits.piece_bytes_max:
            return "the offer is cut in a way that no shard of this version cuts it"
        if min(offer.frame_sizes, default=0) < 0 or sum(offer.frame_sizes) > limits.piece_bytes_max:
            return f"a piece of {sum(offer.frame_sizes)} bytes is over graph.load_bytes_max ({limits.piece_bytes_max})"
        if self.bytes_coming + sum(offer.frame_sizes) > limits.piece_bytes_max:
            return (
                f"with the {self.bytes_coming} bytes that are on their way already, these {sum(offer.frame_sizes)} are "
                f"over graph.load_bytes_max ({limits.piece_bytes_max}); try again when they are done"
            )
        return ""

    def _chunk(self, sender: str, chunk: Chunk, now: int) -> list[LoadEffect]:
        piece = self._arriving.get(chunk.load)
        if piece is None or piece.sender != sender or piece.handed_over:
            return []
        if len(chunk.frames) != 1 or not 0 <= chunk.number < len(piece.places):
            return []
        is_new = chunk.number >= piece.upto and chunk.number not in piece.beyond
        if chunk.number >= piece.upto + 4 * self._limits.window or (is_new and not piece.put(chunk)):
            return []
        piece.touched_at = now
        return [self._taken(piece), *self._hand_over(piece)]

    def _hand_over(self, piece: _Arriving) -> list[LoadEffect]:
        if piece.handed_over or piece.upto < len(piece.places):
            return []
        piece.handed_over = True
        return [PieceArrived(piece.offer.load, piece.sender, piece.offer.spec, tuple(piece.frames))]

    def _taken(self, piece: _Arriving) -> SendTick:
        return SendTick(piece.sender, ChunksTaken(piece.offer.load, piece.upto, tuple(sorted(piece.beyond))))
