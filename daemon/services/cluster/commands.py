"""What the admin socket answers about a shard and its cluster: how they are, and who comes and goes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from daemon.admin.registry import Registry, Reply, Request
from daemon.control.versions import Version, by_version, version_of, versions_of
from daemon.membership.messages import STATUS_NAMES
from daemon.observe.logs import UnknownLevel, set_level
from daemon.observe.metrics import Metrics
from daemon.runtime.context import HostContext
from daemon.services.cluster.disk_room import DiskRoom, Level
from daemon.services.cluster.drain import Departure, Tell
from daemon.services.cluster.readiness import readiness
from daemon.services.cluster.waiting import why_waiting
from daemon.services.graphs.repair import Repair
from daemon.services.graphs.transfer import placement_of
from daemon.services.known import Known
from daemon.state.records import STATES
from shoal import __version__
from shoal.api.errors import Refused, Usage

log = logging.getLogger("shoal.admin")

REPLY_SECONDS = 0.2
"""From the answer of `leave` to the end: the answer has to get out."""


class ClusterCommands:
    """The handlers. `stop` ends the daemon as a signal does."""

    def __init__(
        self,
        context: HostContext,
        known: Known,
        repair: Repair,
        disk_room: DiskRoom,
        metrics: Metrics,
        commands: Registry,
        stop: Callable[[], None],
    ) -> None:
        self._context, self._state, self._config, self._known = context, context.state, context.config, known
        self._repair, self._disk_room, self._metrics, self._stop = repair, disk_room, metrics, stop
        self._departure = Departure(context)
        self._began_ns = context.clock.monotonic_ns()
        for name in ("status", "members", "view", "ring", "found", "drain", "leave", "join", "log-level", "metrics"):
            commands.bind(name, getattr(self, name.replace("-", "_")))

    async def status(self, _: Request) -> Reply:
        shard, registry, expect = self._state, self._state.registry, self._config.cluster.expect
        states = Counter(STATUS_NAMES[record.status] for record in shard.membership.members())
        runs = Counter(run.state for run in registry.runs.values())
        ready, why = readiness(shard)
        return Reply(
            {
                "shard": shard.identity.name,
                "generation": shard.identity.generation,
                "version": __version__,
                "cluster": self._config.cluster.name,
                "founding": shard.founding,
                "waiting": why_waiting(shard, expect),
                "other_clusters": self._context.network.strangers(),
                "epoch": registry.epoch,
                "leader": shard.leader,
                "term": shard.raft.term if shard.raft else 0,
                "state": self._known.state,
                "ready": ready,
                "ready_detail": why,
                "members": {name: states.get(name, 0) for name in STATUS_NAMES},
                "versions": self._versions(),
                "cluster_version": registry.cluster_version,
                "majority": shard.leader is not None,
                "draining": sorted(registry.draining),
                "halted": self._halted(),
                "held_back": self._held_back(),
                "repair": asdict(self._repair.progress),
                "disk": _disk(self._disk_room.level),
                "graphs": len(registry.graphs),
                "runs": {name: runs.get(name, 0) for name in STATES},
                "uptime_seconds": (self._now() - self._began_ns) / 1e9,
                "pid": os.getpid(),
            }
        )

    def _now(self) -> int:
        return self._context.clock.monotonic_ns()

    def _versions(self) -> list[dict[str, Any]]:
        """What the members run that are alive: more than one row where an upgrade is under way, or was forgotten."""
        members = by_version(versions_of(self._state.membership.live()))
        rows = [{**_told(version), "members": names} for version, names in members.items()]
        return sorted(rows, key=lambda row: row["members"])

    def _halted(self) -> list[dict[str, Any]]:
        """Graphs that wait for a shard which holds what nobody else does."""
        registry = self._state.registry
        return [
            {"graph": name, "partitions": lost, "shards": registry.last_holders(name)}
            for name in sorted(registry.graphs)
            if (lost := registry.lost(name))
        ]

    def _held_back(self) -> list[dict[str, Any]]:
        """Members that come and go, and have to stay before they are let into the view; the leader knows."""
        now = self._now()
        return [
            {"shard": name, "departures": departures, "seconds": max(0.0, (until_ns - now) / 1e9)}
            for name, (departures, until_ns) in self._state.held_back.items()
        ]

    async def members(self, _: Request) -> Reply:
        shard = self._state
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
        return Reply({"members": rows, "other_clusters": self._context.network.strangers()})

    async def view(self, _: Request) -> Reply:
        shard, partitions = self._state, self._config.graph.partitions
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
        registry, name = self._state.registry, request.args["graph"]
        view = registry.view
        if name:
            placement = registry.placements[self._known.graph(name).name]
        else:
            placement = placement_of(view, self._config.graph.partitions) if view else ()
        rows = [
            {"partition": i, "primary": holders[0] if holders else None, "replicas": list(holders[1:])}
            for i, holders in enumerate(placement)
        ]
        virtual_nodes = view.virtual_nodes if view else self._config.graph.virtual_nodes
        return Reply({"virtual_nodes": virtual_nodes, "partitions": rows})

    async def found(self, _: Request) -> Reply:
        reason = self._context.orders.found()
        if reason:
            raise Refused(f"nothing is founded: {reason}")
        shard = self._state
        log.info("founded a cluster, as %s, because an operator said so", shard.founding)
        return Reply({"shard": self._context.me, "founding": shard.founding})

    async def drain(self, request: Request) -> Reply:
        handed = await self._departure.drain(_teller(request, "drain"))
        return Reply({"shard": self._context.me, "state": "drained", **asdict(handed)})

    async def leave(self, request: Request) -> Reply:
        handed = await self._departure.drain(_teller(request, "drain"))
        await request.emit({"stage": "seat", "done": 0, "total": 1})
        await self._departure.hand_over_leadership()
        await self._departure.give_up_seat()
        asyncio.get_running_loop().call_later(REPLY_SECONDS, self._stop)
        return Reply({"shard": self._context.me, "state": "left", **asdict(handed)})

    async def join(self, request: Request) -> Reply:
        await self._departure.join(_teller(request, "join"))
        epoch = self._state.registry.epoch
        return Reply({"shard": self._context.me, "state": "joined", "epoch": epoch})

    async def log_level(self, request: Request) -> Reply:
        try:
            return Reply({"level": set_level(request.args["level"], request.args["logger"])})
        except UnknownLevel as unknown:
            raise Usage(str(unknown)) from unknown

    async def metrics(self, request: Request) -> Reply:
        metrics = self._metrics
        metrics.refresh()
        return Reply({"text": await asyncio.to_thread(metrics.render, request.args["prefix"] or "")})


def _teller(request: Request, stage: str) -> Tell:
    async def tell(done: int, total: int) -> None:
        await request.emit({"stage": stage, "done": done, "total": total})

    return tell


def _told(version: Version | None) -> dict[str, Any]:
    """What a member says of its version; nothing of it, if it does not."""
    if version is None:
        return {"version": None, "oldest": None, "newest": None}
    return {"version": version.shoal, "oldest": version.oldest, "newest": version.newest}


def _disk(level: Level | None) -> dict[str, Any]:
    """Of the data folder's disk: how full it is, in words and bytes; empty while that is not known."""
    return {**asdict(level), "state": level.word} if level is not None else {}
