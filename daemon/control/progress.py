"""Progress gossip: every shard's position in each run, to find the late shard and what it is doing.

From time to time each shard sends a few others all that it knows. A shard's own record carries its sequence number,
and the greatest wins. So any shard can answer for a busy one, and an operator learns of a stuck shard from any other.
A barrier entry that arrives this way makes the tick plane request missing shares sooner.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from msgspec.structs import replace

from daemon.control.messages import Progress, ShardProgress


class ProgressGossip:
    """This shard's knowledge of everyone's progress in the active runs."""

    def __init__(self, shard: str, interval_ns: int, targets: int, random: Random) -> None:
        self._shard, self._interval_ns, self._targets, self._random = shard, interval_ns, targets, random
        self._known: dict[int, dict[str, ShardProgress]] = {}
        self._heard_ns: dict[tuple[int, str], int] = {}
        self._members: tuple[str, ...] = ()
        self._epoch = 0
        self._next_ns: int | None = None

    @property
    def deadline(self) -> int | None:
        """When to gossip next; None while no run is active."""
        return self._next_ns if self._known else None

    def enter_view(self, epoch: int, members: Sequence[str]) -> None:
        """Discards the records of an older view: its barriers are void, and a run may go back some ticks."""
        self._epoch, self._members = epoch, tuple(members)
        self._known.clear()
        self._heard_ns.clear()

    def begin(self, run: int, now: int) -> None:
        """Begins a run in this view."""
        self._known[run] = {}
        if self._next_ns is None or self._next_ns < now:
            self._next_ns = now + self._interval_ns

    def end(self, run: int) -> None:
        """Forgets a run that is over."""
        self._known.pop(run, None)
        self._heard_ns = {key: at for key, at in self._heard_ns.items() if key[0] != run}

    def own(self, run: int, entry: int, tick: int, doing: str, seconds: float, now: int) -> None:
        """Updates this shard's own position."""
        known = self._known.get(run)
        if known is None:
            return
        before = known.get(self._shard)
        sequence = before.sequence + 1 if before else 1
        known[self._shard] = ShardProgress(self._shard, sequence, entry, tick, doing, seconds)
        self._heard_ns[run, self._shard] = now

    def hear(self, message: Progress, now: int) -> list[tuple[str, int]]:
        """Merges another shard's knowledge; returns the barrier entries that were new."""
        known = self._known.get(message.run)
        if known is None or message.epoch != self._epoch:
            return []
        news = []
        for shard in message.shards:
            if shard.shard not in self._members or shard.shard == self._shard:
                continue
            before = known.get(shard.shard)
            if before is None or shard.sequence > before.sequence:
                known[shard.shard] = shard
                self._heard_ns[message.run, shard.shard] = now
                news.append((shard.shard, shard.entry))
        return news

    def gossip(self, now: int) -> list[tuple[str, Progress]]:
        """Returns the messages to send now, with their targets."""
        if self.deadline is None or now < self.deadline:
            return []
        self._next_ns = now + self._interval_ns
        others = [member for member in self._members if member != self._shard]
        chosen = sorted(self._random.sample(others, min(self._targets, len(others))))
        messages = [
            Progress(run, self._epoch, tuple(known[name] for name in sorted(known)))
            for run, known in self._known.items()
        ]
        return [(target, message) for target in chosen for message in messages]

    def committed(self, run: int) -> int:
        """Returns a tick known to be committed: the one before the latest that any shard is in."""
        return max(0, max((shard.tick for shard in self._known.get(run, {}).values()), default=0) - 1)

    def of(self, run: int, now: int) -> list[ShardProgress]:
        """Returns the known progress of a run, by shard; `seconds` includes the time since it was heard."""
        known = self._known.get(run, {})
        return [
            replace(known[name], seconds=known[name].seconds + (now - self._heard_ns[run, name]) / 1e9)
            for name in sorted(known)
        ]
