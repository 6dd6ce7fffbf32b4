"""The host's clocks; the simulator has virtual ones."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: a monotonic one, and one that people read."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since some fixed moment."""

    def unix_ns(self) -> int:
        """Nanoseconds since 1970; may be set back."""


class SystemClock:
    """This machine's clocks, without a Python call in between: a tick reads them thirty times."""

    monotonic_ns = staticmethod(time.monotonic_ns)
    unix_ns = staticmethod(time.time_ns)
