"""What a tick has cost, as its machines reported."""

from __future__ import annotations

from collections.abc import Sequence

from shoal.api.commands.runs import TickReply
from shoal.lockstep.effects import TickCommitted


def tick_result(committed: TickCommitted, members: Sequence[str]) -> TickReply:
    """Returns a tick as operators and programs see it: seconds by used phase and shard, and the bytes sent."""
    phases = {
        phase.word: {member: ns / 1e9 for member, (ns, _) in zip(members, shards, strict=True)}
        for phase, shards in committed.figures
    }
    crossed = sum(sent for _, shards in committed.figures for _, sent in shards)
    return {"tick": committed.tick, "phases": phases, "cross_bytes": crossed}
