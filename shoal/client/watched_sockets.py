"""ZeroMQ sockets with a monitor, closed in the only order that cannot hang.

libzmq reports what happens to a socket's connection on a second socket. If that one is closed first, the thread that
closes sockets for the whole process blocks on the next report for good, and no later connection is ever hung up. An
interrupt can fall between any two instructions, including those of a finalizer, so neither ``finally`` nor ``__del__``
can be relied on for the order. Each pair therefore stays registered until both of its sockets are closed. The next call
to `open` or `close` closes any whose owner is gone.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import weakref
from dataclasses import dataclass
from typing import ClassVar

import zmq


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """A socket, and the one on which its events arrive. Both belong to `owner`."""

    socket: zmq.Socket[bytes]
    events: zmq.Socket[bytes]
    owner: weakref.ref[object]

    def close(self) -> None:
        """Closes both; may be called again if it was interrupted."""
        if not self.socket.closed:
            self.socket.disable_monitor()
            self.socket.close()
        self.events.close()


class WatchedSockets:
    """All sockets of one process, in its only context.

    With a context per connection, a script that does not close one would wait for ever at its end.
    """

    _made: ClassVar[tuple[int, WatchedSockets] | None] = None

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._open: list[Watched] = []
        self._numbers = itertools.count()
        self._sweeping = threading.Lock()

    @classmethod
    def here(cls) -> WatchedSockets:
        """Returns this process's instance; a forked child does not share its parent's."""
        if cls._made is None or cls._made[0] != os.getpid():
            cls._made = (os.getpid(), cls())
        return cls._made[1]

    def open(self, owner: object, kind: int) -> Watched:
        """Opens a socket and listens to its events. `close` closes it, or a later call does once its owner is gone."""
        self._sweep()
        made = Watched(self._context.socket(kind), self._context.socket(zmq.PAIR), weakref.ref(owner))
        self._open.append(made)
        made.socket.linger = made.events.linger = 0
        address = f"inproc://shoal.events.{next(self._numbers)}"
        made.events.connect(address)  # first: a monitor to which nobody has connected cannot be switched off
        made.socket.monitor(address, zmq.EVENT_ALL)
        return made

    def close(self, watched: Watched) -> None:
        """Closes a pair."""
        watched.close()
        with contextlib.suppress(ValueError):
            self._open.remove(watched)
        self._sweep()

    def _sweep(self) -> None:
        if self._sweeping.locked():
            return  # another thread is sweeping, or this one was, and a signal interrupted it
        with self._sweeping:  # a signal can arrive between `acquire` and `try`, but not here
            for watched in [each for each in self._open if each.owner() is None]:
                watched.close()
                self._open.remove(watched)
