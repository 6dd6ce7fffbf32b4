"""The embedded backend: everything in one process, with no daemon and no socket.

Several shards are several engines side by side that exchange the same buffers as daemons, so a script that is correct
here is correct on a cluster. A run executes ticks while a caller waits for it, or one for each `step()`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from shoal.api.errors import (
    BadProgram,
    NameTaken,
    Refused,
    RunFailed,
    TickNotKept,
    TimedOut,
    UnknownColumn,
    UnknownGraph,
    UnknownRun,
    Usage,
    did_you_mean,
)
from shoal.client.local_replies import describe, graph_reply, run_reply
from shoal.client.local_run import Asked, LocalGraph, LocalRun
from shoal.client.session import NAME_RULE, Progress, Session, is_name
from shoal.graph.graph_data import GraphData
from shoal.graph.partitions import part_of
from shoal.graph.ring import HashRing
from shoal.graph.shard_graph import Placement
from shoal.program.deployed import digest_of, program_of
from shoal.program.installed import find_program, installed_programs, is_installed
from shoal.program.program import Program
from shoal.query.rows import STRETCH, RowBatch, null_of
from shoal.query.search import Index, search, text_column
from shoal.query.snapshot import chosen_tick
from shoal.query.tables import TablePart, known_table, parts_of_table

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
        """The graph of each of the last runs that were dropped with their graphs."""
        self._programs: dict[str, type[Program]] = {}
        self._deployed: dict[str, dict[str, Any]] = {}

    def call(self, command: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Answers a command as a daemon would."""
        self._refuse_if_closed()
        match command:
            case "status":
                return {"shard": "local", "state": "joined", "members": {"alive": len(self._shards)}}
            case "graph show":
                return graph_reply(self._graph(args["graph"]))
            case "graph list":
                return {"graphs": [graph_reply(graph) for graph in list(self._graphs.values())]}
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
                return run_reply(self._start(args))
            case "run show":
                return run_reply(self._run(args["run"]))
            case "run list":
                runs = sorted(self._runs.copy().values(), key=lambda run: run.began)
                return {"runs": [run_reply(run) for run in runs if self._is_loaded(run.graph)]}
            case "run ticks":
                run = self._run(args["run"])
                at = run.standing
                return {"run": run.name, "state": at.state, "tick": at.tick, "ticks": run.ticks_kept(at)}
            case "run search":
                return self._search(self._run(args["run"]), args["words"], args["top"])
            case "run step":
                return self._step(self._run(args["run"]))
            case "run stop":
                return self._stop(self._run(args["run"]))
            case _:
                raise Refused(f"a session in this process does not answer '{command}'")

    def load(self, name: str, data: GraphData, progress: Progress | None) -> dict[str, Any]:
        """Cuts the graph into shards."""
        self._refuse_if_closed()
        if not is_name(name):
            raise Usage(NAME_RULE)
        if name in self._graphs:
            raise NameTaken(_taken(name))
        owners = [holders[0] for holders in HashRing(self._shards).placement(data.partition_count)]
        placement = Placement.of(owners, self._shards)
        parts = {}
        for i, shard in enumerate(self._shards):
            parts[shard] = part_of(name, data, placement, i)
            if progress is not None:
                progress({"stage": "cut", "done": i + 1, "total": len(self._shards)})
        graph = LocalGraph(name, str(next(self._loads)), data, parts)
        if self._graphs.setdefault(name, graph) is not graph:  # another thread was quicker
            raise NameTaken(_taken(name))
        return graph_reply(graph)

    def wait(self, run: str, timeout: float | None, progress: Progress | None) -> dict[str, Any]:
        """Executes the ticks of a run until it is over."""
        waited = self._run(run)
        until = None if timeout is None else time.monotonic() + timeout
        told = 0.0
        while (at := waited.standing).state == "running":
            self._refuse_if_closed()
            if waited.asked.paced:
                raise Refused(f"run '{run}' is paced: nothing happens until it is stepped")
            began = time.monotonic()
            if until is not None and began >= until:
                raise TimedOut(f"run '{run}' still goes on, at tick {at.tick}")
            pause = waited.seconds_to_wait
            if pause > 0:
                time.sleep(pause if until is None else min(pause, max(0.0, until - began)))
                continue
            waited.do_tick(after=at.tick)
            if progress is not None and began - told >= EVENT_INTERVAL:
                told = began
                progress(run_reply(waited))
        if at.cause is not None:
            raise RunFailed(f"run '{run}' failed at tick {at.tick}: {at.error}") from at.cause
        return run_reply(waited)

    def stretches(self, run: str, columns: Sequence[str] | None, tick: int | None) -> Iterator[RowBatch]:
        """Yields the rows in id order, from arrays in memory."""
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
        read = self._run(run)
        standing = read.standing
        known = known_table(run, read.program, table)
        at = chosen_tick(run, standing.state, [] if standing.state == "failed" else [standing.tick], tick)
        assert at == standing.tick, "no other tick is to choose from"
        yield from parts_of_table(list(read.engines_at_end().values()), known)

    def _search(self, run: LocalRun, words: str, count: int) -> dict[str, Any]:
        column = text_column(run.program, run.asked.params)
        if column not in run.graph.indexes:
            run.graph.indexes[column] = [Index(part, column) for part in run.graph.parts.values()]
        _, said = search(run.graph.indexes[column], words, count)
        return {"run": run.name, **said}

    def deploy(self, source: bytes, file: str) -> dict[str, Any]:
        """Stores a program for the runs of this session."""
        program = program_of(source, file)
        if is_installed(program.name):
            raise BadProgram(f"a program called '{program.name}' is installed here: give yours another name")
        before = self._deployed.get(program.name)
        now = self._deployed[program.name] = {**describe(program), "origin": "deployed", "digest": digest_of(source)}
        state = "deployed" if before is None else "unchanged" if before["digest"] == now["digest"] else "replaced"
        self._programs[program.name] = program
        return {"program": program.name, "state": state, **now}

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

    # -- within ----------------------------------------------------------------------------------------------------

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Refused("the session is closed: open another (shoal.local)")

    def _graph(self, name: str) -> LocalGraph:
        graph = self._graphs.get(name)
        if graph is None:
            raise UnknownGraph(f"no graph is called '{name}'{did_you_mean(name, list(self._graphs))}")
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
            raise UnknownRun(f"there is no run '{name}'{did_you_mean(name, list(self._runs))}")
        return run

    def _drop(self, graph: LocalGraph, *, force: bool) -> dict[str, Any]:
        runs = [run for run in list(self._runs.values()) if run.graph is graph]
        using = [run.name for run in runs if run.standing.state == "running"]
        if using and not force:
            raise Refused(f"graph '{graph.name}' is in use by {', '.join(using)}: stop that first, or drop it by force")
        if self._graphs.pop(graph.name, None) is None:  # another thread was quicker
            raise UnknownGraph(f"no graph is called '{graph.name}'")
        results = sum(run.standing.state in ("completed", "stopped") for run in runs)
        for run in runs:
            run.drop(f"its graph '{graph.name}' was dropped")
            self._dropped[run.name] = graph.name
            self._runs.pop(run.name, None)
        for name in list(self._dropped)[:-DROPPED_REMEMBERED]:
            self._dropped.pop(name, None)
        return {"graph": graph.name, "state": "dropped", "runs": len(runs), "results": results}

    def _start(self, args: Mapping[str, Any]) -> LocalRun:
        name = args["program"]
        program = self._programs.get(name) or find_program(name)
        graph = self._graph(args["graph"])
        if args.get("load") not in (None, graph.load):
            raise UnknownGraph(f"graph '{graph.name}' was dropped, and another one was loaded under its name")
        asked = Asked(
            params=dict(args.get("params") or {}),
            ticks=args.get("ticks") or program.ticks_default,
            paced=bool(args.get("paced")),
            interval=float(args.get("interval_seconds") or 0.0),
            checkpoint_ticks=int(args.get("checkpoint_ticks") or 0),
            check=self._check,
        )
        if asked.ticks < 0:
            raise Usage(f"ticks should be 0 or more, not {asked.ticks}")
        run = LocalRun(f"{program.name}-{next(self._begun)}", graph, program, asked)
        run.begin()
        self._runs[run.name] = run
        return run

    def _step(self, run: LocalRun) -> dict[str, Any]:
        self._need_running(run)
        if not run.asked.paced:
            raise Refused(f"run '{run.name}' is not paced: it goes by itself while it is waited for")
        at = run.do_tick()
        if at.cause is not None:
            raise RunFailed(f"run '{run.name}' failed before tick {at.tick + 1}: {at.error}") from at.cause
        return dict(at.last_tick)

    def _stop(self, run: LocalRun) -> dict[str, Any]:
        self._need_running(run)
        run.do_tick(stop=True)
        return run_reply(run)

    def _need_running(self, run: LocalRun) -> None:
        at = run.standing
        if at.state != "running":
            raise Refused(f"run '{run.name}' is over already: it {at.state} after {at.tick} ticks")


def _taken(name: str) -> str:
    return f"a graph called '{name}' is loaded already: drop it, or choose another name"
