"""The metrics port: ``/metrics``, ``/healthz`` and ``/readyz`` over HTTP/1.1, which h11 reads and writes.

The clients are Prometheus and load balancers, so this answers GET and HEAD, one request per connection, from a head of
at most `HEAD_BYTES_MAX`; all of it, to the last byte read, within `PATIENCE_SECONDS`, from at most `CONNECTIONS_MAX`
clients at a time. When all places are taken, a client that has connected without a request loses its place. Anything
else gets the proper refusal. The metrics are rendered in a thread, so that a scrape of some thousand series does not
block the control loop.

- ``/healthz``: 200 while the control loop turns at all.
- ``/readyz``: 200 while this shard serves in a view, otherwise 503 with the reason in words.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import h11
from prometheus_client import CONTENT_TYPE_LATEST

from daemon.observe.metrics import Metrics
from daemon.transport.accepting import Acceptor

HEAD_BYTES_MAX: Final = 8 * 1024
CONNECTIONS_MAX: Final = 32
PATIENCE_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 2.0
DISMISSAL_READS_MAX: Final = 16
_TEXT: Final = "text/plain; charset=utf-8"
_REFUSALS: Final = {
    400: b"this port speaks HTTP/1.1, with a Host header\n",
    405: b"GET or HEAD\n",
    431: b"that is more than a scrape needs to say\n",
    501: b"a scrape has no body\n",
}
WAITING_MAX: Final = 32
"""The length of the kernel's queue."""
_FULL_HOUSE: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

log = logging.getLogger("shoal.metrics")

Readiness = Callable[[], tuple[bool, str]]
Answer = tuple[int, str, bytes]


class HttpServer:
    """Serves the metrics port in the running loop."""

    def __init__(
        self, host: str, port: int, metrics: Metrics, readiness: Readiness, connections_max: int = CONNECTIONS_MAX
    ) -> None:
        self._host = host
        self._port = port
        self._metrics = metrics
        self._readiness = readiness
        self._connections_max = connections_max
        self._acceptor: Acceptor | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.Task[None], None] = {}
        """Connections without a request yet, the oldest first."""

    async def start(self) -> None:
        """Binds. Raises OSError if the port is taken."""
        found = await asyncio.get_running_loop().getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        self._acceptor = Acceptor("metrics", self._adopt, log)
        for family, *_, address in dict.fromkeys(found):
            listener = socket.create_server(address[:2], family=family, backlog=WAITING_MAX)
            listener.setblocking(False)
            self._acceptor.listen(listener)

    @property
    def port(self) -> int:
        """The bound port, also if 0 was configured."""
        assert self._acceptor is not None
        port: int = self._acceptor.sockets[0].getsockname()[1]
        return port

    def __len__(self) -> int:
        """The number of connected clients."""
        return len(self._clients)

    async def close(self) -> None:
        """Stops listening and closes all connections."""
        tasks = list(self._clients)
        for task in tasks:
            task.cancel()
        if self._acceptor is not None:
            tasks += self._acceptor.close()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)

    def _adopt(self, client: socket.socket, _: str) -> bool:
        """Serves a connection, and returns whether a place was free. If none was, the one that has been silent longest
        is closed; if none is silent, this one is refused.
        """
        was_free = len(self._clients) < self._connections_max
        if not was_free:
            if not self._silent:
                with contextlib.suppress(OSError):
                    client.send(_FULL_HOUSE)
                client.close()
                return False
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            self._clients.discard(oldest)
            oldest.cancel()
        task = asyncio.create_task(self._client(client), name="metrics client")
        self._clients.add(task)
        self._silent[task] = None
        task.add_done_callback(lambda _: client.close())
        return was_free

    async def _client(self, client: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._converse(task, client)
        except (TimeoutError, OSError):
            pass
        finally:
            self._clients.discard(task)
            self._silent.pop(task, None)

    async def _converse(self, task: asyncio.Task[None], client: socket.socket) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        try:
            request = await _read_request(connection, client)
        except h11.RemoteProtocolError as error:
            return await _refuse(connection, client, error.error_status_hint)
        if request is None:
            return None
        self._silent.pop(task, None)
        if not request.http_version.startswith(b"1."):
            return await _refuse(connection, client, HTTPStatus.BAD_REQUEST)
        if request.method not in {b"GET", b"HEAD"}:
            return await _refuse(connection, client, HTTPStatus.METHOD_NOT_ALLOWED)
        answer = await self._answer(request.target.partition(b"?")[0])
        return await _respond(connection, client, answer, with_body=request.method == b"GET")

    async def _answer(self, path: bytes) -> Answer:
        match path:
            case b"/metrics":
                # The hooks read the loop's own state and so run in it; the long part, the text, does not.
                self._metrics.refresh()
                text = await asyncio.to_thread(self._metrics.render)
                return 200, CONTENT_TYPE_LATEST, text.encode()
            case b"/healthz":
                return 200, _TEXT, b"ok\n"
            case b"/readyz":
                ready, why = self._readiness()
                return 200 if ready else 503, _TEXT, f"{why}\n".encode()
            case _:
                return 404, _TEXT, b"there is /metrics, /healthz and /readyz\n"


async def _read_request(connection: h11.Connection, client: socket.socket) -> h11.Request | None:
    """Returns the head of the request, or None from a client that hung up without one."""
    loop = asyncio.get_running_loop()
    unread = HEAD_BYTES_MAX + 1  # h11 itself accepts a longer head if it arrives complete
    while (event := connection.next_event()) is h11.NEED_DATA:
        data = await loop.sock_recv(client, unread)
        unread -= len(data)
        connection.receive_data(data)
    return event if isinstance(event, h11.Request) else None


async def _refuse(connection: h11.Connection, client: socket.socket, status: int) -> None:
    """Answers a client that may still be sending. Closing with unread bytes would reset the connection, and lose the
    answer: so this reads, and drops, a bounded rest."""
    await _respond(connection, client, (status, _TEXT, _REFUSALS.get(status, b"")))
    client.shutdown(socket.SHUT_WR)
    for _ in range(DISMISSAL_READS_MAX):
        if not await asyncio.get_running_loop().sock_recv(client, HEAD_BYTES_MAX):
            break


async def _respond(connection: h11.Connection, client: socket.socket, answer: Answer, with_body: bool = True) -> None:
    status, kind, body = answer
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")]
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "GET, HEAD"))
    data = connection.send(h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase))
    assert data is not None
    await asyncio.get_running_loop().sock_sendall(client, data + (body if with_body else b""))
