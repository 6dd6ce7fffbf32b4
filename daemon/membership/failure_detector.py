"""The failure detector: chooses members to probe, tracks the current probe, and relays pings for other members.

One protocol period (SWIM section 3.1, Figure 1), with the probe's timeout and end stretched by the local health:

    start            timeout                                end = start of the next
      | Ping -------->  | PingRequest to k others ----------> |  no Ack: suspect
      |    target       |    helper -- Ping --> target        |  too few Nacks: our own health may be bad
      |                 |    helper <-- Ack --- target        |
      |                 |  Ack or, at 80 % of the rest, Nack  |

A period always runs to its end, even if the Ack comes at once, so the protocol's load is constant over time.

The detector reads the member table and never changes it: it reports suspicions, and the membership machine spreads
them. The machine also adds gossip to the detector's messages as they leave.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace

from daemon.membership.config import MembershipConfig
from daemon.membership.local_health import LocalHealth
from daemon.membership.member_table import MemberTable
from daemon.membership.messages import ALIVE, SUSPECT, Ack, Nack, Ping, PingRequest, Record
from daemon.membership.round_robin import RoundRobin

NACK_PERCENT = 80  # Lifeguard section IV.A: a Nack leaves after this share of the originator's wait


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message before gossip is added, its recipient and the recipient's expected address."""

    name: str
    address: str
    message: Ping | PingRequest | Ack | Nack


@dataclass(slots=True)
class Probe:
    """This period's probe. It judges the record as known at its start; a refutation since then voids it."""

    sequence: int
    record: Record
    timeout_ns: int
    end_ns: int
    acked: bool = False
    went_indirect: bool = False
    asked: tuple[str, ...] = ()  # the helpers
    nacked: set[str] = field(default_factory=set)

    @property
    def deadline(self) -> int:
        return self.end_ns if self.acked or self.went_indirect else self.timeout_ns


@dataclass(slots=True)
class Relay:
    """A ping sent on behalf of another member.

    Kept for a while after the Nack, because an Ack may still arrive in time.
    """

    requester: str
    reply_to: str
    sequence: int  # the requester's
    target: str
    generation: int
    nack_ns: int
    end_ns: int
    nacked: bool = False

    @property
    def deadline(self) -> int:
        return self.end_ns if self.nacked else self.nack_ns


class FailureDetector:
    """Invariants: one probe at a time; at most ``relays_max`` relays; the order holds exactly the live others."""

    def __init__(self, config: MembershipConfig, reply_to: str, random: Random, now: int) -> None:
        self._config = config
        self._reply_to = reply_to
        self._random = random
        self.health = LocalHealth(config.local_health_max)
        self.order = RoundRobin(random)
        self._probe: Probe | None = None
        # Members that start together must not probe in step: the first period begins at a random phase.
        self._start_ns: int | None = now + random.randrange(config.probe_interval_ns)
        self._relays: dict[int, Relay] = {}
        self._sequence = 0

    @property
    def deadline(self) -> int | None:
        times = [relay.deadline for relay in self._relays.values()]
        if self._probe is not None:
            times.append(self._probe.deadline)
        elif self._start_ns is not None:
            times.append(self._start_ns)
        return min(times, default=None)

    def stop(self) -> None:
        """Stops probing because we leave, but keeps answering and relaying."""
        self._probe = None
        self._start_ns = None

    # -- messages

    def on_ack(self, ack: Ack) -> Outgoing | None:
        """Credits our own probe, or relays the Ack to its requester. Ignores a late or forged one."""
        relay = self._relays.get(ack.sequence)
        if relay is not None and (relay.target, relay.generation) == (ack.name, ack.generation):
            del self._relays[ack.sequence]
            return Outgoing(relay.requester, relay.reply_to, replace(ack, sequence=relay.sequence, gossip=()))
        probe = self._probe
        if probe is not None and probe.sequence == ack.sequence and not probe.acked:
            probe.acked = (probe.record.name, probe.record.generation) == (ack.name, ack.generation)
            if probe.acked:
                self.health.improve()
        return None

    def on_nack(self, sender: str, nack: Nack) -> None:
        if self._probe and self._probe.sequence == nack.sequence and sender in self._probe.asked:
            self._probe.nacked.add(sender)

    def on_ping_request(self, sender: str, request: PingRequest, now: int) -> Outgoing | None:
        """Returns a ping for another member; None if too many are in flight."""
        if len(self._relays) >= self._config.relays_max:
            return None
        longest_ns = self._config.probe_interval_ns * (self._config.local_health_max + 1)
        nack_after_ns = min(max(request.nack_after_ns, 1), longest_ns)
        sequence = self._next_sequence()
        self._relays[sequence] = Relay(
            requester=sender,
            reply_to=request.reply_to,
            sequence=request.sequence,
            target=request.target,
            generation=request.generation,
            nack_ns=now + nack_after_ns,
            end_ns=now + nack_after_ns * 100 // NACK_PERCENT + 1,
        )
        ping = Ping(sequence, request.target, request.generation, self._reply_to)
        return Outgoing(request.target, request.address, ping)

    # -- timers

    def wake(self, roster: MemberTable, now: int) -> tuple[list[Outgoing], Record | None]:
        """Returns messages to send, and a SUSPECT record to spread if our probe got no answer."""
        outgoing = self._wake_relays(now)
        accused: Record | None = None
        probe = self._probe
        if probe is not None:
            if not probe.acked and not probe.went_indirect and now >= probe.timeout_ns:
                outgoing += self._ask_helpers(probe, roster, now)
            if now < probe.end_ns:
                return outgoing, None
            self._probe = None
            accused = self._judge(probe, roster)
        elif self._start_ns is None or now < self._start_ns:
            return outgoing, None
        return outgoing + self._start(roster, now), accused

    def postpone(self, duration_ns: int) -> None:
        """Excludes the time of our own absence."""
        if self._start_ns is not None:
            self._start_ns += duration_ns
        if self._probe is not None:
            self._probe.timeout_ns += duration_ns
            self._probe.end_ns += duration_ns
        for relay in self._relays.values():
            relay.nack_ns += duration_ns
            relay.end_ns += duration_ns

    def validate(self, live: list[str]) -> None:
        self.health.validate()
        self.order.validate(live)
        assert len(self._relays) <= self._config.relays_max
        assert self._probe is None or self._probe.nacked <= set(self._probe.asked)

    # -- within

    def _wake_relays(self, now: int) -> list[Outgoing]:
        outgoing = []
        for sequence, relay in sorted(self._relays.items()):
            if now >= relay.end_ns:
                del self._relays[sequence]
            if now >= relay.nack_ns and not relay.nacked:
                relay.nacked = True
                outgoing.append(Outgoing(relay.requester, relay.reply_to, Nack(relay.sequence)))
        return outgoing

    def _start(self, roster: MemberTable, now: int) -> list[Outgoing]:
        end_ns = now + self.health.scale(self._config.probe_interval_ns)
        target = self.order.next()
        if target is None:
            self._start_ns = end_ns
            return []
        record = roster.get(target)
        assert record is not None
        assert record.live
        timeout_ns = now + self.health.scale(self._config.probe_timeout_ns)
        self._probe = Probe(self._next_sequence(), record, timeout_ns, end_ns)
        ping = Ping(self._probe.sequence, target, record.generation, self._reply_to)
        return [Outgoing(target, record.member.control, ping)]

    def _ask_helpers(self, probe: Probe, roster: MemberTable, now: int) -> list[Outgoing]:
        probe.went_indirect = True
        target = probe.record
        candidates = [record for record in roster.others(ALIVE) if record.name != target.name]
        chosen = self._random.sample(candidates, min(self._config.indirect_probes, len(candidates)))
        probe.asked = tuple(helper.name for helper in chosen)
        request = PingRequest(
            sequence=probe.sequence,
            target=target.name,
            generation=target.generation,
            address=target.member.control,
            nack_after_ns=max(1, (probe.end_ns - now) * NACK_PERCENT // 100),
            reply_to=self._reply_to,
        )
        return [Outgoing(helper.name, helper.member.control, request) for helper in chosen]

    def _judge(self, probe: Probe, roster: MemberTable) -> Record | None:
        if probe.acked:
            return None
        self.health.worsen(len(probe.asked) - len(probe.nacked) if probe.asked else 1)
        known = roster.get(probe.record.name)
        if known is None or not known.live:  # it has left or was found dead meanwhile
            return None
        return replace(probe.record, status=SUSPECT, accuser=roster.own.name)

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence
