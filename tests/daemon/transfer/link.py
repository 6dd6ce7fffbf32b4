"""A modelled link: machines with an uplink each, of some rate and delay, over which messages keep their order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

from daemon.transfer.tick_plane import Effect, TickPlane
from shoal.lockstep.effects import SendTick
from shoal.lockstep.frames import size_of

MS = 1_000_000
SECOND = 1_000 * MS
HEADER_BYTES = 64
"""Of any message, in round numbers."""


class Link:
    """Planes by name, and virtual time. What they want of a host is handed to `told`, by name."""

    def __init__(self, planes: dict[str, TickPlane], bytes_per_second: int, delay_ns: int) -> None:
        self.planes, self.now = planes, 0
        self.sent_bytes = self.queued_bytes_max = 0
        self.told: list[tuple[str, Any]] = []
        self._rate, self._delay_ns = bytes_per_second, delay_ns
        self._free_at = dict.fromkeys(planes, 0)
        self._under_way: list[tuple[int, int, str, str, Any]] = []
        self._sequence = 0

    def carry_out(self, sender: str, effects: Iterable[Effect]) -> None:
        """Send what is to be sent."""
        for effect in effects:
            if not isinstance(effect, SendTick):
                self.told.append((sender, effect))
                continue
            size = HEADER_BYTES + size_of(getattr(effect.message, "frames", ()))
            begins = max(self.now, self._free_at[sender])
            self._free_at[sender] = begins + size * SECOND // self._rate
            self.sent_bytes += size
            waiting = (self._free_at[sender] - self.now) * self._rate // SECOND
            self.queued_bytes_max = max(self.queued_bytes_max, waiting)
            self._sequence += 1
            due = self._free_at[sender] + self._delay_ns
            heapq.heappush(self._under_way, (due, self._sequence, sender, effect.to, effect.message))

    def break_connections(self) -> None:
        """All that is under way is lost."""
        self._under_way.clear()
        self._free_at = dict.fromkeys(self.planes, self.now)

    def go_on(self) -> None:
        """To the next thing that happens: a message arrives, or a machine's time has come."""
        wakes = [plane.deadline for plane in self.planes.values()]
        wake = min((deadline for deadline in wakes if deadline is not None), default=None)
        if self._under_way and (wake is None or self._under_way[0][0] <= wake):
            self.now, _, sender, to, message = heapq.heappop(self._under_way)
            self.carry_out(to, self.planes[to].step(sender, message, self.now))
            return
        assert wake is not None, "nothing will ever happen again"
        self.now = max(self.now, wake)
        for name, plane in self.planes.items():
            self.carry_out(name, plane.wake(self.now))
