"""The membership protocol's numbers, and where each comes from.

Unless said otherwise the defaults are those of hashicorp/memberlist for a local network (``DefaultLANConfig``), which
carry years of use, or serf's where memberlist has no such thing. Every limit is enforced; what exceeds one is dropped
and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000 * MILLISECOND


@dataclass(frozen=True, slots=True)
class MembershipConfig:
    """Times are for a healthy member: Lifeguard stretches the probe's by (local health + 1)."""

    # Failure detection (SWIM section 3.1)
    probe_interval_ns: int = SECOND
    probe_timeout_ns: int = 500 * MILLISECOND
    indirect_probes: int = 3
    local_health_max: int = 8  # Lifeguard section IV.A: S
    pause_tolerance_ns: int = 500 * MILLISECOND  # a wake later than this is our own fault: one probe's timeout

    # Suspicion (SWIM section 4.2, Lifeguard section IV.B)
    suspicion_mult: int = 4
    suspicion_max_mult: int = 6
    suspicion_confirmations: int = 3  # Lifeguard section IV.B: K

    # Dissemination (SWIM section 4.1)
    retransmit_mult: int = 4
    gossip_records_max: int = 16  # about 3 KiB a message with a CURVE key and a few tags each
    gossip_interval_ns: int = 200 * MILLISECOND
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
    relays_max: int = 256  # pings under way for others
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
