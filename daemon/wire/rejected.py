"""Why bytes from the wire did not become a message."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from msgspec import DecodeError


class Reason(StrEnum):
    """A fixed set, so that a counter labelled with it stays bounded."""

    VERSION = "version"  # not readable by this Shoal or, for our own, not allowed by the cluster yet
    CLUSTER = "cluster"  # a well-formed message of another cluster
    FOREIGN = "foreign"  # of our cluster's name, but another founding: another cluster
    MALFORMED = "malformed"  # not msgpack, or a field that does not have its declared type
    RANGE = "range"  # a number outside its field's range
    TEXT = "text"  # our own text that is not Unicode, such as half of a surrogate pair
    OVERSIZE = "oversize"  # exceeds one of the `WireLimits`
    UNKNOWN_TYPE = "unknown_type"  # a tag that this daemon has no class for
    FIELDS = "fields"  # more fields than this daemon knows in that class: a later version's
    TRUNCATED = "truncated"  # frames are missing, or their lengths differ from the header's


ANOTHER_VERSIONS: Final = frozenset({Reason.VERSION, Reason.UNKNOWN_TYPE, Reason.FIELDS})
"""Reasons that indicate another version of Shoal, and not accidental damage."""


class Rejected(Exception):
    """A refused message. `reason` is for the counter, the text for a log line."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class Foreign(Rejected):
    """A message of another cluster of the same name. Only the connection can confirm its sender."""

    def __init__(self, founding: str, sender: str) -> None:
        super().__init__(Reason.FOREIGN, f"{sender!r:.80} belongs to the cluster that was founded as {founding!r}")
        self.founding = founding
        self.sender = sender


NOT_DECODED: Final = (DecodeError, ValueError, TypeError, ArithmeticError, AssertionError, RecursionError, MemoryError)
"""What msgspec and the constructors of messages raise."""
_REASONS: Final = {
    "Expected `int` >= ": Reason.RANGE,
    "Expected `int` <= ": Reason.RANGE,
    "Invalid value -": Reason.MALFORMED,
    "Invalid value ": Reason.UNKNOWN_TYPE,
}
"""How msgspec's error texts begin, where the counters distinguish them; an invalid value is a union's tag."""
_FIELDS: Final = re.compile(r"Expected `array` of at most length (\d+), got (\d+)(?: - at `\$(.*)`)?")
_QUOTING: Final = ("Invalid enum value ", "Invalid value ")
"""After these, the peer's own text follows."""


def not_decoded(cls: type, error: Exception) -> Rejected:
    """Returns why an array is not valid for this class."""
    said = str(error)
    if later := _FIELDS.fullmatch(said):
        most, got, place = later.groups(default="")
        return Rejected(Reason.FIELDS, f"{got} fields of {cls.__name__}{place}, this version has {most}")
    reason = next((reason for begin, reason in _REASONS.items() if said.startswith(begin)), Reason.MALFORMED)
    shown = "a value that is unknown here" if said.startswith(_QUOTING) else said
    return Rejected(reason, f"{cls.__name__}: {shown}")
