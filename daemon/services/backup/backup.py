"""A backup of the whole cluster, written by one daemon while everything else goes on.

    slices   of every partition of every graph, from this disk or from a holder's; a load never changes
    states   of finished runs: their last tick. Of active ones: one tick whose state is held for every partition

A graph's slices never change, so they can be copied at any time. An active run moves on meanwhile, and its older
checkpoints are deleted: once a holder has deleted the tick being copied, the copy of that run starts over with a newer
one, a few times. If the run is always quicker than the copy, the backup contains it without a state: a restored run
then begins at its first tick, which gives the same bits, only later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from daemon.runtime.context import HostContext
from daemon.runtime.rpc import together
from daemon.services.graphs.fetch import NONSENSE, STATES_MAX, TABLE, Fetching, NotFetched
from daemon.services.graphs.slices import table_of
from daemon.services.known import IN_NO_VIEW
from daemon.state import command_codec
from daemon.state.commands import AddGraph, KeptRun, ProgramVersion, Restore
from daemon.state.envelope import ARCHIVE_LIMITS
from daemon.state.placement import sources
from daemon.state.programs import DeployedPrograms
from daemon.state.records import QUEUED, RunRecord, to_keep
from daemon.store import NotHeld, StateRecord, StoreError, StoreFailed
from daemon.store.archive import ArchiveWriter
from shoal import __version__
from shoal.api.command import Emit
from shoal.api.commands.cluster import BackupReply, SavedGraph, SavedRun
from shoal.api.errors import Failed, Refused, ShoalError, Usage

log = logging.getLogger("shoal.backup")

T = TypeVar("T")

TRIES = 10
RUN_TRIES = 20
TRY_AGAIN_SECONDS = 0.5
RUN_AGAIN_SECONDS = 0.1
ASKED_AT_ONCE = 2
"""Other shards: a shard takes four pieces at the same time, and may be repairing, too."""
HOLDERS_ASKED = 3
"""How many holders to ask for the same states, one after the other."""


class Backup:
    """One backup, written on this machine."""

    def __init__(self, context: HostContext, fetching: Fetching, folder: Path, emit: Emit) -> None:
        self._context, self._state, self._fetching = context, context.state, fetching
        self._folder, self._emit = folder, emit
        self._thread = ThreadPoolExecutor(1, "shoal-backup")
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE)
        self._writer: ArchiveWriter | None = None

    async def run(self) -> BackupReply:
        """Writes the backup. Raises `Usage`, `Refused` or `Failed`, and then leaves nothing of it."""
        if not self._folder.is_absolute():
            raise Usage("dir should be an absolute path, because the daemon has another working directory")
        cluster, began_ns = self._context.config.cluster.name, self._context.clock.monotonic_ns()
        self._require_view()
        try:
            result = await self._write(await self._do(lambda: self._opened(cluster)), began_ns)
        except StoreError as error:
            self._discard()
            raise Refused(str(error)) from error
        except StoreFailed as error:
            self._discard()
            raise Failed(str(error)) from error
        except BaseException:
            self._discard()
            raise
        finally:
            self._thread.shutdown(wait=False)
        log.info("backup %s: %d bytes", self._folder, result["bytes"])
        return result

    async def _write(self, writer: ArchiveWriter, began_ns: int) -> BackupReply:
        registry = self._state.registry
        graphs = list(registry.graphs.values())
        total, done = sum(graph.partition_count for graph in graphs), 0
        for graph in graphs:
            async for partitions in self._copied(writer, graph):
                await self._emit({"stage": "graphs", "done": done + partitions, "total": total})
            done += graph.partition_count
        runs_there = [*registry.kept_results(), *registry.active_runs(), *registry.queued_runs()]
        names = [run.name for run in runs_there]
        loads, kept = {graph.load: graph for graph in graphs}, list[tuple[KeptRun, int]]()
        for place, name in enumerate(names):
            await self._emit({"stage": "runs", "done": place, "total": len(names)})
            kept += await self._copied_run(writer, name, loads)
        for graph in graphs:
            if registry.graphs.get(graph.name) != graph:
                raise Failed(f"graph '{graph.name}' was dropped while it was being copied: start the backup again")
        runs = tuple(run for run, _ in kept)
        decision = Restore(tuple(graphs), runs, registry.runs_begun, _wanted(self._context.state.programs, runs))
        epoch = registry.epoch
        saved_graphs: list[SavedGraph] = [
            {"graph": g.name, "nodes": g.node_count, "edges": g.edge_count, "partitions": g.partition_count}
            for g in graphs
        ]
        saved_runs: list[SavedRun] = [
            {"run": f"{run.start.program}-{run.number}", "graph": run.start.graph, "state": run.state, "tick": tick}
            for run, tick in kept
        ]
        told = {
            "cluster": self._context.config.cluster.name,
            "shard": self._context.me,
            "version": __version__,
            "epoch": epoch,
            "made_unix_ns": self._context.clock.unix_ns(),
            "graphs": saved_graphs,
            "runs": saved_runs,
        }
        codec = command_codec(ARCHIVE_LIMITS, registry.cluster_version)
        size = await self._do(lambda: writer.finish(codec.encode(decision), told))
        return {
            "shard": self._context.me,
            "dir": str(self._folder),
            "bytes": size,
            "epoch": epoch,
            "graphs": saved_graphs,
            "runs": saved_runs,
            "seconds": (self._context.clock.monotonic_ns() - began_ns) / 1e9,
        }

    # -- graphs ----------------------------------------------------------------------------------------------------

    async def _copied(self, writer: ArchiveWriter, graph: AddGraph) -> Any:
        """Copies a graph, at the rate of repairs; yields the number of copied partitions."""
        load, rate = graph.load, self._context.config.storage.repair_bandwidth
        table, header = await self._tried(graph, partial(self._table, load))
        await self._do(lambda: writer.store.put_graph(load, graph.name, table, header))
        checked = table_of(table, graph.partition_count)
        for partition in range(graph.partition_count):
            spec, frames = await self._tried(graph, partial(self._slice, load, partition, checked))
            await self._do(partial(writer.store.put_slice, load, partition, spec, frames))
            yield partition + 1
            await asyncio.sleep(sum(memoryview(frame).nbytes for frame in frames) / rate)
        await self._do(lambda: writer.store.seal(load, range(graph.partition_count)))

    async def _table(self, load: str, graph: AddGraph) -> tuple[Any, bytes]:
        try:
            _, table, header = await self._context.disk.do(lambda store: store.graph(load))
            return table, header
        except NotHeld:
            came = await self._fetching.fetch(self._sources(graph, 0), load, TABLE)
            header, frame = came.table()
            return frame, header

    async def _slice(self, load: str, partition: int, table: Any, graph: AddGraph) -> tuple[bytes, list[Any]]:
        try:
            return await self._context.disk.do(lambda store: store.slice(load, partition))
        except NotHeld:
            came = await self._fetching.fetch(self._sources(graph, partition), load, partition)
        await asyncio.to_thread(came.slice, partition, table)  # checked, not used
        return came.spec, list(came.frames)

    async def _tried(self, graph: AddGraph, get: Callable[[AddGraph], Awaitable[T]]) -> T:
        """Gets something from any shard that has it, also while members come and go."""
        for _ in range(TRIES):
            try:
                return await get(graph)
            except (NotFetched, ShoalError, *NONSENSE) as error:
                why = error
            self._require_view()
            if self._state.registry.graph_of(graph.load) is None:
                raise Failed(f"graph '{graph.name}' was dropped while it was being copied: start the backup again")
            await asyncio.sleep(TRY_AGAIN_SECONDS)
        raise Failed(f"graph '{graph.name}': {why}")

    def _sources(self, graph: AddGraph, partition: int) -> tuple[str, ...]:
        """Returns the shards that may hold something of a partition, those that serve it first."""
        registry = self._state.registry
        placed = registry.placements[graph.name] if registry.graph_of(graph.load) is not None else ()
        members = registry.view.names if registry.view is not None else ()
        return sources(self._context.me, placed[partition] if placed else (), members)

    # -- runs ------------------------------------------------------------------------------------------------------

    async def _copied_run(
        self, writer: ArchiveWriter, name: str, graphs: Mapping[str, AddGraph]
    ) -> list[tuple[KeptRun, int]]:
        """Copies a run at one of its ticks; returns nothing if it has failed or its result is gone."""
        for attempt in range(RUN_TRIES):
            run = self._state.registry.runs.get(name)
            if run is None or run.load not in graphs or (run.is_over and not run.has_result):
                return []
            if run.state == QUEUED:
                return [(to_keep(run), 0)]
            graph = graphs[run.load]
            tick = await self._newest(run, graph) if run.active else run.tick
            if run.active and (not tick or attempt == RUN_TRIES - 1):
                await self._do(partial(writer.store.drop_run, run.number))
                log.info("backup: run %s is included from its first tick on", name)
                return [(to_keep(run), 0)]
            if await self._copied_states(writer, run, graph, tick):
                return [(to_keep(run), tick)]
            await asyncio.sleep(RUN_AGAIN_SECONDS)
        assert run is not None
        await self._do(partial(writer.store.drop_run, run.number))
        log.warning("backup: run %s is left out: its result is not all there", name)
        return []

    async def _newest(self, run: RunRecord, graph: AddGraph) -> int:
        """Returns the newest tick with a held state, according to this disk, or to a holder if this disk has none."""
        held = await self._context.disk.do(lambda store: store.states_held())
        ticks = set(held.get(run.number, {}))
        if not ticks:
            try:
                came = await self._fetching.fetch(self._sources(graph, 0), graph.load, 0)
            except NotFetched:
                return 0
            ticks = {tick for number, tick, _ in came.states if number == run.number}
        return max(ticks, default=0)

    async def _copied_states(self, writer: ArchiveWriter, run: RunRecord, graph: AddGraph, tick: int) -> bool:
        """Copies the states of a tick; returns False as soon as one is unavailable."""
        for first in range(0, graph.partition_count, STATES_MAX):
            missing = set(range(first, min(first + STATES_MAX, graph.partition_count)))
            for turn in range(HOLDERS_ASKED):
                missing -= await self._copied_some(writer, run, graph, tick, missing, turn)
                if not missing:
                    break
            else:
                return False
        return True

    async def _copied_some(
        self, writer: ArchiveWriter, run: RunRecord, graph: AddGraph, tick: int, wanted: set[int], turn: int
    ) -> set[int]:
        """Copies the wanted states that are here or at another holder, a different one each turn; returns which.

        Asks all holders at the same time, each for all of its states at once: the next tick deletes them.
        """
        number, found = run.number, dict[int, Any]()
        if not turn:
            read = await self._context.disk.do(lambda store: {p: store.state(number, tick, p) for p in wanted})
            found = {p: state for p, state in read.items() if state is not None}
        asked: dict[str, list[int]] = {}
        for partition in sorted(wanted - found.keys()):
            others = self._sources(graph, partition)
            if others:
                asked.setdefault(others[turn % len(others)], []).append(partition)

        async def fetch(source: str, partitions: list[int]) -> None:
            async with self._asking:
                found.update(await self._fetching.states_from([source], number, tick, partitions))

        await together(fetch(source, partitions) for source, partitions in asked.items())
        if found:
            await self._do(partial(writer.store.put_states, [StateRecord(number, tick, tick, found)]))
        return set(found)

    # -- within ----------------------------------------------------------------------------------------------------

    def _require_view(self) -> None:
        if not self._state.in_view:
            raise Refused(IN_NO_VIEW)
        registry = self._state.registry
        for name in registry.graphs:
            if registry.lost(name):
                raise Refused(f"graph '{name}' is halted: {len(registry.lost(name))} of its partitions are lost")

    async def _do(self, job: Callable[[], T]) -> T:
        """Runs a job on the backup's own thread, which owns its database."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _opened(self, cluster: str) -> ArchiveWriter:
        self._writer = ArchiveWriter(self._folder, cluster)
        return self._writer

    def _discard(self) -> None:
        """Discards the backup after the thread's current job, without waiting."""
        self._thread.submit(lambda: self._writer.discard() if self._writer is not None else None)


def _wanted(programs: DeployedPrograms, runs: Sequence[KeptRun]) -> tuple[ProgramVersion, ...]:
    """Returns the programs that can be run, and the older versions that the runs have used."""
    used = {(run.start.program, run.start.digest) for run in runs}
    return tuple(one for key, one in programs.versions.items() if one.is_current or key in used)
