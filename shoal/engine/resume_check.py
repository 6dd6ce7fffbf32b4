"""Checks that a program resumes from every tick as if it had never stopped: the check mode of `shoal.local`.

After each tick it captures the state of all shards, as for a checkpoint. New instances of the program resume from it,
as on other machines, and run the next tick beside the run. Both must produce the same bytes. The error names what
differs: a column and a node, an aggregate, other saved data, or data that the program wrongly keeps on `self`. For a
program that must converge (`anytime = False`) only the final results are comparable. So a second run is resumed more
and more rarely (after ticks 0, 1, 2, 4, ...: otherwise it might start over for ever), and the results of both are
compared.

The check costs about three times the run. It finds every dependency on a resume, whatever the cause: an attribute set
in a phase, a cache that `prepare` does not rebuild, a shared list. It can't see what two instances in one process share
by design, such as a module's globals, unless sharing them changes the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from shoal.api.errors import ShoalError
from shoal.engine.engine import Engine
from shoal.graph.shard_graph import ShardGraph
from shoal.program.failures import traceback_of
from shoal.program.phase import Phase
from shoal.program.program import Program

WORD: Final = 8
PLAIN: Final = (bool, int, float, str, bytes, list, dict, set, tuple, np.ndarray)
NAMED_MAX: Final = 3
FURTHER_TICKS_MAX: Final = 1000
"""How many more ticks the resumed run may take to converge: a resume repeats only a few."""
HINT: Final = (
    "between ticks `self` may hold only what `prepare` creates; everything else belongs in a column, an attribute,"
    " `node.memory`, or the bytes of `save`"
)


class NotResumable(ShoalError):
    """Raised if a resumed run differs from one that was never stopped."""


class ResumeCheck:
    """The check of one run. `make` returns a new instance of the program; `ids` are the graph's, by ordinal."""

    def __init__(self, make: Callable[[], Program], parts: Mapping[str, ShardGraph], ids: Sequence[Any]) -> None:
        self._make, self._parts, self._ids = make, parts, ids
        self._tick, self._states = 0, dict[str, dict[int, bytes]]()
        self._beside: dict[str, Engine] = {}
        """The run that is resumed on its way, for a program that must converge."""
        self._has_converged = False

    def keep(self, tick: int, engines: Mapping[str, Engine]) -> None:
        """Captures the state of a committed tick."""
        self._tick, self._states = tick, {shard: engine.capture() for shard, engine in engines.items()}

    def compare(self, tick: int, engines: Mapping[str, Engine], *, halted: bool) -> None:
        """Runs the tick that the run has just completed from the previous state, too. Raises `NotResumable`."""
        if not next(iter(engines.values())).program.anytime:
            self._converge(tick, engines, halted=halted)
            return
        assert tick == self._tick + 1, (tick, self._tick)
        resumed = self._on_from_here({})
        found = {shard: engine.capture() for shard, engine in resumed.items()}
        self.keep(tick, engines)
        for shard, engine in engines.items():
            other = resumed[shard]
            if bool(other.halted()) != halted:
                self._raise(tick, engine, other, f"halted says {halted}, and {not halted} when resumed")
            for place, partition in enumerate(engine.part.partitions):
                whole, again = self._states[shard][partition], found[shard][partition]
                if whole != again:
                    told = self._first_difference(engine, place, whole, again)
                    self._raise(tick, engine, other, told or _beside_columns(engine, other, partition))

    def _converge(self, tick: int, engines: Mapping[str, Engine], *, halted: bool) -> None:
        """Runs the second run up to the same tick; once the first has halted, to its own end."""
        last = tick + FURTHER_TICKS_MAX if halted else tick
        while not self._has_converged and self._tick < last:
            self._beside = self._on_from_here(self._beside)
            self._tick += 1
            self._has_converged = all(bool(engine.halted()) for engine in self._beside.values())
            if self._tick & (self._tick - 1) == 0 and not self._has_converged:
                self.keep(self._tick, self._beside)
                self._beside = {}
        if not halted:
            return
        if not self._has_converged:
            raise NotResumable(f"resumed during the run, it has not converged after {last} ticks: {HINT}")
        for shard, engine in engines.items():
            other = self._beside[shard]
            for column in engine.program.columns:
                values = [np.ascontiguousarray(each.result(column.name)) for each in (engine, other)]
                told = "" if column.hidden else self._first_row(column.name, engine.part.ordinals, *values)
                if told:
                    self._raise(tick, engine, other, told)

    def _on_from_here(self, engines: dict[str, Engine]) -> dict[str, Engine]:
        """Runs the next tick; without `engines`, resumes new ones from the captured state."""
        before, tick = self._tick, self._tick + 1
        try:
            if not engines:
                engines = {shard: Engine(part, self._make()) for shard, part in self._parts.items()}
                for shard, engine in engines.items():
                    engine.restore(before, self._states[shard])
                exchange(engines, before, Phase.ADVANCE)
            for phase in next(iter(engines.values())).program.phases():
                exchange(engines, tick, phase)
            return engines
        except Exception as error:
            told = f"resumed after tick {before}, the program fails in tick {tick}: {HINT}\n{traceback_of(error)}"
            raise NotResumable(told) from error

    # -- what differs ----------------------------------------------------------------------------------------------

    def _first_difference(self, engine: Engine, place: int, whole: bytes, again: bytes) -> str:
        """Returns the first column or aggregate in which two states of a partition differ; empty if they differ
        elsewhere.
        """
        program, (first, last), at = engine.program, engine.part.starts.tolist()[place : place + 2], 0
        for column in program.columns:
            size = WORD * (last - first)
            values = [np.frombuffer(state[at : at + size], column.dtype) for state in (whole, again)]
            told = self._first_row(column.name, engine.part.ordinals[first:last], *values)
            if told:
                return told
            at += size
        for aggregate in program.aggregates:
            one, other = (np.frombuffer(state[at : at + WORD], aggregate.dtype)[0] for state in (whole, again))
            if whole[at : at + WORD] != again[at : at + WORD]:
                return f"aggregate '{aggregate.name}' gets {one} from a partition, and {other} when resumed"
            at += WORD
        return ""

    def _first_row(self, column: str, ordinals: Any, one: Any, other: Any) -> str:
        """Returns the first node at which two columns are not equal bit by bit."""
        rows = np.flatnonzero(one.view(np.int64) != other.view(np.int64))
        if not len(rows):
            return ""
        name = self._ids[int(ordinals[rows[0]])]
        name = name.as_py() if hasattr(name, "as_py") else name
        more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
        return f"column '{column}' of node {name!r}{more} is {one[rows[0]]}, and {other[rows[0]]} when resumed"

    @staticmethod
    def _raise(tick: int, engine: Engine, resumed: Engine, what: str) -> None:
        own = _own_differences(engine.program, resumed.program) if engine.program.anytime else []
        which = f"; on `self` differ {', '.join(own)}" if own else ""
        when = f"resumes from tick {tick - 1}" if engine.program.anytime else "is resumed"
        raise NotResumable(f"tick {tick} differs when the run {when}: {what}{which}: {HINT}")


def exchange(engines: Mapping[str, Engine], tick: int, phase: Phase) -> None:
    """Runs one phase of engines side by side, in one process."""
    sent = {shard: engine.run(tick, phase) for shard, engine in engines.items()}
    for shard, engine in engines.items():
        engine.settle(phase, {peer: out.to(shard) for peer, out in sent.items() if peer != shard})


def _beside_columns(engine: Engine, resumed: Engine, partition: int) -> str:
    told = engine.program.difference(resumed.program)
    return told or f"what is kept beside columns (lists, messages under way, `save`) of partition {partition}"


def _own_differences(program: Program, resumed: Program) -> list[str]:
    """Returns the attributes of plain values in which the two instances differ."""
    one, other, found = vars(program), vars(resumed), list[str]()
    for name in sorted(one.keys() | other.keys()):
        if name.startswith("_"):
            continue
        if name not in other or name not in one:
            found.append(f"'{name}' (only {'without' if name in one else 'with'} the resume)")
        elif isinstance(one[name], PLAIN) and not _alike(one[name], other[name]):
            found.append(f"'{name}'")
    return found[:NAMED_MAX]


def _alike(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    try:
        return bool(one == other) or repr(one) == repr(other)
    except ValueError:  # containers of arrays
        return repr(one) == repr(other)
