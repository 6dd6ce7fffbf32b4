"""Sockets that are watched are closed before their watchers, whoever lets go of them and however."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import zmq

from shoal.client.watched_sockets import WatchedSockets


class Owner:
    """Somebody."""


def test_a_pair_whose_owner_is_gone_is_closed_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets, owner, other = WatchedSockets.here(), Owner(), Owner()
    # Tests that interrupt between any two instructions, as no signal can, may have kept the lock.
    monkeypatch.setattr(sockets, "_sweeping", threading.Lock())
    left = sockets.open(owner, zmq.DEALER)
    kept = sockets.open(other, zmq.DEALER)
    assert not left.socket.closed
    del owner
    sockets.close(sockets.open(other, zmq.DEALER))
    assert left.socket.closed
    assert left.events.closed
    assert not kept.socket.closed
    sockets.close(kept)
    sockets.close(kept)
    assert not {left, kept} & set(sockets._open)


def test_a_script_that_closes_nothing_ends() -> None:
    script = (
        "import zmq; from shoal.client.watched_sockets import WatchedSockets\n"
        "owner = type('Owner', (), {})()\n"
        "kept = WatchedSockets.here().open(owner, zmq.DEALER)\n"
        "kept.socket.connect('tcp://127.0.0.1:9'); kept.socket.send(b'x')\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=30, check=False).returncode == 0
