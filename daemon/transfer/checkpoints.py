"""Replicates a checkpoint's states to the disks that hold them: this shard's own, and those of the replicas.

    primary    Checkpoint ---------------------> replica
               StoreStates -> own disk           StoreStates -> its disk
               CheckpointRequest -------------->              (to silent replicas, with back-off)
               <------------ CheckpointMissing   not received: it is resent
               <--------------- CheckpointHeld   stored
               all replicas have it: TickHeld

A request follows the states that it asks for on the same connection. So a reply that they are missing proves that they
are lost, however slow the link is, and only then are they resent.

This is primary-backup replication. The primary waits for every replica, not for a majority: all of them are members of
the view, and a dead one leaves with it. A new view drops whatever is in flight (`clear`). States that are durable by
then still count, because members report what is on their disks.

A large checkpoint travels as several messages, so that none has more frames or bytes than a transport accepts, and a
loss does not resend everything. Each is acknowledged by the first of its partitions.

A replica accepts the states of a partition only from its primary, and only for runs that are active in this epoch. It
does not answer a checkpoint of a run that has not begun here yet; the primary sends it again. It acknowledges states
again that are already stored, and does not store states twice that are being stored.

Invariants: `TickHeld` is emitted once per hold, when the own disk and every replica have every state; tokens are never
reused, so a late answer from the disk, after `clear` or `forget`, is never attributed to another write.
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
"""The most by which the interval grows: silence may mean that a disk is slow or a checkpoint large."""
MESSAGE_PARTITIONS_MAX = 512
MESSAGE_BYTES_MAX = 64 << 20


@dataclass
class _Hold:
    """A checkpoint of this shard's own partitions, and the shards that have yet to report it durable."""

    tick: int
    token: int | None
    """The token of the write to the own disk; None once that is durable."""
    messages: dict[tuple[str, int], Checkpoint]
    """Unacknowledged messages, by replica and first partition."""
    copies: dict[tuple[str, int], int]
    """How many copies of each were sent."""
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
    """All checkpoints of one shard in one epoch, its own and those that it stores for others."""

    def __init__(self, shard: str, resend_interval_ns: int = RESEND_INTERVAL_NS) -> None:
        self.shard = shard
        self.refused = 0
        """Messages from shards that are not the primary, or whose states don't fit."""
        self._resend_interval_ns = resend_interval_ns
        self._runs: dict[int, _Run] = {}
        self._tokens: dict[int, tuple[int, tuple[str, int] | None]] = {}
        """For each pending token: the run and, for other shards' states, the key in `stored`."""
        self._last_token = 0

    # -- active runs -----------------------------------------------------------------------------------------------

    def begin(self, run: int, primaries: Mapping[int, str], sizes: Mapping[int, int] | None = None) -> None:
        """Begins a run in this epoch. `sizes`, if known, are the bytes of each partition's state."""
        assert run not in self._runs, run
        self._runs[run] = _Run(primaries, sizes)

    def forget(self, run: int) -> None:
        """Drops a run that the cluster is done with."""
        self._runs.pop(run, None)
        self._tokens = {token: what for token, what in self._tokens.items() if what[0] != run}

    def clear(self) -> None:
        """Drops everything of the old view."""
        self._runs.clear()
        self._tokens.clear()

    # -- doors -----------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        """When to ask about unacknowledged states."""
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
        """Stores this shard's states of a tick on its own disk and on each partition's replicas; one tick per run."""
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
        """Takes a peer's message."""
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
        """Asks the replicas that are silent."""
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
        """Takes note that a write is durable; ignores tokens that are no longer pending."""
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

    # -- queries ---------------------------------------------------------------------------------------------------

    def lacking(self, run: int) -> tuple[str, ...]:
        """Returns the shards that have yet to make the current checkpoint durable, this one included."""
        known = self._runs.get(run)
        if known is None or known.hold is None:
            return ()
        own = {self.shard} if known.hold.token is not None else set()
        return tuple(sorted(own | {replica for replica, _ in known.hold.messages}))

    def accepts(self, sender: str, message: Checkpoint) -> bool:
        """Whether this shard stores these states for the sender: only a partition's primary may write them."""
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
        """Asserts the machine's invariants."""
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
                return []  # it is being stored, or is an old one; otherwise the primary sends it again
            if tick == before.tick:
                return [SendTick(sender, CheckpointHeld(run, tick, first))]
        token = self._token(run, (sender, first))
        known.stored[sender, first] = _Stored(tick, token)
        states = dict(zip(message.partitions, message.frames, strict=True))
        return [StoreStates(run, tick, message.floor, states, token)]

    def _asked(self, known: _Run, sender: str, asked: CheckpointRequest) -> list[ReplicationEffect]:
        """Answers whether a primary's states have arrived; not while some are being stored: an answer follows then."""
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
        """Resends a message, unless the lost copy was an older one."""
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
        hold.sent_at, hold.interval_ns = now, self._resend_interval_ns  # the link works, and the rest may be in flight
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
    """Yields messages with the partitions in order, each within the limits; a single partition may exceed them."""
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
