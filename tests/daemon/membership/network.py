"""A virtual network for membership alone: one clock, one seed, and faults on demand.

Every message is delayed at random, may be lost, and is not delivered across a partition, to a stopped process, or to
an address where nobody lives. A paused process keeps its inbox (a kernel's socket buffer does) and reads it on waking.
``validate()`` of a machine runs after each of its steps.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from daemon.membership.config import MILLISECOND, SECOND, MembershipConfig
from daemon.membership.effects import Counted, Effect, SendTo, SendToAddress
from daemon.membership.machine import Membership
from daemon.membership.messages import Member, Message

CONFIG = MembershipConfig()


def address(name: str) -> str:
    return f"tcp://{name}:7001"


def identity(name: str, generation: int = 1) -> Member:
    return Member(name, generation, address(name), f"tcp://{name}:7002", name.encode())


@dataclass
class Host:
    machine: Membership
    paused_until: int = 0
    inbox: list[tuple[str, Message]] = field(default_factory=list)
    announcements: list[tuple[int, Effect]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    sent: int = 0


class Network:
    def __init__(self, seed: int, config: MembershipConfig = CONFIG, loss: float = 0.0) -> None:
        self.random = Random(seed)
        self.config = config
        self.loss = loss
        self.now = 0
        self.hosts: dict[str, Host] = {}
        self.sides: dict[str, int] = {}
        self.trace: list[tuple[int, str, Effect]] = []
        self._queue: list[tuple[int, int, str, str, Message]] = []
        self._order = 0

    # -- the world

    def start(self, name: str, seeds: list[str], generation: int = 1) -> Membership:
        random = Random(self.random.randrange(2**32))
        machine = Membership(identity(name, generation), [address(s) for s in seeds], self.config, random, self.now)
        self.hosts[name] = Host(machine)
        return machine

    def start_many(self, count: int) -> list[str]:
        names = [f"m{index}" for index in range(count)]
        for name in names:
            self.start(name, [names[0]])
        return names

    def kill(self, name: str) -> None:
        del self.hosts[name]

    def pause(self, name: str, duration_ns: int) -> None:
        self.hosts[name].paused_until = self.now + duration_ns

    def split(self, *sides: list[str]) -> None:
        self.sides = {name: index for index, side in enumerate(sides) for name in side}

    def heal(self) -> None:
        self.sides = {}

    def perform(self, name: str, effects: list[Effect]) -> None:
        host = self.hosts[name]
        host.machine.validate()
        for effect in effects:
            self.trace.append((self.now, name, effect))
            match effect:
                case SendTo(to, message):
                    member = host.machine.member(to)
                    assert member is not None, "the host must be able to find whom a SendTo names"
                    self._post(name, member.control, message)
                case SendToAddress(address=to, message=message):
                    self._post(name, to, message)
                case Counted(what, amount):
                    host.counts[what] += amount
                case _:
                    host.announcements.append((self.now, effect))

    def _post(self, sender: str, to_address: str, message: Message) -> None:
        self.hosts[sender].sent += 1
        to = to_address.removeprefix("tcp://").removesuffix(":7001")
        if self.random.random() < self.loss or self.sides.get(sender) != self.sides.get(to):
            return
        delay_ns = self.random.randrange(MILLISECOND, 20 * MILLISECOND)
        self._order += 1
        heapq.heappush(self._queue, (self.now + delay_ns, self._order, sender, to, message))

    # -- time

    def run(self, duration_ns: int) -> None:
        self.run_until(lambda: False, duration_ns)

    def run_until(self, condition: Callable[[], bool], limit_ns: int) -> bool:
        """Go on until the condition holds, at most for that long."""
        end_ns = self.now + limit_ns
        while not condition():
            at = self._next_time()
            if at is None or at > end_ns:
                self.now = end_ns
                return condition()
            self.now = max(self.now, at)
            self._turn()
        return True

    def _next_time(self) -> int | None:
        times = [self._queue[0][0]] if self._queue else []
        for host in self.hosts.values():
            deadline = host.machine.deadline
            if host.inbox:
                times.append(host.paused_until)
            if deadline is not None:
                times.append(max(deadline, host.paused_until))
        return min(times, default=None)

    def _turn(self) -> None:
        while self._queue and self._queue[0][0] <= self.now:
            _, _, sender, to, message = heapq.heappop(self._queue)
            if to in self.hosts:
                self.hosts[to].inbox.append((sender, message))
        for name, host in sorted(self.hosts.items()):
            if host.paused_until > self.now:
                continue
            inbox, host.inbox = host.inbox, []
            for sender, message in inbox:
                self.perform(name, host.machine.step(sender, message, self.now))
            deadline = host.machine.deadline
            if deadline is not None and deadline <= self.now:
                self.perform(name, host.machine.wake(self.now))

    # -- observing

    def agreed(self, names: list[str], *, at: list[str] | None = None) -> bool:
        """Whether each of ``at`` holds exactly ``names`` for alive."""
        watchers = names if at is None else at
        wanted = sorted(names)
        return all([r.name for r in self.hosts[w].machine.alive()] == wanted for w in watchers)

    def heard(self, kind: type[Any], about: str | None = None) -> list[tuple[int, str, Any]]:
        """The announcements of a kind: (when, at whom, what)."""
        return [
            (when, name, effect)
            for name, host in sorted(self.hosts.items())
            for when, effect in host.announcements
            if isinstance(effect, kind) and (about is None or effect.member.name == about)
        ]

    def settled(self, count: int) -> list[str]:
        """A group of that many who all know each other."""
        names = self.start_many(count)
        assert self.run_until(lambda: self.agreed(names), 60 * SECOND)
        self.run(5 * SECOND)
        return names

    def known_as(self, member: Member) -> bool:
        return all(host.machine.member(member.name) == member for host in self.hosts.values())

    def status_everywhere(self, name: str, status: int) -> bool:
        return all(host.machine.status(name) == status for host in self.hosts.values())
