"""The configuration of a daemon: one TOML file, checked whole before anything starts.

One frozen model a section. In the file a duration is a string with its unit (``probe_timeout = "500ms"``); here it is
an int of nanoseconds under the same name with ``_ns`` behind it (`config.membership.probe_timeout_ns`). Sizes are
strings with a unit in the file and ints of bytes here. Relative paths count from the file's own folder.

A mistake gets a sentence that names the file, the key, what is wrong and, for a key that does not exist, the nearest
that does. Every setting with its default and its reason is in ``config.example.toml``; a test holds the two together.

Code may build a `Config` directly, with the names used here: ``Membership(probe_interval_ns=200_000_000)``.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from daemon.quantities import Address, BadQuantity, duration_ns, parse_address, size_bytes

CONFIG_BYTES_MAX: Final = 1024 * 1024
SECRET_CREDENTIAL: Final = "secret_key"  # noqa: S105 -- the name of a credential, not one
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class ConfigError(Exception):
    """A configuration that cannot be used; the message is for the operator, one sentence a line."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A member to ask for the others: its name picks its key from the allowed ones."""

    name: str | None
    address: str


def _duration(value: object, info: ValidationInfo) -> object:
    if info.mode == "json" and not isinstance(value, str):
        raise BadQuantity('should be a duration with a unit, such as "500ms", "30s" or "2m"')
    return duration_ns(value) if isinstance(value, str) else value


def _size(value: object, info: ValidationInfo) -> object:
    if info.mode == "json" and not isinstance(value, str):
        raise BadQuantity('should be a size with a unit, such as "64KiB", "16MiB" or "1GiB"')
    return size_bytes(value) if isinstance(value, str) else value


def _name(value: object) -> object:
    if isinstance(value, str) and not _NAME.fullmatch(value):
        raise ValueError("should be 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit")
    return value


def _address(value: object) -> object:
    return parse_address(value).url if isinstance(value, str) else value


def _seed(value: object) -> object:
    if not isinstance(value, str):
        return value
    name, at, address = value.rpartition("@")
    if at:
        _name(name)
    try:
        return Seed(name or None, parse_address(address).url)
    except BadQuantity:
        raise BadQuantity('should be "NAME@tcp://HOST:PORT", such as "b@tcp://10.0.0.6:7101"') from None


def _host_port(value: object) -> object:
    if isinstance(value, str) and value:
        try:
            parse_address(f"tcp://{value}")
        except BadQuantity:
            raise BadQuantity('should be "HOST:PORT" such as "127.0.0.1:9190", or "" for none') from None
    return value


def _mode(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError('should be a file mode in octal, such as "0660"')
    return value


Duration = Annotated[int, BeforeValidator(_duration), Field(gt=0)]
Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]
Name = Annotated[str, BeforeValidator(_name)]
TcpAddress = Annotated[str, BeforeValidator(_address)]
SeedAddress = Annotated[Seed, BeforeValidator(_seed)]
HostPort = Annotated[str, BeforeValidator(_host_port)]
FileMode = Annotated[str, BeforeValidator(_mode)]
Count = Annotated[int, Field(gt=0)]

MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000


class Section(BaseModel):
    """What all sections share: nothing is converted silently, nothing changes, nothing unknown passes."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Cluster(Section):
    """Who this shard is, and whom it joins."""

    name: Name = "shoal"
    shard: Name = Field(default_factory=socket.gethostname)
    expect: Count = 1
    seeds: tuple[SeedAddress, ...] = ()
    data: Path = Path("/var/lib/shoal")
    absent_patience_ns: Duration = 10 * SECOND
    drain_timeout_ns: Duration = 60 * SECOND


class Listen(Section):
    """Where the two planes are bound, and where others find them."""

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
            # One that cannot be read is complained about once, under its own key.
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
                    f"advertise_{plane}: nobody can connect to {getattr(self, f'advertise_{plane}')!r}; "
                    "name the address at which the other shards find this one"
                )
        return self

    @property
    def addresses(self) -> tuple[Address, Address]:
        """What is bound, control first."""
        return parse_address(self.control), parse_address(self.ticks)


class Security(Section):
    """What protects the wire."""

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
    """The socket of shoalctl and of programs that use this daemon."""

    socket: Path = Path("/run/shoal/admin.sock")
    mode: FileMode = "0660"
    line_bytes_max: Size = 1024 * 1024
    frames_bytes_max: Size = 8 * 1024**3
    connections_max: Count = 64

    @property
    def mode_bits(self) -> int:
        """The mode as chmod takes it."""
        return int(self.mode, 8)


class MetricsSection(Section):
    """The port that Prometheus asks."""

    listen: HostPort = "127.0.0.1:9190"

    @property
    def address(self) -> Address | None:
        """Where, or None when it is off."""
        return parse_address(f"tcp://{self.listen}") if self.listen else None


class Membership(Section):
    """SWIM with suspicion and Lifeguard: the fields and defaults of `MembershipConfig` that an operator may turn.

    ``MembershipConfig(**section.model_dump())`` is the machine's own.
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
    """Raft-lite: the fields of `consensus.limits.Limits` that an operator may turn, and when to take a snapshot.

    ``Limits(**section.model_dump(exclude={"snapshot_entries"}))`` is the machine's own.
    """

    heartbeat_interval_ns: Duration = 100 * MILLISECOND
    election_timeout_ns: Duration = SECOND
    snapshot_timeout_ns: Duration = 5 * SECOND
    entries_per_message_max: Count = 64
    bytes_per_message_max: Size = 1024 * 1024
    snapshot_bytes_max: Size = 7 * 1024**2
    inflight_max: Count = 16
    uncommitted_max: Count = 1024
    voters_max: Annotated[int, Field(ge=1, le=7)] = 7
    snapshot_entries: Count = 1024

    @model_validator(mode="after")
    def _beats_before_elections(self) -> Consensus:
        if self.election_timeout_ns < 3 * self.heartbeat_interval_ns:
            raise ValueError(
                "election_timeout should be at least 3 times heartbeat_interval, or a lost heartbeat is an election"
            )
        return self


class Graph(Section):
    """How graphs are cut, how many shards hold each piece, and how large they may be."""

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

    @model_validator(mode="after")
    def _resends_before_it_gives_up(self) -> Ticks:
        if self.resend_interval_ns >= self.phase_timeout_ns:
            raise ValueError(
                "resend_interval should be shorter than phase_timeout, or a lost message is never sent again"
            )
        return self


class ProgramsSection(Section):
    """Programs that come over the admin socket, and how long foreign code may take until it is there."""

    deploy: bool = False
    import_timeout_ns: Duration = 10 * SECOND


class Storage(Section):
    """What is kept on disk, and how fast lost copies are made again."""

    repair_bandwidth: Size = 64 * 1024**2
    """Bytes a second."""


class Transport(Section):
    """Limits of what one peer can make this one hold."""

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
    """What is said, and how."""

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
                'security.encryption = "curve", or security.plain_text_accepted = true where the wire is trusted'
            )
        if self.security.encryption == "curve":
            for seed in self.cluster.seeds:
                if seed.name is None:
                    raise ValueError(
                        f'cluster.seeds: "{seed.address}" lacks the name that picks its key: "NAME@{seed.address}"'
                    )
        return self

    @property
    def plain_text_exposed(self) -> bool:
        """Whether frames cross a network unencrypted, which the daemon says loudly."""
        return self.security.encryption == "none" and not all(a.loopback for a in self.listen.addresses)


def toml_key(field: str) -> str:
    """The key in the file for a field here."""
    return field.removesuffix("_ns")


def sections() -> dict[str, type[Section]]:
    """Each section of the file and its model, in the order of the file."""
    found: dict[str, type[Section]] = {}
    for name, field in Config.model_fields.items():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, Section)
        found[name] = field.annotation
    return found


def load(path: str | Path, environment: Mapping[str, str] | None = None) -> Config:
    """Read, check and resolve a configuration file; `ConfigError` names everything that is wrong with it.

    Under systemd a credential called ``secret_key`` (``LoadCredential=``) takes the place of security.secret_key.
    """
    path = Path(path)
    environment = os.environ if environment is None else environment
    try:
        with path.open("rb") as file:
            text = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(text) > CONFIG_BYTES_MAX:
        raise ConfigError(f"{path}: is larger than {CONFIG_BYTES_MAX} bytes: no configuration is")
    try:
        raw = tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    return _resolved(parse(raw, str(path)), path.absolute().parent, environment)


def parse(raw: Mapping[str, Any], file: str) -> Config:
    """A configuration from what TOML gave, with paths as they stand."""
    complaints = list(_unknown_keys(raw))
    if not complaints:
        named = {
            section: {_field_name(section, key): value for key, value in values.items()}
            for section, values in raw.items()
        }
        try:
            # By way of JSON: the strict rules there take a list for a tuple and text for a path, and nothing else.
            return Config.model_validate_json(json.dumps(named, default=str))
        except ValidationError as error:
            complaints = [_sentence(found) for found in error.errors(include_url=False)]
    raise ConfigError("\n".join(f"{file}: {complaint}" for complaint in complaints))


def _field_name(section: str, key: str) -> str:
    return f"{key}_ns" if f"{key}_ns" in sections()[section].model_fields else key


def _unknown_keys(raw: Mapping[str, Any]) -> list[str]:
    known = {name: [toml_key(field) for field in model.model_fields] for name, model in sections().items()}
    dotted = [f"{section}.{key}" for section, keys in known.items() for key in keys]
    complaints: list[str] = []
    for section, values in raw.items():
        if section not in known:
            homes = [full for full in dotted if full.endswith(f".{section}")]
            hint = f"; it belongs in [{homes[0].split('.')[0]}]" if homes else _nearest(section, list(known))
            complaints.append(f"{section}: there is no such {'section' if isinstance(values, dict) else 'key'}{hint}")
        elif not isinstance(values, dict):
            complaints.append(f"{section}: is a section: write [{section}] and its keys below")
        else:
            for key in values:
                if key in known[section]:
                    continue
                homes = [full for full in dotted if full.endswith(f".{key}")]
                hint = f"; did you mean '{homes[0]}'?" if homes else _nearest(key, known[section])
                complaints.append(f"{section}.{key}: there is no such key{hint}")
    return complaints


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; known are {', '.join(known)}"


def _sentence(error: Any) -> str:
    """One of pydantic's findings in our words."""
    keys = [toml_key(part) if isinstance(part, str) else f"[{part}]" for part in error["loc"]]
    key = ".".join(keys).replace(".[", "[")
    message: str = error["msg"]
    message = message.removeprefix("Value error, ").replace("Input should be", "should be")
    if error["type"] == "greater_than" and error["ctx"].get("gt") == 0:
        message = "should be greater than nothing"
    given = error["input"]
    shown = "" if isinstance(given, (dict, BaseModel)) else f", not {json.dumps(given, default=str)[:80]}"
    return f"{key}: {message}{shown}" if key else message


def _resolved(config: Config, folder: Path, environment: Mapping[str, str]) -> Config:
    security = config.security
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    secret = folder / security.secret_key if security.secret_key else None
    if credentials and (Path(credentials) / SECRET_CREDENTIAL).exists():
        secret = Path(credentials) / SECRET_CREDENTIAL
    allowed = folder / security.allowed_keys if security.allowed_keys else None
    return config.model_copy(
        update={
            "cluster": config.cluster.model_copy(update={"data": folder / config.cluster.data}),
            "admin": config.admin.model_copy(update={"socket": folder / config.admin.socket}),
            "security": security.model_copy(update={"secret_key": secret, "allowed_keys": allowed}),
        }
    )
