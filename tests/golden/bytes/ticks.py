"""An example of every message of the tick plane. Fields are given by name, so swapped fields are detected."""

from __future__ import annotations

from daemon.vocabulary import TICK_TYPES
from shoal.lockstep import messages as ticks
from tests.golden.bytes.messages import NUMBERS, section_of

EXAMPLES = (
    ticks.PhaseDone(
        run=7,
        entry=122,
        columns=5,
        aggregates=b"aggregates",
        flags=ticks.STOP,
        failure="ZeroDivisionError",
        compute_ns=1_500_000,
        sent_bytes=4096,
        frames=NUMBERS,
    ),
    ticks.PhaseDone(
        run=7, entry=123, columns=0, aggregates=b"", flags=ticks.DUE, failure="", compute_ns=0, sent_bytes=0
    ),
    ticks.PhaseRequest(run=7, entry=122, lost=2),
    ticks.PieceOffered(
        load="load-1",
        spec=b"spec",
        frame_sizes=(4096, 77),
        chunk_bytes=65536,
        probe=3,
        kind=ticks.PieceKind.RESTORED,
    ),
    ticks.Chunk(load="load-1", number=5, offer=6, frames=NUMBERS),
    ticks.ChunksAcknowledged(load="load-1", upto=5, beyond=(7, 9), probe=3),
    ticks.PieceBuilt(load="load-1", error="no room", nodes=11, edges=12, ghosts=13, cross_edges=14, held_bytes=15),
    ticks.PieceDropped(load="load-1"),
    ticks.Checkpoint(run=7, tick=30, floor=20, partitions=(3, 9), frames=NUMBERS),
    ticks.CheckpointHeld(run=7, tick=30, first=3),
    ticks.PhaseSent(run=7, entry=122, copies=2),
    ticks.CheckpointRequest(run=7, tick=30, first=3, copies=2),
    ticks.CheckpointMissing(run=7, tick=30, first=3, copies=2),
    ticks.BarrierRaised(run=7, entries=(("shard-1", 122), ("shard-2", 118))),
)

SECTION = section_of("ticks", TICK_TYPES, EXAMPLES)
