"""Replicates a checkpoint's states to the disks that hold them: this shard's own, and those of the replicas.

    primary    Checkpoint ---------------------> replica
               StoreStates -> own disk           StoreStates -> its disk
               CheckpointRequest -------------->              (to silent replicas, with back-off)
               <------------ CheckpointMissing   not there: it is resent
               <--------------- CheckpointHeld   stored
               all have it: TickHeld

A request follows the states that it asks for on the same connection. So the answer that they are missing proves that
they are lost, however slow the link is, and only then are they resent.

This is primary-backup replication, and the primary waits for every replica and not for a majority: all of them are
members of the view, and a dead one leaves with it. A new view drops whatever was under way (`clear`). What is durable
by then counts as held all the same, because members report what is on their disks.

A large checkpoint travels as several messages, so that none has more frames or bytes than a transport accepts at once,
and a loss does not resend everything. Each is acknowledged by the first of its partitions.

A replica accepts the states of a partition only from its primary, and only of runs that are active in this epoch. It
leaves a checkpoint of a run that has not begun here yet without an answer; it will come again. It acknowledges again
what is already stored, and does not store twice what is being stored.

Invariants: `TickHeld` is emitted once per hold, when the own disk and every replica have every state; tokens are never
reused, so a late answer from the disk, after `clear` or `forget`, is never mistaken for another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from shoal.lockstep.effects import SendTick, StoreStates, TickHeld
from shoal.lockstep.frames import Buffer, size_of
from shoal.lockstep.messages import Checkpoint, CheckpointHeld, CheckpointMissing, CheckpointRequest

ReplicationEffect: TypeAlias = SendTick | StoreStates | TickHeld
ReplicationMessage: TypeAlias = Checkpoint | CheckpointHeld | CheckpointRequest | CheckpointMissing
RESEND_INTERVAL_NS = 1_000_000_000
RESEND_FACTOR_MAX = 4
"""Silence may mean that a disk is slow or a checkpoint large."""
MESSAGE_PARTITIONS_MAX = 512
MESSAGE_BYTES_MAX = 64 << 20


@dataclass
class _Hold:
    """A checkpoint of this shard's own partitions, and the shards that have yet to report it durable."""

    tick: int
    token: int | None
    """Under which the own disk will say so; None once it has."""
    messages: dict[tuple[str, int], Checkpoint]
    """By replica and first partition: what it has not acknowledged."""
    copies: dict[tuple[str, int], int]
    """How often each of them was sent."""
    sent_at: int
    interval_ns: int


@dataclass
class _Stored:
    """The last checkpoint message of a primary, for some of its partitions."""

    tick: int
    token: int | None
    """None once it is durable."""


@dataclass
class _Run:
    """The shards that may write a run's states."""

    primaries: Mapping[int, str]
    sizes: Mapping[int, int] | None
    hold: _Hold | None = None
    stored: dict[tuple[str, int], _Stored] = field(default_factory=dict)


class Replication:
    """All checkpoints of one shard in one epoch, its own and those that it holds for others."""

    def __init__(self, shard: str, resend_interval_ns: int = RESEND_INTERVAL_NS) -> None:
        self.shard = shard
        self.refused = 0
        """Messages of who is no primary, or whose states don't fit."""
        self._resend_interval_ns = resend_interval_ns
        self._runs: dict[int, _Run] = {}
        self._tokens: dict[int, tuple[int, tuple[str, int] | None]] = {}
        """For each token whose answer is still of use: the run, and for others' states which of `stored`."""
        self._last_token = 0

    # -- which runs there are --------------------------------------------------------------------------------------

    def begin(self, run: int, primaries: Mapping[int, str], sizes: Mapping[int, int] | None = None) -> None:
        """A run begins in this epoch. `sizes`, if they are known, are the bytes of each partition's state."""
        assert run not in self._runs, run
        self._runs[run] = _Run(primaries, sizes)

    def forget(self, run: int) -> None:
        """The cluster is done with a run."""
        self._runs.pop(run, None)
        self._tokens = {token: what for token, what in self._tokens.items() if what[0] != run}

    def clear(self) -> None:
        """A new view: nothing of the old one goes on."""
        self._runs.clear()
        self._tokens.clear()

    # -- doors -----------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        """When to send again what was not acknowledged."""
        return min((hold.sent_at + hold.interval_ns for hold in self._unanswered()), default=None)

    def hold(
        self,
        run: int,
        tick: int,
        floor: int,
        states: Mapping[int, bytes],
        replicas: Mapping[int, Sequence[str]],
        now: int,
    ) -> list[ReplicationEffect]:
        """Bring this shard's states of a tick to its own disk and to each partition's replicas. One at a time a run."""
        known = self._runs[run]
        assert known.hold is None, (run, tick, known.hold)
        if not states:
            return [TickHeld(run, tick)]
        due: dict[str, list[int]] = {}
        for partition in sorted(states):
            for replica in replicas.get(partition, ()):
                if replica != self.shard:
                    due.setdefault(replica, []).append(partition)
        messages = {
            (replica, message.partitions[0]): message
            for replica in sorted(due)
            for message in _messages(run, tick, floor, due[replica], states)
        }
        token = self._token(run, None)
        known.hold = _Hold(tick, token, messages, dict.fromkeys(messages, 1), now, self._resend_interval_ns)
        sends = [SendTick(replica, message) for (replica, _), message in messages.items()]
        return [*sends, StoreStates(run, tick, floor, states, token)]

    def step(self, sender: str, message: ReplicationMessage, now: int) -> list[ReplicationEffect]:
        """Take a peer's message."""
        known = self._runs.get(message.run)
        if known is None:
            return []
        match message:
            case Checkpoint():
                return self._checkpoint(known, sender, message)
            case CheckpointRequest():
                return self._asked(known, sender, message)
            case CheckpointMissing():
                return self._lacking(known, sender, message, now)
            case CheckpointHeld():
                return self._durable(known, sender, message, now)
            case _:
                assert_never(message)

    def wake(self, now: int) -> list[ReplicationEffect]:
        """Ask who is silent."""
        effects: list[ReplicationEffect] = []
        for hold in self._unanswered():
            if now >= hold.sent_at + hold.interval_ns:
                hold.sent_at = now
                hold.interval_ns = min(2 * hold.interval_ns, RESEND_FACTOR_MAX * self._resend_interval_ns)
                effects += [
                    SendTick(replica, CheckpointRequest(message.run, message.tick, first, hold.copies[replica, first]))
                    for (replica, first), message in hold.messages.items()
                ]
        return effects

    def stored(self, token: int, now: int) -> list[ReplicationEffect]:
        """The host has made something durable; what nobody waits for any more is no harm."""
        run, whose = self._tokens.pop(token, (0, None))
        known = self._runs.get(run)
        if known is None:
            return []
        if whose is not None:
            stored = known.stored[whose]
            stored.token = None
            return [SendTick(whose[0], CheckpointHeld(run, stored.tick, whose[1]))]
        assert known.hold is not None
        known.hold.token = None
        return self._held(run, known)

    # -- read ------------------------------------------------------------------------------------------------------

    def lacking(self, run: int) -> tuple[str, ...]:
        """Who has not made the checkpoint at hand durable; this shard is named if its own disk has not."""
        known = self._runs.get(run)
        if known is None or known.hold is None:
            return ()
        own = {self.shard} if known.hold.token is not None else set()
        return tuple(sorted(own | {replica for replica, _ in known.hold.messages}))

    def accepts(self, sender: str, message: Checkpoint) -> bool:
        """Whether these are states that this sender may have stored here: only a partition's primary writes it."""
        known = self._runs.get(message.run)
        if known is None or not 0 <= message.floor <= message.tick:
            return False
        partitions, frames = message.partitions, message.frames
        if not partitions or len(partitions) != len(frames) or len(set(partitions)) != len(partitions):
            return False
        if sender == self.shard or any(known.primaries.get(partition) != sender for partition in partitions):
            return False
        sizes = known.sizes
        return sizes is None or all(
            size_of((frame,)) == sizes.get(partition) for partition, frame in zip(partitions, frames, strict=True)
        )

    def validate(self) -> None:
        """Assert the machine's invariants."""
        for run, known in self._runs.items():
            waiting = [stored.token for stored in known.stored.values() if stored.token is not None]
            if known.hold is not None:
                assert known.hold.token is not None or known.hold.messages, f"run {run} waits for nobody"
                waiting += [known.hold.token] if known.hold.token is not None else []
            assert sorted(waiting) == sorted(token for token, what in self._tokens.items() if what[0] == run)
        assert all(token <= self._last_token for token in self._tokens), self._tokens

    # -- within ----------------------------------------------------------------------------------------------------

    def _checkpoint(self, known: _Run, sender: str, message: Checkpoint) -> list[ReplicationEffect]:
        if not self.accepts(sender, message):
            self.refused += 1
            return []
        run, tick, first = message.run, message.tick, message.partitions[0]
        before = known.stored.get((sender, first))
        if before is not None:
            if before.token is not None or tick < before.tick:
                return []  # it is being stored, or it is an old one; if it is neither, it comes again
            if tick == before.tick:
                return [SendTick(sender, CheckpointHeld(run, tick, first))]
        token = self._token(run, (sender, first))
        known.stored[sender, first] = _Stored(tick, token)
        states = dict(zip(message.partitions, message.frames, strict=True))
        return [StoreStates(run, tick, message.floor, states, token)]

    def _asked(self, known: _Run, sender: str, asked: CheckpointRequest) -> list[ReplicationEffect]:
        """Whether a primary's states are here. While some are being stored there is no answer: that follows."""
        run, tick, first = asked.run, asked.tick, asked.first
        if sender == self.shard or known.primaries.get(first) != sender:
            return []
        before = known.stored.get((sender, first))
        if before is not None and (before.token is not None or tick < before.tick):
            return []
        if before is not None and tick == before.tick:
            return [SendTick(sender, CheckpointHeld(run, tick, first))]
        return [SendTick(sender, CheckpointMissing(run, tick, first, asked.copies))]

    def _lacking(self, known: _Run, sender: str, lacking: CheckpointMissing, now: int) -> list[ReplicationEffect]:
        """Send it again, unless it is an older copy that was lost."""
        hold, key = known.hold, (sender, lacking.first)
        if hold is None or hold.tick != lacking.tick or hold.copies.get(key) != lacking.copies:
            return []
        message = hold.messages.get(key)
        if message is None:
            return []
        hold.copies[key] += 1
        hold.sent_at, hold.interval_ns = now, self._resend_interval_ns
        return [SendTick(sender, message)]

    def _durable(self, known: _Run, sender: str, held: CheckpointHeld, now: int) -> list[ReplicationEffect]:
        hold = known.hold
        if hold is None or hold.tick != held.tick or hold.messages.pop((sender, held.first), None) is None:
            return []
        hold.sent_at, hold.interval_ns = now, self._resend_interval_ns  # the way is open, the rest may be on it
        return self._held(held.run, known)

    def _held(self, run: int, known: _Run) -> list[ReplicationEffect]:
        hold = known.hold
        if hold is None or hold.token is not None or hold.messages:
            return []
        known.hold = None
        return [TickHeld(run, hold.tick)]

    def _unanswered(self) -> Iterator[_Hold]:
        return (known.hold for known in self._runs.values() if known.hold is not None and known.hold.messages)

    def _token(self, run: int, whose: tuple[str, int] | None) -> int:
        self._last_token += 1
        self._tokens[self._last_token] = (run, whose)
        return self._last_token


def _messages(
    run: int, tick: int, floor: int, partitions: Sequence[int], states: Mapping[int, Buffer]
) -> Iterator[Checkpoint]:
    """Partitions in order, cut where a message would become too large; one alone may be of any size."""
    taken: list[int] = []
    bytes_taken = 0
    for partition in partitions:
        size = size_of((states[partition],))
        if taken and (len(taken) >= MESSAGE_PARTITIONS_MAX or bytes_taken + size > MESSAGE_BYTES_MAX):
            yield Checkpoint(run, tick, floor, tuple(taken), tuple(states[kept] for kept in taken))
            taken, bytes_taken = [], 0
        taken.append(partition)
        bytes_taken += size
    if taken:
        yield Checkpoint(run, tick, floor, tuple(taken), tuple(states[kept] for kept in taken))
