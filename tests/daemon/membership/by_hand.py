"""One member, messages written by hand, and what it answers."""

from __future__ import annotations

from random import Random

from daemon.membership.config import MILLISECOND, SECOND, MembershipConfig
from daemon.membership.effects import Effect, SendTo, SendToAddress
from daemon.membership.machine import Membership
from daemon.membership.messages import ALIVE, Ack, Gossip, Message, Ping, Record
from tests.daemon.membership.network import identity

# Full lists and healing stay out of the way of those tests that aren't about them.
QUIET = MembershipConfig(
    push_pull_interval_ns=10**6 * SECOND,
    reconnect_interval_ns=10**6 * SECOND,
    # The papers' and memberlist's own numbers, which the sentences below speak of.
    probe_interval_ns=SECOND,
    probe_timeout_ns=500 * MILLISECOND,
    pause_tolerance_ns=500 * MILLISECOND,
    suspicion_mult=4,
    suspicion_max_mult=6,
    suspicion_confirmations=3,
    retransmit_mult=4,
    gossip_interval_ns=200 * MILLISECOND,
)


def record(name: str, status: int = ALIVE, incarnation: int = 0, generation: int = 1, accuser: str = "") -> Record:
    return Record(identity(name, generation), incarnation, status, accuser)


def make(*others: str, config: MembershipConfig = QUIET, generation: int = 5, seed: int = 1) -> Membership:
    """A member ``me`` that knows ``others``, with nothing left to gossip but what the test brings."""
    me = Membership(identity("me", generation), [], config, Random(seed), now=0)
    for name in others:
        me.step(name, Gossip((record(name),)), 0)
    return me


def tell(me: Membership, *records: Record, now: int = 0, sender: str = "a") -> list[Effect]:
    effects = me.step(sender, Gossip(records), now)
    me.validate()
    return effects


def drive(me: Membership, until: int, answering: str = "") -> list[tuple[int, Effect]]:
    """Let time pass; nobody answers but those named by the letters of ``answering``."""
    trace: list[tuple[int, Effect]] = []
    while (deadline := me.deadline) is not None and deadline <= until:
        effects = me.wake(deadline)
        for ping in sent(effects, Ping):
            if isinstance(ping, Ping) and ping.target in answering:
                effects += me.step(ping.target, Ack(ping.sequence, ping.target, ping.generation), deadline)
        trace += [(deadline, effect) for effect in effects]
        me.validate()
    return trace


def sent(effects: list[Effect], kind: type[Message]) -> list[Message]:
    return [e.message for e in effects if isinstance(e, SendTo | SendToAddress) and isinstance(e.message, kind)]


def pings(trace: list[tuple[int, Effect]]) -> list[tuple[int, str]]:
    return [(at, e.name) for at, e in trace if isinstance(e, SendTo) and isinstance(e.message, Ping)]
