"""What a program is: its columns, aggregates, channels and parameters, and what it does in each phase.

A program is written once against a `Workspace` (one shard's share of one run) and never sees how many shards there are.
A phase that a program does not override costs nothing: no exchange, no barrier. A program that only gathers overrides
`advance` alone and so pays one exchange a tick::

    class Spread(Program):
        '''Each node takes the greatest value among those that point at it.'''

        name = "spread"
        columns = (Column("level", np.int64, ghosts=Direction.IN),)
        aggregates = (Aggregate("risen", Merge.SUM, np.int64),)

        def start(self, ws): ws.set("level", ws.part.in_degree)

        def advance(self, ws):
            level = np.maximum(ws.column("level"), ws.gather("level", Merge.MAX))
            ws.contribute("risen", (level > ws.column("level")).astype(np.int64))
            ws.set("level", level)

        def halted(self, ws): return ws.total("risen") == 0

Rules that keep the answer the same to the bit on any number of shards: read other nodes only through gathers, channels
and aggregates; never a global random source, a clock or the count of shards; never an order that a set or dict salts.
And so that a run can go on from any tick, on other shards: between ticks, `self` holds only what `prepare` made of the
part; everything else lives in a column.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

import numpy as np

from shoal.errors import BadParameter, did_you_mean
from shoal.part import Direction
from shoal.phase import Phase

if TYPE_CHECKING:
    from shoal.workspace import Workspace

T = TypeVar("T")


class Merge(StrEnum):
    """How several values become one."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"

    @property
    def ufunc(self) -> np.ufunc:
        """The numpy function that does it."""
        return {Merge.SUM: np.add, Merge.MIN: np.minimum, Merge.MAX: np.maximum}[self]

    def identity(self, dtype: np.dtype[Any]) -> Any:
        """The value that changes nothing: what a node without neighbours gets."""
        if self is Merge.SUM:
            return dtype.type(0)
        if dtype.kind == "f":
            return dtype.type(math.inf if self is Merge.MIN else -math.inf)
        bounds = np.iinfo(dtype)
        return dtype.type(bounds.max if self is Merge.MIN else bounds.min)


@dataclass(frozen=True)
class Column:
    """One value a node. `ghosts` names the direction in which neighbours read it, None if nobody does.

    A hidden column is working state: it is exchanged and committed like any other, and left out of results.
    """

    name: str
    dtype: type[np.float64] | type[np.int64]
    ghosts: Direction | None = None
    hidden: bool = False


@dataclass(frozen=True)
class Aggregate:
    """One value a tick for the whole graph, merged a partition at a time and then in partition order."""

    name: str
    merge: Merge
    dtype: type[np.float64] | type[np.int64] = np.float64


@dataclass(frozen=True)
class Channel:
    """A way for values to cross an edge: posted in Act, found at their target in Decay, in canonical order."""

    name: str
    dtype: type[np.float64] | type[np.int64]


class Param(Generic[T]):
    """A parameter of a program: a typed attribute with a default, a sentence and bounds.

    On the wire and on a command line it is text or a number; `read` turns it into the attribute's type or raises.
    """

    def __init__(
        self,
        default: T,
        doc: str,
        *,
        kind: type | None = None,
        least: float | None = None,
        most: float | None = None,
    ) -> None:
        self.default, self.doc, self.least, self.most = default, doc, least, most
        self.kind: type = kind or type(default)
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Param[T]: ...
    @overload
    def __get__(self, instance: Program, owner: type) -> T: ...
    def __get__(self, instance: Program | None, owner: type) -> Param[T] | T:
        return self if instance is None else instance.params.get(self.name, self.default)

    def read(self, given: Any) -> T:
        """The value as the attribute has it. Raises `BadParameter`."""
        if given is None and self.default is None:
            return self.default
        try:
            value = self._convert(given)
        except (TypeError, ValueError, KeyError) as error:
            raise BadParameter(f"parameter '{self.name}': {given!r} is not {_article(self.kind)}") from error
        if self.kind in (int, float):
            self._check_bounds(value)
        return value  # type: ignore[no-any-return]

    def _convert(self, given: Any) -> Any:
        if self.kind is bool:
            if isinstance(given, bool):
                return given
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[str(given).lower()]
        if isinstance(given, bool) or (self.kind is int and isinstance(given, float) and not given.is_integer()):
            raise TypeError(given)
        return self.kind(given)

    def _check_bounds(self, value: float) -> None:
        below = self.least is not None and not value >= self.least
        above = self.most is not None and not value <= self.most
        if below or above or math.isnan(value):
            low = "" if self.least is None else f" from {self.least:g}"
            high = "" if self.most is None else f" up to {self.most:g}"
            raise BadParameter(f"parameter '{self.name}': {value!r} is out of bounds; give a value{low}{high}")


def _article(kind: type) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return words.get(kind, kind.__name__)


class Program:
    """Base of every program: override `start`, at least one phase, and `halted` if it can end by itself."""

    name: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]] = ()
    aggregates: ClassVar[tuple[Aggregate, ...]] = ()
    channels: ClassVar[tuple[Channel, ...]] = ()
    ticks_default: ClassVar[int] = 1_000_000
    """How many ticks to run when nobody says: so many that a program which halts by itself does so first."""

    def __init__(self, **given: Any) -> None:
        known = self.parameters()
        for name in given:
            if name not in known:
                hint = did_you_mean(name, known)
                raise BadParameter(f"program '{self.name}' has no parameter '{name}'{hint}")
        self.params: Mapping[str, Any] = {name: known[name].read(value) for name, value in given.items()}

    @classmethod
    def parameters(cls) -> dict[str, Param[Any]]:
        """The declared parameters by name."""
        return {name: value for name, value in inspect.getmembers(cls) if isinstance(value, Param)}

    @classmethod
    def phases(cls) -> tuple[Phase, ...]:
        """The phases that this program uses: those that it overrides, and Advance, with which a tick is committed."""
        overridden = {phase for phase in Phase if getattr(cls, phase.word) is not getattr(Program, phase.word)}
        return tuple(sorted(overridden | {Phase.ADVANCE}))

    @classmethod
    def summary(cls) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]

    def prepare(self, ws: Workspace) -> None:
        """Keep on `self` what follows from the part alone; read and set no column.

        Called before `start`, and again, on a new instance, before a run goes on from a tick that was kept: perhaps on
        another shard, with other partitions. What a program keeps on `self` between ticks is made here or lives in a
        column.
        """

    def start(self, ws: Workspace) -> None:
        """Set every column as it is before the first tick."""
        raise NotImplementedError(f"program '{self.name}' does not say how it starts")

    def sense(self, ws: Workspace) -> None:
        """Read the committed state and decide; change nothing that others see."""

    def act(self, ws: Workspace) -> None:
        """Apply the decisions; post what crosses edges."""

    def decay(self, ws: Workspace) -> None:
        """Take in what arrived; let fade what fades."""

    def advance(self, ws: Workspace) -> None:
        """Set the columns of the next tick and contribute to its aggregates."""

    def halted(self, ws: Workspace) -> bool:
        """Whether the run is over after this tick. Sees aggregates only, so every shard says the same."""
        return False


def read_params(params: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """A run's parameters as the log carries them: names and JSON values. Raises `BadParameter`."""
    try:
        return {name: json.loads(value) for name, value in params}
    except ValueError as error:
        raise BadParameter(f"the parameters are not JSON: {error}") from error
