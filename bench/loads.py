"""Loading a graph into daemons, from its files to ready, as `Session.load` and `shoalctl graph load` do it.

The floor reads the same files into arrays with pyarrow, and copies their bytes once over a Unix socket to another
process.
"""

from __future__ import annotations

import multiprocessing
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from bench.daemons import Daemons, daemons
from bench.figures import Aim, Row, Sample
from bench.graphs import DEBIAN, GraphFiles
from bench.rmat import rmat, write_parquet

AIM = Aim(value=350)
PIECE_BYTES = 1 << 20


def rows(quick: bool, tell: Callable[[str], None]) -> Iterator[Row]:
    """Returns nanoseconds per edge for one daemon and for four, and the bytes per edge that these hold."""
    turns = 3 if quick else 5
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        tell("R-MAT 18 is made")
        debian = GraphFiles("debian", "Debian, CSV", DEBIAN / "edges.csv.gz", DEBIAN / "nodes.csv.gz")
        files = [*rmat_files(Path(folder)), debian]
        for shards in (1, 4):
            tell(f"{shards} daemons start")
            with daemons(shards) as ours:
                for each in files:
                    tell(f"{each.words} is loaded into {shards} daemons")
                    yield from _rows(ours, each, shards, turns)


def rmat_files(folder: Path) -> list[GraphFiles]:
    """Writes R-MAT 18 as a Parquet file, and again with a weight per edge."""
    source, target = rmat(18)
    bare, weighted = folder / "rmat18.parquet", folder / "rmat18-weighted.parquet"
    write_parquet(bare, source, target)
    weight = np.random.default_rng(2).random(len(source))
    pq.write_table(pa.table({"source": source, "target": target, "weight": weight}), weighted)
    return [
        GraphFiles("rmat18", "R-MAT 18, Parquet", bare),
        GraphFiles("rmat18w", "R-MAT 18 with weights, Parquet", weighted),
    ]


def _rows(ours: Daemons, files: GraphFiles, shards: int, turns: int) -> Iterator[Row]:
    pairs, edges, held = [], 1, 0
    _floor(files)  # the files are in the page cache for both
    for turn in range(turns):
        name = f"{files.name}-{turn}"
        cpu, began = ours.cpu_ms(), time.perf_counter()
        graph = ours.session.load(name, nodes=files.nodes, edges=files.edges)
        seconds = time.perf_counter() - began
        edges = graph.edge_count
        held = sum(part["bytes"] for part in graph.info["shards"].values())
        mine = Sample(seconds * 1e9 / edges, (ours.cpu_ms() - cpu) * 1e6 / edges)
        ours.session.drop(name)
        pairs.append((mine, Sample(_floor(files) * 1e9 / edges)))
    into = "1 daemon" if shards == 1 else f"{shards} daemons"
    aim = AIM if shards == 4 and files.nodes is None else Aim()
    notes = {"bytes_per_edge_held": held / edges}
    what = f"load {files.words}, into {into}; {held / edges:.0f} B held an edge"
    yield Row("load", what, "ns/edge", tuple(pairs), aim, notes)


def _floor(files: GraphFiles) -> float:
    """Returns the seconds to read the files into arrays and copy these over a Unix socket."""
    here, there = socket.socketpair()
    sink = multiprocessing.get_context("fork").Process(target=_swallow, args=(there, here), daemon=True)
    sink.start()
    there.close()
    began = time.perf_counter()
    for buffer in _buffers(files):
        here.sendall(buffer)
    here.shutdown(socket.SHUT_WR)
    here.recv(1)
    seconds = time.perf_counter() - began
    here.close()
    sink.join()
    return seconds


def _swallow(from_parent: socket.socket, parents: socket.socket) -> None:
    parents.close()
    room = bytearray(PIECE_BYTES)
    while from_parent.recv_into(room):
        pass
    from_parent.send(b"x")


def _buffers(files: GraphFiles) -> list[Any]:
    tables = [_table(path) for path in (files.nodes, files.edges) if path is not None]
    buffers = []
    for table in tables:
        for column in table.combine_chunks().columns:
            for chunk in column.chunks:
                buffers += [memoryview(buffer) for buffer in chunk.buffers() if buffer is not None]
    return buffers


def _table(path: Path) -> pa.Table:
    return pq.read_table(path) if path.suffix == ".parquet" else pc.read_csv(path)
