"""The member table: the greatest record received for each name, and the changes that a greater one causes.

Per name it is a join-semilattice over ``Record.precedence`` (a lattice of claims, not of truth), with four local
additions that are not merged: the running suspicion, the time since which the record has stood, ``hearsay``, and
whether a daemon has answered as that life (``proven``). Another life of a known name enters through ``supersede`` once
it has been verified (``claims``).

**The memory of the dead.** A forgotten member comes back by gossip: some peer still says ALIVE, and nobody contradicts.
So the table keeps records of dead and departed members for a time, at most a fixed number of them, and evicts the
longest dead first. But this memory must end. If each member passed its dead on to all, some member would always learn
anew what another just forgot, and the records would circulate forever. So a record of a dead member that we never knew
alive is *hearsay*: it protects against old ALIVE rumours, but is neither announced, nor gossiped, nor part of a
push-pull. After twice the retention time no member remembers the death.

Invariants: at most ``members_max`` live and ``dead_records_max`` dead; a suspicion runs for exactly the SUSPECT ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from daemon.membership.config import MembershipConfig
from daemon.membership.effects import (
    Announcement,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
)
from daemon.membership.messages import (
    ALIVE,
    CLUSTER_TAG,
    DEAD,
    INCARNATION_LEAP_MAX,
    INCARNATION_MAX,
    LEFT,
    STATUS_NAMES,
    SUSPECT,
    Record,
)
from daemon.membership.names import is_address, is_name
from daemon.membership.suspicion import Suspicion, suspicion_timeout_min_ns


@dataclass(slots=True)
class Entry:
    record: Record
    since_ns: int
    suspicion: Suspicion | None = None
    hearsay: bool = False
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """The effect of a record: ``spread`` marks it as news to pass on, ``refused`` as dropped for lack of room."""

    announcements: tuple[Announcement, ...] = ()
    spread: bool = False
    refused: bool = False


_NOTHING = Change()


def sensible(record: Record, config: MembershipConfig) -> bool:
    """Whether a peer's record keeps to the limits; the codec has checked the types."""
    member = record.member
    return (
        len(member.name) <= config.name_length_max
        and is_name(member.name)
        and max(len(member.control), len(member.ticks)) <= config.address_length_max
        and is_address(member.control)
        and (not member.ticks or is_address(member.ticks))
        and len(member.public_key) <= config.key_bytes_max
        and len(member.tags) <= config.tags_max
        and sum(len(key) + len(value) for key, value in member.tags) <= config.tags_length_max
        and all(key.isprintable() and value.isprintable() for key, value in member.tags)
        and 0 <= member.generation <= INCARNATION_MAX
        and 0 <= record.incarnation < INCARNATION_MAX
        and 0 <= record.status < len(STATUS_NAMES)
        and len(record.accuser) <= config.name_length_max
        and (not record.accuser or is_name(record.accuser))
    )


def is_foreign(record: Record, cluster: str) -> bool:
    """Whether a record is of a member of another cluster: a newcomer may have met both."""
    shown = next((value for key, value in record.member.tags if key == CLUSTER_TAG), "")
    return bool(cluster and shown) and shown != cluster


class MemberTable:
    def __init__(self, config: MembershipConfig, own: Record, now: int) -> None:
        self._config = config
        self._own_name = own.name
        self._entries: dict[str, Entry] = {own.name: Entry(own, now)}
        self._live = 1

    # -- queries

    def get(self, name: str) -> Record | None:
        entry = self._entries.get(name)
        return entry.record if entry else None

    def is_proven(self, name: str) -> bool:
        entry = self._entries.get(name)
        return entry is not None and entry.proven

    @property
    def own(self) -> Record:
        return self._entries[self._own_name].record

    @property
    def live_count(self) -> int:
        """The number of live members, including ourselves and suspected ones."""
        return self._live

    @property
    def companions(self) -> int:
        """The number of live members besides ourselves."""
        return self._live - self.own.live

    def records(self) -> list[Record]:
        return [entry.record for _, entry in sorted(self._entries.items())]

    def others(self, *statuses: int) -> list[Record]:
        return [r for r in self.records() if r.status in statuses and r.name != self._own_name]

    def first_hand(self) -> list[Record]:
        """Returns the records that may be passed on, our own first."""
        entries = (entry for name, entry in sorted(self._entries.items()) if name != self._own_name)
        return [self.own, *(entry.record for entry in entries if not entry.hearsay)]

    @property
    def deadline(self) -> int | None:
        """When the next suspicion expires or the next dead member is to be forgotten."""
        return min((self._entry_deadline(e) for e in self._entries.values() if self._timed(e)), default=None)

    def is_leap(self, record: Record) -> bool:
        """Whether a record claims an incarnation that the member can't have reached since the last known one."""
        known = self.get(record.name)
        before = known.incarnation if known is not None and known.generation == record.generation else 0
        return record.incarnation > before + INCARNATION_LEAP_MAX

    # -- changes

    def replace_own(self, record: Record, now: int) -> None:
        self._live += record.live - self.own.live
        self._entries[self._own_name] = Entry(record, now)

    def apply(self, record: Record, now: int, *, is_own: bool = False) -> Change:
        """Takes a record of another member, perhaps from itself.

        Peers' records don't change a proven member's address or key, which are fixed for a life: otherwise a forged
        record could keep the member from hearing and refuting it.
        """
        assert record.name != self._own_name, "what is said of ourselves is answered, not believed"
        entry = self._entries.get(record.name)
        if entry is None:
            return self._insert(record, now)
        known = entry.record
        assert record.generation == known.generation, "another life is taken by `supersede`"
        if entry.suspicion is not None and record.precedence == known.precedence:
            return Change(spread=entry.suspicion.confirm(record.accuser))
        if record.precedence <= known.precedence:
            return _NOTHING
        if record.incarnation == known.incarnation:
            record = replace(record, member=known.member)
        elif entry.proven and not is_own:
            record = replace(record, member=replace(known.member, tags=record.member.tags))
        if record.live and not known.live and self._live >= self._config.members_max:
            return Change(refused=True)
        self._put(record, now, hearsay=entry.hearsay and not record.live)
        return Change(_announcements(known, record), spread=not self._entries[record.name].hearsay)

    def hear_verdict(self, record: Record, teller: str, now: int) -> tuple[Record, Change]:
        """Takes a peer's verdict that another live member is dead or has left; returns the record applied instead.

        The verdict applies at once only after the minimal suspicion here, which an honest accuser has waited for as
        well.
        """
        suspect = replace(record, status=SUSPECT, accuser=record.accuser or teller)
        change = self.apply(suspect, now)
        entry = self._entries[record.name]
        if entry.suspicion is None or entry.record.incarnation != record.incarnation:
            return suspect, change  # refuted since then
        entry.suspicion.verdict = max(entry.suspicion.verdict or 0, record.status)
        if entry.suspicion.deadline > now:
            return suspect, change
        return record, self.apply(record, now)

    def supersede(self, record: Record, now: int) -> Change:
        """Replaces a known name's life by another one: the former is dead.

        Never refused if the former life was live: the new one takes its place.
        """
        known = self._entries[record.name].record
        if record.live and not known.live and self._live >= self._config.members_max:
            return Change(refused=True)
        failed = (MemberFailed(known.member),) if known.live else ()
        hearsay = not record.live and not known.live
        self._put(record, now, hearsay=hearsay)
        return Change((*failed, *_announcements(None, record)), spread=not hearsay)

    def prove(self, name: str, generation: int) -> None:
        """Notes that a daemon has answered as that life of a member."""
        entry = self._entries.get(name)
        if entry is not None and entry.record.generation == generation:
            entry.proven = True

    def expire_suspicions(self, now: int) -> list[Record]:
        """Returns the verdicts that are due, as records yet to be applied."""
        due = [e for _, e in sorted(self._entries.items()) if e.suspicion and e.suspicion.deadline <= now]
        return [replace(e.record, status=(e.suspicion and e.suspicion.verdict) or DEAD) for e in due]

    def forget_dead(self, now: int) -> list[str]:
        """Drops dead members whose retention is over or that are too many; returns their names."""
        dead = sorted((e.since_ns, name) for name, e in self._entries.items() if self._is_dead(e))
        surplus = len(dead) - self._config.dead_records_max
        gone = [
            name
            for rank, (since_ns, name) in enumerate(dead)
            if rank < surplus or since_ns + self._config.dead_retention_ns <= now
        ]
        for name in gone:
            del self._entries[name]
        return gone

    def forget(self, name: str) -> None:
        """Drops another member and all that is known of it."""
        assert name != self._own_name
        self._live -= self._entries.pop(name).record.live

    def postpone(self, duration_ns: int) -> None:
        """Excludes the time of our own absence."""
        for entry in self._entries.values():
            entry.since_ns += duration_ns
            if entry.suspicion is not None:
                entry.suspicion.postpone(duration_ns)

    def validate(self) -> None:
        entries = self._entries.values()
        assert self._live == sum(entry.record.live for entry in entries)
        assert self._live <= self._config.members_max
        assert sum(self._is_dead(entry) for entry in entries) <= self._config.dead_records_max
        for name, entry in self._entries.items():
            assert entry.record.name == name
            assert (entry.suspicion is not None) == (entry.record.status == SUSPECT)
            assert not (entry.hearsay and entry.record.live)
            if entry.suspicion is not None:
                entry.suspicion.validate()

    # -- within

    def _is_dead(self, entry: Entry) -> bool:
        return not entry.record.live and entry.record.name != self._own_name

    def _timed(self, entry: Entry) -> bool:
        return entry.suspicion is not None or self._is_dead(entry)

    def _entry_deadline(self, entry: Entry) -> int:
        if entry.suspicion is not None:
            return entry.suspicion.deadline
        return entry.since_ns + self._config.dead_retention_ns

    def _insert(self, record: Record, now: int) -> Change:
        if record.live and self._live >= self._config.members_max:
            return Change(refused=True)
        self._put(record, now, hearsay=not record.live)
        return Change(_announcements(None, record), spread=record.live)

    def _put(self, record: Record, now: int, *, hearsay: bool) -> None:
        old = self._entries.get(record.name)
        self._live += record.live - (old is not None and old.record.live)
        since_ns = now
        proven = old is not None and old.proven and old.record.generation == record.generation
        if old is not None and not old.record.live and not record.live and old.record.generation == record.generation:
            since_ns = old.since_ns  # a goodbye that arrives after the death does not extend the retention
        self._entries[record.name] = Entry(record, since_ns, None, hearsay, proven)
        if record.status == SUSPECT:
            self._entries[record.name].suspicion = self._suspicion(record.accuser, now)

    def _suspicion(self, accuser: str, now: int) -> Suspicion:
        config = self._config
        timeout_min_ns = suspicion_timeout_min_ns(config.suspicion_mult, self._live, config.probe_interval_ns)
        # The accuser and the accused can't confirm.
        wanted = min(config.suspicion_confirmations, self._live - 2)
        return Suspicion(accuser, now, timeout_min_ns, timeout_min_ns * config.suspicion_max_mult, wanted)


def _announcements(known: Record | None, record: Record) -> tuple[Announcement, ...]:
    """Returns what the change to a greater record of the same generation means to the shard."""
    member = record.member
    was_live = known is not None and known.live
    story: list[Announcement] = []
    if record.live and not was_live:
        story.append(MemberJoined(member))
    elif known is not None and record.live and member != known.member:
        story.append(MemberUpdated(member))
    if record.status == SUSPECT:
        story.append(MemberSuspected(member, record.accuser))
    elif record.status == ALIVE and known is not None and known.status == SUSPECT:
        story.append(MemberRecovered(member))
    elif record.status == DEAD and was_live:
        story.append(MemberFailed(member))
    elif record.status == LEFT and known is not None and known.status != LEFT:
        story.append(MemberLeft(member))
    return tuple(story)
