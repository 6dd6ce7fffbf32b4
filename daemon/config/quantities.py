"""Converts durations, sizes and addresses from an operator's notation to the code's numbers.

A bare number in a configuration raises the question "of what?", so a duration always has a unit (``"500ms"``) and a
size may have one (``"64MiB"``). In the code, a duration is an int of nanoseconds and a size an int of bytes, and the
names tell which (`probe_timeout_ns`, `frame_bytes_max`).

>>> duration_ns("500ms"), duration_ns("1.5s"), size_bytes("64MiB"), size_bytes("2kB")
(500000000, 1500000000, 67108864, 2000)
>>> size_text(67108864)
'64MiB'
>>> parse_address("tcp://[::1]:7101")
Address(host='::1', port=7101)
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

DURATION_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
SIZE_UNITS: Final = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
NUMBER_LENGTH_MAX: Final = 20
"""Digits in a quantity; also bounds the input of the regular expressions below."""

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-zµ]*)")
_ADDRESS = re.compile(r"tcp://(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._*-]+)):(\d{1,5})")


class BadQuantity(ValueError):
    """A duration, size or address is malformed; the message tells what is expected."""


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a socket."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def wildcard(self) -> bool:
        """Whether it means every interface, which a socket can bind but not connect to."""
        return self.host in {"*", "0.0.0.0", "::"}  # noqa: S104 -- recognised, not bound

    @property
    def url(self) -> str:
        """The address in ZeroMQ's notation."""
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"


def _read(text: str, units: dict[str, int], what: str) -> int:
    match = _QUANTITY.fullmatch(text.strip()) if len(text) <= NUMBER_LENGTH_MAX + 8 else None
    if match is None or match[2] not in units:
        raise BadQuantity(what)
    value = Fraction(match[1]) * units[match[2]]
    if value.denominator != 1:
        raise BadQuantity(f"{what}; it must be a multiple of the smallest unit")
    return int(value)


def duration_ns(text: str) -> int:
    """Returns the nanoseconds of a duration with its unit.

    >>> duration_ns("30")
    Traceback (most recent call last):
    daemon.config.quantities.BadQuantity: should be a duration with a unit, such as "500ms", "30s" or "2m"
    """
    return _read(text, DURATION_UNITS, 'should be a duration with a unit, such as "500ms", "30s" or "2m"')


def size_bytes(text: str) -> int:
    """Returns the bytes of a size with its unit."""
    return _read(text, SIZE_UNITS, 'should be a size with a unit, such as "64KiB", "16MiB" or "1GiB"')


def size_text(value: int) -> str:
    """Returns the shortest exact notation of a size."""
    for unit in ("GiB", "MiB", "KiB"):
        if value >= SIZE_UNITS[unit] and value % SIZE_UNITS[unit] == 0:
            return f"{value // SIZE_UNITS[unit]}{unit}"
    return f"{value}B"


def parse_address(text: str) -> Address:
    """Returns the host and port of ``tcp://HOST:PORT``."""
    match = _ADDRESS.fullmatch(text) if len(text) <= 300 else None
    if match is None or not 1 <= int(match[3]) <= 65535:
        raise BadQuantity('should be an address such as "tcp://10.0.0.5:7101" (port 1 to 65535)')
    return Address(match[1] or match[2], int(match[3]))
