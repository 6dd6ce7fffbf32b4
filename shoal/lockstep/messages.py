"""Messages between shards on the tick plane."""

from __future__ import annotations

from enum import IntEnum
from hashlib import blake2b

from shoal.api.struct import Count, Entry, Number, Struct, Tick
from shoal.lockstep.frames import Frames

STOP, DUE, OPEN = 1, 2, 4
"""The `flags` of a share: end the run after this tick; make the next tick a checkpoint; the data is here, but the
sender has not completed the phase.
"""
DIGEST_BYTES = 7
"""The most that fit a `Count`."""


class PhaseDone(Struct):
    """The sender's share of the phase that `entry` completes: its data for the receiver and, unless it is `OPEN`, the
    sender's entry of the barrier.

    The entry of an open share follows (`BarrierRaised`). `flags` and `failure` travel along, so all shards see them at
    the same barrier and act on them at the same tick; unknown bits of `flags` are ignored. `compute_ns` and
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

    The receiver answers how often it has sent the share (`PhaseSent`), or resends it if all copies so far are among the
    first `lost`, which the sender knows to be lost.
    """

    run: Count
    entry: Entry
    lost: Count = 0


class PieceKind(IntEnum):
    """Why a piece is sent: a load brings it, its receiver requested it, or it comes from a backup."""

    LOADED = 0
    FETCHED = 1
    RESTORED = 2


class PieceOffered(Struct):
    """Offers a shard's piece of a graph, in frames of these sizes, cut into chunks of `chunk_bytes`.

    `probe` numbers the repetitions: the answer to each says which of the chunks sent before it are missing.
    """

    load: str
    spec: bytes
    frame_sizes: tuple[Number, ...]
    chunk_bytes: Count
    probe: Count = 0
    kind: PieceKind = PieceKind.LOADED

    def digest(self) -> int:
        """The same for each repetition; differs for another piece offered under the same name."""
        told = repr((self.frame_sizes, self.chunk_bytes)).encode() + self.spec
        return int.from_bytes(blake2b(told, digest_size=DIGEST_BYTES).digest())


class Chunk(Struct):
    """One chunk of a piece; chunks are numbered through all frames in order.

    `offer` is the digest of its offer, so that the receiver refuses a chunk of another piece with that name.
    """

    load: str
    number: Count
    offer: Count
    frames: Frames = ()


class ChunksAcknowledged(Struct):
    """All chunks below `upto` have arrived, and those later ones in `beyond`; chunk 0 is wanted first.

    The answer to a repeated offer has its `probe`.
    """

    load: str
    upto: Count
    beyond: tuple[Number, ...] = ()
    probe: Count = 0


class PieceBuilt(Struct):
    """The piece is complete and its part built, or can't be, and `error` says why. Counts are the part's."""

    load: str
    error: str
    nodes: Count
    edges: Count
    ghosts: Count
    cross_edges: Count
    held_bytes: Count


class PieceDropped(Struct):
    """The load was dropped: the receiver discards its data."""

    load: str


class Checkpoint(Struct):
    """The sender's partitions after `tick`, one frame each, to be made durable.

    States before `floor` are no longer needed.
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
    """The sender has sent the receiver's share of this phase `copies` times: this message follows the last copy."""

    run: Count
    entry: Entry
    copies: Count


class BarrierRaised(Struct):
    """The sender's whole counter of a run's barrier: its own entry and all that it knows of others."""

    run: Count
    entries: tuple[tuple[str, Entry], ...]


class CheckpointRequest(Struct):
    """Asks whether the message of this tick whose first partition is `first` has arrived. Follows the last copy."""

    run: Count
    tick: Tick
    first: Count
    copies: Count


class CheckpointMissing(Struct):
    """None of the first `copies` copies of that message has arrived."""

    run: Count
    tick: Tick
    first: Count
    copies: Count
