"""The embedded backend: everything in one process, with no daemon and no socket.

Each shard is an engine, and engines exchange the same buffers as daemons, so a script that is correct here is correct
on a cluster. A run executes ticks while a caller waits for it, or one for each `step()`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, TypeVar, cast

from shoal.api.command import Command
from shoal.api.commands.cluster import Ring, Status, StatusReply
from shoal.api.commands.graphs import DroppedGraph, GraphDrop, GraphList, GraphLoad, GraphShow, LoadedGraph
from shoal.api.commands.names import check_graph_name
from shoal.api.commands.programs import DeployedProgram, ProgramList, ProgramRow, ProgramsReply
from shoal.api.commands.results import RunRows, RunSearch, RunTable, RunTicks, SearchReply, TicksReply
from shoal.api.commands.runs import (
    RunList,
    RunReply,
    RunShow,
    RunsReply,
    RunStart,
    RunStep,
    RunStop,
    RunWait,
    SteppedRun,
    param_texts,
)
from shoal.api.errors import (
    BadProgram,
    NameTaken,
    Refused,
    RunFailed,
    SessionClosed,
    TickNotKept,
    TimedOut,
    UnknownColumn,
    UnknownGraph,
    UnknownRun,
    did_you_mean,
)
from shoal.client.local_replies import (
    graph_reply,
    graph_row,
    loaded_graph,
    program_row,
    ring_reply,
    run_counts,
    run_reply,
    run_row,
    status_reply,
)
from shoal.client.local_run import Asked, LocalGraph, LocalRun
from shoal.client.session import Progress, Session
from shoal.graph.graph_data import PARTITIONS, GraphData
from shoal.graph.partitions import part_of
from shoal.graph.ring import HashRing
from shoal.graph.shard_graph import Placement
from shoal.program.deployed import digest_of, program_of
from shoal.program.failures import refusal, unreadable
from shoal.program.installed import find_program, installed_digest, installed_programs, is_installed
from shoal.program.program import Program
from shoal.query.rows import STRETCH, RowBatch, null_of
from shoal.query.search import Index, Query, search, text_column
from shoal.query.snapshot import chosen_tick
from shoal.query.tables import TablePart, known_table, parts_of_table

R = TypeVar("R")

EVENT_INTERVAL = 0.1
DROPPED_REMEMBERED = 1000


def local(shards: int = 1, *, check: bool = False) -> Session:
    """Opens a session in this process with `shards` shards; results are bit-identical for any number of them.

    With `check`, new instances of the program repeat each tick from the saved state of the last one, as after the loss
    of a machine; a run whose ticks differ fails and reports the difference. Use it in tests of programs. Raises
    `ValueError` for fewer than one shard.

    >>> import shoal
    >>> with shoal.local(shards=2) as session:
    ...     data = shoal.from_arrays(["a", "b", "c"], ["b", "c", "a"])
    ...     run = session.load("ring", data=data).run("pagerank", ticks=3)
    ...     [node for node, _ in run.result("rank").top(3)]
    ['a', 'b', 'c']
    """
    if shards < 1:
        raise ValueError("there must be at least one shard")
    return Session(LocalBackend(shards, check=check))


class LocalBackend:
    """Holds the graphs and runs of this process. Threads may share it: it changes by single, atomic operations."""

    def __init__(self, shards: int, *, check: bool = False) -> None:
        self._check = check
        self._shards = tuple(f"{i + 1}" for i in range(shards))
        self._graphs: dict[str, LocalGraph] = {}
        self._runs: dict[str, LocalRun] = {}
        self._loads, self._begun = count(1), count(1)
        self._closed = False
        self._dropped: dict[str, str] = {}
        """The graph of each of the last runs that were dropped together with their graphs."""
        self._programs: dict[str, type[Program]] = {}
        self._deployed: dict[str, ProgramRow] = {}
        self._began = time.monotonic()
        self._replies: dict[str, Callable[[Any], Any]] = dict(
            (
                Status.replied_by(self._status),
                Ring.replied_by(lambda asked: ring_reply(self._shards, self._partitions(asked.graph))),
                GraphShow.replied_by(lambda asked: graph_reply(self._graph(asked.graph))),
                GraphList.replied_by(
                    lambda _: {"graphs": [graph_row(self._graphs[name]) for name in sorted(self._graphs.copy())]}
                ),
                GraphDrop.replied_by(self._drop),
                ProgramList.replied_by(self._program_list),
                RunStart.replied_by(lambda asked: self._shown(self._start(asked))),
                RunShow.replied_by(lambda asked: self._shown(self._run(asked.run))),
                RunList.replied_by(self._run_list),
                RunTicks.replied_by(self._ticks),
                RunSearch.replied_by(self._search),
                RunStep.replied_by(self._step),
                RunStop.replied_by(self._stop),
            )
        )

    def call(self, command: Command[R]) -> R:
        """Answers a command as a daemon would."""
        self._refuse_if_closed()
        contract = command.contract
        reply = self._replies.get(contract.name)
        if reply is None:
            raise Refused(f"a session in this process does not answer '{contract.name}'")
        return cast(R, reply(contract.checked(command)))

    def load(self, name: str, data: GraphData, progress: Progress | None) -> LoadedGraph:
        """Cuts the graph into shards."""
        self._refuse_if_closed()
        GraphLoad.contract.checked(GraphLoad(name, {}))
        check_graph_name(name)
        began = time.monotonic()
        if name in self._graphs:
            raise NameTaken.by_graph(name)
        owners = [holders[0] for holders in HashRing(self._shards).placement(data.partition_count)]
        placement = Placement.of(owners, self._shards)
        parts = {}
        for i, shard in enumerate(self._shards):
            parts[shard] = part_of(name, data, placement, i)
            if progress is not None:
                progress({"stage": "cut", "done": i + 1, "total": len(self._shards)})
        graph = LocalGraph(name, str(next(self._loads)), data, parts)
        if self._graphs.setdefault(name, graph) is not graph:  # another thread was faster
            raise NameTaken.by_graph(name)
        return loaded_graph(graph, time.monotonic() - began)

    def wait(self, run: str, timeout: float | None, progress: Progress | None) -> RunReply:
        """Executes the ticks of a run until it is over."""
        RunWait.contract.checked(RunWait(run, timeout))
        waited = self._run(run)
        until = None if timeout is None else time.monotonic() + timeout
        told = 0.0
        while (at := waited.standing).state == "running":
            self._refuse_if_closed()
            if waited.asked.paced:
                raise Refused(f"run '{run}' is paced: it makes no progress until it is stepped")
            began = time.monotonic()
            if until is not None and began >= until:
                raise TimedOut.at(run, f"is still running, at tick {at.tick}", timeout or 0.0)
            pause = waited.seconds_to_wait
            if pause > 0:
                time.sleep(pause if until is None else min(pause, max(0.0, until - began)))
                continue
            waited.do_tick(after=at.tick)
            if progress is not None and began - told >= EVENT_INTERVAL:
                told = began
                progress(self._shown(waited))
        if at.cause is not None:
            raise RunFailed(f"run '{run}' failed at tick {at.tick}: {at.error}") from at.cause
        return self._shown(waited)

    def stretches(self, run: str, columns: Sequence[str] | None, tick: int | None) -> Iterator[RowBatch]:
        """Yields the rows in id order, from arrays in memory."""
        RunRows.contract.checked(RunRows(run, None if columns is None else tuple(columns), tick))
        read = self._run(run)
        standing = read.standing
        visible = {c.name: c for c in read.program.columns if not c.hidden}
        for column in columns or ():
            if column not in visible:
                hint = did_you_mean(column, visible)
                raise UnknownColumn(f"run '{run}' has no column '{column}'{hint}; it has: {', '.join(visible)}")
        if standing.state == "failed":
            raise TickNotKept(f"run '{run}' has no result: it is failed {standing.error or ''}".rstrip())
        at = chosen_tick(run, standing.state, read.ticks_kept(standing), tick)
        names = list(visible) if columns is None else list(columns)
        nulls = {name: null for name in names if (null := null_of(visible[name])) is not None}
        values, ids, total = read.columns(standing, at, names), read.graph.data.ids, read.graph.data.node_count
        for first in range(0, max(total, 1), STRETCH):
            part = slice(first, min(first + STRETCH, total))
            yield RowBatch(run, at, first, total, ids[part], {name: values[name][part] for name in names}, nulls)

    def table_parts(self, run: str, table: str, tick: int | None) -> Iterator[TablePart]:
        """Yields the rows of a table by partition, as of the last tick: checkpoints here contain only columns."""
        RunTable.contract.checked(RunTable(run, table, tick))
        read = self._run(run)
        standing = read.standing
        known = known_table(run, read.program, table)
        at = chosen_tick(run, standing.state, [] if standing.state == "failed" else [standing.tick], tick)
        assert at == standing.tick, "no other tick is to choose from"
        parts = parts_of_table(list(read.engines_at_end().values()), known)
        while True:
            try:
                part = next(parts, None)
            except Exception as error:  # raised by the program
                raise unreadable(f"table '{table}' of run '{run}'", error) from error
            if part is None:
                return
            yield part

    def _search(self, asked: RunSearch) -> SearchReply:
        run = self._run(asked.run)
        query = Query.of(asked.words)
        column = text_column(run.program, run.asked.params)
        if column not in run.graph.indexes:
            run.graph.indexes[column] = [Index(part, column) for part in run.graph.parts.values()]
        _, said = search(run.graph.indexes[column], query, asked.top)
        return {"run": run.name, **said}

    def deploy(self, source: bytes, file: str) -> DeployedProgram:
        """Stores a program for the runs of this session."""
        program = program_of(source, file)
        if is_installed(program.name):
            raise BadProgram.installed(program.name)
        before = self._deployed.get(program.name)
        now = self._deployed[program.name] = program_row(program, "deployed", digest_of(source))
        self._programs[program.name] = program
        replaced = before["digest"] if before is not None and before["digest"] != now["digest"] else None
        state = "replaced" if replaced else "deployed" if before is None else "unchanged"
        return {"program": program.name, "state": state, **now, "replaced": replaced}

    def program_name(self, program: str | type[Program]) -> str:
        """Returns the name of a program, and registers a class, which need not be installed here."""
        if isinstance(program, str):
            return program
        self._programs[program.name] = program
        return program.name

    def close(self) -> None:
        """Drops everything. A thread that waits for a run gets an error after the current tick."""
        self._closed = True
        self._graphs.clear()
        self._runs.clear()

    # -- internal --------------------------------------------------------------------------------------------------

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise SessionClosed

    def _status(self, _: Status) -> StatusReply:
        runs = run_counts(list(self._runs.values()))
        return status_reply(self._shards, len(self._graphs), runs, time.monotonic() - self._began)

    def _program_list(self, _: ProgramList) -> ProgramsReply:
        installed = [program_row(one, "installed", installed_digest(one)) for one in installed_programs().values()]
        return {"programs": sorted([*installed, *self._deployed.values()], key=lambda row: row["name"])}

    def _run_list(self, _: RunList) -> RunsReply:
        runs = sorted(self._runs.copy().values(), key=lambda run: run.began)
        return {"runs": [run_row(run) for run in runs if self._is_loaded(run.graph)]}

    def _ticks(self, asked: RunTicks) -> TicksReply:
        run = self._run(asked.run)
        at = run.standing
        return {"run": run.name, "state": at.state, "tick": at.tick, "ticks": run.ticks_kept(at)}

    def _shown(self, run: LocalRun) -> RunReply:
        deployed = self._deployed.get(run.program.name)
        return run_reply(run, installed_digest(run.program) if deployed is None else deployed["digest"])

    def _partitions(self, graph: str | None) -> int:
        return PARTITIONS if graph is None else self._graph(graph).data.partition_count

    def _graph(self, name: str) -> LocalGraph:
        graph = self._graphs.get(name)
        if graph is None:
            raise UnknownGraph.named(name, list(self._graphs))
        return graph

    def _is_loaded(self, graph: LocalGraph) -> bool:
        return self._graphs.get(graph.name) is graph

    def _run(self, name: str) -> LocalRun:
        self._refuse_if_closed()
        run = self._runs.get(name)
        gone = self._dropped.get(name) if run is None or self._is_loaded(run.graph) else run.graph.name
        if gone is not None:
            graph = f"graph '{gone}', which was dropped, and its runs with it"
            raise UnknownRun(f"there is no run '{name}' any more: it belonged to {graph}")
        if run is None:
            raise UnknownRun.named(name, list(self._runs))
        return run

    def _drop(self, asked: GraphDrop) -> DroppedGraph:
        graph = self._meant(asked.graph, asked.load)
        runs = [run for run in list(self._runs.values()) if run.graph is graph]
        using = [run.name for run in runs if run.standing.state == "running"]
        if using and not asked.force:
            raise Refused(
                f"graph '{graph.name}' is in use by {', '.join(using)}: stop them first, or drop "
                "the graph by force (--force)"
            )
        if self._graphs.pop(graph.name, None) is None:  # another thread was faster
            raise UnknownGraph.named(graph.name, list(self._graphs))
        results = sum(run.standing.state in ("completed", "stopped") for run in runs)
        for run in runs:
            run.drop(f"its graph '{graph.name}' was dropped")
            self._dropped[run.name] = graph.name
            self._runs.pop(run.name, None)
        for name in list(self._dropped)[:-DROPPED_REMEMBERED]:
            self._dropped.pop(name, None)
        return {"graph": graph.name, "state": "dropped", "runs": len(runs), "results": results}

    def _start(self, asked: RunStart) -> LocalRun:
        graph = self._meant(asked.graph, asked.load)
        params = dict(asked.params or {})
        try:
            program = self._programs.get(asked.program) or find_program(asked.program, self._deployed)
            program(**params)
        except Exception as error:  # raised by the program
            raise refusal(f"program '{asked.program}'", error) from error
        param_texts(params)
        how = Asked(
            params=params,
            ticks=asked.ticks or program.ticks_default,
            paced=asked.paced,
            interval=asked.interval_seconds or 0.0,
            checkpoint_ticks=asked.checkpoint_ticks,
            check=self._check,
        )
        run = LocalRun(f"{program.name}-{next(self._begun)}", graph, program, how)
        run.begin()
        self._runs[run.name] = run
        return run

    def _step(self, asked: RunStep) -> SteppedRun:
        run = self._run(asked.run)
        self._need_running(run)
        if not run.asked.paced:
            raise Refused(f"run '{run.name}' is not paced: it runs by itself (to step a run, start it with `paced`)")
        at = run.do_tick()
        if at.cause is not None:
            raise RunFailed(f"run '{run.name}' failed before tick {at.tick + 1}: {at.error}") from at.cause
        last = at.last_tick
        return {"run": run.name, "tick": last["tick"], "phases": last["phases"], "cross_bytes": last["cross_bytes"]}

    def _stop(self, asked: RunStop) -> RunReply:
        run = self._run(asked.run)
        self._need_running(run)
        run.do_tick(stop=True)
        return self._shown(run)

    def _meant(self, name: str, load: str | None) -> LocalGraph:
        graph = self._graph(name)
        if load not in (None, graph.load):
            raise UnknownGraph.replaced(name)
        return graph

    def _need_running(self, run: LocalRun) -> None:
        at = run.standing
        if at.state != "running":
            raise Refused(f"run '{run.name}' is already over: it {at.state} after {at.tick} ticks")
