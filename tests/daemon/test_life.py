"""The daemon as a whole, in this process: how it ends, and what it says while it is alone."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import daemon.life as main
from daemon.config import Config, load
from daemon.observe.notify import Notifier
from daemon.store import NoRoom


@pytest.fixture
def config(tmp_path: Path) -> Config:
    ports = []
    for _ in range(3):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    (tmp_path / "config.toml").write_text(f"""
        [cluster]
        shard = "a"
        expect = 2
        seeds = ["b@tcp://127.0.0.1:{ports[2]}"]
        data = "data"
        [listen]
        control = "tcp://127.0.0.1:{ports[0]}"
        ticks = "tcp://127.0.0.1:{ports[1]}"
        [security]
        encryption = "none"
        [admin]
        socket = "a.sock"
        [metrics]
        listen = ""
    """)
    return load(tmp_path / "config.toml", {})


def serve(config: Config, then: Callable[[asyncio.AbstractEventLoop], object]) -> int:
    """Run a daemon; `then` is called on its loop as soon as it serves."""

    async def run() -> int:
        serving = asyncio.ensure_future(main.Daemon(config, Notifier()).run())
        async with asyncio.timeout(20):
            while not config.admin.socket.exists():
                await asyncio.sleep(0.005)
            then(asyncio.get_running_loop())
            return await serving

    return asyncio.run(run())


def fail(*_: object) -> None:
    raise AssertionError("an invariant is broken")


def test_a_callback_that_fails_ends_the_daemon(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    """It has lost its timer or its messages; systemd starts it again. asyncio alone would log it and go on."""
    assert serve(config, lambda loop: loop.call_soon(fail)) == 1
    assert "ending: an invariant is broken" in caplog.text
    assert caplog.records[-1].exc_info
    assert not config.admin.socket.exists()


def test_a_full_disk_ends_it_in_a_sentence(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    """An operator is to make room, and has nothing to look up in the source."""

    def full() -> None:
        raise NoRoom("/data/shoal.db: could not persist a decision: the disk is full; make room")

    assert serve(config, lambda loop: loop.call_soon(full)) == 1
    assert "ending: /data/shoal.db: could not persist a decision: the disk is full; make room" in caplog.text
    assert not caplog.records[-1].exc_info


def test_a_shard_that_is_alone_says_what_to_look_at(
    config: Config, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "LONELY_SECONDS", 0.0)

    def once_it_is_said(loop: asyncio.AbstractEventLoop) -> None:
        if "in no view yet: 1 of the 2 shards that found the cluster are here" in caplog.text:
            loop.call_soon(fail)
        else:
            loop.call_later(0.01, once_it_is_said, loop)

    with caplog.at_level(logging.WARNING):
        assert serve(config, once_it_is_said) == 1
    assert caplog.text.count("do their allowed_keys contain this shard's key") == 1
