"""What a program declares: columns, lists, aggregates, channels, mail and tables.

| | one value (or row) a | crosses shards | is kept in a checkpoint |
| --- | --- | --- | --- |
| `Column` | node: a number | to neighbours, as ghosts | yes |
| `Lists` | node: as many numbers as it likes | to neighbours, as ghosts | yes |
| `Aggregate` | tick: a number for the whole graph | to everybody | yes |
| `Channel` | message: a number, from node to node | to the target | what is under way |
| `Mail` | message: a record, to whoever holds a partition | to that shard | what is under way |
| `Table` | row of what a program builds beside the graph | no | in the program's own form |
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
    """How several values become one.

    The order of the values makes no difference to `MIN`, `MAX` and `MODE`: of floats, a zero is 0.0, never -0.0, and a
    NaN is `np.nan` (`shoal.kernels.merging`).
    """

    SUM = "sum"
    MIN = "min"
    MAX = "max"
    COUNT = "count"
    MODE = "mode"

    @property
    def ufunc(self) -> np.ufunc:
        """Returns the numpy function to give to `shoal.kernels.merging`, without which its bits would depend on order.

        Raises `KeyError` for those that are none: `COUNT` and `MODE`.
        """
        return {Merge.SUM: np.add, Merge.MIN: np.minimum, Merge.MAX: np.maximum}[self]

    def identity(self, dtype: np.dtype[Any]) -> Any:
        """The value that changes nothing: what a node without neighbours gets."""
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
    """One value a node. `ghosts` names the direction in which neighbours read it, None if nobody does.

    A hidden column is working state: it is exchanged and committed like any other, and left out of results. `null` is
    the value that stands for "none", which results show as such.
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
    """As many values a node as it likes, in its order; never in results. `ghosts` as for a column."""

    name: str
    dtype: type[np.float64] | type[np.int64] | type[np.int32] | type[np.uint8]
    ghosts: Direction | None = None

    def __post_init__(self) -> None:
        _check_type(f"list '{self.name}'", self.dtype, LISTED)


@dataclass(frozen=True)
class Aggregate:
    """One value a tick for the whole graph, merged a partition at a time and then in partition order.

    One that is `shown` stands among the figures of a run, as of its last tick.
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
    """A way for values to go from node to node, along an edge or to any node.

    What is posted in Act arrives in Decay of the same tick, what is posted in Advance in the next tick. Values that
    meet at one node arrive by their sender's ordinal, or, with `combine`, as one value.
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
        """Whether values may be combined where they are sent: not sums of floats, whose order would then depend on
        the cut.
        """
        return self.combine is not None and not (self.combine is Merge.SUM and np.dtype(self.dtype).kind == "f")


FieldType: TypeAlias = type[np.float64] | type[np.int64] | type[bytes]


@dataclass(frozen=True)
class Mail:
    """Records for whoever holds a partition, whether the graph has a node for them or not.

    `fields` names what a record has: numbers, and byte strings. Records arrive by the partition that they are for, then
    by that from which they come, then as they were posted there; in Decay or in the next tick, as with a channel.
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
    """Rows that a program builds, a partition at a time, to be read like a result: column names and their types.

    Types are those of `shoal.graph.columns`: `int64`, `float64` or `string`.
    """

    name: str
    fields: tuple[tuple[str, str], ...]


NUMBERS = (np.float64, np.int64)
LISTED = (*NUMBERS, np.int32, np.uint8)
FIELDS = (*NUMBERS, bytes)


def _check_type(what: str, given: Any, allowed: tuple[type, ...]) -> None:
    """What is sent has the width that is declared, and others drop what has not: such a run would never go on."""
    if given not in allowed:
        names = [f"{'' if one is bytes else 'np.'}{one.__name__}" for one in allowed]
        raise ValueError(f"{what}: its type is {given!r}; give {', '.join(names[:-1])} or {names[-1]}")


def _check_sent_in(name: str, phase: Phase) -> None:
    if phase not in (Phase.ACT, Phase.ADVANCE):
        raise ValueError(f"'{name}': things are sent in Act or in Advance, not in {phase.word}")
