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

`Shipment` sends one piece to one shard; `Intake` receives all loads of one shard.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, TypeAlias, assert_never

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from daemon.transfer.flow import Flow, Sent
from shoal.lockstep.effects import SendTick
from shoal.lockstep.messages import Chunk, ChunksAcknowledged, PieceBuilt, PieceDropped, PieceKind, PieceOffered

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

WINDOW_CHUNKS = 2
"""The minimum, and the initial window."""
OVERTAKEN = 3
"""A chunk is lost once one sent so many later has arrived: successive connections may overlap."""
PROBES_MAX = 64
ENDED_MAX = 256


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


class _Frame:
    """A frame to send: a buffer, or several consecutive ones."""

    def __init__(self, frame: Any) -> None:
        buffers = frame if isinstance(frame, list) else [frame]
        self._buffers = [memoryview(buffer).cast("B") for buffer in buffers]
        self._ends = list(accumulate(buffer.nbytes for buffer in self._buffers))

    @property
    def nbytes(self) -> int:
        return self._ends[-1] if self._ends else 0

    def stretch(self, begin: int, end: int) -> memoryview | bytes:
        """Returns some of its bytes; a view if they are contiguous."""
        found = []
        at = bisect_right(self._ends, begin)
        while begin < end:
            buffer = self._buffers[at]
            start = self._ends[at] - buffer.nbytes
            found.append(buffer[begin - start : end - start])
            begin += found[-1].nbytes
            at += 1
        return found[0] if len(found) == 1 else b"".join(found)


def size_in_bytes(frames: Sequence[Any]) -> int:
    """Returns the total size of frames as `Shipment` takes them."""
    return sum(_Frame(frame).nbytes for frame in frames)


class Shipment:
    """Sends one piece to one shard. Each frame is a buffer, or a list of buffers that form one frame."""

    def __init__(
        self,
        load: str,
        to: str,
        spec: bytes,
        frames: Sequence[Any],
        limits: LoadLimits,
        kind: PieceKind = PieceKind.LOADED,
    ) -> None:
        self.load, self.to = load, to
        self.answer: PieceBuilt | None = None
        self._limits = limits
        self._frames = [_Frame(frame) for frame in frames]
        sizes = tuple(frame.nbytes for frame in self._frames)
        self._offer = PieceOffered(load, spec, sizes, limits.chunk_bytes, kind=kind)
        self._digest = self._offer.digest()
        self._places = ChunkPlaces(sizes, limits.chunk_bytes)
        self._upto = self._next = 0
        self._under_way: dict[int, tuple[int, Sent]] = {}
        """Chunks neither acknowledged nor lost, each with its position in the order of sending."""
        self._lost: set[int] = set()
        self._again: set[int] = set()
        self._places_sent = 0
        self._probes: dict[int, tuple[int, int]] = {}
        """Unanswered repeated offers: how many chunks were sent before, and how many the receiver was known to hold."""
        self._probe = 0
        window_max = limits.window * limits.chunk_bytes
        self._flow = Flow(min(WINDOW_CHUNKS * limits.chunk_bytes, window_max), window_max, limits.resend_interval_ns)
        self._heard_at: int | None = None

    @property
    def deadline(self) -> int | None:
        """When to ask the receiver what has arrived."""
        if self.answer is not None or self._heard_at is None:
            return None
        return self._heard_at + self._flow.timeout_ns

    @property
    def progress(self) -> tuple[int, int]:
        """The number of chunks acknowledged, and of all chunks."""
        return self._upto, len(self._places)

    def begin(self, now: int) -> list[LoadEffect]:
        """Offers the piece, followed by the first window."""
        self._heard_at = now
        return [SendTick(self.to, self._offer), *self._fill_window(now)]

    def wake(self, now: int) -> list[LoadEffect]:
        """Repeats the offer after a silence, behind everything in flight, to ask what has arrived."""
        if self.deadline is None or now < self.deadline:
            return []
        self._heard_at = now
        self._flow.back_off()
        self._probe += 1
        self._probes[self._probe] = (self._places_sent, self._next - len(self._under_way) - len(self._lost))
        if len(self._probes) > PROBES_MAX:
            del self._probes[next(iter(self._probes))]
        return [SendTick(self.to, replace(self._offer, probe=self._probe))]

    def step(self, message: ChunksAcknowledged | PieceBuilt, now: int) -> list[LoadEffect]:
        """Takes the receiver's message."""
        if isinstance(message, PieceBuilt):
            self.answer = self.answer or message
            self._frames = []
            return [PieceAnswered(self.load)]
        if not 0 <= message.upto <= len(self._places):
            return []
        before, known = self._probes.pop(message.probe, (0, 0))
        if message.upto + len(message.beyond) < known:
            return self._begin_again(now)
        self._take(message, before, now)
        if self._upto == len(self._places):
            self._frames = []  # all have arrived
            return []
        return self._fill_window(now)

    def _begin_again(self, now: int) -> list[LoadEffect]:
        """Restarts: the receiver dropped the piece after a long silence, and has started it over at our offer."""
        if not self._frames and len(self._places):
            self.answer = PieceBuilt(
                self.load, "it was given up because nothing arrived for a long time", 0, 0, 0, 0, 0
            )
            return [PieceAnswered(self.load)]
        for _, sent in self._under_way.values():
            self._flow.lose(sent)
        self._under_way.clear()
        self._probes.clear()
        self._lost.clear()
        self._again.update(range(self._next))
        self._upto = self._next = 0
        self._heard_at = now
        return self._fill_window(now)

    def _take(self, message: ChunksAcknowledged, before: int, now: int) -> None:
        """Notes the chunks that have arrived, and those that are lost: sent well before one that has arrived."""
        self._flow.answer()
        self._upto = max(self._upto, message.upto)
        self._next = max(self._next, self._upto)
        beyond = frozenset(message.beyond)
        taken = [number for number in self._under_way if number < self._upto or number in beyond]
        newest = max((self._under_way[number][0] for number in taken), default=0)
        for number in taken:
            place, sent = self._under_way.pop(number)
            is_its_own = place == newest and not message.probe and number not in self._again
            self._flow.deliver(sent, now, is_measure=is_its_own)
        before = max(before, newest - OVERTAKEN)
        lost = [number for number, (place, _) in self._under_way.items() if place < before]
        for number in lost:
            self._flow.lose(self._under_way.pop(number)[1])
        self._lost = {number for number in self._lost if number >= self._upto and number not in beyond}
        self._lost.update(lost)
        if taken or lost:
            self._heard_at = now

    def _fill_window(self, now: int) -> list[LoadEffect]:
        effects: list[LoadEffect] = []
        for number in sorted(self._lost):
            if not self._flow.has_room(self._limits.chunk_bytes):
                return effects
            self._lost.discard(number)
            self._again.add(number)
            effects.append(self._send(number, now))
        end = min(self._upto + self._limits.window, len(self._places))
        while self._next < end and self._flow.has_room(self._limits.chunk_bytes):
            effects.append(self._send(self._next, now))
            self._next += 1
        return effects

    def _send(self, number: int, now: int) -> SendTick:
        frame, begin, end = self._places[number]
        self._under_way[number] = (self._places_sent, self._flow.send(end - begin, now))
        self._places_sent += 1
        return SendTick(self.to, Chunk(self.load, number, self._digest, (self._frames[frame].stretch(begin, end),)))


class _Arriving:
    """A piece in transfer. Its memory is allocated at once, and used as the chunks arrive."""

    def __init__(self, sender: str, offer: PieceOffered, now: int) -> None:
        self.sender, self.offer, self.touched_at = sender, offer, now
        self.digest = offer.digest()
        self.size = sum(offer.frame_sizes)
        self.frames = [np.empty(size, dtype=np.uint8) for size in offer.frame_sizes]
        self.places = ChunkPlaces(offer.frame_sizes, offer.chunk_bytes)
        self.beyond: set[int] = set()
        self.upto = 0
        self.handed_over = False
        self.answer: PieceBuilt | None = None

    @property
    def is_in_hand(self) -> bool:
        """Whether the host is building it."""
        return self.handed_over and self.answer is None

    def is_of(self, offer: PieceOffered) -> bool:
        """Whether this is the offer, repeated or not, that began the piece."""
        return replace(offer, probe=self.offer.probe) == self.offer

    def put(self, chunk: Chunk) -> bool:
        """Copies a chunk to its place; returns False if it does not fit."""
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
    """The pieces that are arriving at this shard."""

    def __init__(self, limits: LoadLimits) -> None:
        self._limits = limits
        self.room_bytes: int | None = None
        """Free space on the disk, if known; the host updates it from time to time."""
        self._arriving: dict[str, _Arriving] = {}
        self._ended: dict[str, tuple[str, PieceBuilt]] = {}
        """The last finished pieces, each with its sender: a late offer of one of them begins nothing."""

    @property
    def deadline(self) -> int | None:
        """When to drop the piece that has been idle longest, or its answer."""
        touched = [piece.touched_at for piece in self._arriving.values() if not piece.is_in_hand]
        return min(touched) + self._limits.idle_timeout_ns if touched else None

    @property
    def bytes_coming(self) -> int:
        """The total size, once complete, of all pieces that are not built yet."""
        return sum(piece.size for piece in self._arriving.values() if piece.answer is None)

    def progress(self, load: str) -> int | None:
        """Returns the number of chunks received of a piece; None if it is not in transfer."""
        piece = self._arriving.get(load)
        return piece.upto + len(piece.beyond) if piece is not None else None

    def wake(self, now: int) -> list[LoadEffect]:
        """Drops pieces that have been idle for long.

        A piece that is being or has been built is dropped only once its load is decided: another shard may still be
        receiving its own piece, and the log decides after that.
        """
        long_ago = now - self._limits.idle_timeout_ns
        stale = [piece for piece in self._arriving.values() if piece.touched_at <= long_ago and not piece.is_in_hand]
        gone = []
        for piece in stale:
            if piece.answer is not None and not piece.answer.error:
                self._end(piece, piece.answer)
            else:
                del self._arriving[piece.offer.load]
                gone.append(piece.offer.load)
        return [PieceGone(load) for load in sorted(gone)]

    def step(self, sender: str, message: PieceOffered | Chunk | PieceDropped, now: int) -> list[LoadEffect]:
        """Takes a sender's message; drops one that does not match its offer."""
        match message:
            case PieceOffered():
                return self._offered(sender, message, now)
            case Chunk():
                return self._chunk(sender, message, now)
            case PieceDropped():
                piece = self._arriving.get(message.load)
                if piece is None and self._was_built(message.load, sender):
                    return [PieceGone(message.load)]
                if piece is None or piece.sender != sender:
                    return []
                self._end(piece, PieceBuilt(message.load, "it was dropped", 0, 0, 0, 0, 0))
                return [PieceGone(message.load)]
            case _:
                assert_never(message)

    def built(self, answer: PieceBuilt) -> list[LoadEffect]:
        """Takes the host's answer: it has built a piece, or could not."""
        piece = self._arriving.get(answer.load)
        if piece is None:
            return []
        piece.answer = answer
        piece.frames = []
        return [SendTick(piece.sender, answer)]

    def forget(self, load: str) -> None:
        """Ends a decided load: its answer is from now on only repeated on request."""
        piece = self._arriving.get(load)
        if piece is not None:
            self._end(piece, piece.answer or PieceBuilt(load, "it is no longer wanted", 0, 0, 0, 0, 0))

    def _end(self, piece: _Arriving, answer: PieceBuilt) -> None:
        del self._arriving[answer.load]
        self._ended[answer.load] = (piece.sender, answer)
        if len(self._ended) > ENDED_MAX:
            del self._ended[next(iter(self._ended))]

    def _was_built(self, load: str, sender: str) -> bool:
        """Whether this sender's piece was built here, and has ended."""
        ended_by, answer = self._ended.get(load, ("", None))
        return ended_by == sender and answer is not None and not answer.error

    def _offered(self, sender: str, offer: PieceOffered, now: int) -> list[LoadEffect]:
        ended_by, answer = self._ended.get(offer.load, ("", None))
        if answer is not None:
            return [SendTick(sender, answer)] if sender == ended_by else []
        piece = self._arriving.get(offer.load)
        if piece is not None and piece.sender != sender:
            return []
        if piece is not None and not piece.handed_over and not piece.is_of(offer):
            del self._arriving[offer.load]  # its sender has begun another piece under this name
            piece = None
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
        piece.touched_at = now
        if piece.answer is not None:
            return [SendTick(sender, piece.answer)]
        if not piece.is_of(offer):
            return []  # the first piece is being built, and its answer serves this one, too
        return [self._taken(piece, offer.probe), *self._hand_over(piece)]

    def _refusal(self, offer: PieceOffered) -> str:
        limits = self._limits
        if len(self._arriving) >= limits.pieces_max:
            return f"{len(self._arriving)} loads are already in progress; try again when one is done"
        if len(offer.frame_sizes) > limits.frames_max or not 4096 <= offer.chunk_bytes <= limits.piece_bytes_max:
            return "the offer's frames are not those of this version"
        if min(offer.frame_sizes, default=0) < 0 or sum(offer.frame_sizes) > limits.piece_bytes_max:
            return f"a piece of {sum(offer.frame_sizes)} bytes is over graph.load_bytes_max ({limits.piece_bytes_max})"
        if self.bytes_coming + sum(offer.frame_sizes) > limits.piece_bytes_max:
            return (
                f"with the {self.bytes_coming} bytes already in flight, these {sum(offer.frame_sizes)} are "
                f"over graph.load_bytes_max ({limits.piece_bytes_max}); try again when they are done"
            )
        if self.room_bytes is not None and self.bytes_coming + sum(offer.frame_sizes) > self.room_bytes:
            return (
                f"its disk has room for {max(0, self.room_bytes - self.bytes_coming)} bytes more, and"
                f" {sum(offer.frame_sizes)} are needed: make room there, or drop graphs (see storage.refuse_free)"
            )
        return ""

    def _chunk(self, sender: str, chunk: Chunk, now: int) -> list[LoadEffect]:
        piece = self._arriving.get(chunk.load)
        if piece is None or piece.sender != sender or piece.handed_over or chunk.offer != piece.digest:
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
        arrived = KINDS[piece.offer.kind]
        return [arrived(piece.offer.load, piece.sender, piece.offer.spec, tuple(piece.frames))]

    def _taken(self, piece: _Arriving, probe: int = 0) -> SendTick:
        return SendTick(
            piece.sender, ChunksAcknowledged(piece.offer.load, piece.upto, tuple(sorted(piece.beyond)), probe)
        )
