"""sd_notify over real datagram sockets, with a path and in the abstract namespace."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.observe.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@shoal-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listener.settimeout(10)
        yield listener, name


def test_what_is_said(manager: tuple[socket.socket, str]) -> None:
    listener, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    assert notifier.address

    def heard() -> list[str]:
        return listener.recv(4096).decode().split("\n")

    notifier.ready("shard a, epoch 1\nof 3")
    assert heard() == ["READY=1", "STATUS=shard a, epoch 1 of 3"]
    notifier.status("x" * 1000)
    assert heard() == ["STATUS=" + "x" * 300]
    notifier.watchdog()
    assert heard() == ["WATCHDOG=1"]
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    reloading, stamp = heard()
    assert reloading == "RELOADING=1"
    assert before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    notifier.extend_timeout(2.5)
    assert heard() == ["EXTEND_TIMEOUT_USEC=2500000"]
    notifier.stopping()
    assert heard() == ["STOPPING=1"]


def test_nobody_to_tell_is_no_error(tmp_path: Path) -> None:
    alone = Notifier({})
    alone.ready("fine")
    assert not alone.address
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).watchdog()


def test_a_manager_that_does_not_read_holds_nobody_up(manager: tuple[socket.socket, str]) -> None:
    _, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    for _ in range(5000):
        notifier.watchdog()


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({"WATCHDOG_USEC": "10000000"}, 5_000_000_000),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 5_000_000_000),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_wants_half_of_what_is_allowed(environment: dict[str, str], interval: int | None) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/run/x", **environment}).watchdog_interval_ns == interval
    assert Notifier(environment).watchdog_interval_ns is None
