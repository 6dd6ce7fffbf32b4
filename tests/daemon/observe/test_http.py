"""The metrics port, asked by a real HTTP client and by some that are none."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

import daemon.observe.http
from daemon.observe.http import CONNECTIONS_MAX, HEAD_BYTES_MAX, HttpServer
from daemon.observe.metrics import Metrics

T = TypeVar("T")


def serving(use: Callable[[HttpServer], Awaitable[T]], ready: tuple[bool, str] = (True, "in view 3")) -> T:
    async def main() -> T:
        metrics = Metrics()
        metrics.ticks_total.inc(5)
        server = HttpServer("127.0.0.1", 0, metrics, lambda: ready)
        await server.start()
        try:
            return await use(server)
        finally:
            await server.close()

    return asyncio.run(main())


Found = tuple[int, str, dict[str, str]]


def get(path: str, method: str = "GET", ready: tuple[bool, str] = (True, "in view 3")) -> Found:
    def ask(port: int) -> Found:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        client.request(method, path)
        response = client.getresponse()
        found = response.status, response.read().decode(), dict(response.getheaders())
        client.close()
        return found

    return serving(lambda server: asyncio.to_thread(ask, server.port), ready)


def converse(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(data)
        with client.makefile("rb") as file:
            return file.read()


def send(data: bytes) -> bytes:
    return serving(lambda server: asyncio.to_thread(converse, server.port, data))


def test_metrics() -> None:
    status, body, headers = get("/metrics?format=any")
    assert status == 200
    assert "shoal_ticks_total 5.0" in body
    assert headers["Content-Type"].startswith("text/plain; version=")


def test_health_and_readiness() -> None:
    assert get("/healthz")[:2] == (200, "ok\n")
    assert get("/readyz")[:2] == (200, "in view 3\n")
    assert get("/readyz", ready=(False, "no view yet: waiting for 2 more shards"))[:2] == (
        503,
        "no view yet: waiting for 2 more shards\n",
    )


def test_what_is_not_there() -> None:
    assert get("/nope")[0] == 404
    status, _, headers = get("/metrics", "POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    status, body, headers = get("/healthz", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, "", "3")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"GET /metrics SPDY/3\r\n\r\n", b"400"),
        (b"\xff\xfe\x00\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/2.0\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n", b"431"),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (4 * HEAD_BYTES_MAX) + b"\r\n\r\n", b"431"),
        (b"POST /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + b"x" * (4 * HEAD_BYTES_MAX), b"405"),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"200"),
    ],
)
def test_nonsense_gets_its_refusal(data: bytes, status: bytes) -> None:
    assert send(data).split(b" ")[1] == status


def test_a_silent_client_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon.observe.http, "PATIENCE_SECONDS", 0.05)
    assert send(b"GET /met") == b""


def test_in_a_full_house_who_is_silent_gives_up_his_place() -> None:
    """A hundred who connect and say nothing, again and again, and nobody who asks is refused."""
    request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"

    def ask(server: HttpServer) -> tuple[list[bytes], int]:
        answers, most = [], 0
        with contextlib.ExitStack() as idle:
            for number in range(3 * CONNECTIONS_MAX):
                idle.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
                if number % 10 == 9:
                    answers.append(converse(server.port, request))
                    most = max(most, len(server))
        return answers, most

    answers, most = serving(lambda server: asyncio.to_thread(ask, server))
    assert all(answer.endswith(b"ok\n") for answer in answers)
    assert CONNECTIONS_MAX - 1 <= most <= CONNECTIONS_MAX, "whoever asked may have hung up already"


def test_a_client_that_does_not_read_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon.observe.http, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(Metrics, "render", lambda self: "x" * (32 << 20))

    async def hold(server: HttpServer) -> int:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            until = time.monotonic() + 10
            while not len(server) and time.monotonic() < until:
                await asyncio.sleep(0.01)
            while len(server) and time.monotonic() < until:
                await asyncio.sleep(0.01)
            return len(server)

    assert serving(hold) == 0


def test_a_port_that_is_taken_is_an_error_at_the_start() -> None:
    async def use(server: HttpServer) -> None:
        with pytest.raises(OSError, match="in use"):
            await HttpServer("127.0.0.1", server.port, Metrics(), lambda: (True, "")).start()

    serving(use)
