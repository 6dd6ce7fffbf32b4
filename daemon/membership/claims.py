"""Verifies claims of another life under a known name: the name belongs to the daemon that answers at its address.

Gossip about a later life of a member is only the word of the peer that passes it on, and a forged claim would end a
healthy member for everyone else. So a claim does not enter the member table at once. The machine pings the address at
which the name is known and, if it differs, the claimed one.

    the known life answers at its address           the claim is dropped, and the claimant notified (`NameTaken`)
    the claimed life answers, where it was known    accepted at once: an address has one process
    the claimed life answers elsewhere              accepted once the known one has been silent long enough to convict
    nobody answers                                  dropped; probing decides about the known life

A claim in the claimant's own message needs no other answer where messages are authenticated: the key proves it. The
death of a later life needs none either, if the known one is silent.

Claims to our own name are verified in the same way. A shard that is part of the cluster ignores claims of a later life
of its own name. Before that, a daemon that answers at the claimed address may be another one, and we leave it the name.
If nobody answers, it was our former life, and ours needs a higher generation: our clock or our disk went back.

A record received first is *unproven* until a daemon has answered as that life. An unproven life blocks nobody: an
earlier one that answers replaces it, so that no forged generation keeps a name from its owner.

Invariants: one claim per name, at most ``CLAIMS_MAX`` in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from msgspec.structs import replace

from daemon.membership.config import MembershipConfig
from daemon.membership.effects import Counted, NameHeld, Superseded
from daemon.membership.member_table import MemberTable
from daemon.membership.messages import ALIVE, GENERATION_STEP_MAX, SUSPECT, Ack, NameTaken, Ping, Record

CLAIMS_MAX: Final = 64
REFUSED_MAX: Final = 256
REFUSED_NS: Final = 2_000_000_000
"""How long to ignore unproven claims to a name after a refused one, so that a forger can't have it pinged forever."""
SAY_AGAIN_NS: Final = 60_000_000_000


@dataclass(slots=True)
class Claim:
    """A claim under verification. `sequences` are those of the pings to the known address and the claimed one."""

    record: Record
    known: Record
    is_direct: bool
    is_shown: bool
    deadline_ns: int
    ping_ns: int
    sequences: tuple[int, int]

    @property
    def is_elsewhere(self) -> bool:
        return self.record.member.control != self.known.member.control


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to the holder of that name at that address."""

    name: str
    address: str
    message: Ping | NameTaken


@dataclass(frozen=True, slots=True)
class Taken:
    """Another life replaces the one in the member table."""

    record: Record
    is_proven: bool


Outcome: TypeAlias = Letter | Taken | Counted | NameHeld | Superseded


class Claims:
    """One member's claims under verification. Reads the member table and never changes it."""

    def __init__(
        self, config: MembershipConfig, roster: MemberTable, random: Random, *, is_authenticated: bool = False
    ) -> None:
        self.is_established = False
        """Whether our own life is part of the cluster."""
        self.holder = ""
        """The address of another daemon under our name, if known."""
        self._config, self._roster, self._random = config, roster, random
        self._is_authenticated = is_authenticated
        self._patience_ns = config.probe_interval_ns * (1 + config.suspicion_mult)
        self._claims: dict[str, Claim] = {}
        self._refused: dict[str, int] = {}
        self._said_ns: int | None = None

    @property
    def deadline(self) -> int | None:
        """When to ping again, or to decide."""
        return min((min(claim.ping_ns, claim.deadline_ns) for claim in self._claims.values()), default=None)

    # -- claims

    def hear(self, record: Record, now: int, *, is_direct: bool) -> list[Outcome]:
        """Takes a record of another life of a member, from itself or from a peer."""
        known = self._known(record)
        is_earlier = record.generation < known.generation
        if (is_earlier and self._roster.is_proven(known.name)) or not (record.live or known.live):
            return []
        is_shown = self._is_authenticated and is_direct
        if is_shown and (not known.live or record.member.control == known.member.control):
            self._claims.pop(record.name, None)
            return [Taken(record, is_proven=True)]
        return self._look_into(record, known, now, is_direct=is_direct, is_shown=is_shown)

    def hear_of_self(self, record: Record, now: int) -> list[Outcome]:
        """Takes a record of a later life of our own name."""
        own = self._roster.own
        others = max((known.generation for known in self._roster.others(ALIVE, SUSPECT)), default=0)
        if self.is_established:
            return [Counted("membership_name_conflicts")]
        if record.generation > others + GENERATION_STEP_MAX:
            return [Counted("membership_nonsense")]
        if record.member.control == own.member.control:
            return [Superseded(record.member)]  # at our address there is nobody else
        return self._look_into(own, replace(record, status=ALIVE), now, is_shown=True)

    def hear_of_holder(self, control: str, now: int) -> list[Outcome]:
        """Takes note that another daemon answers under our name, directly or from a peer."""
        if self.is_established:
            return [Counted("membership_name_conflicts")]
        self.holder = control
        if self._said_ns is not None and now - self._said_ns < SAY_AGAIN_NS:
            return []
        self._said_ns = now
        return [NameHeld(control)]

    def answered(self, ack: Ack, now: int) -> list[Outcome]:
        """Takes an Ack, perhaps from an address that a claim is about."""
        claim = self._claims.get(ack.name)
        if claim is None or ack.sequence not in claim.sequences:
            return []
        is_known_address = ack.sequence == claim.sequences[0]
        if is_known_address and ack.generation == claim.known.generation and claim.known.live:
            return self._refuse(claim, now)
        if ack.generation != claim.record.generation or not claim.record.live:
            return []
        claim.is_shown = True
        if claim.known.live and not is_known_address:
            return []  # only once the known life has been silent for long enough
        return self._take(claim)

    def wake(self, now: int) -> list[Outcome]:
        """Pings, and decides the claims whose time is over."""
        out: list[Outcome] = []
        for _, claim in sorted(self._claims.items()):
            if now >= claim.deadline_ns:
                if claim.is_shown or not claim.record.live:
                    out += self._take(claim)
                else:
                    del self._claims[claim.record.name]
            elif now >= claim.ping_ns:
                claim.ping_ns = now + self._config.probe_timeout_ns
                out += self._ping(claim)
        return out

    def postpone(self, duration_ns: int) -> None:
        """Excludes the time of our own absence."""
        for claim in self._claims.values():
            claim.deadline_ns += duration_ns
            claim.ping_ns += duration_ns

    def validate(self) -> None:
        assert len(self._claims) <= CLAIMS_MAX
        assert len(self._refused) <= REFUSED_MAX
        assert all(name == claim.record.name == claim.known.name for name, claim in self._claims.items())
        assert all(claim.record.generation != claim.known.generation for claim in self._claims.values())

    # -- within

    def _known(self, record: Record) -> Record:
        known = self._roster.get(record.name)
        assert known is not None
        return known

    def _look_into(
        self, record: Record, known: Record, now: int, *, is_direct: bool = False, is_shown: bool = False
    ) -> list[Outcome]:
        name = record.name
        if not is_shown and now < self._refused.get(name, now):
            return []
        under_way = self._claims.get(name)
        if under_way is not None and under_way.record.generation == record.generation:
            if record.precedence > under_way.record.precedence:
                under_way.record = record
            under_way.is_direct |= is_direct
            under_way.is_shown |= is_shown
            return []
        if under_way is not None and (under_way.is_shown or not is_shown):
            return []
        if under_way is None and len(self._claims) >= CLAIMS_MAX:
            return [Counted("membership_refused")]
        sequences = self._random.getrandbits(62), self._random.getrandbits(62)
        deadline_ns = now + self._patience_ns
        self._claims[name] = Claim(record, known, is_direct, is_shown, deadline_ns, now, sequences)
        return []

    def _ping(self, claim: Claim) -> list[Outcome]:
        own, name = self._roster.own, claim.record.name
        addresses = [claim.known.member.control, claim.record.member.control][: 1 + claim.is_elsewhere]
        return [
            Letter(name, address, Ping(sequence, name, claim.known.generation, own.member.control))
            for address, sequence in zip(addresses, claim.sequences, strict=False)
            if address != own.member.control
        ]

    def _take(self, claim: Claim) -> list[Outcome]:
        name = claim.record.name
        del self._claims[name]
        if name == self._roster.own.name:
            return [] if self.is_established else [Superseded(claim.known.member)]
        known = self._roster.get(name)
        if known is None or known.generation == claim.record.generation:
            return []
        return [Taken(claim.record, claim.is_shown)]

    def _refuse(self, claim: Claim, now: int) -> list[Outcome]:
        record, control = claim.record, claim.known.member.control
        del self._claims[record.name]
        if record.name == self._roster.own.name:
            return self.hear_of_holder(control, now)
        self._refused.pop(record.name, None)
        while len(self._refused) >= REFUSED_MAX:
            del self._refused[next(iter(self._refused))]
        self._refused[record.name] = now + REFUSED_NS
        out: list[Outcome] = [Counted("membership_claims_refuted")]
        if claim.is_direct and claim.is_elsewhere:
            out.append(Letter(record.name, record.member.control, NameTaken(record.generation, control)))
        return out
