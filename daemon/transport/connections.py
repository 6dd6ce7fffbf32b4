"""The connections of one listener: which have been admitted, which have not yet, and which exceed a limit.

Before its handshake a connection is a stranger's. It gets a few kilobytes and seconds, and their number is limited;
libzmq has no such limits, so the doorman enforces them (`daemon.transport.security`). When too many wait, those are cut
first that have shown no knowledge of our public key, come from an address that was never admitted, and are among many
from there; among equals the oldest. So members get in while strangers flood the port.

The progress of a handshake is judged by what *we* have sent (RFC 23, RFC 26), which the other end can't influence: 64
bytes of greeting; with encryption, 170 bytes of WELCOME for a HELLO that was made for our key; and after the verdict
READY, which is longer than an ERROR. libzmq's own event of a completed handshake names no connection.

libzmq's events of failed handshakes name none either, but the end of that connection follows at once. A refused first
greeting (anything but ZeroMQ's, with a version) looks like a connection that comes and ends.

Pure: events and measurements in, verdicts out. A connection to be cut is returned again until its end is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

GREETING_BYTES: Final = 64
WELCOME_BYTES: Final = 170
ERROR_BYTES: Final = 12
HANDSHAKE_BYTES: Final = 4096
"""More than any implementation's greeting and handshake."""
FAMILIAR_MAX: Final = 1024

OVERSIZE, SLOW, CROWD, PROTOCOL = "oversize", "slow", "crowd", "protocol"


@dataclass(frozen=True, slots=True)
class Room:
    """The maximum number of connections, and what one may use before its handshake."""

    connections_max: int = 4096
    pending_max: int = 128
    """Of these, the number not admitted yet."""
    same_key_max: int = 8
    """Of these, the number with one key: a member needs one, and briefly a second one after a restart."""
    handshake_ns: int = 5_000_000_000

    def __post_init__(self) -> None:
        if not 0 < self.pending_max < self.connections_max:
            raise ValueError("there has to be room for strangers, and for more than strangers")


@dataclass(slots=True, eq=False)
class Connection:
    """A connection, as of the last check."""

    descriptor: int
    peer: tuple[str, int]
    since_ns: int
    received: int = 0
    before: int = 0
    """The bytes it had received at the check before."""
    greeted: bool = False
    """Whether it has proved that it knows our key."""
    let_in: bool = False
    cut: str = ""
    """Why it was cut, or "" if it was not."""

    @property
    def source(self) -> str:
        """The address, without the port."""
        return self.peer[0]


@dataclass(frozen=True, slots=True)
class Ended:
    """A connection that has ended; `reason` is why it was not admitted, empty if it was, or if it was cut."""

    connection: Connection | None
    was_let_in: bool
    reason: str


class Connections:
    """The connections of one listener, by descriptor."""

    def __init__(self, room: Room, encrypted: bool) -> None:
        self._room = room
        self._welcomed = GREETING_BYTES + (WELCOME_BYTES if encrypted else 0)
        self._by_descriptor: dict[int, Connection] = {}
        self._familiar: dict[str, None] = {}
        self._pending = 0
        self._finished = 0  # handshakes of connections not yet known
        self._failed = ""

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_descriptor.values()))

    def __len__(self) -> int:
        return len(self._by_descriptor)

    @property
    def pending(self) -> int:
        """The number of connections not admitted yet and not being cut, as far as known."""
        return self._pending

    @property
    def crowded(self) -> bool:
        """Whether that number exceeds its limit."""
        return self._pending > self._room.pending_max

    def at(self, descriptor: int) -> Connection | None:
        """Returns the connection with this descriptor."""
        return self._by_descriptor.get(descriptor)

    def strangers(self) -> list[Connection]:
        """Returns the connections that have not been admitted."""
        return [one for one in self._by_descriptor.values() if not one.let_in]

    # -- libzmq's reports ------------------------------------------------------------------------------------------

    def accepted(self, descriptor: int, peer: tuple[str, int], now: int) -> None:
        """Notes a new connection."""
        self._forget(descriptor)
        self._by_descriptor[descriptor] = Connection(descriptor, peer, now)
        self._pending += 1

    def finished(self) -> None:
        """Notes that some connection has completed its handshake."""
        self._finished += 1

    @property
    def unplaced(self) -> bool:
        """Whether a completed handshake can't be attributed to a connection yet."""
        return self._finished > 0

    def failed(self, reason: str) -> None:
        """Notes that the handshake of the connection that ends next has failed."""
        self._failed = reason

    def ended(self, descriptor: int) -> Ended:
        """Notes that a connection has ended. If a handshake is `unplaced`, measure all pending ones first."""
        reason, self._failed = self._failed, ""
        gone = self._forget(descriptor)
        if gone is None:
            return Ended(None, False, reason)
        if not gone.let_in and self._finished and not reason:
            self._finished -= 1  # admitted and ended between two checks
            gone.let_in = True
        if gone.let_in or gone.cut:
            return Ended(gone, gone.let_in, "")
        return Ended(gone, False, reason or PROTOCOL)

    def _forget(self, descriptor: int) -> Connection | None:
        gone = self._by_descriptor.pop(descriptor, None)
        if gone is not None and not gone.let_in and not gone.cut:
            self._pending -= 1
        return gone

    # -- the kernel's counters -------------------------------------------------------------------------------------

    def measured(self, connection: Connection, received: int, sent: int) -> None:
        """Updates a connection's counters."""
        connection.before, connection.received = connection.received, received
        connection.greeted |= sent >= self._welcomed
        if not connection.let_in and sent > self._welcomed + ERROR_BYTES:
            self.let_in(connection)

    def let_in(self, connection: Connection) -> None:
        """Notes that a connection has completed its handshake."""
        if connection.let_in:
            return
        connection.let_in = True
        self._pending -= not connection.cut
        self._finished = max(0, self._finished - 1)
        self._familiar.pop(connection.source, None)
        self._familiar[connection.source] = None
        if len(self._familiar) > FAMILIAR_MAX:
            del self._familiar[next(iter(self._familiar))]

    def cut(self, connection: Connection, reason: str) -> None:
        """Notes that a connection was cut."""
        if not connection.cut:
            connection.cut = reason
            self._pending -= not connection.let_in

    # -- verdicts --------------------------------------------------------------------------------------------------

    def unwelcome(self, now: int) -> list[tuple[Connection, str]]:
        """Returns the strangers to cut now, and why."""
        strangers, found = [one for one in self.strangers() if not one.cut], []
        waiting = []
        for one in strangers:
            if one.received > HANDSHAKE_BYTES:
                found.append((one, OVERSIZE))
            elif now - one.since_ns >= self._room.handshake_ns:
                found.append((one, SLOW))
            else:
                waiting.append(one)
        over = len(waiting) - self._room.pending_max
        if over <= 0:
            return found
        crowds = Counter(one.source for one in waiting)
        waiting.sort(key=lambda one: (one.greeted, one.source in self._familiar, -crowds[one.source], one.since_ns))
        return found + [(one, CROWD) for one in waiting[:over]]

    def crowding(self, keys: dict[int, str]) -> list[tuple[Connection, str]]:
        """Returns the admitted connections that exceed a limit, of one key or of all. `keys` are those that have sent
        messages.

        Of one key, the oldest are cut: a restarted peer has left them behind. Of all, those that have sent nothing yet
        are cut, oldest first; and if that is not enough, the newest.
        """
        inside = [one for one in self._by_descriptor.values() if one.let_in and not one.cut]
        inside.sort(key=lambda one: -one.since_ns)
        seen: Counter[str] = Counter()
        found: list[Connection] = []
        kept: list[Connection] = []
        for one in inside:
            key = keys.get(one.descriptor, "")
            seen[key] += 1
            (found if key and seen[key] > self._room.same_key_max else kept).append(one)
        over = len(kept) - (self._room.connections_max - self._room.pending_max)
        if over > 0:
            silent = [one for one in reversed(kept) if one.descriptor not in keys]
            found += silent[:over]
            found += [one for one in kept if one.descriptor in keys][: max(0, over - len(silent))]
        return [(one, CROWD) for one in found]
