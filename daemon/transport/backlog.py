"""Bounds the bytes that wait unread in libzmq.

libzmq bounds a queue in messages (ZMQ_RCVHWM, per connection) and a message part in bytes (ZMQ_MAXMSGSIZE), and nothing
else: not the parts of a message, not a peer's connections, not what they left unread when they closed. The product of
those bounds is no bound. And the reader may be away for as long as a program's kernel takes.

So the bytes are counted where no peer can falsify them. The kernel knows what a connection has received
(`tcpi_bytes_received` of TCP_INFO), libzmq tells the descriptor of each message, and a message's size on the wire
follows from its parts. The difference is what libzmq and the kernel's own buffer hold, whether complete messages or one
that never ends. Over the budget, the doorman cuts the connection that holds most, of those still sending, and admits no
other until the reader has caught up. A peer that was cut reconnects, and asks for what it lacks.

Only admitted connections count towards this budget. Strangers have smaller ones of their own
(`daemon.transport.connections`), and can't use up that of members.

The doorman's thread checks every `LOOK_MS`; what arrives in between can exceed the budget.

Approximations, and the direction in which they err:
- connections that close between two checks may have received bytes that were not counted: together they are charged
  with what one thread of libzmq could have received for all of them in that time, until the reader has found nothing
  left to read, or has read so many messages that none of theirs is left (libzmq takes one message of each connection in
  turn, and none has more than the high-water mark);
- every connection is credited `FORGIVEN_BYTES` a second, for a peer's heartbeats, which are received and never read;
- a reused descriptor is credited with messages that are still read from its former connection: it then seems to hold
  nothing, never less.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from daemon.transport.connections import HANDSHAKE_BYTES, Connection

LOOK_MS = 50
ENCRYPTION_BYTES = 33
"""CURVE's overhead per message part (RFC 26): a command name, a nonce, an authenticator, a byte of flags."""
FORGIVEN_BYTES = 64
"""Per second and connection: a ping and a pong every second. Our daemons send none."""
SENDING_BYTES = 1 << 16
"""A connection that has sent less since the last check is not flooding."""
BYTES_A_NANOSECOND_MAX = 1


class Backlog:
    """Tracks the backlog of one bound socket. The reader calls `took` and `emptied`, the doorman everything else.

    `ask` makes the reader check whether anything is left to read. `queue_messages_max` is the high-water mark.
    """

    def __init__(
        self,
        budget: int,
        queue_messages_max: int,
        encrypted: bool,
        ask: Callable[[], None],
    ) -> None:
        self.full = False
        """Whether no further connection is admitted."""
        self.held = 0
        """The bytes that waited at the last check."""
        self._budget, self._ask = budget, ask
        self._turns = queue_messages_max + 1
        self._added = ENCRYPTION_BYTES if encrypted else 0
        self._taken: dict[int, int] = {}
        self._known: set[int] = set()
        self._was_empty = False
        self._messages = 0
        self._left: list[tuple[int, int]] = []  # of ended connections: bytes, and messages taken by then
        self._left_lately: list[tuple[int, int]] = []  # the same, since the last check
        self._ended_unseen = False  # whether a connection has ended since then
        self._looked_at = time.monotonic_ns()

    # -- the reader's ----------------------------------------------------------------------------------------------

    def took(self, descriptor: int, part_bytes: int, *, is_last: bool) -> None:
        """Counts a part of a message that was read."""
        self._messages += is_last
        size = part_bytes + self._added
        self._taken[descriptor] = self._taken.get(descriptor, 0) + size + (2 if size < 256 else 9)

    def emptied(self) -> None:
        """Notes that nothing was left to read."""
        self._was_empty = True

    # -- the doorman's ---------------------------------------------------------------------------------------------

    @property
    def watches(self) -> bool:
        """Whether there is anything to check."""
        return bool(self._known or self._left or self._left_lately)

    def accepted(self, descriptor: int) -> None:
        """Notes a new connection."""
        if not self.watches:
            self._looked_at = time.monotonic_ns()  # the last check may be long ago, since nothing could arrive
        self._known.add(descriptor)
        self._taken[descriptor] = HANDSHAKE_BYTES

    def ended(self, connection: Connection, was_let_in: bool) -> None:
        """Notes that a connection has ended; complete messages from it are still to be read."""
        taken = self._taken.pop(connection.descriptor, 0)
        self._known.discard(connection.descriptor)
        if was_let_in:
            self._ended_unseen |= not connection.cut
            self._left_lately.append((max(0, connection.received - taken), self._messages))

    def look(self, connections: Iterable[Connection], now: int) -> Connection | None:
        """Adds up the bytes held for admitted connections; over the budget, returns the one that holds most, of those
        that are sending.
        """
        was_empty, self._was_empty = self._was_empty, False
        if self._ended_unseen:
            self._ended_unseen = False
            self._left_lately.append(((now - self._looked_at) * BYTES_A_NANOSECOND_MAX, self._messages))
        # If everything was read since the last check, connections that had ended before it have left nothing.
        turns = self._turns * (len(self._known) + len(self._left) + len(self._left_lately))
        kept = [] if was_empty else [one for one in self._left if self._messages - one[1] <= turns]
        self._left, self._left_lately = kept + self._left_lately, []
        if self._left:
            self._ask()
        forgiven = FORGIVEN_BYTES * (now - self._looked_at) // 1_000_000_000 + 1 if was_empty else 0
        self._looked_at = now
        held: list[tuple[int, Connection]] = []
        for one in connections:
            if not one.let_in:
                continue
            known = self._taken.get(one.descriptor, 0)
            taken = min(known + forgiven, one.received)
            if taken != known and (forgiven or one.received < HANDSHAKE_BYTES):
                self._taken[one.descriptor] = taken
            held.append((one.received - taken, one))
        self.held = sum(size for size, _ in self._left) + sum(size for size, _ in held)
        self.full = self.held > self._budget
        if not self.full:
            return None
        sending = [(size, one) for size, one in held if not one.cut and one.received - one.before >= SENDING_BYTES]
        return max(sending, key=lambda entry: entry[0])[1] if sending else None
