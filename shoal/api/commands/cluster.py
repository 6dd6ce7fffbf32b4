"""Commands about a shard and its cluster: state, membership, backup and logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

from shoal.api.command import POSITION, REST, Choices, Command, command
from shoal.api.commands.names import GRAPH, RUN, Stage


class ArgumentRow(TypedDict):
    """An argument of a command."""

    name: str
    type: str
    required: bool
    default: Any
    summary: str


class CommandRow(TypedDict):
    """A command that a daemon answers."""

    name: str
    summary: str
    usage: str
    params: list[ArgumentRow]


class HelpReply(TypedDict):
    """The commands that a daemon answers."""

    commands: list[CommandRow]


@command("help", reads="here")
class Help(Command[HelpReply]):
    """List the commands of the admin socket."""

    command: Annotated[str | None, "show the arguments of this command", REST] = None


class OtherCluster(TypedDict):
    """A sender from another cluster."""

    cluster: Annotated[str, "the id of its founding"]
    name: str
    address: str
    messages: int
    seconds_ago: float


class VersionRow(TypedDict):
    """Members that run one version."""

    version: Annotated[str | None, "of Shoal"]
    oldest: Annotated[int | None, "the oldest cluster version that it can write"]
    newest: Annotated[int | None, "the newest one; all three null if they are not announced"]
    members: list[str]


class VersionHolder(TypedDict):
    """A shard that keeps the cluster version down."""

    shard: str
    reason: Annotated[str, "why, and what to do, as text"]


class Halted(TypedDict):
    """A graph that lacks partitions."""

    graph: str
    partitions: list[int]
    shards: Annotated[list[str], "that held them"]


class HeldBack(TypedDict):
    """An unstable member."""

    shard: str
    departures: int
    seconds: Annotated[float, "until the view admits it"]


class Repair(TypedDict):
    """Copies that are being restored."""

    done: int
    total: int
    bytes: int
    waits: Annotated[str, "the missing room, as text"]


class Disk(TypedDict, total=False):
    """The disk of a data folder."""

    state: Annotated[Literal["ok", "low", "full"], "ok, low or full"]
    total: Annotated[int, "bytes, as are the following"]
    free: int
    warn: Annotated[int, "the threshold of low"]
    refuse: Annotated[int, "the threshold of full"]
    bulk: Annotated[int, "what it still accepts of graphs and states"]
    has_reserve: bool


class StatusReply(TypedDict):
    """The state of a shard."""

    shard: str
    generation: int
    version: str
    cluster: str
    founding: Annotated[str, "the id of the cluster that this shard belongs to or waits for; empty if there is none"]
    waiting: Annotated[str, "what a shard without a cluster waits for, as text"]
    other_clusters: Annotated[list[OtherCluster], "as in `members`"]
    epoch: int
    leader: str | None
    term: int
    state: Annotated[str, "starting, joined, drained"]
    ready: bool
    ready_detail: str
    members: Annotated[Mapping[str, int], "the number alive, suspect, dead, left"]
    versions: Annotated[list[VersionRow], "of the live members; several rows if they differ"]
    cluster_version: Annotated[
        int, "the newest format that members write to each other and to disk; 0 before they have agreed on one"
    ]
    version_held: Annotated[list[VersionHolder], "shards without which it would rise"]
    majority: Annotated[bool, "whether this side can make decisions"]
    draining: Annotated[list[str], "shards that are drained or draining"]
    halted: Annotated[list[Halted], "graphs that lack partitions"]
    held_back: Annotated[list[HeldBack], "on the leader: unstable members"]
    repair: Annotated[Repair, "restored copies"]
    disk: Annotated[Disk, "of the data folder; empty until it is known"]
    graphs: int
    runs: Annotated[Mapping[str, int], "the number in each state"]
    uptime_seconds: float
    pid: int


@command("status", reads="here")
class Status(Command[StatusReply]):
    """Show the state of this shard and its cluster."""


class MemberRow(TypedDict):
    """A shard known to the one that answers."""

    name: str
    generation: int
    state: str
    incarnation: int
    control: str
    ticks: str
    in_view: bool
    version: Annotated[str | None, "of Shoal"]
    oldest: Annotated[int | None, "the oldest cluster version that it can write"]
    newest: Annotated[int | None, "the newest one; all three null if it does not announce them"]
    tags: Mapping[str, str]


class MembersReply(TypedDict):
    """The shards known to the one that answers."""

    members: list[MemberRow]
    other_clusters: Annotated[
        list[OtherCluster], "senders from other clusters whose messages this shard refused in the last five minutes"
    ]


@command("members", reads="here")
class Members(Command[MembersReply]):
    """List the shards that this shard knows, and whether they are alive."""


class ViewReply(TypedDict):
    """The view of an epoch."""

    epoch: int
    members: list[str]
    leader: str | None
    partitions: int
    placement: Annotated[Mapping[str, int], "partitions by shard"]


@command("view")
class View(Command[ViewReply]):
    """Show the members, leader and placement of the current epoch."""


class PartitionRow(TypedDict):
    """The holders of a partition."""

    partition: int
    primary: str | None
    replicas: Annotated[list[str], "the other holders"]


class RingReply(TypedDict):
    """The holders of the partitions of a graph."""

    virtual_nodes: int
    partitions: list[PartitionRow]


@command("ring")
class Ring(Command[RingReply]):
    """List the holders of each partition."""

    graph: Annotated[str | None, "name of a graph; default: the cluster's default placement", GRAPH] = None


class BarrierRow(TypedDict):
    """The barrier of a run."""

    run: str
    tick: int
    phase: str
    entries: Annotated[Mapping[str, int], "the counter, by shard"]
    missing: list[str]
    waiting_seconds: float
    doing: Mapping[str, str]


class BarrierReply(TypedDict):
    """The barriers of active runs."""

    runs: Annotated[list[BarrierRow], "the active ones"]


@command("barrier", reads="named")
class Barrier(Command[BarrierReply]):
    """Show which shards have reached the barrier, which are missing, and what they are doing."""

    run: Annotated[str | None, "name of a run; default: all active runs", RUN, POSITION] = None


class FoundReply(TypedDict):
    """The new cluster."""

    shard: str
    founding: Annotated[str, "the id of the cluster"]


@command(
    "found",
    reads="here",
    changes=True,
    interrupted="interrupted: the cluster may have been founded; `shoalctl status` shows it",
)
class Found(Command[FoundReply]):
    """Found a cluster that consists of this shard; others join it.

    Shards with seeds and `cluster.expect = 1` wait to be admitted and do not found a cluster themselves. Run this
    command once, on one of them. It is refused if the shard belongs to a cluster, if it sees one or one is being
    founded, or if `cluster.expect` is more than 1. Two shards that run it at the same moment, or can't see each other,
    found two clusters, which do not mix: stop the shard that the others did not join, move its data folder away, and
    start it again. If you can't rule that out, set `cluster.expect` instead.
    """


class HandedOver(TypedDict):
    """The partitions that a shard has handed over."""

    shard: str
    state: Annotated[str, "drained or left"]
    partitions: Annotated[int, "that it served"]
    bytes: Annotated[int, "of graphs on its disk"]
    seconds: float


@command(
    "drain",
    changes=True,
    events=Stage,
    interrupted="the drain continues; `shoalctl status` shows its progress, and `shoalctl join` undoes it",
)
class Drain(Command[HandedOver]):
    """Hand all partitions of this shard over to the others, and accept no new ones.

    The command returns once a view excludes this shard; by then the others, which copy at `storage.repair_bandwidth`,
    have enough copies of each partition. Runs continue. The daemon stays up and answers; `join` or a restart brings it
    back. The command is refused if no other shard can take over or there is no tick leader.
    """


@command(
    "leave",
    changes=True,
    events=Stage,
    interrupted="the drain continues, but the shard stays: `shoalctl leave` completes it, `shoalctl join` undoes it",
)
class Leave(Command[HandedOver]):
    """Drain this shard, announce its departure and stop its daemon.

    The shard leaves permanently and gives up its vote. A daemon started again in the same folder joins like any other.
    SIGTERM also drains, for at most `cluster.drain_timeout`, but keeps the vote.
    """


class JoinReply(TypedDict):
    """The shard, back in the view."""

    shard: str
    state: Annotated[str, "joined"]
    epoch: int


@command(
    "join",
    changes=True,
    events=Stage,
    interrupted="the shard still joins; `shoalctl status` shows when it has",
)
class Join(Command[JoinReply]):
    """Return this shard to the view after a drain."""


class SavedGraph(TypedDict):
    """A graph in a backup."""

    graph: str
    nodes: int
    edges: int
    partitions: int


class SavedRun(TypedDict):
    """A run in a backup."""

    run: str
    graph: str
    state: str
    tick: int


class BackupReply(TypedDict):
    """The contents of a backup."""

    shard: str
    dir: str
    bytes: int
    epoch: int
    graphs: list[SavedGraph]
    runs: list[SavedRun]
    seconds: float


@command(
    "backup",
    changes=True,
    events=Stage,
    interrupted="interrupted: the backup is cancelled, and its folder removed",
)
class Backup(Command[BackupReply]):
    """Back up the cluster to a new folder on the daemon's machine, without stopping anything.

    The folder contains every partition of every graph, the kept results of finished runs, and for each active run the
    state of a checkpoint tick (tick 0 if checkpoints are always replaced before they are copied). It is named
    `DIR.partial` until it is complete and synced. `shoald --restore DIR` starts a new cluster from it.
    """

    dir: Annotated[str, "a new or empty folder on the daemon's machine, as an absolute path"]


class LogLevelReply(TypedDict):
    """The new log level."""

    level: str


@command(
    "log-level",
    reads="here",
    changes=True,
    interrupted="interrupted: the level may have changed; `shoalctl log-level {level}` sets it again",
)
class LogLevel(Command[LogLevelReply]):
    """Change the log level of the daemon until its next start."""

    level: Annotated[str, "debug, info, warning or error", Choices(("debug", "info", "warning", "error"))]
    logger: Annotated[str | None, "one logger, such as shoal.admin; default: all"] = None


class MetricsReply(TypedDict):
    """The metrics."""

    text: str


@command("metrics", reads="here")
class Metrics(Command[MetricsReply]):
    """Print the metrics that the metrics port serves, even if the port is closed."""

    prefix: Annotated[str | None, "only metrics whose names begin with this", POSITION] = None
