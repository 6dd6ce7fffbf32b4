"""How long it takes to find out that a member is dead, by the numbers of the configuration alone.

No recovery can be faster than this, as long as nothing but the failure detector tells of the death. Drawn many times:
each survivor probes each other member once in n - 1 protocol periods, at a random place of that (SWIM 4.3); a probe in
vain takes a period; the first accusation begins a suspicion, and each further one shortens it (`Suspicion`, the very
code of the daemon). Messages take no time here, and everybody is in good health.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from statistics import median
from typing import Final

from daemon.membership.config import MembershipConfig
from daemon.membership.suspicion import Suspicion, suspicion_timeout_min_ns

DRAWS: Final = 2000
SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Floor:
    """In seconds."""

    least: float
    median: float
    most: float


def detection(config: MembershipConfig, members: int, dead: int = 1) -> Floor:
    """Returns the time until the last of `dead` members that died together is declared dead by some member.

    >>> config = MembershipConfig(probe_interval_ns=SECOND_NS, suspicion_mult=4)
    >>> detection(config, 5).least >= 5.0  # a period for the probe, four for the least suspicion
    True
    """
    random = Random(0)
    drawn = [max(_conviction_ns(config, members, dead, random) for _ in range(dead)) for _ in range(DRAWS)]
    return Floor(*(value / SECOND_NS for value in (min(drawn), median(drawn), max(drawn))))


def _conviction_ns(config: MembershipConfig, members: int, dead: int, random: Random) -> int:
    period = config.probe_interval_ns
    accusations = sorted(int(random.uniform(0, members - 1) * period) + period for _ in range(members - dead))
    least = suspicion_timeout_min_ns(config.suspicion_mult, members, period)
    wanted = min(config.suspicion_confirmations, members - 2)
    suspicion = Suspicion("0", accusations[0], least, least * config.suspicion_max_mult, wanted)
    for accuser, at in enumerate(accusations[1:], 1):
        if at >= suspicion.deadline:
            break
        suspicion.confirm(str(accuser))
        if at >= suspicion.deadline:
            return at  # this one made it overdue
    return suspicion.deadline
