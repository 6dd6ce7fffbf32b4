"""Proposals per second through the replicated log, beside bare syncs of the same bytes.

Three daemons, on loopback, with real disks. Each proposer has its own connection to the admin socket of one of them,
and sends the next proposal as soon as the last one is decided: `program remove` of an unknown program, which enters the
log like any other command, and is rejected when it is applied. With one proposer the figure is the time of a single
proposal; with many it shows the batching of concurrent ones.

The floor is one process that repeatedly appends an entry's bytes to a file and syncs it.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.daemons import daemons
from bench.figures import Aim, Row, Sample

SHARDS = 3
IN_FLIGHT = (1, 64)
ENTRY_BYTES = 150
"""The size of a row of the log: command, request, position and checksum."""
AIMS = {1: Aim(), 64: Aim(ratio=1.0)}
"""A group commit must be faster than one sync per proposal, on three machines and with all overhead."""


def rows(quick: bool, tell: Callable[[str], None]) -> Iterator[Row]:
    """Measures one proposer, and many."""
    turns, seconds = (3, 1.5) if quick else (5, 3.0)
    tell(f"{SHARDS} daemons start")
    with daemons(SHARDS) as ours:
        sockets = [str(shard.socket) for shard in ours.shards]
        propose(sockets, max(IN_FLIGHT), 0.5)
        for in_flight in IN_FLIGHT:
            tell(f"{in_flight} proposals at once")
            pairs = []
            for _ in range(turns):
                before = ours.cpu_ms()
                count = propose(sockets, in_flight, seconds)
                cpu = (ours.cpu_ms() - before) / count
                pairs.append((Sample(seconds * 1e3 / count, cpu), Sample(1e3 / syncs(seconds / 3), None)))
            rate = sorted(1e3 / mine.value for mine, _ in pairs)[turns // 2]
            what = f"a proposal, {in_flight} in flight: {rate:,.0f}/s; floor: a bare sync"
            yield Row("log", what, "ms", tuple(pairs), AIMS[in_flight], {"proposals_per_second": rate})


def propose(sockets: Sequence[str], in_flight: int, seconds: float) -> int:
    """Returns how many proposals are decided with this many in flight."""
    return asyncio.run(_propose(sockets, in_flight, seconds))


def syncs(seconds: float) -> float:
    """Returns how many bare appends of an entry's bytes reach the disk per second, one after the other."""
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        file = os.open(Path(folder, "floor"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            os.write(file, bytes(ENTRY_BYTES))
            os.fdatasync(file)
            count += 1
        took = time.perf_counter() - began
        os.close(file)
    return count / took


async def _propose(sockets: Sequence[str], in_flight: int, seconds: float) -> int:
    until = time.perf_counter() + seconds
    proposers = (_proposer(sockets[number % len(sockets)], until) for number in range(in_flight))
    return sum(await asyncio.gather(*proposers))


async def _proposer(path: str, until: float) -> int:
    reader, writer = await asyncio.open_unix_connection(path)
    decided = 0
    while time.perf_counter() < until:
        request = {"id": decided + 1, "command": "program remove", "args": {"program": "nothing"}}
        writer.write(json.dumps(request).encode() + b"\n")
        answer = json.loads(await asyncio.wait_for(reader.readline(), 30.0))
        assert answer["id"] == decided + 1, answer
        assert "nothing" in answer["error"]["message"], answer
        decided += 1
    writer.close()
    return decided
