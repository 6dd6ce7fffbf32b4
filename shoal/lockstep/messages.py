"""What shards say to each other on the tick plane."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from shoal.api.ranges import Count, Entry, Tick
from shoal.lockstep.frames import Frames

STOP, DUE = 1, 2
"""What `flags` of a share can say: end the run after this tick; make the next tick a checkpoint."""
DIGEST_BYTES = 7
"""As many as fit a `Count`."""


@dataclass(frozen=True, slots=True)
class PhaseDone:
    """The sender has completed the phases of a run up to `entry`, and here is what the last of them has for you.

    Data and marker in one: a phase starts when both are there. `flags` and `failure` ride along, so that all shards see
    them at the same barrier and do the same at the same tick; bits of `flags` that nobody knows are ignored.
    `compute_ns` and `sent_bytes` are the sender's figures for this phase.
    """

    run: Count
    entry: Entry
    columns: Count
    aggregates: bytes
    flags: Count
    failure: str
    compute_ns: Count
    sent_bytes: Count
    frames: Frames = ()


@dataclass(frozen=True, slots=True)
class PhaseRequest:
    """The sender waits for the receiver's data of this phase. That it has been sent is told (`PhaseSent`); it is sent
    again if all copies so far are known to be lost, the `lost` first ones.
    """

    run: Count
    entry: Entry
    lost: Count = 0


@dataclass(frozen=True, slots=True)
class PieceOffered:
    """A shard's piece of a graph is about to come, in frames of these sizes, cut into chunks of `chunk_bytes`.

    `probe` numbers the repetitions: the answer to one tells what of all that was sent before it has not come.
    """

    load: str
    spec: bytes
    frame_sizes: tuple[int, ...]
    chunk_bytes: Count
    probe: Count = 0

    def digest(self) -> int:
        """The same for each repetition, and another for another piece that is offered under the same name."""
        told = repr((self.frame_sizes, self.chunk_bytes)).encode() + self.spec
        return int.from_bytes(blake2b(told, digest_size=DIGEST_BYTES).digest())


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a piece; chunks are numbered through all frames in order.

    `offer` is the digest of the offer that it belongs to: what is of another piece of that name has no place here.
    """

    load: str
    number: Count
    offer: Count
    frames: Frames = ()


@dataclass(frozen=True, slots=True)
class ChunksAcknowledged:
    """All chunks below `upto` are here, and of those beyond it the ones in `beyond`; chunk 0 is wanted first.

    The answer to a repeated offer has its `probe`.
    """

    load: str
    upto: Count
    beyond: tuple[int, ...] = ()
    probe: Count = 0


@dataclass(frozen=True, slots=True)
class PieceBuilt:
    """The piece is whole and its part built; or it can't be, and `error` says why. Counts are the part's."""

    load: str
    error: str
    nodes: Count
    edges: Count
    ghosts: Count
    cross_edges: Count
    held_bytes: Count


@dataclass(frozen=True, slots=True)
class PieceDropped:
    """The load came to nothing: forget what there is of it."""

    load: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The sender's partitions after `tick`, a frame each: make them durable. Nobody needs states before `floor`."""

    run: Count
    tick: Tick
    floor: Tick
    partitions: tuple[int, ...]
    frames: Frames = ()


@dataclass(frozen=True, slots=True)
class CheckpointHeld:
    """The receiver's message of this tick whose first partition is `first` is durable at the sender."""

    run: Count
    tick: Tick
    first: Count


@dataclass(frozen=True, slots=True)
class PhaseSent:
    """Your share of this phase has been sent, so many times: this message travels behind the last copy of it."""

    run: Count
    entry: Entry
    copies: Count


@dataclass(frozen=True, slots=True)
class CheckpointRequest:
    """Is the message of this tick whose first partition is `first` there? This one travels behind its last copy."""

    run: Count
    tick: Tick
    first: Count
    copies: Count


@dataclass(frozen=True, slots=True)
class CheckpointMissing:
    """None of so many copies of that message has come."""

    run: Count
    tick: Tick
    first: Count
    copies: Count
