"""What the admin socket answers: each command bound to the runtime that it asks."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from daemon.admin.registry import Failed, Refused, Registry, Reply, Request, Usage
from daemon.control.versions import Version, by_version, version_of, versions_of
from daemon.membership.messages import STATUS_NAMES
from daemon.observe.logs import UnknownLevel, set_level
from daemon.runtime.loop import Runtime
from daemon.runtime.tick_thread import RunFigures, tick_result
from daemon.services.cluster.disk_room import Level
from daemon.services.cluster.waiting import why_waiting
from daemon.services.graphs.load import Loading
from daemon.services.graphs.transfer import placement_of
from daemon.services.known import Known
from daemon.state.commands import AddGraph, DropGraph, StartRun, StopRun
from daemon.state.records import QUEUED, STATES, RunRecord
from shoal import __version__
from shoal.api.errors import ShoalError
from shoal.api.ranges import TICKS_MAX
from shoal.client.session import NAME_RULE, is_name
from shoal.lockstep.barrier import PHASES
from shoal.lockstep.machine import State

EVENT_SECONDS = 0.1
IN_NO_VIEW = "this shard is in no view: ask a member (`members` shows who is)"
ROWS_A_TURN = 50
"""Of a long list: then the loop has its turn."""


class Operations:
    """The handlers. A mistake of the asker's is `Refused` or `Usage`, with a sentence."""

    def __init__(self, runtime: Runtime, commands: Registry) -> None:
        self._runtime, self._known = runtime, Known(runtime)
        for name in (
            "status", "members", "view", "ring", "barrier", "ghosts", "graph load", "graph list", "graph show",
            "graph drop", "run start", "run list", "run show", "run wait", "run step", "run stop",
            "log-level", "metrics",
        ):  # fmt: skip
            commands.bind(name, getattr(self, name.replace(" ", "_").replace("-", "_")))

    # -- the cluster -----------------------------------------------------------------------------------------------

    async def status(self, _: Request) -> Reply:
        runtime = self._runtime
        shard, registry = runtime.shard, runtime.shard.registry
        states = Counter(STATUS_NAMES[record.status] for record in shard.membership.members())
        runs = Counter(run.state for run in registry.runs.values())
        ready, why = runtime.ready
        return Reply(
            {
                "shard": runtime.me.name,
                "generation": runtime.generation,
                "version": __version__,
                "cluster": runtime.config.cluster.name,
                "founding": shard.founding,
                "waiting": why_waiting(shard, runtime.config.cluster.expect),
                "other_clusters": runtime.messenger.other_clusters.recent(),
                "epoch": registry.epoch,
                "leader": shard.leader,
                "term": shard.raft.term if shard.raft else 0,
                "state": self._known.state,
                "ready": ready,
                "ready_detail": why,
                "members": {name: states.get(name, 0) for name in STATUS_NAMES},
                "versions": self._versions(),
                "majority": shard.leader is not None,
                "draining": sorted(registry.draining),
                "halted": self._halted(),
                "held_back": self._held_back(),
                "repair": asdict(runtime.mending.progress),
                "disk": _disk(runtime.stock.level),
                "graphs": len(registry.graphs),
                "runs": {name: runs.get(name, 0) for name in STATES},
                "uptime_seconds": time.monotonic() - runtime.started,
                "pid": os.getpid(),
            }
        )

    def _versions(self) -> list[dict[str, Any]]:
        """What the members run that are alive: more than one row where an upgrade is under way, or was forgotten."""
        members = by_version(versions_of(self._runtime.shard.membership.live()))
        rows = [{**_told(version), "members": names} for version, names in members.items()]
        return sorted(rows, key=lambda row: row["members"])

    def _halted(self) -> list[dict[str, Any]]:
        """Graphs that wait for a shard which holds what nobody else does."""
        registry = self._runtime.shard.registry
        return [
            {"graph": name, "partitions": lost, "shards": registry.last_holders(name)}
            for name in sorted(registry.graphs)
            if (lost := registry.lost(name))
        ]

    def _held_back(self) -> list[dict[str, Any]]:
        """Members that come and go, and have to stay before they are let into the view; the leader knows."""
        now = time.monotonic_ns()
        return [
            {"shard": name, "departures": departures, "seconds": max(0.0, (until_ns - now) / 1e9)}
            for name, (departures, until_ns) in self._runtime.shard.held_back.items()
        ]

    async def members(self, _: Request) -> Reply:
        shard = self._runtime.shard
        view = shard.registry.view
        in_view = {(member.name, member.generation) for member in view.members} if view else set()
        rows = [
            {
                "name": record.name,
                "generation": record.generation,
                "state": STATUS_NAMES[record.status],
                "incarnation": record.incarnation,
                "control": record.member.control,
                "ticks": record.member.ticks,
                "in_view": (record.name, record.generation) in in_view,
                **_told(version_of(dict(record.member.tags))),
                "tags": dict(record.member.tags),
            }
            for record in shard.membership.members()
        ]
        return Reply({"members": rows, "other_clusters": self._runtime.messenger.other_clusters.recent()})

    async def view(self, _: Request) -> Reply:
        shard, partitions = self._runtime.shard, self._runtime.config.graph.partitions
        view = shard.registry.view
        held = Counter(holders[0] for holders in placement_of(view, partitions)) if view else Counter[str]()
        names = list(view.names) if view else []
        return Reply(
            {
                "epoch": shard.registry.epoch,
                "members": names,
                "leader": shard.leader,
                "partitions": partitions,
                "placement": {name: held.get(name, 0) for name in names},
            }
        )

    async def ring(self, request: Request) -> Reply:
        """Who serves each partition: of a graph as the epoch has it, or of one that would be loaded now."""
        registry, name = self._runtime.shard.registry, request.args["graph"]
        view = registry.view
        if name:
            placement = registry.placements[self._known.graph(name).name]
        else:
            placement = placement_of(view, self._runtime.config.graph.partitions) if view else ()
        rows = [
            {"partition": i, "primary": holders[0] if holders else None, "replicas": list(holders[1:])}
            for i, holders in enumerate(placement)
        ]
        virtual_nodes = view.virtual_nodes if view else self._runtime.config.graph.virtual_nodes
        return Reply({"virtual_nodes": virtual_nodes, "partitions": rows})

    async def barrier(self, request: Request) -> Reply:
        registry = self._runtime.shard.registry
        name = request.args["run"]
        runs = [self._known.run(name)] if name else registry.active_runs()
        return Reply({"runs": [self._barrier_of(run) for run in runs if run.active]})

    def _barrier_of(self, run: RunRecord) -> dict[str, Any]:
        machine = self._runtime.ticks.machine(run.number)
        now = time.monotonic_ns()
        known = self._runtime.shard.progress.of(run.number, now)
        doing = {p.shard: f"{p.doing} for {p.seconds:.1f} s" for p in known}
        if machine is None:
            return {"run": run.name, "tick": 0, "phase": "", "entries": {}, "missing": [], "doing": doing}
        waiting = machine.state is State.WAITING
        return {
            "run": run.name,
            "tick": machine.tick,
            "phase": machine.phase.word,
            "entries": dict(machine.barrier.entries()),
            "missing": list(machine.lacking()) if waiting else [],
            "waiting_seconds": (now - machine.since) / 1e9 if waiting else 0.0,
            "doing": doing,
        }

    async def ghosts(self, request: Request) -> Reply:
        name, graphs = request.args["graph"], self._runtime.shard.registry.graphs
        if name:
            self._known.graph(name)
        here = [graph for graph in sorted(graphs) if graphs[graph].load in self._runtime.graphs.parts]
        return Reply({"graphs": [self._ghosts_of(graphs[graph]) for graph in here if name in (None, graph)]})

    def _ghosts_of(self, graph: AddGraph) -> dict[str, Any]:
        part = self._runtime.graphs.parts[graph.load]
        tick, age = 0, None
        for run in self._runtime.shard.registry.active_runs():
            machine = self._runtime.ticks.machine(run.number)
            if run.load == graph.load and machine is not None:
                tick = machine.tick - (machine.state is not State.PACED)
                age = (time.monotonic_ns() - machine.since) / 1e9
        by_owner = {peer: len(boundary.nodes) for peer, boundary in part.ghosts.items()}
        return {
            "graph": graph.name, "own": part.size, "ghosts": part.ghost_count, "by_owner": by_owner,
            "tick": max(tick, 0), "age_seconds": age,
        }  # fmt: skip

    # -- graphs ----------------------------------------------------------------------------------------------------

    async def graph_load(self, request: Request) -> Reply:
        loading = Loading(self._runtime, _name(request.args["name"]), request.emit)
        return Reply(await loading.run(request.args["spec"], request.frames))

    async def graph_list(self, _: Request) -> Reply:
        graphs = self._runtime.shard.registry.graphs
        return Reply({"graphs": [self._graph_row(graphs[name]) for name in sorted(graphs)]})

    async def graph_show(self, request: Request) -> Reply:
        graph = self._known.graph(request.args["graph"])
        view = self._runtime.shard.registry.view
        told = await self._runtime.census.take(graph.load, view.names) if view is not None else {}
        shards = {
            name: {"nodes": part.nodes, "edges": part.edges, "ghosts": part.ghosts, "bytes": part.held_bytes}
            for name, part in told.items()
        }
        whole = view is not None and len(told) == len(view.names)
        return Reply(
            {
                **self._graph_row(graph),
                "cross_edges": sum(part.cross_edges for part in told.values()) if whole else graph.cross_edges,
                "shards": shards,
                "node_columns": dict(graph.node_columns),
                "edge_columns": dict(graph.edge_columns),
            }
        )

    async def graph_drop(self, request: Request) -> Reply:
        args = request.args
        graph = self._meant(args["graph"], args["load"])
        dropped = DropGraph(uuid.uuid4().hex, graph.name, graph.load, args["force"])
        await self._decided(dropped, lambda: self._meant(graph.name, graph.load))
        gone = [run for run in self._runtime.shard.registry.dropped.values() if run.load == graph.load]
        results = sum(run.had_result for run in gone)
        return Reply({"graph": graph.name, "state": "dropped", "runs": len(gone), "results": results})

    def _meant(self, name: str, load: str | None) -> AddGraph:
        """The graph of a name, if it is still the one that the asker has seen. Raises `Refused`."""
        graph = self._known.graph(name)
        if load not in (None, graph.load):
            told = f"graph '{name}' was dropped, and another one was loaded under its name: look at that one first"
            raise Refused(told, what="UnknownGraph")
        return graph

    # -- runs ------------------------------------------------------------------------------------------------------

    async def run_start(self, request: Request) -> Reply:
        args = request.args
        graph = self._meant(args["graph"], args["load"])
        params = args["params"] or {}
        self._require_view()
        try:
            found = await self._runtime.programs.find(args["program"])
            declared = await self._runtime.programs.tried(found, params)
        except ShoalError as error:
            raise Refused(str(error), what=type(error).__name__) from error
        ticks = args["ticks"] or declared.ticks
        interval = args["interval_seconds"] or 0.0
        if not 0 < ticks <= TICKS_MAX:
            raise Usage("ticks should be a positive number")
        if not 0.0 <= interval <= 86_400.0:
            raise Usage("interval_seconds should be from 0 to a day")
        started = StartRun(
            request=uuid.uuid4().hex,
            program=found.name,
            graph=graph.name,
            load=graph.load,
            params=tuple((name, json.dumps(value)) for name, value in sorted(params.items())),
            ticks=ticks,
            interval_ns=int(interval * 1e9),
            paced=args["paced"],
            phases=declared.phases,
            columns=declared.columns,
            started_unix_ns=time.time_ns(),
            checkpoint_ticks=args["checkpoint_ticks"] or 0,
            digest=found.digest,
            runs_max=self._runtime.config.ticks.runs_max,
            may_queue=args["queue"],
        )
        name = await self._decided(started, lambda: self._meant(graph.name, graph.load))
        return Reply(self._show(self._known.run(name)))

    async def run_list(self, _: Request) -> Reply:
        runs = self._runtime.shard.registry.runs.values()
        keys = ("run", "program", "graph", "load", "state", "place", "tick", "ticks")
        rows = []
        for run in list(runs):
            shown = self._show(run)
            rows.append({key: shown[key] for key in keys})
            if len(rows) % ROWS_A_TURN == 0:
                await asyncio.sleep(0)
        return Reply({"runs": rows})

    async def run_show(self, request: Request) -> Reply:
        return Reply(self._show(self._known.run(request.args["run"])))

    async def run_wait(self, request: Request) -> Reply:
        run = self._known.run(request.args["run"])
        timeout = request.args["timeout_seconds"]
        until = None if timeout is None else time.monotonic() + timeout
        while (over := self._runtime.runs.over.get(run.name)) is not None or not self._known.run(run.name).is_over:
            left = EVENT_SECONDS if until is None else min(EVENT_SECONDS, until - time.monotonic())
            if left <= 0:
                shown = self._show(self._known.run(run.name))
                where = (
                    f"is queued, at place {shown['place']}" if shown["place"] else f"goes on, at tick {shown['tick']}"
                )
                still = f"run '{run.name}' still {where}: it was waited for {timeout:g} s"
                raise Failed(still, what="TimeoutError")
            try:
                # Of a run that is queued, or outside the view, there is no event here: the log's word is looked at.
                await asyncio.wait_for(over.wait() if over is not None else asyncio.sleep(left + 1), left)
            except TimeoutError:
                await request.emit(self._show(self._known.run(run.name)))
        return Reply(self._show(self._known.run(run.name)))

    async def run_step(self, request: Request) -> Reply:
        run = self._known.run(request.args["run"])
        if run.is_over:
            raise Refused(f"run '{run.name}' is over already: it {run.state} after {run.tick} ticks")
        if run.state == QUEUED:
            raise Refused(f"run '{run.name}' has not begun: it is queued, at place {self._place(run)}")
        if not run.paced:
            raise Refused(f"run '{run.name}' is not paced: it goes by itself (start it with --paced to step it)")
        self._require_view()
        answer = await self._runtime.step_run(run)
        if answer.error:
            raise Failed(answer.error)
        while True:
            passed = self._runtime.runs.tick_passed
            figures = self._runtime.ticks.figures.get(run.number) or RunFigures(())
            told = figures.of_tick(answer.tick, run.resumed)
            if told is not None:
                return Reply({"run": run.name, **told})
            run = self._known.run(run.name)
            if not run.active:
                raise Failed(f"run '{run.name}' {run.state} before tick {answer.tick}: {run.failure or 'it is over'}")
            if not self._runtime.shard.in_view:
                raise Failed(f"tick {answer.tick} of run '{run.name}' is granted, but {IN_NO_VIEW}")
            try:
                await asyncio.wait_for(passed.wait(), EVENT_SECONDS)
            except TimeoutError:
                continue

    async def run_stop(self, request: Request) -> Reply:
        run = self._known.run(request.args["run"])
        stopped = StopRun(uuid.uuid4().hex, run.name, request.args["force"])
        await self._decided(stopped, lambda: self._known.run(run.name))
        over = self._runtime.runs.over.get(run.name)
        if over is not None:
            try:
                await asyncio.wait_for(over.wait(), 5.0)
            except TimeoutError:
                return Reply(self._show(self._known.run(run.name)))
        return Reply(self._show(self._known.run(run.name)))

    # -- the daemon itself -----------------------------------------------------------------------------------------

    async def log_level(self, request: Request) -> Reply:
        try:
            return Reply({"level": set_level(request.args["level"], request.args["logger"])})
        except UnknownLevel as unknown:
            raise Usage(str(unknown)) from unknown

    async def metrics(self, request: Request) -> Reply:
        metrics = self._runtime.metrics
        metrics.refresh()
        return Reply({"text": await asyncio.to_thread(metrics.render, request.args["prefix"] or "")})

    # -- shared ----------------------------------------------------------------------------------------------------

    async def _decided(self, decision: Any, look_again: Callable[[], object] = lambda: None) -> str:
        """What the log says. `look_again` raises, in its own words, if what is meant went away meanwhile."""
        answer = await self._runtime.decide(decision)
        if answer.error:
            look_again()
            raise Refused(answer.error)
        return answer.name

    def _require_view(self) -> None:
        if not self._runtime.shard.in_view:
            raise Refused(IN_NO_VIEW)

    def _graph_row(self, graph: AddGraph) -> Mapping[str, Any]:
        lost = len(self._runtime.shard.registry.lost(graph.name))
        return {
            "graph": graph.name,
            "load": graph.load,
            "nodes": graph.node_count,
            "edges": graph.edge_count,
            "directed": graph.directed,
            "partitions": graph.partition_count,
            "state": "halted" if lost else "ready",
        }

    def _place(self, run: RunRecord) -> int | None:
        """Of a run that is queued: how many are before it, and itself."""
        if run.state != QUEUED:
            return None
        return [other.number for other in self._runtime.shard.registry.queued_runs()].index(run.number) + 1

    def _show(self, run: RunRecord) -> dict[str, Any]:
        """A run as everybody sees it; for one that goes on, from what this shard knows of the others."""
        machine = self._runtime.ticks.machine(run.number) if run.active else None
        now, figures = time.monotonic_ns(), self._runtime.ticks.figures.get(run.number)
        progress = self._runtime.shard.progress.of(run.number, now) if run.active else []
        committed = figures.ticks[-1] if figures and figures.ticks else None
        graph = self._runtime.shard.registry.graph_of(run.load)
        ended = run.ended_unix_ns or time.time_ns()
        crossed = run.cross_bytes if not run.active else figures.cross_bytes if figures else 0
        return {
            "run": run.name,
            "program": run.program,
            "digest": run.digest or None,
            "graph": run.graph,
            "load": run.load,
            "params": {name: json.loads(value) for name, value in run.params},
            "columns": list(run.columns),
            "state": run.shown,
            "outcome": run.state if run.is_over else None,
            "place": self._place(run),
            "tick": self._runtime.runs.tick_of(run) if run.active else run.tick,
            "ticks": run.tick if run.is_over else run.ticks,
            "phase": machine.phase.word if machine else None,
            "error": run.failure or None,
            "seconds": max(0.0, (ended - run.started_unix_ns) / 1e9),
            "shards": {p.shard: _shard_progress(p) for p in progress},
            "figures": figures.shown if run.active and figures else json.loads(run.figures or "{}"),
            "last_tick": dict(tick_result(committed, figures.members)) if committed and figures else None,
            "totals": {
                "nodes": graph.node_count if graph else None,
                "edges": graph.edge_count if graph else None,
                "cross_edges": graph.cross_edges if graph else None,
                "cross_bytes": crossed,
            },
        }


def _shard_progress(progress: Any) -> dict[str, Any]:
    return {
        "tick": progress.tick,
        "phase": progress.doing.partition(" ")[2].partition(" ")[0],
        "doing": progress.doing,
        "seconds": progress.seconds,
        "completed_phases": progress.entry % PHASES,
    }


def _told(version: Version | None) -> dict[str, Any]:
    """What a member says of its version; nothing of it, if it does not."""
    if version is None:
        return {"version": None, "protocol": None, "records": None}
    return {"version": version.shoal, "protocol": version.protocol, "records": version.records}


def _name(name: str) -> str:
    if not is_name(name):
        raise Usage(NAME_RULE)
    return name


def _disk(level: Level | None) -> dict[str, Any]:
    """Of the data folder's disk: how full it is, in words and bytes; empty while that is not known."""
    return {**asdict(level), "state": level.word} if level is not None else {}
