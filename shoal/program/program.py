"""The base class of programs: columns, aggregates, channels, parameters, and a method for each phase.

A program is written against a `Workspace` (one shard's part of one run) and never sees the number of shards. A phase
that a program does not override costs nothing: no exchange, no barrier. A program that only gathers overrides `advance`
alone and costs one exchange a tick::

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

        def halted(self, ws): return ws.tick > 0 and ws.total("risen") == 0

Results are bit-identical on any number of shards if the program reads other nodes only through gathers, channels and
aggregates, and uses no global random source, no clock, no count of shards and no order that depends on hashing. A run
can resume from any tick, on other shards, if `self` holds between ticks only what `prepare` makes of the part;
everything else lives in a column.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from shoal.api.errors import BadParameter, did_you_mean
from shoal.api.values import cut
from shoal.program.declarations import Aggregate, Channel, Column, Lists, Mail, Table
from shoal.program.params import Param
from shoal.program.phase import Phase

if TYPE_CHECKING:
    from shoal.engine.exchange.carrier import Carrier
    from shoal.engine.workspace import Array, Workspace
    from shoal.graph.shard_graph import ShardGraph


class Program:
    """Base class of programs: override `start`, at least one phase, and `halted` if the program ends by itself.

    Raises `BadParameter` for an unknown parameter, a value of the wrong type or a value out of bounds.
    """

    name: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]] = ()
    aggregates: ClassVar[tuple[Aggregate, ...]] = ()
    lists: ClassVar[tuple[Lists, ...]] = ()
    channels: ClassVar[tuple[Channel, ...]] = ()
    mail: ClassVar[tuple[Mail, ...]] = ()
    tables: ClassVar[tuple[Table, ...]] = ()
    saves: ClassVar[bool] = False
    """Whether the program keeps state of its own between ticks, with `save` and `load`."""
    anytime: ClassVar[bool] = True
    """Whether the columns are meaningful after any tick. If not, because they depend on the placement until the program
    has converged, a run that reaches its last tick before it has halted fails.
    """
    ticks_default: ClassVar[int] = 1_000_000
    """The number of ticks if the caller gives none: enough for a program that halts by itself."""

    def __init__(self, **given: Any) -> None:
        known = self.parameters()
        for name in given:
            if name not in known:
                hint = did_you_mean(name, known)
                raise BadParameter(f"program '{self.name}' has no parameter '{cut(name)}'{hint}")
        self.params: Mapping[str, Any] = {name: known[name].read(value) for name, value in given.items()}

    @classmethod
    def parameters(cls) -> dict[str, Param[Any]]:
        """Returns the declared parameters by name."""
        return {name: value for name, value in inspect.getmembers(cls) if isinstance(value, Param)}

    @classmethod
    def phases(cls) -> tuple[Phase, ...]:
        """Returns the phases in use, in order: those that are overridden, and Advance, which commits the tick."""
        overridden = {phase for phase in Phase if getattr(cls, phase.word) is not getattr(Program, phase.word)}
        return tuple(sorted(overridden | {Phase.ADVANCE}))

    @classmethod
    def summary(cls) -> str:
        """Returns the first line of the program's docstring."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]

    def carriers(self, part: ShardGraph) -> Sequence[Carrier]:
        """Returns carriers of its own, beside those of its declarations; called once, before any other method."""
        return ()

    def prepare(self, ws: Workspace) -> None:
        """Computes what depends on the part alone and keeps it on `self`; reads and sets no column.

        Called before `start`, and on a new instance before a run resumes from a saved tick, possibly on another shard
        with other partitions. State on `self` between ticks must come from here; other state lives in a column or in
        what `save` returns.
        """

    def start(self, ws: Workspace) -> None:
        """Sets every column as of before the first tick."""
        raise NotImplementedError(f"program '{self.name}' does not define `start`")

    def resume(self, ws: Workspace) -> None:
        """Resumes from a saved tick, instead of `start`; `ws.pending` returns the saved columns."""

    def collect(self, ws: Workspace) -> Mapping[str, Array]:
        """Returns columns that the program holds in a form of its own, by name.

        Called when Shoal saves state or a client reads a result.
        """
        return {}

    def save(self, ws: Workspace, partition: int) -> bytes:
        """Returns the state of an own partition beside columns, in a form that does not depend on the placement."""
        return b""

    def load(self, ws: Workspace, partition: int, state: memoryview) -> None:
        """Restores what `save` returned, after `prepare` and before `resume`. Raises `ValueError` for other bytes."""

    def difference(self, other: Program) -> str:
        """Returns how the state beside columns differs from another instance's, in words, for `check=True`."""
        return ""

    def rows(self, ws: Workspace, table: str, partition: int) -> Mapping[str, Any]:
        """Returns the rows of a table in an own partition: a column for each field, rows in a canonical order."""
        raise NotImplementedError(f"program '{self.name}' has no table '{table}'")

    def sense(self, ws: Workspace) -> None:
        """Reads the committed state and decides; changes nothing that others see."""

    def act(self, ws: Workspace) -> None:
        """Applies the decisions and posts values along edges."""

    def decay(self, ws: Workspace) -> None:
        """Processes what arrived and fades values."""

    def advance(self, ws: Workspace) -> None:
        """Sets the columns of the next tick and contributes to its aggregates."""

    def halted(self, ws: Workspace) -> bool:
        """Returns whether the run is over after this tick. Uses aggregates only, so every shard returns the same."""
        return False


def read_params(params: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Returns a run's parameters from the log's form, names and JSON values. Raises `BadParameter`."""
    try:
        return {name: json.loads(value) for name, value in params}
    except (ValueError, RecursionError) as error:
        raise BadParameter(f"the parameters are not JSON: {error}") from error


def not_converged(ticks: int) -> str:
    """Returns the error of a run that should have halted by itself.

    >>> not_converged(3)
    'it had not converged after 3 ticks, and has no result before: allow more ticks, or set no limit'
    """
    not_yet = f"it had not converged after {ticks} ticks, and has no result before"
    return f"{not_yet}: allow more ticks, or set no limit"
