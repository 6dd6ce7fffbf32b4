"""The metrics port: ``/metrics``, ``/healthz`` and ``/readyz`` over just enough HTTP/1.1.

Who asks is Prometheus or a load balancer, so this answers GET and HEAD, one request a connection, from a head of at
most `HEAD_BYTES_MAX`; all of it, to the last byte that is read, within `PATIENCE_SECONDS`, from at most
`CONNECTIONS_MAX` clients at a time: in a full house who has connected and not asked gives up his place. What is no such
request gets its proper refusal. The metrics are rendered in a thread, so that a scrape of some thousand series
does not hold up the control loop.

- ``/healthz``: 200 while the control loop turns at all.
- ``/readyz``: 200 once this shard is in a view, 503 with the reason in words before and after.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST

from daemon.observe.metrics import Metrics
from daemon.transport.accepting import Acceptor

HEAD_BYTES_MAX: Final = 8 * 1024
CONNECTIONS_MAX: Final = 32
PATIENCE_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 2.0
DISMISSAL_READS_MAX: Final = 16
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_TEXT: Final = "text/plain; charset=utf-8"
WAITING_MAX: Final = 32
"""In the kernel's queue."""
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
        """Those who have not asked yet, the oldest first."""

    async def start(self) -> None:
        """Bind; OSError when the port is taken."""
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
        """The port that is bound, for one that was asked for as 0."""
        assert self._acceptor is not None
        port: int = self._acceptor.sockets[0].getsockname()[1]
        return port

    def __len__(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    async def close(self) -> None:
        """Stop listening and hang up."""
        tasks = list(self._clients)
        for task in tasks:
            task.cancel()
        if self._acceptor is not None:
            tasks += self._acceptor.close()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)

    def _adopt(self, client: socket.socket, _: str) -> bool:
        """Whether there was a place. If not, who has been silent longest gives up his; if nobody is, this one goes."""
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
            await self._serve(task, client)
        except (TimeoutError, OSError):
            pass
        finally:
            self._clients.discard(task)
            self._silent.pop(task, None)

    async def _serve(self, task: asyncio.Task[None], client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=HEAD_BYTES_MAX)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, client)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._converse(task, reader, writer)
                writer.close()
                await writer.wait_closed()
        finally:
            transport.abort()  # what a client does not read is not kept for it

    async def _converse(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            answer = 431, _TEXT, b"that is more than a scrape needs to say\n"
            return await self._dismiss(reader, writer, answer)
        except asyncio.IncompleteReadError:
            return None
        self._silent.pop(task, None)
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self._respond(writer, (400, _TEXT, b"this port speaks HTTP/1.1\n"))
        elif words[0] not in {"GET", "HEAD"}:
            self._respond(writer, (405, _TEXT, b"GET or HEAD\n"))
        else:
            self._respond(writer, await self._answer(words[1].partition("?")[0]), with_body=words[0] == "GET")
        return await writer.drain()

    async def _dismiss(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
        """Answer without having read the request. A close with bytes unread would reset the connection, and the answer
        would be lost with it: so the rest is read, a little, and thrown away."""
        self._respond(writer, answer)
        writer.write_eof()
        for _ in range(DISMISSAL_READS_MAX):
            if not await reader.read(HEAD_BYTES_MAX):
                break

    async def _answer(self, path: str) -> Answer:
        match path:
            case "/metrics":
                # The hooks look at the loop's own state and so run in it; the long part, the text, does not.
                self._metrics.refresh()
                text = await asyncio.to_thread(self._metrics.render)
                return 200, CONTENT_TYPE_LATEST, text.encode()
            case "/healthz":
                return 200, _TEXT, b"ok\n"
            case "/readyz":
                ready, why = self._readiness()
                return 200 if ready else 503, _TEXT, f"{why}\n".encode()
            case _:
                return 404, _TEXT, b"there is /metrics, /healthz and /readyz\n"

    def _respond(self, writer: asyncio.StreamWriter, answer: Answer, with_body: bool = True) -> None:
        status, kind, body = answer
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            f"Connection: close\r\n{'Allow: GET, HEAD' + chr(13) + chr(10) if status == 405 else ''}\r\n"
        )
        writer.write(head.encode() + (body if with_body else b""))
