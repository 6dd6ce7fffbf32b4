"""The tables of a colony: its agents, concepts, edges, signals and traces, readable like a result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from shoal.colony.keyed_table import left_of, right_of
from shoal.colony.places import Place
from shoal.program.declarations import Table

if TYPE_CHECKING:
    from shoal.colony.colony import Colony

_S, _I, _F = "string", "int64", "float64"
TABLES: Final = (
    Table("concepts", (("key", _S), ("kind", _S), ("label", _S), ("accesses", _I), ("created", _I), ("degree", _I))),
    Table(
        "edges",
        (("source", _S), ("target", _S), ("weight", _F), ("together", _I), ("created", _I), ("activated", _I)),
    ),
    Table("agents", (("id", _I), ("kind", _S), ("place", _S), ("age", _I), ("idle", _I), ("memory", _S))),
    Table("signals", (("place", _S), ("kind", _S), ("intensity", _F))),
    Table("traces", (("place", _S), ("kind", _S), ("authors", _I))),
    Table("ghosts", (("partition", _I), ("key", _S), ("edges", _I), ("resolved", _I))),
    Table("crossings", (("partition", _I), ("other", _I), ("edges", _I))),
)


def table_rows(colony: Colony, table: str, partition: int) -> Mapping[str, Any]:
    """Returns the rows of one partition, by name; each field is a numpy array or a pyarrow array of strings."""
    return _READERS[table](colony, partition)


def _concepts(colony: Colony, partition: int) -> Mapping[str, Any]:
    of, rows = colony.substrate, colony.snapshot.concepts(partition)
    number = of.concepts.keys[rows]
    keys = of.names.names(number.tolist())
    degree = np.bincount(left_of(of.halves.keys), minlength=len(of.names))
    return {
        "key": _texts(keys),
        "kind": pa.array([colony.concept_kinds[kind] for kind in of.concepts["kind"][rows].tolist()], pa.string()),
        "label": _texts([of.labels.get(n, key) for n, key in zip(number.tolist(), keys, strict=True)]),
        "accesses": of.concepts["accesses"][rows],
        "created": of.concepts["created"][rows],
        "degree": degree[number].astype(np.int64),
    }


def _edges(colony: Colony, partition: int) -> Mapping[str, Any]:
    """Returns each edge once, in the partition of its lesser end."""
    of, rows = colony.substrate, colony.snapshot.halves(partition)
    rows = rows[of.halves["lesser"][rows]]
    keys = of.halves.keys[rows]
    return {
        "source": _texts(of.names.names(left_of(keys).tolist())),
        "target": _texts(of.names.names(right_of(keys).tolist())),
        **{name: of.halves[name][rows] for name in ("weight", "together", "created", "activated")},
    }


def _agents(colony: Colony, partition: int) -> Mapping[str, Any]:
    agents = list(colony.alive[partition].values())
    return {
        "id": np.array([agent.id for agent in agents], np.int64),
        "kind": pa.array([agent.kind for agent in agents], pa.string()),
        "place": pa.array([_shown(colony, agent.place) for agent in agents], pa.string()),
        "age": np.array([agent.age for agent in agents], np.int64),
        "idle": np.array([agent.idle for agent in agents], np.int64),
        "memory": pa.array([json.dumps(agent.memory, default=repr) for agent in agents], pa.string()),
    }


def _signals(colony: Colony, partition: int) -> Mapping[str, Any]:
    places, kinds, intensities = [], [], [np.empty(0, np.float64)]
    for kind, sheet in enumerate(colony.substrate.signals):
        rows = colony.snapshot.signals(kind, partition)
        places += colony.substrate.names.names(sheet.keys[rows].tolist())
        kinds += [colony.signals[kind].name] * len(rows)
        intensities.append(sheet["intensity"][rows])
    shown = [_shown(colony, Place(name)) for name in places]
    return {
        "place": pa.array(shown, pa.string()),
        "kind": pa.array(kinds, pa.string()),
        "intensity": np.concatenate(intensities),
    }


def _traces(colony: Colony, partition: int) -> Mapping[str, Any]:
    places, kinds, authors = [], [], [np.empty(0, np.int64)]
    names = colony.substrate.names
    for kind, sheet in enumerate(colony.substrate.traces):
        rows = colony.snapshot.traces(kind, partition)
        number, first, count = np.unique(left_of(sheet.keys[rows]), return_index=True, return_counts=True)
        order = np.argsort(first)
        places += names.names(number[order].tolist())
        kinds += [colony.traces[kind].name] * len(number)
        authors.append(count[order].astype(np.int64))
    shown = [_shown(colony, Place(name)) for name in places]
    return {
        "place": pa.array(shown, pa.string()),
        "kind": pa.array(kinds, pa.string()),
        "authors": np.concatenate(authors),
    }


def _ghosts(colony: Colony, partition: int) -> Mapping[str, Any]:
    of, rows = colony.substrate, colony.snapshot.ghosts(partition)
    return {
        "partition": np.full(len(rows), partition, np.int64),
        "key": _texts(of.names.names(right_of(of.ghosts.keys[rows]).tolist())),
        "edges": of.ghosts["halves"][rows],
        "resolved": of.ghosts["resolved"][rows],
    }


def _crossings(colony: Colony, partition: int) -> Mapping[str, Any]:
    """Returns how many edges lead from this partition to each other one; each edge counts once, at its lesser end."""
    of, rows = colony.substrate, colony.snapshot.halves(partition)
    rows = rows[of.halves["lesser"][rows]]
    other, count = np.unique(of.names.partitions[right_of(of.halves.keys[rows])], return_counts=True)
    crossing = other != partition
    return {
        "partition": np.full(int(crossing.sum()), partition, np.int64),
        "other": other[crossing].astype(np.int64),
        "edges": count[crossing].astype(np.int64),
    }


def _shown(colony: Colony, place: Place) -> str:
    return f"node {colony.sight.node_id(place)}" if place.is_node else f"concept {place.key}"


def _texts(names: list[bytes]) -> Any:
    return pa.array([name.decode() for name in names], pa.string())


_READERS: Final = {
    "concepts": _concepts,
    "edges": _edges,
    "agents": _agents,
    "signals": _signals,
    "traces": _traces,
    "ghosts": _ghosts,
    "crossings": _crossings,
}
