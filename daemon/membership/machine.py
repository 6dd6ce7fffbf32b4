"""The membership protocol, SWIM with Lifeguard: which members exist, and which of them are believed to be alive.

Purpose. Every shard keeps its own list of members and learns of each join, leave and crash in bounded time, at a load
per shard that does not grow with the group. The list is *weakly consistent* and the failure *detector* may be wrong:
two members may disagree for a while. Consensus decides what the group concludes from it (the view).

Sources. A. Das, I. Gupta, A. Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership
Protocol", DSN 2002. A. Dadgar, J. Phillips, J. Currey, "Lifeguard: Local Health Awareness for More Accurate Failure
Detection", 2018. hashicorp/memberlist and serf, for what the papers leave open.

The parts, one file each:

    round_robin       the order of probing                                                  SWIM 4.3
    failure_detector  the current probe, and pings relayed for others                       SWIM 3.1
    suspicion         how long a silent member has to refute                                SWIM 4.2, Lifeguard IV.B
    local_health      self-doubt before suspicion of others                                 Lifeguard IV.A
    gossip            the records still to be passed on                                     SWIM 4.1
    dissemination     which messages carry them, notifying suspects, and the full list      Lifeguard IV.C
    refutation        what a member announces about itself                                  SWIM 4.2
    member_table      the greatest record of each name, and the bounded memory of the dead
    claims            verifies a new life under a known name
    push_pull         whom to send the full list: push-pull, joining, healing
    outbox            collects effects, and addresses messages
    machine           composition, learning from records, leaving

Healing. Pings and gossip go only to live members, so two halves that declared each other dead would never communicate
again. Three mechanisms reunite them. From time to time the machine sends its full list to one of the dead (serf's
reconnect), and to a seed at whose address no live member answers. And any message to a member believed suspect or dead
first informs it of that (the buddy system, extended to the dead), so that it refutes with a higher incarnation. In a
push-pull, the other side's DEAD counts only as SUSPECT: two halves that meet again must not kill each other's members
by old verdicts.

Verdicts of others. A rumour that a third member is dead or has left is not believed on its own either: if forged or
mistaken, it would cost a healthy member its place in the view at once. It starts a suspicion of minimal length, which a
living member refutes (see `suspicion`). A goodbye from the member itself needs no confirmation.

Our own absence. If ``wake`` or ``step`` comes later than the deadline by more than ``pause_tolerance_ns``, this process
was stopped or its loop was stuck. Others' answers may lie unread in the sockets, so the machine convicts nobody: it
shifts all timers by the lost time and worsens its own health. A host should deliver what has arrived before it calls
``wake``.

Left out: the paper's k-indirect probe over a second transport (memberlist's TCP fallback; ZeroMQ is TCP already),
coordinates, and protocol versions. Cost: none that this daemon would notice.

Invariants (``validate``): those of the parts; our own record is ALIVE until we leave and our incarnation never falls;
the probe order contains exactly the other live members.

>>> from random import Random
>>> me = Member("a", 1, "tcp://127.0.0.1:7001", "tcp://127.0.0.1:7002", b"")
>>> membership = Membership(me, ["tcp://127.0.0.1:7101"], MembershipConfig(), Random(1), now=0)
>>> [effect.address for effect in membership.wake(membership.deadline)]
['tcp://127.0.0.1:7101']
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import assert_never

from msgspec.structs import replace

from daemon.membership.claims import Claims, Letter, Outcome, Taken
from daemon.membership.config import MembershipConfig
from daemon.membership.dissemination import Dissemination
from daemon.membership.effects import (
    Counted,
    Effect,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    NameHeld,
    SendTo,
    SendToAddress,
    Superseded,
)
from daemon.membership.failure_detector import FailureDetector
from daemon.membership.member_table import Change, MemberTable, is_foreign, sensible
from daemon.membership.messages import (
    ALIVE,
    DEAD,
    LEFT,
    SUSPECT,
    Ack,
    Gossip,
    Member,
    Message,
    Nack,
    NameTaken,
    Ping,
    PingRequest,
    PushPull,
    PushPullReply,
    Record,
)
from daemon.membership.names import is_address
from daemon.membership.outbox import EffectOutbox
from daemon.membership.push_pull import AntiEntropy
from daemon.membership.refutation import Refutation


class Membership:
    """One member's side of the protocol."""

    def __init__(
        self,
        member: Member,
        seeds: Sequence[str],
        config: MembershipConfig,
        random: Random,
        now: int,
        *,
        is_authenticated: bool = False,
    ) -> None:
        """`is_authenticated` means that the sender that a message names has proved its identity."""
        own = Record(member, 0, ALIVE)
        if not sensible(own, config):
            raise ValueError(f"membership: {member} breaks a limit on names, addresses or tags; see MembershipConfig")
        self._config = config
        self._is_authenticated = is_authenticated
        self._roster = MemberTable(config, own, now)
        self.claims = Claims(config, self._roster, random, is_authenticated=is_authenticated)
        self._detector = FailureDetector(config, member.control, random, now)
        self._news = Dissemination(config, self._roster, random, now)
        self._outbox = EffectOutbox(config, self._roster, self._news)
        self._refutation = Refutation(self._roster, self._detector.health, self._outbox)
        other_seeds = [seed for seed in dict.fromkeys(seeds) if seed != member.control]
        self._anti_entropy = AntiEntropy(other_seeds, config, random, now)
        self._leave_ns: int | None = None
        self._left = self._has_more_dead = False
        self.cluster = ""
        """The only cluster whose members are accepted; empty accepts any."""

    # -- the doors

    def step(self, sender: str, message: Message, now: int) -> list[Effect]:
        """Takes a message from the member ``sender``, which need not be known yet."""
        if self._left or self.superseded:
            return []
        self._forgive_absence(now)
        if sender == self._name:
            if isinstance(message, Ack):
                self._settle(self.claims.answered(message, now), now)
            self._outbox.count("membership_own_echoes")  # a seed list with another address of ours, or a twin
        else:
            self._receive(sender, message, now)
        return self._flush(now)

    def wake(self, now: int) -> list[Effect]:
        """Does what is due by now; does nothing if called early or twice."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return []
        self._forgive_absence(now)
        if self._leave_ns is None:
            self._wake_suspicions(now)
            self._settle(self.claims.wake(now), now)
        self._wake_detector(now)
        self._wake_gossip(now)
        if self._leave_ns is None:
            self._wake_anti_entropy(now)
            self._forget_dead(now)
        return self._flush(now)

    @property
    def deadline(self) -> int | None:
        """When to call ``wake`` next; None once we have left or were superseded."""
        if self._left or self.superseded:
            return None
        times = [self._detector.deadline, self._news.deadline, self._leave_ns]
        if self._leave_ns is None:
            times += [self._anti_entropy.deadline, self.claims.deadline, self._roster.deadline]
        return min((time for time in times if time is not None), default=None)

    def set_tags(self, tags: Iterable[tuple[str, str]], now: int) -> list[Effect]:
        """Changes our own tags, and announces them with a new incarnation."""
        own = self._roster.own
        record = Record(replace(own.member, tags=tuple(sorted(tags))), own.incarnation + 1, ALIVE)
        if not sensible(record, self._config):
            raise ValueError(
                f"membership: too many or too long tags: at most {self._config.tags_max}, and "
                f"{self._config.tags_length_max} characters in all"
            )
        if record.member == own.member or self._leave_ns is not None or self.superseded:
            return []
        self._refutation.say(record, now)
        return self._flush(now)

    def belong(self, cluster: str, now: int) -> list[Effect]:
        """Accepts only members of this cluster from now on; drops known members of others."""
        self.cluster = cluster
        for record in self._roster.others(ALIVE, SUSPECT, DEAD, LEFT):
            if is_foreign(record, cluster):
                self._roster.forget(record.name)
                self._news.queue.forget(record.name)
                if record.live:
                    self._detector.order.remove(record.name)
                    self._news.order.remove(record.name)
                    self._outbox.emit(MemberLeft(record.member))
        return self._flush(now)

    def leave(self, now: int) -> list[Effect]:
        """Says goodbye. Keep calling the doors until ``left``: the news must spread, and pings be answered."""
        if self._leave_ns is not None or self.superseded:
            return []
        self._leave_ns = now + self._config.leave_linger_ns
        self._detector.stop()
        self._refutation.say_goodbye(now)
        self._news.hurry(now)
        self._wake_gossip(now)
        return self._flush(now)

    # -- queries

    def members(self) -> list[Record]:
        """Returns all records, including our own and those of the dead, by name."""
        return self._roster.records()

    def live(self) -> list[Record]:
        """Returns the members neither confirmed dead nor departed, including suspected ones, by name."""
        return [record for record in self._roster.records() if record.live]

    def alive(self) -> list[Record]:
        """Returns the members that nobody suspects, by name."""
        return [record for record in self._roster.records() if record.status == ALIVE]

    def status(self, name: str) -> int | None:
        record = self._roster.get(name)
        return record.status if record else None

    def member(self, name: str) -> Member | None:
        record = self._roster.get(name)
        return record.member if record else None

    @property
    def incarnation(self) -> int:
        return self._roster.own.incarnation

    @property
    def local_health(self) -> int:
        """Lifeguard's multiplier: 0 is healthy."""
        return self._detector.health.multiplier

    @property
    def left(self) -> bool:
        """Whether our goodbye has been sent, so that the host may close."""
        return self._left

    @property
    def superseded(self) -> bool:
        return self._outbox.is_closed

    def validate(self) -> None:
        self._roster.validate()
        self.claims.validate()
        others = [record.name for record in self._roster.others(ALIVE, SUSPECT)]
        self._detector.validate(others)
        self._news.validate(others)
        assert self._roster.own.status == (ALIVE if self._leave_ns is None else LEFT)
        assert not self._outbox, "every door hands out all its effects"

    # -- messages

    def _receive(self, sender: str, message: Message, now: int) -> None:
        match message:
            case PushPull():
                self._merge(sender, message.records, now)
                self._outbox.send(sender, message.reply_to, PushPullReply(self._news.whole_list()))
            case PushPullReply():
                self._merge(sender, message.records, now)
            case Gossip():
                self._learn_all(sender, message.gossip, now)
            case Ping():
                self._learn_all(sender, message.gossip, now)
                self._on_ping(sender, message)
            case PingRequest():
                self._learn_all(sender, message.gossip, now)
                self._on_ping_request(sender, message, now)
            case Ack():
                self._learn_all(sender, message.gossip, now)
                if sender == message.name:
                    self._roster.prove(sender, message.generation)
                    self._settle(self.claims.answered(message, now), now)
                if (answer := self._detector.on_ack(message)) is not None:
                    self._outbox.send_with_gossip(answer)
            case Nack():
                self._learn_all(sender, message.gossip, now)
                self._detector.on_nack(sender, message)
            case NameTaken():
                if message.generation == self._roster.own.generation and is_address(message.control):
                    self._settle(self.claims.hear_of_holder(message.control, now), now)
            case _:
                assert_never(message)

    def _on_ping(self, sender: str, ping: Ping) -> None:
        if ping.target != self._name:
            self._outbox.count("membership_misdirected")  # the address has changed hands; stay silent
            return
        own = self._roster.own
        # Meant for a former or later life of ours: the Ack names the present one, and our record tells the rest.
        first = () if ping.generation == own.generation else (own,)
        ack = Ack(ping.sequence, own.name, own.generation, self._news.piggyback(sender, first))
        self._outbox.send(sender, ping.reply_to, ack)

    def _on_ping_request(self, sender: str, request: PingRequest, now: int) -> None:
        ping = None if request.target == self._name else self._detector.on_ping_request(sender, request, now)
        if ping is None:
            self._outbox.count("membership_refused")
        else:
            self._outbox.send_with_gossip(ping)

    # -- timers

    def _wake_detector(self, now: int) -> None:
        outgoing, accused = self._detector.wake(self._roster, now)
        if accused is not None:
            self._outbox.count("membership_probes_failed")
            self._learn(accused, now)
        for each in outgoing:
            self._outbox.send_with_gossip(each)

    def _wake_suspicions(self, now: int) -> None:
        for verdict in self._roster.expire_suspicions(now):
            self._learn(verdict, now)

    def _wake_gossip(self, now: int) -> None:
        for effect in self._news.wake(now):
            self._outbox.emit(effect)

    def _wake_anti_entropy(self, now: int) -> None:
        for partner in self._anti_entropy.wake(self._roster, now):
            message = PushPull(self._news.whole_list(), self._control)
            if partner.name:
                self._outbox.emit(SendTo(partner.name, message))
            else:
                self._outbox.emit(SendToAddress(partner.address, message))

    def _forget_dead(self, now: int) -> None:
        for name in self._roster.forget_dead(now):
            self._news.queue.forget(name)

    def _forgive_absence(self, now: int) -> None:
        """Convicts nobody for our own pause (trap: a sick member declares the healthy ones dead)."""
        deadline = self.deadline
        if deadline is None or now - deadline <= self._config.pause_tolerance_ns:
            return
        lost_ns = now - deadline
        self._outbox.count("membership_pauses")
        self._detector.health.worsen()
        self._news.postpone(lost_ns)
        if self._leave_ns is not None:
            self._leave_ns += lost_ns
        self._detector.postpone(lost_ns)
        self.claims.postpone(lost_ns)
        self._anti_entropy.postpone(lost_ns)
        self._roster.postpone(lost_ns)

    # -- records

    def _merge(self, sender: str, records: tuple[Record, ...], now: int) -> None:
        """Merges another member's full list, its verdicts only as suspicions: see "Healing" above."""
        for record in self._limited(records, self._config.push_pull_records_max):
            known = self._roster.get(record.name)
            judged = record.status == DEAD and known is not None and known.generation == record.generation
            if judged and known is not None and known.live and record.name != self._name:
                record = replace(record, status=SUSPECT, accuser=record.accuser or sender)
            self._learn(record, now, sender)

    def _learn_all(self, sender: str, records: tuple[Record, ...], now: int) -> None:
        for record in self._limited(records, self._config.gossip_records_max):
            self._learn(record, now, sender)

    def _limited(self, records: tuple[Record, ...], limit: int) -> tuple[Record, ...]:
        if len(records) > limit:
            self._outbox.count("membership_records_over_limit", len(records) - limit)
        return records[:limit]

    def _learn(self, record: Record, now: int, teller: str = "") -> None:
        """Takes a record from `teller`, or one of our own finding."""
        if not sensible(record, self._config) or (teller != record.name and self._roster.is_leap(record)):
            self._outbox.count("membership_nonsense")
            return
        if is_foreign(record, self.cluster):
            self._outbox.count("membership_foreign")
            return
        known = self._roster.get(record.name)
        if record.name == self._name:
            if record.generation > self._roster.own.generation and self._leave_ns is None:
                self._settle(self.claims.hear_of_self(record, now), now)
            self._refutation.hear(record, now)
        elif known is not None and record.generation != known.generation:
            self._settle(self.claims.hear(record, now, is_direct=record.name == teller), now)
        else:
            was_alone = not self._roster.companions
            if known is not None and known.live and not record.live and teller not in {"", record.name}:
                record, change = self._roster.hear_verdict(record, teller, now)
            else:
                change = self._roster.apply(record, now, is_own=record.name == teller)
            self._follow(record, change, was_alone, now)
            if self._is_authenticated and record.name == teller:
                self._roster.prove(record.name, record.generation)

    def _follow(self, record: Record, change: Change, was_alone: bool, now: int) -> None:
        """Acts on a record that the member table has accepted."""
        if was_alone and self._roster.companions:
            self._anti_entropy.found_company(now)
        if change.refused:
            self._outbox.count("membership_refused")
        for announcement in change.announcements:
            match announcement:
                case MemberJoined(member):
                    self._detector.order.add(member.name)
                    self._news.order.add(member.name)
                case MemberFailed(member) | MemberLeft(member) if member.name in self._detector.order:
                    self._detector.order.remove(member.name)
                    self._news.order.remove(member.name)
                case MemberFailed() | MemberLeft():
                    pass  # dropped before
                case MemberUpdated() | MemberSuspected() | MemberRecovered() | NameHeld() | Superseded():
                    pass
                case _:
                    assert_never(announcement)
            self._outbox.emit(announcement)
        if change.spread:
            self._outbox.spread(record)
        if not record.live:
            self._has_more_dead = True
            if not self._roster.companions:
                # Nobody is left to tell. If we kept our verdicts, gossip would spread them to returning members at full
                # weight, while the full lists that are then exchanged count them only as suspicions.
                self._news.queue.clear()
                self._anti_entropy.left_alone(now)

    def _settle(self, outcomes: Iterable[Outcome], now: int) -> None:
        """Acts on the outcomes of claims."""
        for outcome in outcomes:
            match outcome:
                case Letter(name, address, message):
                    self._outbox.send(name, address, message)
                case Taken(record, is_proven):
                    was_alone = not self._roster.companions
                    self._follow(record, self._roster.supersede(record, now), was_alone, now)
                    if is_proven:
                        self._roster.prove(record.name, record.generation)
                case Superseded():
                    self._outbox.emit(outcome)
                    self._outbox.is_closed = True
                case Counted() | NameHeld():
                    self._outbox.emit(outcome)
                case _:
                    assert_never(outcome)

    @property
    def _name(self) -> str:
        return self._roster.own.name

    @property
    def _control(self) -> str:
        return self._roster.own.member.control

    def _flush(self, now: int) -> list[Effect]:
        if self._has_more_dead:  # once per message, because it searches all of the dead
            self._has_more_dead = False
            self._forget_dead(now)
        self._news.look_at_clock(now)
        if self._leave_ns is not None:
            if self._name not in self._news.queue:
                self._refutation.say_goodbye_again()
            told = self._name not in self._news.queue or not self._roster.companions
            self._left = told or now >= self._leave_ns
        return self._outbox.take()
