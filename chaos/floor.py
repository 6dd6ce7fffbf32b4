"""How long it takes to detect that a member is dead, computed from the configuration.

No recovery can be faster, if only the failure detector reports the death. It is simulated many times: each survivor
probes each other member once in n - 1 protocol periods, at a random time within these (SWIM 4.3); a failed probe takes
a period; the first accusation starts a suspicion, and each further one shortens it (`Suspicion`, the daemon's own
code). Messages take no time here, and all survivors are healthy.
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
            return at  # this accusation made it overdue
    return suspicion.deadline
