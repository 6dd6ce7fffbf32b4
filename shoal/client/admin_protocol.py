"""The client side of a daemon's admin protocol, blocking: over a local daemon's socket, or to another machine.

    with AdminConnection("/run/shoal/admin.sock") as daemon:     # or "alpha@tcp://10.0.0.1:7103", with keys
        status, _ = daemon.call("status")
        events = daemon.stream("run wait", {"run": "pagerank-1"})
        for event in events:
            print(event["tick"])
        events.result

A connection carries any number of exchanges, one at a time. Each request has an id, which every line of its answer
repeats. If an exchange were abandoned half-way, by Ctrl-C, a timeout or anything else, it would leave stray bytes. So a
connection is busy from before the first byte of a request until the last byte of its answer. Any exception in between
closes it; if even that is interrupted, it stays busy and is never used again. Sessions, which many threads may use,
then take another connection (`shoal.client.connections`).

Large buffers go to the socket unchanged (`memoryview`), and arrive in one buffer each, so only the kernel copies a
graph. `shoal.client.remote` connects to daemons on other machines, with an operator's key, and needs pyzmq; everything
else here needs only the standard library. Every error is a `ShoalError` with a readable message; only `Unreachable`
means that no daemon answered.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

from shoal.api.errors import HungUp, ShoalError, Unreachable, from_answer

DEFAULT_SOCKET: Final = "/run/shoal/admin.sock"
LINE_BYTES_MAX: Final = 64 * 1024 * 1024
FRAMES_BYTES_MAX: Final = 64 * 1024**3
RECEIVE_BYTES: Final = 64 * 1024
QUEUE_SECONDS: Final = 0.01
"""How often to retry while the queue of a busy daemon's socket is full."""


class _Carrier(Protocol):
    """What `AdminConnection` needs of a socket."""

    def sendall(self, data: memoryview, /) -> object: ...
    def recv_into(self, buffer: memoryview, /) -> int: ...
    def gettimeout(self) -> float | None: ...
    def close(self) -> None: ...

    def is_quiet(self) -> bool:
        """Whether both ends are open and nothing has arrived."""
        ...

    def hang_up(self) -> None:
        """Ends another thread's wait on the socket, and tells the other side. The socket must still be closed."""
        ...


class _UnixSocket(socket.socket):
    def is_quiet(self) -> bool:
        poll = select.poll()
        poll.register(self, select.POLLIN)
        return not poll.poll(0)

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):  # the other side hung up first
            self.shutdown(socket.SHUT_RDWR)


Said = tuple[dict[str, Any], tuple[memoryview, ...]]


class AdminConnection:
    """A connection to one daemon. `timeout` is how long the daemon may stay silent, in seconds; None means for ever.

    `address` is the path of its admin socket, or ``NAME@tcp://HOST:PORT`` of its endpoint for operators. For the latter
    `key` is the file of your secret key, and the daemon's public key is either `server_key` or the one under its NAME
    in the list `known_keys`, such as a cluster's allowed_keys.
    """

    def __init__(
        self,
        address: str | os.PathLike[str] = DEFAULT_SOCKET,
        timeout: float | None = 60.0,
        *,
        key: str | os.PathLike[str] | None = None,
        server_key: str | None = None,
        known_keys: str | os.PathLike[str] | None = None,
    ) -> None:
        self._process = os.getpid()
        self._socket: _Carrier | None = None
        self.address = os.fspath(address)
        self._ahead = bytearray()
        self._ids = itertools.count(1)
        self._turn = threading.Lock()
        """Held from the first byte of a request to the last byte of its answer."""
        self._asked = (0, "")
        """The id and the command of the last request."""
        self._socket = (
            _called(self.address, timeout, key, server_key, known_keys)
            if "://" in self.address
            else _connected(Path(self.address), timeout)
        )

    def __enter__(self) -> AdminConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up; the daemon cancels what it was doing for this connection alone."""
        ours = self._socket
        # A forked child has a copy of the descriptor: it must not disturb the parent's exchange, and the parent has to
        # hang up explicitly, or the daemon would notice nothing before the child ends.
        if ours is not None and self._process == os.getpid():
            ours.hang_up()
            ours.close()
        self._socket = None  # only now: the next call finishes an interrupted close

    def hang_up(self) -> None:
        """Ends the exchange that another thread waits for with `Unreachable` there, as `close` does."""
        ours = self._socket
        if ours is not None and self._process == os.getpid():
            ours.hang_up()

    @property
    def is_free(self) -> bool:
        """Whether it is open, as far as known here, and no exchange is in progress."""
        return self._socket is not None and not self._turn.locked() and self._process == os.getpid()

    @property
    def has_been_used(self) -> bool:
        """Whether it has carried a request before."""
        return self._asked[0] > 0

    @property
    def is_usable(self) -> bool:
        """Whether it is free, and the daemon has neither hung up nor sent anything unrequested."""
        return self.is_free and not self._ahead and self._open().is_quiet()

    def call(self, command: str, args: Mapping[str, Any] | None = None, frames: Sequence[Any] = ()) -> Said:
        """Sends a request and waits for the answer: its result, and the buffers that came with it."""
        parts = self._begun(command, args, frames, stream=False)
        with self._whole():
            self._send(parts)
            answer = self._heard()
            if "event" in answer:
                raise self._broken("sent an event where an answer was due")
            buffers = self._end(answer)
        return _result(answer), buffers

    def stream(self, command: str, args: Mapping[str, Any] | None = None, frames: Sequence[Any] = ()) -> Stream:
        """Sends a request and yields events; the answer is `Stream.result`, once the events are over."""
        return Stream(self, command, args, frames)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Wraps a part of an exchange: any exception in it closes the connection."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _begun(
        self, command: str, args: Mapping[str, Any] | None, frames: Sequence[Any], stream: bool
    ) -> list[memoryview]:
        """Begins an exchange and returns what to send. No other exchange can begin before `_end`."""
        self._open()
        if self._process != os.getpid():
            raise ShoalError(
                f"the connection to {self.address} belongs to the parent process: open one in this process"
            )
        views = [memoryview(frame).cast("B") for frame in frames]
        asked = next(self._ids), command
        request: dict[str, Any] = {"id": asked[0], "command": command, "args": dict(args or {})}
        if views:
            request["frames"] = [len(view) for view in views]
        if stream:
            request["stream"] = True
        line = memoryview(json.dumps(request).encode() + b"\n")
        if not self._turn.acquire(blocking=False):
            raise ShoalError(
                f"the connection to {self.address} is in the middle of '{self._asked[1]}': "
                "take its answer first, or open another connection"
            )
        self._asked = asked
        return [line, *views]

    def _send(self, parts: Sequence[memoryview]) -> None:
        connection = self._open()
        try:
            for part in parts:
                connection.sendall(part)
        except TimeoutError:
            raise self._broken("stopped reading") from None
        except (BrokenPipeError, ConnectionResetError):
            # The daemon hung up before the end, most likely after a message that says why, which is read next.
            return
        except OSError as error:
            raise self._broken(f"cannot be written to ({error.strerror})") from error

    def _heard(self) -> dict[str, Any]:
        """Returns the next line: an event of the current request, or its answer."""
        line = self._line()
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not _is_well_formed(answer):
            raise self._broken("answered in a way this client does not understand: are both of the same version?")
        if answer.get("id") == self._asked[0]:
            return answer
        if answer.get("ok") is False and "id" not in answer:
            _result(answer)  # raises: the daemon did not read the request, and says why
        raise self._broken("answered another request: are both of the same version?")

    def _end(self, answer: dict[str, Any]) -> tuple[memoryview, ...]:
        """Returns the buffers of this answer; the connection is free from then on."""
        lengths = answer.get("frames", [])
        if not all(type(n) is int and n >= 0 for n in lengths) or sum(lengths) > FRAMES_BYTES_MAX:
            raise self._broken("announced invalid frames")
        buffers = tuple(self._frame(length) for length in lengths)
        self._turn.release()
        return buffers

    def _line(self) -> bytes:
        searched = 0
        while (end := self._ahead.find(b"\n", searched)) < 0:
            searched = len(self._ahead)
            if searched > LINE_BYTES_MAX:
                raise self._broken("sent a line that is too long")
            self._ahead += self._receive()
        line = bytes(self._ahead[:end])
        del self._ahead[: end + 1]
        return line

    def _frame(self, length: int) -> memoryview:
        frame = memoryview(bytearray(length))
        position = min(len(self._ahead), length)
        frame[:position] = self._ahead[:position]
        del self._ahead[:position]
        while position < length:
            position += self._receive_into(frame[position:])
        return frame

    def _receive(self) -> bytes:
        chunk = bytearray(RECEIVE_BYTES)
        return bytes(chunk[: self._receive_into(memoryview(chunk))])

    def _receive_into(self, buffer: memoryview) -> int:
        connection = self._open()
        try:
            count = connection.recv_into(buffer)
        except TimeoutError:
            raise self._broken(f"did not answer within {connection.gettimeout() or 0:g} seconds") from None
        except OSError as error:
            raise self._broken(f"broke the connection ({error.strerror})", HungUp) from error
        if not count:
            raise self._broken("closed the connection before it answered: see its log", HungUp)
        return count

    def _open(self) -> _Carrier:
        if self._socket is None:
            raise Unreachable(f"the connection to the daemon at {self.address} is closed: open another")
        return self._socket

    def _broken(self, what: str, kind: type[Unreachable] = Unreachable) -> Unreachable:
        """Closes the connection, because its bytes could no longer be told apart."""
        self.close()
        return kind(f"the daemon at {self.address} {what}")


class Stream:
    """The events of one request, followed by its answer.

    `result` and `frames` are available once the loop over the events has ended normally. Until then the connection
    accepts no other request.
    """

    def __init__(
        self, connection: AdminConnection, command: str, args: Mapping[str, Any] | None, frames: Sequence[Any]
    ) -> None:
        self._connection = connection
        self._done = False
        self._result: dict[str, Any] = {}
        self.frames: tuple[memoryview, ...] = ()
        parts = connection._begun(command, args, frames, stream=True)
        with connection._whole():
            connection._send(parts)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        if self._done:
            raise StopIteration
        connection = self._connection
        with connection._whole():
            answer = connection._heard()
            if "event" not in answer:
                self.frames = connection._end(answer)
        if "event" in answer:
            event: dict[str, Any] = answer["event"]
            return event
        self._done = True
        self._result = _result(answer)
        raise StopIteration

    @property
    def result(self) -> dict[str, Any]:
        """Returns the answer; skips the remaining events."""
        for _ in self:
            pass
        return self._result


def _is_well_formed(answer: dict[str, Any]) -> bool:
    """Whether it is an event, a success with its fields, or a failure with a reason."""
    match answer:
        case {"event": dict()}:
            return True
        case {"ok": True, "result": dict()}:
            return isinstance(answer.get("frames", []), list)
        case {"ok": False}:
            return isinstance(answer.get("error", {}), dict)
    return False


def _result(answer: dict[str, Any]) -> dict[str, Any]:
    """Returns the result of an answer. Raises its error if it is a failure."""
    if answer["ok"] is not True:
        error = answer.get("error", {})
        message = str(error.get("message", "no reason was given"))
        raise from_answer(str(error.get("kind")), str(error.get("what", "")), message)
    result: dict[str, Any] = answer["result"]
    return result


def _connected(path: Path, timeout: float | None) -> _Carrier:
    connection = _UnixSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        _queue_for(connection, str(path), timeout)
    except FileNotFoundError:
        hint = "is the daemon running? (systemctl status shoald; `shoalctl dev up` starts a test cluster)"
    except ConnectionRefusedError:
        hint = "the daemon that made it is gone: start it again" if path.is_socket() else "it is not a socket"
    except PermissionError:
        hint = "permission denied: the socket is for its owner and group"
    except TimeoutError:
        hint = f"no answer within {timeout} seconds"
    except OSError as error:
        hint = str(error.strerror or error)
    else:
        return connection
    connection.close()
    raise Unreachable(f"cannot reach a daemon at {path}: {hint}; --socket or SHOAL_SOCKET selects another socket")


def _queue_for(connection: socket.socket, path: str, timeout: float | None) -> None:
    """Connects. While the daemon's queue is full, the kernel refuses sockets with a timeout at once: retries."""
    until = time.monotonic() + (timeout or 0.0)
    while True:
        try:
            return connection.connect(path)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise TimeoutError from None
            time.sleep(QUEUE_SECONDS)


def _called(
    address: str,
    timeout: float | None,
    key: str | os.PathLike[str] | None,
    server_key: str | None,
    known_keys: str | os.PathLike[str] | None,
) -> _Carrier:
    # pyzmq takes a while to import, and local connections do not need it.
    from shoal.client.remote import NoConnection, RemoteSocket, target_of

    try:
        return RemoteSocket(target_of(address, key, server_key, known_keys), timeout)
    except NoConnection as error:
        raise Unreachable(f"cannot reach a daemon at {address}: {error}") from error
