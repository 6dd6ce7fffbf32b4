"""Receives the pieces that other shards send: the receiver's side of `chunks`."""

from __future__ import annotations

from typing import Any, assert_never

import numpy as np
from msgspec.structs import replace

from daemon.transfer.chunks import KINDS, ChunkPlaces, LoadEffect, LoadLimits, PieceGone
from shoal.lockstep.effects import SendTick
from shoal.lockstep.messages import Chunk, ChunksAcknowledged, PieceBuilt, PieceDropped, PieceOffered

ENDED_MAX = 256


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
