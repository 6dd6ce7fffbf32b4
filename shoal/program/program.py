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
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from shoal.api.errors import BadParameter, did_you_mean
from shoal.program.declarations import Aggregate, Channel, Column, Lists, Mail, Table
from shoal.program.params import Param
from shoal.program.phase import Phase

if TYPE_CHECKING:
    from shoal.engine.exchange.carrier import Carrier
    from shoal.graph.shard_graph import ShardGraph
    from shoal.program.workspace import Array, Workspace


class Program:
    """Base of every program: override `start`, at least one phase, and `halted` if it can end by itself."""

    name: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]] = ()
    aggregates: ClassVar[tuple[Aggregate, ...]] = ()
    lists: ClassVar[tuple[Lists, ...]] = ()
    channels: ClassVar[tuple[Channel, ...]] = ()
    mail: ClassVar[tuple[Mail, ...]] = ()
    tables: ClassVar[tuple[Table, ...]] = ()
    saves: ClassVar[bool] = False
    """Whether it keeps something of its own between ticks, and so has `save` and `load`."""
    anytime: ClassVar[bool] = True
    """Whether its columns mean something after any tick. If not (they may depend on the cut until it has converged), a
    run that comes to its last tick before it has halted fails.
    """
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

    def carriers(self, part: ShardGraph) -> Sequence[Carrier]:
        """Carriers of its own, beside those of what it declares; made once, before anything else is asked of it."""
        return ()

    def prepare(self, ws: Workspace) -> None:
        """Keep on `self` what follows from the part alone; read and set no column.

        Called before `start`, and again, on a new instance, before a run goes on from a tick that was kept: perhaps on
        another shard, with other partitions. What a program keeps on `self` between ticks is made here or lives in a
        column, or in what `save` gives.
        """

    def start(self, ws: Workspace) -> None:
        """Set every column as it is before the first tick."""
        raise NotImplementedError(f"program '{self.name}' does not say how it starts")

    def resume(self, ws: Workspace) -> None:
        """Go on from a tick that was kept, in the stead of `start`: the columns as they were are pending in `ws`."""

    def collect(self, ws: Workspace) -> Mapping[str, Array]:
        """Columns that it holds in a form of its own: asked for when a state is kept or a result is read."""
        return {}

    def save(self, ws: Workspace, partition: int) -> bytes:
        """What it must not lose of an own partition, besides columns, in a form that no cut changes."""
        return b""

    def load(self, ws: Workspace, partition: int, state: memoryview) -> None:
        """Take back what `save` gave: after `prepare`, before `resume`. Raises `ValueError` for what it never gave."""

    def difference(self, other: Program) -> str:
        """What another instance holds otherwise, of what it keeps beside columns; in words, for the check mode."""
        return ""

    def rows(self, ws: Workspace, table: str, partition: int) -> Mapping[str, Any]:
        """The rows of a table that belong to an own partition, a column for each field, in an order of their own."""
        raise NotImplementedError(f"program '{self.name}' has no table '{table}'")

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
    except (ValueError, RecursionError) as error:
        raise BadParameter(f"the parameters are not JSON: {error}") from error


def not_converged(ticks: int) -> str:
    """What is said of a run that should have halted by itself.

    >>> not_converged(3)
    'it had not converged after 3 ticks, and has no result before it has: allow more, or do not limit them'
    """
    not_yet = f"it had not converged after {ticks} ticks, and has no result before it has"
    return f"{not_yet}: allow more, or do not limit them"
