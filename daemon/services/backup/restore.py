"""Restores a backup into a new cluster, coordinated by the daemon that was started with it.

    backup --slices, states--> every member keeps its own on disk --all have--> Restore in the log, all at once

The cluster may be of any size: partitions go where the new ring wants them. Until the log has decided, nobody relies on
the transferred data, and a restart deletes it. So either everything in the backup is restored, or the cluster is empty,
and shows that. Unfinished runs resume by themselves, from the ticks in the backup.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Never, TypeVar

import msgpack
from msgspec.structs import replace

from daemon.runtime.context import HostContext
from daemon.runtime.service import Service
from daemon.services.graphs.parts import empty_slices
from daemon.services.graphs.pieces import Pieces
from daemon.services.graphs.slices import table_of
from daemon.services.graphs.staging import Staging
from daemon.services.graphs.transfer import (
    answer_of,
    carried,
    checked_piece,
    crossing,
    held_by,
    is_number,
    placement_of,
    spec_of,
)
from daemon.state import command_codec
from daemon.state.cluster import Cluster
from daemon.state.commands import AddGraph, AddProgram, KeptRun, Restore
from daemon.state.envelope import ARCHIVE_LIMITS, CommandUnreadable
from daemon.state.machine import Command
from daemon.state.records import View, restored
from daemon.store import StateRecord, Store, StoreError
from daemon.store.archive import Archive
from daemon.transfer.chunks import RestoredPiece
from daemon.transfer.shipment import Shipment
from shoal.api.errors import Failed
from shoal.graph.graph_data import BadGraph
from shoal.graph.ids import PARTITIONS_MAX
from shoal.graph.partitions import PartitionSet, joined
from shoal.graph.shard_graph import ShardGraph
from shoal.lockstep.messages import PieceBuilt, PieceKind

log = logging.getLogger("shoal.restore")

T = TypeVar("T")

TRIES = 5
STATES_BYTES, STATES_MAX = 32 << 20, 512
"""Limits on the states in one piece."""


@dataclass(frozen=True)
class Source:
    """A checked backup, and what it asks the log to decide."""

    folder: Path
    restore: Restore


def open_backup(folder: Path, data: Path) -> Source:
    """Checks a backup, and that this daemon is new. Raises `StoreError`."""
    if data.exists() and any(data.iterdir()):
        raise StoreError(
            f"{data} is not empty: a backup is restored into a new cluster, so start with empty data folders everywhere"
        )
    archive = Archive(folder)
    try:
        decided = _decided(folder, archive)
        missing = _missing(archive, decided)
        if missing:
            raise StoreError(f"{folder} lacks {missing}: use another copy of the backup")
    finally:
        archive.close()
    return Source(folder, decided)


def _decided(folder: Path, archive: Archive) -> Restore:
    decided: Command | None = None
    try:
        decided = command_codec(ARCHIVE_LIMITS).decode(Cluster.name, archive.decided())
    except CommandUnreadable as unreadable:
        if unreadable.is_later:
            told = f"{folder} was written by a later version of Shoal ({unreadable}): restore it with that one"
            raise StoreError(told) from unreadable
    if not isinstance(decided, Restore):
        raise StoreError(f"{folder} has an unreadable manifest: use another copy of the backup")
    return decided


def _missing(archive: Archive, decided: Restore) -> str:
    held, counts = archive.states_held(), {graph.name: graph.partition_count for graph in decided.graphs}
    for run in decided.runs:
        ticks = held.get(run.number, {})
        ended = restored(run).is_over
        if any(len(partitions) != counts.get(run.start.graph) for partitions in ticks.values()):
            return f"states of run {run.number}"
        if ended and run.tick not in ticks:
            return f"the result of run {run.number}"
    return ""


class Restoring:
    """One restoration."""

    def __init__(self, context: HostContext, staging: Staging, source: Source) -> None:
        self._context, self._state, self._staging = context, context.state, staging
        self._folder, self._wanted, self._limits = source.folder, source.restore, context.load_limits
        self._thread = ThreadPoolExecutor(1, "shoal-restore")

    async def run(self) -> None:
        """Returns once the cluster has everything in the backup. Raises `Failed`, and then leaves nothing of it."""
        clock = self._context.clock
        began = clock.monotonic_ns()
        try:
            archive = await self._do(partial(Archive, self._folder))
            for tries in range(1, TRIES + 1):
                view = await self._whole_view()
                try:
                    await self._restore(archive, view)
                    break
                except Failed as failed:
                    if self._state.registry.view == view or tries == TRIES:
                        raise
                    log.warning("%s: trying again", failed)
            await self._do(archive.close)
        finally:
            self._thread.shutdown(wait=False)
        graphs, runs = len(self._wanted.graphs), len(self._wanted.runs)
        log.info("restored: %d graphs, %d runs in %.1f s", graphs, runs, (clock.monotonic_ns() - began) / 1e9)

    async def _whole_view(self) -> View:
        """Waits until the view has as many members as expected: the first one may lack some that are still starting."""
        expected, state = self._context.config.cluster.expect, self._state
        log.info("restoring from %s as soon as %d shards are in the view", self._folder, expected)

        def whole() -> View | None:
            view = state.registry.view
            is_whole = view is not None and state.in_view and len(view.members) >= expected
            return view if is_whole and not state.missing_members() else None

        await self._context.conditions.until(whole)
        view = whole()
        assert view is not None
        return view

    async def _restore(self, archive: Archive, view: View) -> None:
        graphs = []
        for graph in self._wanted.graphs:
            graphs.append(await self._graph(archive, view, graph))
            log.info("graph %s: all partitions are in place", graph.name)
        held = await self._do(archive.states_held)
        placed = {graph.name: placement_of(view, graph.partition_count) for graph in graphs}
        for run in self._wanted.runs:
            for tick in held.get(run.number, {}):
                for name in view.names:
                    await self._states(archive, view, run, tick, name, held_by(name, placed[run.start.graph]))
            log.info("run %s-%d: all states are in place", run.start.program, run.number)
        for program in self._wanted.programs:
            await self._decided(AddProgram(program))
        await self._decided(replace(self._wanted, graphs=tuple(graphs), programs=()))

    async def _decided(self, command: Command) -> None:
        answer = await self._context.decide(command)
        if answer.error:
            raise Failed(answer.error)

    # -- graphs ----------------------------------------------------------------------------------------------------

    async def _graph(self, archive: Archive, view: View, graph: AddGraph) -> AddGraph:
        """Sends every member its partitions, one member after the other: only one piece is in memory at a time."""
        placed, load, me = placement_of(view, graph.partition_count), graph.load, self._context.me
        _, frame, _ = await self._do(partial(archive.graph, load))
        table = table_of(frame, graph.partition_count)
        answers: dict[str, PieceBuilt] = {}
        for name in view.names:
            partitions = held_by(name, placed)
            slices = await self._do(partial(_read, archive, graph, partitions, table))
            if name == me:
                await self._staging.keep_table(load, graph.name, table, graph.partition_count)
                part = await self._staging.keep_and_build(load, graph.name, view, placed, slices)
                answers[name] = answer_of(load, part)
            else:
                spec, frames = slices.to_wire()
                header = {"graph": graph.name, "load": load, "partitions": graph.partition_count, "slices": spec}
                answers[name] = await self._ship(view, name, header, [table, *frames])
        crosses = crossing(view, answers, graph.node_count)
        return replace(graph, epoch=view.epoch, cross_edges=crosses)

    async def _ship(self, view: View, to: str, header: Mapping[str, Any], frames: list[Any]) -> PieceBuilt:
        name, ticks = f"restore/{self._context.new_id()}", self._context.ticks
        spec = msgpack.packb({**header, "epoch": view.epoch})
        shipment = Shipment(name, to, spec, frames, self._limits, PieceKind.RESTORED)
        ticks.order(partial(ticks.ship, [shipment]))
        try:
            await carried(self._context, view, [shipment], _nobody)
        finally:
            ticks.order(partial(ticks.land, name, [to]))
        assert shipment.answer is not None
        return shipment.answer

    # -- runs ------------------------------------------------------------------------------------------------------

    async def _states(
        self, archive: Archive, view: View, run: KeptRun, tick: int, name: str, partitions: list[int]
    ) -> None:
        """Sends one member the states of its partitions."""
        rest = iter(partitions)
        while batch := await self._do(partial(_next_states, archive, run.number, tick, rest)):
            if name == self._context.me:
                record = StateRecord(run.number, tick, tick, batch)
                await self._context.disk.do(partial(Store.put_states, records=[record]))
            else:
                header = {"run": run.number, "tick": tick, "states": list(batch)}
                await self._ship(view, name, header, list(batch.values()))

    async def _do(self, job: Callable[[], T]) -> T:
        """Runs a job on a thread of its own, which owns the backup's database."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)


async def _nobody(_: Mapping[str, Any]) -> None:
    return None


def _read(archive: Archive, graph: AddGraph, partitions: list[int], table: Any) -> PartitionSet:
    if not partitions:
        return empty_slices(graph)
    read = (archive.slice(graph.load, partition) for partition in partitions)
    return joined([PartitionSet.from_wire(msgpack.unpackb(spec), frames, table) for spec, frames in read])


def _next_states(archive: Archive, run: int, tick: int, rest: Iterator[int]) -> dict[int, Any]:
    """Returns the next of these partitions' states, as many as fit into one piece."""
    batch: dict[int, Any] = {}
    size = 0
    for partition in rest:
        state = archive.state(run, tick, partition)
        assert state is not None, "read before"
        batch[partition] = state
        size += len(state)
        if size >= STATES_BYTES or len(batch) >= STATES_MAX:
            break
    return batch


# -- the members' side -------------------------------------------------------------------------------------------------


class RestoredPieces(Service[Never, RestoredPiece]):
    """Keeps what a restoration sends to this shard; answers with whatever is wrong with it."""

    events = (RestoredPiece,)

    def __init__(self, context: HostContext, staging: Staging, pieces: Pieces) -> None:
        self._context, self._staging, self._pieces = context, staging, pieces

    def on_event(self, event: RestoredPiece) -> None:
        """Takes a complete piece."""
        self._pieces.take(event, lambda: self._take_in(event))

    async def _take_in(self, piece: RestoredPiece) -> ShardGraph | None:
        registry = self._context.state.registry
        view, spec = registry.view, spec_of(piece, registry.view)
        assert view is not None
        if registry.graphs or registry.runs_begun:
            raise BadGraph("this cluster already has graphs or runs: restore a backup into a new cluster")
        if "states" in spec:
            await self._take_states(piece, spec)
            return None
        load = spec["load"]
        if type(load) is not str:
            raise BadGraph("it names no load")
        checked = await checked_piece(piece, spec, view, self._context.me)
        await self._staging.keep_table(load, checked.graph, checked.table, checked.partitions)
        return await self._staging.keep_and_build(load, checked.graph, view, checked.placed, checked.slices)

    async def _take_states(self, piece: RestoredPiece, spec: Mapping[str, Any]) -> None:
        run, tick, partitions = spec["run"], spec["tick"], spec["states"]
        if not is_number(run, 1, 2**40) or not is_number(tick, 0, 2**40) or type(partitions) is not list:
            raise BadGraph("it names no run")
        if len(partitions) != len(piece.frames) or not all(is_number(p, 0, PARTITIONS_MAX) for p in partitions):
            raise BadGraph("it names no partitions")
        record = StateRecord(run, tick, tick, dict(zip(partitions, piece.frames, strict=True)))
        await self._context.disk.do(lambda store: store.put_states([record]))
