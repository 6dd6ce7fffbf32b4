"""Which messages a shard's control plane accepts, grouped by the machine that handles them."""

from __future__ import annotations

import consensus
from daemon.control.effects import Effect, Send, SendToAddress
from daemon.control.leader.messages import RunReport, StatesHeld
from daemon.control.messages import (
    ClockReply,
    ClockRequest,
    DiskForgets,
    Grant,
    Progress,
    Proposal,
    ProposalRefused,
    ReadIndexReply,
    ReadIndexRequest,
    StepReply,
    StepRequest,
)
from daemon.membership.messages import Ack, Gossip, Nack, NameTaken, Ping, PingRequest, PushPull, PushPullReply

MEMBERSHIP_MESSAGES = (Ping, PingRequest, Ack, Nack, Gossip, PushPull, PushPullReply, NameTaken)
CONSENSUS_MESSAGES = (
    consensus.PreVoteRequest,
    consensus.PreVoteReply,
    consensus.VoteRequest,
    consensus.VoteReply,
    consensus.Append,
    consensus.AppendReply,
    consensus.InstallSnapshot,
    consensus.TimeoutNow,
    consensus.SnapshotReply,
)
CLUSTER_MESSAGES = (
    Proposal,
    ProposalRefused,
    RunReport,
    StatesHeld,
    Grant,
    StepRequest,
    StepReply,
    Progress,
    ReadIndexRequest,
    ReadIndexReply,
    DiskForgets,
    ClockRequest,
    ClockReply,
)
LEADERS_ANSWERS = (Grant, StepReply, ProposalRefused, ReadIndexReply)
"""Only the tick leader may send these: a forged grant would let a paced run continue without a pause."""


def is_of_membership(effect: Effect) -> bool:
    """Whether an effect sends a membership message, which relies on nothing on disk."""
    return isinstance(effect, Send | SendToAddress) and isinstance(effect.message, MEMBERSHIP_MESSAGES)
