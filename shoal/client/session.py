"""The objects that scripts use: a session, its graphs and their runs, the same in one process and on a cluster.

    with shoal.local(shards=4) as session:                    # or shoal.connect("/run/shoal/admin.sock")
        graph = session.load("deps", nodes="nodes.csv.gz", edges="edges.csv.gz")
        run = graph.run("pagerank", ticks=30)
        for node, rank in run.result("rank").top(20):
            print(node, rank)

A session sends commands (`shoal.api.commands`) to a `Backend`, so both kinds of session offer the same operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeAlias, TypeVar

from shoal.api.command import Command
from shoal.api.commands.cluster import Ring, Status, StatusReply
from shoal.api.commands.graphs import DroppedGraph, GraphDrop, GraphList, GraphReply, GraphShow, LoadedGraph
from shoal.api.commands.programs import DeployedProgram, ProgramList, ProgramRow
from shoal.api.commands.results import RunSearch, RunTicks
from shoal.api.commands.runs import RunList, RunReply, RunShow, RunStart, RunStep, RunStop, SteppedRun
from shoal.api.errors import RunFailed, TickNotKept, UnknownGraph
from shoal.graph.graph_data import PARTITIONS, GraphData
from shoal.program.deployed import source_of
from shoal.program.program import Program
from shoal.query.result import ColumnResult
from shoal.query.search import Hit
from shoal.query.snapshot import Reading, Snapshot, Source, snapshot
from shoal.query.tables import TableResult

R = TypeVar("R")
Progress: TypeAlias = Callable[[Mapping[str, Any]], None]


class Backend(Source, Protocol):
    """Holds graphs and executes runs."""

    def load(self, name: str, data: GraphData, progress: Progress | None) -> LoadedGraph:
        """Stores a whole graph."""
        ...

    def wait(self, run: str, timeout: float | None, progress: Progress | None) -> RunReply:
        """Waits until a run is over."""
        ...

    def deploy(self, source: bytes, file: str) -> DeployedProgram:
        """Stores a program's source."""
        ...

    def program_name(self, program: str | type[Program]) -> str:
        """Returns the name under which this backend knows a program."""
        ...

    def close(self) -> None:
        """Releases all resources."""
        ...


class Session:
    """A connection to a cluster, or its counterpart in this process."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the session; on a cluster, graphs and runs continue to exist."""
        self._backend.close()

    def ask(self, command: Command[R]) -> R:
        """Executes a command of the admin socket (`shoal.api.commands`) and returns its reply.

        A session in this process answers those that its own methods use. Raises the command's errors.
        """
        return self._backend.call(command)

    def load(
        self,
        name: str,
        edges: Any = None,
        nodes: Any = None,
        *,
        data: GraphData | None = None,
        types: Mapping[str, str] | None = None,
        undirected: bool = False,
        partitions: int = PARTITIONS,
        quote: str = "auto",
        progress: Progress | None = None,
    ) -> Graph:
        """Loads a graph from files (CSV, TSV, optionally gzipped, or Parquet), or from `data` made by `shoal.from_...`.

        With `undirected`, each row of an edge file is an edge both ways; `data` already has a direction. `quote`
        defines the meaning of quotes in CSV and TSV files, see `shoal.read_graph`. Raises `BadRow` with file, line and
        reason, `BadGraph`, or `NameTaken`; a failed load stores nothing.
        """
        from shoal.graph.sources import read_graph

        if (data is None) == (edges is None):
            raise ValueError("give either edges (a file) or data (from shoal.from_arrays or shoal.from_networkx)")
        if data is None:
            how: dict[str, Any] = {"undirected": undirected, "partition_count": partitions, "quote": quote}
            data = read_graph(nodes=nodes, edges=edges, types=types, **how)
        elif undirected and data.directed:
            raise ValueError("the data is directed: pass undirected=True when you create it (shoal.from_arrays)")
        self._backend.load(name, data, progress)
        return self.graph(name)

    def graph(self, name: str) -> Graph:
        """Returns a loaded graph. Raises `UnknownGraph`."""
        return Graph(self._backend, self._backend.call(GraphShow(name)))

    def graphs(self) -> list[Graph]:
        """Returns all loaded graphs."""
        return [self.graph(row["graph"]) for row in self._backend.call(GraphList())["graphs"]]

    def drop(self, name: str, *, force: bool = False) -> DroppedGraph:
        """Deletes a graph with its runs and their results; the returned dict has their number.

        While runs on the graph are in progress or queued, this requires `force`, and ends them.
        """
        return self._backend.call(GraphDrop(name, force))

    def get_run(self, name: str) -> Run:
        """Returns a run by its name. Raises `UnknownRun`."""
        return Run(self._backend, self._backend.call(RunShow(name)))

    def runs(self) -> list[Run]:
        """Returns all runs, in the order in which they began."""
        return [self.get_run(row["run"]) for row in self._backend.call(RunList())["runs"]]

    def programs(self) -> list[ProgramRow]:
        """Returns the programs that can be run, with their parameters."""
        return self._backend.call(ProgramList())["programs"]

    def deploy(self, program: str | Path | type[Program]) -> DeployedProgram:
        """Stores a program on every shard, if it is not installed there: a path, or a class in a file of its own.

        The whole file is deployed; it can import installed packages, but no file beside it. Another version of the
        program is replaced, except for runs in progress. A cluster has to allow it (programs.deploy). Raises
        `BadProgram`.
        """
        source, file = source_of(program)
        return self._backend.deploy(source, file)

    def status(self) -> StatusReply:
        """Returns the state of the shard that answers."""
        return self._backend.call(Status())


class Graph:
    """One load of a graph. Once it is dropped, calls raise `UnknownGraph`, even if another graph has its name."""

    def __init__(self, backend: Backend, shown: GraphReply) -> None:
        self._backend, self._shown = backend, shown

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}: {self.node_count} nodes, {self.edge_count} edges>"

    @property
    def name(self) -> str:
        """The name of the graph."""
        return self._shown["graph"]

    @property
    def load(self) -> str:
        """The number of this load; another graph of the same name has a different one."""
        return self._shown["load"]

    @property
    def node_count(self) -> int:
        """The number of nodes, over all shards."""
        return self._shown["nodes"]

    @property
    def edge_count(self) -> int:
        """The number of edges as loaded, over all shards, counting parallel edges."""
        return self._shown["edges"]

    @property
    def directed(self) -> bool:
        """Whether edges are directed."""
        return self._shown["directed"]

    @property
    def info(self) -> GraphReply:
        """The columns, and what each shard holds."""
        return self._shown

    def at(self, tick: int | None = None, run: str | None = None) -> Snapshot:
        """Returns what a run on this graph had computed after `tick`, by default the last tick that can be read.

        `run` is a name, by default that of the run that began last on this graph. Raises `TickNotKept`.
        """
        if run is None:
            runs = [row["run"] for row in self._backend.call(RunList())["runs"] if row["load"] == self.load]
            if not runs:
                if self._backend.call(GraphShow(self.name))["load"] != self.load:
                    raise UnknownGraph(f"graph '{self.name}' was dropped, and another one was loaded under its name")
                raise TickNotKept(f"no run on graph '{self.name}' can be read: there was none")
            run = runs[-1]
        return snapshot(self._backend, run, tick)

    def start(
        self,
        program: str | type[Program],
        *,
        ticks: int = 0,
        interval: float | None = None,
        paced: bool = False,
        checkpoint: int | None = None,
        queue: bool = False,
        **params: Any,
    ) -> Run:
        """Starts a program and returns at once.

        `ticks` 0 uses the program's `ticks_default`; `interval` is the least number of seconds from tick to tick. A
        paced run executes a tick only on `step()`. A cluster writes a checkpoint to the disks of all holders every
        `checkpoint` ticks; with None or 0 by time, as the daemons are configured, with -1 only at the end. While
        ticks.runs_max runs are in progress, a cluster refuses another one; with `queue` it waits for its turn. Raises
        `UnknownProgram` and `BadParameter`.
        """
        asked = RunStart(
            self._backend.program_name(program),
            self.name,
            ticks=ticks,
            params=params,
            interval_seconds=interval,
            paced=paced,
            checkpoint_ticks=checkpoint or 0,
            queue=queue,
            load=self.load,
        )
        return Run(self._backend, self._backend.call(asked))

    def run(
        self,
        program: str | type[Program],
        *,
        ticks: int = 0,
        timeout: float | None = None,
        progress: Progress | None = None,
        checkpoint: int | None = None,
        queue: bool = False,
        **params: Any,
    ) -> Run:
        """Runs a program to its end. See `start` and `Run.wait`, whose arguments and errors it has."""
        started = self.start(program, ticks=ticks, checkpoint=checkpoint, queue=queue, **params)
        return started.wait(timeout=timeout, progress=progress)


class Run:
    """One execution of a program on a graph. `state`, `tick` and `place` are as of the last `show` or `wait`."""

    def __init__(self, backend: Backend, shown: RunReply) -> None:
        self._backend, self._shown = backend, shown

    def __repr__(self) -> str:
        shown = self._shown  # read once: another thread may refresh it meanwhile
        return f"<Run {shown['run']!r}: {shown['state']} at tick {shown['tick']}>"

    @property
    def name(self) -> str:
        """The name of the run."""
        return self._shown["run"]

    @property
    def state(self) -> str:
        """One of queued, running, stopping, completed, stopped, failed, and expired, which is a run that has ended and
        whose result is no longer kept."""
        return self._shown["state"]

    @property
    def tick(self) -> int:
        """The last committed tick."""
        return self._shown["tick"]

    @property
    def place(self) -> int | None:
        """The position of a queued run, 1 for the next to begin; otherwise None."""
        return self._shown["place"]

    def show(self) -> RunReply:
        """Refreshes `state`, `tick` and `place`, and returns the details, also of each shard."""
        shown = self._shown = self._backend.call(RunShow(self.name))
        return shown.copy()

    def wait(self, timeout: float | None = None, progress: Progress | None = None) -> Run:
        """Waits until the run is over, at most `timeout` seconds, and returns it.

        `progress` is called with what `show` returns, up to ten times a second. Raises `RunFailed` if the run ended
        without a result, `TimedOut` if it is still in progress.
        """
        try:
            shown = self._shown = self._backend.wait(self.name, timeout, progress)
        except RunFailed:  # a backend raises this with the program's own exception as its cause
            self.show()
            raise
        if shown["state"] == "failed":
            raise RunFailed(f"run '{self.name}' failed at tick {shown['tick']}: {shown['error']}")
        return self

    def step(self) -> SteppedRun:
        """Executes one tick of a paced run and returns its result: `tick`, `phases` in seconds, `cross_bytes`."""
        return self._backend.call(RunStep(self.name))

    def steps(self, count: int) -> Iterator[SteppedRun]:
        """Executes `count` ticks of a paced run and yields the result of each."""
        for _ in range(count):
            yield self.step()

    def stop(self) -> Run:
        """Ends the run after its current tick."""
        self._shown = self._backend.call(RunStop(self.name))
        return self

    def ticks_kept(self) -> list[int]:
        """Returns the ticks at which the run can be read, ascending: the last few checkpoints, and the last tick once
        the run is over."""
        return self._backend.call(RunTicks(self.name))["ticks"]

    def at(self, tick: int | None = None) -> Snapshot:
        """Returns the run as of `tick`, by default the last one that can be read. Raises `TickNotKept`."""
        return snapshot(self._backend, self.name, tick)

    def result(self, column: str) -> ColumnResult:
        """Returns a column, whole and in id order; while the run is in progress, as of its last checkpoint.

        Raises `UnknownColumn` and `TickNotKept`.
        """
        return self._now.result(column)

    def stream(self, columns: Sequence[str] | None = None, tick: int | None = None) -> Iterator[Any]:
        """Yields `pyarrow.RecordBatch`es in id order: `id` and the columns. See `Reading.stream`."""
        return Reading(self._backend, self.name, tick).stream(columns)

    def table(self, columns: Sequence[str] | None = None) -> Any:
        """Returns the columns as one `pyarrow.Table`."""
        return self._now.table(columns)

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """Returns the columns as a `pandas.DataFrame`."""
        return self._now.to_pandas(columns)

    def save(self, path: str | Path, columns: Sequence[str] | None = None) -> int:
        """Writes the columns to a `.csv`, `.parquet` or `.arrow` file. See `Reading.save`."""
        return self._now.save(path, columns)

    def table_rows(self, name: str) -> TableResult:
        """Returns a table that the program built beside the graph, such as a colony's `edges`. See
        `Reading.table_rows`."""
        return self._now.table_rows(name)

    def ring(self) -> list[str]:
        """Returns the shard that currently serves each partition of the graph, by partition."""
        rows = self._backend.call(Ring(self.show()["graph"]))["partitions"]
        return [str(row["primary"]) for row in rows]

    def search(self, words: str, k: int = 10) -> list[Hit]:
        """Returns the `k` documents of a `knowledge` run that match the words best, best first."""
        found = self._backend.call(RunSearch(self.name, words, k))
        return [Hit(row["id"], row["score"]) for row in found["hits"]]

    @property
    def _now(self) -> Reading:
        return Reading(self._backend, self.name, None)
