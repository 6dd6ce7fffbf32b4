"""What runs of each style keep at a checkpoint, and what their shards send each other in each phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

import shoal
from daemon.store.schema import FORMAT
from daemon.wire.version import NEWEST
from shoal import Phase, Program
from shoal.engine.engine import Engine, Incoming, state_bytes
from shoal.graph.partitions import part_of
from shoal.graph.shard_graph import Placement
from tests.golden.bytes.programs import Columns, Combined, Messages, Walkers
from tests.golden.bytes.section import Section, from_hex, same, to_hex
from tests.golden.golden_file import Entries, Entry

SHARDS: Final = ("x", "y")
TICKS: Final = 3
PARTITIONS: Final = 3
PROGRAMS: tuple[type[Program], ...] = (Columns, Messages, Combined, Walkers)
GRAPH = shoal.from_arrays(
    ["alpha", "alpha", "beta", "gamma", "delta", "delta", "zeta"],
    ["beta", "gamma", "gamma", "delta", "alpha", "epsilon", "alpha"],
    partition_count=PARTITIONS,
)
PLACEMENT = Placement(SHARDS, np.array([0, 1, 0], np.int16))
Taken = Callable[[str, Incoming], Incoming]


class Pair:
    """Two shards that run a program; `taken` observes what one sends to the other, and returns what arrives."""

    def __init__(self, program: type[Program], taken: Taken) -> None:
        self._program, self._taken = program, taken
        self.engines = {name: Engine(part_of("g", GRAPH, PLACEMENT, i), program()) for i, name in enumerate(SHARDS)}

    def exchange(self, tick: int, phase: Phase) -> None:
        """Runs one phase on both."""
        sent = {me: engine.run(tick, phase) for me, engine in self.engines.items()}
        for me, peer in (SHARDS, SHARDS[::-1]):
            name = f"{self._program.name}: tick {tick}, {phase.word}, from {peer}"
            share = self._taken(name, sent[peer].to(me))
            self.engines[me].check(peer, phase, share)
            self.engines[me].settle(phase, {peer: share})

    def run(self) -> Mapping[str, bytes]:
        """Runs the program, and returns the states at the last tick by entry name."""
        self.exchange(0, Phase.ADVANCE)
        for tick in range(1, TICKS + 1):
            for phase in self._program.phases():
                self.exchange(tick, phase)
        return self.states()

    def states(self) -> Mapping[str, bytes]:
        """Captures the states of both shards."""
        captured = {p: state for engine in self.engines.values() for p, state in engine.capture().items()}
        return {self._named(p): state for p, state in sorted(captured.items())}

    def restore(self, entries: Entries) -> None:
        """Resumes from the pinned states."""
        for engine in self.engines.values():
            engine.restore(TICKS, {p: _only_frame(entries[self._named(p)]) for p in engine.part.partitions})
        self.exchange(TICKS, Phase.ADVANCE)

    def _named(self, partition: int) -> str:
        return f"{self._program.name}: state of partition {partition}"


def make() -> Entries:
    """Runs every program, and records what is sent and kept."""
    entries: dict[str, Entry] = {}

    def take(name: str, share: Incoming) -> Incoming:
        entries[name] = {"columns": share.columns, "hex": to_hex([share.aggregates, *share.frames])}
        return share

    for program in PROGRAMS:
        for name, state in Pair(program, take).run().items():
            entries[name] = {"hex": state.hex(), "reads": _told(program, name, state)}
    return entries


def check(entries: Entries) -> None:
    """Asserts that shards reach the pinned states with each other's pinned shares, and that they resume from them."""

    def pinned(name: str, _: Incoming) -> Incoming:
        aggregates, *frames = from_hex(entries[name]["hex"])
        return Incoming(entries[name]["columns"], aggregates, tuple(frames))

    for program in PROGRAMS:
        went_on, began = Pair(program, pinned), Pair(program, lambda _, share: share)
        began.restore(entries)
        for name, state in went_on.run().items():
            same(name, state, _only_frame(entries[name]))
        for name, state in began.states().items():
            same(f"{name}, restored", state, _only_frame(entries[name]))


def _only_frame(entry: Entry) -> bytes:
    (state,) = from_hex(entry["hex"])
    return state


def _told(program: type[Program], name: str, state: bytes) -> str:
    """Shows the columns and aggregates of a state; sections follow them."""
    partition = int(name.rsplit(" ", 1)[1])
    nodes, at, told = int((GRAPH.partition == partition).sum()), 0, list[str]()
    values: list[tuple[Any, int]] = [(column, nodes) for column in program.columns]
    for one, count in [*values, *((aggregate, 1) for aggregate in program.aggregates)]:
        told.append(f"{one.name} {np.frombuffer(state, one.dtype, count, at).tolist()}")
        at += 8 * count
    return f"{', '.join(told)}, sections of {len(state) - state_bytes(program, nodes)} bytes"


SECTION = Section("states", f"data folder {FORMAT}, cluster version {NEWEST}", make, check)
