"""The sections of a configuration, one frozen model each, with the constraints between their settings."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from daemon.config.quantities import Address, BadQuantity, parse_address
from daemon.config.values import (
    MILLISECOND,
    SECOND,
    Count,
    Duration,
    FileMode,
    HostPort,
    Name,
    OptionalAddress,
    SeedAddress,
    Size,
    TcpAddress,
)


class Section(BaseModel):
    """The base of all sections: no silent conversion, no change, no unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Cluster(Section):
    """The identity of this shard, and the cluster that it joins."""

    name: Name = "shoal"
    shard: Name = Field(default_factory=socket.gethostname)
    expect: Count = 1
    seeds: tuple[SeedAddress, ...] = ()
    data: Path = Path("/var/lib/shoal")
    absent_patience_ns: Duration = 10 * SECOND
    flap_patience_ns: Duration = 5 * SECOND
    drain_timeout_ns: Duration = 60 * SECOND


class Listen(Section):
    """The addresses that the two planes bind, and those that they advertise to others."""

    control: TcpAddress = "tcp://127.0.0.1:7101"
    ticks: TcpAddress = "tcp://127.0.0.1:7102"
    advertise_control: TcpAddress = "tcp://127.0.0.1:7101"
    advertise_ticks: TcpAddress = "tcp://127.0.0.1:7102"

    @model_validator(mode="before")
    @classmethod
    def _advertise_what_is_bound(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        filled = dict(data)
        for plane in ("control", "ticks"):
            # A malformed address is reported once, under its own key.
            with contextlib.suppress(BadQuantity, KeyError, TypeError):
                filled.setdefault(f"advertise_{plane}", parse_address(data[plane]).url)
        return filled

    @model_validator(mode="after")
    def _reachable(self) -> Listen:
        if self.control == self.ticks:
            raise ValueError(f"control and ticks are both bound to {self.control}: give each a port of its own")
        for plane in ("control", "ticks"):
            if parse_address(getattr(self, f"advertise_{plane}")).wildcard:
                raise ValueError(
                    f"advertise_{plane}: other shards can't connect to {getattr(self, f'advertise_{plane}')!r}; "
                    "name the address at which the other shards find this one"
                )
        return self

    @property
    def addresses(self) -> tuple[Address, Address]:
        """The addresses to bind, control first."""
        return parse_address(self.control), parse_address(self.ticks)


class Security(Section):
    """Encryption between machines."""

    encryption: Literal["curve", "none"] = "curve"
    secret_key: Path | None = Path("/etc/shoal/secret_key")
    allowed_keys: Path | None = Path("/etc/shoal/allowed_keys")
    plain_text_accepted: bool = False

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        return {
            key: None if key in {"secret_key", "allowed_keys"} and value == "" else value for key, value in data.items()
        }

    @model_validator(mode="after")
    def _keys_for_curve(self) -> Security:
        for key in ("secret_key", "allowed_keys"):
            if self.encryption == "curve" and getattr(self, key) is None:
                raise ValueError(
                    f'encryption = "curve" needs {key}: make keys with `shoalctl keygen --dir DIR --name NAME`, '
                    'or set encryption = "none"'
                )
        return self


class Admin(Section):
    """The socket for shoalctl and local programs, and the endpoint for operators on other machines."""

    socket: Path = Path("/run/shoal/admin.sock")
    mode: FileMode = "0660"
    listen: OptionalAddress = ""
    line_bytes_max: Size = 1024 * 1024
    frames_bytes_max: Size = 8 * 1024**3
    connections_max: Count = 64

    @property
    def address(self) -> Address | None:
        """The operators' endpoint, or None."""
        return parse_address(self.listen) if self.listen else None

    @property
    def mode_bits(self) -> int:
        """The mode for chmod."""
        return int(self.mode, 8)


class MetricsSection(Section):
    """The port that Prometheus scrapes."""

    listen: HostPort = "127.0.0.1:9190"

    @property
    def address(self) -> Address | None:
        """The address, or None when it is off."""
        return parse_address(f"tcp://{self.listen}") if self.listen else None


class Membership(Section):
    """SWIM with suspicion and Lifeguard: the fields and defaults of `MembershipConfig` that an operator may set.

    ``MembershipConfig(**section.model_dump())`` is the machine's own configuration.
    """

    probe_interval_ns: Duration = 300 * MILLISECOND
    probe_timeout_ns: Duration = 150 * MILLISECOND
    indirect_probes: Annotated[int, Field(ge=0)] = 3
    local_health_max: Count = 8
    pause_tolerance_ns: Duration = 300 * MILLISECOND
    suspicion_mult: Count = 4
    suspicion_max_mult: Count = 3
    suspicion_confirmations: Annotated[int, Field(ge=0)] = 2
    retransmit_mult: Count = 8
    gossip_interval_ns: Duration = 100 * MILLISECOND
    gossip_targets: Count = 3
    push_pull_interval_ns: Duration = 30 * SECOND
    join_retry_min_ns: Duration = SECOND
    join_retry_max_ns: Duration = 30 * SECOND
    reconnect_interval_ns: Duration = 30 * SECOND
    leave_linger_ns: Duration = 5 * SECOND
    dead_retention_ns: Duration = 86_400 * SECOND
    members_max: Count = 1024

    @model_validator(mode="after")
    def _probe_fits(self) -> Membership:
        if self.probe_timeout_ns >= self.probe_interval_ns:
            raise ValueError(
                "probe_timeout should be shorter than probe_interval: the indirect probes need the rest of it"
            )
        if self.join_retry_min_ns > self.join_retry_max_ns:
            raise ValueError("join_retry_min should be at most join_retry_max")
        return self


class Consensus(Section):
    """Raft-lite: the fields of `consensus.limits.Limits` that an operator may set, and when to take a snapshot.

    ``Limits(**section.model_dump(exclude={"snapshot_entries"}))`` is the machine's own configuration.
    """

    heartbeat_interval_ns: Duration = 100 * MILLISECOND
    election_timeout_ns: Duration = SECOND
    snapshot_timeout_ns: Duration = SECOND
    entries_per_message_max: Count = 64
    bytes_per_message_max: Size = 1024 * 1024
    inflight_max: Count = 16
    chunks_inflight_max: Count = 4
    uncommitted_max: Count = 1024
    reads_max: Count = 1024
    voters_max: Annotated[int, Field(ge=1, le=7)] = 7
    snapshot_entries: Count = 1024

    @model_validator(mode="after")
    def _beats_before_elections(self) -> Consensus:
        if self.election_timeout_ns < 3 * self.heartbeat_interval_ns:
            raise ValueError(
                "election_timeout should be at least 3 times heartbeat_interval, or a lost heartbeat starts an election"
            )
        return self


class Graph(Section):
    """How graphs are partitioned and replicated, and how large they may be."""

    partitions: Annotated[int, Field(ge=1, le=65536)] = 64
    replicas: Annotated[int, Field(ge=1, le=32)] = 2
    virtual_nodes: Annotated[int, Field(ge=1, le=10_000)] = 150
    load_bytes_max: Size = 8 * 1024**3


class Ticks(Section):
    """The tick plane."""

    phase_timeout_ns: Duration = 30 * SECOND
    resend_interval_ns: Duration = 200 * MILLISECOND
    checkpoint_interval_ns: Duration = SECOND
    kernel_threads: Count = 1
    runs_max: Count = 8
    stop_patience_ns: Duration | None = None
    checkpoints_kept: Count = 3
    results_kept: Count = 16
    results_bytes: Size = 4 * 1024**3
    """On each shard's disk."""
    results_memory: Size = 64 * 1024**2
    """For results that are being read."""

    @model_validator(mode="after")
    def _resends_before_it_gives_up(self) -> Ticks:
        if self.resend_interval_ns >= self.phase_timeout_ns:
            raise ValueError(
                "resend_interval should be shorter than phase_timeout, or a lost message would never be sent again"
            )
        return self


class ProgramsSection(Section):
    """Deployed programs, and how long foreign code may take to be imported and instantiated."""

    deploy: bool = False
    import_timeout_ns: Duration = 10 * SECOND


class Storage(Section):
    """Space on disk, and how fast lost replicas are restored."""

    repair_bandwidth: Size = 64 * 1024**2
    """Bytes per second."""
    warn_free: Size = 2 * 1024**3
    refuse_free: Size = 1024**3
    reserve: Size = 16 * 1024**2

    @model_validator(mode="after")
    def _warns_first(self) -> Storage:
        if self.refuse_free > self.warn_free:
            raise ValueError("refuse_free should be at most warn_free, or data is refused before a warning")
        return self


class Transport(Section):
    """Limits on what one peer can make this shard hold in memory."""

    header_bytes_max: Size = 8 * 1024**2
    frame_bytes_max: Size = 128 * 1024**2
    frames_max: Count = 1024
    queue_messages_max: Count = 1000
    queue_bytes_max: Size = 256 * 1024**2
    control_drain_max: Count = 256

    @model_validator(mode="after")
    def _a_message_fits_the_queue(self) -> Transport:
        if self.frame_bytes_max > self.queue_bytes_max:
            raise ValueError("frame_bytes_max should be at most queue_bytes_max, or one frame would fill the queue")
        return self


class Log(Section):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Config(Section):
    """The whole file."""

    cluster: Cluster = Field(default_factory=Cluster)
    listen: Listen = Field(default_factory=Listen)
    security: Security = Field(default_factory=Security)
    admin: Admin = Field(default_factory=Admin)
    metrics: MetricsSection = Field(default_factory=MetricsSection)
    membership: Membership = Field(default_factory=Membership)
    consensus: Consensus = Field(default_factory=Consensus)
    graph: Graph = Field(default_factory=Graph)
    ticks: Ticks = Field(default_factory=Ticks)
    programs: ProgramsSection = Field(default_factory=ProgramsSection)
    storage: Storage = Field(default_factory=Storage)
    transport: Transport = Field(default_factory=Transport)
    log: Log = Field(default_factory=Log)

    @model_validator(mode="after")
    def _sections_fit(self) -> Config:
        exposed = [address.url for address in self.listen.addresses if not address.loopback]
        if self.security.encryption == "none" and exposed and not self.security.plain_text_accepted:
            raise ValueError(
                f'security.encryption = "none" while {exposed[0]} can be reached from other machines: set '
                'security.encryption = "curve", or security.plain_text_accepted = true if the network is trusted'
            )
        operators = self.admin.address
        if self.security.encryption == "none" and operators is not None and not operators.loopback:
            raise ValueError(
                f"admin.listen: {operators.url} can be reached from other machines, and security.encryption is "
                '"none": commands are never sent in plain text between machines. Set security.encryption = '
                '"curve", or leave admin.listen empty'
            )
        if operators is not None and operators in self.listen.addresses:
            raise ValueError(f"admin.listen: {operators.url} is taken by listen: give operators a port of their own")
        if self.security.encryption == "curve":
            for seed in self.cluster.seeds:
                if seed.name is None:
                    raise ValueError(
                        f'cluster.seeds: "{seed.address}" lacks the name that selects its key: "NAME@{seed.address}"'
                    )
        return self

    @property
    def plain_text_exposed(self) -> bool:
        """Whether frames cross a network unencrypted, for the daemon's warning."""
        return self.security.encryption == "none" and not all(a.loopback for a in self.listen.addresses)


def toml_key(field: str) -> str:
    """Returns the key in the file for a field of a section."""
    return field.removesuffix("_ns")


def sections() -> dict[str, type[Section]]:
    """Returns each section of the file and its model, in the order of the file."""
    found: dict[str, type[Section]] = {}
    for name, field in Config.model_fields.items():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, Section)
        found[name] = field.annotation
    return found
