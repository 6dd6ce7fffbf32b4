"""Messages between shards on the tick plane."""

from __future__ import annotations

from enum import IntEnum
from hashlib import blake2b

from shoal.api.struct import Count, Entry, Number, Struct, Tick
from shoal.lockstep.frames import Frames

STOP, DUE, OPEN = 1, 2, 4
"""What `flags` of a share can say: end the run after this tick; make the next tick a checkpoint; the data is here, but
the sender has not completed the phase.
"""
DIGEST_BYTES = 7
"""As many as fit a `Count`."""


class PhaseDone(Struct):
    """The sender's share of the phase that `entry` completes: its data for the receiver and, unless it is `OPEN`, the
    sender's entry of the barrier.

    Of an open share the entry follows (`BarrierRaised`). `flags` and `failure` travel along, so that all shards see
    them at the same barrier and act on them at the same tick; unknown bits of `flags` are ignored. `compute_ns` and
    `sent_bytes` are the sender's figures for this phase.
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


class PhaseRequest(Struct):
    """Asks for the receiver's share of this phase.

    The receiver answers how often it has sent the share (`PhaseSent`), and resends it if all copies so far are known to
    be lost, the first `lost` ones.
    """

    run: Count
    entry: Entry
    lost: Count = 0


class PieceKind(IntEnum):
    """Why a piece comes: a load brings it, its receiver has asked for it, or it is out of a backup."""

    LOADED = 0
    FETCHED = 1
    RESTORED = 2


class PieceOffered(Struct):
    """Offers a shard's piece of a graph, in frames of these sizes, cut into chunks of `chunk_bytes`.

    `probe` numbers the repetitions: the answer to one says which of the chunks sent before it are missing.
    """

    load: str
    spec: bytes
    frame_sizes: tuple[Number, ...]
    chunk_bytes: Count
    probe: Count = 0
    kind: PieceKind = PieceKind.LOADED

    def digest(self) -> int:
        """The same for each repetition, and another for another piece that is offered under the same name."""
        told = repr((self.frame_sizes, self.chunk_bytes)).encode() + self.spec
        return int.from_bytes(blake2b(told, digest_size=DIGEST_BYTES).digest())


class Chunk(Struct):
    """One chunk of a piece; chunks are numbered through all frames in order.

    `offer` is the digest of the offer that it belongs to: a chunk of another piece of that name has no place here.
    """

    load: str
    number: Count
    offer: Count
    frames: Frames = ()


class ChunksAcknowledged(Struct):
    """All chunks below `upto` have arrived, and of the later ones those in `beyond`; chunk 0 is wanted first.

    The answer to a repeated offer has its `probe`.
    """

    load: str
    upto: Count
    beyond: tuple[Number, ...] = ()
    probe: Count = 0


class PieceBuilt(Struct):
    """The piece is complete and its part built; or it can't be, and `error` says why. Counts are the part's."""

    load: str
    error: str
    nodes: Count
    edges: Count
    ghosts: Count
    cross_edges: Count
    held_bytes: Count


class PieceDropped(Struct):
    """The load was dropped: the receiver discards what it has of it."""

    load: str


class Checkpoint(Struct):
    """The sender's partitions after `tick`, one frame each, to be made durable.

    States before `floor` are not needed.
    """

    run: Count
    tick: Tick
    floor: Tick
    partitions: tuple[Number, ...]
    frames: Frames = ()


class CheckpointHeld(Struct):
    """The receiver's message of this tick whose first partition is `first` is durable at the sender."""

    run: Count
    tick: Tick
    first: Count


class PhaseSent(Struct):
    """The receiver's share of this phase has been sent, so many times: this message follows the last copy."""

    run: Count
    entry: Entry
    copies: Count


class BarrierRaised(Struct):
    """The sender's whole counter of a run's barrier, its own entry and all that it knows of others'."""

    run: Count
    entries: tuple[tuple[str, Entry], ...]


class CheckpointRequest(Struct):
    """Asks whether the message of this tick whose first partition is `first` has arrived. It follows the last copy."""

    run: Count
    tick: Tick
    first: Count
    copies: Count


class CheckpointMissing(Struct):
    """None of so many copies of that message has arrived."""

    run: Count
    tick: Tick
    first: Count
    copies: Count
