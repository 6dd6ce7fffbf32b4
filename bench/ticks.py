"""The empty tick of real daemons beside the same exchanges over bare sockets.

It sends 1 kB to each peer in Advance (about 128 ghosts of one column; the exact mean is in the JSON), and in Sense, Act
and Decay only that they are over. The floor sends 1 kB in every exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

import shoal
from bench.daemons import Daemons, daemons
from bench.figures import Aim, Row
from bench.floor import PAYLOAD_BYTES, Exchangers, bare
from shoal.client.session import Graph

AIM = Aim(ratio=1.5, never=2.0)
PROGRAMS = {4: "bench-four", 1: "bench-one"}


def rows(quick: bool, tell: Callable[[str], None]) -> Iterator[Row]:
    """Measures four phases and one, CURVE on and off, at 2, 4 and 8 shards."""
    turns, ticks = (3, 200) if quick else (7, 400)
    for shards in (2, 4) if quick else (2, 4, 8):
        for encryption in ("curve", "none"):
            tell(f"{shards} daemons start, encryption {encryption}")
            with daemons(shards, encryption) as ours, Exchangers(bare, shards, encryption == "curve") as floor:
                graph = _graph(ours, shards)
                for phases in (4, 1):
                    tell(f"{shards} shards, encryption {encryption}, {phases} exchanges a tick")
                    yield _row(ours, floor, graph, phases, encryption, turns, ticks)


def _row(ours: Daemons, floor: Exchangers, graph: Graph, phases: int, encryption: str, turns: int, ticks: int) -> Row:
    program = PROGRAMS[phases]
    pairs = tuple((ours.tick_ms(graph, program, ticks), floor.measure(phases, ticks)) for _ in range(turns))
    shards = len(ours.shards)
    kind = "CURVE" if encryption == "curve" else "plain"
    exchanges = "4 exchanges" if phases == 4 else "1 exchange"
    last = ours.session.runs()[-1].show()
    sent = last["totals"]["cross_bytes"] / (last["tick"] + 1) / (shards * (shards - 1))
    return Row("ticks", f"empty tick, {exchanges}, {shards} shards, {kind}", "ms", pairs, AIM, {"advance_bytes": sent})


def _graph(ours: Daemons, shards: int) -> Graph:
    """Returns a graph in which nearly every shard reads every node, with as many nodes as make up the payload."""
    nodes = PAYLOAD_BYTES // 8 * shards
    random = np.random.default_rng(7)
    source = np.repeat(np.arange(nodes), 8 * shards)
    target = random.integers(0, nodes, len(source))
    return ours.session.load("mesh", data=shoal.from_arrays(source, target))
