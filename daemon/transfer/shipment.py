"""Sends one piece to one shard, a chunk at a time: the sender's side of `chunks`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from msgspec.structs import replace

from daemon.transfer.chunks import ChunkPlaces, LoadEffect, LoadLimits, PieceAnswered
from daemon.transfer.flow import Flow, Sent
from shoal.lockstep.effects import SendTick
from shoal.lockstep.messages import Chunk, ChunksAcknowledged, PieceBuilt, PieceKind, PieceOffered

WINDOW_CHUNKS = 2
"""The minimum, and the initial window."""
OVERTAKEN = 3
"""A chunk is lost once one sent so many later has arrived: successive connections may overlap."""
PROBES_MAX = 64


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
