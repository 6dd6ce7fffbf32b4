"""The client's side of the admin protocol, where it meets the system."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from shoal.api.errors import Unreachable
from shoal.client.admin_protocol import AdminConnection


def test_who_finds_a_queue_full_waits_for_his_turn(tmp_path: Path) -> None:
    """The kernel refuses at once, on a unix socket, whoever has a timeout."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(path))
        listener.listen(0)
        first.connect(str(path))
        with pytest.raises(Unreachable, match="no answer within"):
            AdminConnection(path, 0.1)
        turn = threading.Timer(0.1, lambda: listener.accept()[0].close())
        turn.start()
        AdminConnection(path, 10.0).close()
        turn.join()
