"""Notifies systemd: sd_notify(3), one datagram per message.

``$NOTIFY_SOCKET`` names a unix datagram socket (a leading ``@`` stands for the abstract namespace). Without it every
call does nothing, so a daemon started by hand needs no special case. A datagram that can't be sent is dropped: failing
to report is no reason to stop, and the watchdog notices by itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

STATUS_MAX: Final = 300


class Notifier:
    """Notifies the service manager named by the environment."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        path = environment.get("NOTIFY_SOCKET", "")
        self.address = f"\0{path[1:]}" if path.startswith("@") else path
        self._watchdog_ns = _watchdog(environment)
        self._has_set_watchdog = False

    @property
    def watchdog_interval_ns(self) -> int | None:
        """The interval at which to call `watchdog`: half of what systemd allows, or None."""
        return self._watchdog_ns // 2 if self._watchdog_ns and self.address else None

    def ready(self, status: str = "") -> None:
        """Reports that the daemon is bound, joined and serving; also ends a reload."""
        self._send("READY=1", *_status(status))

    def status(self, text: str) -> None:
        """Sets the line that ``systemctl status`` shows."""
        self._send(*_status(text))

    def watchdog(self) -> None:
        """Reports that the control loop still turns. Call it from that loop only.

        The first call also sets the watchdog's time: a previous life, restarted within this process, may have extended
        it.
        """
        lines = ["WATCHDOG=1"]
        if self._watchdog_ns and not self._has_set_watchdog:
            lines.append(f"WATCHDOG_USEC={self._watchdog_ns // 1000}")
        self._has_set_watchdog = True
        self._send(*lines)

    def reloading(self) -> None:
        """Reports that the configuration is being read again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        """Reports that the daemon is stopping."""
        self._send("STOPPING=1", *_status(status))

    def extend_timeout(self, seconds: float) -> None:
        """Asks for more time to start or stop, for instance while recovering."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def _send(self, *lines: str) -> None:
        if not self.address or not lines:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.setblocking(False)
            speaker.sendto("\n".join(lines).encode(), self.address)


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(text.split())[:STATUS_MAX]}",) if text else ()


def _watchdog(environment: Mapping[str, str]) -> int | None:
    """Returns the watchdog's interval in nanoseconds if systemd watches this process."""
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
        process = int(environment.get("WATCHDOG_PID", str(os.getpid())))
    except ValueError:
        return None
    return microseconds * 1000 if microseconds > 0 and process == os.getpid() else None
