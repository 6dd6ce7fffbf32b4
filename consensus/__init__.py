"""Raft-lite: a replicated log as a pure state machine, with no clock, thread, socket or file.

How a host uses it::

    raft = Raft(name, stored, Limits(...), Random(seed), now)      stored: what is on disk; Stored() for a newcomer
    effects = raft.step(sender, message, now)                      for each message
    effects = raft.wake(now)                                       once raft.deadline has passed
    effects = raft.propose([b"...", b"..."], now)                  a proposal; raises Refused, naming a reason
    effects = raft.persisted(persist, now)                         once a ``Persist`` is durable
    effects = raft.read(asker, request, now)                       a read, at the leader; ``Readable`` is the answer

The host carries out the effects strictly in order (effects.py): a ``Persist`` is durable before the ``Send`` behind it
leaves. ``EffectQueue`` keeps that order for a host that goes on while its disk writes. The host's own state begins as
``stored.snapshot.chunks``. The host applies each ``Committed`` entry in order; entries whose ``is_command`` is false
are configurations and no-ops. From time to time the host calls ``raft.compact(index, chunks)`` with its state, which
cuts the log. When it has ``Received`` a snapshot from the leader and can read it, it calls ``raft.install(snapshot)``;
``Restored`` follows.

A cluster begins with ``Stored.bootstrap(configuration)`` on each first member. All others start with
``Stored()``, and the leader adds them: ``add_server(name, voter=False, now)``, and ``voter=True`` once
``is_caught_up(name)``.

When a server has restarted and reports the term and the log that it found on its disk,
``raft.started_again(server, term, last_index)`` checks whether it has forgotten a promise. A host that knows of such a
loss itself calls ``raft.promises.distrust(server)``. From then on neither that server's votes nor its log count.

Start reading at raft.py. Imports no other package of this repository.
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
