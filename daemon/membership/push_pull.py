"""Decides when to send the full list, and to whom: periodic push-pull, joining, and healing.

Gossip reaches everyone only with high probability. Members repair what it missed by periodically exchanging full lists
(memberlist's push-pull):

    a random live member      every push_pull_interval              what gossip missed
    a random dead member      every reconnect_interval              two halves that declared each other dead (serf)
    all seeds                 while alone, with back-off            joining, and being cut off
    one seed at which no      every reconnect_interval              two halves that have forgotten each other, and
    live member answers                                             a seed that was down when we joined

The only state is three timers; this module does not know the messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from daemon.membership.config import MembershipConfig
from daemon.membership.member_table import MemberTable
from daemon.membership.messages import ALIVE, DEAD, SUSPECT


@dataclass(frozen=True, slots=True)
class Partner:
    """A recipient of the full list. Exactly one of the two fields is set: a seed has no name yet."""

    name: str = ""
    address: str = ""


class AntiEntropy:
    """The timers of push-pull. They start at random phases, so that members that start together don't act in step."""

    def __init__(self, seeds: list[str], config: MembershipConfig, random: Random, now: int) -> None:
        self._seeds = seeds
        self._config = config
        self._random = random
        self._join_attempts = 0
        self._join_ns = now
        self._push_pull_ns = now + random.randrange(config.push_pull_interval_ns)
        self._reconnect_ns = now + random.randrange(config.reconnect_interval_ns)

    @property
    def deadline(self) -> int:
        first_ns = min(self._push_pull_ns, self._reconnect_ns)
        return min(first_ns, self._join_ns) if self._seeds else first_ns

    def wake(self, roster: MemberTable, now: int) -> list[Partner]:
        """Returns the partners that are due."""
        partners: list[Partner] = []
        if now >= self._push_pull_ns:
            self._push_pull_ns = now + self._config.push_pull_interval_ns * _stretch(roster.live_count)
            if others := roster.others(ALIVE):
                partners.append(Partner(name=self._random.choice(others).name))
        if now >= self._reconnect_ns:
            self._reconnect_ns = now + self._config.reconnect_interval_ns
            if dead := roster.others(DEAD):
                partners.append(Partner(name=self._random.choice(dead).name))
        if self._seeds and now >= self._join_ns:
            partners += [Partner(address=address) for address in self._seeds_to_ask(roster, now)]
        return partners

    def found_company(self, now: int) -> None:
        """Schedules another exchange soon, because we have just joined.

        When a whole group starts at once, each member's news competes with all others', and the few retransmissions of
        a small group sometimes miss a member; the regular exchange is half a minute away.
        """
        self._push_pull_ns = min(self._push_pull_ns, now + self._config.join_retry_min_ns)

    def left_alone(self, now: int) -> None:
        """Asks the seeds again, from the shortest pause on, because the last companion is gone."""
        self._join_attempts = 0
        self._join_ns = min(self._join_ns, now + self._config.join_retry_min_ns)

    def postpone(self, duration_ns: int) -> None:
        self._join_ns += duration_ns
        self._push_pull_ns += duration_ns
        self._reconnect_ns += duration_ns

    def _seeds_to_ask(self, roster: MemberTable, now: int) -> list[str]:
        config = self._config
        if roster.companions == 0:
            pause_ns = min(config.join_retry_max_ns, config.join_retry_min_ns << self._join_attempts)
            self._join_attempts = min(self._join_attempts + 1, 32)
            self._join_ns = now + self._random.randint(pause_ns // 2, pause_ns)
            return self._seeds
        self._join_attempts = 0
        self._join_ns = now + config.reconnect_interval_ns
        answered = {record.member.control for record in roster.others(ALIVE, SUSPECT)}
        missing = [seed for seed in self._seeds if seed not in answered]
        return [self._random.choice(missing)] if missing else []


def _stretch(members: int) -> int:
    """Returns a factor for the interval, as in memberlist: one more per doubling above 32 members, to limit traffic."""
    return max(1, (members - 1).bit_length() - 4)
