"""The admin socket: operators, shoalctl and programs talk to the daemon on their own machine through it.

A unix stream socket, guarded by its file mode. A request is one line; a connection carries any number, one after the
other, in two formats:

    {"command": "run show", "args": {"run": "pagerank-1"}}      JSON, answered by one line of JSON
    run show pagerank-1                                         plain words, answered by a table and an empty line

A JSON request may have an ``"id"``, a number or a short text: every line of the reply repeats it, so that a client can
match replies with requests.

A JSON request with ``"frames": [1024, 77]`` is followed by that many raw bytes, and so is a reply; ``"stream": true``
requests lines ``{"event": {...}}`` before the reply. An error is a line
``{"ok": false, "error": {"kind": "refused", "message": "..."}}``, with the kind refused, failed or usage, and with
``"what"``, the matching class of `shoal.api.errors`, if there is one. JSON has no infinity: such numbers
travel as the strings "inf", "-inf" and "nan".

A diagnostic tool is useless if it hangs with what it diagnoses. So each connection is a task of its own on the control
loop, and lines, frames, connections and bytes in flight have limits. When all places are taken, the longest idle
connection of the client with the most is closed. A client that disconnects cancels its request; one that stops reading
or sending half-way is closed after `stall_ns`.

The bytes go straight between the socket and their buffers (`loop.sock_recv_into`, `sock_sendall`): only the kernel
copies a graph of hundreds of megabytes.

Operators on other machines come through `daemon.admin.endpoint`, which hands over a socket for each (`adopt`): this
module serves them like all other clients. The log names the client of every command that changes something.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from daemon.admin import plain_words
from daemon.admin.lines import ID_RULE, NO_TAG, Tag, encoded, json_error, json_object, plain_error, tag_of, text_of
from daemon.admin.path import SocketTaken, listen_at
from daemon.admin.registry import Registry
from daemon.store import StoreFailed
from daemon.transport.accepting import Acceptor
from shoal.api.command import Command, Emit, Exchange, Framed
from shoal.api.errors import Failed, ShoalError, Usage, class_name
from shoal.api.text import encodable

__all__ = ["AdminLimits", "AdminServer", "SocketTaken"]

log = logging.getLogger("shoal.admin")

HEAR_OUT_SECONDS: Final = 2.0
CLOSE_SECONDS: Final = 5.0
"""For handlers to undo what they had begun; slower ones are abandoned."""
RECEIVE_BYTES: Final = 64 * 1024
YIELD_BYTES: Final = 1024 * 1024
"""A transfer yields to the loop after this much, however fast the other side is."""
CREDENTIALS: Final = struct.Struct("=iII")
"""struct ucred: process, user and group (unix(7), SO_PEERCRED)."""


class _Gone(Exception):
    """The client hung up, or has to be hung up on; the connection ends without another message."""


@dataclass(frozen=True, slots=True)
class AdminLimits:
    """Limits on what one client, and all together, may make the daemon hold."""

    line_bytes_max: int = 1024 * 1024
    frames_max: int = 4096
    frames_bytes_max: int = 8 * 1024**3
    connections_max: int = 64
    stall_ns: int = 60_000_000_000


@dataclass(slots=True, eq=False)
class _Connection:
    """One client: its socket, its identity, the bytes read ahead, and since when it has been idle (None while it is
    served).
    """

    socket: socket.socket
    asker: str
    origin: int | str
    """The process at the other end, or else the client's name."""
    idle_since: float | None = None
    ahead: bytearray = field(default_factory=bytearray)
    task: asyncio.Task[None] | None = None


Observe = Callable[[str, str], None]


class AdminServer:
    """Serves a registry of commands on a unix socket, in the running loop.

    Calls `observe(command, outcome)` for every request; the outcome is ok, refused, failed, usage or gone.
    """

    def __init__(
        self,
        registry: Registry,
        path: str | Path,
        *,
        mode: int = 0o660,
        limits: AdminLimits | None = None,
        observe: Observe = lambda command, outcome: None,
    ) -> None:
        self._registry = registry
        self._path = Path(path)
        self._mode = mode
        self._limits = limits if limits is not None else AdminLimits()
        self._observe = observe
        self._acceptor: Acceptor | None = None
        self._inode = 0
        self._connections: set[_Connection] = set()
        self._bytes_in_flight = 0

    async def start(self) -> None:
        """Binds and serves. Raises `SocketTaken` if a live daemon has the path."""
        listener = listen_at(self._path, self._mode)
        self._inode = self._path.stat().st_ino
        self._acceptor = Acceptor("admin socket", lambda client, _: self.adopt(client, _user_of(client)), log)
        self._acceptor.listen(listener)

    async def close(self) -> None:
        """Hangs up on all clients and removes the socket, unless another daemon has put its own there."""
        tasks = [c.task for c in self._connections if c.task is not None]
        for task in tasks:
            task.cancel()
        if self._acceptor is not None:
            tasks += self._acceptor.close()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        if self._acceptor is not None:
            self._acceptor = None
            with contextlib.suppress(FileNotFoundError):
                if self._path.stat().st_ino == self._inode:
                    self._path.unlink()

    def __len__(self) -> int:
        """The number of connected clients."""
        return len(self._connections)

    def adopt(self, client: socket.socket, asker: str) -> bool:
        """Serves a client on a non-blocking socket, which the server then owns; `asker` identifies the client in the
        log.

        Returns False if no place was free: then another client has lost its place, or this one is refused.
        """
        was_free = len(self._connections) < self._limits.connections_max
        if not was_free and not self._made_room():
            _last_words(client, "refused", f"{self._limits.connections_max} clients are being served: try again later")
            return False
        connection = _Connection(client, asker, _process_of(client) or asker, asyncio.get_running_loop().time())
        self._connections.add(connection)
        connection.task = asyncio.create_task(self._serve(connection), name="admin client")
        connection.task.add_done_callback(lambda _: client.close())  # also if it is cancelled before it begins
        return was_free

    def _made_room(self) -> bool:
        """Frees a place if any client is idle: hangs up on the longest idle of those with the most connections."""
        idle = [c for c in self._connections if c.idle_since is not None]
        if not idle:
            return False
        crowds = Counter(c.origin for c in self._connections)
        oldest = min(idle, key=lambda c: (-crowds[c.origin], c.idle_since or 0.0))
        assert oldest.task is not None
        oldest.task.cancel()
        self._connections.discard(oldest)
        return True

    async def _serve(self, connection: _Connection) -> None:
        try:
            while (line := await self._line(connection)) is not None:
                connection.idle_since = None
                if line.strip():
                    await self._answer(connection, line)
                connection.idle_since = asyncio.get_running_loop().time()
                await asyncio.sleep(0)  # handling a pipelined line does not yield by itself either
        except (_Gone, ConnectionError, TimeoutError):
            pass
        finally:
            self._connections.discard(connection)
            connection.socket.close()

    async def _line(self, connection: _Connection) -> bytes | None:
        """Returns the next line without its end, or None when the client is done."""
        loop = asyncio.get_running_loop()
        ahead = connection.ahead
        searched = 0
        while (end := ahead.find(b"\n", searched)) < 0:
            searched = len(ahead)
            if searched > self._limits.line_bytes_max:
                await self._refuse_and_hang_up(connection, f"a line has at most {self._limits.line_bytes_max} bytes")
            chunk = await loop.sock_recv(connection.socket, RECEIVE_BYTES)
            if not chunk:
                if not ahead:
                    return None
                end = len(ahead)
                break
            ahead += chunk
        line = bytes(ahead[:end])
        del ahead[: end + 1]
        return line

    async def _answer(self, connection: _Connection, line: bytes) -> None:
        plain = not line.lstrip().startswith(b"{")
        name, outcome, tag = "?", "ok", NO_TAG
        speak = plain_error if plain else json_error
        try:
            if plain:
                name, words = plain_words.split(text_of(line), self._registry.contracts)
                command, exchange = plain_words.read(self._registry.find(name), words), Exchange()
            else:
                said = json_object(line)
                tag = tag_of(said) or NO_TAG
                command, exchange = await self._read_request(connection, said, tag)
            contract = command.contract
            name = contract.name
            if contract.changes:
                log.info("%s by %s", contract.log_line(command), connection.asker)
            reply = await self._attended(connection, command, exchange)
            if plain:
                await self._send(connection, _page(name, reply.reply))
            else:
                await self._send_reply(connection, reply, tag)
        except ShoalError as error:
            outcome = error.kind
            await self._send(connection, speak(error.kind, str(error), class_name(error), tag))
        except (_Gone, ConnectionError, TimeoutError, asyncio.CancelledError):
            outcome = "gone"
            raise
        except Exception as error:
            # A handler's own bug: the operator gets a sentence, the log the traceback, and the daemon goes on.
            outcome = "failed"
            log.exception("admin command %s failed", name)
            await self._send(connection, speak("failed", f"{name}: {type(error).__name__}: {error}", "", tag))
        finally:
            self._observe(name, outcome)

    async def _read_request(
        self, connection: _Connection, said: Mapping[str, Any], tag: Tag
    ) -> tuple[Command[Any], Exchange]:
        lengths = said.get("frames", [])
        limits = self._limits
        if not isinstance(lengths, list) or not all(type(n) is int and n >= 0 for n in lengths):
            await self._refuse_and_hang_up(connection, "frames should be a list of lengths in bytes", "usage", tag)
        total = sum(lengths)
        if len(lengths) > limits.frames_max or self._bytes_in_flight + total > limits.frames_bytes_max:
            await self._refuse_and_hang_up(
                connection,
                f"{len(lengths)} frames of {total} bytes in all are too much: at most {limits.frames_max} frames and "
                f"{limits.frames_bytes_max} bytes for all clients together",
                tag=tag,
            )
        try:
            command = self._checked(said, bool(lengths))
        except ShoalError:
            # The announced frames still have to be read, or they would be taken for further lines.
            await self._skip(connection, total)
            raise
        frames = await self._receive(connection, lengths)
        return command, Exchange(frames, self._emitter(connection, said, tag))

    def _checked(self, said: Mapping[str, Any], with_frames: bool) -> Command[Any]:
        """Returns the command, checked as far as possible before its frames are read."""
        if tag_of(said) is None:
            raise Usage(ID_RULE)
        name, args = said.get("command"), said.get("args") or {}
        if not isinstance(name, str):
            raise Usage('a request needs "command", as in {"command": "status"}')
        if not isinstance(args, dict):
            raise Usage('"args" should be an object')
        contract = self._registry.find(name)
        command = contract.read(args)
        if with_frames and not contract.frames:
            raise Usage(f"{name} takes no frames")
        return command

    def _emitter(self, connection: _Connection, said: Mapping[str, Any], tag: Tag) -> Emit:
        async def emit(event: Mapping[str, Any]) -> None:
            if said.get("stream") is not True:
                return
            try:
                await self._send(connection, encoded({"event": event, **tag}))
            except (ConnectionError, TimeoutError):
                raise _Gone from None

        return emit

    async def _attended(
        self, connection: _Connection, command: Command[Any], exchange: Exchange
    ) -> Framed[Mapping[str, Any]]:
        """Returns the handler's reply; cancels the handler if the client hangs up meanwhile."""
        name = command.contract.name
        held = sum(frame.nbytes for frame in exchange.frames)
        self._bytes_in_flight += held
        work = asyncio.ensure_future(self._registry.answer(command, exchange))
        gone = _Hangup(connection.socket, work)
        try:
            return await work
        except asyncio.CancelledError:
            if gone.seen:
                raise _Gone from None
            raise
        except ShoalError:
            raise
        except StoreFailed as error:
            raise Failed(f"{name}: {error}") from error
        except (ConnectionError, TimeoutError) as error:
            # The handler's own error, from another connection: this client is still there.
            raise Failed(f"{name}: {type(error).__name__}: {error}") from error
        finally:
            gone.stop()
            work.cancel()
            self._bytes_in_flight -= held

    async def _receive(self, connection: _Connection, lengths: list[int]) -> tuple[memoryview, ...]:
        frames = []
        total = sum(lengths)
        self._bytes_in_flight += total
        try:
            for length in lengths:
                # numpy's memory is not zeroed first, nor touched before the bytes arrive.
                frame = np.empty(length, dtype=np.uint8).data.cast("B")
                await self._fill(connection, frame)
                frames.append(frame)
                await asyncio.sleep(0)
        finally:
            self._bytes_in_flight -= total
        return tuple(frames)

    async def _fill(self, connection: _Connection, frame: memoryview) -> None:
        loop = asyncio.get_running_loop()
        position = min(len(connection.ahead), len(frame))
        frame[:position] = connection.ahead[:position]
        del connection.ahead[:position]
        since_yield = 0
        while position < len(frame):
            async with asyncio.timeout(self._limits.stall_ns / 1e9):
                count = await loop.sock_recv_into(connection.socket, frame[position:])
            if not count:
                raise _Gone
            position += count
            since_yield += count
            if since_yield >= YIELD_BYTES:
                # A receive that need not wait does not yield by itself.
                since_yield = 0
                await asyncio.sleep(0)

    async def _skip(self, connection: _Connection, total: int) -> None:
        scratch = memoryview(bytearray(min(total, YIELD_BYTES)))
        while total:
            part = scratch[: min(total, len(scratch))]
            await self._fill(connection, part)
            total -= len(part)

    async def _send_reply(self, connection: _Connection, reply: Framed[Mapping[str, Any]], tag: Tag) -> None:
        frames = [memoryview(frame).cast("B") for frame in reply.frames]
        answer: dict[str, Any] = {"ok": True, "result": reply.reply, **tag}
        if frames:
            answer["frames"] = [len(frame) for frame in frames]
        await self._send(connection, encoded(answer))
        for frame in frames:
            for start in range(0, len(frame), YIELD_BYTES):
                await self._send(connection, frame[start : start + YIELD_BYTES])
                await asyncio.sleep(0)

    async def _send(self, connection: _Connection, data: bytes | memoryview) -> None:
        async with asyncio.timeout(self._limits.stall_ns / 1e9):
            await asyncio.get_running_loop().sock_sendall(connection.socket, data)

    async def _refuse_and_hang_up(
        self, connection: _Connection, message: str, kind: str = "refused", tag: Tag = NO_TAG
    ) -> None:
        """For errors after which the beginning of the next line is unknown."""
        self._observe("?", kind)
        await self._send(connection, json_error(kind, message, tag=tag))
        with contextlib.suppress(TimeoutError, OSError):
            # Closing a socket with unread bytes resets the connection, and loses our answer.
            connection.socket.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(self._hear_out(connection), HEAR_OUT_SECONDS)
        raise _Gone

    async def _hear_out(self, connection: _Connection) -> None:
        while await asyncio.get_running_loop().sock_recv(connection.socket, RECEIVE_BYTES):
            await asyncio.sleep(0)  # otherwise a client that never stops would block the loop, and its own timeout


class _Hangup:
    """Watches a socket while its request is being handled, and cancels that when the other side has closed.

    Readable means three things: more lines (they wait), a half-close (``echo status | socat`` does that and still wants
    its answer) or a hangup. Only the last one cancels. After either of the others the descriptor would stay readable
    and spin the loop; then it is watched through an epoll of its own, which is registered for no event at all and so is
    readable only at a hangup (epoll_ctl(2): that one is always reported).
    """

    def __init__(self, client: socket.socket, work: asyncio.Future[Any]) -> None:
        self.seen = False
        self._client = client
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._hangups: select.epoll | None = None
        self._loop.add_reader(client, self._readable)

    def _readable(self) -> None:
        poll = select.poll()
        poll.register(self._client, select.POLLHUP)
        if any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0)):
            self._hung_up()
            return
        self._loop.remove_reader(self._client)
        with contextlib.suppress(OSError):  # no descriptor left: then the end of the request shows it
            self._hangups = select.epoll()
            self._hangups.register(self._client, 0)
            self._loop.add_reader(self._hangups, self._hung_up)

    def _hung_up(self) -> None:
        self.seen = True
        self._work.cancel()
        self.stop()

    def stop(self) -> None:
        """Stops watching. Idempotent."""
        if self._client.fileno() >= 0:
            self._loop.remove_reader(self._client)
        if self._hangups is not None:
            self._loop.remove_reader(self._hangups)
            self._hangups.close()
            self._hangups = None


def _page(name: str, reply: Mapping[str, Any]) -> bytes:
    """Renders a reply for people; only then is `rich` imported, which takes 3 MiB."""
    from daemon.admin.render import render

    return f"{encodable(render(name, reply)).rstrip()}\n\n".encode()


def _credentials(client: socket.socket) -> tuple[int, int, int]:
    """Returns process, user and group at the other end of a unix socket."""
    process, user, group = CREDENTIALS.unpack(
        client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    )
    return process, user, group


def _user_of(client: socket.socket) -> str:
    """Returns the user at the other end of a unix socket, according to the kernel."""
    _, user, _ = _credentials(client)
    return f"user {user}"


def _process_of(client: socket.socket) -> int:
    """Returns the process at the other end; 0 if unknown or our own, which stands for a remote operator."""
    try:
        process, _, _ = _credentials(client)
    except OSError:
        return 0
    return 0 if process == os.getpid() else int(process)


def _last_words(client: socket.socket, kind: str, message: str) -> None:
    with contextlib.suppress(OSError):
        client.send(json_error(kind, message))
    client.close()
