"""The parameters of the membership protocol, and where each comes from.

Unless a comment says otherwise, the defaults are those of hashicorp/memberlist for a local network
(``DefaultLANConfig``), proven by years of use, or serf's where memberlist has no equivalent. Every limit is enforced:
what exceeds one is dropped and counted.

Detection is faster than memberlist's, whose groups are large and whose members can do without each other: here a run
halts until its dead member is detected. A silent member is probed within about one probe_interval, suspected at
the end of that probe, and then has suspicion_mult intervals to refute:

    probe_interval * (1 + suspicion_mult)  =  1.5 s   no member silent for less is convicted
    ... and the wait for the first probe   =  1.7 s   from a crash until all know it, the median of 3 to 8 members

Each interval is another chance to get a message through, so many short intervals are worth more than few long ones:
with 500 ms and a multiple of 2 the shortest convicting silence is the same, and the median is 0.4 s longer. Measured on
the tests' virtual network. Tests enforce both bounds: a pause of one second convicts nobody, and all members know of a
crash within three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000 * MILLISECOND


@dataclass(frozen=True, slots=True)
class MembershipConfig:
    """Protocol parameters. Times are for a healthy member: Lifeguard stretches the probe's by (local health + 1)."""

    # Failure detection (SWIM section 3.1)
    probe_interval_ns: int = 300 * MILLISECOND
    probe_timeout_ns: int = 150 * MILLISECOND
    indirect_probes: int = 3
    local_health_max: int = 8  # Lifeguard section IV.A: S
    pause_tolerance_ns: int = 300 * MILLISECOND  # a wake-up later than this is our own fault: one probe

    # Suspicion (SWIM section 4.2, Lifeguard section IV.B)
    suspicion_mult: int = 4
    suspicion_max_mult: int = 3  # memberlist has 6; in a small group a confirmation may take a whole round of probes
    suspicion_confirmations: int = 2  # Lifeguard section IV.B: K; memberlist has 3, which four others can hardly give

    # Dissemination (SWIM section 4.1)
    # memberlist has 4; in a group of eight, that leaves one in ten refutations unheard by some member until it asks
    # again, which can be too late with a suspicion as short as ours.
    retransmit_mult: int = 8
    gossip_records_max: int = 16  # about 3 KiB per message with a CURVE key and a few tags each
    gossip_interval_ns: int = 100 * MILLISECOND
    gossip_targets: int = 3

    # Anti-entropy, joining, healing
    push_pull_interval_ns: int = 30 * SECOND
    push_pull_records_max: int = 1024
    join_retry_min_ns: int = SECOND
    join_retry_max_ns: int = 30 * SECOND
    reconnect_interval_ns: int = 30 * SECOND  # serf's ReconnectInterval
    leave_linger_ns: int = 5 * SECOND  # serf's BroadcastTimeout

    # Bounds of memory
    members_max: int = 1024
    dead_retention_ns: int = 24 * 3600 * SECOND  # serf's ReconnectTimeout and TombstoneTimeout
    dead_records_max: int = 256
    relays_max: int = 256  # pings in flight for other members
    name_length_max: int = 255
    address_length_max: int = 255
    key_bytes_max: int = 64  # a CURVE key is 32 bytes, or 40 in Z85
    tags_max: int = 16
    tags_length_max: int = 512

    def __post_init__(self) -> None:
        for field in self.__slots__:
            if getattr(self, field) < 1 and field not in ("indirect_probes", "suspicion_confirmations"):
                raise ValueError(f"membership: {field} is {getattr(self, field)}, but must be at least 1")
        if self.indirect_probes < 0 or self.suspicion_confirmations < 0:
            raise ValueError("membership: indirect_probes and suspicion_confirmations must not be negative")
        if self.probe_timeout_ns >= self.probe_interval_ns:
            raise ValueError(
                f"membership: probe_timeout_ns ({self.probe_timeout_ns}) must be below probe_interval_ns "
                f"({self.probe_interval_ns}): the rest of the interval is for the indirect probes"
            )
        if self.join_retry_min_ns > self.join_retry_max_ns:
            raise ValueError("membership: join_retry_min_ns must not exceed join_retry_max_ns")
