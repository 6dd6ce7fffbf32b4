"""Entries of the log: a command in an envelope that names its machine, its proposer and its time.

The proposer encodes the command, and the leader puts it into the envelope as it appends it: the time is the leader's,
and so the same on every shard. To consensus, an entry is opaque bytes.

    LogEntry    machine, session (shard, generation), sequence, answered, time, command
    command     a header of the wire's codec: record version, machine, tag, fields

Bytes that this version can't decode (an unknown machine, command or field) raise `CommandUnreadable`, which describes
them.
"""

from __future__ import annotations

from collections.abc import Mapping

from daemon.state.commands import RaiseVersion
from daemon.state.machine import Command, Request
from daemon.wire import ANOTHER_VERSIONS, Codec, Reason, Rejected, WireLimits
from daemon.wire.version import FIRST, NEWEST
from shoal.api.struct import Count, Struct

Tables = Mapping[str, Mapping[int, type[Command]]]
"""The commands of each machine, by tag."""

ARCHIVE_LIMITS = WireLimits(header_bytes_max=16 << 20)
"""For the decisions in a backup's file."""


class LogEntry(Struct):
    """A command as the log stores it.

    The session is a shard in one of its lives; `sequence` numbers its commands, and it awaits no outcome of a number
    below `answered`.
    """

    machine: str
    shard: str
    generation: Count
    sequence: Count
    answered: Count
    time_ns: Count
    command: bytes

    @property
    def request(self) -> Request:
        """The identity of the proposal."""
        return Request(self.shard, self.generation, self.sequence)


class CommandUnreadable(Exception):
    """This version can't decode bytes as a command; the text describes them and says why."""

    def __init__(self, rejected: Rejected, version: int | None, what: str = "") -> None:
        self.what = what
        of = "" if version is None else f" of version {version}"
        super().__init__(f"{f'a command ({what})' if what else 'no command'}{of}: {rejected}")
        self.reason = rejected.reason
        self.is_later = rejected.reason in ANOTHER_VERSIONS and (version is None or version >= FIRST)
        """Whether a later version of Shoal has written them."""


class CommandCodec:
    """Encodes and decodes commands, and puts them into envelopes, with the wire's checked codec."""

    def __init__(
        self, tables: Tables, limits: WireLimits | None = None, version: int = FIRST, newest: int = NEWEST
    ) -> None:
        limits, self._newest = limits or WireLimits(), newest
        self._envelopes = Codec("log", {1: LogEntry}, limits, version, newest)
        self._codecs = {name: Codec(name, table, limits, version, newest) for name, table in tables.items()}
        self._tables = tables
        self._machines = {kind: name for name, table in tables.items() for kind in table.values()}
        if len(self._machines) != sum(map(len, tables.values())):
            raise ValueError("two machines have one command")

    @property
    def version(self) -> int:
        """The cluster version that it writes for."""
        return self._envelopes.version

    @version.setter
    def version(self, version: int) -> None:
        for codec in (self._envelopes, *self._codecs.values()):
            codec.version = version

    def machine_of(self, command: Command) -> str:
        """Returns the name of the machine that a command is for."""
        return self._machines[type(command)]

    # -- commands --------------------------------------------------------------------------------------------------

    def encode(self, command: Command) -> bytes:
        """Encodes a command. Raises `Rejected` if it is too large for an entry."""
        (header,) = self._codecs[self.machine_of(command)].encode(0, "log", 0, command)
        return bytes(header)

    def decode(self, machine: str, data: bytes) -> Command:
        """Decodes a command. Raises `CommandUnreadable` for bytes that no shard of this version writes, and for a
        cluster version that this Shoal does not support.
        """
        codec = self._codecs.get(machine)
        if codec is None:
            unknown = Rejected(Reason.UNKNOWN_TYPE, f"this version has no machine '{machine[:80]}'")
            raise CommandUnreadable(unknown, None, f"of machine '{machine[:80]}'")
        try:
            command: Command = codec.decode([data]).message
            if isinstance(command, RaiseVersion) and command.version > self._newest:
                why = f"the cluster's becomes {command.version}, and this Shoal reads up to {self._newest}"
                raise Rejected(Reason.VERSION, why)
        except Rejected as rejected:
            version, tag = codec.label(data)
            kind = self._tables[machine].get(tag) if tag is not None else None
            named = f", {kind.__name__}" if kind is not None else ""
            what = "" if tag is None else f"machine '{machine}', tag {tag}{named}"
            raise CommandUnreadable(rejected, version, what) from rejected
        return command

    # -- entries ---------------------------------------------------------------------------------------------------

    def seal(self, entry: LogEntry) -> bytes:
        """Encodes an entry. Raises `Rejected` if it is too large."""
        (header,) = self._envelopes.encode(0, "log", 0, entry)
        return bytes(header)

    def open(self, data: bytes) -> LogEntry:
        """Decodes the envelope of an entry. Raises `CommandUnreadable`."""
        try:
            entry: LogEntry = self._envelopes.decode([data]).message
        except Rejected as rejected:
            version, tag = self._envelopes.label(data)
            what = "" if tag is None else "an envelope" if tag == 1 else f"an envelope of tag {tag}"
            raise CommandUnreadable(rejected, version, what) from rejected
        return entry

    def read(self, data: bytes) -> tuple[LogEntry, Command]:
        """Decodes an entry's envelope and its command. Raises `CommandUnreadable`."""
        entry = self.open(data)
        return entry, self.decode(entry.machine, entry.command)
