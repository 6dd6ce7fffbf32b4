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

import daemon.watch.http
from daemon.watch.http import CONNECTIONS_MAX, HEAD_BYTES_MAX, HttpServer
from daemon.watch.metrics import Metrics

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
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * (2 * HEAD_BYTES_MAX) + b"\r\n\r\n", b"431"),
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"200"),
    ],
)
def test_nonsense_gets_its_refusal(data: bytes, status: bytes) -> None:
    assert send(data).split(b" ")[1] == status


def test_a_silent_client_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon.watch.http, "PATIENCE_SECONDS", 0.05)
    assert send(b"GET /met") == b""


def test_there_is_a_limit_of_clients_and_it_frees_itself() -> None:
    request = b"GET /healthz HTTP/1.1\r\n\r\n"

    def ask(port: int) -> tuple[bytes, bytes]:
        with contextlib.ExitStack() as idle:
            for _ in range(CONNECTIONS_MAX):
                idle.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            full = converse(port, request)
        until = time.monotonic() + 10
        while b"503" in (after := converse(port, request)):
            assert time.monotonic() < until
        return full, after

    full, after = serving(lambda server: asyncio.to_thread(ask, server.port))
    assert full.split(b" ")[1] == b"503"
    assert after.endswith(b"ok\n")


def test_a_port_that_is_taken_is_an_error_at_the_start() -> None:
    async def use(server: HttpServer) -> None:
        with pytest.raises(OSError, match="in use"):
            await HttpServer("127.0.0.1", server.port, Metrics(), lambda: (True, "")).start()

    serving(use)
