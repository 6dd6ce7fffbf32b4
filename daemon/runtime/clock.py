"""The time, as a host tells it: under the simulator it is virtual."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that never goes back, and one that people read."""

    def monotonic_ns(self) -> int:
        """Nanoseconds from some moment on."""

    def unix_ns(self) -> int:
        """Nanoseconds since 1970; it may be set back."""


class SystemClock:
    """This machine's, without a call of ours in between: a tick looks at it thirty times."""

    monotonic_ns = staticmethod(time.monotonic_ns)
    unix_ns = staticmethod(time.time_ns)
