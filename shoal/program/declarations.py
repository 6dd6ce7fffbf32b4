"""The declarations of a program: columns, lists, aggregates, channels, mail and tables.

| | one value (or row) a | crosses shards | in a checkpoint |
| --- | --- | --- | --- |
| `Column` | node: a number | to neighbours, as ghosts | yes |
| `Lists` | node: any count of numbers | to neighbours, as ghosts | yes |
| `Aggregate` | tick: a number for the whole graph | to all shards | yes |
| `Channel` | message: a number, from node to node | to the target | what is under way |
| `Mail` | message: a record for a partition | to the shard that holds it | what is under way |
| `Table` | row that a program builds beside the graph | no | in the program's own form |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from shoal.graph.shard_graph import Direction
from shoal.program.phase import Phase

Number: TypeAlias = type[np.float64] | type[np.int64]


class Merge(StrEnum):
    """The reduction of several values to one.

    `MIN`, `MAX` and `MODE` do not depend on the order of values: for floats, they return 0.0, never -0.0, and `np.nan`
    for any NaN (`shoal.kernels.merging`).
    """

    SUM = "sum"
    MIN = "min"
    MAX = "max"
    COUNT = "count"
    MODE = "mode"

    @property
    def ufunc(self) -> np.ufunc:
        """Returns the numpy function to pass to `shoal.kernels.merging`; called directly, its bits depend on order.

        Raises `KeyError` for `COUNT` and `MODE`.
        """
        return {Merge.SUM: np.add, Merge.MIN: np.minimum, Merge.MAX: np.maximum}[self]

    def identity(self, dtype: np.dtype[Any]) -> Any:
        """Returns the neutral value, which a node without neighbours gets: of `MODE`, the greatest."""
        return _identity(self, dtype)


@cache
def _identity(merge: Merge, dtype: np.dtype[Any]) -> Any:
    if merge in (Merge.SUM, Merge.COUNT):
        return dtype.type(0)
    if dtype.kind == "f":
        return dtype.type(-math.inf if merge is Merge.MAX else math.inf)
    bounds = np.iinfo(dtype)
    return dtype.type(bounds.min if merge is Merge.MAX else bounds.max)


@dataclass(frozen=True)
class Column:
    """One value a node, np.float64 or np.int64. `ghosts` is the direction in which neighbours read it, or None.

    A hidden column is working state: it is exchanged and committed like any other, but is not in results. Results show
    the value `null` as none. Raises `ValueError` for another type.
    """

    name: str
    dtype: Number
    ghosts: Direction | None = None
    hidden: bool = False
    null: float | int | None = None

    def __post_init__(self) -> None:
        _check_type(f"column '{self.name}'", self.dtype, NUMBERS)


@dataclass(frozen=True)
class Lists:
    """Any number of values a node, in the node's order; never in results. `ghosts` as for a column."""

    name: str
    dtype: type[np.float64] | type[np.int64] | type[np.int32] | type[np.uint8]
    ghosts: Direction | None = None

    def __post_init__(self) -> None:
        _check_type(f"list '{self.name}'", self.dtype, LISTED)


@dataclass(frozen=True)
class Aggregate:
    """One value a tick for the whole graph, merged a partition at a time and then in partition order.

    With `shown` it is among the figures of a run, as of the last tick. Raises `ValueError` for `COUNT` and `MODE`.
    """

    name: str
    merge: Merge
    dtype: Number = np.float64
    shown: bool = False

    def __post_init__(self) -> None:
        if self.merge not in (Merge.SUM, Merge.MIN, Merge.MAX):
            raise ValueError(f"aggregate '{self.name}': values are merged with sum, min or max, not {self.merge}")
        _check_type(f"aggregate '{self.name}'", self.dtype, NUMBERS)


@dataclass(frozen=True)
class Channel:
    """Carries values from node to node, along an edge or to any node.

    Values posted in Act arrive in Decay of the same tick, values posted in Advance in the next tick. Several values for
    one node arrive in the order of their senders' ordinals or, with `combine`, as one value.
    """

    name: str
    dtype: Number
    combine: Merge | None = None
    sent_in: Phase = Phase.ACT

    def __post_init__(self) -> None:
        if self.combine not in (None, Merge.SUM, Merge.MIN, Merge.MAX):
            raise ValueError(f"channel '{self.name}': values are combined with sum, min or max, not {self.combine}")
        _check_type(f"channel '{self.name}'", self.dtype, NUMBERS)
        _check_sent_in(self.name, self.sent_in)

    @property
    def combines_early(self) -> bool:
        """Whether values may be combined where they are sent. Sums of floats may not, because their order would then
        depend on the placement.
        """
        return self.combine is not None and not (self.combine is Merge.SUM and np.dtype(self.dtype).kind == "f")


FieldType: TypeAlias = type[np.float64] | type[np.int64] | type[bytes]


@dataclass(frozen=True)
class Mail:
    """Carries records to the shard that holds a partition, whether or not the graph has a node for them.

    `fields` are the names and types of a record: numbers and byte strings. Records arrive in Decay or in the next tick,
    like values of a channel, ordered by target partition, then by source partition, then as they were posted there.
    """

    name: str
    fields: tuple[tuple[str, FieldType], ...]
    sent_in: Phase = Phase.ACT

    def __post_init__(self) -> None:
        for field, dtype in self.fields:
            _check_type(f"field '{field}' of mail '{self.name}'", dtype, FIELDS)
        _check_sent_in(self.name, self.sent_in)


@dataclass(frozen=True)
class Table:
    """Rows that a program builds a partition at a time and that are read like a result.

    `fields` are column names and types of `shoal.graph.columns`: `int64`, `float64` or `string`.
    """

    name: str
    fields: tuple[tuple[str, str], ...]


NUMBERS = (np.float64, np.int64)
LISTED = (*NUMBERS, np.int32, np.uint8)
FIELDS = (*NUMBERS, bytes)


def _check_type(what: str, given: Any, allowed: tuple[type, ...]) -> None:
    """Raises `ValueError` unless a type is allowed: peers drop data of another width, and the run would stall."""
    if given not in allowed:
        names = [f"{'' if one is bytes else 'np.'}{one.__name__}" for one in allowed]
        raise ValueError(f"{what}: its type is {given!r}; give {', '.join(names[:-1])} or {names[-1]}")


def _check_sent_in(name: str, phase: Phase) -> None:
    if phase not in (Phase.ACT, Phase.ADVANCE):
        raise ValueError(f"'{name}': things are sent in Act or in Advance, not in {phase.word}")
