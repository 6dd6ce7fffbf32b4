"""What a script works with: a session, its graphs and their runs. The same whether all is in this process or a cluster.

    with shoal.local(shards=4) as session:                    # or shoal.connect("/run/shoal/admin.sock")
        graph = session.load("deps", nodes="nodes.csv.gz", edges="edges.csv.gz")
        run = graph.run("pagerank", ticks=30)
        for node, rank in run.result("rank").top(20):
            print(node, rank)

A session speaks to a `Backend` in the vocabulary of the admin socket, so what one can do the other can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, TypeAlias

from shoal.api.errors import RunFailed, TickNotKept, UnknownGraph
from shoal.graph.graph_data import PARTITIONS, GraphData
from shoal.program.deployed import source_of
from shoal.program.program import Program
from shoal.query.result import ColumnResult
from shoal.query.search import Hit
from shoal.query.snapshot import Reading, Snapshot, Source, snapshot
from shoal.query.tables import TableResult

Progress: TypeAlias = Callable[[Mapping[str, Any]], None]


NAME_RULE: Final = "a graph's name has 1 to 63 letters, digits, '.', '_' and '-'"


def is_name(name: str) -> bool:
    """Whether a graph may be called so."""
    return 0 < len(name) <= 63 and all(c.isalnum() or c in "._-" for c in name)


class Backend(Source, Protocol):
    """Where graphs live and runs happen."""

    def load(self, name: str, data: GraphData, progress: Progress | None) -> dict[str, Any]:
        """Take a whole graph."""
        ...

    def wait(self, run: str, timeout: float | None, progress: Progress | None) -> dict[str, Any]:
        """Wait until a run is over."""
        ...

    def deploy(self, source: bytes, file: str) -> dict[str, Any]:
        """Take a program's source."""
        ...

    def program_name(self, program: str | type[Program]) -> str:
        """The name under which this backend knows a program."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class Session:
    """A cluster, or its stand-in in this process."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the backend; on a cluster, graphs and runs go on without us."""
        self._backend.close()

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
        """Load a graph from files (CSV, TSV, Parquet, also gzipped), or from `data` made by `shoal.from_...`.

        `undirected`: each row of a file is an edge both ways; `data` knows it already. `quote`: what quotes in a CSV or
        TSV file mean, see `shoal.read_graph`. Raises `BadRow` naming file, line and reason; nothing of such a load is
        kept.
        """
        from shoal.graph.sources import read_graph

        if (data is None) == (edges is None):
            raise ValueError("give either edges (a file) or data (from shoal.from_arrays or shoal.from_networkx)")
        if data is None:
            how: dict[str, Any] = {"undirected": undirected, "partition_count": partitions, "quote": quote}
            data = read_graph(nodes=nodes, edges=edges, types=types, **how)
        elif undirected and data.directed:
            raise ValueError("the data is directed: say undirected=True where it is made (shoal.from_arrays)")
        self._backend.load(name, data, progress)
        return self.graph(name)

    def graph(self, name: str) -> Graph:
        """A graph that is loaded."""
        return Graph(self._backend, self._backend.call("graph show", {"graph": name}))

    def graphs(self) -> list[Graph]:
        """All graphs that are loaded."""
        return [self.graph(row["graph"]) for row in self._backend.call("graph list", {})["graphs"]]

    def drop(self, name: str, *, force: bool = False) -> dict[str, Any]:
        """Forget a graph, its runs and their results; how many went is in the answer.

        While runs on it go on or are queued only with `force`, and they end with it.
        """
        return self._backend.call("graph drop", {"graph": name, "force": force})

    def get_run(self, name: str) -> Run:
        """A run by its name."""
        return Run(self._backend, self._backend.call("run show", {"run": name}))

    def runs(self) -> list[Run]:
        """All runs, in the order in which they began."""
        return [self.get_run(row["run"]) for row in self._backend.call("run list", {})["runs"]]

    def programs(self) -> list[dict[str, Any]]:
        """What can be run, with its parameters."""
        return list(self._backend.call("program list", {})["programs"])

    def deploy(self, program: str | Path | type[Program]) -> dict[str, Any]:
        """Have every shard keep a program that is not installed there: a path, or a class in a file of its own.

        The whole file is what is deployed; it imports what is installed, and nothing beside it. Another version of the
        program is replaced; runs that go on keep theirs. A cluster has to allow it (programs.deploy). Raises
        `BadProgram`.
        """
        source, file = source_of(program)
        return self._backend.deploy(source, file)

    def status(self) -> dict[str, Any]:
        """The state of the shard that answers."""
        return self._backend.call("status", {})


class Graph:
    """A graph that is loaded: this load of it. Once it is dropped nothing can be done with it any more, even if another
    one was loaded under its name."""

    def __init__(self, backend: Backend, shown: Mapping[str, Any]) -> None:
        self._backend, self._shown = backend, shown

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}: {self.node_count} nodes, {self.edge_count} edges>"

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._shown["graph"])

    @property
    def load(self) -> str:
        """The number of this load of it: another graph of the same name has another one."""
        return str(self._shown["load"])

    @property
    def node_count(self) -> int:
        """Nodes, over all shards."""
        return int(self._shown["nodes"])

    @property
    def edge_count(self) -> int:
        """Edges as they were loaded, over all shards, parallel ones each."""
        return int(self._shown["edges"])

    @property
    def directed(self) -> bool:
        """Whether an edge leads one way only."""
        return bool(self._shown["directed"])

    @property
    def info(self) -> Mapping[str, Any]:
        """How it lies on the shards, and its columns."""
        return self._shown

    def at(self, tick: int | None = None, run: str | None = None) -> Snapshot:
        """What a run on this graph had computed after a tick, without one after the last that can be read.

        `run` is a name; without it, it is the run that began last here. Raises `TickNotKept`.
        """
        if run is None:
            runs = [row["run"] for row in self._backend.call("run list", {})["runs"] if row["load"] == self.load]
            if not runs:
                if self._backend.call("graph show", {"graph": self.name})["load"] != self.load:
                    raise UnknownGraph(f"graph '{self.name}' was dropped, and another one was loaded under its name")
                raise TickNotKept(f"no run on graph '{self.name}' can be read: there was none")
            run = str(runs[-1])
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
        """Start a program and return at once. `ticks` 0 leaves it to the program; `interval` is seconds a tick.

        A paced run waits for `step()`. On a cluster, the state is on the disks of all holders every `checkpoint` ticks;
        None or 0: by time, as the daemons are configured; -1: only at the end. Where as many runs go on as may
        (ticks.runs_max), a run is refused; with `queue` it waits for its turn.
        """
        args = {
            "program": self._backend.program_name(program),
            "graph": self.name,
            "load": self.load,
            "ticks": ticks,
            "params": params,
            "interval_seconds": interval,
            "paced": paced,
            "checkpoint_ticks": checkpoint,
            "queue": queue or None,
        }
        return Run(self._backend, self._backend.call("run start", {k: v for k, v in args.items() if v is not None}))

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
        """Run a program to its end. `progress` is called now and then with what `Run.show` gives."""
        started = self.start(program, ticks=ticks, checkpoint=checkpoint, queue=queue, **params)
        return started.wait(timeout=timeout, progress=progress)


class Run:
    """One execution of a program on a graph."""

    def __init__(self, backend: Backend, shown: Mapping[str, Any]) -> None:
        self._backend, self._shown = backend, dict(shown)

    def __repr__(self) -> str:
        shown = self._shown  # once: another thread may look again meanwhile
        return f"<Run {shown['run']!r}: {shown['state']} at tick {shown['tick']}>"

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._shown["run"])

    @property
    def state(self) -> str:
        """As of the last look: queued, running, stopping, completed, stopped, failed, or expired: it has ended, and its
        result is not kept any more."""
        return str(self._shown["state"])

    @property
    def tick(self) -> int:
        """The last committed tick, as of the last look."""
        return int(self._shown["tick"])

    @property
    def place(self) -> int | None:
        """Of a queued run, as of the last look: 1 is the next to begin."""
        return self._shown.get("place")

    def show(self) -> dict[str, Any]:
        """Look again: where it stands, on each shard."""
        shown = self._shown = self._backend.call("run show", {"run": self.name})
        return dict(shown)

    def wait(self, timeout: float | None = None, progress: Progress | None = None) -> Run:
        """Wait until it is over. Raises `RunFailed` if it ended without a result, `TimeoutError` if it goes on."""
        try:
            shown = self._shown = self._backend.wait(self.name, timeout, progress)
        except RunFailed:  # from a backend that has the program's own error to show with it
            self.show()
            raise
        if shown["state"] == "failed":
            raise RunFailed(f"run '{self.name}' failed at tick {shown['tick']}: {shown.get('error')}")
        return self

    def step(self) -> dict[str, Any]:
        """One tick of a paced run; gives that tick's result."""
        return self._backend.call("run step", {"run": self.name})

    def steps(self, count: int) -> Iterator[dict[str, Any]]:
        """Several, one after the other."""
        for _ in range(count):
            yield self.step()

    def stop(self) -> Run:
        """End it after its next tick."""
        self._shown = self._backend.call("run stop", {"run": self.name})
        return self

    def ticks_kept(self) -> list[int]:
        """After which ticks it can be read, ascending: its last few checkpoints, and its last tick once it is over."""
        return [int(tick) for tick in self._backend.call("run ticks", {"run": self.name})["ticks"]]

    def at(self, tick: int | None = None) -> Snapshot:
        """What it had computed after a tick, without one after the last that can be read. Raises `TickNotKept`."""
        return snapshot(self._backend, self.name, tick)

    def result(self, column: str) -> ColumnResult:
        """A column that it computed, whole and in id order; while it goes on, as of its last checkpoint."""
        return self._now.result(column)

    def stream(self, columns: Sequence[str] | None = None, tick: int | None = None) -> Iterator[Any]:
        """`pyarrow.RecordBatch`es in id order: `id` and the columns. See `Reading.stream`."""
        return Reading(self._backend, self.name, tick).stream(columns)

    def table(self, columns: Sequence[str] | None = None) -> Any:
        """Its columns as one `pyarrow.Table`."""
        return self._now.table(columns)

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """Its columns as a `pandas.DataFrame`."""
        return self._now.to_pandas(columns)

    def save(self, path: str | Path, columns: Sequence[str] | None = None) -> int:
        """Write its columns to a `.csv`, `.parquet` or `.arrow` file. See `Reading.save`."""
        return self._now.save(path, columns)

    def table_rows(self, name: str) -> TableResult:
        """A table that its program has built beside the graph, such as a colony's `edges`. See `Reading.table_rows`."""
        return self._now.table_rows(name)

    def ring(self) -> list[str]:
        """The shard that serves each partition of its graph, at this moment."""
        rows = self._backend.call("ring", {"graph": self.show()["graph"]})["partitions"]
        return [str(row["primary"]) for row in rows]

    def search(self, words: str, k: int = 10) -> list[Hit]:
        """The `k` documents that these words tell most about, best first, of a run that reads texts: `knowledge`."""
        found = self._backend.call("run search", {"run": self.name, "words": words, "top": k})
        return [Hit(row["id"], row["score"]) for row in found["hits"]]

    @property
    def _now(self) -> Reading:
        return Reading(self._backend, self.name, None)
