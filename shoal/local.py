"""The embedded default: everything in one process, with no daemon and no socket.

Several shards are several engines side by side; they exchange the same buffers that daemons would, so a script that is
right here is right on a cluster. A run does its ticks while somebody waits for it, or one a `step()`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shoal.errors import (
    BadProgram,
    NameTaken,
    RunFailed,
    ShoalError,
    UnknownColumn,
    UnknownGraph,
    UnknownRun,
    did_you_mean,
)
from shoal.execution.deployed import digest_of, program_of
from shoal.execution.engine import Engine
from shoal.execution.failures import disagreement, failure, phase_place, place
from shoal.execution.installed import find_program, installed_programs, is_installed
from shoal.execution.phase import Phase
from shoal.execution.program import Program, not_converged
from shoal.execution.resume_check import NotResumable, ResumeCheck
from shoal.graph import columns as col
from shoal.graph.graph_data import GraphData
from shoal.graph.part import Part, Placement
from shoal.graph.ring import HashRing
from shoal.graph.slices import part_of
from shoal.reading.search import Index, search, text_column
from shoal.reading.snapshot import chosen_tick
from shoal.reading.stretch import STRETCH, Stretch, null_of
from shoal.reading.tables import TablePart, known_table, parts_of_table
from shoal.session import NAME_RULE, Progress, Session, is_name

EVENT_INTERVAL = 0.1
CHECKPOINTS_KEPT = 3
"""As many ticks of a run as a daemon keeps that was not told otherwise."""
DROPPED_REMEMBERED = 1000

Array: TypeAlias = NDArray[Any]


def local(shards: int = 1, *, check: bool = False) -> Session:
    """A session in this process, with as many shards as wanted; the answers are the same to the bit.

    `check` has each tick done once more, by new instances of the program that go on from what is kept of the last one,
    as after the loss of a machine: a run whose ticks then differ fails, and says in what. For authors' tests.

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


@dataclass
class _LocalGraph:
    name: str
    load: str
    data: GraphData
    parts: dict[str, Part]
    indexes: dict[str, list[Index]] = field(default_factory=dict)
    """Of the texts that were searched, by column."""


@dataclass
class _LocalRun:
    name: str
    graph: _LocalGraph
    program: type[Program]
    engines: dict[str, Engine]
    ticks: int
    paced: bool
    interval: float
    params: dict[str, Any]
    state: str = "running"
    tick: int = 0
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    error: str | None = None
    cause: Exception | None = None
    cross_bytes: int = 0
    last_tick: dict[str, Any] = field(default_factory=dict)
    checkpoint_ticks: int = 0
    check: ResumeCheck | None = None
    checkpoints: dict[int, dict[str, Array]] = field(default_factory=dict)
    """The last ticks that were kept while it went on: by tick, each column over the whole graph."""

    @property
    def ticks_kept(self) -> list[int]:
        """At which ticks it can be read: one that has to converge, once it has."""
        if self.state == "failed":
            return []
        if not self.program.anytime:
            return [self.tick] if self.state == "completed" else []
        over = {self.tick} if self.state != "running" else set()
        return sorted(over | self.checkpoints.keys())[-CHECKPOINTS_KEPT:]

    def keep(self) -> None:
        """Keep this tick, if it is one to be kept."""
        if self.checkpoint_ticks > 0 and self.tick % self.checkpoint_ticks == 0:
            self.checkpoints[self.tick] = self._whole([c.name for c in self.program.columns if not c.hidden])
            for oldest in list(self.checkpoints)[:-CHECKPOINTS_KEPT]:
                del self.checkpoints[oldest]

    def columns(self, tick: int, names: Sequence[str]) -> Mapping[str, Array]:
        """Columns over the whole graph in id order, at a tick that is kept."""
        return self.checkpoints.get(tick) or self._whole(names)

    def _whole(self, names: Sequence[str]) -> dict[str, Array]:
        engines, found = list(self.engines.values()), {}
        for name in names:
            found[name] = np.empty(self.graph.data.node_count, dtype=engines[0].result(name).dtype)
            for engine in engines:
                found[name][engine.part.ordinals] = engine.result(name)
        return found


class LocalBackend:
    """Graphs and runs of this process."""

    def __init__(self, shards: int, *, check: bool = False) -> None:
        self._check = check
        self._shards = tuple(f"{i + 1}" for i in range(shards))
        self._graphs: dict[str, _LocalGraph] = {}
        self._runs: dict[str, _LocalRun] = {}
        self._loads = self._runs_begun = 0
        self._dropped: dict[str, str] = {}
        """Of the last runs that went with their graphs, the graph."""
        self._programs: dict[str, type[Program]] = {}
        self._deployed: dict[str, dict[str, Any]] = {}

    def call(self, command: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a command as a daemon would."""
        match command:
            case "status":
                return {"shard": "local", "state": "joined", "members": {"alive": len(self._shards)}}
            case "graph show":
                return self._show_graph(self._graph(args["graph"]))
            case "graph list":
                return {"graphs": [self._show_graph(graph) for graph in self._graphs.values()]}
            case "graph drop":
                return self._drop(self._graph(args["graph"]), force=bool(args.get("force")))
            case "ring":
                owners = HashRing(self._shards).placement(self._graph(args["graph"]).data.partition_count)
                rows = [{"partition": p, "primary": holders[0], "replicas": []} for p, holders in enumerate(owners)]
                return {"partitions": rows}
            case "program list":
                installed = [describe(program) for program in installed_programs().values()]
                return {"programs": [*installed, *self._deployed.values()]}
            case "run start":
                return self._show_run(self._start(args))
            case "run show":
                return self._show_run(self._run(args["run"]))
            case "run list":
                return {"runs": [self._show_run(run) for run in self._runs.values()]}
            case "run ticks":
                run = self._run(args["run"])
                return {"run": run.name, "state": run.state, "tick": run.tick, "ticks": run.ticks_kept}
            case "run search":
                return self._search(self._run(args["run"]), args["words"], args["top"])
            case "run step":
                return self._step(self._run(args["run"]))
            case "run stop":
                return self._stop(self._run(args["run"]))
            case _:
                raise ShoalError(f"a session in this process does not know '{command}'")

    def load(self, name: str, data: GraphData, progress: Progress | None) -> dict[str, Any]:
        """Cut the graph between the shards."""
        if not is_name(name):
            raise ShoalError(NAME_RULE)
        if name in self._graphs:
            raise NameTaken(f"a graph called '{name}' is loaded already: drop it, or choose another name")
        owners = [holders[0] for holders in HashRing(self._shards).placement(data.partition_count)]
        placement = Placement.of(owners, self._shards)
        parts = {}
        for i, shard in enumerate(self._shards):
            parts[shard] = part_of(name, data, placement, i)
            if progress is not None:
                progress({"stage": "cut", "done": i + 1, "total": len(self._shards)})
        self._loads += 1
        self._graphs[name] = _LocalGraph(name, str(self._loads), data, parts)
        return self._show_graph(self._graphs[name])

    def wait(self, run: str, timeout: float | None, progress: Progress | None) -> dict[str, Any]:
        """Do the ticks of a run until it is over."""
        waited = self._run(run)
        until = None if timeout is None else time.monotonic() + timeout
        told = 0.0
        while waited.state == "running":
            if waited.paced:
                raise ShoalError(f"run '{run}' is paced: nothing happens until it is stepped")
            began = time.monotonic()
            if until is not None and began >= until:
                raise TimeoutError(f"run '{run}' still goes on, at tick {waited.tick}")
            self._do_tick(waited)
            if progress is not None and began - told >= EVENT_INTERVAL:
                told = began
                progress(self._show_run(waited))
            if waited.interval and waited.state == "running":
                time.sleep(max(0.0, began + waited.interval - time.monotonic()))
        if waited.cause is not None:
            raise RunFailed(f"run '{run}' failed at tick {waited.tick}: {waited.error}") from waited.cause
        return self._show_run(waited)

    def stretches(self, run: str, columns: Sequence[str] | None, tick: int | None) -> Iterator[Stretch]:
        """Rows in id order: here they are at hand, all of them."""
        read = self._run(run)
        visible = {c.name: c for c in read.program.columns if not c.hidden}
        for column in columns or ():
            if column not in visible:
                hint = did_you_mean(column, visible)
                raise UnknownColumn(f"run '{run}' has no column '{column}'{hint}; it has: {', '.join(visible)}")
        if read.state == "failed":
            raise ShoalError(f"run '{run}' has no result: it is failed {read.error or ''}".rstrip())
        at = chosen_tick(run, read.state, read.ticks_kept, tick)
        names = list(visible) if columns is None else list(columns)
        nulls = {name: null for name in names if (null := null_of(visible[name])) is not None}
        values, ids, total = read.columns(at, names), read.graph.data.ids, read.graph.data.node_count
        for first in range(0, max(total, 1), STRETCH):
            part = slice(first, min(first + STRETCH, total))
            yield Stretch(run, at, first, total, ids[part], {name: values[name][part] for name in names}, nulls)

    def table_parts(self, run: str, table: str, tick: int | None) -> Iterator[TablePart]:
        """The rows of a table, a partition at a time: of the last tick, for checkpoints are kept of columns alone."""
        read = self._run(run)
        known = known_table(run, read.program, table)
        at = chosen_tick(run, read.state, [] if read.state == "failed" else [read.tick], tick)
        assert at == read.tick, "no other tick is to choose from"
        yield from parts_of_table(list(read.engines.values()), known)

    def _search(self, run: _LocalRun, words: str, count: int) -> dict[str, Any]:
        column = text_column(run.program, run.params)
        if column not in run.graph.indexes:
            run.graph.indexes[column] = [Index(part, column) for part in run.graph.parts.values()]
        _, said = search(run.graph.indexes[column], words, count)
        return {"run": run.name, **said}

    def deploy(self, source: bytes, file: str) -> dict[str, Any]:
        """Keep a program for the runs of this session."""
        program = program_of(source, file)
        if is_installed(program.name):
            raise BadProgram(f"a program called '{program.name}' is installed here: give yours another name")
        before = self._deployed.get(program.name)
        now = self._deployed[program.name] = {**describe(program), "origin": "deployed", "digest": digest_of(source)}
        state = "deployed" if before is None else "unchanged" if before["digest"] == now["digest"] else "replaced"
        self._programs[program.name] = program
        return {"program": program.name, "state": state, **now}

    def program_name(self, program: str | type[Program]) -> str:
        """Here any class will do; it need not be installed."""
        if isinstance(program, str):
            return program
        self._programs[program.name] = program
        return program.name

    def close(self) -> None:
        """Forget everything."""
        self._graphs.clear()
        self._runs.clear()

    # -- within ----------------------------------------------------------------------------------------------------

    def _graph(self, name: str) -> _LocalGraph:
        if name not in self._graphs:
            raise UnknownGraph(f"no graph is called '{name}'{did_you_mean(name, self._graphs)}")
        return self._graphs[name]

    def _run(self, name: str) -> _LocalRun:
        if name in self._dropped:
            graph = f"graph '{self._dropped[name]}', which was dropped, and its runs with it"
            raise UnknownRun(f"there is no run '{name}' any more: it belonged to {graph}")
        if name not in self._runs:
            raise UnknownRun(f"there is no run '{name}'{did_you_mean(name, self._runs)}")
        return self._runs[name]

    def _drop(self, graph: _LocalGraph, *, force: bool) -> dict[str, Any]:
        runs = [run for run in self._runs.values() if run.graph is graph]
        using = [run.name for run in runs if run.state == "running"]
        if using and not force:
            raise ShoalError(
                f"graph '{graph.name}' is in use by {', '.join(using)}: stop that first, or drop it by force"
            )
        del self._graphs[graph.name]
        for run in runs:
            if run.state == "running":
                run.error = f"its graph '{graph.name}' was dropped"
                self._end(run, "failed")
            del self._runs[run.name]
            self._dropped[run.name] = graph.name
        for name in list(self._dropped)[:-DROPPED_REMEMBERED]:
            del self._dropped[name]
        results = sum(run.state in ("completed", "stopped") for run in runs)
        return {"graph": graph.name, "state": "dropped", "runs": len(runs), "results": results}

    def _start(self, args: Mapping[str, Any]) -> _LocalRun:
        name = args["program"]
        program = self._programs.get(name) or find_program(name)
        graph = self._graph(args["graph"])
        if args.get("load") not in (None, graph.load):
            raise UnknownGraph(f"graph '{graph.name}' was dropped, and another one was loaded under its name")
        params = dict(args.get("params") or {})
        ticks = args.get("ticks") or program.ticks_default
        if ticks < 0:
            raise ShoalError("ticks should be a positive number")
        self._runs_begun += 1
        engines = {shard: Engine(part, program(**params)) for shard, part in graph.parts.items()}
        run = _LocalRun(
            name=f"{program.name}-{self._runs_begun}",
            graph=graph,
            program=program,
            engines=engines,
            ticks=ticks,
            paced=bool(args.get("paced")),
            interval=float(args.get("interval_seconds") or 0.0),
            params=params,
            checkpoint_ticks=int(args.get("checkpoint_ticks") or 0),
        )
        self._runs[run.name] = run
        if self._check:
            run.check = ResumeCheck(lambda: program(**params), graph.parts, graph.data.ids)
        try:
            self._exchange(run, Phase.ADVANCE)
            if run.check is not None:
                run.check.keep(0, engines)
        except Exception as error:  # the program's own: it has failed its run, and who waits for it will hear
            self._fail(run, error, Phase.ADVANCE)
        return run

    def _step(self, run: _LocalRun) -> dict[str, Any]:
        self._need_running(run)
        if not run.paced:
            raise ShoalError(f"run '{run.name}' is not paced: it goes by itself while it is waited for")
        self._do_tick(run)
        if run.cause is not None:
            raise RunFailed(f"run '{run.name}' failed before tick {run.tick + 1}: {run.error}") from run.cause
        return run.last_tick

    def _stop(self, run: _LocalRun) -> dict[str, Any]:
        self._need_running(run)
        self._do_tick(run, stop=True)
        return self._show_run(run)

    def _need_running(self, run: _LocalRun) -> None:
        if run.state != "running":
            raise ShoalError(f"run '{run.name}' is over already: it {run.state} after {run.tick} ticks")

    def _do_tick(self, run: _LocalRun, *, stop: bool = False) -> None:
        run.tick += 1
        run.last_tick = {"tick": run.tick, "phases": {}, "cross_bytes": 0}
        phase = Phase.ADVANCE
        try:
            for phase in run.program.phases():
                self._exchange(run, phase)
            says = {shard: bool(engine.halted()) for shard, engine in run.engines.items()}
            if run.check is not None:
                run.check.compare(run.tick, run.engines, halted=all(says.values()))
        except Exception as error:  # the same
            self._fail(run, error, phase)
            run.tick -= 1
            return
        halted = all(says.values())
        if not halted and any(says.values()):
            run.error = disagreement(run.tick, next(shard for shard, over in says.items() if not over))
            run.tick -= 1
            self._end(run, "failed")
            return
        run.keep()
        if stop and not halted:
            self._end(run, "stopped")
        elif run.tick >= run.ticks and not halted and not run.program.anytime:
            run.error = not_converged(run.tick)
            self._end(run, "failed")
        elif halted or run.tick >= run.ticks:
            self._end(run, "completed")

    def _fail(self, run: _LocalRun, error: Exception, phase: Phase) -> None:
        if isinstance(error, NotResumable):
            run.cause, run.error = error, str(error)
            self._end(run, "failed")
            return
        run.cause, run.error = error, failure(error, place(error, run.tick, phase_place(phase, run.tick)))
        self._end(run, "failed")

    def _exchange(self, run: _LocalRun, phase: Phase) -> None:
        """Run one phase on every engine, then hand each what the others sent."""
        outgoing, seconds = {}, {}
        for shard, engine in run.engines.items():
            began = time.perf_counter()
            outgoing[shard] = engine.run(run.tick, phase)
            seconds[shard] = time.perf_counter() - began
        for shard, engine in run.engines.items():
            engine.settle(phase, {peer: sent.to(shard) for peer, sent in outgoing.items() if peer != shard})
        crossed = sum(sent.nbytes for sent in outgoing.values())
        run.cross_bytes += crossed
        if run.last_tick:
            run.last_tick["phases"][phase.word] = seconds
            run.last_tick["cross_bytes"] += crossed

    def _end(self, run: _LocalRun, state: str) -> None:
        run.state, run.ended = state, time.monotonic()

    def _show_graph(self, graph: _LocalGraph) -> dict[str, Any]:
        data = graph.data
        return {
            "graph": graph.name,
            "load": graph.load,
            "nodes": data.node_count,
            "edges": data.edge_count,
            "directed": data.directed,
            "partitions": data.partition_count,
            "cross_edges": sum(part.cross_edges for part in graph.parts.values()),
            "state": "ready",
            "shards": {
                shard: {
                    "nodes": part.size,
                    "edges": part.held_edges,
                    "ghosts": part.ghost_count,
                    "bytes": part.nbytes,
                }
                for shard, part in graph.parts.items()
            },
            "node_columns": {name: col.type_name(column) for name, column in data.node_columns.items()},
            "edge_columns": {name: col.type_name(column) for name, column in data.edge_columns.items()},
        }

    def _show_run(self, run: _LocalRun) -> dict[str, Any]:
        ended = run.ended if run.ended is not None else time.monotonic()
        return {
            "run": run.name,
            "program": run.program.name,
            "graph": run.graph.name,
            "load": run.graph.load,
            "params": run.params,
            "columns": [column.name for column in run.program.columns if not column.hidden],
            "state": run.state,
            "outcome": None if run.state == "running" else run.state,
            "place": None,
            "tick": run.tick,
            "ticks": run.ticks if run.state == "running" else run.tick,
            "seconds": ended - run.began,
            "error": run.error,
            "figures": next(iter(run.engines.values())).shown(),
            "last_tick": run.last_tick,
            "totals": {
                "nodes": run.graph.data.node_count,
                "edges": run.graph.data.edge_count,
                "cross_edges": sum(part.cross_edges for part in run.graph.parts.values()),
                "cross_bytes": run.cross_bytes,
            },
        }


def describe(program: type[Program]) -> dict[str, Any]:
    """A program as `program list` shows it."""
    return {
        "name": program.name,
        "summary": program.summary(),
        "columns": [column.name for column in program.columns if not column.hidden],
        "params": [
            {"name": name, "type": param.kind.__name__, "default": param.default, "doc": param.doc}
            for name, param in program.parameters().items()
        ],
    }
