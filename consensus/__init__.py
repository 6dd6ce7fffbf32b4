"""Raft-lite: a replicated log as a pure state machine, with no clock, thread, socket or file.

The manual, for a host::

    raft = Raft(name, stored, Limits(...), Random(seed), now)      stored: what is on disk; Stored() for a newcomer
    effects = raft.step(sender, message, now)                      a message came
    effects = raft.wake(now)                                       raft.deadline has passed
    effects = raft.propose([b"...", b"..."], now)                  an order; raises Refused, with a reason and a leader
    effects = raft.persisted(persist, now)                         a ``Persist`` is durable
    effects = raft.read(asker, request, now)                       a question to the leader; ``Readable`` is the answer

Carry out the effects strictly in order (effects.py), each before the next: a ``Persist`` is durable before
the ``Send`` behind it leaves. ``EffectQueue`` keeps that order for a host that goes on while its disk writes.
The host's own state begins as ``stored.snapshot.chunks`` and takes each ``Committed`` entry in order; those whose
``is_command`` is false are configurations and no-ops. Now and then the host hands its state back with
``raft.compact(index, chunks)``, and the log is cut. A snapshot that it has ``Received`` from the leader, and can
read, it takes by ``raft.install(snapshot)``; ``Restored`` follows.

A cluster begins with ``Stored.bootstrap(configuration)`` on each first member. All others start with
``Stored()``, and the leader adds them: ``add_server(name, voter=False, now)``, and ``voter=True`` once
``is_caught_up(name)``.

When a server is known to have started again, with a term and a log that it says to have found on its disk,
``raft.started_again(server, term, last_index)`` finds out whether it has forgotten what it promised; what the host
knows better, it says by ``raft.promises.distrust(server)``. Neither its votes nor its logs count from then on.

Start reading at raft.py. Imports nothing of ours.
"""

from consensus.configuration import Configuration
from consensus.effect_queue import EffectQueue
from consensus.effects import (
    BecameLeader,
    Committed,
    Effect,
    Forgot,
    LeaderChanged,
    Persist,
    Readable,
    Received,
    Restored,
    Send,
)
from consensus.election import Role
from consensus.limits import Limits
from consensus.messages import (
    Append,
    AppendReply,
    InstallSnapshot,
    Message,
    PreVoteReply,
    PreVoteRequest,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from consensus.raft import Raft
from consensus.refusal import Reason, Refused
from consensus.stored import CHUNK_BYTES_MAX, Entry, HardState, Snapshot, SnapshotHeader, Stored

__all__ = [
    "CHUNK_BYTES_MAX",
    "Append",
    "AppendReply",
    "BecameLeader",
    "Committed",
    "Configuration",
    "Effect",
    "EffectQueue",
    "Entry",
    "Forgot",
    "HardState",
    "InstallSnapshot",
    "LeaderChanged",
    "Limits",
    "Message",
    "Persist",
    "PreVoteReply",
    "PreVoteRequest",
    "Raft",
    "Readable",
    "Reason",
    "Received",
    "Refused",
    "Restored",
    "Role",
    "Send",
    "Snapshot",
    "SnapshotHeader",
    "SnapshotReply",
    "Stored",
    "TimeoutNow",
    "VoteReply",
    "VoteRequest",
]
