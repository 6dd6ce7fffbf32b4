"""Connections to one daemon, for a session that many threads may use: each exchange has its own.

    connections = Connections(lambda: AdminConnection("/run/shoal/admin.sock"))
    connections.call("run show", {"run": "pagerank-1"})

A thread that waits for a run does not block others. A connection is reused only after its answer is complete; if an
exchange is abandoned half-way, its connection is closed, and the daemon cancels what it did for that connection alone.
So a session survives Ctrl-C. It also survives a daemon's restart: before anything is sent, it notices that the daemon
has closed a kept connection. If the daemon closes it just as a request is sent, commands that only read are repeated;
all others may have been executed, and are not repeated.

There are as many connections as concurrent exchanges, and at most `KEPT_MAX` idle ones. Nothing here takes a lock
(single operations on lists and sets are atomic), so neither a signal handler that sends a request nor a child forked in
between can deadlock. A child has its own connections.
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
"""A daemon serves some 64 clients at once, and closes those first that have been idle longest."""


class Connections:
    """As many connections as needed at once; `dial` opens another one."""

    def __init__(self, dial: Callable[[], AdminConnection]) -> None:
        self._dial = dial
        self._closed = False
        self._process = os.getpid()
        self._kept: list[AdminConnection] = []
        # By weak reference: if returning a connection is interrupted, it is garbage-collected and closed.
        self._lent: set[ref[AdminConnection]] = set()

    def reach(self) -> None:
        """Checks that a daemon answers. Raises `Unreachable`."""
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
        """Sends a request and waits for the answer. A command that `may_repeat` is safe to send again."""
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
        """Lends a connection for one exchange."""
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
        """Closes all connections. Calls that other threads wait for end with a `ShoalError`."""
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
            except IndexError:  # another thread took the last one
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
        """In a forked child: leaves the parent's connections to the parent."""
        if self._process != os.getpid():
            self._kept, self._lent, self._process = [], set(), os.getpid()
