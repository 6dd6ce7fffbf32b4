"""Connections to one daemon, for a session that many threads may use: an exchange has one to itself.

    connections = Connections(lambda: AdminConnection("/run/shoal/admin.sock"))
    connections.call("run show", {"run": "pagerank-1"})

A thread that waits for a run keeps nobody else from asking. A connection is kept for the next exchange only after its
answer has come whole; one whose exchange was left half-way is closed, and what the daemon did for it alone is
cancelled. So a session survives Ctrl-C. It survives a daemon's restart as well: a kept connection that the daemon has
closed meanwhile is noticed before anything is sent. Should the daemon close it in the very moment in which it is used,
commands that only read are asked once more; all others may have been carried out, and are not repeated.

There are as many connections as there are exchanges at once, and at most `KEPT_MAX` while nothing goes on. Nothing here
takes a lock (single operations on lists and sets are atomic), so that neither a signal handler that asks something nor
a child that was forked in between can wait for one for ever. A child has connections of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from weakref import ref

from shoal.api.errors import HungUp, Refused, SessionClosed, Unreachable
from shoal.client.admin_protocol import AdminConnection, Said

KEPT_MAX: Final = 8
"""A daemon serves some 64 clients at once, and closes those first that have been idle for longest."""


class Connections:
    """As many connections as are needed at once; `dial` makes one more."""

    def __init__(self, dial: Callable[[], AdminConnection]) -> None:
        self._dial = dial
        self._closed = False
        self._process = os.getpid()
        self._kept: list[AdminConnection] = []
        # By weak reference, so that one whose giving back was interrupted is not held, and is closed.
        self._lent: set[ref[AdminConnection]] = set()

    def reach(self) -> None:
        """See that somebody answers. Raises `Unreachable`."""
        with self.lent():
            pass

    def call(
        self,
        command: str,
        args: Mapping[str, Any] | None = None,
        frames: Sequence[Any] = (),
        *,
        may_repeat: bool = False,
    ) -> Said:
        """Asks, and waits for the answer. A command that `may_repeat` changes nothing, and can be asked again."""
        while True:
            with self.lent() as connection:
                was_kept = connection.has_been_used
                try:
                    return connection.call(command, args, frames)
                except HungUp:
                    if not was_kept or not may_repeat or self._closed:
                        raise

    @contextmanager
    def lent(self) -> Iterator[AdminConnection]:
        """A connection for one exchange."""
        connection = self._taken()
        lent = ref(connection, self._lent.discard)
        try:
            self._lent.add(lent)
            self._refuse_if_closed()
            yield connection
        except Unreachable as error:
            if self._closed:
                raise Refused("the session was closed during this call") from error
            raise
        finally:
            self._lent.discard(lent)
            self._take_back(connection)

    def close(self) -> None:
        """Close all. What other threads wait for ends with a `ShoalError`."""
        self._closed = True
        self._own()
        self._close_kept()
        for lent in list(self._lent):
            if (connection := lent()) is not None:
                connection.hang_up()

    def _taken(self) -> AdminConnection:
        self._own()
        self._refuse_if_closed()
        while self._kept:
            try:
                connection = self._kept.pop()
            except IndexError:  # another thread was quicker
                break
            if connection.is_usable:
                return connection
            connection.close()
        return self._dial()

    def _take_back(self, connection: AdminConnection) -> None:
        if connection.is_free and len(self._kept) < KEPT_MAX:
            self._kept.append(connection)
        else:
            connection.close()
        if self._closed:
            self._close_kept()

    def _close_kept(self) -> None:
        while self._kept:
            try:
                self._kept.pop().close()
            except IndexError:
                return

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise SessionClosed

    def _own(self) -> None:
        """In a child that was forked: leave the parent's connections to the parent."""
        if self._process != os.getpid():
            self._kept, self._lent, self._process = [], set(), os.getpid()
