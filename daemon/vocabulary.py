"""Every message that may cross the wire, and its tag. A tag is never given to another message; new ones are added."""

from __future__ import annotations

from daemon.control.routing import CLUSTER_MESSAGES, CONSENSUS_MESSAGES, MEMBERSHIP_MESSAGES
from daemon.services.graphs.messages import (
    PartitionMissing,
    PartitionRequest,
    PartStatsReply,
    PartStatsRequest,
    StatesRequest,
)
from daemon.services.results.messages import (
    KeptTicksReply,
    KeptTicksRequest,
    RowsReply,
    RowsRequest,
    SearchReply,
    SearchRequest,
    TableReply,
    TableRequest,
)
from daemon.transfer.tick_plane import TICK_MESSAGES

HOST_MESSAGES = (
    RowsRequest,
    RowsReply,
    PartitionRequest,
    PartitionMissing,
    PartStatsRequest,
    PartStatsReply,
    StatesRequest,
    KeptTicksRequest,
    KeptTicksReply,
    TableRequest,
    TableReply,
    SearchRequest,
    SearchReply,
)
CONTROL_TYPES: dict[int, type] = {
    **dict(enumerate(MEMBERSHIP_MESSAGES, start=1)),
    **dict(enumerate(CONSENSUS_MESSAGES, start=32)),
    **dict(enumerate(CLUSTER_MESSAGES, start=64)),
    **dict(enumerate(HOST_MESSAGES, start=96)),
}
TICK_TYPES: dict[int, type] = dict(enumerate(TICK_MESSAGES, start=128))
