"""The types of settings: names, addresses, durations and sizes, each checked as it is read.

In the file a duration is a string with its unit, and so is a size; in code both are ints, of nanoseconds and of bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, ValidationInfo

from daemon.config.quantities import BadQuantity, duration_ns, parse_address, size_bytes
from daemon.membership.names import NAME_RULE, is_name

MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Seed:
    """A member to ask for the others: its name selects its key from the allowed ones."""

    name: str | None
    address: str


def _duration(value: object, info: ValidationInfo) -> object:
    if info.mode == "json" and not isinstance(value, str):
        raise BadQuantity('should be a duration with a unit, such as "500ms", "30s" or "2m"')
    return duration_ns(value) if isinstance(value, str) else value


def _size(value: object, info: ValidationInfo) -> object:
    if info.mode == "json" and not isinstance(value, str):
        raise BadQuantity('should be a size with a unit, such as "64KiB", "16MiB" or "1GiB"')
    return size_bytes(value) if isinstance(value, str) else value


def _name(value: object) -> object:
    if isinstance(value, str) and not is_name(value):
        raise ValueError(f"should be {NAME_RULE}")
    return value


def _address(value: object) -> object:
    return parse_address(value).url if isinstance(value, str) else value


def _optional_address(value: object) -> object:
    if not isinstance(value, str) or not value:
        return value
    try:
        return parse_address(value).url
    except BadQuantity:
        raise BadQuantity('should be an address such as "tcp://10.0.0.5:7103", or "" for none') from None


def _seed(value: object) -> object:
    if not isinstance(value, str):
        return value
    name, at, address = value.rpartition("@")
    if at:
        _name(name)
    try:
        return Seed(name or None, parse_address(address).url)
    except BadQuantity:
        raise BadQuantity('should be "NAME@tcp://HOST:PORT", such as "b@tcp://10.0.0.6:7101"') from None


def _host_port(value: object) -> object:
    if isinstance(value, str) and value:
        try:
            parse_address(f"tcp://{value}")
        except BadQuantity:
            raise BadQuantity('should be "HOST:PORT" such as "127.0.0.1:9190", or "" for none') from None
    return value


def _mode(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError('should be a file mode in octal, such as "0660"')
    return value


Duration = Annotated[int, BeforeValidator(_duration), Field(gt=0)]
Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]
Name = Annotated[str, BeforeValidator(_name)]
TcpAddress = Annotated[str, BeforeValidator(_address)]
OptionalAddress = Annotated[str, BeforeValidator(_optional_address)]
SeedAddress = Annotated[Seed, BeforeValidator(_seed)]
HostPort = Annotated[str, BeforeValidator(_host_port)]
FileMode = Annotated[str, BeforeValidator(_mode)]
Count = Annotated[int, Field(gt=0)]
