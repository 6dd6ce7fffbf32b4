"""Estimates how long an answer takes, after RFC 6298, section 2.

The caller applies Karn's rule: a request that was sent twice before its answer came gives no measurement.
"""

from __future__ import annotations


class RoundTrip:
    """Smoothed round-trip time and its deviation, in nanoseconds.

    >>> way = RoundTrip()
    >>> way.timeout_ns(5, unknown_ns=200)
    200
    >>> way.measured(100)
    >>> way.timeout_ns(5, unknown_ns=200)
    300
    """

    __slots__ = ("_deviation_ns", "_smoothed_ns")

    def __init__(self) -> None:
        self._smoothed_ns = self._deviation_ns = -1

    def measured(self, round_trip_ns: int) -> None:
        """Records one measurement."""
        if self._smoothed_ns < 0:
            self._smoothed_ns, self._deviation_ns = round_trip_ns, round_trip_ns // 2
            return
        self._deviation_ns += (abs(self._smoothed_ns - round_trip_ns) - self._deviation_ns) // 4
        self._smoothed_ns += (round_trip_ns - self._smoothed_ns) // 8

    def timeout_ns(self, least_ns: int, unknown_ns: int) -> int:
        """Returns after how long an answer is late; `unknown_ns` before the first measurement."""
        if self._smoothed_ns < 0:
            return unknown_ns
        return max(least_ns, self._smoothed_ns + 4 * self._deviation_ns)
