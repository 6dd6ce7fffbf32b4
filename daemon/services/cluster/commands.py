"""Handles the admin socket's commands about a shard and its cluster: their state, and members that come and go."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable
from typing import TypedDict

from daemon.admin.registry import Registry
from daemon.control.raising import Holder, holding_down
from daemon.control.versions import Version, by_version, version_of, versions_of
from daemon.membership.messages import STATUS_NAMES
from daemon.observe.logs import UnknownLevel, set_level
from daemon.observe.metrics import Metrics
from daemon.runtime.context import HostContext
from daemon.services.cluster.disk_room import DiskRoom, Level
from daemon.services.cluster.drain import Departure, Handed, Tell
from daemon.services.cluster.readiness import readiness
from daemon.services.cluster.waiting import why_waiting
from daemon.services.graphs.repair import Repair
from daemon.services.graphs.transfer import placement_of
from daemon.services.known import Known
from daemon.state.records import STATES
from shoal import __version__
from shoal.api.command import Exchange
from shoal.api.commands import cluster as api
from shoal.api.errors import Refused, Usage

log = logging.getLogger("shoal.admin")

REPLY_SECONDS = 0.2
"""The time between the answer of `leave` and the end, so that the answer gets out."""


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
        commands.bind(
            api.Status.answered_by(self.status),
            api.Members.answered_by(self.members),
            api.View.answered_by(self.view),
            api.Ring.answered_by(self.ring),
            api.Found.answered_by(self.found),
            api.Drain.followed_by(self.drain),
            api.Leave.followed_by(self.leave),
            api.Join.followed_by(self.join),
            api.LogLevel.answered_by(self.log_level),
            api.Metrics.answered_by(self.metrics),
        )

    async def status(self, _: api.Status) -> api.StatusReply:
        shard, registry, expect = self._state, self._state.registry, self._config.cluster.expect
        states = Counter(STATUS_NAMES[record.status] for record in shard.membership.members())
        runs = Counter(run.state for run in registry.runs.values())
        ready, why = readiness(shard)
        repair = self._repair.progress
        return {
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
            "version_held": self._version_held(),
            "majority": shard.leader is not None,
            "draining": sorted(registry.draining),
            "halted": self._halted(),
            "held_back": self._held_back(),
            "repair": {
                "done": repair.done,
                "total": repair.total,
                "bytes": repair.bytes,
                "waits": repair.waits,
            },
            "disk": _disk(self._disk_room.level),
            "graphs": len(registry.graphs),
            "runs": {name: runs.get(name, 0) for name in STATES},
            "uptime_seconds": (self._now() - self._began_ns) / 1e9,
            "pid": os.getpid(),
        }

    def _now(self) -> int:
        return self._context.clock.monotonic_ns()

    def _versions(self) -> list[api.VersionRow]:
        """Returns the live members' versions: several rows while an upgrade is in progress, or was forgotten."""
        members = by_version(versions_of(self._state.membership.live()))
        rows: list[api.VersionRow] = [{**_told(version), "members": names} for version, names in members.items()]
        return sorted(rows, key=lambda row: row["members"])

    def _version_held(self) -> list[api.VersionHolder]:
        """Returns the shards that hold the cluster version down, including servers that are gone."""
        shard = self._state
        if shard.registry.view is None or shard.raft is None:
            return []
        version, servers = shard.registry.cluster_version, shard.raft.configuration.members
        live = [record.member for record in shard.membership.live()]
        holders = holding_down(version, shard.registry.view.members, servers, live)
        return [{"shard": holder.shard, "reason": _why_held(holder)} for holder in holders]

    def _halted(self) -> list[api.Halted]:
        """Returns the graphs that wait for a shard with their only copy of some partitions."""
        registry = self._state.registry
        return [
            {"graph": name, "partitions": lost, "shards": registry.last_holders(name)}
            for name in sorted(registry.graphs)
            if (lost := registry.lost(name))
        ]

    def _held_back(self) -> list[api.HeldBack]:
        """Returns flapping members that have to stay up before they are readmitted; only the leader knows them."""
        now = self._now()
        return [
            {"shard": name, "departures": departures, "seconds": max(0.0, (until_ns - now) / 1e9)}
            for name, (departures, until_ns) in self._state.held_back.items()
        ]

    async def members(self, _: api.Members) -> api.MembersReply:
        shard = self._state
        view = shard.registry.view
        in_view = {(member.name, member.generation) for member in view.members} if view else set()
        rows: list[api.MemberRow] = [
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
        return {"members": rows, "other_clusters": self._context.network.strangers()}

    async def view(self, _: api.View) -> api.ViewReply:
        shard, partitions = self._state, self._config.graph.partitions
        view = shard.registry.view
        held = Counter(holders[0] for holders in placement_of(view, partitions)) if view else Counter[str]()
        names = list(view.names) if view else []
        return {
            "epoch": shard.registry.epoch,
            "members": names,
            "leader": shard.leader,
            "partitions": partitions,
            "placement": {name: held.get(name, 0) for name in names},
        }

    async def ring(self, asked: api.Ring) -> api.RingReply:
        """Returns the holders of each partition: of a graph in this epoch, or of one that would be loaded now."""
        registry, name = self._state.registry, asked.graph
        view = registry.view
        if name is not None:
            placement = registry.placements[self._known.graph(name).name]
        else:
            placement = placement_of(view, self._config.graph.partitions) if view else ()
        rows: list[api.PartitionRow] = [
            {"partition": i, "primary": holders[0] if holders else None, "replicas": list(holders[1:])}
            for i, holders in enumerate(placement)
        ]
        virtual_nodes = view.virtual_nodes if view else self._config.graph.virtual_nodes
        return {"virtual_nodes": virtual_nodes, "partitions": rows}

    async def found(self, _: api.Found) -> api.FoundReply:
        reason = self._context.orders.found()
        if reason:
            raise Refused(f"no cluster was founded: {reason}")
        shard = self._state
        log.info("founded a cluster, as %s, on an operator's command", shard.founding)
        return {"shard": self._context.me, "founding": shard.founding}

    def _handed_over(self, state: str, handed: Handed) -> api.HandedOver:
        shard, partitions = self._context.me, handed.partitions
        return {
            "shard": shard, "state": state, "partitions": partitions, "bytes": handed.bytes, "seconds": handed.seconds,
        }  # fmt: skip

    async def drain(self, _: api.Drain, exchange: Exchange) -> api.HandedOver:
        handed = await self._departure.drain(_teller(exchange, "drain"))
        return self._handed_over("drained", handed)

    async def leave(self, _: api.Leave, exchange: Exchange) -> api.HandedOver:
        handed = await self._departure.drain(_teller(exchange, "drain"))
        await exchange.emit({"stage": "seat", "done": 0, "total": 1})
        await self._departure.hand_over_leadership()
        await self._departure.give_up_seat()
        asyncio.get_running_loop().call_later(REPLY_SECONDS, self._stop)
        return self._handed_over("left", handed)

    async def join(self, _: api.Join, exchange: Exchange) -> api.JoinReply:
        await self._departure.join(_teller(exchange, "join"))
        epoch = self._state.registry.epoch
        return {"shard": self._context.me, "state": "joined", "epoch": epoch}

    async def log_level(self, asked: api.LogLevel) -> api.LogLevelReply:
        try:
            return {"level": set_level(asked.level, asked.logger)}
        except UnknownLevel as unknown:
            raise Usage(str(unknown)) from unknown

    async def metrics(self, asked: api.Metrics) -> api.MetricsReply:
        metrics = self._metrics
        metrics.refresh()
        return {"text": await asyncio.to_thread(metrics.render, asked.prefix or "")}


def _teller(exchange: Exchange, stage: str) -> Tell:
    async def tell(done: int, total: int) -> None:
        await exchange.emit({"stage": stage, "done": done, "total": total})

    return tell


class _Told(TypedDict):
    version: str | None
    oldest: int | None
    newest: int | None


def _why_held(holder: Holder) -> str:
    if not holder.is_there:
        return (
            "it is away: start it with the newer version, or, if its machine is lost, a new one under its name with an"
            " empty data folder"
        )
    if holder.version is None:
        return "it does not announce its version: install the one that the others run"
    return f"it runs {holder.version}: install the version that the others run"


def _told(version: Version | None) -> _Told:
    """Returns a member's announced version; without one, nulls."""
    if version is None:
        return {"version": None, "oldest": None, "newest": None}
    return {"version": version.shoal, "oldest": version.oldest, "newest": version.newest}


def _disk(level: Level | None) -> api.Disk:
    """Returns how full the data folder's disk is, in words and bytes; empty while that is unknown."""
    if level is None:
        return {}
    return {
        "total": level.total,
        "free": level.free,
        "warn": level.warn,
        "refuse": level.refuse,
        "bulk": level.bulk,
        "has_reserve": level.has_reserve,
        "state": level.word,
    }
