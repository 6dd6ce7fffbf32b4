"""Graphs as clients send them and as shards store and send them, and the partitions of ids."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np
import pyarrow as pa

import shoal
from daemon.services.graphs.fetch import TABLE, Fetched, _look_up, _look_up_states, _read
from daemon.services.graphs.messages import PartitionRequest, StatesRequest
from daemon.services.graphs.transfer import Piece, checked_piece, placement_of, spec_of
from daemon.state.commands import Identity, to_bits
from daemon.state.records import View
from daemon.store import DataFolder, Store
from daemon.transfer.chunks import FetchedPiece, LoadedPiece
from daemon.wire.version import NEWEST
from shoal import GraphData
from shoal.graph import columns as col
from shoal.graph.graph_data import WIRE_FORMAT as GRAPH_FORMAT
from shoal.graph.ids import partition_of
from shoal.graph.partitions import WIRE_FORMAT, Cut, PartitionSet
from shoal.graph.ring import HashRing
from tests.golden.bytes.section import Section, from_hex, only, packed, same, to_hex
from tests.golden.bytes.store import LOAD, SLICE, STATES, fill
from tests.golden.golden_file import Entries, Entry

PARTITIONS: Final = 3
NAMED = shoal.from_arrays(
    ["alpha", "alpha", "beta", "gamma", "delta", "delta", "zeta"],
    ["beta", "gamma", "gamma", "delta", "alpha", "epsilon", "alpha"],
    nodes=["alpha", "beta", "gamma", "delta", "epsilon", "zeta"],
    node_columns={"age": [30, 31, 32, 33, 34, 35], "is_old": [False, True, True, False, True, False]},
    edge_columns={"weight": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5], "kind": ["road"] * 7, "label": list("abcdefg")},
    partition_count=PARTITIONS,
)
NUMBERED = shoal.from_arrays([1, 1, 2, -3], [2, 4, 4, 1], undirected=True, partition_count=PARTITIONS)
GRAPHS = {"graph of names": NAMED, "graph of numbers, undirected": NUMBERED}
COLUMNS = {
    "int64": np.array([1, -2], np.int64),
    "int32": np.array([3, -4], np.int32),
    "float64": np.array([0.5, -1.5]),
    "bool": np.array([True, False, True]),
    "string": pa.array(["salt", "é", ""]),
    "large_string": pa.array(["salt", "é"], pa.large_string()),
    "dictionary": pa.array(["b", "a", "b"]).dictionary_encode(),
}
VIEW = View(4, (Identity("alpha", 3), Identity("beta", 7)), 150, 1)
PIECE = "piece of a graph that is loaded"
SHIPMENTS: Final[dict[str, PartitionRequest | StatesRequest]] = {
    "shipment of a table": PartitionRequest("fetch/1", LOAD, TABLE),
    "shipment of a partition": PartitionRequest("fetch/1", LOAD, 1),
    "shipment of states": StatesRequest("fetch/1", STATES.run, STATES.tick, to_bits(STATES.states)),
}


def make() -> Entries:
    """Writes every example."""
    entries: dict[str, Entry] = {
        "partition of ids": {"of 64": {str(i): partition_of(i, 64) for i in (0, 1, -1, 2**63 - 1, "alpha", "é")}},
        "holders on the ring": {"of 8": HashRing(["alpha", "beta", "gamma"], 150).placement(8, replicas=1)},
        PIECE: _piece(),
        **_shipments(),
    }
    for name, column in COLUMNS.items():
        spec, frames = col.to_wire(column)
        entries[f"column of {name}"] = packed([msgpack.packb(spec), *frames])
    for name, graph in GRAPHS.items():
        spec, frames = graph.to_wire()
        entries[name] = packed([msgpack.packb(spec), *frames])
        for partition in range(PARTITIONS):
            spec, frames = Cut(graph).slices([partition]).to_wire()
            entries[f"{name}: slice {partition}"] = packed([msgpack.packb(spec), *frames])
    return _plain(entries)


def check(entries: Entries) -> None:
    """Reads everything that is pinned."""
    only(entries, make())
    for name, column in COLUMNS.items():
        spec, *frames = from_hex(entries[f"column of {name}"]["hex"])
        read = col.from_wire(msgpack.unpackb(spec), frames)
        assert col.equal(read, column), name
        assert isinstance(read, np.ndarray) or read.type == column.type, name
    for name, graph in GRAPHS.items():
        spec, *frames = from_hex(entries[name]["hex"])
        assert GraphData.from_wire(msgpack.unpackb(spec), frames).equals(graph), name
        for partition in range(PARTITIONS):
            spec, *frames = from_hex(entries[f"{name}: slice {partition}"]["hex"])
            slices = PartitionSet.from_wire(msgpack.unpackb(spec), frames, graph.partition)
            _same_slices(f"{name}: slice {partition}", slices, Cut(graph).slices([partition]))
    for name, wanted in SHIPMENTS.items():
        _check_shipment(name, wanted, entries[name])
    _check_piece(entries[PIECE])


def _same_slices(name: str, one: PartitionSet, other: PartitionSet) -> None:
    """Compares them by the bytes that they write."""
    (spec, frames), (other_spec, other_frames) = one.to_wire(), other.to_wire()
    same(name, (spec, to_hex(frames)), (other_spec, to_hex(other_frames)))


def _shipments() -> dict[str, Entry]:
    """Encodes what shards fetch from each other's disks."""
    with (
        tempfile.TemporaryDirectory(prefix="shoal-") as at,
        DataFolder(Path(at) / "data", "harbour", "alpha").open() as folder,
        closing(Store(folder)) as store,
    ):
        fill(store)
        found = {}
        for name, wanted in SHIPMENTS.items():
            if isinstance(wanted, StatesRequest):
                header, frames = _look_up_states(wanted, store)
            else:
                header, frames = _look_up(wanted, [STATES.run], store)
            found[name] = packed([msgpack.packb(header), *frames])
        return found


def _check_shipment(name: str, wanted: PartitionRequest | StatesRequest, entry: Entry) -> None:
    header, *frames = from_hex(entry["hex"])
    fetched = _read("beta", FetchedPiece(wanted.request, "beta", header, tuple(frames)))
    assert fetched is not None, name
    stamped = [[STATES.run, STATES.tick, partition, STATES.epoch] for partition in STATES.states]
    states = list(STATES.states.values())
    match wanted:
        case StatesRequest():
            same(name, fetched, Fetched(b"", stamped, tuple(states)))
        case PartitionRequest(partition=partition) if partition == TABLE:
            same(name, fetched.table(), (msgpack.packb({"partitions": 2}), b"\x00\x01\x00\x01"))
        case PartitionRequest(partition=partition):
            spec, slice_frames = SLICE
            same(name, fetched, Fetched(spec, [stamped[partition]], (*slice_frames, states[partition])))


def _piece() -> Entry:
    """Encodes what the shard that loads a graph sends to another one, as `daemon.services.graphs.load` does."""
    placed = placement_of(VIEW, PARTITIONS)
    spec, frames = Cut(NAMED).to_wire([p for p, holders in enumerate(placed) if "beta" in holders])
    header = {"graph": "web", "epoch": VIEW.epoch, "partitions": PARTITIONS, "slices": spec}
    whole = [b"".join(part.tobytes() for part in f) if isinstance(f, list) else f for f in frames]
    return packed([msgpack.packb(header), NAMED.partition, *whole])


def _check_piece(entry: Entry) -> None:
    header, *frames = from_hex(entry["hex"])
    arrived = LoadedPiece(LOAD, "alpha", header, tuple(frames))
    piece: Piece = asyncio.run(checked_piece(arrived, spec_of(arrived, VIEW), VIEW, "beta"))
    same(PIECE, (piece.graph, piece.partitions), ("web", PARTITIONS))
    _same_slices(PIECE, piece.slices, Cut(NAMED).slices(piece.slices.partitions))


def _plain(entries: Any) -> Any:
    """Converts tuples to lists, as JSON has them."""
    if isinstance(entries, dict):
        return {key: _plain(value) for key, value in entries.items()}
    return list(map(_plain, entries)) if isinstance(entries, list | tuple) else entries


SECTION = Section(
    "graphs",
    f"graph {GRAPH_FORMAT}, slices {WIRE_FORMAT}, cluster version {NEWEST}",
    make,
    check,
    filled=(STATES,),
    how_to="add it to tests/golden/bytes/graphs.py",
)
