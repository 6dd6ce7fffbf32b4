"""Why bytes from the wire did not become a message."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from msgspec import DecodeError


class Reason(StrEnum):
    """A fixed set, so that a counter labelled with it stays bounded."""

    VERSION = (
        "version"  # of a version that this Shoal does not read or, of our own, that the cluster does not allow yet
    )
    CLUSTER = "cluster"  # a well-formed message of another cluster
    FOREIGN = "foreign"  # of our cluster's name, and of another founding: another cluster
    MALFORMED = "malformed"  # not msgpack, or a field that does not have its declared type
    RANGE = "range"  # a number that its field does not take
    TEXT = "text"  # text of our own that is not Unicode, such as half of a surrogate pair
    OVERSIZE = "oversize"  # over one of the `WireLimits`
    UNKNOWN_TYPE = "unknown_type"  # a tag that this daemon has no class for
    FIELDS = "fields"  # more fields than this daemon knows of that class: a later version's
    TRUNCATED = "truncated"  # frames are missing, or do not have the length that the header gives


ANOTHER_VERSIONS: Final = frozenset({Reason.VERSION, Reason.UNKNOWN_TYPE, Reason.FIELDS})
"""What bytes are rejected for that another version of Shoal writes, and that nothing damages by chance."""


class Rejected(Exception):
    """A message that is not taken. `reason` is for the counter, the text for a log line."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class Foreign(Rejected):
    """A message of another cluster of the same name. Who says to have sent it is the connection's to confirm."""

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
"""How msgspec begins to say what is wrong, where the counters want to know; an invalid value is a union's tag."""
_FIELDS: Final = re.compile(r"Expected `array` of at most length (\d+), got (\d+)(?: - at `\$(.*)`)?")
_QUOTING: Final = ("Invalid enum value ", "Invalid value ")
"""Behind them comes whatever the peer has written."""


def not_decoded(cls: type, error: Exception) -> Rejected:
    """Returns why an array did not become one of this class."""
    said = str(error)
    if later := _FIELDS.fullmatch(said):
        most, got, place = later.groups(default="")
        return Rejected(Reason.FIELDS, f"{got} fields of {cls.__name__}{place}, this version has {most}")
    reason = next((reason for begin, reason in _REASONS.items() if said.startswith(begin)), Reason.MALFORMED)
    shown = "a value that is unknown here" if said.startswith(_QUOTING) else said
    return Rejected(reason, f"{cls.__name__}: {shown}")
