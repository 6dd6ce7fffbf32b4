"""Runs a program's phases on one shard's part, and converts the data that crosses shards to plain buffers and back.

The engine knows neither sockets nor barriers. Its host runs a phase (`run`), sends the `Outgoing` to each peer, and
settles the phase (`settle`) once every peer's `Incoming` has arrived, in any order. `shoal.local` hosts several engines
in one process; a daemon hosts one per run.

What a shard sends with a phase:

- Advance: for each column that was written and has ghosts, the values on the boundary to that peer, as a bare slice;
  and the partial aggregates of the own partitions.
- Act and Advance: what the carriers of lists, channels and mail that are sent in that phase have (`exchange`).
- Sense and Decay: nothing but the fact that they are over.

`capture` returns what a run needs to resume elsewhere: for each own partition its slice of every declared column and
its partial of every aggregate, as of a tick's Advance. `restore` takes such states, from any placement. Then Advance of
that tick runs as it does at a start: it sends every exchanged column and the partials, so `settle` restores ghosts and
totals. A state, in program order, little-endian, 8 bytes per value::

    [ column 1, by ordinal | column 2 | ... | partial of aggregate 1 | partial of aggregate 2 | ... | sections ]

Each section is preceded by its length. There is one for each list, one for each channel and mail sent in Advance (data
in transit belongs to the partition that sent it) and one for what the program itself saves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from shoal.engine.exchange.carrier import BadExchange, BadState, Carrier, pack_sections, split_sections
from shoal.engine.workspace import Workspace
from shoal.graph.shard_graph import ShardGraph
from shoal.kernels.merging import merged, one_nan
from shoal.program.declarations import Channel, Column, Mail
from shoal.program.naming import named_nodes
from shoal.program.phase import Phase
from shoal.program.program import Program

__all__ = ["BadExchange", "BadState", "Engine", "Incoming", "Outgoing", "Share", "is_fixed", "state_bytes"]

Array = NDArray[Any]
Buffer = Any

# Looking up a member of an enumeration costs 0.15 us: as much as a phase without arrays takes here.
ADVANCE = Phase.ADVANCE
DUES_MAX = 1024


class Share(Protocol):
    """What one peer sent with a phase: a bit for each exchanged column that it wrote, partial aggregates, arrays."""

    @property
    def columns(self) -> int: ...
    @property
    def aggregates(self) -> bytes: ...
    @property
    def frames(self) -> Sequence[Buffer]: ...


@dataclass(frozen=True, slots=True)
class Incoming:
    """A share that is no message."""

    columns: int = 0
    aggregates: bytes = b""
    frames: tuple[Buffer, ...] = ()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a shard sends with a phase: the same columns and aggregates to all peers, and arrays for each."""

    columns: int
    aggregates: bytes
    frames: Mapping[str, tuple[Array, ...]]

    @property
    def nbytes(self) -> int:
        """Returns the bytes of arrays and aggregates over all peers."""
        total = len(self.aggregates) * len(self.frames)
        for frames in self.frames.values():
            for frame in frames:
                total += frame.nbytes
        return total

    def to(self, peer: str) -> Incoming:
        """Returns the share of one peer."""
        return Incoming(self.columns, self.aggregates, self.frames[peer])


class Exchange(NamedTuple):
    """How one column crosses: the own nodes that peers read, the slice of them for each peer, and where ghosts go."""

    name: str
    dtype: Any
    nodes: Array
    cuts: tuple[tuple[str, slice], ...]
    spans: Mapping[str, slice]


class Engine:
    """One run on one shard."""

    def __init__(
        self, part: ShardGraph, program: Program, pool: ThreadPoolExecutor | None = None, threads: int = 1
    ) -> None:
        self.part, self.program = part, program
        self.ws = Workspace(part, program, pool, threads)
        self._exchanges = [_exchange(part, column) for column in program.columns if column.ghosts is not None]
        self._carriers: dict[Phase, tuple[Carrier, ...]] = {
            phase: tuple(carrier for carrier in self.ws.carriers if carrier.sent_in is phase) for phase in Phase
        }
        self._nothing = Outgoing(0, b"", dict.fromkeys(part.peers, ()))
        self._phases = tuple(getattr(program, phase.word) for phase in Phase)
        self._shown = [aggregate.name for aggregate in program.aggregates if aggregate.shown]
        self._begun = False
        self._restored: int | None = None
        self._saved: dict[int, memoryview] = {}
        self._advancing = False
        self._last_partials: Mapping[str, Array] = {}
        self._dues: dict[tuple[str, int], tuple[list[int], int]] = {}
        self._own_aggregates = b""
        self._aggregate_places = _aggregate_places(part, len(program.aggregates))

    def run(self, tick: int, phase: Phase) -> Outgoing:
        """Runs one phase of a tick. Advance of tick 0 is the program's start; Advance of a restored tick sends its
        state.
        """
        self.ws.tick = tick
        if tick == 0 or self._restored is not None:
            self._begin(tick, phase)
            return self._advanced()
        self._phases[phase](self.ws)
        if phase is ADVANCE:
            return self._advanced()
        if self._carriers[phase]:
            return Outgoing(0, b"", self._carried(phase, dict.fromkeys(self.part.peers, ())))
        return self._nothing

    def check(self, peer: str, phase: Phase, incoming: Share) -> None:
        """Checks that a peer's share fits before it is settled. Raises `BadExchange`."""
        if phase is ADVANCE:
            self._check_advanced(peer, incoming)
            return
        if incoming.aggregates or incoming.columns:
            raise BadExchange(f"a {phase.word} phase carries no columns and no aggregates")
        self._check_carried(peer, phase, incoming.frames)

    def settle(self, phase: Phase, incoming: Mapping[str, Share]) -> None:
        """Takes in what every peer sent with a phase; after Advance, commits the tick."""
        if phase is ADVANCE:
            self._take_ghosts(incoming)
            self._merge_aggregates(incoming)
        if self._carriers[phase]:
            self._deliver(phase, incoming)
        if phase is ADVANCE:
            self._commit()
            self._advancing = False

    def capture(self) -> dict[int, bytes]:
        """Returns the state of each own partition as of the last Advance that ran, whether it is settled or not."""
        assert self._begun, "there is no state before the first Advance"
        columns, starts = self.collected(), self.part.starts.tolist()
        partials = [self._last_partials[aggregate.name] for aggregate in self.program.aggregates]
        states = {}
        for k, partition in enumerate(self.part.partitions):
            values = [column[starts[k] : starts[k + 1]].tobytes() for column in columns]
            states[partition] = b"".join([*values, *(partial[k : k + 1].tobytes() for partial in partials)])
        if self._carriers[ADVANCE] or self.program.saves:
            self._append_sections(states)
        return states

    def collected(self) -> list[Array]:
        """Returns the declared columns as a state has them, and what the program itself collects."""
        written = self.ws.written if self._advancing else ()
        own = self.program.collect(self.ws)
        return [self._values(column.name, own, written) for column in self.program.columns]

    def _values(self, name: str, own: Mapping[str, Array], written: Set[str] | tuple[()]) -> Array:
        if name in own:
            values, due = np.ascontiguousarray(own[name]), self.ws.committed[name].dtype
            if values.shape != (self.part.size,) or values.dtype != due:
                told = f"{values.dtype} of shape {values.shape}"
                raise ValueError(f"collect gives column '{name}' as {told}: it has {self.part.size} values of {due}")
            return values
        return (self.ws.working if name in written else self.ws.committed)[name]

    def _append_sections(self, states: dict[int, bytes]) -> None:
        kept = [carrier.capture() for carrier in self._carriers[ADVANCE]]  # a later tick uses it, so it must be kept
        for partition in states:
            sections = [section[partition] for section in kept]
            if self.program.saves:
                sections.append(self.program.save(self.ws, partition))
            states[partition] += pack_sections(sections)

    def restore(self, tick: int, states: Mapping[int, Buffer]) -> None:
        """Restores these states of a tick; Advance of it must run next. Raises `BadState`.

        Only for an engine that has run nothing yet. To read the values without running anything, read the pending
        values of `ws`.
        """
        assert not self._begun, "the engine has run already"
        _check_states(tick, states, self.part, type(self.program))
        sections: list[dict[int, memoryview]] = [{} for _ in self._carriers[ADVANCE]]
        ws, starts = self.ws, self.part.starts.tolist()
        aggregates = self.program.aggregates
        partials = {a.name: np.empty(len(self.part.partitions), dtype=a.dtype) for a in aggregates}
        for k, partition in enumerate(self.part.partitions):
            state, nodes, at = memoryview(states[partition]).cast("B"), starts[k + 1] - starts[k], 0
            for column in self.program.columns:
                values = np.frombuffer(state[at : at + 8 * nodes], column.dtype)
                ws.working[column.name][starts[k] : starts[k + 1]] = values
                at += 8 * nodes
            for aggregate in aggregates:
                partials[aggregate.name][k] = np.frombuffer(state[at : at + 8], aggregate.dtype)[0]
                at += 8
            split = split_sections(state[at:], len(sections) + self.program.saves)
            for section, data in zip(sections, split, strict=False):
                section[partition] = data
            if self.program.saves:
                self._saved[partition] = split[-1]
        for carrier, section in zip(self._carriers[ADVANCE], sections, strict=True):
            carrier.restore(section)
        ws.written.update(column.name for column in self.program.columns)
        ws.partials.update(partials)
        self._restored = tick

    def halted(self) -> bool:
        """Whether the program is done; every shard gets the same answer, because it depends on aggregates alone."""
        return self.program.halted(self.ws)

    def result(self, name: str) -> Array:
        """Returns the values of a column over own nodes: the committed or the restored ones."""
        own = self.program.collect(self.ws) if self._begun else {}
        return one_nan(own[name] if name in own else self.ws.pending(name)[: self.part.size])

    def shown(self) -> dict[str, Any]:
        """Returns the figures of the run: the shown aggregates as of the last tick."""
        return {name: self.ws.totals[name].item() for name in self._shown}

    def rows(self, table: str, partition: int) -> Mapping[str, Any]:
        """Returns the rows of a table that belong to an own partition; also works on a restored engine."""
        if not self._begun:
            assert self._restored is not None, "there are no rows before the first tick"
            self._open(self._restored)
        return self.program.rows(self.ws, table, partition)

    # -- Advance ---------------------------------------------------------------------------------------------------

    def _begin(self, tick: int, phase: Phase) -> None:
        assert phase is ADVANCE, "a run begins with an Advance"
        assert self._restored in (None, tick), f"tick {self._restored} was restored, not {tick}"
        self._open(tick)
        self._restored = None

    def _open(self, tick: int) -> None:
        """Prepares the program: starts it, or resumes it from the restored state."""
        program, ws = self.program, self.ws
        ws.tick = tick
        named_nodes(self.part, program)
        program.prepare(ws)
        if self._restored is None:
            program.start(ws)
        else:
            for partition, state in self._saved.items():
                program.load(ws, partition, state)
            program.resume(ws)
        self._saved, self._begun = {}, True

    def _advanced(self) -> Outgoing:
        """Gathers each column once for all peers; each peer gets a slice of it, which nobody writes again."""
        ws, mask = self.ws, 0
        frames: dict[str, tuple[Array, ...]] = dict.fromkeys(self.part.peers, ())
        for bit, exchange in enumerate(self._exchanges):
            if exchange.name not in ws.written:
                continue
            mask |= 1 << bit
            values = ws.working[exchange.name].take(exchange.nodes, mode="clip")
            for peer, cut in exchange.cuts:
                frames[peer] += (values[cut],)
        if self._carriers[ADVANCE]:
            frames = self._carried(ADVANCE, frames)
        self._own_aggregates = self._pack_aggregates()
        self._last_partials, self._advancing = dict(ws.partials), True
        return Outgoing(mask, self._own_aggregates, frames)

    def _pack_aggregates(self) -> bytes:
        partials = self.ws.partials
        parts = []
        for aggregate in self.program.aggregates:
            if aggregate.name not in partials:
                identity = aggregate.merge.identity(np.dtype(aggregate.dtype))
                partials[aggregate.name] = np.full(len(self.part.partitions), identity, dtype=aggregate.dtype)
            parts.append(partials[aggregate.name].tobytes())
        return b"".join(parts)

    def _check_advanced(self, peer: str, incoming: Share) -> None:
        due = self._dues.get((peer, incoming.columns)) or self._due(peer, incoming.columns)
        if len(incoming.aggregates) != due[1]:
            raise BadExchange(f"aggregates of {len(incoming.aggregates)} bytes where {due[1]} were due")
        sizes = [_size(frame) for frame in incoming.frames[: len(due[0])]]
        if sizes != due[0]:
            raise BadExchange(f"ghosts of {sizes} bytes where {due[0]} were due")
        self._check_carried(peer, ADVANCE, incoming.frames[len(due[0]) :])

    def _due(self, peer: str, columns: int) -> tuple[list[int], int]:
        """Returns the sizes that a peer's frames and aggregates must have if it wrote these columns."""
        if not 0 <= columns < 1 << len(self._exchanges):
            raise BadExchange(f"columns {columns:#x} of {len(self._exchanges)}")
        spans = [exchange.spans[peer] for bit, exchange in enumerate(self._exchanges) if columns >> bit & 1]
        aggregates = 8 * len(self.program.aggregates) * len(self.part.peer_partitions[peer])
        due = ([8 * (span.stop - span.start) for span in spans], aggregates)
        if len(self._dues) < DUES_MAX:
            self._dues[peer, columns] = due
        return due

    def _take_ghosts(self, incoming: Mapping[str, Share]) -> None:
        ws = self.ws
        for peer, share in incoming.items():
            frames, columns = iter(share.frames), share.columns
            for bit, exchange in enumerate(self._exchanges):
                span = exchange.spans[peer]
                if columns >> bit & 1:
                    ws.working[exchange.name][span] = np.frombuffer(next(frames), exchange.dtype)
                else:
                    ws.working[exchange.name][span] = ws.committed[exchange.name][span]

    def _merge_aggregates(self, incoming: Mapping[str, Share]) -> None:
        """Merges in partition order, whichever shards hold the partitions."""
        theirs = [incoming[peer].aggregates for peer in self.part.peers]
        tables = np.frombuffer(b"".join((self._own_aggregates, *theirs)), np.uint64).take(self._aggregate_places)
        for aggregate, table in zip(self.program.aggregates, tables, strict=True):
            self.ws.totals[aggregate.name] = merged(aggregate.merge.ufunc, table.view(aggregate.dtype))

    def _commit(self) -> None:
        ws = self.ws
        for column in self.program.columns:
            exchanged = column.ghosts is not None
            if column.name not in ws.written:
                if not exchanged:
                    continue
                ws.working[column.name][: self.part.size] = ws.committed[column.name][: self.part.size]
            ws.committed[column.name], ws.working[column.name] = ws.working[column.name], ws.committed[column.name]
        ws.written.clear()
        ws.partials.clear()
        for carrier in ws.carriers:
            carrier.commit()

    # -- carriers --------------------------------------------------------------------------------------------------

    def _carried(self, phase: Phase, frames: dict[str, tuple[Array, ...]]) -> dict[str, tuple[Array, ...]]:
        for carrier in self._carriers[phase]:
            packed = carrier.pack()
            frames = {peer: (*before, *packed[peer]) for peer, before in frames.items()}
        return frames

    def _check_carried(self, peer: str, phase: Phase, frames: Sequence[Buffer]) -> None:
        due = sum(carrier.frame_count for carrier in self._carriers[phase])
        if len(frames) != due:
            raise BadExchange(f"{len(frames)} arrays where {due} were due")
        at = 0
        for carrier in self._carriers[phase]:
            carrier.check(peer, frames[at : at + carrier.frame_count])
            at += carrier.frame_count

    def _deliver(self, phase: Phase, incoming: Mapping[str, Share]) -> None:
        left = {
            peer: share.frames[self._ghost_frames(share) if phase is ADVANCE else 0 :]
            for peer, share in incoming.items()
        }
        for carrier in self._carriers[phase]:
            count = carrier.frame_count
            carrier.settle({peer: frames[:count] for peer, frames in left.items()})
            left = {peer: frames[count:] for peer, frames in left.items()}

    @staticmethod
    def _ghost_frames(share: Share) -> int:
        return share.columns.bit_count()


def is_fixed(program: type[Program]) -> bool:
    """Whether all states of a partition have the same size."""
    sent: tuple[Channel | Mail, ...] = (*program.channels, *program.mail)
    return not (program.lists or program.saves or any(each.sent_in is ADVANCE for each in sent))


def state_bytes(program: type[Program], nodes: int) -> int:
    """Returns the size of the state of a partition with that many nodes, without sections."""
    return 8 * (nodes * len(program.columns) + len(program.aggregates))


def _check_states(tick: int, states: Mapping[int, Buffer], part: ShardGraph, program: type[Program]) -> None:
    if tick < 0:
        raise BadState(f"tick {tick} is none")
    if states.keys() != set(part.partitions):
        wrong = ", ".join(str(p) for p in sorted(states.keys() ^ set(part.partitions))[:10])
        raise BadState(f"states have to be those of the own partitions: too many or too few are {wrong}")
    for partition, nodes in zip(part.partitions, np.diff(part.starts).tolist(), strict=True):
        try:
            size = memoryview(states[partition]).cast("B").nbytes
        except (TypeError, ValueError, BufferError) as error:
            raise BadState(f"partition {partition}: the state is not a buffer of bytes") from error
        due = state_bytes(program, nodes)
        if size != due and (size < due or is_fixed(program)):
            raise BadState(f"partition {partition}: a state of {nodes} nodes has {due} bytes, not {size}")


def _exchange(part: ShardGraph, column: Column) -> Exchange:
    assert column.ghosts is not None
    nodes, cuts, spans, end = [np.empty(0, dtype=np.intp)], [], {}, 0
    for peer in part.peers:
        theirs, mine = part.sends[peer], part.ghosts[peer]
        nodes.append(theirs.nodes[theirs.bounds(column.ghosts)])
        cuts.append((peer, slice(end, end + len(nodes[-1]))))
        end += len(nodes[-1])
        bounds = mine.bounds(column.ghosts)
        first = int(mine.nodes[0]) if len(mine.nodes) else 0
        spans[peer] = slice(first + bounds.start, first + bounds.stop)
    return Exchange(column.name, column.dtype, np.concatenate(nodes), tuple(cuts), spans)


def _aggregate_places(part: ShardGraph, aggregates: int) -> Array:
    """Returns the places of all partials, of shape (aggregates, partitions), in this shard's followed by its peers'."""
    places = np.empty((aggregates, part.partition_count), dtype=np.intp)
    begin = 0
    for held in (part.partitions, *(part.peer_partitions[peer] for peer in part.peers if aggregates)):
        end = begin + aggregates * len(held)
        places[:, list(held)] = np.arange(begin, end).reshape(aggregates, len(held))
        begin = end
    return places


def _size(frame: Buffer) -> int:
    return len(frame) if type(frame) is bytes else memoryview(frame).nbytes
