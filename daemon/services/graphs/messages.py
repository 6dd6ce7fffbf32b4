"""Messages between the graph services of shards: requests to ship partitions and states, and figures of parts."""

from __future__ import annotations

from shoal.api.struct import Count, Number, Struct, Tick


class PartitionRequest(Struct):
    """Asks the receiver to ship a partition of a load from its disk, with its states of the runs on that graph.

    The shipment arrives on the tick plane, under the name of this fetch. Resent until it is offered.
    """

    request: str
    load: str
    partition: Number


class StatesRequest(Struct):
    """Asks the receiver to ship, in the same way, its states of a run's tick, for these partitions (bits).

    They travel as one piece, read at one moment, because a run moves on quickly.
    """

    request: str
    run: Count
    tick: Tick
    partitions: bytes


class PartitionMissing(Struct):
    """The sender does not hold what was requested; the receiver asks another shard."""

    request: str


class PartStatsRequest(Struct):
    """Asks for figures of the receiver's part of a load's graph."""

    request: str
    load: str


class PartStatsReply(Struct):
    """The sender's part: own nodes, edges that touch them, copies of others' nodes, edges that leave it, bytes."""

    request: str
    nodes: Count
    edges: Count
    ghosts: Count
    cross_edges: Count
    held_bytes: Count
